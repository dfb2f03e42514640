// What every adapter asks for each request. It cannot throw: a fault of the guard must not become a fault of the service.

/** Answered by the guard itself: the adapter writes it out and calls nobody else. */
export interface OwnAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface Admission {
  /** null: the request goes on to the service. */
  readonly answer: OwnAnswer | null;
  /** The value of `Read-Only` for the service's own answer. */
  readonly readOnlyHeader: string | null;
  /** To be called once, when the exchange is over; null where nothing is counted. */
  readonly leave: (() => void) | null;
}

export interface IncomingRequest {
  readonly method: string;
  readonly url: string;
  readonly routedUrl?: string | undefined;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

export type Admit = (request: IncomingRequest) => Admission;
