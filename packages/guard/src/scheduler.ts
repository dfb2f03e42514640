// Cron handlers, queue workers and timers: skipped while somebody holds, and told when that begins and ends.
import type { JobSkipped } from './calls.ts';

export interface SchedulerOptions {
  /** Called when writes begin to be refused: `worker.pause()`, `task.stop()`. Also at once, where they are refused already. */
  readonly pause?: () => unknown;
  /** Called when writes pass again, after a `pause` that was called. */
  readonly resume?: () => unknown;
}

/** From `guard.scheduler()`. All functions can be taken off the object. */
export interface GuardScheduler {
  /** Runs `fn` now, unless somebody holds: then it is skipped and counted under `name`, and the result says so (`isSkipped`). */
  run<Result>(name: string, fn: () => Result): Promise<Awaited<Result> | JobSkipped>;
  /** The same as a handler: `cron.schedule('0 * * * *', scheduler.wrap('digest', sendDigests))`. */
  wrap<Args extends unknown[], Result>(
    name: string,
    fn: (...args: Args) => Result,
  ): (...args: Args) => Promise<Awaited<Result> | JobSkipped>;
  /**
   * In place of `setInterval`: each time `fn` runs unless somebody holds, or its last run is not over. What it throws is
   * logged. Call what it returns to stop. Like a timer of Node.js it keeps the process alive.
   */
  every(ms: number, name: string, fn: () => unknown): () => void;
  /** Resolves as soon as nobody holds: a worker's loop awaits it before it takes the next message. Rejects when aborted. */
  untilOpen(signal?: AbortSignal): Promise<void>;
  /** Whether runs are being skipped now. */
  readonly paused: boolean;
  /** No further `pause` and `resume`; stops what `every` began. */
  close(): void;
}

export interface SchedulerParts {
  readonly held: () => boolean;
  /** Calls back when the state may have changed, also by the clock. Returns how to stop that. */
  readonly watch: (listener: () => void) => () => void;
  readonly job: <Result>(name: string, run: () => Result) => Promise<Awaited<Result> | JobSkipped>;
  readonly failed: (message: string, error: unknown) => void;
}

export function createScheduler(parts: SchedulerParts, options: SchedulerOptions = {}): GuardScheduler {
  const timers = new Set<NodeJS.Timeout>();
  const waiting = new Set<() => void>();
  let told = false;
  let telling = false;
  let closed = false;

  /** One call after the other: a pause that is still under way when writes pass again is followed by its resume. */
  async function tell(): Promise<void> {
    if (telling) return;
    telling = true;
    while (!closed && told !== parts.held()) {
      told = !told;
      try {
        await (told ? options.pause : options.resume)?.();
      } catch (error) {
        parts.failed(told ? "the scheduler's pause failed" : "the scheduler's resume failed", error);
      }
    }
    telling = false;
  }

  function look(): void {
    if (!parts.held()) {
      for (const go of waiting) go();
      waiting.clear();
    }
    void tell();
  }

  const stop = parts.watch(look);
  look();

  return {
    run: parts.job,
    wrap:
      (name, fn) =>
      (...args) =>
        parts.job(name, () => fn(...args)),
    every(ms, name, fn) {
      let running = false;
      const timer = setInterval(async () => {
        if (running) return;
        running = true;
        try {
          await parts.job(name, fn);
        } catch (error) {
          parts.failed('a scheduled run failed', error);
        }
        running = false;
      }, ms);
      timers.add(timer);
      return () => {
        clearInterval(timer);
        timers.delete(timer);
      };
    },
    untilOpen: (signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        if (!parts.held()) return resolve();
        const abort = () => {
          waiting.delete(go);
          reject(signal?.reason);
        };
        const go = () => {
          signal?.removeEventListener('abort', abort);
          resolve();
        };
        waiting.add(go);
        signal?.addEventListener('abort', abort, { once: true });
      }),
    get paused() {
      return parts.held();
    },
    close() {
      closed = true;
      stop();
      for (const timer of timers) clearInterval(timer);
      timers.clear();
    },
  };
}
