// The backfill: what waits is applied, in order per partition, no faster than the service bears, until nothing is left
// or something says stop. Everything that matters is in the store: a run may be killed anywhere, and another goes on.
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { QueueError } from './error.ts';
import { judge, redacted, type StopWhy, type Verdict } from './judge.ts';
import { type Alone, Lead } from './lead.ts';
import { Pace, realTime, type Time } from './pace.ts';
import type { Claim, Intent, IntentStore, Outcome } from './port.ts';
import { httpSender, NotSent, type ReplayAnswer, type ReplayRequest, type Sender } from './send.ts';

export type { Alone, ReplayAnswer, ReplayRequest, Sender, StopWhy };

export interface BackfillOptions {
  /** Where the writes go. A path in it is put before every target. */
  readonly url: string;
  /** Of the service, not of the users: whose were never stored. */
  readonly credential?: { readonly header: string; readonly value: string };
  /** writes per second, by this process */
  readonly rate: number;
  /** How long it takes from a tenth of the rate to all of it. Default 30 s; 0: at once */
  readonly rampMs?: number;
  /** of one write, before it is a dead letter. Default 6 */
  readonly maxAttempts?: number;
  /** Retries as a share of what was sent, ten being free; more of them stop the run. Default 0.2 */
  readonly budget?: number;
  /** partitions at the same time. Default 8 */
  readonly concurrency?: number;
  /** A dead letter stops its partition (`park`, default), or the partition goes on without it. */
  readonly deadMode?: 'park' | 'skip';
  /** Whether one key has one effect at the service. Where not, an unknown outcome stops the run. */
  readonly honoursKeys: boolean;
  /** Asked before the first write and every second; `bad`, or a rejection, stops the run. */
  readonly health?: (signal: AbortSignal) => Promise<'ok' | 'bad'>;
  /** Stops the run. Writes under way have `graceMs` to end; after it their outcome is unknown. */
  readonly signal?: AbortSignal;
  /** Default 3 s */
  readonly graceMs?: number;
  readonly progress?: (progress: BackfillProgress) => void;
  /** Default: {@link httpSender}, which gives up after 10 s */
  readonly sender?: Sender;
  /** Longer than the sender's deadline. After a kill its partitions wait for the rest of it. Default 30 s */
  readonly leaseMs?: number;
  /** Dead letters in a row, nothing applied in between, that stop the run. Default 20 */
  readonly stopAfterDead?: number;
  /**
   * The rate is the queue's, not this process's: a run that another one leads ends at once, as `running_elsewhere`.
   * After a kill the next one leads as soon as the process is known to be gone, or in 15 s.
   */
  readonly alone?: Alone;
  /** for tests */
  readonly time?: Time;
  readonly random?: () => number;
}

export interface BackfillProgress {
  readonly applied: number;
  readonly alreadyApplied: number;
  readonly dead: number;
  readonly retries: number;
  /** queued or being applied, by all */
  readonly left: number;
  /** applied per second, over the last seconds */
  readonly perSecond: number;
  /** what the ramp allows at this moment */
  readonly allowed: number;
  /** null: nothing to go by yet */
  readonly etaMs: number | null;
  /** the service asked to wait; null: it did not */
  readonly pausedMs: number | null;
}

export interface Backfill {
  /** by this run, those that the service had already included */
  readonly applied: number;
  readonly alreadyApplied: number;
  readonly dead: number;
  /** queued or being applied when it ended, by whatever reason: parked behind a dead letter, or not reached */
  readonly left: number;
  /** of these, behind a dead letter */
  readonly parked: number;
  /** in the queue, dropped by people */
  readonly dropped: number;
  /** of those left, sent without a known outcome */
  readonly unknown: number;
  readonly sent: number;
  readonly retries: number;
  readonly elapsedMs: number;
  /** Absent: there was nothing more to apply. */
  readonly stopped?: {
    readonly why: StopWhy;
    /** ISO 8601 */
    readonly at: string;
    /** the write that it was about, if it was about one */
    readonly receipt: string | null;
    readonly detail: string;
  };
}

