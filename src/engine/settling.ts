// What one resource's way to a phase carries from turn to turn, and how it looks.
import type { Acting } from './acting.ts';
import type { Change, Phase, Resource, Step } from './contract.ts';
import type { Decision } from './decide.ts';
import { failurePolicy, isClosing, roleOf } from './roles.ts';
import { ownedView, type Sight, see } from './see.ts';
import { ofStep } from './window.ts';

export interface Settling {
  readonly acting: Acting;
  readonly step: Step;
  readonly resource: Resource;
  readonly phase: Phase;
  deadline: number;
  attempts: number;
  /** why the last turn did not settle it */
  problem: unknown;
  /** nothing is tried again: what its write has left is looked at once more */
  gaveUp: { error: unknown } | undefined;
  /** the ids whose last write was answered, so that it cannot arrive later */
  readonly answered: Set<string>;
  /** when each open write was first seen by this run, by attempt */
  readonly firstSeen: Map<string, number>;
  readonly drifted: Decision['drift'];
  /** what was written in this phase */
  readonly done: Change<any>[];
  lookedAt: number;
  /** when the sight was complete; undefined: something was written since, or it is none */
  sightAt: number | undefined;
  sight: Sight;
  decision: Decision;
}

/** How long a notice is tried while a start waits for it. */
const CONTINUE_MS = 10_000;

export function settling(acting: Acting, step: Step, phase: Phase, began: number): Settling {
  // A notice that is down must not hold up a window: at start it is tried for 10 s, and by the next start again.
  // Nor the way to the soak: once the window is closed it is tried for its whole deadline.
  const again = !isClosing(phase) || (phase === 'soaking' && roleOf(step) === 'notice');
  const patience = again && failurePolicy(step) === 'continue' ? CONTINUE_MS : Number.POSITIVE_INFINITY;
  return {
    acting,
    step,
    resource: step.plugin as Resource,
    phase,
    deadline: began + Math.min(step.deadlineMs, patience),
    attempts: 0,
    problem: undefined,
    gaveUp: undefined,
    answered: new Set(),
    firstSeen: new Map(),
    drifted: [],
    done: [],
    lookedAt: began,
    sightAt: undefined,
    sight: { states: new Map(), handles: new Map(), owned: new Map() },
    decision: { changes: [], release: [], settled: [], breached: [], drift: [], unknown: [], pending: [] },
  };
}

export async function sightOf({ acting, step, phase, deadline }: Settling, owned = ours(acting, step)): Promise<Sight> {
  const reader = acting.clients.reader({ signal: acting.signal, deadline });
  return await see(step, reader, { phase, window: acting.state.window, owned });
}

/** Right before these are written. Their intents are journalled by now, and yet what is ours is what it was before. */
export async function sightAgain(turn: Settling, changes: readonly Change<any>[]): Promise<Sight> {
  const owned = ours(turn.acting, turn.step);
  for (const { id } of changes) {
    const before = turn.sight.owned.get(id);
    if (before) owned.set(id, before);
    else owned.delete(id);
  }
  return await sightOf(turn, owned);
}

function ours(acting: Acting, step: Step) {
  return ownedView(ofStep(acting.state, step.id));
}
