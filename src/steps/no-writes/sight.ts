// How a store is looked at, and what one comparison of two looks tells. The backends of the family implement it.
import type { z } from 'zod';
import type { CheckContext, Poll } from '../../engine/contract.ts';
import { OuterError } from '../../errors/catalogue.ts';

/** One thing that was written to. */
export interface Write {
  /** as people call it: "orders", "sales.orders", "SET" */
  what: string;
  /** all names under which the runbook may allow it; default `what` */
  names?: readonly string[];
  count: number;
  /** "1 inserted", "created", "open transaction of app (web-7)" */
  how: string;
  who?: readonly string[] | undefined;
}

export interface Difference {
  /** nothing at all has moved: what was written before `from` is all there is to come */
  still: boolean;
  writes: readonly Write[];
  /** has not ended yet: an open transaction */
  pending: readonly Write[];
  /** why nothing can be concluded from the comparison ("statistics were reset") */
  doubts: readonly string[];
  /** no alarm, but worth a line in the report */
  notes: readonly string[];
}

/** What the store's own log tells of the time before the second of two looks. */
export interface Logged {
  writes: readonly Write[];
  /** The end of the time that the log does not cover, in milliseconds before the second look: 0 is all of it. */
  missingMs: number;
  /** it covers the whole time between the two looks: doubts about the counters do not matter */
  whole: boolean;
  /** why it does not cover everything, and what to do about it */
  why?: string | undefined;
  notes: readonly string[];
}

/** How one store is looked at during one check. */
export interface Sight<S> {
  /** Once, before the first look. `watching`: many looks follow. */
  prepare?(watching: boolean): Promise<void>;
  look(): Promise<S>;
  /** `base` is the first look, or what was noted when the walls closed; the roles that wrote since then are named */
  compare(from: S, to: S, base: S): Promise<Difference>;
  /** Where the store keeps a log that tells exactly what was written between two looks. */
  log?(
    from: S,
    to: S,
    during: Pick<CheckContext<unknown, unknown>, 'now' | 'poll' | 'progress' | 'deadline'>,
  ): Promise<Logged>;
  /** What is journalled of a look: bounded, and free of secrets. `last`: nobody looks again before the audit. */
  trim(seen: S, last: boolean): S;
}

export interface Watched<S> {
  /** "rows": what is counted */
  unit: string;
  /** how late a write may become visible, in milliseconds; a shorter watch proves nothing */
  lateMs: number;
  Seen: z.ZodType<S>;
  sight: Sight<S>;
  allow: readonly { name: string; because: string }[];
  forMs: number;
  /** the walls stay closed until the audit is done */
  hold: boolean;
}

export interface Evidence {
  /** when `seen` was looked at, RFC 3339 */
  at: string;
  /** null: nothing was established (`now` and `audit` only compare) */
  seen: unknown;
  found: string[];
  /** what the last look before the walls opened concluded by itself; absent: the audit concludes */
  verdict?: { outcome: 'pass' | 'fail' | 'inconclusive'; summary: string } | undefined;
}

export type Context = Pick<
  CheckContext<unknown, Evidence>,
  'moment' | 'window' | 'evidence' | 'deadline' | 'now' | 'poll' | 'progress'
>;

/** A look, and between which times it was taken: epoch milliseconds. */
export interface Look<S> {
  seen: S;
  began: number;
  ended: number;
}
export interface Looks<S> {
  look(): Promise<Look<S> | undefined>;
  throwLast(): void;
}

/** A server that does not answer for a moment loses nothing: what is compared are totals. Only the last look must succeed. */
export function tolerant<S>(sight: Sight<S>, now: () => number, watching: boolean): Looks<S> {
  let failure: OuterError | undefined;
  let prepared = false;
  return {
    async look() {
      try {
        if (!prepared) await sight.prepare?.(watching);
        prepared = true;
        const began = now();
        const seen = await sight.look();
        failure = undefined;
        return { seen, began, ended: now() };
      } catch (error) {
        if (!(error instanceof OuterError && error.retryable)) throw error;
        failure = error;
        return undefined;
      }
    },
    throwLast() {
      if (failure) throw failure;
    },
  };
}

/** What one event of the journal, and one person, can take. */
export const MAX_NAMED = 2_000;
/** Time left for the last look and its answer. */
export const LAST_MS = 300;
export const LOOK_EVERY_MS = 200;

/** The first look, tried again until `deadline`. */
export async function firstLook<S>(looks: Looks<S>, poll: Poll, deadline: number): Promise<Look<S>> {
  const first = await poll(LOOK_EVERY_MS, looks.look, deadline);
  if (first) return first;
  looks.throwLast();
  throw new Error('no time is left to look even once');
}
