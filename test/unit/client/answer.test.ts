import { describe, expect, test } from '@jest/globals';
import { advice, adviceOnFailure } from '../../../packages/client/src/answer.ts';
import { retryAfterMs } from '../../../packages/client/src/retry-after.ts';

const NOW = Date.parse('2026-11-24T02:00:00Z');

function answer(status: number, headers: Record<string, string> = {}, body: unknown = null) {
  return { status, header: (name: string) => headers[name] ?? null, body: async () => body, response: null };
}

describe('Retry-After', () => {
  test.each([
    ['120', 120_000],
    [' 0 ', 0],
    ['1.5', 1500],
    ['Tue, 24 Nov 2026 02:00:30 GMT', 30_000],
    ['Tuesday, 24-Nov-26 02:00:30 GMT', 30_000],
    ['Tue Nov 24 02:00:30 2026', 30_000],
    ['Tue, 24 Nov 2026 01:00:00 GMT', 0],
    ['', null],
    ['soon', null],
    ['-5', null],
    ['7 minutes', null],
    ['Tue, 99 Foo 2026', null],
  ])('%j', (text, ms) => {
    expect(retryAfterMs(text, null, NOW)).toBe(ms);
  });

  test('a date counts from the answer’s own date: the client’s clock may be wrong', () => {
    const anHourLate = NOW + 3_600_000;
    const date = 'Tue, 24 Nov 2026 02:00:00 GMT';
    expect(retryAfterMs('Tue, 24 Nov 2026 02:00:30 GMT', date, anHourLate)).toBe(30_000);
  });
});

describe('what an answer advises', () => {
  const told = { 'retry-after': '3' };
  test.each([
    ['200', answer(200, told), 'no'],
    ['400', answer(400, told, { code: 'idempotency_key_missing' }), 'no'],
    ['409 of something else', answer(409, told, { code: 'edit_conflict' }), 'no'],
    ['409 in flight', answer(409, {}, { code: 'idempotency_in_flight' }), 'refused'],
    ['413 for good', answer(413), 'no'],
    ['413 for now', answer(413, told, { code: 'body_too_large' }), 'refused'],
    ['422 reused', answer(422, told, { code: 'idempotency_key_reused' }), 'no'],
    ['423 of WebDAV', answer(423, told, '<lock/>'), 'no'],
    ['423 locked', answer(423, told, { code: 'locked' }), 'no'],
    ['423 read-only', answer(423, told, { code: 'read_only' }), 'refused'],
    ['429', answer(429), 'refused'],
    ['500', answer(500, told), 'no'],
    ['502', answer(502, told), 'unknown'],
    ['503 that says when', answer(503, told), 'refused'],
    ['503 that does not', answer(503), 'unknown'],
    ['503 read-only', answer(503, {}, { code: 'read_only' }), 'refused'],
    ['504', answer(504), 'unknown'],
  ])('%s', async (_what, given, retry) => {
    expect((await advice(given, NOW)).retry).toBe(retry);
  });

  test('until: what the problem says, or what Retry-After comes to; past it, the latter', async () => {
    const until = '2026-11-24T02:30:00.000Z';
    expect(await advice(answer(503, told, { code: 'read_only', until }), NOW)).toMatchObject({ until, afterMs: 3000 });
    expect((await advice(answer(503, told), NOW)).until).toBe('2026-11-24T02:00:03Z');
    const overdue = { code: 'read_only', until: '2026-11-24T01:00:00Z', overdue: true };
    expect((await advice(answer(503, told, overdue), NOW)).until).toBe('2026-11-24T02:00:03Z');
    expect((await advice(answer(503, { 'retry-after': '9'.repeat(30) }), NOW)).until).toBeNull();
  });
});

function failure(code: string | undefined, message = 'fetch failed'): Error {
  return new TypeError(message, code === undefined ? {} : { cause: Object.assign(new Error(code), { code }) });
}

test.each([
  [failure('ECONNREFUSED'), 'refused'],
  [failure('ENOTFOUND'), 'refused'],
  [failure('ECONNRESET'), 'unknown'],
  [failure('UND_ERR_SOCKET'), 'unknown'],
  [Object.assign(new Error('timeout of 5ms exceeded'), { code: 'ECONNABORTED' }), 'unknown'],
  [Object.assign(new Error('Network Error'), { code: 'ERR_NETWORK' }), 'unknown'],
  [Object.assign(new Error('too large'), { code: 'ERR_BAD_RESPONSE' }), null],
  [failure('ERR_INVALID_URL', 'Failed to parse URL from x'), null],
  [new TypeError('Failed to fetch'), 'unknown'],
  [new TypeError('Load failed'), 'unknown'],
  [new TypeError('NetworkError when attempting to fetch resource.'), 'unknown'],
  [new TypeError("Failed to execute 'fetch' on 'Window': Failed to parse URL from x"), null],
  [new TypeError('Request with GET/HEAD method cannot have body.'), null],
  [new DOMException('aborted', 'AbortError'), null],
  ['a text', null],
])('a call without an answer: %s', (error, expected) => {
  expect(adviceOnFailure(error)).toBe(expected);
});
