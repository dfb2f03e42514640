// Time that passes only when everybody waits, for tests of the engine's own clocks: each process runs on a machine with
// a wall clock and a monotonic clock of its own, which may be off, step and sleep. Which process asks for the time is
// told by its async context.
import { AsyncLocalStorage } from 'node:async_hooks';
import { performance } from 'node:perf_hooks';

/** A laptop's clocks: how far they are from true time, in milliseconds. */
export interface Clocks {
  wall: number;
  mono: number;
  /** its timers do not fire */
  asleep: boolean;
}
/** What a process must have to live in virtual time. */
export interface Timed {
  clocks: Clocks;
  dead: boolean;
}
interface Timer {
  at: number;
  every: number | undefined;
  call: () => void;
  of: Timed | undefined;
}

const real = { setImmediate, now: Date.now, random: Math.random };
/** Nothing of the engine waits longer than this at once: who does hangs. */
const HANGS_MS = 6 * 3_600_000;

export class VirtualTime<P extends Timed = Timed> implements Disposable {
  readonly #context = new AsyncLocalStorage<P>();
  readonly #timers = new Set<Timer>();
  readonly #restore: (() => void)[] = [];
  /** true time, milliseconds since the epoch */
  now: number;

  constructor() {
    const monoAt = Math.round(performance.now());
    const begun = real.now();
    this.now = begun;
    const clocks = () => this.#context.getStore()?.clocks;
    this.#replace(Date, 'now', () => this.now + (clocks()?.wall ?? 0));
    this.#replace(performance, 'now', () => monoAt + (this.now - begun) + (clocks()?.mono ?? 0));
    const add = (every: boolean) => (call: () => void, ms: number) => {
      const of = this.#context.getStore();
      const timer: Timer = { at: this.now + Math.max(0, ms), every: every ? ms : undefined, call, of };
      this.#timers.add(timer);
      return Object.assign(timer, { unref: () => timer, ref: () => timer });
    };
    const clear = (timer: Timer) => this.#timers.delete(timer);
    this.#replace(globalThis, 'setTimeout', add(false));
    this.#replace(globalThis, 'setInterval', add(true));
    this.#replace(globalThis, 'clearTimeout', clear);
    this.#replace(globalThis, 'clearInterval', clear);
  }

  get process(): P | undefined {
    return this.#context.getStore();
  }

  as<T>(process: P, work: () => T): T {
    return this.#context.run(process, work);
  }

  /** Lets time pass until `work` has ended. */
  async until<T>(work: Promise<T>): Promise<T> {
    const begun = this.now;
    let ended = false;
    const watched = work.finally(() => {
      ended = true;
    });
    watched.catch(() => undefined);
    for (;;) {
      await new Promise((resolve) => real.setImmediate(resolve));
      if (ended) return await watched;
      const next = this.#next();
      if (!next) throw new Error('hangs: nothing is waited for');
      if (this.now - begun > HANGS_MS) throw new Error('hangs: six hours have passed');
      this.now = Math.max(this.now, Math.ceil(next.at));
      this.#fire(next);
    }
  }

  #next(): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.of?.dead) this.#timers.delete(timer);
      else if (!timer.of?.clocks.asleep && (!first || timer.at < first.at)) first = timer;
    }
    return first;
  }

  #fire(timer: Timer): void {
    if (timer.every === undefined) this.#timers.delete(timer);
    else timer.at = this.now + timer.every;
    if (timer.of) this.#context.run(timer.of as P, timer.call);
    else timer.call();
  }

  #replace(target: object, name: string, value: unknown): void {
    const was = Object.getOwnPropertyDescriptor(target, name);
    Object.defineProperty(target, name, { value, configurable: true, writable: true });
    this.#restore.push(() => {
      if (was) Object.defineProperty(target, name, was);
      else delete (target as Record<string, unknown>)[name];
    });
  }

  [Symbol.dispose](): void {
    for (const restore of this.#restore) restore();
  }
}

/** The same numbers for the same seed: a failure can be repeated. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 4_294_967_296;
  };
}
