// extend and note: one event, then converge of the same phase: what carries the end follows, nothing else moves.
import { MaintError } from '../../errors/catalogue.ts';
import { EXIT } from '../../errors/exit-codes.ts';
import { maint } from '../../errors/next.ts';
import type { Phase, Step } from '../contract.ts';
import { converge } from '../converge.ts';
import { WRITE_DEADLINE_MS } from '../io.ts';
import { isWall } from '../order.ts';
import { plan } from '../plan.ts';
import { roleOf } from '../roles.ts';
import { type LeaseOptions, withLease } from '../run.ts';
import type { WindowState } from '../window.ts';
import { count, utc } from '../words.ts';
import { mustCarry } from './carry.ts';
import { failureLines, lookLines, thingsToLookAt } from './failures.ts';
import { adoptOrCancel, didYouMean, type Prepared, type VerbHost, type VerbResult } from './result.ts';
import { type Told, toldBy } from './told.ts';
import { afterOpening, closedAgain, isKept, lookAtWalls, lookingOf, openText } from './walls.ts';
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
  await askToCloseAgain(host, prepared, live);
  return await withLease(host, environment, 'extend', options, async (run) => {
    const state = await liveWindow(host, environment, prepared);
    if (state?.id !== live.id) throw noWindow(environment, 'extend');
    refuseClosing(environment, state);
    await mustCarry(host, prepared, state);
    refuseHalfOpen(environment, state);
    const was = state.window.until;
    const until =
      options.until ?? new Date(Math.max(Date.parse(was), await host.journal.now()) + options.byMs!).toISOString();
    if (Date.parse(until) <= (await host.journal.now()))
      throw new MaintError(
        'E_USAGE',
        `--until ${until} is in the past; the window ends ${utc(was)}. Nothing changed.`,
        { next: [maint('extend', { by: '15m' })] },
      );
    await run.append(state, [
      { type: 'run', state: 'began', verb: 'extend', owner: run.lease.owner.name },
      { type: 'extended', until, by: run.lease.owner.name },
    ]);
    const seq = state.lastSeq;
    const result = await converge(run.acting(state, prepared.steps), state.phase, { verb: 'extend' });
    const is = afterOpening(state, prepared.steps, result.failures, await host.journal.now());
    const kept = state.phase !== 'open' || isKept(is);
    const exit = result.stopped || !kept ? EXIT.HUMAN : EXIT.DONE;
    await run.append(state, [{ type: 'run', state: 'ended', verb: 'extend', owner: run.lease.owner.name, exit }]);
    const [to, from] = [until, was].map((at) => utc(at, { seconds: false, today: run.now() }));
    const again = closedAgain(state, seq).length > 0;
    const text =
      state.phase === 'open'
        ? openText(state, is, { refused: again ? 'is read-only again' : 'stays read-only', rest: ` until ${to}` })
        : `${environment} ${STAYS[state.phase]} until ${to}`;
    const failed = result.failures.length;
    const looks = lookLines(state);
    return {
      verb: 'extend',
      exit,
      code: result.stopped ? 'E_HELD' : kept ? undefined : 'E_NOT_READ_ONLY',
      environment,
      window: state.id,
      headline: `${text} (it was ${from}).${failed > 0 ? ` ${count(failed, 'step')} could not follow:` : ''}`,
      details: [...failureLines(result.failures), ...looks],
      look: thingsToLookAt(state).length,
      next: [
        ...(failed > 0 ? [maint('start', { window: '30m' }, 'tries them again; the end does not move')] : []),
        ...(state.phase === 'announced'
          ? adoptOrCancel(Date.parse(until) - Date.parse(state.window.since))
          : [maint('end', {}, 'when it is done'), maint('status')]),
      ],
      state,
    };
  });
}

/**
 * A wall that somebody opened is closed again by whoever moves the end or tells people that it stays closed: shown and
 * asked first, since it changes what people's writes meet. Without a terminal and --yes: 64, nothing changed.
 */
