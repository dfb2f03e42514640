// One call over all its tries: what fetch and axios have in common.
import { type Advice, type Answer, advice, adviceOnFailure } from './answer.ts';
import { type RetryBudget, sharedBudget } from './budget.ts';
import { Deadline } from './deadline.ts';
import { type GaveUp, type GaveUpFields, RetryError } from './errors.ts';
import { isIdempotent, isWrite, newKey } from './key.ts';
import { sleep } from './sleep.ts';

export interface ClientOptions {
  /**
   * From the call to the answer, all tries and waits included, in milliseconds. Default: the last `Retry-After` plus
   * 120,000, at most 900,000 in all. What may wait for the end of a longer window sets it to the longest one.
   */
  readonly deadlineMs?: number;
  /**
   * How many retries there may be that the service did not ask for. One that waits for a `Retry-After` of a second or
   * more is not counted. Default: the budget that all wrapped clients of this process share.
   */
  readonly budget?: RetryBudget;
  /** Tries of one call, the first included. Default: as many as deadline and budget allow. */
  readonly maxAttempts?: number;
  /**
   * Writes get an `Idempotency-Key`, once per call, unless they bring one. Default true. A browser asks the service
   * before it sends this header to another origin: `Access-Control-Allow-Headers` must name it.
   */
  readonly idempotencyKeys?: boolean;
  /**
   * The service makes one effect per Idempotency-Key, so that a write without an answer (a lost connection, 502, 504) may
   * be sent again. Default false: it fails as `outcome_unknown`; reads, PUT and DELETE are tried again either way.
   */
  readonly honoursKeys?: boolean;
  /** Wait without `Retry-After`: anything from 0 to `baseMs` × 2ⁿ, at most `maxBackoffMs`. Default 500. */
  readonly baseMs?: number;
  /** Default 30,000. */
  readonly maxBackoffMs?: number;
  /**
   * On top of `Retry-After`: anything from 0 to half of it, at least a second, or the wait without it where that is
   * longer; at most this. Default 60,000.
   */
  readonly maxJitterMs?: number;
  /** Each time before a wait. Must not throw. */
  readonly onRetry?: (retry: Retry) => void;
  /** From 0 up to, not including, 1. Default `Math.random`. */
  readonly random?: () => number;
}

export interface Retry {
  readonly place: string;
  /** How often it has been sent. */
  readonly attempts: number;
  readonly status: number | null;
  readonly until: string | null;
  readonly waitMs: number;
}

export interface Call {
  readonly method: string;
  readonly url: string;
  /** The header as the caller set it. */
  readonly key: string | null;
  readonly signal?: AbortSignal | null;
  readonly deadlineMs?: number | undefined;
}

/** Retry-After counts in seconds: less than one would leave all that were told the same in the same instant. */
const LEAST_JITTER_MS = 1000;

/** Does it ask for a wait? `Retry-After: 0`, or a date that has passed, must not free a call from the budget. */
export function asksToWait(afterMs: number | null): afterMs is number {
  return afterMs !== null && afterMs >= 1000;
}

export class Exchange {
  readonly method: string;
  readonly place: string;
  readonly key: string | null;
  readonly signal: AbortSignal | null;
  /** False, and it is not tried again. */
  replayable = true;
  attempts = 0;
  readonly #options: ClientOptions;
  readonly #budget: RetryBudget;
  readonly #deadline: Deadline;

  constructor(options: ClientOptions, call: Call) {
    this.#options = options;
    this.#budget = options.budget ?? sharedBudget();
    this.method = call.method.toUpperCase();
    this.place = `${this.method} ${publicUrl(call.url)}`;
    const makes = options.idempotencyKeys !== false && isWrite(this.method);
    this.key = call.key ?? (makes ? newKey() : null);
    this.signal = call.signal ?? null;
    this.#deadline = new Deadline(call.deadlineMs ?? options.deadlineMs);
  }

  /** Milliseconds until the deadline. */
  left(): number {
    return this.#deadline.left();
  }

  /** To be called before each try. */
  begin(): void {
    this.attempts += 1;
    if (this.attempts === 1) this.#budget.request();
  }

