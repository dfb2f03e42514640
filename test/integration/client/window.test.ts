// 200 clients in 20 processes' worth of budgets against a guarded server: a window opens, is extended, and ends. How much
// they come back together is measured as the largest share of their returns in any 100 ms, beside the share that an even
// spread over the same time would have.
import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, test } from '@jest/globals';
import axios from 'axios';
import {
  createBudget,
  createFetch,
  installOn,
  type Retry,
  type RetryBudget,
} from '../../../packages/client/src/index.ts';
import { createGuard, fileSource } from '../../../packages/guard/src/index.ts';
import { until } from '../../support/until.ts';

const CLIENTS = 200;
const PER_PROCESS = 10;
const BUDGET = { share: 0.1, minPerSecond: 1.5, burst: 3 };

let closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.reverse()) await close();
  closing = [];
});

async function listen(listener: RequestListener): Promise<string> {
  const server: Server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** The largest share of `times` in any slice of so many milliseconds, and the share of an even spread. */
function peak(times: readonly number[], sliceMs = 100): { largest: number; even: number; seconds: number } {
  const sorted = [...times].sort((a, b) => a - b);
  let most = 0;
  for (let from = 0, to = 0; from < sorted.length; from++) {
    while (to < sorted.length && sorted[to]! - sorted[from]! <= sliceMs) to += 1;
    most = Math.max(most, to - from);
  }
  const span = Math.max(sliceMs, sorted.at(-1)! - sorted[0]!);
  return { largest: most / sorted.length, even: sliceMs / span, seconds: span / 1000 };
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** What many programs do: wait as long as they are told, and come back. */
async function plainWrite(url: string, headers: Record<string, string>): Promise<void> {
  for (;;) {
    const response = await fetch(url, { method: 'POST', headers });
    await response.text();
    if (response.status === 201) return;
    await pause(Number(response.headers.get('retry-after')) * 1000);
  }
}

test('a window that is extended: nobody comes back in step, the budget holds, every write is applied once', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'maint-clients-'));
  closing.push(() => rmSync(folder, { recursive: true }));
  const flag = join(folder, 'flag.json');
  function put(end: number | null): void {
    const holders = end === null ? {} : { 'w-1': { until: new Date(end).toISOString(), reason: 'reindex' } };
    writeFileSync(`${flag}.new`, JSON.stringify({ version: 1, holders }));
    renameSync(`${flag}.new`, flag);
  }
  put(null);
  const guard = createGuard({ source: fileSource(flag), log: () => {} });
  closing.push(() => guard.close());
  await guard.ready();

  /** The origin makes one effect per key, and its answer to every eleventh write is lost on the way. */
  const known = new Set<string>();
  const effects = new Map<string, number>();
  let lost = 0;
  async function apply(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const key = String(request.headers['idempotency-key']);
    const note = await text(request);
    if (!known.has(key)) {
      known.add(key);
      effects.set(note, (effects.get(note) ?? 0) + 1);
      if (note !== '' && known.size % 11 === 0) {
        lost += 1;
        request.socket.destroy();
        return;
      }
    }
    response.writeHead(201).end();
  }
  const arrivals = { ours: 0, again: [] as number[], plain: [] as number[] };
  const seen = new Set<string>();
  const guarded = guard.http((request, response) => void apply(request, response));
  const url = await listen((request, response) => {
    const key = String(request.headers['idempotency-key']);
    if (request.headers['x-plain']) {
      if (seen.has(key)) arrivals.plain.push(performance.now());
    } else {
      arrivals.ours += 1;
      if (seen.has(key) && windowed.has(key)) arrivals.again.push(performance.now());
    }
    if (guard.readOnly()) windowed.add(key);
    seen.add(key);
    guarded(request, response);
  });
  const windowed = new Set<string>();

  const began = performance.now();
  const budgets = Array.from({ length: CLIENTS / PER_PROCESS }, () => createBudget(BUDGET));
  const clients = Array.from({ length: CLIENTS }, (_, n) => writer(url, budgets[n % budgets.length]!, n % 2 === 0));
  const statuses: number[] = [];
  await Promise.all(clients.map(async (write) => statuses.push(await write())));

  put(Date.now() + 2000);
  await until(() => guard.readOnly());
  const plain = Array.from({ length: CLIENTS }, (_, n) =>
    plainWrite(url, { 'x-plain': '1', 'idempotency-key': `"p${n}"` }),
  );
  const writes = clients.map(async (write) => {
    // One that meets the window, one after it.
    for (let n = 0; n < 2; n++) statuses.push(await write());
  });
  await until(() => windowed.size >= 2 * CLIENTS);
  // Extended, so that the first to come back are refused once more; and it ends in time.
  const end = Date.now() + 3000;
  put(end);
  await until(() => Date.now() >= end - 500);
  put(null);
  await Promise.all([...writes, ...plain]);

  const seconds = (performance.now() - began) / 1000;
  const total = { requests: 0, retries: 0, allowed: 0 };
  for (const budget of budgets) {
    const { requests, retries, denied } = budget.counts();
    const allowed = BUDGET.burst + BUDGET.share * requests + BUDGET.minPerSecond * seconds;
    expect(retries).toBeLessThanOrEqual(allowed);
    expect(denied).toBe(0);
    total.requests += requests;
    total.retries += retries;
    total.allowed += allowed;
  }
  const ours = peak(arrivals.again);
  const theirs = peak(arrivals.plain);
  console.log(
    `${CLIENTS} clients, ${total.requests} writes in ${seconds.toFixed(1)} s: ${again.length} retries, ${total.retries} from a budget of ${Math.floor(total.allowed)}, ${lost} answers lost; ` +
      `returns in any 100 ms at most ${percent(ours.largest)} (even over ${ours.seconds.toFixed(1)} s: ${percent(ours.even)}), ` +
      `clients that only wait as told ${percent(theirs.largest)} (even over ${theirs.seconds.toFixed(1)} s: ${percent(theirs.even)})`,
  );
  expect(statuses).toEqual(Array(3 * CLIENTS).fill(201));
  expect(total.requests).toBe(3 * CLIENTS);
  expect(arrivals.ours).toBe(total.requests + again.length);
  // All of the second round: the test is none if nobody had to come back. They were told when, and cost no budget.
  expect(again.filter(({ status }) => status === 503).length).toBeGreaterThanOrEqual(CLIENTS);
  expect(total.retries).toBeLessThan(again.length - CLIENTS + 1);
  expect(lost).toBeGreaterThan(40);
  const kept = [...effects].filter(([note]) => note !== '');
  expect(kept).toHaveLength(3 * CLIENTS);
  expect(kept.filter(([, times]) => times !== 1)).toEqual([]);
  expect(ours.largest).toBeLessThan(0.08);
  expect(theirs.largest).toBeGreaterThan(ours.largest);
}, 180_000);

