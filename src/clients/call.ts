// What every outer call has in common: how long it may take, how it is interrupted, and what its failure says.
import { monotonicNow } from '../engine/clock.ts';
import { WRITE_DEADLINE_MS, type WriteHooks } from '../engine/io.ts';
import { OuterError } from '../errors/catalogue.ts';
import type { Redactor } from './redact.ts';

/** One set of clients: one step, one turn. */
export interface Scope {
  readonly signal: AbortSignal;
  /** of monotonicNow: a wall clock that steps must not make every call too late */
  readonly deadline: number;
  readonly redact: Redactor;
  /** writers only */
  readonly hooks?: WriteHooks;
  /**
   * A write of this turn has gone out: from then on no failure may claim that nothing was changed, also not the second
   * write of a batch that is refused, nor a read-back that cannot connect.
   */
  wrote: boolean;
}

/** Answers beyond this are no answers to any question that a step asks. */
export const MAX_ANSWER_BYTES = 20_000_000;

export type Failure = ConstructorParameters<typeof OuterError>[1];

/**
 * The one place where OuterErrors of the clients are made: the message is redacted, and the cause of a library, which
 * holds headers and URLs, is never attached.
 */
export function outerError(scope: Scope, message: string, failure: Failure): OuterError {
  if (scope.hooks && failure.effect !== 'none') scope.wrote = true;
  const effect = failure.effect === 'none' && scope.wrote ? 'answered' : failure.effect;
  return new OuterError(scope.redact(message), { ...failure, effect });
}

export interface Limit extends Disposable {
  /** fires when the run is interrupted or the time is up */
  readonly signal: AbortSignal;
  readonly ms: number;
  /** why `signal` fired */
  reason(): 'interrupted' | 'timeout' | undefined;
}

/** Bounds one call by its own wish, by `capMs`, and by the step's deadline. Throws where nothing is left of that. */
export function limit(scope: Scope, what: string, wishMs: number | undefined, capMs = WRITE_DEADLINE_MS): Limit {
  if (scope.signal.aborted) throw interrupted(scope, what, 'none');
  const left = scope.deadline - monotonicNow();
  if (left <= 0) {
    throw outerError(scope, `${what}: the step's deadline has passed, nothing was sent`, {
      effect: 'none',
      retryable: false,
      code: 'DEADLINE',
    });
  }
  const ms = Math.max(1, Math.ceil(Math.min(wishMs ?? capMs, capMs, left)));
  const controller = new AbortController();
  let reason: 'interrupted' | 'timeout' | undefined;
  const end = (why: 'interrupted' | 'timeout') => {
    if (reason !== undefined) return;
    reason = why;
    controller.abort();
  };
  const interrupt = () => end('interrupted');
  const timer = setTimeout(() => end('timeout'), ms);
  scope.signal.addEventListener('abort', interrupt, { once: true });
  return {
    signal: controller.signal,
    ms,
    reason: () => reason,
    [Symbol.dispose]() {
      clearTimeout(timer);
      scope.signal.removeEventListener('abort', interrupt);
    },
  };
}

export function interrupted(scope: Scope, what: string, effect: Failure['effect']): OuterError {
  return outerError(scope, `${what}: interrupted`, { effect, retryable: false, code: 'ABORTED' });
}

export function timedOut(scope: Scope, what: string, ms: number, effect: Failure['effect']): OuterError {
  return outerError(scope, `${what} did not answer within ${seconds(ms)}`, {
    effect,
    retryable: true,
    code: 'ETIMEDOUT',
    waitedMs: ms,
  });
}

/** Rejects as soon as the limit ends: for libraries that take no AbortSignal. The call itself must be ended by the caller. */
export async function race<T>(bound: Limit, work: Promise<T>): Promise<T> {
  // a late failure of a call that nobody waits for any more must not end the program
  work.catch(() => {});
  if (bound.signal.aborted) throw new Expired();
  let give: (() => void) | undefined;
  const ended = new Promise<never>((_resolve, reject) => {
    give = () => reject(new Expired());
    bound.signal.addEventListener('abort', give, { once: true });
  });
  try {
    return await Promise.race([work, ended]);
  } finally {
    if (give) bound.signal.removeEventListener('abort', give);
  }
}

export class Expired extends Error {}

export function seconds(ms: number): string {
  return ms >= 1000 ? `${Math.round(ms / 100) / 10}s` : `${ms}ms`;
}

/** A write is about to go out; the engine may hold it back. */
export function before(scope: Scope, what: string): void {
  try {
    scope.hooks?.before(what);
  } catch (error) {
    if (!(error instanceof OuterError)) throw error;
    // of several writes of one turn an earlier one may have gone out
    throw outerError(scope, `${what}: ${error.message}`, { effect: error.effect, retryable: error.retryable });
  }
}

/** It was answered, whatever the answer. */
export function after(scope: Scope, what: string): void {
  scope.wrote = true;
  scope.hooks?.after(what);
}

export function errorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' && code !== '' ? code : undefined;
}

/** The connection never came about: nothing can have been sent over it. */
export const NEVER_CONNECTED: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refused the connection',
  ENOTFOUND: 'is not known to the name service',
  EAI_AGAIN: 'cannot be resolved: the name service does not answer',
  EHOSTUNREACH: 'cannot be reached: no route to the host',
  ENETUNREACH: 'cannot be reached: the network is unreachable',
  ENETDOWN: 'cannot be reached: the network is down',
  EADDRNOTAVAIL: 'cannot be reached: no local address is free',
  EMFILE: 'cannot be reached: too many open files',
};
