// The order at the start of a window, where one process has seen the flag and another has not: the one keeps a write, and
// the other would let the next one of the same partition through. Off the window a process knows of kept writes from its
// queue's memory only, so the first answer waits until every memory has them: who sends the next write after it is kept
// behind it by any process.
import type { WriteQueue } from './queue.ts';

/** The memory is at most a second old, and its timer may be late. */
const DEFAULT_MS = 1500;

export interface Settling {
  /** Before a write of this surface is handed to the queue. */
  begin(surface: string): void;
  /** Resolves when every process knows that something of the surface is kept. Soon, but for the first ones. */
  known(surface: string): Promise<void>;
}

export function createSettling(queue: WriteQueue): Settling {
  const { settleMs = DEFAULT_MS } = queue;
  /** When the first one of those that wait now was kept by this process. */
  const since = new Map<string, number>();

  function begin(surface: string): void {
    try {
      if (!queue.pending(surface)) since.delete(surface);
    } catch {
      since.delete(surface);
    }
  }

  async function known(surface: string): Promise<void> {
    const now = performance.now();
    const first = since.get(surface) ?? now;
    since.set(surface, first);
    const left = first + settleMs - now;
    if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
  }

  return { begin, known };
}
