// What every command shares: the flags, how it speaks, how it ends. A command itself is parse, one call, render, exit code.

import { Command } from '@oclif/core/command';
import * as Flags from '@oclif/core/flags';
import { App } from '../app/app.ts';
import { lastDone, liveWindow } from '../app/windows.ts';
import { parseDuration } from '../engine/duration.ts';
import type { Lease } from '../engine/journal.ts';
import type { LeaseOptions } from '../engine/run.ts';
import type { Asking, VerbResult } from '../engine/verbs/result.ts';
import { workingFolder } from '../engine/who.ts';
import { MaintError, OuterError } from '../errors/catalogue.ts';
import { EXIT, type ExitCode } from '../errors/exit-codes.ts';
import { advice, maint, type Next } from '../errors/next.ts';
import { canAsk, isScreen, type Mode, modeOf } from './mode.ts';
import { type Carry, documentOf, type Given, givenOf, type Line, nextLine, rendered } from './next.ts';
import type { Renderer } from './progress.ts';

export const stateFlag = {
  state: Flags.string({
    description: 'where windows are kept: a path, or postgres://… (default: MAINT_STATE, else the XDG state folder)',
    helpGroup: 'GLOBAL',
  }),
  json: Flags.boolean({ description: 'the result as JSON on stdout; never asks', helpGroup: 'GLOBAL' }),
};
export const envFlag = {
  env: Flags.string({ char: 'e', description: 'the environment; needed where several windows are open' }),
};
export const runbookFlags = {
  ...envFlag,
  runbook: Flags.string({
    char: 'r',
    description:
      'the runbook (default: MAINT_RUNBOOK, the one in runbooks/ for this environment, or the only one there)',
  }),
};
export const stepFlags = {
  only: Flags.string({ description: 'only these steps, by id', multiple: true, delimiter: ',' }),
  skip: Flags.string({ description: 'not these steps, by id', multiple: true, delimiter: ',' }),
};
export const byFlag = {
  by: Flags.string({
    description:
      'who acts, for the journal, the report and the notices (default: MAINT_BY, else who called sudo, else the account)',
    helpValue: 'NAME',
  }),
};
export const leaseFlags = {
  ...byFlag,
  yes: Flags.boolean({ char: 'y', description: 'do not ask' }),
  takeover: Flags.boolean({ description: 'take the window over from a run that is acting; asks' }),
  wait: durationFlag({ description: 'wait this long for a run that is acting right now' })(),
};

/** For automation: start, end and abort. */
export const failOnFlag = {
  'fail-on': Flags.string({
    description: 'look: exit 68 where there is something to look at, although all is done',
    options: ['look'],
  }),
};

export const planFlags = {
  'dry-run': Flags.boolean({ description: 'plan only; nothing is written' }),
  full: Flags.boolean({ description: 'the plan names everything that would change, not only the first five of many' }),
};

/** What opening and announcing a window share. */
export function windowFlags() {
  return {
    ...runbookFlags,
    window: durationFlag({ description: 'how long the window may be' })({ required: true }),
    reason: Flags.string({ description: 'why, for the notices and the report', default: 'maintenance' }),
    ticket: Flags.string({ description: 'the ticket that goes with it' }),
    ...planFlags,
    ...stepFlags,
    ...leaseFlags,
    ...stateFlag,
  };
}

/** A flag that takes "30m", "1h30m"; milliseconds. */
export function durationFlag({ hint, ...options }: { description: string; helpGroup?: string; hint?: string }) {
  return Flags.custom<number>({
    ...options,
    helpValue: '30m',
    parse: async (text, _context, { name }) => {
      const ms = parseDuration(text);
      if (ms === undefined)
        throw new MaintError('E_USAGE', `--${name} ${text} is not a duration.`, {
          details: [
            'allowed: a positive whole number with its unit, up to 30 days: 90s, 30m, 1h30m',
            ...(hint ? [hint] : []),
          ],
          next: [advice(`--${name} 30m`)],
        });
      return ms;
    },
  });
}

/** Relative names count from it, and nobody could say what they mean. */
function here(): string {
  const folder = workingFolder();
  if (folder !== undefined) return folder;
  throw new MaintError('E_USAGE', 'The folder that this was typed in is gone. Nothing changed.', {
    next: [advice('cd to a folder that is there, then the same command')],
  });
}

/** Of a run that was interrupted. */
interface WhereItIs {
  lines: string[];
  next: readonly Next[];
}

const STATUS = [maint('status')];

function wasCutOff(error: unknown): boolean {
  return error instanceof OuterError || (error as { name?: unknown }).name === 'AbortError';
}

export abstract class MaintCommand extends Command {
  private speaking:
    | { app: App; mode: Mode; renderer: Renderer; interrupt: { signal: AbortSignal; stop(): void } }
    | undefined;
  protected wantsJson = false;
  private full = false;
  private given: Given = {};

