// What a verb knows of the walls: from its own converge, or from one more look. Shared by all verbs that say whether
// writes are refused.
import type { StepFailure } from '../acting.ts';
import type { Step } from '../contract.ts';
import { isWall } from '../order.ts';
import { readOnlyPeriods } from '../periods.ts';
import { type Looking, look } from '../plan.ts';
import { monotonicNow } from '../run.ts';
import { type Look, type Truth, truth, type WallLook, wallsIn } from '../truth.ts';
import type { Breach, WindowState } from '../window.ts';
import { lasting, utc } from '../words.ts';
import type { Prepared, VerbHost } from './result.ts';
import { otherHolders } from './windows.ts';

export function lookingOf(host: VerbHost, { steps }: Pick<Prepared, 'steps'>): Looking {
  return { steps, clients: host.clients, signal: host.interrupt.signal, now: monotonicNow };
}

/** How long a verb that has just acted waits for walls that it cannot reach. */
const LOOK_MS = 2_000;

/** The walls, asked now. `only`: default all of them. */
export async function lookAtWalls(
  host: VerbHost,
  prepared: Pick<Prepared, 'steps'>,
  state: WindowState,
  only: (step: Step) => boolean = () => true,
): Promise<Look> {
  const wanted = (step: Step) => isWall(step) && only(step);
  const looking = lookingOf(host, prepared);
  const world = await look(looking, state.window, state.owned, wanted, LOOK_MS);
  const walls = wallsIn(prepared.steps, state.window, world);
  return { walls, guards: [], others: await otherHolders(looking, walls, state.id) };
}

/** After a converge of an open window: a wall whose step came to its end was seen closed, any other was not. */
export function wallsAfter(steps: readonly Step[], failures: readonly StepFailure[]): Look {
  const walls = steps
    .filter((step) => isWall(step) && step.plugin.kind === 'resource' && !step.skipped)
    .map(({ id }): WallLook => {
      const failure = failures.find(({ step }) => step === id);
      return failure ? { step: id, is: 'unknown', why: failure.message } : { step: id, is: 'held', why: 'closed' };
    });
  return { walls, guards: [] };
}

/** Whether an open window does what it promises. No wall is not a broken promise: it is said, and was said before. */
export function isKept(is: Truth): boolean {
  return is.writes === 'refused' || is.reason === 'no wall';
}

/** "prod is read-only since 02:00:04Z, until 02:30Z", or what is true in its place. */
export function openText(state: WindowState, is: Truth, words: { refused: string; rest: string }): string {
  const { environment } = state.window;
  if (is.writes === 'refused') return `${environment} ${words.refused}${words.rest}`;
  if (is.reason === 'no wall')
    return `${environment} holds what is named${words.rest}, and writes are NOT refused: ${is.what}`;
  const last = is.lastHeld === null ? '' : `, last seen read-only ${utc(is.lastHeld)}`;
  if (is.writes === 'unknown')
    return `${environment}: cannot tell whether writes are refused${words.rest}${last} (${is.what})`;
  return `${environment} is NOT read-only${words.rest} (${is.what}${last})`;
}

/** The walls that this run has closed again, in words: since when writes were possible. */
export function closedAgain(state: WindowState, sinceSeq: number): string[] {
  return state.breaches
    .filter((breach) => breach.seq > sinceSeq && breach.closedAgain !== undefined)
    .map(({ step, from, closedAgain }: Breach) => {
      const up = lasting(Date.parse(closedAgain!) - Date.parse(from));
      return `${step}  closed again: somebody opened it after ${utc(from)}, and writes were possible for up to ${up}`;
    });
}

/** "was read-only for 21m 05s", over all periods; undefined: never. The number that the report and the history have, too. */
export function readOnlyText(state: WindowState, now: number): string | undefined {
  const is = readOnlyPeriods(state, now);
  if (is === null) return undefined;
  const least = state.breaches.some(({ expired }) => !expired) ? 'at least ' : '';
  const parts = is.periods.length > 1 ? ` in ${is.periods.length} periods` : '';
  return `was read-only for ${least}${lasting(is.ms)}${parts}`;
}

/** What `truth` says after a verb that has acted on an open window. */
export function afterOpening(
  state: WindowState,
  steps: readonly Step[],
  failures: readonly StepFailure[],
  now: number,
): Truth {
  return truth(state, wallsAfter(steps, failures), now);
}

/** undefined: there is one. */
export function noWallText(steps: readonly Step[]): string | undefined {
  if (steps.some((step) => isWall(step) && step.plugin.kind === 'resource' && !step.skipped)) return undefined;
  return 'no wall: writes are not refused (add a flag step: maint steps flag/redis)';
}

/** What a look at the walls says after an end that could not do everything. */
export async function writesNow(host: VerbHost, prepared: Prepared, state: WindowState): Promise<string> {
  const is = truth(state, await lookAtWalls(host, prepared, state), await host.journal.now());
  if (is.reason === 'others hold alone') return 'is read-only for others still, and';
  if (is.writes === 'refused') return 'is STILL READ-ONLY, and';
  const last = is.lastHeld === null ? '' : `, last seen read-only ${utc(is.lastHeld)}`;
  if (is.writes === 'unknown') return `may STILL be READ-ONLY (${is.what}${last}), and`;
  return 'is read-write, but';
}
