// How long the way back takes: from what the same steps took in earlier windows of the environment, else from a guess
// by role. A window too short for its own way back is refused, and status says by when to begin the end.
import type { Role, Step } from './contract.ts';
import type { Recorded } from './events.ts';
import { roleOf } from './roles.ts';

/** Milliseconds, on the careful side. */
const GUESS: Readonly<Record<Role | 'check', { start: number; back: number }>> = {
  wall: { start: 500, back: 500 },
  cache: { start: 500, back: 500 },
  notice: { start: 1500, back: 3000 },
  work: { start: 5000, back: 2000 },
  mute: { start: 500, back: 500 },
  lock: { start: 500, back: 500 },
  lever: { start: 500, back: 500 },
  check: { start: 2000, back: 5000 },
};

export interface Estimate {
  startMs: number;
  /** without the soak */
  backMs: number;
}

export function estimate(
  steps: readonly Step[],
  history: readonly (readonly Recorded[])[],
  changes: ReadonlyMap<string, number> = new Map(),
): Estimate {
  let startMs = 0;
  let backMs = 0;
  for (const step of steps) {
    if (step.skipped) continue;
    const guess = GUESS[roleOf(step)];
    startMs += seen(history, step.id, ['open']) ?? guess.start;
    const paced = step.pacePerMinute ? ((changes.get(step.id) ?? 0) / step.pacePerMinute) * 60_000 : 0;
    backMs += Math.max(seen(history, step.id, ['soaking', 'closed', 'aborted']) ?? guess.back, paced);
  }
  return { startMs, backMs };
}

/** The longest of the last windows: an estimate that is too short leaves writes refused past the promise. */
function seen(history: readonly (readonly Recorded[])[], step: string, phases: readonly string[]): number | undefined {
  let longest: number | undefined;
  for (const events of history) {
    let sum: number | undefined;
    for (const { event } of events)
      if (event.type === 'settled' && event.step === step && phases.includes(event.phase)) sum = (sum ?? 0) + event.ms;
    if (sum !== undefined) longest = Math.max(longest ?? 0, sum);
  }
  return longest;
}
