// What makes a write the same write: its key, as it was sent or from its content, and the headers that are kept with it.
import { createHash } from 'node:crypto';
import type { IncomingRequest } from './adapters/exchange.ts';
import type { Rule } from './surfaces.ts';

/** They say what the body is and what is asked of it; nobody's identity is in them. */
const KEPT_HEADERS = [
  ...['content-type', 'content-encoding', 'content-language', 'accept', 'prefer', 'if-match', 'if-none-match'],
  // as it came, quoted or bare: the replay must be the same key to a service that compares the field's text
  'idempotency-key',
];
const MOST_KEY = 255;

/** null: to be derived from the content. */
export function keyOf(
  request: IncomingRequest,
  rule: Rule,
): string | null | { readonly code: string; readonly detail: string } {
  const value = request.headers['idempotency-key'];
  if (value === undefined) {
    if (rule.key === 'content') return null;
    const detail = 'While the system is read-only this write is kept for later, and needs an Idempotency-Key.';
    return { code: 'idempotency_key_missing', detail };
  }
  const key = parseIdempotencyKey(String(value));
  if (key !== null) return key;
  const detail = `Idempotency-Key is one String (RFC 9651) of 1 to ${MOST_KEY} characters: Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324"`;
  return { code: 'idempotency_key_invalid', detail };
}

/**
 * The key of an `Idempotency-Key` field: an RFC 9651 String, parameters allowed and ignored; or, as many clients send it,
 * bare, of the characters of a Token and of Base64.
 *
 * @returns null where it is neither, or is longer than 255 characters
 */
export function parseIdempotencyKey(field: string): string | null {
  const text = field.trim();
  const quoted =
    /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"(?:\s*;\s*[a-z*][a-z0-9_.*-]*(?:=[^\s;,"]+|="[^"\\]*")?)*$/.exec(
      text,
    );
  const key = quoted
    ? (quoted[1] as string).replace(/\\(["\\])/g, '$1')
    : /^[\w.~:+/=@!$&'*^`|%#-]+$/.test(text)
      ? text
      : '';
  return key.length >= 1 && key.length <= MOST_KEY ? key : null;
}

export function headersKept(request: IncomingRequest, rule: Rule): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name of [...KEPT_HEADERS, ...rule.keepHeaders]) {
    const value = request.headers[name];
    if (value !== undefined) kept[name] = String(value);
  }
  return kept;
}

export function contentKey(
  tenant: string,
  surface: string,
  { method, url }: IncomingRequest,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
): string {
  const head = JSON.stringify([tenant, surface, method, url, headers['content-type'] ?? '']);
  return `content:${createHash('sha256').update(head).update('\n').update(body).digest('hex')}`;
}