async function askToCloseAgain(host: VerbHost, prepared: Prepared, live: WindowState): Promise<void> {
  if (live.phase !== 'open' || !live.reached || !host.asks) return;
  const { walls } = await lookAtWalls(host, prepared, live);
  if (!walls.some(({ is }) => is === 'open')) return;
  const open = new Set(walls.filter(({ is }) => is === 'open').map(({ step }) => step));
  const steps = prepared.steps.filter(({ id }) => open.has(id));
  const planned = await plan(lookingOf(host, { steps }), live.window, live, ['open']);
  if (planned.changes === 0) return;
  await host.confirm({
    plan: planned,
    window: live.window,
    ...{ backMs: 0, startMs: 0, warnings: [], changed: false },
    shared: host.journal.shared,
    address: host.journal.address,
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
      next: [
        maint('end', {}, 'goes on where it stopped'),
        maint('start', { window: '30m' }, 'closes the walls again, until then'),
      ],
    },
  );
}

/** Its walls are open and only the rest of its end is missing: nothing starts before that is done. */
export function refuseClosing(environment: string, { id, phase }: WindowState): void {
  if (phase !== 'closed' && phase !== 'aborted') return;
  throw new MaintError('E_NO_WINDOW', `${environment}’s window ${id} is on its way out. Nothing changed.`, {
    next: [maint(phase === 'aborted' ? 'abort' : 'end', {}, 'goes on with it'), maint('status')],
  });
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
  await askToCloseAgain(host, prepared, live);
  return await withLease(host, environment, 'note', options, async (run) => {
    const state = await liveWindow(host, environment, prepared);
    if (state?.id !== live.id) throw noWindow(environment, 'note');
    refuseClosing(environment, state);
    await mustCarry(host, prepared, state);
    const by = run.lease.owner.name;
    await run.append(state, [
      { type: 'run', state: 'began', verb: 'note', owner: by },
      { type: 'note', text, by },
    ]);
    const seq = state.lastSeq;
    const steps = tellers(prepared, state);
    const result = await converge(run.acting(state, steps), state.phase, { verb: 'note', partial: true });
    const is = afterOpening(state, steps, result.failures, await host.journal.now());
    const open = state.phase === 'open';
    const exit = !open || isKept(is) ? EXIT.DONE : EXIT.HUMAN;
    await run.append(state, [{ type: 'run', state: 'ended', verb: 'note', owner: by, exit }]);
    const told = toldBy(prepared.steps, steps, result.failures);
    const again = closedAgain(state, seq);
    const truly = openText(state, is, { refused: 'is read-only', rest: '' });
    const walls = open && (again.length > 0 || !isKept(is)) ? ` · ${truly}` : '';
    return {
      verb: 'note',
      exit,
      ...(exit === EXIT.HUMAN && { code: 'E_NOT_READ_ONLY' as const }),
      environment,
      window: state.id,
      headline: `${notedLine(text, told, result.failures.length)}${walls}`,
      details: [...failureLines(result.failures), ...again],
      look: thingsToLookAt(state).length,
      next: [maint('status')],
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
      // A look opens and closes nothing: only the notices follow.
      const notices = prepared.steps.filter((step) => roleOf(step) === 'notice');
      await converge(run.acting(state, notices), 'open', { verb: 'overdue', partial: true });
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

/**
 * What a note moves: the notices, and the walls of an open window: a flag carries the banner's words, and nobody is told
 * of a window whose walls were not seen. A wall that fails does not keep people from being told.
 */
function tellers(prepared: Prepared, { phase, owned }: WindowState): Step[] {
  const follows = (step: Step) => isWall(step) || (step.plugin.kind === 'resource' && step.plugin.tells === true);
  const isHeld = (step: Step) => phase === 'open' && (owned.get(step.id)?.size ?? 0) > 0;
  return prepared.steps
    .filter((step) => roleOf(step) === 'notice' || (follows(step) && isHeld(step)))
    .map((step): Step => (isWall(step) ? { ...step, onFailure: 'continue' } : step));
}

/** `meant`: the environment that the name may have been typed for. */
export function noWindow(environment: string, verb: string, meant?: string): MaintError {
  return new MaintError('E_NO_WINDOW', `${environment} has no open window to ${verb}. Nothing changed.`, {
    next: [...didYouMean('status', meant), maint('start', { window: '30m' }), maint('status')],
  });
}
