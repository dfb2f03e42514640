// The composition root: the only file that knows everybody. Commands say what is wanted; here the runbook, the state,
// the clients and the engine come together. Heavy parts are imported when a verb needs them: start-up time counts.
import { readFileSync } from 'node:fs';
import { relative, resolve as resolvePath } from 'node:path';
import type { AnyPlugin, Step } from '../engine/contract.ts';
import type { Progress } from '../engine/events.ts';
import type { Clients } from '../engine/io.ts';
import type { Journal } from '../engine/journal.ts';
import type { Interrupt, Machine } from '../engine/run.ts';
import type { Asking, Prepared, VerbHost } from '../engine/verbs/result.ts';
import type { WindowState } from '../engine/window.ts';
import type { Next } from '../errors/next.ts';
import type { Runbook, RunbookStep } from '../runbook/load.ts';
import type { PluginInfo } from '../runbook/plugins.ts';
import type { ShownRunbook } from '../runbook/show.ts';
import type { Resolution, Resolved } from '../runbook/variables.ts';
import { thisMachine } from './machine.ts';
import { redactingJournal } from './redacting.ts';

export interface AppOptions {
  /** --state */
  state?: string | undefined;
  /** --by: who acts */
  by?: string | undefined;
  env: Readonly<Record<string, string | undefined>>;
  cwd: string;
  version: string;
  interrupt: Interrupt;
  emit(progress: Progress): void;
  confirm(asking: Asking): Promise<void>;
  /** false: --yes */
  asks: boolean;
}
export interface RunbookChoice {
  runbook?: string | undefined;
  environment?: string | undefined;
  only: string[];
  skip: string[];
}

export class App {
  readonly options: AppOptions;
  /** over everything that is printed or stored: grows with each runbook that is resolved */
  redact: <T>(value: T) => T = (value) => value;
  /** What the verb is about, for who asks and for an interruption: the last that was resolved. */
  prepared: Prepared | undefined;
  private secrets = new Set<string>();
  private opened: Journal | undefined;
  private closing: (() => Promise<void>)[] = [];

  constructor(options: AppOptions) {
    this.options = options;
  }

  async registry(): Promise<ReadonlyMap<string, AnyPlugin>> {
    const { registry } = await import('../steps/index.ts');
    return registry;
  }

  /** Only looks, and makes no file, until the first time that something is to be kept. */
  async journal(): Promise<Journal> {
    if (this.opened) return this.opened;
    const { MAINT_STATE, PGPASSWORD } = this.options.env;
    const passwords = [URL.parse(MAINT_STATE ?? '')?.password, PGPASSWORD].filter(
      (text) => text !== undefined && text !== '',
    );
    if (passwords.length > 0) await this.hide(passwords as string[]);
    this.opened = redactingJournal(
      await this.store(false),
      () => this.store(true),
      (value) => this.redact(value),
    );
    return this.opened;
  }

  private async store(write: boolean): Promise<Journal> {
    const { openJournal } = await import('../store/index.ts');
    return await openJournal({
      state: this.options.state,
      env: this.options.env,
      write,
      version: this.options.version,
    });
  }

  /** From a file, for start, rehearse and observe. Throws with every secret that is missing (66). */
  async prepare(choice: RunbookChoice): Promise<Prepared> {
    const runbook = await this.runbook(choice);
    const lead = `this laptop cannot start with ${this.shownPath(runbook.path)}`;
    this.prepared = await this.resolved(runbook, { lead });
    return this.prepared;
  }

  /** The text alone, variables unresolved: needs no secrets. */
  async runbook(choice: RunbookChoice): Promise<Runbook> {
    const [{ findRunbook }, { loadRunbook }] = await Promise.all([
      import('../runbook/find.ts'),
      import('../runbook/load.ts'),
    ]);
    const path = findRunbook({
      runbook: choice.runbook,
      environment: choice.environment,
      env: this.options.env,
      cwd: this.options.cwd,
    });
    const runbook = await loadRunbook(path, await this.registry(), {
      environment: choice.environment,
      only: choice.only,
      skip: choice.skip,
    });
    return { ...runbook, path: resolvePath(this.options.cwd, path) };
  }

  /** As a person would write it: what is below this folder without the way to it. */
  shownPath(path: string): string {
    const shown = relative(this.options.cwd, path);
    return shown.startsWith('..') || shown === '' ? path : shown;
  }

  /** How many variables it names, if all of them are set here and of use; otherwise throws what is missing. */
  async variablesSet(runbook: Runbook): Promise<number> {
    const { missingError } = await import('../runbook/variables.ts');
    const resolution = await this.variables(runbook);
    if (!resolution.ok) throw missingError(resolution, { lead: `${this.shownPath(runbook.path)} cannot be run here` });
    return resolution.named.length;
  }

  async variables(runbook: Runbook): Promise<Resolution> {
    const { resolve } = await import('../runbook/variables.ts');
    const resolution = resolve(runbook, this.options.env, readText);
    await this.hide(resolution.secrets);
    return resolution;
  }

  async shown(choice: RunbookChoice): Promise<ShownRunbook> {
    const { showRunbook } = await import('../runbook/show.ts');
    const shown = showRunbook(await this.runbook(choice));
    return { ...shown, path: this.shownPath(shown.path) };
  }

  async schema(of: 'runbook' | 'surfaces'): Promise<Record<string, unknown>> {
    const { runbookSchema, surfacesSchema } = await import('../runbook/json-schema.ts');
    return of === 'surfaces' ? surfacesSchema() : runbookSchema(await this.registry());
  }

