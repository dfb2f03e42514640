// extend and note: one event, then converge of the same phase: what carries the end follows, nothing else moves.
import { MaintError } from '../../errors/catalogue.ts';
import { EXIT } from '../../errors/exit-codes.ts';
import { converge } from '../converge.ts';
import { type LeaseOptions, withLease } from '../run.ts';
import type { WindowState } from '../window.ts';
import { count, utc } from '../words.ts';
import type { Prepared, VerbHost, VerbResult } from './result.ts';
import { failureLines, liveWindow, lookLines } from './start.ts';

export interface ExtendOptions extends LeaseOptions {
  byMs?: number | undefined;
  /** RFC 3339 */
  until?: string | undefined;
}

export async function extend(
  host: VerbHost,
  prepared: Prepared,
  live: WindowState,
  options: ExtendOptions,
): Promise<VerbResult> {
  const { environment } = prepared;
  return await withLease(host, environment, 'extend', options, async (run) => {
    const state = await liveWindow(host, environment, prepared);
    if (state?.id !== live.id || state.phase === 'closed' || state.phase === 'aborted')
      throw noWindow(environment, 'extend');
    const was = state.window.until;
    const until =
      options.until ?? new Date(Math.max(Date.parse(was), await host.journal.now()) + options.byMs!).toISOString();
    if (Date.parse(until) <= (await host.journal.now()))
      throw new MaintError(
        'E_USAGE',
        `--until ${until} is in the past; the window ends ${utc(was)}. Nothing changed.`,
        { next: ['maint extend --by 15m'] },
      );
    await run.append(state, [
      { type: 'run', state: 'began', verb: 'extend', owner: run.lease.owner.name },
      { type: 'extended', until, by: run.lease.owner.name },
    ]);
    const result = await converge(run.acting(state, prepared.steps), state.phase, { verb: 'extend' });
    const exit = result.stopped ? EXIT.HUMAN : EXIT.DONE;
    await run.append(state, [{ type: 'run', state: 'ended', verb: 'extend', owner: run.lease.owner.name, exit }]);
    return {
      verb: 'extend',
      exit,
      code: result.stopped ? 'E_HELD' : undefined,
      environment,
      window: state.id,
      headline: `${environment} stays ${state.phase === 'soaking' ? 'in its soak' : 'read-only'} until ${utc(until, { seconds: false, today: run.now() })} (it was ${utc(was, { seconds: false, today: run.now() })}).${result.failures.length > 0 ? ` ${count(result.failures.length, 'step')} could not follow:` : ''}`,
      details: [...failureLines(result.failures), ...lookLines(state)],
      look: result.failures.length + lookLines(state).length,
      next: [
        ...(result.failures.length > 0
          ? [{ command: 'maint start --window 30m', why: 'tries them again; the end does not move' }]
          : []),
        { command: 'maint end', why: 'when it is done' },
        { command: 'maint status' },
      ],
      state,
    };
  });
}

export function noWindow(environment: string, verb: string): MaintError {
  return new MaintError('E_NO_WINDOW', `${environment} has no open window to ${verb}. Nothing changed.`, {
    next: ['maint start --window 30m', 'maint status'],
  });
}
