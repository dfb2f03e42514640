// The end of a window as the service sees it, and as the callers do who waited for it with default settings.
import { expect, test } from '@jest/globals';
import { createBudget, createFetch, waitForReceipt } from '../../../packages/client/src/index.ts';
import { waitOut } from '../../docs/clients-return.ts';
import { seeded, VirtualTime } from '../../support/virtual-time.ts';

test.each([
  { callers: 200, seconds: 30 },
  { callers: 200, seconds: 1 },
  { callers: 200, seconds: 600 },
])('$callers callers wait out the last $seconds s, and are back within a minute', async (window) => {
  const { back, lost, refused } = await waitOut(window);
  expect(lost).toEqual([]);
  expect(back).toHaveLength(200);
  expect(Math.max(...back)).toBeLessThanOrEqual(60);
  // none came early, and so each was refused once
  expect(refused).toBe(200);
});

test('a window longer than the longest deadline fails at once, and says when to come back', async () => {
  const { back, lost } = await waitOut({ callers: 3, seconds: 3600 });
  expect([back, lost]).toEqual([[], ['past_deadline', 'past_deadline', 'past_deadline']]);
});

/** Requests per second, and over two minutes, of what is answered the same for ever. */
async function asked(headers: Record<string, string>, status: number, how: 'receipt' | 'call') {
  using time = new VirtualTime();
  const at: number[] = [];
  const spins = new AbortController();
  const fetch = async () => {
    at.push(time.now);
    // a loop without a pause would never let time pass
    if (at.length > 1000) spins.abort({ code: 'spins' });
    return new Response('{"state":"queued"}', { status, headers: { 'content-type': 'application/json', ...headers } });
  };
  const options = { fetch, deadlineMs: 120_000, budget: createBudget(), random: seeded(7), signal: spins.signal };
  const work =
    how === 'receipt'
      ? waitForReceipt('http://api.example/r', options)
      : createFetch(options)('http://api.example/', { signal: spins.signal });
  const error = await time.until(
    work.then(
      () => null,
      (reason: { code: string }) => reason,
    ),
  );
  const perSecond = Math.max(...at.map((from) => at.filter((each) => each >= from && each < from + 1000).length));
  return { code: error?.code, requests: at.length, perSecond };
}

const PAST = 'Tue, 24 Nov 2020 02:00:00 GMT';

test.each([
  ['Retry-After: 0', { 'retry-after': '0' }, 200],
  ['a date that has passed', { 'retry-after': PAST }, 200],
  ['503 with Retry-After: 0', { 'retry-after': '0' }, 503],
  ['503 with a date that has passed', { 'retry-after': PAST }, 503],
  ['503 that says nothing', {}, 503],
  ['503 with a fraction', { 'retry-after': '0.01' }, 503],
  ['503 with a negative number', { 'retry-after': '-5' }, 503],
])('a receipt is not asked for without a pause: %s', async (_what, headers, status) => {
  const { code, requests, perSecond } = await asked(headers, status, 'receipt');
  expect(code).toBe('past_deadline');
  expect(perSecond).toBeLessThanOrEqual(2);
  expect(requests).toBeLessThanOrEqual(12);
});

test.each([
  ['Retry-After: 0', { 'retry-after': '0' }],
  ['a date that has passed', { 'retry-after': PAST }],
  ['Retry-After: 1, for ever', { 'retry-after': '1' }],
])('nor does a call spin: %s', async (_what, headers) => {
  const { code, requests } = await asked(headers, 503, 'call');
  expect(code).toBe('past_deadline');
  expect(requests).toBeLessThanOrEqual(25);
});

test('receipts that cannot be asked for share the budget of the process', async () => {
  using time = new VirtualTime();
  let requests = 0;
  const fetch = async () => {
    requests += 1;
    return new Response('', { status: 503 });
  };
  const options = { fetch, deadlineMs: 60_000, budget: createBudget(), random: seeded(7) };
  const all = Array.from({ length: 200 }, () => waitForReceipt('http://api.example/r', options).catch(() => null));
  await time.until(Promise.all(all));
  // the first of each, ten saved up, and one a second
  expect(requests).toBeLessThanOrEqual(200 + 10 + 61);
});
