// The one way in which the outer world is changed: bring every step to what its phase wants. Start, end, undo, resume,
// extend and refreeze are all this function with another phase. For each step, in the order of the phase (order.ts):
// observe -> desired -> changes -> intent durable -> write -> outcome durable -> observe again until nothing differs
// (settle.ts, wave.ts) -> wait for what is in flight (wait.ts).
import type { Acting, StepFailure } from './acting.ts';
import { actionEdges } from './actions.ts';
import { runChecks } from './checks.ts';
import type { Order, Phase, Step } from './contract.ts';
import { leaveStep, type Passage, tellForgotten, tellSkipped } from './left.ts';
import { isWall, mayOverlap, phaseOrder } from './order.ts';
import { isAhead, isClosing, isHeld } from './roles.ts';
import { sideBySide } from './side-by-side.ts';
import { takeStep } from './take.ts';
import { ofStep } from './window.ts';
import { utc } from './words.ts';

export interface Converged {
  failures: StepFailure[];
  /** the step at which a start stopped */
  stopped?: StepFailure | undefined;
}

interface ConvergeOptions {
  verb: string;
  undo?: boolean;
  skip?: ReadonlySet<string>;
  /** `steps` are not the whole list: nothing is said of the window as a whole */
  partial?: boolean;
}

type Stage = (passage: Passage) => Promise<void>;

const OPENING: readonly Stage[] = [takeAll];
const CLOSING: readonly Stage[] = [checkBeforeReopen, openWalls, sayReadWrite, releaseRest, tellSkipped, tellForgotten];
const PARTLY_CLOSING: readonly Stage[] = [releaseEach];

/** How long the question who else holds a wall may take. */
const HOLDERS_MS = 2_000;
/** How long a check may hold up the walls at `reopen`: writes are refused meanwhile. */
const REOPEN_CHECK_MS = 15_000;

export async function converge(
  acting: Acting,
  phase: Phase,
  options: ConvergeOptions = { verb: 'converge' },
): Promise<Converged> {
  const { state } = acting;
  const closing = isClosing(phase);
  if (state.phase !== phase) await acting.record([{ type: 'phase', phase, verb: options.verb }]);
  const order = phaseOrder(acting.steps, phase, {
    owns: (step) => ofStep(state, step.id).size > 0,
    acts: (step) => actionEdges(state, step, phase).length > 0,
    behind: state.behind,
  });
  tellPhase(acting, phase, order, options.undo === true);
  const passage: Passage = { acting, phase, order, skip: options.skip ?? new Set(), failures: [] };
  for (const stage of !closing ? OPENING : options.partial ? PARTLY_CLOSING : CLOSING) {
    await stage(passage);
    if (passage.stopped) break;
  }
  const { failures, stopped } = passage;
  const soft = failures.every((failure) => failure.policy === 'continue');
  const reached = failures.length === 0 || (!closing && soft);
  if (reached && !state.reached && !options.partial) await acting.record([{ type: 'reached', phase }]);
  return { failures, stopped };
}

function tellPhase(acting: Acting, phase: Phase, order: readonly Step[], undo: boolean): void {
  const skipped = isClosing(phase) ? [] : acting.steps.filter((step) => step.skipped);
  acting.emit({
    type: 'phase',
    phase,
    undo,
    budgetMs: phase === 'open' ? acting.state.opened.budgetMs : undefined,
    steps: [...order, ...skipped].map(({ id, plugin, group, skipped }) => ({ id, uses: plugin.name, group, skipped })),
  });
}

/** The first failure whose policy is not `continue` stops a start. */
async function takeAll(passage: Passage): Promise<void> {
  const { acting, order, phase, failures } = passage;
  const stops = (failure: StepFailure) => failure.policy !== 'continue';
  failures.push(...(await sideBySide(order, overlapping(passage), (step) => takeOpening(acting, step, phase), stops)));
  const stopped = failures.find(stops);
  if (stopped) passage.stopped = stopped;
}

/** A window of an earlier release goes on as it began. */
function overlapping({ acting, phase }: Passage) {
  const how: Order = acting.state.opened.order ?? 'strict';
  return (earlier: Step, later: Step) => mayOverlap(earlier, later, phase, how);
}