const BACKOFF_MS = 250;
const BACKOFF_CAP_MS = 10_000;
const FREE_RETRIES = 10;
/** A claim is given back after so many: other partitions have waited too. */
const TURN = 64;
const HEALTH_EVERY_MS = 1_000;
const HEALTH_DEADLINE_MS = 5_000;
const PROGRESS_EVERY_MS = 500;
/** Others may accept, requeue or give back what was not there a moment ago. */
const LOOK_AGAIN_MS = 250;
/** A store that does not answer for this long ends the run. */
const STORE_PATIENCE_MS = 15_000;

/**
 * Replays what waits in the queue. Several runs may work on one queue, each with its own rate, unless they ask to be
 * alone; they never share a partition. Rejects only for wrong options; what happens on the way is in the report.
 */
export async function runBackfill(queue: { readonly store: IntentStore }, options: BackfillOptions): Promise<Backfill> {
  check(options);
  const own =
    options.sender === undefined
      ? // a connection that was closed while idle leaves an unknown outcome, which stops a run at such a service
        httpSender({ url: options.url, keepAlive: options.honoursKeys })
      : undefined;
  try {
    return await new Run(queue.store, options, options.sender ?? own!).run();
  } finally {
    own?.close();
  }
}

interface Stop {
  why: StopWhy;
  at: string;
  receipt: string | null;
  detail: string;
}

class Run {
  readonly #store: IntentStore;
  readonly #options: BackfillOptions;
  readonly #sender: Sender;
  readonly #time: Time;
  readonly #random: () => number;
  readonly #pace: Pace;
  readonly #owner: string;
  readonly #lead: Lead | undefined;
  readonly #leaseMs: number;
  readonly #secrets: readonly string[];
  /** nothing more is begun */
  readonly #over = new AbortController();
  /** what is under way is given up */
  readonly #cut = new AbortController();
  #stop: Stop | undefined;
  #active = 0;
  #wake: () => void = () => {};
  #applied = 0;
  #already = 0;
  #dead = 0;
  #deadInARow = 0;
  /** answers in a row that say "not now", or none at all */
  #refusals = 0;
  #sent = 0;
  #retries = 0;
  #rates: { at: number; applied: number }[] = [];

  constructor(store: IntentStore, options: BackfillOptions, sender: Sender) {
    this.#store = store;
    this.#options = options;
    this.#sender = sender;
    this.#time = options.time ?? realTime;
    this.#random = options.random ?? Math.random;
    this.#pace = new Pace(options.rate, options.rampMs ?? 30_000, this.#time);
    this.#leaseMs = options.leaseMs ?? 30_000;
    this.#owner = options.alone?.owner ?? `${hostname()}:${process.pid}:${randomBytes(3).toString('hex')}`;
    this.#lead = options.alone && new Lead(store, options.alone, this.#time);
    const value = options.credential?.value;
    this.#secrets = value === undefined ? [] : [value, ...value.split(/\s+/).slice(1)];
  }

