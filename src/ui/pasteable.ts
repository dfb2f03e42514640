// The next command, so that it can be pasted as it stands: with the words quoted for a shell, and with the state, the
// environment, the runbook and the queue that this command line named. Without them it would look at another state, and
// find nothing open there.

import { commandsOf, masked } from './masked.ts';

/** On the command line, and worth repeating. */
const CARRIED = ['state', 'env', 'runbook', 'queue'] as const;
const SHORT: Readonly<Record<string, string>> = { env: '-e', runbook: '-r' };
/** What stands in a file is not asked again by these: an open window has its runbook. */
const HAS_RUNBOOK = new Set(['end', 'status', 'abort', 'extend', 'note', 'verify']);
/** Typed on another machine, with another state. */
const ELSEWHERE = /^(?:Next: )?(?:on the other laptop|elsewhere)|where it (?:was started|came from)/;
const COMMAND = /\bmaint ((?:[a-z]+ )?[a-z]+)(?![a-z-])/;

export type Given = Readonly<Partial<Record<(typeof CARRIED)[number], string>>>;
/** By the name of a command ("queue list") its flags. */
export type FlagsOf = (command: string) => readonly string[] | undefined;

/** A word as a POSIX shell takes it. */
export function shellWord(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  return /["$`\\!]/.test(word) ? `'${word.replaceAll("'", "'\\''")}'` : `"${word}"`;
}

export function givenOf(parsed: object): Given {
  const flags: Readonly<Record<string, unknown>> = { ...parsed };
  return Object.fromEntries(CARRIED.flatMap((name) => (typeof flags[name] === 'string' ? [[name, flags[name]]] : [])));
}

/** One next command, or several with ` · ` between them. */
export function carried(text: string, given: Given, flagsOf: FlagsOf): string {
  return commandsOf(text)
    .map((part) => (ELSEWHERE.test(masked(part)) ? part : one(part, given, flagsOf)))
    .join(' · ');
}

function one(part: string, given: Given, flagsOf: FlagsOf): string {
  const found = COMMAND.exec(masked(part));
  if (!found) return part;
  const words = found[1]!.split(' ');
  const name = flagsOf(found[1]!) ? found[1]! : words[0]!;
  const known = flagsOf(name);
  if (!known) return part;
  const rest = part.slice(found.index + 'maint '.length + name.length);
  const more = CARRIED.filter(
    (flag) =>
      given[flag] !== undefined &&
      known.includes(flag) &&
      !stands(flag, masked(rest)) &&
      !(flag === 'runbook' && HAS_RUNBOOK.has(name) && !masked(rest).includes(' --holder')),
  ).map((flag) => ` --${flag} ${shellWord(given[flag]!)}`);
  return `${part.slice(0, found.index)}maint ${name}${more.join('')}${rest}`;
}

function stands(flag: (typeof CARRIED)[number], rest: string): boolean {
  const short = SHORT[flag];
  return rest
    .split(' ')
    .some(
      (word) =>
        word === `--${flag}` || word.startsWith(`--${flag}=`) || (short !== undefined && word.startsWith(short)),
    );
}

/** The lines of a screen: what stands after `Next:`, what stands alone, and what a detail ends with. */
export function carriedLine(line: string, given: Given, flagsOf: FlagsOf): string {
  return /^Next: |^ +maint |: maint [^"]*$/.test(masked(line)) ? carried(line, given, flagsOf) : line;
}

/** Every `next` of a document. */
export function carriedJson(value: unknown, given: Given, flagsOf: FlagsOf): unknown {
  if (Array.isArray(value)) return value.map((item) => carriedJson(item, given, flagsOf));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      if (key !== 'next' || !Array.isArray(inner)) return [key, carriedJson(inner, given, flagsOf)];
      return [
        key,
        inner.map((next) => ('command' in next ? { ...next, command: carried(next.command, given, flagsOf) } : next)),
      ];
    }),
  );
}