  async plugins(): Promise<PluginInfo[]> {
    const { describePlugin } = await import('../runbook/plugins.ts');
    return [...(await this.registry()).values()].map(describePlugin);
  }

  /** Some steps of a runbook, resolved: only these need their variables. */
  async some(runbook: Runbook, wanted: (step: RunbookStep) => boolean, lead: string): Promise<Step[]> {
    const words = { contact: '', statusPage: undefined, rollbackPlan: undefined, overdueNotice: undefined };
    const chosen = runbook.steps.map((step) => (wanted(step) ? step : { ...step, skipped: 'not asked' }));
    const { steps } = await this.resolved({ ...runbook, ...words, steps: chosen }, { lead });
    return steps.filter(({ skipped }) => skipped === undefined);
  }

  async hide(secrets: readonly string[]): Promise<void> {
    for (const secret of secrets) this.secrets.add(secret);
    const { createRedactor } = await import('../clients/redact.ts');
    this.redact = createRedactor([...this.secrets]);
  }

  /** From what a window has stored: the laptop that ends it need not have the file. */
  async prepareWindow(
    state: WindowState,
    options: { skip?: readonly string[]; lead: string; withoutThem?(steps: string[]): Next },
  ): Promise<{ prepared: Prepared; state: WindowState }> {
    const { only, skip } = state.opened;
    const runbook = await this.storedRunbook(state);
    if (options.skip) {
      const { checkNames } = await import('../runbook/rules.ts');
      checkNames('--skip', options.skip, runbook.steps);
    }
    const resolved = await this.resolved(runbook, { ...options, opening: true, skip: options.skip ?? [] });
    const prepared = { ...resolved, only, skip };
    this.prepared = prepared;
    return {
      prepared,
      state: { ...state, window: { ...state.window, surfaces: prepared.surfaces } },
    };
  }

  async storedRunbook({ opened }: WindowState): Promise<Runbook> {
    const { parseRunbook } = await import('../runbook/load.ts');
    const { runbook: stored, environment, only, skip } = opened;
    return parseRunbook(
      { text: stored.text, path: stored.path, folder: stored.folder, surfacesText: stored.surfaces?.text ?? '' },
      await this.registry(),
      { environment, only, skip },
    );
  }

  async resolved(
    runbook: Runbook,
    more: { lead: string; opening?: boolean; withoutThem?(steps: string[]): Next; skip?: readonly string[] },
  ): Promise<Prepared> {
    const { resolve, missingError } = await import('../runbook/variables.ts');
    const { storeOutsideWalls } = await import('../runbook/rules.ts');
    // What --skip leaves as it is for now needs no secrets now: they may be what is missing.
    const aside = new Set(more.skip ?? []);
    const wanted = {
      ...runbook,
      steps: runbook.steps.map((step) =>
        aside.has(step.id) && step.skipped === undefined ? { ...step, skipped: '--skip' } : step,
      ),
    };
    const resolution = resolve(wanted, this.options.env, readText);
    await this.hide(resolution.secrets);
    if (!resolution.ok) throw missingError(resolution, more);
    const { steps } = resolution;
    storeOutsideWalls(steps, (await this.journal()).address);
    return await preparedFrom(runbook, resolution);
  }

  /** Where nothing may be written, no writer exists: not even a bug can make one. */
  async clients(write: boolean): Promise<Clients> {
    const { createClients } = await import('../clients/index.ts');
    const all = createClients({ redact: (value) => this.redact(value) });
    this.closing.push(() => all.close());
    return write ? all : { ...all, writer: noWriter };
  }

  async host(write: boolean): Promise<VerbHost> {
    const { emit, confirm, interrupt, version, asks } = this.options;
    return {
      journal: await this.journal(),
      machine: await this.machine(),
      clients: await this.clients(write),
      interrupt,
      emit,
      confirm,
      asks,
      version,
    };
  }

  machine(): Promise<Machine> {
    return thisMachine(this.options.by, this.options.env);
  }

  async close(): Promise<void> {
    for (const close of this.closing) await close().catch(() => undefined);
    await this.opened?.end().catch(() => undefined);
  }
}

export async function preparedFrom(runbook: Runbook, resolved: Resolved): Promise<Prepared> {
  const [{ sameResource }, { outlivesTokens }] = await Promise.all([
    import('../runbook/rules.ts'),
    import('../runbook/warnings.ts'),
  ]);
  return {
    environment: runbook.environment,
    name: runbook.name,
    path: runbook.path,
    folder: runbook.folder,
    contact: resolved.contact,
    statusPage: resolved.statusPage,
    rollbackPlan: resolved.rollbackPlan,
    overdueNotice: resolved.overdueNotice,
    onExpiry: runbook.onExpiry,
    soakMs: runbook.soakMs,
    budgetMs: runbook.budgetMs,
    order: runbook.order,
    steps: resolved.steps,
    surfaces: runbook.surfaces,
    outlives: (windowMs) => outlivesTokens(runbook, windowMs),
    text: runbook.text,
    surfacesFile:
      runbook.surfacesText === undefined ? undefined : { path: runbook.surfacesPath ?? '', text: runbook.surfacesText },
    only: runbook.only,
    skip: runbook.skip,
    refuseSame: (ids) => sameResource(resolved.steps, ids),
  };
}

export function readText(path: string): string {
  return readFileSync(path, 'utf8');
}

function noWriter(): never {
  throw new TypeError('a look at the world asked for a writer');
}
