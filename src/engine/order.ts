// In which order the steps of a phase are taken. Plan, rehearsal and converge ask here, so that what is shown is what
// is done.
import type { Order, Phase, Role, Step } from './contract.ts';
import { isAhead, isClosing, isHeld, ROLES, roleOf } from './roles.ts';

/** What the order of an end depends on besides the list. */
export interface Doings {
  /** something of this step is ours */
  owns(step: Step): boolean;
  /** this action has something to do in this phase */
  acts(step: Step): boolean;
  /** another end was promised after these were written: what carries it follows */
  behind: boolean;
}

export function phaseOrder(steps: readonly Step[], phase: Phase, doings: Doings): Step[] {
  const active = steps.filter((step) => !step.skipped);
  return isClosing(phase) ? closingOrder(active, phase, doings) : openingOrder(active, phase);
}

/** An action at `open` needs the walls closed: what stands before the last wall waits for it. */
function openingOrder(all: readonly Step[], phase: Phase): Step[] {
  // Only what is told beforehand: no wall, no purge, no check.
  if (phase === 'announced') return all.filter((step) => isHeld(step, phase));
  const steps = all.filter((step) => step.plugin.kind !== 'check' || step.plugin.on.includes('open'));
  // What is to stand still meanwhile is told before anything closes: a backfill would be cut off by the walls.
  const first = steps.filter(isAhead);
  const others = steps.filter((step) => !isAhead(step));
  const lastWall = others.findLastIndex(isWall);
  const early = others.slice(0, Math.max(lastWall, 0)).filter((step) => step.plugin.kind === 'action');
  const rest = others.filter((step) => !early.includes(step));
  const at = early.length === 0 ? rest.length : rest.findLastIndex(isWall) + 1;
  return [...first, ...rest.slice(0, at), ...early, ...rest.slice(at)];
}

/**
 * The end touches only what did something. What the soak still holds waits for the end of the soak; where another end
 * was promised meanwhile, what carries it (a silence) follows.
 */
function closingOrder(steps: readonly Step[], phase: Phase, doings: Doings): Step[] {
  return endOrder(steps).filter((step) => {
    if (step.plugin.kind === 'check') return false;
    if (step.plugin.kind === 'action') return doings.acts(step);
    if (isHeld(step, phase) && !follows(step, doings)) return false;
    return doings.owns(step);
  });
}

function follows(step: Step, { behind }: Doings): boolean {
  const role = roleOf(step);
  return role === 'notice' || (behind && (role === 'mute' || role === 'lock'));
}

/**
 * Whether `later` need not wait for `earlier`, which stands before it in the order of the phase. What stands under one
 * `parallel:` begins together at the start; the end has an order of its own, which no list overrules.
 */
export function mayOverlap(earlier: Step, later: Step, phase: Phase, order: Order): boolean {
  const together = earlier.group !== undefined && earlier.group === later.group;
  if (together && !isClosing(phase)) return true;
  if (!isIndependent(earlier) || !isIndependent(later)) return false;
  if (isClosing(phase) && isLast(later) && !TOLD_OR_LAST.has(roleOf(earlier))) return false;
  return together || (order === 'roles' && addressOf(earlier) !== addressOf(later));
}

/** A wall stands before the rest; an action, a check and a script need what stands before them. */
function isIndependent(step: Step): boolean {
  return step.plugin.kind === 'resource' && !step.plugin.alone && !isWall(step);
}

/** Alerts and locks come back once what they wait for runs again: beside a word to people, never beside work. */
const TOLD_OR_LAST: ReadonlySet<Role | 'check'> = new Set(['notice', 'mute', 'lock', 'lever']);

function isLast(step: Step): boolean {
  return ['mute', 'lock', 'lever'].includes(roleOf(step));
}

function addressOf({ plugin, params }: Step): string {
  return plugin.address(params);
}

export function isWall(step: Step): boolean {
  return roleOf(step) === 'wall';
}

/** Before the rest of the work: what need not wait for a backfill, then the backfill. */
const UNWAITING_WORK = 4;
const AHEAD = 5;

/** Steps in the order of the end: by role, inside-out within the walls, last taken first released within a role; groups are ignored. */
export function endOrder(steps: readonly Step[]): Step[] {
  return [...steps].reverse().sort((a, b) => rank(a) - rank(b));
}

function rank(step: Step): number {
  const role = roleOf(step);
  if (role === 'check') return 0;
  if (isAhead(step)) return AHEAD;
  if (step.release === 'after-soak' && role === 'work') return UNWAITING_WORK;
  const order = ROLES[role].endOrder;
  return step.release === 'after-backfill' ? Math.max(order, ROLES.work.endOrder) : order;
}
