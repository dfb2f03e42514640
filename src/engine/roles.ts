// When each role is held, in which order the end goes, and what a failure at start means. One table.
import type { Layer, Phase, Resource, Role, Step } from './contract.ts';

export const ROLES = {
  wall: { held: ['open'], endOrder: 1, onStartFailure: 'undo' },
  cache: { held: ['open'], endOrder: 2, onStartFailure: 'continue' },
  notice: { held: ['announced', 'open', 'soaking'], endOrder: 3, onStartFailure: 'continue' },
  work: { held: ['open', 'soaking'], endOrder: 6, onStartFailure: 'undo' },
  mute: { held: ['open', 'soaking'], endOrder: 7, onStartFailure: 'continue' },
  lock: { held: ['open', 'soaking'], endOrder: 8, onStartFailure: 'undo' },
  // No phase holds it: an event pulls it, and another one puts it back.
  lever: { held: [], endOrder: 9, onStartFailure: 'undo' },
} as const satisfies Record<Role, { held: readonly Phase[]; endOrder: number; onStartFailure: 'undo' | 'continue' }>;

/** Walls close outside-in and open inside-out. */
export const LAYERS: readonly Layer[] = ['edge', 'service', 'store'];

export function roleOf(step: Step): Role | 'check' {
  const { plugin } = step;
  if (plugin.kind === 'check') return 'check';
  if (plugin.kind === 'action') return plugin.role;
  return (plugin as Resource).roleOf?.(step.params) ?? plugin.role;
}

export function isHeld(step: Step, phase: Phase): boolean {
  const role = roleOf(step);
  if (role === 'check') return false;
  if (step.release === 'reopen') return phase === 'open';
  if (step.release === 'after-soak' || step.release === 'after-backfill')
    return phase === 'open' || phase === 'soaking';
  return (ROLES[role].held as readonly Phase[]).includes(phase);
}

export function failurePolicy(step: Step): 'undo' | 'hold' | 'continue' {
  if (step.onFailure) return step.onFailure;
  const role = roleOf(step);
  if (role === 'check') return 'undo';
  if (step.plugin.kind === 'action') return 'continue';
  return ROLES[role].onStartFailure;
}

/** Phases that release: they touch only what is owned. */
export function isClosing(phase: Phase): boolean {
  return phase === 'soaking' || phase === 'closed' || phase === 'aborted';
}

export function isAhead(step: Step): boolean {
  return step.plugin.kind === 'action' && step.plugin.ahead === true;
}
