// A write is kept by a real guard in a real queue, and applied after the window; the client learns how it ended.
import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, expect, test } from '@jest/globals';
import axios from 'axios';
import { createBudget, createFetch, installOn, waitForReceipt } from '../../../packages/client/src/index.ts';
import { createGuard, fileSource } from '../../../packages/guard/src/index.ts';
import { openQueue } from '../../../packages/intents/src/index.ts';
import { until } from '../../support/until.ts';

let closing: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const close of closing.reverse()) await close();
  closing = [];
});

async function world() {
  const folder = mkdtempSync(join(tmpdir(), 'maint-receipt-'));
  closing.push(() => rmSync(folder, { recursive: true }));
  const flag = join(folder, 'flag.json');
  function put(end: number | null): void {
    const holders = end === null ? {} : { 'w-1': { until: new Date(end).toISOString(), reason: 'reindex' } };
    writeFileSync(`${flag}.new`, JSON.stringify({ version: 1, holders }));
    renameSync(`${flag}.new`, flag);
  }
  // The guard's time stands still: Retry-After is a second, however slow this machine is.
  const now = Date.now();
  put(now + 1000);
  const queue = await openQueue({ path: join(folder, 'queue.db'), survives: 'process' });
  closing.push(() => queue.close());
  const guard = createGuard({
    source: fileSource(flag),
    surfaces: [
      { name: 'notes', match: { methods: ['POST'], path: '/notes' }, disposition: 'buffer' },
      { name: 'locked', match: { methods: ['POST'], path: '/locked' }, status: 423 },
    ],
    queue,
    authorize: 'elsewhere',
    clock: () => now,
    monotonic: () => now,
    random: () => 0,
    log: () => {},
  });
  closing.push(() => guard.close());
  await guard.ready();
  const effects: string[] = [];
  const server = createServer(
    guard.http((request, response) => {
      void text(request).then((body) => {
        if (body === 'wrong') return response.writeHead(400).end('no such note');
        // as it came: the replay brings the text that the client sent
        const key = String(request.headers['idempotency-key']);
        effects.push(`${key} ${body}`);
        return response.writeHead(201).end();
      });
    }),
  ).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, put, guard, queue, effects };
}

test('202, then the receipt: applied once under its key, or dead with the reason', async () => {
  const { url, put, guard, queue, effects } = await world();
  const options = { budget: createBudget() };
  const send = createFetch(options);
  const api = axios.create({ baseURL: url });
  installOn(api, options);

  const kept = await send(`${url}/notes`, { method: 'POST', body: 'one', headers: { 'idempotency-key': '"k-1"' } });
  const wrong = await send(`${url}/notes`, { method: 'POST', body: 'wrong' });
  const viaAxios = await api.post('/notes', 'two', { headers: { 'Idempotency-Key': '"k-2"' } });
  expect([kept.status, wrong.status, viaAxios.status]).toEqual([202, 202, 202]);
  // The same write again is the same receipt, another payload under its key is final.
  const again = await send(`${url}/notes`, { method: 'POST', body: 'one', headers: { 'idempotency-key': '"k-1"' } });
  expect(again.headers.get('location')).toBe(kept.headers.get('location'));
  const other = await send(`${url}/notes`, { method: 'POST', body: 'other', headers: { 'idempotency-key': '"k-1"' } });
  expect([other.status, ((await other.json()) as { code: string }).code]).toEqual([422, 'idempotency_key_reused']);
  expect(options.budget.counts().retries).toBe(0);

  const receipts = Promise.all([kept, wrong, viaAxios].map((answer) => waitForReceipt(answer, { deadlineMs: 25_000 })));
  put(null);
  await until(() => !guard.readOnly());
  await queue.backfill({ url, rate: 1000, rampMs: 0, honoursKeys: true, deadMode: 'skip' });
  expect(await receipts).toMatchObject([
    { state: 'applied', status: 201 },
    { state: 'dead', status: 400, reason: expect.stringContaining('no such note') },
    { state: 'applied', status: 201 },
  ]);
  expect(effects.sort()).toEqual(['"k-1" one', '"k-2" two']);
});

test('a surface with 423 is waited for like one with 503', async () => {
  const { url, put, guard, effects } = await world();
  let waits = 0;
  const send = createFetch({ budget: createBudget(), onRetry: ({ status }) => status === 423 && (waits += 1) });
  const answer = send(`${url}/locked`, { method: 'POST', body: 'one' });
  await until(() => waits === 1);
  put(null);
  await until(() => !guard.readOnly());
  expect((await answer).status).toBe(201);
  expect(effects).toHaveLength(1);
});
