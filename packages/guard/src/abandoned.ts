// Writes whose client has left while the handler goes on, and whose end nobody can be sure to see. They stay in flight for
// a time: a drain that ended before them would freeze a store under a write.
import type { Tally, WriteKind } from './counts.ts';

/**
 * @param graceMs for so long such a write counts as in flight, unless its end is seen before
 * @returns what an adapter calls when the client has left; what that returns is called when the end is seen
 */
export function createAbandon(tally: Tally, kind: WriteKind, graceMs: number): () => () => void {
  return () => {
    let over = false;
    tally.abandon();
    function end(seen: boolean): void {
      if (over) return;
      over = true;
      clearTimeout(timer);
      tally.found(seen);
      tally.leave(kind);
    }
    const timer = setTimeout(end, graceMs, false);
    timer.unref();
    return () => end(true);
  };
}
