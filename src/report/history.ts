// One line of a window's life, for the list of them.
import type { Recorded } from '../engine/events.ts';
import { readOnlyPeriods } from '../engine/periods.ts';
import { thingsToLookAt } from '../engine/verbs/failures.ts';
import { fold, type Label, label, type WindowState } from '../engine/window.ts';

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
  /** how long writes were refused, until now where they still are, until it was handed over; null: never */
  readOnlyMs: number | null;
  by: string;
  reason: string;
  ticket: string | null;
  /** how many things somebody should look at */
  look: number;
  /** where it went to: another state acts on it */
  handedTo: string | null;
  /** when: what became of it since is not known here */
  handedAt: string | null;
  /** something to look at, or something that went wrong and was put right since: a start that was undone, a late end */
  trouble: boolean;
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
  if (!state) return undefined;
  const { opened, window, handed } = state;
  const now = handed ? Date.parse(handed.at) : options.now;
  const is = label(state, options.alive, now);
  const over = state.reached && (state.phase === 'closed' || state.phase === 'aborted');
  const look = thingsToLookAt(state).length;
  return {
    window: id,
    environment: opened.environment,
    label: is,
    since: window.since,
    until: window.until,
    ended: over ? (events.findLast(({ event }) => event.type === 'reached')?.at ?? null) : null,
    readOnlyMs: readOnlyPeriods(state, now)?.ms ?? null,
    by: opened.by,
    reason: opened.reason,
    ticket: opened.ticket ?? null,
    look,
    handedTo: handed?.to ?? null,
    handedAt: handed?.at ?? null,
    trouble: look > 0 || TROUBLED.has(is) || wentWrong(events, state, now),
  };
}

const TROUBLED: ReadonlySet<Label> = new Set(['overdue', 'interrupted', 'held', 'needs a human', 'soak bad']);

/** Something failed, was found open, or was late, whatever came of it. */
function wentWrong(events: readonly Recorded[], state: WindowState, now: number): boolean {
  if (state.breaches.length > 0) return true;
  const end = state.walls === 'closed' ? now : Date.parse(state.wallsOpenAt ?? state.window.until);
  if (end > Date.parse(state.window.until)) return true;
  return events.some(
    ({ event }) =>
      event.type === 'failed' || event.type === 'overdue' || (event.type === 'checked' && event.outcome === 'fail'),
  );
}

/** Capitals do not matter. */
export function fits(
  past: PastWindow,
  filter: { matching?: string | undefined; trouble?: boolean | undefined },
): boolean {
  if (filter.trouble === true && !past.trouble) return false;
  const sought = filter.matching?.toLowerCase();
  if (sought === undefined) return true;
  return [past.window, past.by, past.reason, past.ticket ?? ''].some((text) => text.toLowerCase().includes(sought));
}
