// What is wrong with a file: every problem has a place, and all of them are told at once.
import { cutText } from '../engine/cut.ts';
import { MaintError } from '../errors/catalogue.ts';
import type { Next } from '../errors/next.ts';

export type ProblemCode =
  | 'syntax'
  | 'too_large'
  | 'no_text'
  | 'empty'
  | 'several_documents'
  | 'duplicate_key'
  | 'alias'
  | 'missing'
  | 'unknown_key'
  | 'unknown_plugin'
  | 'unknown_step'
  | 'wrong_type'
  | 'wrong_value'
  | 'wrong_format'
  | 'out_of_range'
  | 'not_yet'
  | 'duplicate_id'
  | 'variable'
  | 'literal_secret'
  | 'misspelt'
  | 'misplaced'
  | 'wall_order'
  | 'no_file'
  | 'invalid';

export interface Problem {
  file: string;
  /** from 1 */
  line: number;
  /** from 1 */
  column: number;
  /** "steps[1].with.url"; empty: the file itself */
  path: string;
  code: ProblemCode;
  message: string;
  found?: string | undefined;
  allowed?: string | undefined;
  nearest?: string | undefined;
}

/** More than this nobody reads, and a hostile file must not cost minutes. */
const MOST_KEPT = 500;
const MOST_SHOWN = 100;

/** E_RUNBOOK with its problems as data, for `--json`. */
export class RunbookError extends MaintError {
  readonly problems: readonly Problem[];
  constructor(file: string, problems: readonly Problem[], next: readonly Next[] = []) {
    const details = problems.slice(0, MOST_SHOWN).map(problemText);
    if (problems.length > MOST_SHOWN) {
      const more = problems.length >= MOST_KEPT ? 'at least ' : '';
      details.push(`… and ${more}${problems.length - MOST_SHOWN} more`);
    }
    super('E_RUNBOOK', `${file} has ${problems.length === 1 ? '1 problem' : `${problems.length} problems`}.`, {
      details,
      next,
    });
    this.problems = problems;
  }
}

/** `file:line:col  steps[1].with.url  message  found …  allowed …  did you mean …?` */
function problemText(problem: Problem): string {
  const parts = [`${problem.file}:${problem.line}:${problem.column}`];
  if (problem.path) parts.push(problem.path);
  parts.push(problem.message);
  if (problem.found !== undefined) parts.push(`found ${problem.found}`);
  if (problem.allowed !== undefined) parts.push(`allowed ${problem.allowed}`);
  if (problem.nearest !== undefined) parts.push(`did you mean ${problem.nearest}?`);
  return parts.join('  ');
}

/** Collects problems of one or more files, in the order of their places. */
export class Problems {
  readonly list: Problem[] = [];
  readonly #known = new Set<string>();
  add(problem: Problem): void {
    if (this.list.length >= MOST_KEPT) return;
    const { path, line, column, message, file } = problem;
    const key = `${file}\n${line}:${column}\n${path}\n${message}`;
    if (this.#known.has(key)) return;
    this.#known.add(key);
    this.list.push(problem);
  }
  get full(): boolean {
    return this.list.length >= MOST_KEPT;
  }
  /** Throws RunbookError unless there is none. */
  orThrow(file: string, next: readonly Next[] = []): void {
    if (this.list.length === 0) return;
    const order = [...new Set(this.list.map((p) => p.file))];
    this.list.sort((a, b) => order.indexOf(a.file) - order.indexOf(b.file) || a.line - b.line || a.column - b.column);
    throw new RunbookError(file, this.list, next);
  }
}

const LONGEST_SHOWN = 80;

/** A value in words: text in quotes, lists and maps by their kind. Literal passwords of addresses are never shown. */
export function shown(value: unknown, source?: string): string {
  if (value === null || value === undefined) return 'nothing';
  if (typeof value === 'string') return quoted(value);
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return Object.keys(value).length === 0 ? 'an empty map' : 'a map';
  return cut(source ?? String(value));
}

export function quoted(text: string): string {
  return JSON.stringify(cut(withoutPassword(text)));
}

function cut(text: string): string {
  return cutText(text, LONGEST_SHOWN + 1);
}

/** `postgres://app:***@db/app`; what comes from a variable stays readable. */
function withoutPassword(text: string): string {
  return text
    .replace(/(:\/\/[^/?#\s:@]*:)([^/?#\s]*)(?=@)/g, (all, before: string, password: string) =>
      /^\$\{\w+\}$/.test(password) ? all : `${before}***`,
    )
    .replace(
      /([?&](?:password|sslpassword|token|api_?key|secret)=)([^&#\s]*)/gi,
      (all, before: string, value: string) => (/^\$\{\w+\}$/.test(value) ? all : `${before}***`),
    );
}
