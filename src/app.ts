// The composition root: the only file that knows everybody. Commands say what is wanted; here the runbook, the state,
// the clients and the engine come together. Heavy parts are imported when a verb needs them: start-up time counts.
import { readFileSync } from 'node:fs';
import { hostname, userInfo } from 'node:os';
import { relative, resolve as resolvePath } from 'node:path';
import type { IntentQueue } from '../packages/intents/src/index.ts';
import { monotonicNow } from './engine/clock.ts';
import type { AnyPlugin, Step } from './engine/contract.ts';
import type { JournalEvent, Progress, Recorded } from './engine/events.ts';
import type { QueueReplayed } from './engine/io.ts';
import type { Journal, Lease, Owner } from './engine/journal.ts';
import type { Interrupt, LeaseOptions, Machine } from './engine/run.ts';
import type { Rehearsed } from './engine/verbs/rehearse.ts';
import type { Asking, Prepared, VerbHost, VerbResult } from './engine/verbs/result.ts';
import { fold, type WindowState } from './engine/window.ts';
import { MaintError, OuterError } from './errors/catalogue.ts';
import type { Past, PastWindow } from './report/history.ts';
import type { Scope } from './report/scope.ts';
import type { Runbook, RunbookStep } from './runbook/load.ts';
import type { PluginInfo } from './runbook/plugins.ts';
import type { ShownRunbook } from './runbook/show.ts';
import type { Resolution, Resolved } from './runbook/variables.ts';
import type { WindowFile } from './runbook/window-file.ts';
import type { WorldFile } from './runbook/world.ts';
import type { BackfillParams } from './steps/backfill/backfill.ts';
import type { GuardLine } from './ui/guards.ts';

export interface AppOptions {
  /** --state */
  state?: string | undefined;
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

export interface ChosenQueue {
  /** the path of its file, or its postgres:// address */
  queue: string;
  /** the backfill step that names it */
  step: Step | undefined;
}

const ASK_GUARDS_MS = 3_000;
const LOOK_AT_GUARDS_MS = 1_000;
/** A backfill by hand ends by itself, or by Ctrl-C. */
const BY_HAND_MS = 7 * 86_400_000;

export class App {
  readonly options: AppOptions;
  /** over everything that is printed or stored: grows with each runbook that is resolved */
  redact: <T>(value: T) => T = (value) => value;
  private secrets = new Set<string>();
  private opened: Journal | undefined;
  private closing: (() => Promise<void>)[] = [];

  constructor(options: AppOptions) {
    this.options = options;
  }

  async registry(): Promise<ReadonlyMap<string, AnyPlugin>> {
    const { registry } = await import('./steps/index.ts');
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
    this.opened = this.redacting(await this.store(false));
    return this.opened;
  }

  private async store(write: boolean): Promise<Journal> {
    const { openJournal } = await import('./store/index.ts');
    return await openJournal({
      state: this.options.state,
      env: this.options.env,
      write,
      version: this.options.version,
    });
  }

  /** No secret reaches the journal in words either; states hold none by the contract. */
  private redacting(looking: Journal): Journal {
    let target = looking;
    const opened = async (): Promise<Journal> => {
      if (target === looking) {
        target = await this.store(true);
        await looking.end();
      }
      return target;
    };
    return new Proxy(looking, {
      get: (_looking, key: keyof Journal) => {
        if (key === 'open' || key === 'append' || key === 'close')
          return async (lease: never, id: string, events: JournalEvent[]) =>
            (await opened())[key](
              lease,
              id,
              events.map((event) => this.redactEvent(event)),
            );
        if (key === 'take' || key === 'renew' || key === 'release' || key === 'adopt')
          return async (...args: unknown[]) => ((await opened())[key] as (...args: unknown[]) => unknown)(...args);
        const value = target[key];
        return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value;
      },
    });
  }

  private redactEvent(event: JournalEvent): JournalEvent {
    switch (event.type) {
      case 'failed':
      case 'checked':
      case 'settled':
      case 'missed':
      case 'action':
      case 'note':
        return this.redact(event);
      default:
        return event;
    }
  }

