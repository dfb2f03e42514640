// A YAML file as plain values in which every value knows its place. Nothing hostile gets far: the size, the depth, the
// aliases and the number of values are bounded, and the library never expands anything by itself.

import { isAlias, isMap, isPair, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { beginning } from '../engine/cut.ts';
import { type Problem, type ProblemCode, type Problems, quoted } from './problems.ts';

/** A real runbook has a few kilobytes; this is what is read in well under a second. */
export const MAX_BYTES = 128 * 1024;
const MAX_DEPTH = 40;
const MAX_VALUES = 50_000;
const MAX_ALIASES = 200;
const MAX_SYNTAX = 20;

/** A value with its place. `path` is how a problem names it. */
export interface Located {
  value: unknown;
  path: string;
  offset: number;
  /** where its key stands */
  keyOffset?: number | undefined;
  /** a plain scalar as it was written */
  source?: string | undefined;
  /** it could not be read, and that is told already */
  broken?: boolean | undefined;
  keys?: Map<string, Located> | undefined;
  items?: Located[] | undefined;
}

export interface ParsedDocument {
  file: string;
  /** undefined: there is nothing to look at */
  root: Located | undefined;
  place(offset: number): { line: number; column: number };
  /** the first place from which on the file could not be read */
  brokenAt: number | undefined;
}

export type Report = (
  at: Located,
  problem: Omit<Problem, 'file' | 'line' | 'column' | 'path'> & { path?: string; key?: boolean },
) => void;

/** A function that adds problems at places of this document. */
export function reporter(document: ParsedDocument, problems: Problems): Report {
  return (at, { path, key, ...rest }) => {
    if (at.broken && !key) return;
    const offset = key ? (at.keyOffset ?? at.offset) : at.offset;
    if (document.brokenAt !== undefined && (offset >= document.brokenAt || rest.code === 'missing')) return;
    problems.add({ file: document.file, ...document.place(offset), path: path ?? at.path, ...rest });
  };
}

/** UTF-8 text, or undefined with the problem told. */
export function decode(bytes: Uint8Array, file: string, problems: Problems): string | undefined {
  if (bytes.byteLength > MAX_BYTES) {
    tooLarge(bytes.byteLength, file, problems);
    return undefined;
  }
  let text: string | undefined;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {}
  if (text === undefined || text.includes('\0')) {
    problems.add({
      file,
      line: 1,
      column: 1,
      path: '',
      code: 'no_text',
      message: 'is no text',
      found: 'a binary file',
      allowed: 'YAML in UTF-8',
    });
    return undefined;
  }
  return text;
}

export function tooLarge(bytes: number, file: string, problems: Problems): void {
  const allowed = `at most ${MAX_BYTES / 1024} KiB`;
  problems.add({
    file,
    line: 1,
    column: 1,
    path: '',
    code: 'too_large',
    message: 'is too large',
    found: `${Math.ceil(bytes / 1024)} KiB`,
    allowed,
  });
}

export function parseYaml(text: string, file: string, problems: Problems): ParsedDocument {
  const lines = new LineCounter();
  const place = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const nothing: ParsedDocument = { file, root: undefined, place, brokenAt: 0 };
  const add = (offset: number, code: ProblemCode, message: string, more: Partial<Problem> = {}) =>
    problems.add({ file, ...place(offset), path: '', code, message, ...more });

  if (text.length > MAX_BYTES) {
    tooLarge(text.length, file, problems);
    return nothing;
  }
  if (text.includes('\0')) {
    add(0, 'no_text', 'is no text', { found: 'a binary file', allowed: 'YAML in UTF-8' });
    return nothing;
  }
  const deep = tooDeep(text);
  if (deep !== undefined) {
    const line = text.slice(0, deep).split('\n');
    problems.add({
      file,
      line: line.length,
      column: line.at(-1)!.length + 1,
      path: '',
      code: 'syntax',
      message: 'is nested too deeply',
      allowed: `${MAX_DEPTH} levels`,
    });
    return nothing;
  }

  let document: ReturnType<typeof parseDocument>;
  // a hostile file makes an error of every character, and nobody reads their stacks: they are what would cost seconds
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    // the library's own check for duplicate keys is quadratic; ours is below
    document = parseDocument(text, {
      lineCounter: lines,
      schema: 'core',
      version: '1.2',
      prettyErrors: false,
      uniqueKeys: false,
      keepSourceTokens: false,
      logLevel: 'error',
    });
  } catch (error) {
    add(
      0,
      'syntax',
      `cannot be read as YAML: ${error instanceof RangeError ? 'nested too deeply' : (error as Error).message}`,
    );
    return nothing;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }

  let brokenAt: number | undefined;
  for (const error of [...document.errors, ...document.warnings].slice(0, MAX_SYNTAX)) {
    const [offset] = error.pos;
    if (error.code === 'MULTIPLE_DOCS') {
      add(offset, 'several_documents', 'holds several YAML documents', { found: 'a second document', allowed: 'one' });
      brokenAt = Math.min(brokenAt ?? offset, offset);
      continue;
    }
    const words = SYNTAX_WORDS[error.code] ?? error.message.replace(/\s+/g, ' ');
    add(offset, 'syntax', `is no valid YAML: ${words}`, { found: lineAt(text, offset) });
    if (error.name === 'YAMLParseError' && error.code !== 'TAB_AS_INDENT')
      brokenAt = Math.min(brokenAt ?? offset, offset);
  }

  const contents = document.contents as Node | null;
  if (contents === null || (isScalar(contents) && contents.value === null && !contents.anchor)) {
    if (document.errors.length === 0)
      add(0, 'empty', 'is empty', { found: 'nothing', allowed: 'a map that begins with version: 1' });
    return { ...nothing, brokenAt };
  }

  const anchors = new Map<string, Node>();
  let values = 0;
  let aliases = 0;
  let stopped = false;
  const stop = (offset: number, message: string, allowed: string, path: string) => {
    if (!stopped) add(offset, 'alias', message, { allowed, path });
    stopped = true;
  };
  const convert = (node: Node | null, path: string, depth: number, at: number): Located => {
    const offset = node?.range?.[0] ?? at;
    const located: Located = { value: null, path, offset };
    if (node === null || stopped) return located;
    if (++values > MAX_VALUES)
      stop(offset, 'holds too many values once its aliases are followed', `${MAX_VALUES} values`, path);
    if (depth > MAX_DEPTH)
      stop(offset, 'is nested too deeply once its aliases are followed', `${MAX_DEPTH} levels`, path);
    if (stopped) return located;
    if (isAlias(node)) {
      const target = anchors.get(node.source);
      if (!target) {
        add(offset, 'alias', 'is an alias without its anchor', { path, found: quoted(`*${node.source}`) });
        return { ...located, broken: true };
      }
      if (++aliases > MAX_ALIASES) {
        stop(offset, `uses too many aliases (*${node.source})`, `${MAX_ALIASES} aliases`, path);
        return located;
      }
      return { ...convert(target, path, depth + 1, offset), offset };
    }
    const anchor = (node as { anchor?: string }).anchor;
    if (anchor) anchors.set(anchor, node);
    if (isSeq(node)) {
      located.items = node.items.map((item, i) =>
        convert((isPair(item) ? null : item) as Node | null, `${path}[${i}]`, depth + 1, offset),
      );
      located.value = located.items.map((item) => item.value);
      return located;
    }
    if (isMap(node)) {
      const keys = new Map<string, Located>();
      const value: Record<string, unknown> = {};
      for (const pair of node.items) {
        if (stopped) break;
        const keyNode = pair.key as Node | null;
        const keyOffset = keyNode?.range?.[0] ?? offset;
        const name = keyName(keyNode);
        if (name === undefined || name === '__proto__') {
          add(keyOffset, 'wrong_type', 'cannot be a key', {
            path,
            found: name ?? 'a list, a map or nothing',
            allowed: 'a name',
          });
          continue;
        }
        const inner =
          path === '' ? name : /^[\w-]+$/.test(name) ? `${path}.${name}` : `${path}[${JSON.stringify(name)}]`;
        if (name === '<<') {
          add(keyOffset, 'unknown_key', 'merge keys are not read', {
            path: inner,
            found: '<<',
            allowed: 'the keys themselves, or an alias for a whole value',
          });
          continue;
        }
        const first = keys.get(name);
        if (first) {
          const { line } = place(first.keyOffset ?? first.offset);
          add(keyOffset, 'duplicate_key', `is there twice, first in line ${line}`, {
            path: inner,
            found: quoted(name),
            allowed: 'once',
          });
          // converted all the same, for its own problems
          convert(pair.value as Node | null, inner, depth + 1, keyOffset);
          continue;
        }
        const child = convert(pair.value as Node | null, inner, depth + 1, keyOffset);
        child.keyOffset = keyOffset;
        keys.set(name, child);
        value[name] = child.value;
      }
      located.keys = keys;
      located.value = value;
      return located;
    }
    if (isScalar(node)) {
      const scalar = node.value;
      located.value = typeof scalar === 'bigint' ? Number(scalar) : scalar;
      if (typeof scalar !== 'string') located.source = node.source;
      return located;
    }
    return located;
  };
  const root = convert(contents, '', 0, 0);
  return { file, root: stopped ? undefined : root, place, brokenAt };
}

