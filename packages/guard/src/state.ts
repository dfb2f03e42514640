// What the guard knows at one moment, prepared so that a request costs one comparison.
import type { Flag, Holder } from './document.ts';

export interface State {
  /** False as long as neither the source nor the local copy has said anything. */
  readonly known: boolean;
  readonly holders: readonly Holder[];
  /** Read-only before this time (ms). -Infinity: nobody holds. Infinity: until somebody removes the holder. */
  readonly holdsUntil: number;
  /** The value of the `Read-Only` header for answers that are let through. */
  readonly header: string;
  /** How long (ms) a holder with `on_expiry: open` holds past its `until`. Not 0 only where the document has vanished. */
  readonly graceMs: number;
}

/** Added to the last `until` of a document that vanished: clocks differ, and so does what "until" means to people. */
const VANISHED_GRACE_MS = 60_000;

/** The state before anything is known. */
export function unknownState(onUnknown: 'pass' | 'refuse'): State {
  const holdsUntil = onUnknown === 'refuse' ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
  return { known: false, holders: [], holdsUntil, header: '?1', graceMs: 0 };
}

/**
 * @param environment when given, holders that name another environment do not count
 */
export function stateOf(flag: Flag, environment?: string): State {
  const holders = flag.holders.filter((h) => !environment || h.environment === null || h.environment === environment);
  const holdsUntil = flag.plain ? Infinity : lastEnd(holders);
  return { known: true, holders, holdsUntil, header: headerOf(holders), graceMs: 0 };
}

/**
 * The state after a document vanished while it held: a store that lost its data must not open the writes. It holds until
 * the last `until` and a minute more, then as `on_expiry` says.
 *
 * @param lapses what was known is so old that the window may have ended meanwhile, unseen: every holder ends at its time
 */
export function vanishedState(before: State, lapses: boolean): State {
  const graceMs = VANISHED_GRACE_MS;
  const holders = lapses ? before.holders.map((h) => ({ ...h, onExpiry: 'open' as const })) : before.holders;
  const timed = lapses ? holders.filter((h) => h.untilMs !== null) : holders;
  const plain = holders.length === 0 && !lapses;
  return { ...before, holders, graceMs, holdsUntil: plain ? before.holdsUntil : lastEnd(timed) + graceMs };
}

function lastEnd(holders: readonly Holder[]): number {
  return Math.max(-Infinity, ...holders.map((h) => (h.onExpiry === 'open' ? (h.untilMs ?? Infinity) : Infinity)));
}

export function isHeld(state: State, now: number): boolean {
  return now < state.holdsUntil;
}

/** The holders that hold now: one with `on_expiry: open` stops at its `until`. */
export function holding(state: State, now: number): Holder[] {
  return state.holders.filter((h) => h.onExpiry === 'hold' || h.untilMs === null || now < h.untilMs + state.graceMs);
}

/** The holder that decides when writes are expected back: the one with the latest `until`. */
export function lastHolder(holders: readonly Holder[]): Holder | null {
  let last: Holder | null = null;
  for (const holder of holders) if (!last || (holder.untilMs ?? -1) > (last.untilMs ?? -1)) last = holder;
  return last;
}

/** An RFC 9651 item: a boolean with the end as a Date and the window as a String. */
function headerOf(holders: readonly Holder[]): string {
  const last = lastHolder(holders);
  if (!last) return '?1';
  const until = last.untilMs === null ? '' : `;until=@${Math.floor(last.untilMs / 1000)}`;
  // Anything but printable ASCII would make Node refuse the header, and with it the answer.
  const window = /^[\x20-\x7e]{1,128}$/.test(last.window) ? `;window="${last.window.replace(/[\\"]/g, '\\$&')}"` : '';
  return `?1${until}${window}`;
}