  /** From a file, for start, rehearse and observe. Throws with every secret that is missing (66). */
  async prepare(choice: RunbookChoice): Promise<Prepared> {
    const runbook = await this.runbook(choice);
    return await this.resolved(runbook, { lead: `this laptop cannot start with ${this.shownPath(runbook.path)}` });
  }

  /** The text alone, variables unresolved: needs no secrets. */
  async runbook(choice: RunbookChoice): Promise<Runbook> {
    const [{ findRunbook }, { loadRunbook }] = await Promise.all([
      import('./runbook/find.ts'),
      import('./runbook/load.ts'),
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
    const { missingError } = await import('./runbook/variables.ts');
    const resolution = await this.variables(runbook);
    if (!resolution.ok) throw missingError(resolution, { lead: `${this.shownPath(runbook.path)} cannot be run here` });
    return resolution.named.length;
  }

  private async variables(runbook: Runbook): Promise<Resolution> {
    const { resolve } = await import('./runbook/variables.ts');
    const resolution = resolve(runbook, this.options.env, readText);
    await this.hide(resolution.secrets);
    return resolution;
  }

  async shown(choice: RunbookChoice): Promise<ShownRunbook> {
    const { showRunbook } = await import('./runbook/show.ts');
    const shown = showRunbook(await this.runbook(choice));
    return { ...shown, path: this.shownPath(shown.path) };
  }

  async schema(of: 'runbook' | 'surfaces'): Promise<Record<string, unknown>> {
    const { runbookSchema, surfacesSchema } = await import('./runbook/json-schema.ts');
    return of === 'surfaces' ? surfacesSchema() : runbookSchema(await this.registry());
  }

  async plugins(): Promise<PluginInfo[]> {
    const { describePlugin } = await import('./runbook/plugins.ts');
    return [...(await this.registry()).values()].map(describePlugin);
  }

  /** What the guards say that a window's steps name, asked once: whoever looks does not wait for one that is gone. */
  async lookAtGuards(host: VerbHost, steps: readonly Step[]): Promise<GuardLine[]> {
    const [{ guardsOf }, { askGuard }] = await Promise.all([
      import('./runbook/guards.ts'),
      import('./clients/guards.ts'),
    ]);
    const guards = [...new Set(steps.filter((step) => !step.skipped).flatMap((step) => guardsOf(step.params)))];
    if (guards.length === 0) return [];
    const deadline = monotonicNow() + LOOK_AT_GUARDS_MS;
    const reader = host.clients.reader({ signal: host.interrupt.signal, deadline });
    const asked = await Promise.all(guards.map((guard) => askGuard(reader.http, guard, LOOK_AT_GUARDS_MS)));
    return asked.map(({ guard, seen, problem }) => ({
      guard,
      refused: seen?.refused ?? null,
      inFlight: seen?.inFlight ?? null,
      queued: seen?.queue?.queued ?? null,
      problem: problem ?? null,
    }));
  }

  /** Every way to write, held against what the guards and the canaries have seen. Writes nothing. */
  async scope(choice: RunbookChoice, named: readonly string[] | undefined): Promise<Scope> {
    const [{ guardsOf, namedGuards }, { askGuard }, { scopeOf }] = await Promise.all([
      import('./runbook/guards.ts'),
      import('./clients/guards.ts'),
      import('./report/scope.ts'),
    ]);
    const runbook = await this.runbook(choice);
    let guards: string[];
    if (named === undefined) {
      const steps = await this.some(runbook, (step) => guardsOf(step.with).length > 0, 'the guards cannot be asked');
      guards = [...new Set(steps.flatMap(({ params }) => guardsOf(params)))];
    } else guards = namedGuards(named);
    if (guards.length === 0)
      throw new MaintError(
        'E_USAGE',
        `${this.shownPath(runbook.path)} has no step that names guards, so nobody can be asked.`,
        {
          details: ['verify/flag and drain/inflight name them'],
          next: ['maint scope check --guard https://api.example.com', 'maint steps verify/flag'],
        },
      );
    await this.hide(guards.map((guard) => URL.parse(guard)?.password ?? '').filter((password) => password !== ''));
    const { clients } = await this.host(false);
    const signal = this.options.interrupt.signal;
    const reader = clients.reader({ signal, deadline: monotonicNow() + ASK_GUARDS_MS + 1_000 });
    const asked = await Promise.all(guards.map((guard) => askGuard(reader.http, guard, ASK_GUARDS_MS)));
    if (signal.aborted) throw signal.reason;
    if (asked.every(({ seen }) => seen === undefined))
      throw new MaintError(
        'E_REFUSED',
        `${guards.length === 1 ? 'The guard does not answer' : `None of ${guards.length} guards answers`}, so nothing can be said.`,
        {
          details: asked.map(({ guard, problem }) => `${guard}  ${problem}`),
          next: ['maint scope list', 'another address: --guard'],
        },
      );
    return scopeOf(runbook.surfaces, asked, await this.lastWindow(runbook.environment));
  }

  /** Some steps of a runbook, resolved: only these need their variables. */
  private async some(runbook: Runbook, wanted: (step: RunbookStep) => boolean, lead: string): Promise<Step[]> {
    const words = { contact: '', statusPage: undefined, rollbackPlan: undefined, overdueNotice: undefined };
    const chosen = runbook.steps.map((step) => (wanted(step) ? step : { ...step, skipped: 'not asked' }));
    const { steps } = await this.resolved({ ...runbook, ...words, steps: chosen }, { lead });
    return steps.filter(({ skipped }) => skipped === undefined);
  }

  /**
   * The queue that is meant: the one that is named, else MAINT_QUEUE, else that of the backfill step of the open or the
   * last window, else of the runbook.
   */
  async queue(choice: Omit<RunbookChoice, 'only' | 'skip'>, named: string | undefined): Promise<ChosenQueue> {
    const { namedQueue, noQueue } = await import('./runbook/queue.ts');
    const given = named ?? (this.options.env['MAINT_QUEUE'] || undefined);
    if (given !== undefined) {
      const queue = namedQueue(given, this.options.cwd, named === undefined ? 'MAINT_QUEUE' : '--queue');
      const password = URL.parse(queue)?.password;
      if (password) await this.hide([password, decodeURIComponent(password)]);
      return { queue, step: undefined };
    }
    const isBackfill = (step: RunbookStep) => step.uses === 'backfill' && step.skipped === undefined;
    const lead = 'the queue cannot be looked at';
    const known =
      choice.runbook === undefined
        ? ((await this.liveHere(choice.environment)) ?? (await this.lastWindow(choice.environment)))
        : undefined;
    const [ofWindow] = known ? await this.some(await this.storedRunbook(known), isBackfill, lead) : [];
    if (ofWindow) return { queue: ofWindow.params.queue, step: ofWindow };
    const runbook = await this.runbook({ ...choice, only: [], skip: [] }).catch((error: unknown) => {
      if (error instanceof MaintError && error.code === 'E_NO_RUNBOOK') throw noQueue(undefined);
      throw error;
    });
    const [step] = await this.some(runbook, isBackfill, lead);
    if (!step) throw noQueue(this.shownPath(runbook.path));
    return { queue: step.params.queue, step };
  }

  /** Opens the queue for one piece of work. What it says of itself becomes an error of ours. */
  async withQueue<T>(queue: string, work: (one: IntentQueue, by: string) => Promise<T>): Promise<T> {
    const [{ openQueueAt, isQueueError }, { queuePlace }, { queueError }] = await Promise.all([
      import('./clients/queue.ts'),
      import('./clients/queue-place.ts'),
      import('./runbook/queue.ts'),
    ]);
    const { clients } = await this.host(false);
    try {
      const reader = clients.reader({ signal: this.options.interrupt.signal, deadline: monotonicNow() + 10_000 });
      if ((await reader.queue.look(queue)) === null)
        throw new MaintError('E_QUEUE', `There is no queue at ${queuePlace(queue)}: nothing was ever accepted there.`, {
          next: ['another one: --queue PATH, or postgres://…', 'maint runbook show'],
        });
      const one = await openQueueAt(queue);
      try {
        return await work(one, (await thisMachine()).owner('queue').name);
      } finally {
        await one.close();
      }
    } catch (error) {
      if (isQueueError(error) || error instanceof OuterError) throw queueError(error);
      throw error;
    }
  }

  /** Applies what waits, by hand: no window, no lease. The queue's own claims keep two of them apart. */
  async backfill(params: BackfillParams, release: string | undefined): Promise<QueueReplayed> {
    const [{ replayOf }, { isQueueError }, { queueError }] = await Promise.all([
      import('./steps/backfill/backfill.ts'),
      import('./clients/queue.ts'),
      import('./runbook/queue.ts'),
    ]);
    const { queue, credential } = params;
    const parts = [credential, credential?.split(' ').at(-1), URL.parse(params.url)?.password];
    await this.hide(parts.filter((part) => part !== undefined && part !== '') as string[]);
    const { interrupt, emit } = this.options;
    const { clients } = await this.host(true);
    const hooks = { before() {}, after() {}, spawned: async () => {} };
    const io = clients.writer({ signal: interrupt.hard, deadline: monotonicNow() + BY_HAND_MS, hooks });
    const began = monotonicNow();
    const label = { step: 'backfill', label: 'backfill' };
    try {
      if ((await io.queue.look(queue)) === null)
        throw new MaintError('E_QUEUE', 'There is no such queue: nothing was ever accepted there.', {
          next: ['another one: --queue'],
        });
      if (release !== undefined && !(await io.queue.release(queue, release)))
        throw new MaintError('E_QUEUE', `${release} does not hold this queue. Nothing changed.`, {
          next: ['maint queue status'],
        });
      emit({ type: 'step-began', ...label });
      const done = await io.queue.replay(queue, {
        ...replayOf(params),
        signal: interrupt.signal,
        progress: ({ applied, dead, left, etaMs }) =>
          emit({
            type: 'step-doing',
            step: 'backfill',
            text: `${applied} applied · ${left} left${etaMs === null || left === 0 ? '' : ` · about ${Math.round(etaMs / 1000)}s`}`,
            done: applied + dead,
            total: applied + dead + Math.max(0, left),
          }),
      });
      const result = done.left === 0 ? 'ok' : 'look';
      emit({ type: 'step-ended', ...label, result, text: `${done.applied} applied`, ms: monotonicNow() - began });
      if (interrupt.signal.aborted) throw interrupt.signal.reason;
      return done;
    } catch (error) {
      if (isQueueError(error) || error instanceof OuterError) throw queueError(error);
      throw error;
    }
  }

  /** The world as a file may keep it: redacted. */
  async observed(prepared: Prepared): Promise<WorldFile> {
    const [{ observeWorld }, { recordWorld }] = await Promise.all([
      import('./engine/verbs/rehearse.ts'),
      import('./runbook/world.ts'),
    ]);
    const { environment, name: runbook } = prepared;
    const { world, recordedAt, window } = await observeWorld(await this.host(false), prepared);
    return this.redact(recordWorld(world, prepared.steps, { environment, recordedAt, runbook, window }));
  }

  /** With the live world, or with a recorded one: that needs no credentials, and what is not set gets a stand-in. */
  async rehearsed(
    choice: RunbookChoice,
    options: { world: string | undefined; windowMs: number | undefined },
  ): Promise<{ result: Rehearsed; path: string; lines: ReadonlyMap<string, number> }> {
    const { rehearseWindow } = await import('./engine/verbs/rehearse.ts');
    const runbook = await this.runbook(choice);
    const named = (await this.variables(runbook)).named.length;
    const { prepared, missing, recorded } =
      options.world === undefined
        ? { prepared: await this.prepare(choice), missing: [], recorded: undefined }
        : await this.recordedWorld(runbook, options.world);
    const { windowMs } = options;
    const result = await rehearseWindow(await this.host(false), prepared, {
      recorded,
      windowMs,
      variables: { named, missing },
    });
    const lines = new Map(runbook.steps.map((step) => [step.id, step.line]));
    return { result, path: this.shownPath(runbook.path), lines };
  }

  private async recordedWorld(runbook: Runbook, path: string) {
    const [{ resolveInert }, { loadWorld }, { storeOutsideWalls }] = await Promise.all([
      import('./runbook/stand-in.ts'),
      import('./runbook/world.ts'),
      import('./runbook/rules.ts'),
    ]);
    const inert = resolveInert(runbook, this.options.env, readText);
    await this.hide(inert.secrets);
    storeOutsideWalls(inert.steps, (await this.journal()).address);
    const { file, world, notes } = loadWorld(path, inert.steps);
    const prepared = await preparedFrom(runbook, inert);
    return { prepared, missing: inert.missing, recorded: { world, recordedAt: file.recordedAt, notes } };
  }

  private async hide(secrets: readonly string[]): Promise<void> {
    for (const secret of secrets) this.secrets.add(secret);
    const { createRedactor } = await import('./clients/redact.ts');
    this.redact = createRedactor([...this.secrets]);
  }

  /** Hands a window over to a file, or (`copy`) only writes down what is known of it. */
  async exportWindow(
    id: string,
    options: { output: string; copy: boolean } & LeaseOptions,
  ): Promise<{ file: WindowFile; path: string; flag: boolean }> {
    const [{ handOver, unknownWindow }, { windowFileText }, { reserveFile }] = await Promise.all([
      import('./engine/verbs/carry.ts'),
      import('./runbook/window-file.ts'),
      import('./ui/window.ts'),
    ]);
    const path = resolvePath(this.options.cwd, options.output);
    const journal = await this.journal();
    const [row] = await journal.windows({ id });
    if (!row) throw unknownWindow(id);
    // Where it cannot be written nothing may be given away.
    const reserved = reserveFile(path, options.output);
    try {
      const carried = options.copy
        ? { events: await journal.read(id), live: row.live }
        : await handOver(await this.host(true), id, path, options);
      const file: WindowFile = {
        maint: this.options.version,
        exportedAt: new Date(await journal.now()).toISOString(),
        window: id,
        environment: row.environment,
        live: carried.live,
        copy: options.copy,
        events: carried.events,
      };
      reserved.write(windowFileText(file));
      return { file, path: options.output, flag: await this.hasFlag(file) };
    } finally {
      reserved.close();
    }
  }

  /** Whether a flag of its can say who carries it. */
  private async hasFlag({ window, events }: WindowFile): Promise<boolean> {
    const { flagSteps } = await import('./engine/verbs/carry.ts');
    const state = fold(window, events)!;
    const runbook = await this.storedRunbook(state).catch(() => undefined);
    return flagSteps(runbook?.steps ?? []).length > 0;
  }

  async importWindow(path: string, options: LeaseOptions): Promise<VerbResult> {
    const [{ takeIn }, { loadWindowFile }] = await Promise.all([
      import('./engine/verbs/carry.ts'),
      import('./runbook/window-file.ts'),
    ]);
    const file = loadWindowFile(path, this.options.version);
    // What cannot be ended here must not come here.
    const carried = fold(file.window, file.events)!;
    if (file.live) await this.storedRunbook(carried);
    const ready = file.live
      ? await this.prepareWindow(carried, { lead: `this laptop cannot end ${file.window} yet` }).catch(
          (error: unknown) => error,
        )
      : undefined;
    const lacking = ready instanceof MaintError ? ready : undefined;
    if (ready instanceof Error && !lacking) throw ready;
    const prepared = lacking ? undefined : (ready as { prepared: Prepared } | undefined)?.prepared;
    const result = await takeIn(await this.host(true), { ...file, from: path }, options, prepared);
    if (!lacking) return result;
    const details = [lacking.message.replace(/ Nothing changed\b.*$/, ''), ...lacking.details, ...result.details];
    return { ...result, details, look: result.look + 1 };
  }

  /** From what a window has stored: the laptop that ends it need not have the file. */
  async prepareWindow(
    state: WindowState,
    options: { skip?: readonly string[]; lead: string; withoutThem?(steps: string[]): string },
  ): Promise<{ prepared: Prepared; state: WindowState }> {
    const { only, skip } = state.opened;
    const runbook = await this.storedRunbook(state);
    const prepared = await this.resolved(runbook, { ...options, opening: true, skip: options.skip ?? [] });
    return {
      prepared: { ...prepared, only, skip },
      state: { ...state, window: { ...state.window, surfaces: prepared.surfaces } },
    };
  }

  private async storedRunbook({ opened }: WindowState): Promise<Runbook> {
    const { parseRunbook } = await import('./runbook/load.ts');
    const { runbook: stored, environment, only, skip } = opened;
    return parseRunbook(
      { text: stored.text, path: stored.path, folder: stored.folder, surfacesText: stored.surfaces?.text ?? '' },
      await this.registry(),
      { environment, only, skip },
    );
  }

  private async resolved(
    runbook: Runbook,
    more: { lead: string; opening?: boolean; withoutThem?(steps: string[]): string; skip?: readonly string[] },
  ): Promise<Prepared> {
    const { resolve, missingError } = await import('./runbook/variables.ts');
    const { storeOutsideWalls } = await import('./runbook/rules.ts');
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

  async host(write: boolean): Promise<VerbHost> {
    const { createClients } = await import('./clients/index.ts');
    const all = createClients({ redact: (value) => this.redact(value) });
    this.closing.push(() => all.close());
    // Where nothing may be written, no writer exists: not even a bug can make one.
    const clients = write ? all : { ...all, writer: noWriter };
    const { emit, confirm, interrupt, version, asks } = this.options;
    return {
      journal: await this.journal(),
      machine: await thisMachine(),
      clients,
      interrupt,
      emit,
      confirm,
      asks,
      version,
    };
  }

  /**
   * The window that is not over. Without --env the only one; several are listed (64). Where the last one was handed
   * over: refused (66), for "nothing is open" would not be true.
   */
  async live(environment: string | undefined): Promise<WindowState | undefined> {
    const live = await this.liveHere(environment);
    const last = live ? undefined : await this.lastWindow(environment);
    if (!last?.handed) return live;
    throw new MaintError('E_NO_WINDOW', `${handedLine(last, last.handed)} Nothing changed.`, {
      next: [`where it is now: maint status`, `back to this state: maint window import ${last.handed.to}`],
    });
  }

  /** The same, whatever became of the last one. */
  async liveHere(environment: string | undefined): Promise<WindowState | undefined> {
    const journal = await this.journal();
    const rows = await journal.windows({ live: true, ...(environment === undefined ? {} : { environment }) });
    if (rows.length > 1) {
      throw new MaintError('E_WHICH_WINDOW', `${rows.length} windows are open; --env says which one is meant.`, {
        details: rows.map((row) => `${row.environment}  ${row.id}  since ${row.createdAt}`),
        next: [`--env ${rows[0]!.environment}`],
      });
    }
    return rows[0] && fold(rows[0].id, await journal.read(rows[0].id));
  }

  /** Every window that is not over. */
  async allLive(environment: string | undefined): Promise<WindowState[]> {
    const journal = await this.journal();
    const rows = await journal.windows({ live: true, ...(environment === undefined ? {} : { environment }) });
    const states = await Promise.all(rows.map(async ({ id }) => fold(id, await journal.read(id))));
    return states
      .filter((state) => state !== undefined)
      .sort((a, b) => (a.window.environment < b.window.environment ? -1 : 1));
  }

  /** The newest window, over or not. */
  async lastWindow(environment: string | undefined): Promise<WindowState | undefined> {
    const journal = await this.journal();
    const [row] = await journal.windows(environment === undefined ? {} : { environment });
    return row && fold(row.id, await journal.read(row.id));
  }

  /** Newest first; `since`: RFC 3339, recorded then or later. */
  async history(filter: {
    environment?: string | undefined;
    since?: string | undefined;
    limit: number;
    /** in who, why, ticket or id */
    matching?: string | undefined;
    /** only those with something to look at */
    trouble?: boolean | undefined;
  }): Promise<Past> {
    const { fits, pastOf } = await import('./report/history.ts');
    const journal = await this.journal();
    const { environment, since = '' } = filter;
    const rows = (await journal.windows(environment === undefined ? {} : { environment })).filter(
      (row) => row.createdAt >= since,
    );
    const now = await journal.now();
    const windows: PastWindow[] = [];
    let more = 0;
    const every = filter.matching === undefined && filter.trouble !== true;
    for (const [n, row] of rows.entries()) {
      // how many more there are is known without reading them, unless they must be looked into
      if (every && n >= filter.limit) {
        more = rows.length - filter.limit;
        break;
      }
      const lease = row.live ? await this.acting(row.environment) : undefined;
      const alive = lease !== undefined && lease.expiresAt > now;
      const past = pastOf(row.id, await journal.read(row.id), { alive, now });
      if (!past || !fits(past, filter)) continue;
      if (windows.length < filter.limit) windows.push(past);
      else more++;
    }
    return { windows, more, address: journal.address };
  }

  /** The window that is named, else the newest one. E_NO_WINDOW with those that are known. */
  async recorded(id: string | undefined, environment: string | undefined): Promise<{ id: string; events: Recorded[] }> {
    const journal = await this.journal();
    const rows = await journal.windows(environment === undefined ? {} : { environment });
    const row = id === undefined ? rows[0] : rows.find((one) => one.id === id);
    if (row) return { id: row.id, events: await journal.read(row.id) };
    const where = environment === undefined ? journal.address : `${environment} in ${journal.address}`;
    throw new MaintError(
      'E_NO_WINDOW',
      id === undefined ? `No window has been in ${where}.` : `No window is called ${id} in ${where}.`,
      {
        details: rows.slice(0, 20).map((one) => `${one.id}  ${one.environment}  since ${one.createdAt}`),
        next: rows[0] ? [`maint report ${rows[0].id}`] : ['maint start --window 30m', 'or another state: --state'],
      },
    );
  }

  /** The run that acts on the environment; one that died on this machine does not. */
  async acting(environment: string): Promise<Lease | undefined> {
    const lease = await (await this.journal()).lease(environment);
    return lease && (await thisMachine()).dead(lease.owner) ? undefined : lease;
  }

  /** The last things that the journal knows of an environment's live window, for who takes over. */
  async lastDone(environment: string): Promise<string[]> {
    const journal = await this.journal();
    const [row] = await journal.windows({ environment, live: true });
    const events = row ? await journal.read(row.id) : [];
    return events
      .filter(({ event }) => 'step' in event)
      .slice(-3)
      .map(({ at, event }) => `  ${at.slice(11, 19)}Z  ${'step' in event ? event.step : ''}  ${event.type}`);
  }

  async close(): Promise<void> {
    for (const close of this.closing) await close().catch(() => undefined);
    await this.opened?.end().catch(() => undefined);
  }
}

export function handedLine({ id, window }: WindowState, { to, by, at }: NonNullable<WindowState['handed']>): string {
  return `${window.environment}: ${id} was handed over to ${to} by ${by} at ${at}; this state does not act on it any more.`;
}

function noWriter(): never {
  throw new TypeError('a look at the world asked for a writer');
}

async function thisMachine(): Promise<Machine> {
  const { isAlive, startTimeOf, thisProcess } = await import('./clients/process.ts');
  const name = `${hostname()}/${thisProcess().bootId}/${thisProcess().pidNamespace}`;
  return {
    name,
    owner: (verb): Owner => ({ name: `${user()}@${hostname()}`, ...thisProcess(), verb }),
    dead: (owner) => isAlive(owner) === false,
    running: ({ pid, startTime, host }) => (host === name ? startTimeOf(pid) === startTime : undefined),
  };
}

function user(): string {
  try {
    return userInfo().username;
  } catch {
    return process.env['USER'] ?? 'unknown';
  }
}

async function preparedFrom(runbook: Runbook, resolved: Resolved): Promise<Prepared> {
  const [{ sameResource }, { outlivesTokens }] = await Promise.all([
    import('./runbook/rules.ts'),
    import('./runbook/warnings.ts'),
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

function readText(path: string): string {
  return readFileSync(path, 'utf8');
}