/** Writes are refused from the first wall on, and also by a wall that failed half-way: the undo must tell since when. */
async function takeOpening(acting: Acting, step: Step, phase: Phase): Promise<StepFailure | undefined> {
  const failure = await takeStep(acting, step, phase);
  const first = phase === 'open' && isWall(step) && acting.state.walls === 'open';
  if (first && ofStep(acting.state, step.id).size > 0) await acting.record([{ type: 'walls', state: 'closed' }]);
  return failure;
}

async function releaseEach({ acting, order, phase, failures }: Passage): Promise<void> {
  for (const step of order) {
    const failure = await takeStep(acting, step, phase);
    if (failure) failures.push(failure);
  }
}

async function checkBeforeReopen({ acting, phase }: Passage): Promise<void> {
  if (phase === 'soaking' && acting.state.walls === 'closed')
    await runChecks(acting, 'reopen', acting.now() + REOPEN_CHECK_MS);
}

async function openWalls(passage: Passage): Promise<void> {
  const { order, skip } = passage;
  await releaseEach({ ...passage, order: order.filter((step) => isWall(step) && !skip.has(step.id)) });
}

/**
 * One rule for a wall that failed, was skipped or cannot be asked: writes may still be refused, so whatever comes after
 * the walls waits: nobody is told that it is over, and no job runs into refused writes.
 */
async function sayReadWrite(passage: Passage): Promise<void> {
  const { acting, phase, failures, skip } = passage;
  const { state } = acting;
  const left = acting.steps.filter((step) => isWall(step) && ofStep(state, step.id).size > 0 && !isHeld(step, phase));
  for (const wall of left) {
    if (failures.some(({ step }) => step === wall.id)) continue;
    const why = skip.has(wall.id) ? 'skipped: writes may still be refused' : 'not opened';
    failures.push(await leaveStep(acting, wall, phase, why));
  }
  if (left.length > 0 || (phase === 'soaking' && failures[0])) passage.stopped = failures[0]!;
  if (left.length === 0 && state.walls === 'closed') {
    await acting.record([{ type: 'walls', state: 'open' }]);
    // Of a wall that was given up nobody knows whether it is open.
    const givenUp = state.left.some(({ wall }) => wall === true);
    const others = await stillHolding(acting);
    const lead = givenUp || others.length > 0 ? 'our walls are open since' : 'read-write since';
    const still = others.length > 0 ? `; ${others.join(', ')}` : '';
    acting.emit({ type: 'said', text: `${lead} ${utc(state.window.reopened ?? acting.now())}${still}` });
  }
}

/** Who else holds the same walls, or that nobody can tell, in words: then nobody is told that writes work again. */
async function stillHolding({ steps, state, clients, signal, now }: Acting): Promise<string[]> {
  const words: string[] = [];
  for (const { id, plugin, params, skipped } of steps) {
    if (skipped || plugin.kind !== 'resource' || !plugin.holders) continue;
    const reader = clients.reader({ signal, deadline: now() + HOLDERS_MS });
    try {
      const others = (await plugin.holders(reader, params)).filter((holder) => holder.id !== state.id);
      words.push(...others.map((holder) => `${id} is held by ${holder.id}: writes are still refused`));
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      words.push(`${id} could not be asked who else holds it: ${error instanceof Error ? error.message : error}`);
    }
  }
  return words;
}

async function releaseRest(passage: Passage): Promise<void> {
  const { acting, order, phase, skip, failures } = passage;
  let backfill: StepFailure | undefined;
  const rest = order.filter((step) => !isWall(step) && !skip.has(step.id));
  const failed = await sideBySide(rest, overlapping(passage), async (step) => {
    // The runbook says that it comes after the backfill, and the backfill is not done.
    const waits = backfill && step.release === 'after-backfill' && phase === 'closed';
    const failure = waits
      ? await leaveStep(acting, step, phase, `waits for ${backfill!.step}, as its release says`)
      : await takeStep(acting, step, phase);
    if (failure && isAhead(step)) backfill = failure;
    return failure;
  });
  failures.push(...failed);
}
