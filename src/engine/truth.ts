// What is true of a window now: one pure function of its state and of the last look at the walls. The journal knows what
// we did; only a look knows what is. Every verb, status, the reports and every exit code read what is said here.
import { type Resource, type Step, Unknown, type Window } from './contract.ts';
import { isOpened } from './decide.ts';
import { isWall } from './order.ts';
import { type ReadOnly, readOnlyPeriods } from './periods.ts';
import type { World } from './plan.ts';
import { openBreach, type WindowState } from './window.ts';

export interface WallLook {
  step: string;
  is: 'held' | 'open' | 'unknown';
  /** in words: what was seen, or why nothing was */
  why: string;
}
export interface GuardLook {
  guard: string;
  /** null: it could not be asked */
  refuses: boolean | null;
  why: string;
}
/** What one command saw of the walls. A wall that nobody looked at is not in it. */
export interface Look {
  walls: readonly WallLook[];
  guards: readonly GuardLook[];
  /** who else holds a wall that is not held by us, in words: writes are refused for them */
  others?: readonly string[] | undefined;
}

/** `part`: one of several walls is open, so writes may pass. */
export type Reason =
  | 'held'
  | 'not looked'
  | 'no wall'
  | 'expired'
  | 'wall open'
  | 'part'
  | 'guard passes'
  | 'guards hold alone'
  | 'others hold alone'
  | 'cannot be asked'
  | 'released'
  | 'still held';

export interface Truth {
  writes: 'refused' | 'open' | 'unknown';
  reason: Reason;
  /** what the reason is about, in words: the wall, the guard, why it cannot be asked */
  what: string;
  /** RFC 3339: since when `writes` is so, as nearly as can be told; null: nobody knows */
  since: string | null;
  /** RFC 3339: when a run of ours last saw the walls closed; null: never */
  lastHeld: string | null;
  readOnly: ReadOnly | null;
  looks: readonly WallLook[];
}

/** The walls as they were seen. `world`: what an observation of each step gave. */
export function wallsIn(steps: readonly Step[], window: Window, world: World): WallLook[] {
  return steps
    .filter((step) => isWall(step) && step.plugin.kind === 'resource' && !step.skipped)
    .flatMap((step): WallLook[] => {
      const seen = world.get(step.id);
      if (seen === undefined) return [];
      if (seen instanceof Unknown) return [{ step: step.id, is: 'unknown', why: seen.why }];
      const unseen = [...seen.values()].find((one) => one instanceof Unknown);
      if (unseen) return [{ step: step.id, is: 'unknown', why: (unseen as Unknown).why }];
      const open = [...seen].some(([id, one]) => isOpened(step, window, id, one as never));
      const words = (step.plugin as Resource).notes?.({
        ...{ params: step.params, phase: 'open', window, seen, changes: [], owned: new Map(), when: 'plan' },
      });
      const is = open || seen.size === 0 ? 'open' : 'held';
      return [{ step: step.id, is, why: words?.join(' · ') ?? (is === 'open' ? 'it is open' : 'it is closed') }];
    });
}

/** `now`: epoch milliseconds. No look: nothing is known but what the journal says. */
export function truth(state: WindowState, look: Look | undefined, now: number): Truth {
  const { writes, reason, what } = judge(state, look, now);
  const readOnly = readOnlyPeriods(state, now);
  const lastHeld = lastSeenHeld(state, look);
  return {
    ...{ writes, reason, what, readOnly, lastHeld },
    since: sinceWhen(state, writes, reason, readOnly, lastHeld),
    looks: look?.walls ?? [],
  };
}

type Judged = Pick<Truth, 'writes' | 'reason' | 'what'>;

function judge(state: WindowState, look: Look | undefined, now: number): Judged {
  if (state.phase === 'announced') return { writes: 'open', reason: 'released', what: '' };
  if (!look) return { writes: 'unknown', reason: 'not looked', what: 'nobody looked' };
  return state.phase === 'open' ? judgeOpen(state, look, now) : judgeReleased(look);
}

/** Phase open: writes are refused only if each wall was seen closed, and nobody who acts on it contradicts. */
function judgeOpen({ window }: WindowState, { walls, guards, others = [] }: Look, now: number): Judged {
  const [open, unknown] = (['open', 'unknown'] as const).map((is) => walls.filter((wall) => wall.is === is));
  const passes = guards.find(({ refuses }) => refuses === false);
  const refusing = guards.length > 0 && guards.every(({ refuses }) => refuses === true);
  if (walls.length === 0) return { writes: 'open', reason: 'no wall', what: 'this window has no wall' };
  if (window.onExpiry === 'open' && Date.parse(window.until) <= now && !refusing)
    return { writes: 'open', reason: 'expired', what: 'the guards open by themselves at its end (on_expiry: open)' };
  if (open!.length > 0) {
    // What people's writes meet are the guards: they may hold on to a flag that is gone.
    if (refusing) return { writes: 'refused', reason: 'guards hold alone', what: told(open!) };
    if (others.length > 0 && !passes)
      return { writes: 'refused', reason: 'others hold alone', what: `${told(open!)} · ${others.join(', ')}` };
    const reason = open!.length < walls.length ? 'part' : 'wall open';
    return { writes: 'open', reason, what: told(open!) };
  }
  if (passes) return { writes: 'open', reason: 'guard passes', what: `${passes.guard} lets writes through` };
  if (unknown!.length > 0) return { writes: 'unknown', reason: 'cannot be asked', what: told(unknown!) };
  return { writes: 'refused', reason: 'held', what: '' };
}

/** Soaking, closed, aborted: our walls are to be open. */
function judgeReleased({ walls, others = [] }: Look): Judged {
  const held = walls.filter(({ is }) => is === 'held');
  if (held.length > 0) return { writes: 'refused', reason: 'still held', what: told(held) };
  const unknown = walls.filter(({ is }) => is === 'unknown');
  if (unknown.length > 0) return { writes: 'unknown', reason: 'cannot be asked', what: told(unknown) };
  if (others.length > 0) return { writes: 'refused', reason: 'others hold alone', what: others.join(', ') };
  return { writes: 'open', reason: 'released', what: '' };
}

function told(walls: readonly WallLook[]): string {
  return walls.map(({ step, why }) => `${step}: ${why}`).join(' · ');
}

/** When a run last saw all of these walls closed; of walls that nobody names, when the first one closed. */
function lastSeenHeld(state: WindowState, look: Look | undefined): string | null {
  const times = (look?.walls ?? []).map(({ step }) => state.seenAt.get(step));
  if (times.length === 0) return state.wallsClosedAt ?? null;
  return times.includes(undefined) ? null : times.toSorted()[0]!;
}

function sinceWhen(
  state: WindowState,
  writes: Truth['writes'],
  reason: Reason,
  readOnly: ReadOnly | null,
  lastHeld: string | null,
): string | null {
  const last = readOnly?.periods.at(-1);
  if (writes === 'refused') return last?.from ?? state.wallsClosedAt ?? null;
  if (writes === 'unknown') return null;
  if (reason === 'expired') return state.window.until;
  if (reason === 'no wall') return state.openedAt;
  if (reason === 'released') return state.wallsOpenAt ?? null;
  return openBreach(state)?.from ?? lastHeld;
}