/** No two notes are the same. */
let notes = 0;
const again: Retry[] = [];

/** Half of the clients are fetch, half axios. */
function writer(url: string, budget: RetryBudget, viaAxios: boolean): () => Promise<number> {
  const options = { budget, deadlineMs: 120_000, honoursKeys: true, onRetry: (retry: Retry) => again.push(retry) };
  if (viaAxios) {
    const api = axios.create({ baseURL: url });
    installOn(api, options);
    return async () => (await api.post('/notes', { text: `note ${(notes += 1)}` })).status;
  }
  const send = createFetch(options);
  return async () => {
    const response = await send(`${url}/notes`, { method: 'POST', body: `note ${(notes += 1)}` });
    await response.text();
    return response.status;
  };
}

test('told all the same in the same instant, by a gateway without jitter, they spread', async () => {
  const back: number[] = [];
  const seen = new Set<unknown>();
  const url = await listen((request, response) => {
    const key = request.headers['idempotency-key'];
    if (seen.has(key)) {
      back.push(performance.now());
      return void response.writeHead(201).end();
    }
    seen.add(key);
    return void response.writeHead(503, { 'retry-after': '2' }).end();
  });
  const send = createFetch({ budget: createBudget({ burst: CLIENTS }) });
  await Promise.all(Array.from({ length: CLIENTS }, () => send(url, { method: 'POST', body: 'x' })));
  const { largest, even, seconds } = peak(back);
  console.log(
    `at most ${percent(largest)} in any 100 ms; an even spread over ${seconds.toFixed(1)} s: ${percent(even)}`,
  );
  expect(back).toHaveLength(CLIENTS);
  expect(largest).toBeLessThan(0.25);
});

test('a budget bounds what a failing service gets, whatever the clients want', async () => {
  let arrived = 0;
  const url = await listen((_request, response) => {
    arrived += 1;
    response.writeHead(503, { 'retry-after': '0' }).end();
  });
  const budget = createBudget({ share: 0.1, minPerSecond: 0, burst: 5 });
  const send = createFetch({ budget, maxJitterMs: 20, deadlineMs: 5000 });
  const ends = await Promise.allSettled(
    Array.from({ length: CLIENTS }, () => send(url, { method: 'POST', body: 'x' })),
  );
  expect(ends.every((end) => end.status === 'rejected' && end.reason.code === 'budget_spent')).toBe(true);
  // The requests came first, and no more than the burst can be saved up.
  expect(arrived).toBeLessThanOrEqual(CLIENTS * 1.1 + 5);
  expect(arrived).toBeGreaterThan(CLIENTS);
});
