// Every way that an answer is read: the HTTP client, the replay of the queue and the client of services agree.
import { describe, expect, test } from '@jest/globals';
import { retryAfterMs as ofClient } from '../../../packages/client/src/retry-after.ts';
import { judge as replayed } from '../../../packages/intents/src/judge.ts';
import { judge } from '../../../src/clients/http.ts';
import { retryAfterMs } from '../../../src/clients/retry-after.ts';

const NOW = Date.parse('2026-11-24T02:00:00Z');

describe('Retry-After', () => {
  test.each([
    ['0', 0],
    ['7', 7000],
    [' 7 ', 7000],
    ['2.5', 2500],
    ['0.5', 500],
    ['0.0001', 1],
    ['2100.5', 2_100_500],
    ['9'.repeat(400), 1e15],
    ['-5', null],
    ['-0.5', null],
    ['+5', null],
    ['1e3', null],
    ['0x10', null],
    ['5s', null],
    ['2,5', null],
    ['7, 7', null],
    ['.5', null],
    ['5.', null],
    ['soon', null],
    ['NaN', null],
    ['Infinity', null],
    ['', null],
    ['2026', 2_026_000],
    ['2026-11-24', null],
    ['2026-11-24T02:00:30Z', null],
    ['Tue, 24 Nov 2026 02:00:30 GMT', 30_000],
    ['Tuesday, 24-Nov-26 02:00:30 GMT', 30_000],
    ['Tue Nov 24 02:00:30 2026', 30_000],
    ['Tue, 24 Nov 2026 01:00:00 GMT', 0],
    ['Tue, 5', null],
    ['Tue, 99 Nov 2026 02:00:30 GMT', null],
  ])('%s', (value, ms) => {
    expect(retryAfterMs(value, null, NOW)).toBe(ms);
    expect(ofClient(value, null, NOW)).toBe(ms);
    const headers = { 'retry-after': value, date: 'Tue, 24 Nov 2026 02:00:00 GMT' };
    expect(judge(503, headers).retryAfterMs ?? null).toBe(ms);
    const again = replayed({ status: 503, headers, body: '' }, 'r-1', [], NOW);
    expect(again.is === 'again' ? again.retryAfterMs : undefined).toBe(ms === null ? null : Math.min(ms, 3_600_000));
  });
  test('a date is taken against the clock of who sent it', () => {
    const headers = { 'retry-after': 'Tue, 24 Nov 2020 02:00:30 GMT', date: 'Tue, 24 Nov 2020 02:00:00 GMT' };
    expect(retryAfterMs(headers['retry-after'], headers.date, NOW)).toBe(30_000);
    expect(judge(429, headers).retryAfterMs).toBe(30_000);
    expect(replayed({ status: 429, headers, body: '' }, 'r-1', [], NOW)).toMatchObject({ retryAfterMs: 30_000 });
  });
});
