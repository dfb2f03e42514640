// GET /.well-known/maintenance: what a banner shows, and what `maint verify` asks.

import { type GuardCounts, type Tally, UNNAMED } from './counts.ts';
import type { Keeper } from './keeper.ts';
import type { SeenUnnamed } from './seen.ts';
import { holding, isHeld } from './state.ts';

export const WELL_KNOWN_PATH = '/.well-known/maintenance';

/** The banner must not outlive the window in a cache, and is read by pages of other origins. */
export const WELL_KNOWN_HEADERS = Object.freeze({
  'Content-Type': 'application/json',
  'Cache-Control': 'max-age=5',
  'Access-Control-Allow-Origin': '*',
});

/** The document of `/.well-known/maintenance`, version 1. All of it is public. */
export interface MaintenanceDocument {
  readonly version: 1;
  readonly read_only: boolean;
  /** Who holds now. Empty although read-only: a plain boolean flag, or nothing is known and `onUnknown` is `refuse`. */
  readonly holders: readonly {
    readonly window: string;
    readonly environment: string | null;
    readonly since: string | null;
    readonly until: string | null;
    readonly reason: string | null;
    readonly contact: string | null;
    readonly status_page: string | null;
    readonly note: string | null;
    readonly overdue: boolean;
  }[];
  /** What the flag is read from, as far as it may be public; null: the source does not say. */
  readonly source: string | null;
  /** Since the source last confirmed this; null when it never has. */
  readonly flag_age_ms: number | null;
  /** Refused writes of the present read-only period, or else of the latest; so are the two times. */
  readonly refused: number;
  /** Writes admitted and not finished. */
  readonly in_flight: number;
  /** The part of them whose client has left, and whose end may not be seen: in flight for `abandonedMs` at most. */
  readonly abandoned: number;
  /** Of this period, like `refused`: abandoned writes whose time ran out, so that nobody saw them end. */
  readonly unseen: number;
  readonly first_refused_at: string | null;
  readonly last_refused_at: string | null;
  /** What waits in the queue, some seconds old at most; null: the guard has none, or it does not say. */
  readonly queue: { readonly queued: number; readonly bytes: number; readonly oldest_ms: number | null } | null;
  /** Since this process began, by the surface's, tool's or job's name: zeros are those that were never seen. */
  readonly surfaces: Readonly<
    Record<
      string,
      { readonly refused: number; readonly queued: number; readonly dropped: number; readonly passed: number }
    >
  >;
  /** Tells the list of surfaces that this guard runs from another one: `maint scope check` compares it with the file. */
  readonly surfaces_digest: string;
  /** Writes that no surface names, in and off the window: the 50 most frequent, without ids. */
  readonly unnamed: readonly SeenUnnamed[];
}

export function maintenanceDocument(
  keeper: Keeper,
  tally: Tally,
  queue: GuardCounts['queue'],
  source: string | null,
  digest: string,
  now: number,
): MaintenanceDocument {
  const state = keeper.current;
  const counts = tally.snapshot();
  return {
    version: 1,
    read_only: isHeld(state, now),
    holders: holding(state, now).map((h) => ({
      window: h.window,
      environment: h.environment,
      since: h.since,
      until: h.until,
      reason: h.reason,
      contact: h.contact,
      status_page: h.statusPage,
      note: h.note,
      overdue: h.untilMs !== null && h.untilMs <= now,
    })),
    source,
    flag_age_ms: keeper.ageMs(),
    refused: tally.refusedInPeriod(),
    in_flight: counts.inFlight.total,
    abandoned: counts.abandoned,
    unseen: counts.unseen,
    first_refused_at: counts.firstRefusedAt,
    last_refused_at: counts.lastRefusedAt,
    queue: queue && { queued: queue.queued, bytes: queue.bytes, oldest_ms: queue.oldestMs },
    surfaces: Object.fromEntries(
      Object.entries(counts.surfaces)
        .filter(([name]) => name !== UNNAMED)
        .map(([name, { refused, queued, dropped, passed }]) => [name, { refused, queued, dropped, passed }]),
    ),
    surfaces_digest: digest,
    unnamed: counts.unnamed,
  };
}