  /** What oclif's own `run` does, without loading a configuration anew. */
  go(): Promise<unknown> {
    return this._run();
  }

  /** The composition root, wired to this terminal. */
  protected async app(flags: {
    state?: string | undefined;
    json?: boolean;
    yes?: boolean;
    full?: boolean;
    /** a number: the other --by, of extend */
    by?: string | number | undefined;
  }): Promise<App> {
    this.given = givenOf(flags);
    this.full = flags.full === true;
    const [{ listenForSignals }, { createRenderer }, { outOf }] = await Promise.all([
      import('./interrupt.ts'),
      import('./progress.ts'),
      import('./output.ts'),
    ]);
    const mode = modeOf({ json: flags.json === true, stderr: process.stderr, env: process.env });
    this.wantsJson = mode === 'json';
    const interrupt = listenForSignals((text) => renderer.emit({ type: 'said', text }));
    const renderer = createRenderer(mode, outOf(process.stderr));
    const app = new App({
      state: flags.state,
      by: typeof flags.by === 'string' ? flags.by : undefined,
      env: process.env,
      cwd: here(),
      version: this.config.version,
      interrupt,
      // Before the layout: half a secret at the edge of the screen would not be known as one.
      emit: (progress) => renderer.emit(app.redact(progress)),
      asks: flags.yes !== true,
      confirm: (asking) => this.confirm(app, mode, flags.yes === true, asking),
    });
    this.speaking = { app, mode, renderer, interrupt };
    return app;
  }

  /** How to get the run lease: waiting, or taking it over from somebody who is told by name. */
  protected leaseOf(app: App, flags: { wait?: number | undefined; takeover: boolean; yes: boolean }): LeaseOptions {
    const takeover = async (existing: Lease): Promise<void> => {
      const { owner, environment } = existing;
      const doing = `${owner.name} is acting on ${environment}: maint ${owner.verb} (pid ${owner.pid} on ${owner.host})`;
      await this.speaking?.renderer.stop();
      const lines = [
        `${doing}.`,
        ...(await lastDone(app, environment)),
        'Its next write will be refused; yours begin when its last one cannot arrive any more (25 s at the most).',
      ];
      if (!this.wantsJson) await this.show(process.stderr, lines);
      if (flags.yes) return;
      if (!canAsk(process) || this.wantsJson)
        throw new MaintError('E_YES', `${doing}. Nothing changed.`, {
          next: [advice('take it over all the same: --takeover --yes')],
        });
      const { typeToGoOn } = await import('./confirm.ts');
      await typeToGoOn(environment, app.options.interrupt.signal);
    };
    return { waitMs: flags.wait ?? 0, ...(flags.takeover ? { takeover } : {}) };
  }

  private async confirm(app: App, mode: Mode, yes: boolean, asking: Asking): Promise<void> {
    const environment = app.prepared?.environment ?? '';
    const terminal = canAsk(process) && mode !== 'json';
    if (!yes && !terminal)
      throw new MaintError('E_YES', `Nobody can be asked here, and this changes ${environment}. Nothing changed.`, {
        next: [
          advice('the same with --yes'),
          'dry-run' in this.ctor.flags ? advice('or only look: --dry-run') : maint('status', {}, 'or only look:'),
        ],
      });
    await this.speaking?.renderer.stop();
    const { askingLines } = await import('./plan.ts');
    if (mode !== 'json') await this.show(process.stderr, askingLines(app.prepared!, asking, terminal, this.full));
    if (yes) return;
    const { typeToGoOn } = await import('./confirm.ts');
    await typeToGoOn(environment, app.options.interrupt.signal);
  }

  /** Prints a verb's result and sets the exit code. */
  protected async finish(done: VerbResult, failOn?: string): Promise<void> {
    const looks = failOn === 'look' && done.exit === EXIT.DONE && done.look > 0;
    const result: VerbResult = looks ? { ...done, exit: EXIT.HUMAN } : done;
    const { resultJson, resultLines } = await import('./result.ts');
    const exit = process.stdout.isTTY !== true;
    await this.print(this.wantsJson ? resultJson(result) : resultLines(result, { exit, full: this.full }), result.exit);
  }

  /** `whole`: the text is what was asked for, such as a report. Half of it is not a success, and neither is half of a JSON. */
  protected async print(
    what: Record<string, unknown> | unknown[] | Line[],
    exit: ExitCode,
    { whole = this.wantsJson }: { whole?: boolean } = {},
  ): Promise<void> {
    await this.speaking?.renderer.stop();
    const { lostLine } = await import('./output.ts');
    const unseen = whole ? undefined : lostLine(process.stderr);
    process.exitCode = exit;
    if (this.wantsJson) await this.document(what);
    else await this.show(process.stdout, [...(what as Line[]), ...(unseen === undefined ? [] : [unseen])]);
    if (whole) await this.wholeOrNot();
  }

