// What to type next, so that it can be pasted as it stands: with the words quoted for a shell, and with the state, the
// environment, the runbook and the queue that this command line named. Without them it would look at another state, and
// find nothing open there.
import type { Next, NextRun, Run, Word } from '../errors/next.ts';
import { clean, type Flow, pad, width } from './layout.ts';

/** On the command line, and worth repeating. */
const CARRIED = ['state', 'env', 'runbook', 'queue'] as const;
/** What stands in a file is not asked again by these: an open window has its runbook. */
const HAS_RUNBOOK = new Set(['end', 'status', 'abort', 'extend', 'note', 'verify']);

export type Given = Readonly<Partial<Record<(typeof CARRIED)[number], string>>>;
export interface Carry {
  given: Given;
  /** by the name of a command ("queue list") its flags */
  flagsOf(command: string): readonly string[] | undefined;
}
const NOTHING: Carry = { given: {}, flagsOf: () => undefined };

/** A line of a screen. */
export type Line = string | NextLine;
export interface NextLine {
  next: readonly Next[];
  /** one below the other, in place of one line */
  list?: true;
  /** what stands behind the last one */
  after?: string;
}

export function nextLine(...next: readonly Next[]): NextLine {
  return { next };
}

/** A word as a POSIX shell takes it. */
export function shellWord(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  return /["$`\\!]/.test(word) ? `'${word.replaceAll("'", "'\\''")}'` : `"${word}"`;
}

export function givenOf(parsed: object): Given {
  const flags: Readonly<Record<string, unknown>> = { ...parsed };
  return Object.fromEntries(CARRIED.flatMap((name) => (typeof flags[name] === 'string' ? [[name, flags[name]]] : [])));
}

/** The run with what this command line named, as far as its command has such flags and says nothing else itself. */
function completed({ run, whole }: NextRun, { given, flagsOf }: Carry): Run {
  const known = whole ? [] : (flagsOf(run.command) ?? []);
  const more = CARRIED.filter(
    (flag) =>
      given[flag] !== undefined &&
      known.includes(flag) &&
      !(flag === 'runbook' && HAS_RUNBOOK.has(run.command) && run.flags['holder'] === undefined),
  ).map((flag) => [flag, given[flag]!]);
  return { ...run, flags: { ...Object.fromEntries(more), ...run.flags } };
}

/** The words after `maint`: what names the place comes first, as somebody would type it. */
function wordsOf({ command, args, flags }: Run): Word[] {
  const inOrder = (carried: boolean) =>
    Object.entries(flags)
      .filter(([name]) => CARRIED.some((one) => one === name) === carried)
      .flatMap(([name, value]) => [`--${name}`, ...(value === true ? [] : [value])]);
  return [...(command === '' ? [] : command.split(' ')), ...inOrder(true), ...args, ...inOrder(false)];
}

function commandOf(words: readonly Word[]): string {
  return ['maint', ...words.map((word) => (typeof word === 'string' ? shellWord(word) : word.blank))].join(' ');
}

/** "need longer? maint extend", "when etl has finished, maint start", "maint end by 02:23Z", "maint abort (undo everything)" */
export function nextText(next: Next, carry: Carry = NOTHING): string {
  if ('advice' in next) return clean(next.advice);
  const command = clean(commandOf(wordsOf(completed(next, carry))));
  const why = next.why === undefined ? '' : clean(next.why);
  if (why === '') return command;
  if (/[?:,]$/.test(why)) return `${why} ${command}`;
  if (why.startsWith('when ')) return `${why}, ${command}`;
  return why.startsWith('by ') ? `${command} ${why}` : `${command} (${why})`;
}

/** `argv` is what a program runs; advice has none. */
export function nextJson(next: Next, carry: Carry = NOTHING): { command: string; argv?: string[]; why?: string } {
  if ('advice' in next) return { command: next.advice };
  const words = wordsOf(completed(next, carry));
  return {
    command: commandOf(words),
    argv: ['maint', ...words.map((word) => (typeof word === 'string' ? word : word.blank))],
    ...(next.why === undefined ? {} : { why: next.why }),
  };
}

/** Lines with everything to type in them: for `dress`, which breaks none of them. */
export function rendered(lines: readonly Line[], carry: Carry = NOTHING): (string | Flow)[] {
  return lines.flatMap((line): (string | Flow)[] => {
    if (typeof line === 'string') return [line];
    return line.list ? listed(line, carry) : [flowed(line, carry)];
  });
}

function flowed({ next, after = '' }: NextLine, carry: Carry): Flow {
  const parts = next.map((one, at) => `${nextText(one, carry)}${at < next.length - 1 ? ' ·' : after}`);
  return { head: 'Next: ', parts };
}

function listed({ next, after = '' }: NextLine, carry: Carry): string[] {
  const rows = next.map((one) => ({
    command: 'advice' in one ? nextText(one) : nextText({ ...one, why: undefined }, carry),
    why: 'advice' in one ? undefined : one.why,
  }));
  const commands = Math.max(...rows.map(({ command }) => width(command)));
  return rows.map(
    ({ command, why }, at) =>
      `  ${why ? `${pad(command, commands)}   ${why}` : command}${at === rows.length - 1 ? after : ''}`,
  );
}

function isNext(value: unknown): value is Next {
  return typeof value === 'object' && value !== null && ('advice' in value || 'run' in value);
}

/** A document for --json: everything to type in it, at any depth, as text and as argv. */
export function documentOf(value: unknown, carry: Carry = NOTHING): unknown {
  if (Array.isArray(value)) return value.map((item) => documentOf(item, carry));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      key === 'next' && Array.isArray(inner)
        ? inner.map((one) => (isNext(one) ? nextJson(one, carry) : one))
        : documentOf(inner, carry),
    ]),
  );
}
