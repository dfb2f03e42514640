// Does a GraphQL request write? Decided by a lexer and no more: what it does not understand to the letter is a write.
import { isRecord } from './document.ts';

/** Which operations write, from `match.operations`. */
export interface WritingOperations {
  /** Every operation of these types. */
  readonly types: ReadonlySet<string>;
  /** By type: names in lower case. A document with one of them anywhere in it writes, so that no alias and no fragment hides it. */
  readonly named: ReadonlyMap<string, ReadonlySet<string>>;
}

const TYPES = new Set(['query', 'mutation', 'subscription']);
const FIELDS = new Set(['query', 'operationName', 'variables', 'extensions']);
const NAME_START = /[_A-Za-z]/;
const NAME = /[_0-9A-Za-z]*/y;
const NUMBER = /[-+.0-9A-Za-z_]*/y;
const CLOSES: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' };

/** @returns null where an entry cannot be understood */
export function compileOperations(entries: readonly string[]): WritingOperations | null {
  const types = new Set<string>();
  const named = new Map<string, Set<string>>();
  for (const entry of entries) {
    const [, type = '', name] = /^(query|mutation|subscription)(?::([_A-Za-z]\w*))?$/.exec(entry) ?? [];
    if (type === '') return null;
    if (name === undefined) types.add(type);
    else named.set(type, (named.get(type) ?? new Set()).add(name.toLowerCase()));
  }
  return { types, named };
}

/** A request whose document stands in the query string: a GET. None at all is a page of the service, and a read. */
export function targetWrites(writing: WritingOperations, target: string): boolean {
  const question = target.indexOf('?');
  if (question < 0 || question === target.length - 1) return false;
  let params: URLSearchParams;
  try {
    params = new URLSearchParams(target.slice(question + 1));
  } catch {
    return true;
  }
  const fields: Record<string, unknown> = {};
  for (const [name, value] of params) {
    if (Object.hasOwn(fields, name)) return true;
    fields[name] = value;
  }
  const { variables: _, extensions, ...rest } = fields;
  let parsed: unknown;
  try {
    parsed = extensions === undefined || extensions === '' ? undefined : JSON.parse(String(extensions));
  } catch {
    return true;
  }
  return requestWrites(writing, { ...rest, ...(parsed === undefined ? {} : { extensions: parsed }) });
}

/** A request whose document stands in the body: a POST. */
export function bodyWrites(
  writing: WritingOperations,
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
  body: Uint8Array,
): boolean {
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') return true;
  const type = headers['content-type'];
  const [, media = ''] = /^\s*([\w/+.-]+)\s*(?:;\s*charset="?utf-8"?\s*)?$/i.exec(String(type)) ?? [];
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    return true;
  }
  if (media.toLowerCase() === 'application/graphql') return documentWrites(writing, text);
  if (media.toLowerCase() !== 'application/json') return true;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return true;
  }
  // Of a key that comes twice some parsers take the first, and others the last.
  if (repeatsKey(text)) return true;
  if (!Array.isArray(value)) return requestWrites(writing, value);
  return value.length === 0 || value.some((each) => requestWrites(writing, each));
}

function requestWrites(writing: WritingOperations, request: unknown): boolean {
  if (!isRecord(request)) return true;
  const { query, operationName, extensions } = request;
  for (const field of Object.keys(request)) if (!FIELDS.has(field)) return true;
  // A persisted document is known to the server only.
  if (typeof query !== 'string') return true;
  if (isRecord(extensions) ? Object.hasOwn(extensions, 'persistedQuery') : extensions != null) return true;
  if (operationName != null && typeof operationName !== 'string') return true;
  return documentWrites(writing, query);
}

/** Whether any operation of the document writes, the chosen one or not. */
export function documentWrites(writing: WritingOperations, text: string): boolean {
  const read = readDocument(text);
  if (read === null) return true;
  for (const type of read.types) {
    if (writing.types.has(type)) return true;
    for (const name of writing.named.get(type) ?? []) if (read.names.has(name)) return true;
  }
  return false;
}

