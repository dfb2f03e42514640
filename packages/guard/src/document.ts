// The flag document: what the flag step writes and the guard reads. Reading is tolerant (unknown fields, missing
// fields, a plain boolean); what cannot be read at all is said, so that the caller keeps the state it knows.

/** One reason for which the system is read-only, as it stands in the flag document. */
export interface Holder {
  /** The window's id: the holder's key in the document. */
  readonly window: string;
  readonly environment: string | null;
  /** As written, normally an RFC 3339 time in UTC. */
  readonly since: string | null;
  /** The planned end as written, or null where there is none or where it is no time. */
  readonly until: string | null;
  /** `until` in milliseconds since the epoch. */
  readonly untilMs: number | null;
  readonly reason: string | null;
  readonly contact: string | null;
  readonly statusPage: string | null;
  /** the last word to people, for a banner */
  readonly note: string | null;
  /** What happens past `until`: go on refusing, or stop holding. */
  readonly onExpiry: 'hold' | 'open';
}

/** What a document says. `plain`: a boolean flag that is on, of which nothing more is known. */
export interface Flag {
  readonly plain: boolean;
  /** The document is of a later version: what it says may close, and never open. */
  readonly later: boolean;
  readonly holders: readonly Holder[];
}

export type ParsedDocument = { readonly flag: Flag } | { readonly problem: string };

const OFF: Flag = Object.freeze({ plain: false, later: false, holders: Object.freeze([]) });
const ON: Flag = Object.freeze({ plain: true, later: false, holders: Object.freeze([]) });
const WORDS = new Map([
  ['true', ON],
  ['1', ON],
  ['on', ON],
  ['false', OFF],
  ['0', OFF],
  ['off', OFF],
]);
const MOST_CHARACTERS = 1024 * 1024;

/**
 * Reads a flag document.
 *
 * @param text the document, or null where there is none (no key, no file), which means read-write
 */
export function parseDocument(text: string | null): ParsedDocument {
  if (text === null) return { flag: OFF };
  if (text.length > MOST_CHARACTERS) return { problem: `longer than ${MOST_CHARACTERS} characters` };
  const word = WORDS.get(text.trim().toLowerCase());
  if (word) return { flag: word };
  // An empty text is what a writer without an atomic rename leaves for a moment: it must not open the writes.
  if (text.trim() === '') return { problem: 'empty' };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { problem: 'not JSON and not a boolean' };
  }
  if (!isRecord(value)) return { problem: 'not an object' };
  const holders = value.holders;
  if (!isRecord(holders)) return { problem: 'no object "holders" in it' };
  const later = value.version !== undefined && value.version !== 1;
  const read = Object.entries(holders).map(readHolder);
  if (!later) return { flag: { plain: false, later, holders: read } };
  // Nobody knows what else a later version says: its holders hold, and "nobody holds" is not believed.
  if (read.length === 0) return { problem: 'of a version that is not known here, without a holder' };
  return { flag: { plain: false, later, holders: read.map((holder) => ({ ...holder, onExpiry: 'hold' as const })) } };
}

/** Somebody who holds holds, whatever the details look like: only the details are lost. */
function readHolder([window, value]: [string, unknown]): Holder {
  const fields = isRecord(value) ? value : {};
  const until = textOf(fields.until);
  const untilMs = until === null ? Number.NaN : Date.parse(until);
  const known = Number.isFinite(untilMs);
  return {
    window,
    environment: textOf(fields.environment),
    since: textOf(fields.since),
    until: known ? until : null,
    untilMs: known ? untilMs : null,
    reason: textOf(fields.reason),
    contact: textOf(fields.contact),
    statusPage: textOf(fields.status_page),
    note: textOf(fields.note),
    onExpiry: fields.on_expiry === 'open' ? 'open' : 'hold',
  };
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}
