// What every adapter asks for each request. It cannot throw: a fault of the guard must not become a fault of the service.
import type { BodyReader } from './body.ts';

/** Answered by the guard itself: the adapter writes it out and calls nobody else. */
export interface OwnAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface Admission {
  /** null: the request goes on to the service. Beside `wait` it is the refusal of an adapter that does not wait. */
  readonly answer: OwnAnswer | null;
  /** The value of `Read-Only` for the service's own answer. */
  readonly readOnlyHeader: string | null;
  /** To be called once, when the exchange is over; null where nothing is counted. */
  readonly leave: (() => void) | null;
  /**
   * To be called in place of `leave` when the client has left and the handler cannot be awaited. What it returns is called
   * when the handler's end is seen after all; without that the write is in flight for `abandonedMs`.
   */
  readonly abandon: (() => () => void) | null;
  /**
   * null: decided. Otherwise the body, the queue or the service's own word is needed: the adapter awaits it and does what
   * the admission says that it resolves with, which has no `wait`. It never rejects.
   */
  readonly wait: ((body: BodyReader) => Promise<Admission>) | null;
}

export interface IncomingRequest {
  readonly method: string;
  readonly url: string;
  readonly routedUrl?: string | undefined;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

export type Admit = (request: IncomingRequest) => Admission;