const SYNTAX_WORDS: Partial<Record<string, string>> = {
  TAB_AS_INDENT: 'a tab in the indentation; use spaces',
  BAD_INDENT: 'the indentation does not fit, or a bracket is not closed',
  MISSING_CHAR: 'a quote, comma or bracket is missing',
  TAG_RESOLVE_FAILED: 'tags (!name) are not read',
  UNEXPECTED_TOKEN: 'something is not expected here',
  BLOCK_AS_IMPLICIT_KEY: 'a value is indented where none can be; is a quote or colon missing?',
  MULTILINE_IMPLICIT_KEY: 'a key goes over several lines; is a colon or a quote missing?',
  BAD_ALIAS: 'an alias without its anchor',
};

/** The line of a syntax error, so that it can be found; not where it could show a secret. */
function lineAt(text: string, offset: number): string | undefined {
  const after = text.indexOf('\n', offset);
  let end = after < 0 ? text.length : after;
  let line = '';
  // an error at the end of the file is about the last line that has something in it
  for (let i = 0; i < 20 && line === '' && end > 0; i++) {
    const begin = text.lastIndexOf('\n', end - 1) + 1;
    line = beginning(text.slice(begin, end), 2000).trim();
    end = begin - 1;
  }
  if (line === '' || /token|password|passwd|secret|auth|key|cookie/i.test(line)) return undefined;
  return quoted(line);
}

