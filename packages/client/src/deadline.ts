// Until when a call goes on. Without a deadline of its own it follows what the service asks for: a window that ends in
// ten minutes must not fail a call that was told to come back in ten minutes.

/** Beside what the service asks for: the tries themselves, and what comes back slowly after a window. */
const BESIDE_MS = 120_000;
const MOST_MS = 15 * 60_000;

export class Deadline {
  readonly #begun = performance.now();
  readonly #follows: boolean;
  #ms: number;

  /**
   * @param given milliseconds; undefined: the last Retry-After plus two minutes, at most 15 minutes in all
   * @throws TypeError where it is not a number above 0
   */
  constructor(given: number | undefined) {
    if (given !== undefined && !(given > 0)) throw new TypeError(`deadlineMs: ${given}, allowed are numbers above 0`);
    this.#follows = given === undefined;
    this.#ms = given ?? BESIDE_MS;
  }

  /** The service asks to be left alone for so long. */
  told(afterMs: number): void {
    if (!this.#follows) return;
    const asked = performance.now() - this.#begun + afterMs + BESIDE_MS;
    this.#ms = Math.min(MOST_MS, Math.max(this.#ms, asked));
  }

  /** Milliseconds until it has passed. */
  left(): number {
    return this.#begun + this.#ms - performance.now();
  }

  /** For messages. */
  get seconds(): number {
    return Math.round(this.#ms) / 1000;
  }
}