  /** After the last of it: a success whose text was lost is not one. */
  protected async wholeOrNot(): Promise<void> {
    const { lostLine } = await import('./output.ts');
    if (lostLine(process.stdout) !== undefined) process.exitCode ||= EXIT.UNSHOWN;
  }

  private async document(what: unknown): Promise<void> {
    const { put } = await import('./output.ts');
    put(process.stdout, `${JSON.stringify(this.redact(documentOf(what, this.carry())), null, 2)}\n`);
  }

  /** What this command line named, for the flags that the next command really has. */
  private carry(): Carry {
    const flagsOf = (command: string) => {
      const found = this.config.findCommand(command.replace(' ', ':'));
      return found && Object.keys(found.flags ?? {});
    };
    return { given: this.given, flagsOf };
  }

  private redact<T>(value: T): T {
    return this.speaking ? this.speaking.app.redact(value) : value;
  }

  /** Lines as the place they go to can take them: broken and coloured on a terminal, as they are on a pipe. */
  private async show(stream: NodeJS.WriteStream, lines: readonly Line[]): Promise<void> {
    const [{ dress }, { outOf }] = await Promise.all([import('./layout.ts'), import('./output.ts')]);
    const out = outOf(stream);
    const to = { columns: out.columns, colours: isScreen(stream, process.env) };
    out.write(
      dress(this.redact(rendered(lines, this.carry())), to)
        .map((line) => `${line}\n`)
        .join(''),
    );
  }

  override async catch(error: Error): Promise<void> {
    const [{ asMaintError, errorJson, errorLines }, { mistypedFlag }] = await Promise.all([
      import('./result.ts'),
      import('./mistyped.ts'),
    ]);
    const known = asMaintError(
      mistypedFlag(error, this.id ?? '', Object.keys(this.ctor.flags)),
      this.id?.replace(':', ' '),
    );
    this.wantsJson ||= this.argv.includes('--json');
    if (known.code === 'E_INTERRUPTED') return await this.interrupted(known);
    const { signal } = this.speaking?.interrupt ?? {};
    if (signal?.aborted) {
      // A state that does not answer must not turn a Ctrl-C into an error of the state's, nor be asked once more.
      if (known.code === 'E_STATE') return await this.interrupted(signal.reason, known);
      // The signal is what cut the call off: the call's own error is not news, and is not a bug.
      if (wasCutOff(error)) return await this.interrupted(signal.reason);
    }
    await this.speaking?.renderer.stop();
    if (this.wantsJson) await this.document(errorJson(known));
    else await this.show(process.stderr, errorLines(known, { exit: process.stderr.isTTY !== true }));
    process.exitCode = known.exit;
  }

  /** `instead`: why the journal need not be asked. */
  private async interrupted(error: MaintError, instead?: MaintError): Promise<void> {
    const { errorJson } = await import('./result.ts');
    await this.speaking?.renderer.stop();
    const { lines, next }: WhereItIs = instead
      ? {
          lines: [`E_INTERRUPTED  ${error.message}; what is recorded stays. ${instead.message}`],
          next: STATUS,
        }
      : await this.whereItIs(error);
    if (this.wantsJson) await this.document({ ...errorJson(error), details: lines, next });
    else await this.show(process.stderr, [...lines, nextLine(...next)]);
    process.exitCode = EXIT.INTERRUPTED;
  }

  /** What is done and what to type next, from the journal. */
  private async whereItIs(error: MaintError): Promise<WhereItIs> {
    try {
      const { app } = this.speaking!;
      const journal = await app.journal();
      const live = await liveWindow(app, app.prepared?.environment);
      if (!live) return { lines: [`E_INTERRUPTED  ${error.message}; nothing was changed.`], next: STATUS };
      const { statusOf } = await import('../engine/verbs/status.ts');
      const status = await statusOf({ journal }, live, undefined, app.prepared?.steps ?? []);
      const lines = [
        `E_INTERRUPTED  ${error.message}; nothing is lost.`,
        ...status.lines.map((line) => `  ${line}`),
        `  ${status.toUndo} ${status.toUndo === 1 ? 'change is' : 'changes are'} ours`,
      ];
      return { lines, next: status.next };
    } catch {
      // The journal is as it is; status tells later.
      return {
        lines: [`${error.code}  ${error.message}`, ...error.details.map((detail) => `  ${detail}`)],
        next: STATUS,
      };
    }
  }

  override async finally(_error: Error | undefined): Promise<void> {
    this.speaking?.interrupt.stop();
    await this.speaking?.app.close();
  }
}
