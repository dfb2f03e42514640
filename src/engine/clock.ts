// The clock that durations are measured by: the wall clock steps (NTP, a person, a laptop that slept), and a step must
// neither end a deadline nor put it off. Everybody who makes a deadline and everybody who keeps one goes by this.
import { performance } from 'node:perf_hooks';

const started = { wall: Date.now(), mono: performance.now() };

/** Milliseconds of the epoch as the process began, and from then on by the monotonic clock. */
export function monotonicNow(): number {
  return started.wall + (performance.now() - started.mono);
}