function keyName(node: Node | null): string | undefined {
  if (!isScalar(node)) return undefined;
  if (typeof node.value === 'string') return node.value;
  if (node.value === null) return undefined;
  return node.source ?? String(node.value);
}

/**
 * Where brackets open deeper than any runbook goes, or one line starts more block levels than that: the composer calls
 * itself for each level, and its stack is finite. Quotes and comments are not looked at, so the bounds are generous.
 */
function tooDeep(text: string): number | undefined {
  const most = MAX_DEPTH * 10;
  let open = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x5b || c === 0x7b) {
      if (++open > most) return i;
    } else if ((c === 0x5d || c === 0x7d) && open > 0) open--;
  }
  const levels = /^(?:[ \t]*[-?:](?=[ \t])){401}/m.exec(text);
  if (levels) return levels.index;
  const indent = /^ {2000}/m.exec(text);
  return indent ? indent.index : undefined;
}

/** The value at a path and what of the path is not there. */
export function locate(root: Located, path: readonly PropertyKey[]): { at: Located; rest: readonly PropertyKey[] } {
  let at = root;
  for (const [i, key] of path.entries()) {
    const next = typeof key === 'number' ? at.items?.[key] : at.keys?.get(String(key));
    if (!next) return { at, rest: path.slice(i) };
    at = next;
  }
  return { at, rest: [] };
}

export function pathText(base: string, rest: readonly PropertyKey[]): string {
  let text = base;
  for (const key of rest) {
    if (typeof key === 'number') text += `[${key}]`;
    else text += text === '' ? String(key) : `.${String(key)}`;
  }
  return text;
}

/** Every text in it, from the outside in. */
export function* strings(at: Located): Generator<Located & { value: string }> {
  if (typeof at.value === 'string') yield at as Located & { value: string };
  for (const item of at.items ?? []) yield* strings(item);
  for (const item of at.keys?.values() ?? []) yield* strings(item);
}
