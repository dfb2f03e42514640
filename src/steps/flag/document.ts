// The text of the flag document (one JSON object, many holders), edited in place: what belongs to other parties keeps
// its bytes, so that taking our holder out again gives back exactly what was there.
import { z } from 'zod';

/** One holder as it stands in the flag document. Texts that a foreign holder lacks are empty. */
export const FlagState = z.strictObject({
  environment: z.string(),
  since: z.string(),
  until: z.string(),
  reason: z.string(),
  contact: z.string(),
  status_page: z.string().optional(),
  on_expiry: z.enum(['hold', 'open']),
  /** the last word to people: what a banner shows */
  note: z.string().optional(),
  /** which state acts on the window, once it was carried from one to another: two that took it in see each other here */
  carried_by: z.string().optional(),
});
export type FlagState = z.infer<typeof FlagState>;

/** Ours to set and to leave out; what else stands in our holder is somebody else's. */
const KNOWN: ReadonlySet<string> = new Set(Object.keys(FlagState.shape));

/** What stands in front of a holder's members once it is parsed; missing or odd fields are the reader's business. */
export type RawHolder = unknown;

export class BrokenDocument extends Error {}

/** Set beside the holders where the document was there before the first of them: it then outlives the last one. */
const KEEP = 'keep_document';

/** All holders by window id. @throws BrokenDocument where it is no flag document */
export function readHolders(text: string | null): Map<string, RawHolder> {
  if (text === null) return new Map();
  const { holders } = parse(text);
  return new Map(holders.members.map(({ key, start, end }) => [key, JSON.parse(text.slice(start, end))]));
}

/**
 * The text with this holder set (or removed, `to` null); null: there is nothing left to keep.
 * Fields of our holder that are not in `to` stay as they are.
 */
export function withHolder(text: string | null, id: string, to: Record<string, unknown> | null): string | null {
  if (text === null) return to === null ? null : JSON.stringify({ version: 1, holders: { [id]: to } });
  const { top, holders, at } = parse(text);
  const mine = holders.members.find((member) => member.key === id);
  if (to !== null) {
    if (mine) return splice(text, mine.start, mine.end, merged(text, mine.start, to));
    const member = `${JSON.stringify(id)}:${JSON.stringify(to)}`;
    const last = holders.members.at(-1);
    if (last) return splice(text, last.end, last.end, `,${member}`);
    // Nobody held, and yet the document is there: the holders' end comes first, so that positions before it stay true.
    const kept = top.members.some(({ key }) => key === KEEP) ? '' : `,"${KEEP}":true`;
    const marked = splice(text, at.end, at.end, kept);
    return splice(marked, holders.open + 1, holders.open + 1, member);
  }
  if (!mine) return text;
  const rest = without(text, holders, mine);
  if (holders.members.length > 1) return rest;
  const now = parse(rest);
  const kept = now.top.members.find(({ key }) => key === KEEP);
  if (kept) return without(rest, now.top, kept);
  // What somebody added to a document of ours is not ours to throw away.
  return now.top.members.every(({ key }) => key === 'version' || key === 'holders') ? null : rest;
}

interface Member {
  key: string;
  /** where the key begins */
  from: number;
  /** the value */
  start: number;
  end: number;
}
interface Members {
  open: number;
  members: Member[];
}

function parse(text: string): { top: Members; holders: Members; at: Member } {
  if (text.trim() === '') throw new BrokenDocument('it is empty');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new BrokenDocument(`it is no JSON: ${(error as Error).message}`);
  }
  if (typeof value === 'boolean' || typeof value === 'number') {
    throw new BrokenDocument(`it is a plain ${typeof value} (${value}), which cannot say who holds it`);
  }
  if (!isRecord(value)) throw new BrokenDocument('it is no JSON object');
  if (value['version'] !== undefined && value['version'] !== 1) {
    throw new BrokenDocument(`its version is ${JSON.stringify(value['version'])}, and 1 is known here`);
  }
  if (!isRecord(value['holders'])) throw new BrokenDocument('it has no object "holders"');
  const top = membersOf(text, skipSpace(text, 0));
  const at = top.members.find(({ key }) => key === 'holders')!;
  const holders = membersOf(text, at.start);
  for (const [where, { members }] of [
    ['', top],
    [' in "holders"', holders],
  ] as const) {
    const twice = members.find(({ key }, i) => members.findIndex((other) => other.key === key) < i);
    if (twice) throw new BrokenDocument(`it has ${JSON.stringify(twice.key)} twice${where}`);
  }
  return { top, holders, at };
}

/** Rewrites our holder and keeps the fields that others added. */
function merged(text: string, start: number, to: Record<string, unknown>): string {
  const fresh = JSON.stringify(to);
  if (text[start] !== '{') return fresh;
  const others = membersOf(text, start).members.filter(({ key }) => !KNOWN.has(key));
  if (others.length === 0) return fresh;
  return `${fresh.slice(0, -1)},${others.map(({ from, end }) => text.slice(from, end)).join(',')}}`;
}

/** Together with the comma that stands before it; the first one's goes after it. */
function without(text: string, { members }: Members, member: Member): string {
  const at = members.indexOf(member);
  const before = members[at - 1];
  if (before) return splice(text, before.end, member.end, '');
  return splice(text, member.from, members[1]?.from ?? member.end, '');
}

function splice(text: string, from: number, to: number, by: string): string {
  return text.slice(0, from) + by + text.slice(to);
}

// A scanner for text that JSON.parse has accepted.

function membersOf(text: string, open: number): Members {
  const members: Member[] = [];
  for (let at = skipSpace(text, open + 1); text[at] !== '}'; ) {
    const from = at;
    const keyEnd = stringEnd(text, from);
    const start = skipSpace(text, skipSpace(text, keyEnd) + 1);
    const end = valueEnd(text, start);
    members.push({ key: JSON.parse(text.slice(from, keyEnd)), from, start, end });
    at = skipSpace(text, end);
    if (text[at] === ',') at = skipSpace(text, at + 1);
  }
  return { open, members };
}

function skipSpace(text: string, at: number): number {
  let next = at;
  while (text[next] === ' ' || text[next] === '\n' || text[next] === '\r' || text[next] === '\t') next++;
  return next;
}

function stringEnd(text: string, at: number): number {
  let next = at + 1;
  for (; text[next] !== '"'; next++) if (text[next] === '\\') next++;
  return next + 1;
}

function valueEnd(text: string, at: number): number {
  let depth = 0;
  for (let next = at; next < text.length; ) {
    const is = text[next]!;
    if (is === '"') next = stringEnd(text, next);
    else if (is === '{' || is === '[') {
      depth++;
      next++;
      continue;
    } else if (is === '}' || is === ']') {
      depth--;
      next++;
    } else if (depth > 0) {
      next++;
      continue;
    } else {
      while (next < text.length && !',}] \n\r\t'.includes(text[next]!)) next++;
    }
    if (depth === 0) return next;
  }
  return text.length;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
