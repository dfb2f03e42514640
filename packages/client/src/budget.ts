// How many retries a process may send at all. Attempts per call do not bound that: when everything fails, "three tries"
// is three times the load at the worst moment.

export interface BudgetOptions {
  /** Retries per request: each request adds this much of a retry. Default 0.1. */
  readonly share?: number;
  /** Retries per second that are there even without requests, or a quiet process could never retry. Default 1. */
  readonly minPerSecond?: number;
  /** How many retries can be saved up, and are there at the start. Default 10. */
  readonly burst?: number;
  /** Milliseconds, rising. Default `performance.now`. */
  readonly now?: () => number;
}

/** A token bucket. In any stretch of time: retries ≤ burst + share × requests + minPerSecond × seconds. */
export interface RetryBudget {
  /** Counts a call's first try. */
  request(): void;
  /**
   * Takes one retry; waits for its turn (first come, first served) where none is left. False, at once, where none would
   * come within `maxWaitMs`. Rejects with the signal's reason.
   */
  take(maxWaitMs: number, signal?: AbortSignal | null): Promise<boolean>;
  /** `waiting`: calls whose retry waits for its turn. `denied`: those that were told no. */
  counts(): {
    readonly requests: number;
    readonly retries: number;
    readonly denied: number;
    readonly waiting: number;
    readonly left: number;
  };
}

interface Waiter {
  go(): void;
}

/**
 * A budget of its own, for what must not share the process's.
 *
 * @throws TypeError where a number is negative or not finite
 */
export function createBudget(options: BudgetOptions = {}): RetryBudget {
  const { share = 0.1, minPerSecond = 1, burst = 10, now = () => performance.now() } = options;
  for (const [name, value] of Object.entries({ share, minPerSecond, burst })) {
    if (!Number.isFinite(value) || value < 0) throw new TypeError(`${name}: ${value}, allowed are numbers from 0`);
  }
  let left = burst;
  let seen = now();
  let requests = 0;
  let retries = 0;
  let denied = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const waiters = new Set<Waiter>();

  function refill(): void {
    const at = now();
    left = Math.min(burst, left + (Math.max(0, at - seen) / 1000) * minPerSecond);
    seen = at;
  }

  /** Until the n-th in the queue has its turn if no request comes. */
  function waitMs(nth: number): number {
    return nth <= left ? 0 : ((nth - left) / minPerSecond) * 1000;
  }

  function serve(): void {
    clearTimeout(timer);
    refill();
    for (const waiter of waiters) {
      // A sum of tenths is rarely whole.
      if (left < 1 - 1e-9) break;
      left -= 1;
      waiters.delete(waiter);
      waiter.go();
    }
    if (waiters.size > 0 && minPerSecond > 0) timer = setTimeout(serve, Math.min(Math.ceil(waitMs(1)), 2 ** 31 - 1));
  }

  function request(): void {
    refill();
    requests += 1;
    left = Math.min(burst, left + share);
    if (waiters.size > 0) serve();
  }

  async function take(maxWaitMs: number, signal?: AbortSignal | null): Promise<boolean> {
    signal?.throwIfAborted();
    refill();
    if (waiters.size === 0 && left >= 1 - 1e-9) {
      left -= 1;
      retries += 1;
      return true;
    }
    const wait = waitMs(waiters.size + 1);
    if (!(wait <= maxWaitMs)) {
      denied += 1;
      return false;
    }
    await new Promise<void>((resolve, reject) => {
      const waiter: Waiter = {
        go() {
          signal?.removeEventListener('abort', leave);
          resolve();
        },
      };
      function leave(): void {
        waiters.delete(waiter);
        reject(signal?.reason);
      }
      signal?.addEventListener('abort', leave, { once: true });
      waiters.add(waiter);
      serve();
    });
    retries += 1;
    return true;
  }

  function counts() {
    refill();
    return { requests, retries, denied, waiting: waiters.size, left };
  }

  return { request, take, counts };
}

const SHARED = Symbol.for('@maint/client/budget');

/**
 * The budget that all wrapped clients of this process share, whatever copies of this package it has loaded: two
 * libraries with a budget each would be two budgets.
 */
export function sharedBudget(): RetryBudget {
  const home = globalThis as { [SHARED]?: RetryBudget };
  return (home[SHARED] ??= createBudget());
}
