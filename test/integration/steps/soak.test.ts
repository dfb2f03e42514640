// Reads of a real server, made slow and faulty.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Moment } from '../../../src/engine/contract.ts';
import { type SoakHttpEvidence, soakHttp } from '../../../src/steps/soak/http.ts';
import { type TestClients, testClients } from '../../support/clients.ts';
import { runOneCheck, windowOf } from '../../support/one-check.ts';
import { freePort } from '../../support/ports.ts';

let tools: TestClients;
let end: () => Promise<unknown>;
let url: string;
/** what the server does */
let ms: number;
let answer: (n: number) => number | 'hang' | 'break';
let requests: string[];

beforeEach(async () => {
  tools = testClients();
  ms = 0;
  answer = () => 200;
  requests = [];
  const server = createServer((request, response) => {
    const status = answer(requests.push(request.url!));
    if (status === 'hang') return;
    if (status === 'break') return void request.socket.destroy();
    setTimeout(() => response.writeHead(status).end('{}'), ms);
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

describe('the baseline', () => {
  test('is taken in a burst of at most three seconds', async () => {
    const result = await check('before');
    expect(result).toMatchObject({
      outcome: 'pass',
      findings: [],
      summary: expect.stringMatching(/^baseline: 1\d\d reads · errors 0\.00 % · p95 \d/),
    });
    expect(result.evidence.reads).toBeGreaterThanOrEqual(100);
    expect(result.evidence.durationMs).toBeLessThan(4000);
    expect(JSON.stringify(result.evidence)).not.toContain('secret');
  });

  test('reads that never worked are said before anything is touched', async () => {
    answer = () => 404;
    expect(await check('before', {}, { ms: 500 })).toMatchObject({
      outcome: 'fail',
      summary: expect.stringMatching(/^no read of the baseline was good/),
      findings: [expect.stringContaining('last: status 404')],
    });
    expect(await check('before', { probes: [`http://127.0.0.1:${await freePort()}/`] }, { ms: 300 })).toMatchObject({
      outcome: 'fail',
      findings: [expect.stringContaining('refused the connection')],
    });
  });

  test('a service that is ill already, or that is too slow for enough reads', async () => {
    answer = (n) => (n % 4 === 0 ? 500 : 200);
    expect(await check('before', {}, { ms: 600 })).toMatchObject({
      outcome: 'inconclusive',
      summary: expect.stringContaining('more errors than the soak will allow (0.50 %)'),
    });
    answer = () => 200;
    ms = 200;
    expect(await check('before', {}, { ms: 700 })).toMatchObject({
      outcome: 'inconclusive',
      summary: expect.stringContaining('fewer than 100 reads'),
    });
  });
});

describe('the soak', () => {
  test('lasts to its end, with what was before beside what is', async () => {
    const began = Date.now();
    const progress: string[] = [];
    const result = await check('soaking', FAST, { before: was(), ms: 1300, progress: (text) => progress.push(text) });
    expect(Date.now() - began).toBeGreaterThan(1200);
    expect(result).toMatchObject({ outcome: 'pass', findings: [] });
    expect(result.summary).toMatch(
      /^\d\.\ds · \d+ reads · errors 0\.00 % \(before 0\.00 %\) · p95 [\d.]+ ms \(before 5000 ms\)$/,
    );
    // 65 are due; a machine that stands still makes up for none
    expect(result.evidence.reads).toBeLessThan(80);
    expect(progress[0]).toMatch(/reads · errors 0\.00 %/);
  });

  test('goes by turns, and takes what is declared good', async () => {
    answer = (n) => (requests[n - 1] === '/gone' ? 404 : 200);
    const probes = [`${url}/a`, { url: `${url}/gone`, expect: [404, 410] }, { url: `${url}/gone`, expect: 404 }];
    const result = await check('soaking', { ...FAST, probes }, { before: was(), ms: 700 });
    const host = new URL(url).host;
    expect(result.outcome).toBe('pass');
    expect(Object.keys(result.evidence.probes)).toEqual([`${host}/a`, `${host}/gone`, `${host}/gone (2)`]);
    const reads = Object.values(result.evidence.probes as Record<string, { reads: number }>).map((one) => one.reads);
    expect(Math.max(...reads) - Math.min(...reads)).toBeLessThanOrEqual(1);
  });

  test('errors above the limit are bad, and end it early', async () => {
    answer = (n) => (n % 20 === 0 ? 500 : 200);
    const began = Date.now();
    const result = await check('soaking', FAST, { before: was(), ms: 20_000 });
    expect(Date.now() - began).toBeLessThan(10_000);
    expect(result).toMatchObject({
      outcome: 'fail',
      findings: [
        expect.stringMatching(/^errors \d\.\d\d %, at most 0\.50 % are allowed$/),
        expect.stringContaining('last: status 500'),
      ],
    });
  }, 20_000);

  test('one that breaks connections', async () => {
    answer = (n) => (n % 3 === 0 ? 'break' : 200);
    expect(await check('soaking', FAST, { before: was(), ms: 500 })).toMatchObject({
      outcome: 'fail',
      findings: expect.arrayContaining([expect.stringContaining('broke the connection')]),
    });
  });

  test('one that hangs', async () => {
    answer = () => 'hang';
    expect(await check('soaking', FAST, { before: was(), ms: 1500 })).toMatchObject({ outcome: 'fail' });
    expect(await check('soaking', FAST, { before: was(), ms: 300 })).toMatchObject({
      outcome: 'inconclusive',
      summary: expect.stringContaining('no read was finished'),
    });
  });

  test('slower than +15 % and +10 ms is bad; either alone is not', async () => {
    ms = 400;
    const slow = await check('soaking', FAST, { before: was({ p95: 40 }), ms: 1100 });
    expect(slow).toMatchObject({
      outcome: 'fail',
      findings: [
        expect.stringMatching(/^p95 \d+ ms, at most 50 ms is allowed \(before 40 ms, \+15 % and \+10 ms\)$/),
        expect.stringMatching(/\/search: p95/),
      ],
    });
    ms = 60;
    const allowed = await check('soaking', { ...FAST, max_p95: 4000 }, { before: was({ p95: 40 }), ms: 700 });
    expect(allowed.outcome).toBe('pass');
  });

  test('too few reads, or no baseline: p95 is inconclusive, and errors are not', async () => {
    const few = await check('soaking', {}, { before: was(), ms: 400 });
    expect(few).toMatchObject({
      outcome: 'inconclusive',
      summary: expect.stringContaining('fewer than 200 reads'),
      findings: [expect.stringContaining('200 are needed: a soak of 20s has that many')],
    });
    expect(await check('soaking', FAST, { ms: 600 })).toMatchObject({
      outcome: 'inconclusive',
      summary: expect.stringContaining('without a baseline'),
    });
    answer = () => 500;
    expect((await check('soaking', {}, { before: was(), ms: 300 })).outcome).toBe('fail');
  });
});

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
