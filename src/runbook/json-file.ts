// JSON that this program wrote and somebody may have edited since: every problem with its place, its value, what is allowed.
import { readFileSync, statSync } from 'node:fs';
import type { z } from 'zod';
import { MaintError } from '../errors/catalogue.ts';
import type { Next } from '../errors/next.ts';
import { type Problem, quoted, RunbookError, shown } from './problems.ts';

export interface Found {
  path: PropertyKey[];
  message: string;
  allowed?: string | undefined;
}

/** Ten thousand cron lines take about 2 MB. */
const MAX_BYTES = 64 * 1024 * 1024;
const MOST = 100;

/** E_NO_FILE (64), or E_RUNBOOK (65) where it is no JSON. */
export function readJson(path: string, next: readonly Next[]): { text: string; json: unknown } {
  const text = read(path, next);
  try {
    return { text, json: JSON.parse(text) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const offset = Number(/at position (\d+)/.exec(message)?.[1] ?? (text.trim() === '' ? 0 : text.length));
    const what = text.trim() === '' ? 'is empty' : `is no JSON: ${message.replace(/ (in JSON )?at position.*/, '')}`;
    throw new RunbookError(path, [{ file: path, ...at(text, offset), path: '', code: 'syntax', message: what }], next);
  }
}

function read(path: string, next: readonly Next[]): string {
  const noFile = (why: string) => new MaintError('E_NO_FILE', `${quoted(path)} ${why}.`, { next });
  let bytes: Buffer;
  try {
    const stat = statSync(path);
    if (stat.isDirectory()) throw noFile('is a folder');
    if (!stat.isFile()) throw noFile('is no plain file');
    if (stat.size > MAX_BYTES)
      throw wrongFile(path, '', undefined, [{ path: [], message: 'is larger than 64 MB' }], next);
    bytes = readFileSync(path);
  } catch (error) {
    if (error instanceof MaintError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw noFile(
      code === 'ENOENT' ? 'is not there' : code === 'EACCES' ? 'may not be read' : `cannot be read (${code})`,
    );
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw wrongFile(path, '', undefined, [{ path: [], message: 'is no UTF-8 text' }], next);
  }
}

/** zod's issue in our words; `neither` where it fits no member of a union. */
export function leaves(issue: z.core.$ZodIssue, base: readonly PropertyKey[], neither: string): Found[] {
  const path = [...base, ...issue.path];
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({ path: [...path, key], message: 'is no key that is known here' }));
  if (issue.code === 'invalid_union') return [{ path, message: neither }];
  if (/received undefined$/.test(issue.message)) return [{ path, message: 'is missing' }];
  return [{ path, message: issue.message.replace(/^Invalid input: /, '') }];
}

export function wrongFile(
  path: string,
  text: string,
  json: unknown,
  found: readonly Found[],
  next: readonly Next[],
): RunbookError {
  const problems = found.slice(0, MOST).map((one): Problem => {
    const value = valueAt(json, one.path);
    return {
      file: path,
      ...at(text, offsetOf(text, one.path)),
      path: one.path
        .map((key, i) => (typeof key === 'number' ? `[${key}]` : `${i > 0 ? '.' : ''}${String(key)}`))
        .join(''),
      code: 'invalid',
      message: one.message,
      found: value === undefined ? undefined : shown(value),
      allowed: one.allowed,
    };
  });
  return new RunbookError(path, problems, next);
}

function valueAt(json: unknown, path: readonly PropertyKey[]): unknown {
  let is: unknown = json;
  for (const key of path) {
    if (is === null || typeof is !== 'object' || !Object.hasOwn(is, key)) return undefined;
    is = (is as Record<PropertyKey, unknown>)[key];
  }
  return is;
}

/** Where a key or an element of a list begins; of one that is missing, where it should be. The text is valid JSON, or empty. */
function offsetOf(text: string, path: readonly PropertyKey[]): number {
  let place = afterSpace(text, 0);
  let value = place;
  for (const key of path) {
    const found = member(text, value, key);
    if (!found) return place;
    [place, value] = found;
  }
  return place;
}

/** Of a map or a list that begins at `from`: where the member begins, and its value. */
function member(text: string, from: number, key: PropertyKey): [number, number] | undefined {
  const map = text[from] === '{';
  if (!map && text[from] !== '[') return undefined;
  let at = afterSpace(text, from + 1);
  for (let index = 0; at < text.length && text[at] !== '}' && text[at] !== ']'; index++) {
    const place = at;
    let name: PropertyKey = index;
    if (map) {
      const end = afterString(text, at);
      name = JSON.parse(text.slice(at, end)) as string;
      at = afterSpace(text, afterSpace(text, end) + 1);
    }
    if (name === key) return [place, at];
    at = afterSpace(text, afterValue(text, at));
    if (text[at] === ',') at = afterSpace(text, at + 1);
  }
  return undefined;
}

function afterSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && /\s/.test(text[at]!)) at++;
  return at;
}

function afterString(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '"') return at + 1;
  }
  return text.length;
}

function afterValue(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; ) {
    const character = text[at]!;
    if (character === '"') at = afterString(text, at);
    else {
      if (character === '{' || character === '[') depth++;
      if (character === '}' || character === ']') depth--;
      if (depth < 0 || (depth === 0 && character === ',')) return at;
      at++;
    }
    if (depth === 0 && /["}\]]/.test(character)) return at;
  }
  return text.length;
}

function at(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset);
  const last = before.lastIndexOf('\n');
  return { line: before.split('\n').length, column: offset - last };
}
