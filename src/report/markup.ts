// Markdown that words of people and of services cannot break: GitHub's, with tables.

import { beginning } from '../engine/cut.ts';
import { count } from '../engine/words.ts';
import { nameOf } from './state-words.ts';

export type Row = readonly string[];

/** Words: nothing in them may become markup, and crons have their name. */
export function text(words: string): string {
  return nameOf(words)
    .replace(/[\\`*[\]<>|]|~(?=~)|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])/g, '\\$&')
    .replace(/\s+/g, ' ')
    .trim();
}

/** Lines that are marked up already. */
export function list(lines: readonly string[]): string[] {
  return lines.map((line) => `- ${line}`);
}

const ROWS_MAX = 200;

/** Without `full` a long table is cut, and says so. */
export function section<T>(
  title: string,
  head: Row,
  rows: readonly T[],
  full: boolean,
  row: (one: T) => Row,
): string[] {
  if (rows.length === 0) return [];
  const shown = full ? rows : rows.slice(0, ROWS_MAX);
  const more = rows.length - shown.length;
  return [
    ...['', `## ${title}`, '', ...table(head, shown.map(row))],
    ...(more > 0 ? ['', `… and ${count(more, 'more row')} (--full has them all).`] : []),
  ];
}

/** Cells are words. */
export function table(head: Row, rows: readonly Row[]): string[] {
  const line = (cells: Row) => `| ${cells.map((cell) => text(cell) || ' ').join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)];
}

const LONG = 4000;

/** A fence that the text cannot close. */
export function fenced(json: string): string[] {
  const shown =
    json.length > LONG ? `${beginning(json, LONG)}\n… (${json.length} characters; all of it with --format json)` : json;
  const longest = Math.max(2, ...[...shown.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const fence = '`'.repeat(longest + 1);
  return [`${fence}json`, shown, fence];
}
