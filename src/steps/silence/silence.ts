// What every silence has in common: what it may match, how long it lives, and how it is found again. Pure.
import { createHash } from 'node:crypto';
import type { Window } from '../../engine/contract.ts';
import type { Misspelt } from '../../engine/secret.ts';

/** A silence outlives the window by this much: who forgets to end it is told an hour later, and not never. */
const GRACE_MS = 60 * 60_000;

export interface Matcher {
  name: string;
  value: string;
  isRegex: boolean;
  isEqual: boolean;
}

/** A label's name as it always was, or any in double quotes (Alertmanager 0.27 and later). */
const NAME = /[A-Za-z_][A-Za-z0-9_]*/;
const WHOLE_NAME = new RegExp(`^${NAME.source}$`);
const QUOTED = /"(?:[^"\\]|\\[\s\S])*"/;
/** As lenient as releases before were: a window that is open must be read. What is not clear is refused by `misspelt`. */
export const MATCHER = new RegExp(`^\\s*(${NAME.source}|${QUOTED.source})\\s*(=~|!~|!=|=)\\s*([\\s\\S]*?)\\s*$`);

/** `name=value`, `name!=value`, `name=~regex`, `name!~regex`; name and value may stand in double quotes. The text fits MATCHER. */
export function parseMatcher(text: string): Matcher {
  const [, name = '', operator = '=', written = ''] = MATCHER.exec(text) ?? [];
  const value = /^".*"$/s.test(written) ? unquoted(written) : written;
  return {
    name: name.startsWith('"') ? unquoted(name) : name,
    value,
    isRegex: operator.endsWith('~'),
    isEqual: operator.startsWith('='),
  };
}

function unquoted(text: string): string {
  return text.slice(1, -1).replace(/\\(["\\])/g, '$1');
}

export function needsQuotes(name: string): boolean {
  return !WHOLE_NAME.test(name);
}

/** A value that cannot be the beginning of anything else. */
const BARE = /^(?:[^\s"'`,=~!{][^\s"'`,]*)?$/;

/** Where "the rest is the value" would silence nothing, or something else: two matchers in one text, `==`, other quotes. */
export function misspelt(text: string): Misspelt | undefined {
  const [, name, , value = ''] = MATCHER.exec(text) ?? [];
  const clear = BARE.test(value) || new RegExp(`^${QUOTED.source}$`).test(value);
  if (name !== undefined && name !== '""' && clear) return undefined;
  return {
    message: 'is not one clear matcher',
    allowed:
      'name=value, name!=value, name=~regex or name!~regex; double quotes around what holds a space, a comma or a quote',
    meant: meant(text),
  };
}

const OPERATORS: Readonly<Record<string, string>> = {
  '=': '=',
  '==': '=',
  '===': '=',
  '!=': '!=',
  '!==': '!=',
  '=!': '!=',
  '<>': '!=',
  '=~': '=~',
  '~=': '=~',
  '~': '=~',
  '!~': '!~',
  '~!': '!~',
};
const ANY_QUOTES = `"(?:[^"\\\\]|\\\\[\\s\\S])*"|'[^']*'|\`[^\`]*\``;
const WHOLE_QUOTES = new RegExp(`^(?:${ANY_QUOTES})$`);
const PART = new RegExp(`^\\s*(${ANY_QUOTES}|[^\\s"'\`=!~<>,{}]+)\\s*([=!~<>]+)\\s*(${ANY_QUOTES}|[\\s\\S]*?)\\s*$`);

/** The same in our spelling: one matcher, or a list of them. */
function meant(text: string): string | undefined {
  const inner = /^\s*\{([\s\S]*)\}\s*$/.exec(text)?.[1] ?? text;
  const one = (part: string): string | undefined => {
    const [, name, operator, value] = PART.exec(part) ?? [];
    const known = OPERATORS[operator ?? ''];
    if (name === undefined || value === undefined || known === undefined) return undefined;
    // a quote that was never closed: what was meant cannot be told
    if (/^["'`]/.test(value) && !WHOLE_QUOTES.test(value)) return undefined;
    if (/^(""|''|``)$/.test(name)) return undefined;
    return `${inQuotes(name, WHOLE_NAME)}${known}${inQuotes(value, BARE)}`;
  };
  const parts = inner.match(new RegExp(`(?:${ANY_QUOTES}|[^,"'\`])+`, 'g')) ?? [];
  const all = parts.filter((part) => part.trim() !== '').map(one);
  if (all.length > 0 && all.every((part) => part !== undefined))
    return all.length === 1 ? all[0] : `${all.length} entries: [${all.map((part) => `'${part}'`).join(', ')}]`;
  return one(inner);
}

/** In double quotes where `plain` does not fit. */
function inQuotes(text: string, plain: RegExp): string {
  const value = /^".*"$/s.test(text) ? unquoted(text) : /^(['`]).*\1$/s.test(text) ? text.slice(1, -1) : text;
  return plain.test(value) ? value : `"${value.replace(/["\\]/g, '\\$&')}"`;
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
  return `${inQuotes(name, WHOLE_NAME)}${isEqual ? '=' : '!'}${isRegex ? '~' : isEqual ? '' : '='}${value}`;
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
