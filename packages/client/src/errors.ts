/** Why a call was not tried again. */
export type GaveUp =
  /** The next try, or the one under way, would be past the call's deadline. */
  | 'past_deadline'
  /** Retries of this process have used up their share of its requests. */
  | 'budget_spent'
  /** As many tries as `maxAttempts` allows. */
  | 'attempts_spent'
  /** The body was a stream, or larger than is kept: it cannot be sent a second time. */
  | 'body_not_replayable'
  /** No answer came to a write that may have been applied, and nothing says that the service honours Idempotency-Key. */
  | 'outcome_unknown'
  /** The answer is no receipt, or nobody knows the receipt (any more). */
  | 'no_receipt';

export interface GaveUpFields {
  readonly code: GaveUp;
  readonly place: string;
  readonly next: string;
  readonly attempts: number;
  readonly until?: string | null;
  readonly status?: number | null;
  readonly problem?: Problem | null;
  readonly idempotencyKey?: string | null;
  readonly response?: unknown;
  readonly cause?: unknown;
}

/** An RFC 9457 problem, as far as it is used here. The guard's `code` is `read_only`, `queue_full`, … */
export interface Problem {
  readonly code?: string;
  readonly title?: string;
  readonly detail?: string;
  readonly window?: string;
  readonly until?: string;
  readonly contact?: string;
  readonly status_page?: string;
  readonly [extension: string]: unknown;
}

/**
 * A call that deserved another try and does not get one. An answer that is final by itself (200, 400, 422, …) is never
 * an error here: it is returned, by axios as axios does.
 */
export class RetryError extends Error {
  override readonly name = 'RetryError';
  readonly code: GaveUp;
  /** Method and address, without query and credentials. */
  readonly place: string;
  /** When writes are expected back, ISO 8601, as far as the service has said. */
  readonly until: string | null;
  /** What to do now. */
  readonly next: string;
  /** How often it was sent. */
  readonly attempts: number;
  /** The status of the last answer; null: there was none. */
  readonly status: number | null;
  readonly problem: Problem | null;
  /** The write's key as it was sent, a quoted string. A later try with it is the same write. */
  readonly idempotencyKey: string | null;
  /** The last answer (a Response, or axios' response); its body can still be read. */
  readonly response: unknown;

  constructor(message: string, fields: GaveUpFields) {
    super(`${fields.place}: ${message} ${fields.next}`, fields.cause === undefined ? {} : { cause: fields.cause });
    this.code = fields.code;
    this.place = fields.place;
    this.until = fields.until ?? null;
    this.next = fields.next;
    this.attempts = fields.attempts;
    this.status = fields.status ?? null;
    this.problem = fields.problem ?? null;
    this.idempotencyKey = fields.idempotencyKey ?? null;
    // Not shown by console.log: a whole answer would bury the message.
    Object.defineProperty(this, 'response', { value: fields.response, enumerable: false });
  }
}
