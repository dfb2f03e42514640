// States and ids as people read them: a cell of a table holds no JSON, and a cron is known by the base name of its command.
import { beginning } from '../engine/cut.ts';
import type { StateJson } from '../engine/events.ts';

/** A crontab line: its command's base name, a digest of the line, its number. */
const LINE = /([\w.+-]+?)-[0-9a-f]{10}#(?:off)?\d+/g;
const NAMED_MAX = 8;
const WORDS_MAX = 200;

/** Also of every id within a text. */
export function nameOf(text: string): string {
  return text.replaceAll(LINE, '$1');
}

/** Each name once, with how many things have it. */
export function namesOf(ids: readonly string[]): string {
  const byName = Map.groupBy(new Set(ids), nameOf);
  const names = [...byName].map(([name, all]) => (all.length === 1 ? name : `${name} (${all.length} of this name)`));
  const more = names.length - NAMED_MAX;
  return [...names.slice(0, NAMED_MAX), ...(more > 0 ? [`and ${more} more`] : [])].join(', ');
}

/** "active no, digest 63baa64b7fea85a7" */
export function stateWords(state: StateJson): string {
  if (state === null) return 'not there';
  return bounded([...flat(state)].map(([key, value]) => `${key} ${value}`));
}

/** "active: yes → no"; only what differs. */
export function changeWords(before: StateJson, after: StateJson): string {
  if (before === null && after === null) return 'not there';
  if (before === null) return `made: ${stateWords(after)}`;
  if (after === null) return 'removed';
  const [from, to] = [flat(before), flat(after)];
  const keys = [...new Set([...from.keys(), ...to.keys()])].filter((key) => from.get(key) !== to.get(key));
  if (keys.length === 0) return 'no difference';
  return bounded(keys.map((key) => `${key}: ${from.get(key) ?? 'none'} → ${to.get(key) ?? 'none'}`));
}

function bounded(parts: readonly string[]): string {
  const words = parts.join(', ');
  if (words.length <= WORDS_MAX) return words;
  return `${beginning(words, WORDS_MAX)}… (all of it with --format json)`;
}

/** Fields of fields by their path; numbers and texts as they are. */
function flat(value: object, path = '', into = new Map<string, string>()): Map<string, string> {
  for (const [key, inner] of Object.entries(value)) {
    const at = path === '' ? key : `${path}.${key}`;
    if (inner !== null && typeof inner === 'object' && Object.keys(inner).length > 0) flat(inner, at, into);
    else into.set(at, wordOf(inner));
  }
  return into;
}

function wordOf(value: unknown): string {
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (value === null || value === undefined || value === '') return 'none';
  if (typeof value === 'object') return 'nothing';
  return String(value);
}
