// Names of writes: which two are the same, which belong together, and how one is asked for.
import { createHash, randomBytes } from 'node:crypto';
import type { BufferedWrite, NewIntent } from './port.ts';

/** Never stored, whoever hands them in. */
const NEVER_STORED = new Set([
  ...['authorization', 'proxy-authorization', 'cookie', 'cookie2', 'set-cookie'],
  ...['x-api-key', 'api-key', 'x-auth-token', 'x-access-token', 'x-csrf-token', 'x-xsrf-token', 'x-amz-security-token'],
  // of the connection, not of the write
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  // set anew at the backfill
  'maint-replay',
]);

/** 128 random bits: who has it may ask how the write ended, so nobody may guess one. */
export function newReceipt(): string {
  return randomBytes(16).toString('base64url');
}

const RECEIPT = /^[A-Za-z0-9_-]{22}$/;
export function isReceipt(text: string): boolean {
  return RECEIPT.test(text);
}

/** A key belongs to a tenant and a surface: the same one of another tenant is another key. */
export function keyHash(write: Pick<BufferedWrite, 'tenant' | 'surface' | 'key'>): Buffer {
  return sha256('key', write.tenant, write.surface, write.key).digest();
}

/** On what condition something is written (RFC 9110, section 13.1). */
const PRECONDITIONS = ['if-match', 'if-none-match', 'if-unmodified-since'];

/** What makes two writes the same: what is asked of the service, and on what condition. Trace headers and the like do not. */
export function fingerprint(write: BufferedWrite): Buffer {
  const { method, target, order, headers } = write;
  const parts = [method, target, order, headers['content-type'] ?? null, headers['content-encoding'] ?? null];
  const conditions = PRECONDITIONS.flatMap((name) =>
    headers[name] === undefined ? [] : [name, String(headers[name])],
  );
  return sha256('write', ...parts, ...conditions)
    .update(write.body)
    .digest();
}

export function partitionOf(surface: string, tenant: string, order: string): string {
  return sha256('partition', surface, tenant, order).digest('base64url');
}

export function newIntent(write: BufferedWrite): NewIntent {
  const { surface, tenant, key, order, method, target, body, receivedAt, window } = write;
  const receipt = newReceipt();
  const headers = Object.fromEntries(
    Object.entries(write.headers)
      .map(([name, value]) => [name.toLowerCase(), String(value)] as const)
      .filter(([name]) => !NEVER_STORED.has(name)),
  );
  return {
    ...{ surface, tenant, key, order, method, target, headers, body, receivedAt, window, receipt },
    keyHash: keyHash(write),
    fingerprint: fingerprint(write),
    partition: order === null ? `one:${receipt}` : partitionOf(surface, tenant, order),
  };
}

// JSON, so that no two lists of parts run together to the same text
function sha256(...parts: readonly (string | null)[]) {
  return createHash('sha256').update(`${JSON.stringify(parts)}\n`);
}

/** For people's eyes: what a query holds may be a token. */
export function maskedTarget(target: string): string {
  const at = target.indexOf('?');
  if (at < 0) return target;
  const names = target
    .slice(at + 1)
    .split('&')
    .map((pair) => {
      const [name] = pair.split('=', 1);
      return pair.includes('=') ? `${name}=…` : '…';
    });
  return `${target.slice(0, at)}?${names.join('&')}`;
}
