// extend and note: one event, then converge of the same phase: what carries the end follows, nothing else moves.
import { MaintError } from '../../errors/catalogue.ts';
import { EXIT } from '../../errors/exit-codes.ts';
import type { Phase, Step } from '../contract.ts';
import { converge } from '../converge.ts';
import { WRITE_DEADLINE_MS } from '../io.ts';
import { roleOf } from '../roles.ts';
import { type LeaseOptions, withLease } from '../run.ts';
import type { WindowState } from '../window.ts';
import { count, utc } from '../words.ts';
import { mustCarry } from './carry.ts';
import { failureLines, lookLines, thingsToLookAt } from './failures.ts';
import { adoptOrCancel, type Prepared, type VerbHost, type VerbResult } from './result.ts';
import { type Told, toldBy } from './told.ts';
import { liveWindow } from './windows.ts';

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
    await mustCarry(host, prepared, state);
    refuseHalfOpen(environment, state);
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
      headline: `${environment} ${STAYS[state.phase]} until ${utc(until, { seconds: false, today: run.now() })} (it was ${utc(was, { seconds: false, today: run.now() })}).${result.failures.length > 0 ? ` ${count(result.failures.length, 'step')} could not follow:` : ''}`,
      details: [...failureLines(result.failures), ...lookLines(state)],
      look: thingsToLookAt(state).length,
      next: [
        ...(result.failures.length > 0
          ? [{ command: 'maint start --window 30m', why: 'tries them again; the end does not move' }]
          : []),
        ...(state.phase === 'announced'
          ? adoptOrCancel(Date.parse(until) - Date.parse(state.window.since))
          : [{ command: 'maint end', why: 'when it is done' }, { command: 'maint status' }]),
      ],
      state,
    };
  });
}

const STAYS: Readonly<Record<Phase, string>> = {
  announced: 'is announced to be read-only',
  open: 'stays read-only',
  soaking: 'stays in its soak',
  closed: '',
  aborted: '',
};

/** Half-way through its end, a window has no end to move: converging to `soaking` would go on opening the walls. */
function refuseHalfOpen(environment: string, state: WindowState): void {
  if (state.phase !== 'soaking' || state.reached) return;
  throw new MaintError(
    'E_NO_WINDOW',
    `the end of ${environment}’s window ${state.id} has begun and is not through: there is no end to move. Nothing changed.`,
    {
      next: ['maint end (goes on where it stopped)', 'maint start --window 30m (closes the walls again, until then)'],
    },
  );
}

/** One event; the notices follow: page, chat, flag. */
export async function note(
  host: VerbHost,
  prepared: Prepared,
  live: WindowState,
  text: string,
  options: LeaseOptions,
): Promise<VerbResult> {
  const { environment } = prepared;
  return await withLease(host, environment, 'note', options, async (run) => {
    const state = await liveWindow(host, environment, prepared);
    if (state?.id !== live.id || state.phase === 'closed' || state.phase === 'aborted')
      throw noWindow(environment, 'note');
    await mustCarry(host, prepared, state);
    const by = run.lease.owner.name;
    await run.append(state, [
      { type: 'run', state: 'began', verb: 'note', owner: by },
      { type: 'note', text, by },
    ]);
    const asked = tellers(prepared, state);
    const result = await converge(run.acting(state, asked), state.phase, { verb: 'note', partial: true });
    const told = toldBy(prepared.steps, asked, result.failures);
    await run.append(state, [{ type: 'run', state: 'ended', verb: 'note', owner: by, exit: EXIT.DONE }]);
    return {
      verb: 'note',
      exit: EXIT.DONE,
      environment,
      window: state.id,
      headline: notedLine(text, told, result.failures.length),
      details: [...failureLines(result.failures), ...lookLines(state)],
      look: thingsToLookAt(state).length,
      next: [{ command: 'maint status' }],
      state,
    };
  });
}

function notedLine(text: string, { nobody, by, gap }: Told, failures: number): string {
  const colon = failures > 0 ? ':' : '.';
  if (nobody) return `Nobody was told: ${gap}. Only the journal and the report have the note "${text}"${colon}`;
  if (gap !== undefined) return `Told by ${by.join(', ')} only: "${text}". ${capital(gap)}${colon}`;
  return `Told by ${by.join(', ')}: "${text}"${failures > 0 ? `. ${count(failures, 'step')} could not follow:` : ''}`;
}

function capital(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}

/**
 * Past its end: marked once, and the notices say "taking longer than planned". Nobody is waited for: who looks next
 * does it otherwise. Returns the state as it is then.
 */
export async function markOverdue(host: VerbHost, prepared: Prepared, live: WindowState): Promise<WindowState> {
  const now = await host.journal.now();
  if (!isDue(live, now)) return live;
  const lease = await host.journal.lease(prepared.environment);
  if (lease && !host.machine.dead(lease.owner) && lease.expiresAt + WRITE_DEADLINE_MS > now) return live;
  try {
    return await withLease(host, prepared.environment, 'status', { skew: 'say' }, async (run) => {
      const state = await liveWindow(host, prepared.environment, prepared);
      if (state?.id !== live.id || !isDue(state, await host.journal.now())) return state ?? live;
      await mustCarry(host, prepared, state);
      await run.append(state, [{ type: 'overdue' }]);
      await converge(run.acting(state, tellers(prepared, state)), 'open', { verb: 'overdue', partial: true });
      return state;
    });
  } catch (error) {
    // It only looks: what is in the way of a mark is said by the command that needs it.
    if (error instanceof MaintError && (error.code === 'E_BUSY' || error.code === 'E_REFUSED')) return live;
    throw error;
  }
}

function isDue({ window, phase, reached }: WindowState, now: number): boolean {
  return !window.overdue && phase === 'open' && reached && Date.parse(window.until) <= now;
}

/** What tells people: a note moves nothing else. The flag carries the banner's words, where it is held already. */
function tellers(prepared: Prepared, state: WindowState): Step[] {
  const held = (step: Step) => state.phase === 'open' && (state.owned.get(step.id)?.size ?? 0) > 0;
  return prepared.steps.filter(
    (step) => roleOf(step) === 'notice' || (step.plugin.name.startsWith('flag/') && held(step)),
  );
}

export function noWindow(environment: string, verb: string): MaintError {
  return new MaintError('E_NO_WINDOW', `${environment} has no open window to ${verb}. Nothing changed.`, {
    next: ['maint start --window 30m', 'maint status'],
  });
}
