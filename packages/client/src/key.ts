// RFC 9110, 9.2.1 and 9.2.2.
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'QUERY']);
const IDEMPOTENT = new Set([...SAFE, 'PUT', 'DELETE']);

export function isWrite(method: string): boolean {
  return !SAFE.has(method);
}

export function isIdempotent(method: string): boolean {
  return IDEMPOTENT.has(method);
}

/**
 * A new value for the header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): 128 random bits as a
 * structured-field string, quotes included.
 */
export function newKey(): string {
  // Not randomUUID: browsers have that on https pages only.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `"${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}"`;
}