  /** True: try again, the wait is over. False: the answer is final. Rejects where it should be tried again and cannot. */
  async answered(answer: Answer): Promise<boolean> {
    const told = await advice(answer, Date.now());
    if (told.retry === 'no') return false;
    // What may have been applied and must not be sent twice is the caller's to judge, with the answer at hand.
    if (told.retry === 'unknown' && !this.#mayRepeat()) return false;
    await this.#wait(told, answer.status, { response: answer.response });
    return true;
  }

  /** Resolves when it may be tried again; rejects with `error` itself where that is a mistake in the call. */
  async failed(error: unknown): Promise<void> {
    if (this.signal?.aborted) throw error;
    if (this.left() <= 0) throw this.#cut(error);
    const retry = adviceOnFailure(error);
    if (retry === null) throw error;
    if (retry === 'unknown' && !this.#mayRepeat()) {
      throw this.#gaveUp('outcome_unknown', 'no answer came, and the write may have been applied.', {
        next: `See whether it was; or send it again with the same Idempotency-Key where the service honours it (honoursKeys: true does that).`,
        cause: error,
      });
    }
    await this.#wait({ retry, afterMs: null, until: null, problem: null }, null, { cause: error });
  }

  /** May a try whose outcome is not known be sent once more? */
  #mayRepeat(): boolean {
    return isIdempotent(this.method) || (this.key !== null && this.#options.honoursKeys === true);
  }

  async #wait(told: Advice, status: number | null, more: Pick<GaveUpFields, 'response' | 'cause'>): Promise<void> {
    const { maxAttempts = Number.POSITIVE_INFINITY, random = Math.random } = this.#options;
    const { until, problem } = told;
    const fields = { ...more, status, until, problem };
    const what = `${status === null ? 'no answer' : `${status}${problem?.code ? ` ${problem.code}` : ''}`}${until ? ` until ${until}` : ''}`;
    const later = `Try again ${until ? `after ${until}` : 'later'}${this.key ? ', with the same Idempotency-Key' : ''}.`;
    if (!this.replayable) {
      throw this.#gaveUp('body_not_replayable', `${what}; the body was a stream and is used up.`, {
        ...fields,
        next: `${later} Bodies that can be sent again: text, bytes, Blob, FormData, URLSearchParams.`,
      });
    }
    if (this.attempts >= maxAttempts) {
      throw this.#gaveUp('attempts_spent', `${what}, ${this.attempts} times.`, { ...fields, next: later });
    }
    const least = told.afterMs ?? 0;
    this.#deadline.told(least);
    const left = this.left();
    if (least >= left) {
      throw this.#gaveUp('past_deadline', `${what}; that is past the deadline of ${this.#deadline.seconds} s.`, {
        ...fields,
        next: `${later} Or wait for it: a larger deadlineMs.`,
      });
    }
    // What is left bounds the jitter, not the instant: otherwise all whose deadline is near would come at once again.
    const waitMs = least + random() * Math.min(this.#spread(told.afterMs), left - least);
    this.#options.onRetry?.({ place: this.place, attempts: this.attempts, status, until, waitMs });
    await sleep(waitMs, this.signal);
    const counts = !asksToWait(told.afterMs);
    if (counts && !(await this.#budget.take(Math.max(0, this.left()), this.signal))) {
      throw this.#gaveUp('budget_spent', `${what}; this process has used up its retries.`, { ...fields, next: later });
    }
    if (this.left() <= 0) {
      throw this.#gaveUp('past_deadline', `${what}; the deadline of ${this.#deadline.seconds} s has passed.`, {
        ...fields,
        next: later,
      });
    }
  }

  #spread(afterMs: number | null): number {
    const { baseMs = 500, maxBackoffMs = 30_000, maxJitterMs = 60_000 } = this.#options;
    const backoff = Math.min(maxBackoffMs, baseMs * 2 ** (this.attempts - 1));
    if (afterMs === null) return backoff;
    // One that asks for a second again and again is overloaded as well.
    return Math.min(maxJitterMs, Math.max(LEAST_JITTER_MS, afterMs / 2, backoff));
  }

  /** The deadline came while a try was under way. */
  #cut(cause: unknown): RetryError {
    const unknown = isWrite(this.method);
    const what = `no answer within the deadline of ${this.#deadline.seconds} s`;
    return this.#gaveUp('past_deadline', `${what}${unknown ? ', and the write may have been applied.' : '.'}`, {
      next: unknown ? 'See whether it was, before it is sent again.' : 'Try again later.',
      cause,
    });
  }

  #gaveUp(code: GaveUp, message: string, fields: Partial<GaveUpFields> & Pick<GaveUpFields, 'next'>): RetryError {
    return new RetryError(message, {
      ...fields,
      code,
      place: this.place,
      attempts: this.attempts,
      idempotencyKey: this.key,
    });
  }
}

/** Queries and user names are where secrets are. */
export function publicUrl(url: string): string {
  return url.replace(/[?#].*$/s, '').replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/@]*@/i, '$1');
}
