// How fast a backfill may go: a rate that begins low, and falls when the service asks for less.

export interface Time {
  /** monotonic milliseconds */
  now(): number;
  /** Ends early, without an error, when the signal is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const realTime: Time = {
  now: () => performance.now(),
  sleep(ms, signal) {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      };
      // a timer of zero would be one of 1 ms anyway
      const timer = setTimeout(done, Math.max(1, ms));
      signal.addEventListener('abort', done, { once: true });
    });
  },
};

/** Where the ramp begins, and the least that slowing down leaves, as a share of the rate. */
const FLOOR = 0.1;
/** What a late timer may catch up. */
const BURST_MS = 100;

/** In any span of t seconds it gives at most rate × (t + 0.1) slots. */
export class Pace {
  readonly #rate: number;
  readonly #rampMs: number;
  readonly #time: Time;
  #share: number;
  #shareAt: number;
  #slots = 1;
  #slotsAt: number;
  #pausedUntil = Number.NEGATIVE_INFINITY;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(rate: number, rampMs: number, time: Time) {
    this.#rate = rate;
    this.#rampMs = rampMs;
    this.#time = time;
    this.#share = rampMs > 0 ? FLOOR : 1;
    this.#shareAt = time.now();
    this.#slotsAt = time.now();
  }

  /** slots per second at this moment */
  get allowed(): number {
    return this.#rate * this.#current();
  }

  /** milliseconds until it goes on; 0: it is not paused */
  get pausedFor(): number {
    return Math.max(0, this.#pausedUntil - this.#time.now());
  }

  #current(): number {
    if (this.#rampMs <= 0 && this.#share === 1) return 1;
    // without a ramp of its own, what was slowed down comes back within ten seconds
    const grown = (this.#time.now() - this.#shareAt) / (this.#rampMs || 10_000);
    return Math.min(1, this.#share + grown * (1 - FLOOR));
  }

  /** The service is overloaded: half as fast, and up the ramp again from there. */
  slowDown(): void {
    this.#share = Math.max(FLOOR, this.#current() / 2);
    this.#shareAt = this.#time.now();
  }

  /** Nothing at all for this long. */
  pause(ms: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, this.#time.now() + ms);
  }

  /** In the order of asking; false: the signal was aborted. */
  slot(signal: AbortSignal): Promise<boolean> {
    const turn = this.#turn.then(() => this.#wait(signal));
    this.#turn = turn;
    return turn;
  }

  /** A slot that was not needed. */
  giveBack(): void {
    this.#slots += 1;
  }

  async #wait(signal: AbortSignal): Promise<boolean> {
    for (;;) {
      if (signal.aborted) return false;
      const paused = this.pausedFor;
      if (paused > 0) {
        await this.#time.sleep(paused, signal);
        // what would have been allowed meanwhile is not caught up
        this.#slots = 0;
        this.#slotsAt = this.#time.now();
        continue;
      }
      const now = this.#time.now();
      const perMs = this.allowed / 1000;
      const most = Math.max(1, perMs * BURST_MS);
      this.#slots = Math.min(most, this.#slots + (now - this.#slotsAt) * perMs);
      this.#slotsAt = now;
      // what rounding leaves must not make a timer of zero
      if (this.#slots >= 1 - 1e-9) {
        this.#slots -= 1;
        return true;
      }
      await this.#time.sleep((1 - this.#slots) / perMs, signal);
    }
  }
}
