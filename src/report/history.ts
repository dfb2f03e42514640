// One line of a window's life, for the list of them.
import type { Recorded } from '../engine/events.ts';
import { fold, type Label, label } from '../engine/window.ts';
import { reportOf, thingsToLookAt } from './report.ts';

export interface PastWindow {
  window: string;
  environment: string;
  label: Label;
  /** RFC 3339: planned, of one that is only announced */
  since: string;
  /** the last promise */
  until: string;
  /** null: not over */
  ended: string | null;
  /** how long writes were refused, until now where they still are; null: never */
  readOnlyMs: number | null;
  by: string;
  reason: string;
  ticket: string | null;
  /** how many things somebody should look at */
  look: number;
  /** where it went to: another state acts on it */
  handedTo: string | null;
}

export interface Past {
  windows: PastWindow[];
  /** how many there are that fit, beside those that are told */
  more: number;
  address: string;
}

/** undefined: these events are no window. */
export function pastOf(
  id: string,
  events: readonly Recorded[],
  options: { alive: boolean; now: number },
): PastWindow | undefined {
  const state = fold(id, events);
  const report = reportOf(id, events, options.now);
  if (!state || !report) return undefined;
  return {
    window: id,
    environment: report.environment,
    label: label(state, options.alive, options.now),
    since: state.window.since,
    until: state.window.until,
    ended: report.times.actual.ended,
    readOnlyMs: report.readOnly?.ms ?? null,
    by: report.by,
    reason: report.reason,
    ticket: report.ticket,
    look: thingsToLookAt(report),
    handedTo: state.handed?.to ?? null,
  };
}

/** Capitals do not matter. */
export function fits(
  past: PastWindow,
  filter: { matching?: string | undefined; trouble?: boolean | undefined },
): boolean {
  if (filter.trouble === true && past.look === 0) return false;
  const sought = filter.matching?.toLowerCase();
  if (sought === undefined) return true;
  return [past.window, past.by, past.reason, past.ticket ?? ''].some((text) => text.toLowerCase().includes(sought));
}
