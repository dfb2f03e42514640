// Reads of a real server, made slow and faulty.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { monotonicNow } from '../../../src/engine/clock.ts';
import type { Moment } from '../../../src/engine/contract.ts';
import { OuterError } from '../../../src/errors/catalogue.ts';
import { type SoakHttpEvidence, soakHttp } from '../../../src/steps/soak/http.ts';
import { type TestClients, testClients } from '../../support/clients.ts';
import { runOneCheck, windowOf } from '../../support/one-check.ts';
import { freePort } from '../../support/ports.ts';
import { VirtualTime } from '../../support/virtual-time.ts';

let tools: TestClients;
let end: () => Promise<unknown>;
let url: string;
/** what the server does */
let answer: (n: number) => number | 'hang' | 'break';
let requests: string[];

beforeEach(async () => {
  tools = testClients();
  answer = () => 200;
  requests = [];
  const server = createServer((request, response) => {
    const status = answer(requests.push(request.url!));
    if (status === 'hang') return;
    if (status === 'break') return void request.socket.destroy();
    response.writeHead(status).end('{}');
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  end = async () => {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  };
});
afterEach(async () => {
  await tools[Symbol.asyncDispose]();
  await end();
});

const check = (
  moment: Moment,
  params: Record<string, unknown> = {},
  more: { before?: unknown; ms?: number; progress?: (text: string) => void } = {},
) =>
  runOneCheck(tools.clients, soakHttp, {
    params: { probes: [`${url}/search?q=secret`], ...params },
    moment,
    window: windowOf(),
    evidence: more.before === undefined ? {} : { before: more.before },
    ...more,
  });
const was = (more: Partial<SoakHttpEvidence> = {}): SoakHttpEvidence => ({
  reads: 150,
  errors: 0,
  p50: 5,
  p95: 5000,
  durationMs: 3000,
  probes: {},
  ...more,
});
// What is not about latency must not depend on how busy the test machine is: `was` allows seconds.
const FAST = { rate: 50, min_samples: 20 };

/** A service in virtual time: what it says to the n-th read does not depend on how busy the test machine is. */
async function timed(
  moment: Moment,
  serve: (n: number, url: string) => { status?: number; ms?: number; broken?: true },
  params: Record<string, unknown> = {},
  more: { before?: SoakHttpEvidence; ms?: number; progress?: (text: string) => void } = {},
) {
  using time = new VirtualTime();
  let n = 0;
  const get = async ({ url }: { url: string }) => {
    const { status = 200, ms = 1, broken } = serve(++n, url);
    await new Promise<void>((resolve) => void setTimeout(resolve, ms));
    if (broken) throw new OuterError('a:80 broke the connection', { effect: 'none', retryable: true });
    return { status, headers: {}, text: '', json: undefined, ms };
  };
  const clients = { reader: () => ({ http: { get } }) } as unknown as typeof tools.clients;
  const began = time.now;
  const result = await time.until(
    runOneCheck(clients, soakHttp, {
      params: { probes: ['http://a/search?q=secret'], ...params },
      moment,
      window: windowOf(),
      evidence: more.before === undefined ? {} : { before: more.before },
      ...more,
    }),
  );
  return { result, tookMs: time.now - began };
}

describe('the baseline', () => {
  test('is taken in a burst of at most three seconds', async () => {
    const { result, tookMs } = await timed('before', () => ({}));
    expect(result).toMatchObject({
      outcome: 'pass',
      findings: [],
      summary: expect.stringMatching(/^baseline: 1\d\d reads · errors 0\.00 % · p95 \d/),
    });
    expect(result.evidence.reads).toBeGreaterThanOrEqual(100);
    expect(tookMs).toBeLessThan(3200);
    expect(JSON.stringify(result.evidence)).not.toContain('secret');
  });

  test('reads that never worked are said before anything is touched', async () => {
    await warm();
    answer = () => 404;
    expect(await check('before', {}, { ms: 1500 })).toMatchObject({
      outcome: 'fail',
      summary: expect.stringMatching(/^no read of the baseline was good/),
      findings: [expect.stringContaining('last: status 404')],
    });
    expect(await check('before', { probes: [`http://127.0.0.1:${await freePort()}/`] }, { ms: 1500 })).toMatchObject({
      outcome: 'fail',
      findings: [expect.stringContaining('refused the connection')],
    });
  });

  test('a service that is ill already, or that is too slow for enough reads', async () => {
    const ill = await timed('before', (n) => ({ status: n % 4 === 0 ? 500 : 200 }), {}, { ms: 600 });
    expect(ill.result).toMatchObject({
      outcome: 'inconclusive',
      summary: expect.stringContaining('more errors than the soak will allow (0.50 %)'),
    });
    const slow = await timed('before', () => ({ ms: 200 }), {}, { ms: 700 });
    expect(slow.result).toMatchObject({
      outcome: 'inconclusive',
      summary: expect.stringContaining('fewer than 100 reads'),
    });
    // nothing was answered before the time was up: that says nothing of the service
    const none = await timed('before', () => ({ ms: 900, broken: true }), {}, { ms: 700 });
    expect(none.result).toMatchObject({ outcome: 'inconclusive', summary: expect.stringContaining('0 reads') });
  });
});

describe('the soak', () => {
  test('lasts to its end, with what was before beside what is', async () => {
    const progress: string[] = [];
    const more = { before: was(), ms: 1300, progress: (text: string) => progress.push(text) };
    const { result, tookMs } = await timed('soaking', () => ({}), FAST, more);
    expect(tookMs).toBeGreaterThan(1200);
    expect(result).toMatchObject({ outcome: 'pass', findings: [] });
    expect(result.summary).toMatch(
      /^\d\.\ds · \d+ reads · errors 0\.00 % \(before 0\.00 %\) · p95 [\d.]+ ms \(before 5000 ms\)$/,
    );
    expect(result.evidence.reads).toBe(65);
    expect(progress[0]).toMatch(/reads · errors 0\.00 %/);
  });

  test('goes by turns, and takes what is declared good', async () => {
    const probes = ['http://a/a', { url: 'http://a/gone', expect: [404, 410] }, { url: 'http://a/gone', expect: 404 }];
    const serve = (_n: number, url: string) => ({ status: url.endsWith('/gone') ? 404 : 200 });
    const { result } = await timed('soaking', serve, { ...FAST, probes }, { before: was(), ms: 700 });
    expect(result.outcome).toBe('pass');
    expect(Object.keys(result.evidence.probes)).toEqual(['a/a', 'a/gone', 'a/gone (2)']);
    const reads = Object.values(result.evidence.probes as Record<string, { reads: number }>).map((one) => one.reads);
    expect(Math.max(...reads) - Math.min(...reads)).toBeLessThanOrEqual(1);
  });

  test('errors above the limit are bad, and end it early', async () => {
    const serve = (n: number) => ({ status: n % 20 === 0 ? 500 : 200 });
    const { result, tookMs } = await timed('soaking', serve, FAST, { before: was(), ms: 20_000 });
    expect(tookMs).toBeLessThan(10_000);
    expect(result).toMatchObject({
      outcome: 'fail',
      findings: [
        expect.stringMatching(/^errors \d\.\d\d %, at most 0\.50 % are allowed$/),
        expect.stringContaining('last: status 500'),
      ],
    });
  });

  test('one that breaks connections', async () => {
    const serve = (n: number) => (n % 3 === 0 ? { broken: true as const } : {});
    const { result } = await timed('soaking', serve, FAST, { before: was(), ms: 500 });
    expect(result).toMatchObject({
      outcome: 'fail',
      findings: expect.arrayContaining([expect.stringContaining('broke the connection')]),
    });
  });

  test('one that hangs', async () => {
    await warm();
    answer = () => 'hang';
    expect(await check('soaking', FAST, { before: was(), ms: 2500 })).toMatchObject({ outcome: 'fail' });
    expect(await check('soaking', FAST, { before: was(), ms: 300 })).toMatchObject({
      outcome: 'inconclusive',
      summary: expect.stringContaining('no read was finished'),
    });
  });

  test('reads that begin late, because this machine is busy, and are cut off by the end are no errors of the service', async () => {
    const get = async () => {
      // the machine stands still between the begin of a read and its request
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_100);
      throw new OuterError('a:80 did not answer within 39ms', {
        ...{ effect: 'none', retryable: true, code: 'ETIMEDOUT', waitedMs: 39 },
      });
    };
    const clients = { reader: () => ({ http: { get } }) } as unknown as typeof tools.clients;
    const run = { params: { probes: ['http://a/'], ...FAST }, moment: 'soaking' as const, window: windowOf() };
    const result = await runOneCheck(clients, soakHttp, { ...run, evidence: { before: was() }, ms: 1_000 });
    expect(result).toMatchObject({ outcome: 'inconclusive', summary: expect.stringContaining('no read was finished') });
  });

  test('slower than +15 % and +10 ms is bad; either alone is not', async () => {
    const serve = () => ({ ms: 4_000 });
    const slow = await timed('soaking', serve, FAST, { before: was({ p95: 40 }), ms: 8_000 });
    expect(slow.result).toMatchObject({
      outcome: 'fail',
      findings: [
        expect.stringMatching(/^p95 \d+ ms, at most 50 ms is allowed \(before 40 ms, \+15 % and \+10 ms\)$/),
        expect.stringMatching(/\/search: p95/),
      ],
    });
    const params = { ...FAST, max_p95: 4000 };
    const allowed = await timed('soaking', () => ({ ms: 60 }), params, { before: was({ p95: 40 }), ms: 700 });
    expect(allowed.result.outcome).toBe('pass');
  });

  test('too few reads, or no baseline: p95 is inconclusive, and errors are not', async () => {
    const few = await timed('soaking', () => ({}), {}, { before: was(), ms: 400 });
    expect(few.result).toMatchObject({
      outcome: 'inconclusive',
      summary: expect.stringContaining('fewer than 200 reads'),
      findings: [expect.stringContaining('200 are needed: a soak of 20s has that many')],
    });
    expect((await timed('soaking', () => ({}), FAST, { ms: 600 })).result).toMatchObject({
      outcome: 'inconclusive',
      summary: expect.stringContaining('without a baseline'),
    });
    const bad = await timed('soaking', () => ({ status: 500 }), {}, { before: was(), ms: 300 });
    expect(bad.result.outcome).toBe('fail');
  });
});

/** The HTTP client is loaded by its first call, which takes a busy machine a second. */
async function warm(): Promise<void> {
  const reader = tools.clients.reader({ signal: new AbortController().signal, deadline: monotonicNow() + 10_000 });
  await reader.http.get({ url });
}

test.each([
  // before, now, max_p95 and what comes of it: +15 % and +10 ms
  [4, 13.9, 15, 'pass'],
  [100, 114, 15, 'pass'],
  [100, 5000, 15, 'fail'],
  [100, 5000, 6000, 'pass'],
])('p95 was %d ms and is %d ms: with %d %% allowed, %s', async (before, now, max_p95, outcome) => {
  const get = async () => ({ status: 200, headers: {}, text: '', json: undefined, ms: now });
  const clients = { reader: () => ({ http: { get } }) } as unknown as typeof tools.clients;
  const params = { probes: ['http://a/'], ...FAST, max_p95 };
  const evidence = { before: was({ p95: before }) };
  const result = await runOneCheck(clients, soakHttp, { params, moment: 'now', window: windowOf(), evidence });
  expect(result).toMatchObject({ outcome, evidence: { p95: now } });
});

test('on demand it is short', async () => {
  const began = Date.now();
  const result = await check('now', { min_samples: 40 }, { before: was(), ms: 20_000 });
  expect(result).toMatchObject({ outcome: 'pass', evidence: { reads: 40 } });
  expect(Date.now() - began).toBeLessThan(10_000);
});

test('params say what they want', () => {
  const parse = (value: unknown) => soakHttp.Params.safeParse(value);
  expect(parse({ probes: ['https://a/x'] }).data).toEqual({
    probes: ['https://a/x'],
    max_errors: 0.5,
    max_p95: 15,
    min_samples: 200,
    rate: 10,
  });
  expect(parse({ probes: [] }).success).toBe(false);
  expect(parse({ probes: ['a'] }).success).toBe(false);
  expect(parse({ probes: [{ url: 'https://a', expect: 20 }] }).success).toBe(false);
  expect(parse({ probes: ['https://a'], max_p95: -1 }).success).toBe(false);
});
