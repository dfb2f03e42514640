// What the guard has seen. Numbers only: how they are exported (Prometheus, logs) is the service's business.

type WriteKind = 'http' | 'tool' | 'job';
type ErrorKind = 'source' | 'document' | 'localCopy' | 'internal';

/** A snapshot, from `guard.counts()`. Counters run since the guard was created and never go down. */
export interface GuardCounts {
  readonly refused: {
    readonly total: number;
    readonly http: number;
    readonly tool: number;
    readonly job: number;
    /** By the surface's, tool's or job's name; `unnamed` is what no surface names. */
    readonly bySurface: Readonly<Record<string, number>>;
  };
  /** Writes that were admitted and are not finished: for HTTP until the answer is out or the client is gone. */
  readonly inFlight: { readonly total: number; readonly http: number; readonly tool: number; readonly job: number };
  /** Writes admitted because nothing was known about the flag (`onUnknown: 'pass'`). */
  readonly passedUnknown: number;
  readonly errors: Readonly<Record<ErrorKind | 'total', number>>;
  readonly readOnly: boolean;
  /** Milliseconds since the source last confirmed the state; null when it never has. */
  readonly flagAgeMs: number | null;
  /** The source has not confirmed the state for `staleAfterMs`. */
  readonly stale: boolean;
  /** Of the present read-only period, or else of the latest. */
  readonly firstRefusedAt: string | null;
  readonly lastRefusedAt: string | null;
}

export interface Tally {
  refused(kind: WriteKind, surface: string, now: number): void;
  enter(kind: WriteKind): void;
  leave(kind: WriteKind): void;
  error(kind: ErrorKind): void;
  passedUnknown(): number;
  /** A read-only period begins: the times and the count of refusals belong to it from now on. */
  periodBegins(): void;
  snapshot(): Pick<
    GuardCounts,
    'refused' | 'inFlight' | 'passedUnknown' | 'errors' | 'firstRefusedAt' | 'lastRefusedAt'
  >;
  refusedInPeriod(): number;
}

export function createTally(): Tally {
  const refused = { http: 0, tool: 0, job: 0 };
  const inFlight = { http: 0, tool: 0, job: 0 };
  const errors = { source: 0, document: 0, localCopy: 0, internal: 0 };
  const bySurface = new Map<string, number>();
  let unknown = 0;
  let inPeriod = 0;
  let first: number | null = null;
  let last: number | null = null;
  return {
    refused(kind, surface, now) {
      refused[kind] += 1;
      inPeriod += 1;
      bySurface.set(surface, (bySurface.get(surface) ?? 0) + 1);
      first ??= now;
      last = now;
    },
    enter(kind) {
      inFlight[kind] += 1;
    },
    leave(kind) {
      inFlight[kind] -= 1;
    },
    error(kind) {
      errors[kind] += 1;
    },
    passedUnknown: () => (unknown += 1),
    periodBegins() {
      inPeriod = 0;
      first = null;
      last = null;
    },
    refusedInPeriod: () => inPeriod,
    snapshot: () => ({
      refused: {
        total: refused.http + refused.tool + refused.job,
        ...refused,
        bySurface: Object.fromEntries(bySurface),
      },
      inFlight: { total: inFlight.http + inFlight.tool + inFlight.job, ...inFlight },
      passedUnknown: unknown,
      errors: { total: errors.source + errors.document + errors.localCopy + errors.internal, ...errors },
      firstRefusedAt: first === null ? null : new Date(first).toISOString(),
      lastRefusedAt: last === null ? null : new Date(last).toISOString(),
    }),
  };
}