  async run(): Promise<Backfill> {
    const began = this.#time.now();
    const { signal } = this.#options;
    const interrupted = () => {
      this.#end('interrupted', null, 'stopped by its caller');
      setTimeout(() => this.#cut.abort(), this.#options.graceMs ?? 3_000).unref();
    };
    if (signal?.aborted) interrupted();
    signal?.addEventListener('abort', interrupted, { once: true });
    const finished = new AbortController();
    const beside: Promise<void>[] = [];
    try {
      const elsewhere = this.#stop ? undefined : await this.#lead?.take((q) => this.#ask(q), this.#over.signal);
      if (elsewhere !== undefined) this.#elsewhere(elsewhere);
      if (this.#lead) beside.push(this.#lead.keep(finished.signal, (who) => this.#elsewhere(who)));
      if (!this.#stop) await this.#healthy();
      beside.push(this.#watchHealth(finished.signal), this.#report(finished.signal));
      await this.#dispatch();
    } finally {
      signal?.removeEventListener('abort', interrupted);
      finished.abort();
      await Promise.all(beside);
      await this.#lead?.resign();
    }
    await this.#tell();
    const [depth, stats] = await Promise.all([
      this.#patiently(() => this.#store.depth()),
      this.#patiently(() => this.#store.stats()),
    ]);
    return {
      ...{ applied: this.#applied, alreadyApplied: this.#already, dead: this.#dead },
      left: depth?.waiting ?? -1,
      parked: stats?.parked.waiting ?? -1,
      dropped: stats?.states.dropped ?? -1,
      unknown: stats?.unknown ?? -1,
      ...{ sent: this.#sent, retries: this.#retries },
      elapsedMs: Math.round(this.#time.now() - began),
      ...(this.#stop ? { stopped: this.#stop } : {}),
    };
  }

  #elsewhere(who: string): void {
    this.#end('running_elsewhere', null, who);
  }

  #end(why: StopWhy, receipt: string | null, detail: string): void {
    this.#stop ??= { why, at: new Date().toISOString(), receipt, detail };
    this.#over.abort();
    this.#wake();
  }

  // ── Going through the partitions ────────────────────────────────────────────────────────────────────────────────

  async #dispatch(): Promise<void> {
    const most = this.#options.concurrency ?? 8;
    while (!this.#over.signal.aborted) {
      if (this.#active >= most) {
        await this.#changed(Number.POSITIVE_INFINITY);
        continue;
      }
      // first the slot: what is marked as being applied is sent at once
      if (!(await this.#pace.slot(this.#over.signal))) break;
      const taken = await this.#ask(() => this.#store.take(this.#owner, this.#leaseMs));
      if (taken?.is === 'taken') {
        this.#active++;
        void this.#serve(taken.claim, taken.intent)
          .catch((error: unknown) => this.#end('queue_failed', null, words(error)))
          .finally(() => {
            this.#active--;
            this.#wake();
          });
        continue;
      }
      this.#pace.giveBack();
      if (taken === undefined) break;
      if (taken.is === 'held') this.#held(taken.holds);
      else if (taken.is === 'later') await this.#changed(Math.min(LOOK_AGAIN_MS, Math.max(1, taken.at - taken.now)));
      else if (this.#active === 0) break;
      else await this.#changed(LOOK_AGAIN_MS);
    }
    while (this.#active > 0) await this.#changed(Number.POSITIVE_INFINITY);
  }

  /** until one of ours has ended, the run is over, or this long */
  async #changed(ms: number): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    // over already: only the end of those under way is waited for
    if (this.#over.signal.aborted && this.#active === 0) return;
    await this.#time.sleep(Math.min(ms, 2 ** 30), woken.signal);
  }

  async #serve(claim: Claim, first: Intent): Promise<void> {
    let intent = first;
    for (let n = 1; ; n++) {
      const more = await this.#apply(claim, intent);
      if (!more) return;
      if (n >= TURN || !(await this.#pace.slot(this.#over.signal))) break;
      const next = await this.#ask(() => this.#store.next(claim, this.#leaseMs));
      if (next?.is === 'taken') {
        intent = next.intent;
        continue;
      }
      this.#pace.giveBack();
      if (next?.is === 'fenced') return;
      if (next?.is === 'held') this.#held(next.holds);
      break;
    }
    await this.#ask(() => this.#store.release(claim));
  }

  #held(holds: readonly { window: string; reason: string }[]): void {
    this.#end('held', null, holds.map(({ window, reason }) => `${window}: ${reason}`).join('; '));
  }

  // ── One write ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Whether the claim goes on. */
  async #apply(claim: Claim, intent: Intent): Promise<boolean> {
    const { honoursKeys, maxAttempts = 6, deadMode = 'park' } = this.#options;
    if (intent.unknown && !honoursKeys) {
      await this.#settle(
        claim,
        intent,
        again({ delayMs: 0, unknown: true, counted: false, status: intent.status, reason: intent.reason }),
      );
      this.#unknown(intent);
      return false;
    }
    this.#sent++;
    const verdict = await this.#send(intent);
    if (verdict.is !== 'again' || !verdict.overloaded) this.#refusals = 0;

    if (verdict.is === 'applied') {
      const settled = await this.#settle(claim, intent, {
        is: 'applied',
        status: verdict.status,
        already: verdict.already,
      });
      // fenced: the effect is there, and whoever has the partition now finds that out by the key
      if (settled.is === 'fenced') return false;
      this.#applied++;
      this.#deadInARow = 0;
      if (verdict.already) this.#already++;
      return settled.more;
    }
    if (verdict.is === 'stop') {
      const { status, reason } = verdict;
      await this.#settle(claim, intent, again({ delayMs: 0, unknown: false, counted: false, status, reason }));
      this.#end(verdict.why, intent.receipt, reason);
      return false;
    }
    if (verdict.is === 'again') {
      if (verdict.unknown && !honoursKeys) {
        const { status, reason } = verdict;
        await this.#settle(claim, intent, again({ delayMs: 0, unknown: true, counted: true, status, reason }));
        this.#unknown(intent);
        return false;
      }
      // what was refused for the load, or never got there, says nothing about this write: no letter dies of it
      if (verdict.overloaded || intent.attempts + 1 < maxAttempts) {
        await this.#again(claim, intent, verdict);
        return false;
      }
    }
    const reason =
      verdict.is === 'again' ? `${verdict.reason} (after ${intent.attempts + 1} attempts)` : verdict.reason;
    const dead: Outcome = { is: 'dead', status: verdict.status, reason, park: deadMode === 'park' };
    const settled = await this.#settle(claim, intent, dead);
    if (settled.is === 'fenced') return false;
    this.#dead++;
    this.#deadInARow++;
    if (this.#deadInARow >= (this.#options.stopAfterDead ?? 20))
      this.#end('dead_letters', intent.receipt, `${this.#deadInARow} dead letters in a row; the last: ${reason}`);
    return settled.more;
  }

  async #again(claim: Claim, intent: Intent, verdict: Verdict & { is: 'again' }): Promise<void> {
    const { unknown, overloaded, status, reason } = verdict;
    const tries = overloaded ? this.#refusals++ : intent.attempts;
    const backoff = this.#random() * Math.min(BACKOFF_CAP_MS, BACKOFF_MS * 2 ** Math.min(tries, 10));
    // what the service asks for is the least; jitter on top, so that not all of them come back in the same moment
    const delayMs = Math.round((verdict.retryAfterMs ?? 0) + backoff);
    if (overloaded) {
      // it speaks of all that we send, not of this write
      this.#pace.slowDown();
      this.#pace.pause(delayMs);
    }
    await this.#settle(claim, intent, again({ delayMs, unknown, counted: !overloaded, status, reason }));
    this.#retries++;
    const allowed = Math.max(FREE_RETRIES, (this.#options.budget ?? 0.2) * this.#sent);
    if (this.#retries > allowed)
      this.#end(
        'retry_budget',
        intent.receipt,
        `${this.#retries} of ${this.#sent} sent have to be sent again; the last: ${reason}`,
      );
  }

  #unknown(intent: Intent): void {
    const detail = 'it was sent, and nobody knows what came of it: look at the service, then requeue or drop it';
    this.#end('unknown_outcome', intent.receipt, detail);
  }

  async #send(intent: Intent): Promise<Verdict> {
    const { credential } = this.#options;
    const request: ReplayRequest = {
      receipt: intent.receipt,
      method: intent.method,
      target: intent.target,
      headers: {
        ...intent.headers,
        'idempotency-key': intent.headers['idempotency-key'] ?? asString(intent.key),
        'maint-replay': intent.receipt,
        ...(credential ? { [credential.header.toLowerCase()]: credential.value } : {}),
      },
      body: intent.body ?? new Uint8Array(),
    };
    try {
      return judge(await this.#sender(request, this.#cut.signal), intent.receipt, this.#secrets);
    } catch (error) {
      const reason = redacted(words(error), this.#secrets);
      // refused by node before a connection was made: it will never go out
      if (/^ERR_(INVALID|UNESCAPED|HTTP_INVALID)/.test(String((error as NodeJS.ErrnoException).code)))
        return { is: 'dead', status: 0, reason: `cannot be sent: ${reason}` };
      const unknown = !(error instanceof NotSent);
      return {
        is: 'again',
        unknown,
        overloaded: !unknown,
        retryAfterMs: null,
        status: null,
        reason: unknown ? `no answer: ${reason}` : `not reached: ${reason}`,
      };
    }
  }

  // ── The store, which may be away for a moment ───────────────────────────────────────────────────────────────────

  /** What came of a write must be recorded: a store that restarts is waited for. */
  async #settle(claim: Claim, intent: Intent, outcome: Outcome) {
    const settled = await this.#patiently(() => this.#store.settle(claim, intent.receipt, outcome));
    if (settled) return settled;
    this.#end('queue_failed', intent.receipt, 'what came of this write could not be recorded');
    return { is: 'fenced' } as const;
  }

  async #ask<T>(question: () => Promise<T>): Promise<T | undefined> {
    return await this.#patiently(question);
  }

  async #patiently<T>(question: () => Promise<T>): Promise<T | undefined> {
    const deadline = performance.now() + STORE_PATIENCE_MS;
    for (;;) {
      try {
        return await question();
      } catch (error) {
        const closed = error instanceof QueueError && error.code === 'QUEUE_CLOSED';
        if (closed || performance.now() > deadline) {
          this.#end('queue_failed', null, words(error));
          return undefined;
        }
      }
      await delay(50 + Math.random() * 200);
    }
  }

  // ── Beside it ───────────────────────────────────────────────────────────────────────────────────────────────────

  async #healthy(): Promise<void> {
    const { health } = this.#options;
    if (!health) return;
    try {
      const is = await health(AbortSignal.any([this.#over.signal, AbortSignal.timeout(HEALTH_DEADLINE_MS)]));
      if (is === 'bad') this.#end('unhealthy', null, 'the health check says so');
    } catch (error) {
      if (!this.#over.signal.aborted) this.#end('unhealthy', null, `the health check failed: ${words(error)}`);
    }
  }

  async #watchHealth(finished: AbortSignal): Promise<void> {
    if (!this.#options.health) return;
    const ended = AbortSignal.any([finished, this.#over.signal]);
    while (!ended.aborted) {
      await this.#time.sleep(HEALTH_EVERY_MS, ended);
      if (!ended.aborted) await this.#healthy();
    }
  }

  async #report(finished: AbortSignal): Promise<void> {
    if (!this.#options.progress) return;
    while (!finished.aborted) {
      await this.#tell();
      await this.#time.sleep(PROGRESS_EVERY_MS, finished);
    }
  }

  async #tell(): Promise<void> {
    const { progress } = this.#options;
    if (!progress) return;
    const depth = await this.#store.depth().catch(() => undefined);
    if (!depth) return;
    const now = this.#time.now();
    this.#rates.push({ at: now, applied: this.#applied });
    if (this.#rates.length > 11) this.#rates.shift();
    const first = this.#rates[0]!;
    const perSecond = now > first.at ? ((this.#applied - first.applied) / (now - first.at)) * 1000 : 0;
    const paused = Math.round(this.#pace.pausedFor);
    progress({
      ...{ applied: this.#applied, alreadyApplied: this.#already, dead: this.#dead, retries: this.#retries },
      left: depth.waiting,
      perSecond,
      allowed: this.#pace.allowed,
      etaMs: depth.waiting === 0 ? 0 : perSecond > 0 ? Math.round((depth.waiting / perSecond) * 1000) + paused : null,
      pausedMs: paused === 0 ? null : paused,
    });
  }
}

function again(rest: Omit<Outcome & { is: 'again' }, 'is'>): Outcome {
  return { is: 'again', ...rest };
}

/** A String of RFC 9651, as the draft of the header wants it. */
function asString(key: string): string {
  return `"${key.replace(/[\\"]/g, '\\$&')}"`;
}

function words(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError' || (error.cause as Error | undefined)?.name === 'TimeoutError')
    return 'no answer in time';
  return error.message;
}

function check(options: BackfillOptions): void {
  const positive = (name: 'rate' | 'maxAttempts' | 'concurrency' | 'leaseMs' | 'stopAfterDead') => {
    const value = options[name];
    if (value !== undefined && !(Number.isFinite(value) && value > 0)) refuse(name, value, 'a number above 0');
  };
  for (const name of ['rate', 'maxAttempts', 'concurrency', 'leaseMs', 'stopAfterDead'] as const) positive(name);
  if (options.rate === undefined) refuse('rate', undefined, 'writes per second');
  for (const name of ['rampMs', 'graceMs', 'budget'] as const) {
    const value = options[name];
    if (value !== undefined && !(Number.isFinite(value) && value >= 0)) refuse(name, value, '0 or more');
  }
  if (options.deadMode !== undefined && !['park', 'skip'].includes(options.deadMode))
    refuse('deadMode', options.deadMode, 'park, skip');
  if (typeof options.honoursKeys !== 'boolean') refuse('honoursKeys', options.honoursKeys, 'true, false');
}

function refuse(name: string, value: unknown, allowed: string): never {
  throw new QueueError('QUEUE_OPTIONS', `${name} is ${String(value)}`, { details: [`allowed: ${allowed}`] });
}
