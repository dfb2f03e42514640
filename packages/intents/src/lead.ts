// One run at a time for the whole queue: the first one leads, and says so again and again for as long as it lives.
import type { Time } from './pace.ts';
import type { IntentStore, Led } from './port.ts';

/** Longer than the deadline of a write that is sent right after the lead was renewed. */
const LEAD_MS = 15_000;
const RENEW_MS = 3_000;
const LOOK_MS = 500;

export interface Alone {
  /** Who runs it; tells this run from every other one. What stands before the first `;` is shown to people. */
  readonly owner: string;
  /** true: that run's process has ended for sure, so nobody has to wait for its lease */
  readonly gone?: (owner: string) => boolean;
}

export class Lead {
  readonly #store: IntentStore;
  readonly #alone: Alone;
  readonly #time: Time;

  constructor(store: IntentStore, alone: Alone, time: Time) {
    this.#store = store;
    this.#alone = alone;
    this.#time = time;
  }

  /**
   * undefined: it is ours. Otherwise who leads, seen alive: one that renews nothing is waited for until its lease is over.
   * `ask` puts the question until it is answered; undefined from it ends the run.
   */
  async take(
    ask: (question: () => Promise<Led>) => Promise<Led | undefined>,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { owner, gone } = this.#alone;
    let dead: string | undefined;
    let before: Extract<Led, { is: 'theirs' }> | undefined;
    while (!signal.aborted) {
      const led = await ask(() => this.#store.lead(owner, LEAD_MS, dead));
      if (led === undefined || led.is === 'ours') return undefined;
      if (gone?.(led.owner)) {
        dead = led.owner;
        continue;
      }
      if (before?.owner === led.owner && before.until !== led.until) return shown(led);
      before = led;
      await this.#time.sleep(LOOK_MS, signal);
    }
    return undefined;
  }

  /** Renews until the run is over; tells when somebody else has taken it: this process stood still for too long. */
  async keep(over: AbortSignal, lost: (who: string) => void): Promise<void> {
    while (!over.aborted) {
      await this.#time.sleep(RENEW_MS, over);
      if (over.aborted) return;
      // a store that is away is the matter of those who write to it
      const led = await this.#store.lead(this.#alone.owner, LEAD_MS).catch(() => undefined);
      if (led?.is === 'theirs') lost(shown(led));
    }
  }

  async resign(): Promise<void> {
    // nobody waits for long if it fails
    await this.#store.resign(this.#alone.owner).catch(() => {});
  }
}

function shown({ owner, since }: Extract<Led, { is: 'theirs' }>): string {
  return `${owner.split(';')[0]}, since ${new Date(since).toISOString()}`;
}