/**
 * The types of a document's operations, and every name in it, in lower case.
 *
 * @returns null where it is no executable document: at least one operation, and nothing but operations and fragments
 */
export function readDocument(text: string): { types: Set<string>; names: Set<string> } | null {
  const types = new Set<string>();
  const names = new Set<string>();
  const open: string[] = [];
  // Values stand between parentheses only. A text with one elsewhere is something else, such as JSON: another reader might
  // find a mutation in it.
  let parentheses = 0;
  // Between definitions; or behind a keyword, where the selection has not begun.
  let head: 'none' | 'begun' = 'none';
  let at = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  while (at < text.length) {
    const character = text[at] as string;
    if (' \t\n\r,'.includes(character)) {
      at += 1;
    } else if (character === '#') {
      while (at < text.length && text[at] !== '\n' && text[at] !== '\r') at += 1;
    } else if (character === '"') {
      if (parentheses === 0) return null;
      const end = text.startsWith('"""', at) ? blockEnd(text, at + 3) : stringEnd(text, at + 1);
      if (end < 0) return null;
      at = end;
    } else if (NAME_START.test(character)) {
      NAME.lastIndex = at;
      const name = NAME.exec(text)?.[0] as string;
      at += name.length;
      if (open.length === 0 && head === 'none') {
        if (!TYPES.has(name) && name !== 'fragment') return null;
        if (name !== 'fragment') types.add(name);
        head = 'begun';
      } else names.add(name.toLowerCase());
    } else if (/[-0-9]/.test(character)) {
      if (parentheses === 0) return null;
      NUMBER.lastIndex = at;
      NUMBER.test(text);
      at = NUMBER.lastIndex;
    } else if (character === '(' || character === '[' || character === '{') {
      if (open.length === 0) {
        if (character === '(' && head === 'none') return null;
        if (character === '{') {
          if (head === 'none') types.add('query');
          // The definition ends with this selection.
          head = 'none';
        }
      }
      if (character === '[' && parentheses === 0) return null;
      if (character === '(') parentheses += 1;
      open.push(CLOSES[character] as string);
      at += 1;
    } else if (character === ')' || character === ']' || character === '}') {
      if (open.pop() !== character) return null;
      if (character === ')') parentheses -= 1;
      at += 1;
    } else if (character === '@') {
      if (open.length === 0 && head === 'none') return null;
      at += 1;
    } else if (text.startsWith('...', at) && open.length > 0) {
      at += 3;
    } else if ((character === ':' && open.length > 0) || ('!$&=|'.includes(character) && parentheses > 0)) {
      at += 1;
    } else return null;
  }
  return open.length === 0 && head === 'none' && types.size > 0 ? { types, names } : null;
}

function stringEnd(text: string, from: number): number {
  for (let at = from; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') return at + 1;
    if (character === '\n' || character === '\r') return -1;
    if (character === '\\') at += 1;
  }
  return -1;
}

function blockEnd(text: string, from: number): number {
  let at = from;
  for (;;) {
    const end = text.indexOf('"""', at);
    if (end < 0) return -1;
    if (text[end - 1] !== '\\' || end - 1 < from) return end + 3;
    at = end + 3;
  }
}

/** Whether an object of a GraphQL request (the only one, or one of a batch) has a key twice, whatever its case. The text is JSON. */
function repeatsKey(text: string): boolean {
  const stack: { readonly keys: Set<string> | null }[] = [];
  let expectsKey = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') {
      const end = stringEnd(text, at + 1);
      const keys = stack.at(-1)?.keys;
      if (expectsKey && keys) {
        const key = String(JSON.parse(text.slice(at, end))).toLowerCase();
        if (keys.has(key)) return true;
        keys.add(key);
        expectsKey = false;
      }
      at = end - 1;
    } else if (character === '{') {
      stack.push({ keys: new Set() });
      expectsKey = true;
    } else if (character === '[') {
      stack.push({ keys: null });
      expectsKey = false;
    } else if (character === '}' || character === ']') {
      stack.pop();
      expectsKey = false;
    } else if (character === ',') expectsKey = stack.at(-1)?.keys != null;
  }
  return false;
}
