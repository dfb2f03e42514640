// GET /.well-known/maintenance: what a banner shows, and what `maint verify` asks.

import type { Tally } from './counts.ts';
import type { Keeper } from './keeper.ts';
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
  /** Since the source last confirmed this; null when it never has. */
  readonly flag_age_ms: number | null;
  /** Refused writes of the present read-only period, or else of the latest; so are the two times. */
  readonly refused: number;
  /** Writes admitted and not finished. */
  readonly in_flight: number;
  readonly first_refused_at: string | null;
  readonly last_refused_at: string | null;
}

export function maintenanceDocument(keeper: Keeper, tally: Tally, now: number): MaintenanceDocument {
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
    flag_age_ms: keeper.ageMs(),
    refused: tally.refusedInPeriod(),
    in_flight: counts.inFlight.total,
    first_refused_at: counts.firstRefusedAt,
    last_refused_at: counts.lastRefusedAt,
  };
}
