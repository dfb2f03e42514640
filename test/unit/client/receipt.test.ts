import { expect, test } from '@jest/globals';
import { type ReceiptOptions, type RetryError, waitForReceipt } from '../../../packages/client/src/index.ts';

const LATER = { minPauseMs: 4, maxPauseMs: 20 };
const settled = { receipt: 'r', state: 'applied', acceptedAt: '', settledAt: '', status: 201, reason: null };

function accepted(headers: Record<string, string>, status = 202) {
  return { status, url: 'http://api.example/notes?token=secret', headers: new Headers(headers) };
}

function replies(...all: (unknown | Response | Error)[]): {
  asked: { url: string; at: number }[];
  options: ReceiptOptions;
} {
  const asked: { url: string; at: number }[] = [];
  const fetch = async (url: string) => {
    asked.push({ url, at: performance.now() });
    const reply = all[Math.min(asked.length, all.length) - 1];
    if (reply instanceof Error) throw reply;
    return reply instanceof Response ? reply.clone() : Response.json(reply);
  };
  return { asked, options: { ...LATER, fetch } };
}

test('asks until it is settled; what is gone for a while is asked again', async () => {
  const { asked, options } = replies(
    { ...settled, state: 'queued' },
    new Response('', { status: 503, headers: { 'retry-after': '0.01' } }),
    new TypeError('fetch failed'),
    new Response('<html>'),
    { ...settled, state: 'applying' },
    settled,
  );
  expect(await waitForReceipt(accepted({ location: '/receipts/r' }), options)).toEqual(settled);
  expect(asked.map(({ url }) => url)).toEqual(Array(6).fill('http://api.example/receipts/r'));
});

test.each(['applied', 'dead', 'dropped'])('%s is an end', async (state) => {
  const { options } = replies({ ...settled, state });
  expect(await waitForReceipt('http://api.example/receipts/r', options)).toMatchObject({ state });
});

test('never asks before Retry-After, of the 202 or of a receipt', async () => {
  const queued = Response.json({ ...settled, state: 'queued' }, { headers: { 'retry-after': '0.06' } });
  const { asked, options } = replies(queued, settled);
  const began = performance.now();
  await waitForReceipt(accepted({ location: '/r', 'retry-after': '0.05' }), options);
  expect(asked[0]!.at - began).toBeGreaterThan(49);
  expect(asked[1]!.at - asked[0]!.at).toBeGreaterThan(59);
});

test('pauses grow, and half of each is random', async () => {
  const queued = { ...settled, state: 'queued' };
  const { asked, options } = replies(queued, queued, queued, queued, settled);
  await waitForReceipt('http://api.example/r', { ...options, minPauseMs: 10, maxPauseMs: 40, random: () => 0 });
  const pauses = asked.slice(1).map(({ at }, n) => at - asked[n]!.at);
  for (const [n, least] of [10, 20, 20, 20].entries()) expect(pauses[n]).toBeGreaterThan(least - 1);
});

async function failureOf(call: Promise<unknown>): Promise<RetryError> {
  return (await call.then(
    () => new Error('it was settled'),
    (reason) => reason,
  )) as RetryError;
}

test('an axios answer is taken too', async () => {
  const { asked, options } = replies(settled);
  const answer = {
    status: 202,
    headers: { location: '/r' },
    config: { baseURL: 'http://api.example/v1/', url: 'notes' },
  };
  await waitForReceipt(answer, options);
  expect(asked[0]?.url).toBe('http://api.example/r');
});

test('the deadline, an unknown receipt, and what is none', async () => {
  const queued = Response.json({ ...settled, state: 'queued' }, { headers: { 'retry-after': '60' } });
  const late = await failureOf(waitForReceipt('http://api.example/r', { ...replies(queued).options, deadlineMs: 500 }));
  expect(late).toMatchObject({ code: 'past_deadline', place: 'GET http://api.example/r', attempts: 1 });
  expect(Date.parse(late.until as string)).toBeGreaterThan(Date.now() + 50_000);
  const gone = replies(new Response('', { status: 404 }));
  expect(await failureOf(waitForReceipt('http://api.example/r', gone.options))).toMatchObject({
    code: 'no_receipt',
    status: 404,
  });
  const none = await failureOf(waitForReceipt(accepted({}, 200), gone.options));
  expect(none).toMatchObject({ code: 'no_receipt', place: 'http://api.example/notes' });
  expect(none.message).toContain('200 without a Location is no receipt');
  const aborted = AbortSignal.abort(new Error('the user left'));
  await expect(waitForReceipt('http://api.example/r', { ...replies(queued).options, signal: aborted })).rejects.toThrow(
    'the user left',
  );
});
