// What to type next, as a value: verbs and errors say which command with which flags, and one place in ui/ adds where the
// window is (--state, --env …), quotes the words for a shell and prints them.

/** A word that whoever types it has to fill in; shown as it is: `--reason …`, `RECEIPT`. */
export interface Blank {
  blank: string;
}
export type Word = string | Blank;
/** `true`: a flag without a value. */
export type NextFlags = Readonly<Record<string, Word | true>>;

export interface Run {
  /** "end", "queue list" */
  command: string;
  args: readonly Word[];
  flags: NextFlags;
}

export interface NextRun {
  run: Run;
  /** "undo everything"; "need longer?", "when etl is well again" and what ends with `:` come before the command */
  why?: string | undefined;
  /** nothing is added: it is typed elsewhere, with another state, or is a whole command line already */
  whole?: true;
}
/** What is not a command of ours, in words. */
export interface Advice {
  advice: string;
}
export type Next = NextRun | Advice;

/** `maint('end', { soak: '5m' }, 'bring it back')`, `maint(['report', id])`. */
export function maint(command: string | readonly [string, ...Word[]], flags: NextFlags = {}, why?: string): NextRun {
  const [name, ...args] = typeof command === 'string' ? [command] : command;
  return { run: { command: name, args, flags }, ...(why === undefined ? {} : { why }) };
}

export function advice(text: string): Advice {
  return { advice: text };
}

export function blank(text: string): Blank {
  return { blank: text };
}

/** A command line once more, as it was typed: it names its state and its runbook itself. */
export function typed(command: string, words: readonly string[]): NextRun {
  return { run: { command, args: words, flags: {} }, whole: true };
}

/** Typed on another machine, or with another state. */
export function there(next: NextRun): NextRun {
  return { ...next, whole: true };
}

export function because(next: NextRun, why: string): NextRun {
  return { ...next, why };
}
