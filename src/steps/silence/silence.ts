// What every silence has in common: what it may match, how long it lives, and how it is found again. Pure.
import { createHash } from 'node:crypto';
import type { Window } from '../../engine/contract.ts';

/** A silence outlives the window by this much: who forgets to end it is told an hour later, and not never. */
const GRACE_MS = 60 * 60_000;

export interface Matcher {
  name: string;
  value: string;
  isRegex: boolean;
  isEqual: boolean;
}

export const MATCHER = /^\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!~|!=|=)\s*([\s\S]*?)\s*$/;

/** `name=value`, `name!=value`, `name=~regex`, `name!~regex`; the value may stand in double quotes. The text fits MATCHER. */
export function parseMatcher(text: string): Matcher {
  const [, name = '', operator = '=', written = ''] = MATCHER.exec(text) ?? [];
  const value = /^".*"$/s.test(written) ? written.slice(1, -1).replace(/\\(["\\])/g, '$1') : written;
  return { name, value, isRegex: operator.endsWith('~'), isEqual: operator.startsWith('=') };
}

/** Why these matchers would silence (nearly) everything; undefined: they name something. */
export function tooBroad(matchers: readonly Matcher[]): string | undefined {
  const written = matchers.map(writeMatcher).join(', ');
  for (const matcher of matchers) {
    if (matcher.isRegex && compile(matcher.value) === undefined)
      return `${writeMatcher(matcher)} is no regular expression that can be judged here`;
  }
  // what any other alert could have there
  const narrow = matchers.some(
    ({ value, isRegex, isEqual }) =>
      isEqual && ANYTHING.every((text) => !(isRegex ? compile(value)!.test(text) : value === text)),
  );
  return narrow
    ? undefined
    : `${written} ${matchers.length === 1 ? 'fits' : 'fit'} any alert, not only those of this window`;
}

const ANYTHING = ['', 'x', '7', 'SomethingElse', 'some-thing_else.example.com:9090'];

/** Anchored, as the server does it (RE2); its leading flags are written otherwise here. */
function compile(value: string): RegExp | undefined {
  const flags = /^\(\?([ims]+)\)/.exec(value);
  try {
    return new RegExp(`^(?:${flags ? value.slice(flags[0].length) : value})$`, flags?.[1] ?? '');
  } catch {
    return undefined;
  }
}

export function writeMatcher({ name, value, isRegex, isEqual }: Matcher): string {
  return `${name}${isEqual ? '=' : '!'}${isRegex ? '~' : isEqual ? '' : '='}${value}`;
}

/** One silence per step: the same whatever the order of the matchers, and without their values, which may be resolved variables. */
export function silenceId(matchers: readonly Matcher[]): string {
  const text = JSON.stringify(matchers.map((one) => writeMatcher(one)).sort());
  return `silence-${createHash('sha256').update(text).digest('hex').slice(0, 8)}`;
}

export function endsAt(window: Window): string {
  return new Date(Date.parse(window.until) + GRACE_MS).toISOString();
}

/** In the comment, where every release of every server keeps it. */
export function markOf(window: Window, id: string): string {
  return `[maint ${window.id} ${id}]`;
}

/** "WritesRefused (2)", by name. */
export function countNames(names: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => (count === 1 ? name : `${name} (${count})`));
}

export function list(words: readonly string[]): string {
  return words.length <= 5 ? words.join(', ') : `${words.slice(0, 5).join(', ')} and ${words.length - 5} more`;
}
