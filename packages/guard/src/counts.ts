// What the guard has seen. Numbers only: how they are exported (Prometheus, logs) is the service's business.
import { createSketch, type SeenUnnamed } from './seen.ts';

/** How a write comes in. `http` includes GraphQL, and vector and key-value mutations that are HTTP requests. */
export type WriteKind = 'http' | 'tool' | 'job' | 'vector' | 'kv';
type ErrorKind = 'source' | 'document' | 'missing' | 'localCopy' | 'queue' | 'internal';
export type Fate = 'refused' | 'queued' | 'dropped' | 'passed' | 'passedUnknown';

/** What became of the writes of one surface. */
export interface SurfaceCounts {
  readonly refused: number;
  readonly queued: number;
  readonly dropped: number;
  readonly passed: number;
  /** The part of `passed` that was let through because nothing was known about the flag. */
  readonly passedUnknown: number;
}

type BySurface = Readonly<Record<string, number>>;

/** A snapshot, from `guard.counts()`. Counters run since the guard was created and never go down. */
export interface GuardCounts {
  readonly refused: { readonly total: number; readonly bySurface: BySurface } & Readonly<Record<WriteKind, number>>;
  /** Accepted into the queue, by surface: a key that came again is not counted again. */
  readonly queued: { readonly total: number; readonly bySurface: BySurface };
  /** Neither done nor kept, and the caller was told that nobody needs to know (204), or nothing at all. */
  readonly dropped: { readonly total: number; readonly bySurface: BySurface };
  /** By the surface's, tool's or job's name; `unnamed` is what no surface names. */
  readonly surfaces: Readonly<Record<string, SurfaceCounts>>;
  /** Writes that no surface names: the most frequent ones. */
  readonly unnamed: readonly SeenUnnamed[];
  /** Writes that were admitted and are not finished: for HTTP until the handler is done and the answer is out. */
  readonly inFlight: { readonly total: number } & Readonly<Record<WriteKind, number>>;
  /**
   * Writes in flight whose client has left, and whose handler is not seen to end: they count as in flight for
   * `abandonedMs` at most.
   */
  readonly abandoned: number;
  /** Those of the present read-only period, or else of the latest, whose time ran out: nobody saw them end. */
  readonly unseen: number;
  /** Writes admitted because nothing was known about the flag (`onUnknown: 'pass'`). */
  readonly passedUnknown: number;
  readonly errors: Readonly<Record<ErrorKind | 'total', number>>;
  /** What the flag is read from, without credentials; null: the source does not say. */
  readonly source: string | null;
  readonly readOnly: boolean;
  /** Milliseconds since the source last confirmed the state; null when it never has. */
  readonly flagAgeMs: number | null;
  /** The source has not confirmed the state for `staleAfterMs`. */
  readonly stale: boolean;
  /** null: the guard has no queue, or the queue does not say. */
  readonly queue: { readonly queued: number; readonly bytes: number; readonly oldestMs: number | null } | null;
  /** Of the present read-only period, or else of the latest. */
  readonly firstRefusedAt: string | null;
  readonly lastRefusedAt: string | null;
}

export interface Tally {
  count(fate: Fate, surface: string): void;
  refused(kind: WriteKind, surface: string, now: number): void;
  unnamed(method: string, target: string): void;
  enter(kind: WriteKind): void;
  leave(kind: WriteKind): void;
  /** The client of a write in flight has left. */
  abandon(): void;
  /** An abandoned write is over: its end was seen, or its time ran out. */
  found(seen: boolean): void;
  error(kind: ErrorKind): void;
  passedUnknown(): number;
  /** A read-only period begins: the times and the count of refusals belong to it from now on. */
  periodBegins(): void;
  snapshot(): Omit<GuardCounts, 'source' | 'readOnly' | 'flagAgeMs' | 'stale' | 'queue'>;
  refusedInPeriod(): number;
}

type Counters = { -readonly [Name in keyof SurfaceCounts]: number };

/** Names of tools and jobs come from the service's code. One that makes names up must not fill the memory. */
const MOST_NAMES = 500;
export const UNNAMED = 'unnamed';

/** @param names the surfaces that are known from the start: never seen shows as zero */
export function createTally(names: readonly string[]): Tally {
  const refused = zeros();
  const inFlight = zeros();
  const errors = { source: 0, document: 0, missing: 0, localCopy: 0, queue: 0, internal: 0 };
  const surfaces = new Map<string, Counters>();
  const sketch = createSketch(50);
  let abandoned = 0;
  let unseen = 0;
  let unknown = 0;
  let inPeriod = 0;
  let first: number | null = null;
  let last: number | null = null;

  function countersOf(name: string): Counters {
    const known = surfaces.get(name);
    if (known) return known;
    if (surfaces.size >= MOST_NAMES && name !== 'other') return countersOf('other');
    const counters = { refused: 0, queued: 0, dropped: 0, passed: 0, passedUnknown: 0 };
    surfaces.set(name, counters);
    return counters;
  }
  for (const name of names) countersOf(name);

  return {
    count(fate, surface) {
      countersOf(surface)[fate] += 1;
    },
    refused(kind, surface, now) {
      refused[kind] += 1;
      inPeriod += 1;
      countersOf(surface).refused += 1;
      first ??= now;
      last = now;
    },
    unnamed: sketch.add,
    enter(kind) {
      inFlight[kind] += 1;
    },
    leave(kind) {
      inFlight[kind] -= 1;
    },
    abandon() {
      abandoned += 1;
    },
    found(seen) {
      abandoned -= 1;
      if (!seen) unseen += 1;
    },
    error(kind) {
      errors[kind] += 1;
    },
    passedUnknown: () => (unknown += 1),
    periodBegins() {
      inPeriod = 0;
      unseen = 0;
      first = null;
      last = null;
    },
    refusedInPeriod: () => inPeriod,
    snapshot: () => ({
      refused: { total: sum(refused), ...refused, bySurface: those(surfaces, 'refused') },
      queued: totalOf(surfaces, 'queued'),
      dropped: totalOf(surfaces, 'dropped'),
      surfaces: Object.fromEntries([...surfaces].map(([name, counters]) => [name, { ...counters }])),
      unnamed: sketch.list(),
      inFlight: { total: sum(inFlight), ...inFlight },
      abandoned,
      unseen,
      passedUnknown: unknown,
      errors: { total: sum(errors), ...errors },
      firstRefusedAt: first === null ? null : new Date(first).toISOString(),
      lastRefusedAt: last === null ? null : new Date(last).toISOString(),
    }),
  };
}

function zeros(): Record<WriteKind, number> {
  return { http: 0, tool: 0, job: 0, vector: 0, kv: 0 };
}

function sum(numbers: Readonly<Record<string, number>>): number {
  let total = 0;
  for (const each of Object.values(numbers)) total += each;
  return total;
}

function those(surfaces: ReadonlyMap<string, Counters>, fate: Fate): Record<string, number> {
  return Object.fromEntries([...surfaces].filter(([, c]) => c[fate] > 0).map(([name, c]) => [name, c[fate]]));
}

function totalOf(surfaces: ReadonlyMap<string, Counters>, fate: Fate) {
  const bySurface = those(surfaces, fate);
  return { total: sum(bySurface), bySurface };
}
