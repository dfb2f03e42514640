// The backfill against a service on the loopback: what each answer leads to, and when it stops by itself.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  type Backfill,
  type BackfillOptions,
  type BackfillProgress,
  httpSender,
  type IntentQueue,
  NotSent,
  openQueue,
} from '../../../packages/intents/src/index.ts';
import { receiptOf, write } from '../../contract/intents.ts';
import { until } from '../../support/until.ts';

interface Seen {
  method: string;
  url: string;
  headers: IncomingMessage['headers'];
  body: string;
}
type Answer = (seen: Seen, response: ServerResponse, n: number) => void;

let folder: string;
let queue: IntentQueue;
let server: Server;
let seen: Seen[];
let answer: Answer;
let url: string;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'maint-backfill-'));
  queue = await openQueue({ path: join(folder, 'q.db'), survives: 'process' }, { freeBytes: 0 });
  seen = [];
  answer = (_seen, response) => json(response, 201, {});
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const one = {
        method: request.method ?? '',
        url: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
      };
      seen.push(one);
      answer(one, response, seen.length);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  await queue.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true });
});

function json(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/problem+json', ...headers }).end(JSON.stringify(body));
}

function run(more: Partial<BackfillOptions> = {}): Promise<Backfill> {
  return queue.backfill({ url, rate: 2_000, rampMs: 0, honoursKeys: true, random: () => 0, ...more });
}

async function accept(count: number, change: Parameters<typeof write>[0] = {}): Promise<string[]> {
  const receipts: string[] = [];
  for (let n = 0; n < count; n++)
    receipts.push(receiptOf(await queue.accept(write({ body: Buffer.from(String(n)), ...change }))));
  return receipts;
}

describe('what goes out', () => {
  test('as it came in, with its key, its receipt and the service credential', async () => {
    const target = '/a//b/../%2e/c;x=1?q=%20&y';
    const [receipt] = await accept(1, { key: 'k 1', method: 'PATCH', target, headers: { 'x-trace-id': 't' } });
    const report = await run({ url: `${url}/base/`, credential: { header: 'Authorization', value: 'Bearer s3rvice' } });
    expect(report).toMatchObject({ applied: 1, alreadyApplied: 0, dead: 0, left: 0, sent: 1, retries: 0 });
    expect(report.stopped).toBeUndefined();
    expect(seen).toMatchObject([{ method: 'PATCH', url: `/base${target}`, body: '0' }]);
    expect(seen[0]?.headers).toMatchObject({
      ...{ 'idempotency-key': '"k 1"', 'maint-replay': receipt, authorization: 'Bearer s3rvice', 'x-trace-id': 't' },
      'content-length': '1',
    });
    expect(await queue.receipt(receipt!)).toMatchObject({ state: 'applied', status: 201 });
  });

  test('the key as its client sent it, quoted or bare: a service may compare the text', async () => {
    for (const sent of ['bare-1', '"quoted-1"'])
      await accept(1, { key: sent.replaceAll('"', ''), headers: { 'idempotency-key': sent } });
    await accept(1, { key: 'a "b" \\' });
    await run();
    expect(seen.map(({ headers }) => headers['idempotency-key']).sort()).toEqual([
      '"a \\"b\\" \\\\"',
      '"quoted-1"',
      'bare-1',
    ]);
  });

  test('in order within a partition, others at the same time', async () => {
    for (let n = 0; n < 60; n++) await queue.accept(write({ order: `p${n % 3}`, body: Buffer.from(String(n)) }));
    let now = 0;
    let most = 0;
    answer = (_one, response) => {
      most = Math.max(most, ++now);
      setTimeout(() => {
        now--;
        json(response, 200, {});
      }, 3);
    };
    expect(await run()).toMatchObject({ applied: 60, left: 0 });
    for (const part of [0, 1, 2]) {
      const mine = seen.map(({ body }) => Number(body)).filter((n) => n % 3 === part);
      expect(mine).toEqual([...mine].sort((a, b) => a - b));
      expect(mine).toHaveLength(20);
    }
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(3);
  });

  test('no faster than the rate', async () => {
    await accept(60);
    const began = performance.now();
    const report = await run({ rate: 100 });
    expect(report.applied).toBe(60);
    // rate × (t + 0.1 s) at most
    expect(performance.now() - began).toBeGreaterThan(450);
  });
});

describe('what an answer means', () => {
  test.each([
    ['409 already_applied', 409, { code: 'already_applied' }, {}, { applied: 1, alreadyApplied: 1 }],
    [
      '409 already_applied in a header',
      409,
      {},
      { 'maint-code': 'already_applied' },
      { applied: 1, alreadyApplied: 1 },
    ],
    ['the stored answer', 201, {}, { 'idempotent-replayed': 'true' }, { applied: 1, alreadyApplied: 1 }],
    ['204', 204, {}, {}, { applied: 1, alreadyApplied: 0 }],
    ['another 409', 409, { code: 'conflict' }, {}, { applied: 0, dead: 1 }],
    ['422', 422, {}, {}, { applied: 0, dead: 1 }],
    ['a redirect', 302, {}, { location: 'http://127.0.0.1:1/' }, { applied: 0, dead: 1 }],
  ])('%s', async (_name, status, body, headers, expected) => {
    await accept(1);
    answer = (_one, response) => json(response, status as number, body, headers as Record<string, string>);
    const report = await run();
    expect(report).toMatchObject(expected as object);
    expect(report.stopped).toBeUndefined();
    expect(seen).toHaveLength(1);
  });

  test('a dead letter has its reason, without what looks like a credential', async () => {
    const [receipt] = await accept(1);
    const secret = 'S3rviceValue';
    answer = (_one, response) =>
      response.writeHead(400).end(`bad "token": "abcdef" ${secret} Bearer abcdefgh\n\u001b[31mred ${'x'.repeat(500)}`);
    await run({ credential: { header: 'x-key', value: secret } });
    const shown = await queue.show(receipt!);
    expect(shown).toMatchObject({ state: 'dead', status: 400, attempts: 1 });
    expect(shown?.reason).toMatch(/^answered 400: bad "token": \[redacted\] \[redacted\] \[redacted\]/);
    expect(shown?.reason).not.toContain('\u001b');
    expect(shown!.reason!.length).toBeLessThan(230);
  });

  test('park: the rest of its partition waits, the others go on', async () => {
    const parked = await accept(3, { order: 'a' });
    await accept(3, { order: 'b' });
    answer = (one, response) => json(response, one.body === '1' && seen.length < 100 ? 422 : 200, {});
    const report = await run();
    // body "1" is the second of each partition
    expect(report).toMatchObject({ applied: 2, dead: 2, left: 2, parked: 2 });
    expect(report.stopped).toBeUndefined();
    answer = (_one, response) => json(response, 200, {});
    await queue.requeue({ all: { states: ['dead'] } }, 'ana', 'fixed');
    expect(await run()).toMatchObject({ applied: 4, dead: 0, left: 0 });
    expect((await queue.show(parked[1]!))?.moves).toHaveLength(1);
  });

  test('skip: the partition goes on', async () => {
    await accept(3, { order: 'a' });
    answer = (one, response) => json(response, one.body === '1' ? 422 : 200, {});
    expect(await run({ deadMode: 'skip' })).toMatchObject({ applied: 2, dead: 1, left: 0, parked: 0 });
  });

  test('5xx: again with the same key, before its successors, and a dead letter after the last attempt', async () => {
    const [first] = await accept(2, { order: 'a' });
    answer = (one, response) => json(response, one.body === '0' ? 500 : 200, { detail: 'broken' });
    const report = await run({ maxAttempts: 3 });
    expect(report).toMatchObject({ applied: 0, dead: 1, left: 1, retries: 2, sent: 3 });
    expect(new Set(seen.map(({ headers }) => headers['idempotency-key'])).size).toBe(1);
    expect(await queue.show(first!)).toMatchObject({ attempts: 3, reason: expect.stringMatching(/after 3 attempts/) });
  });

  test('Retry-After is honoured, for everything that is sent', async () => {
    await accept(20);
    const at: number[] = [];
    answer = (_one, response, n) => {
      at.push(performance.now());
      if (n === 1) json(response, 429, {}, { 'retry-after': '1' });
      else json(response, 200, {});
    };
    const report = await run({ concurrency: 1 });
    expect(report).toMatchObject({ applied: 20, retries: 1 });
    expect(at[1]! - at[0]!).toBeGreaterThanOrEqual(990);
  });

  test('no answer: unknown, and sent again with the same key', async () => {
    const [receipt] = await accept(1);
    answer = (_one, response, n) => {
      if (n === 1) response.destroy();
      else json(response, 200, {});
    };
    expect(await run()).toMatchObject({ applied: 1, retries: 1, sent: 2, unknown: 0 });
    expect(await queue.show(receipt!)).toMatchObject({ state: 'applied', unknown: false, attempts: 2 });
  });

  test('a key that no header can carry is a dead letter, and stops nobody', async () => {
    await accept(1, { key: 'new\nline' });
    await accept(1);
    expect(await run()).toMatchObject({ applied: 1, dead: 1 });
  });
});

describe('stops by itself', () => {
  const stopped = (report: Backfill) => report.stopped?.why;

  test('when the service is read-only again; nothing is lost or counted against it', async () => {
    const receipts = await accept(5, { order: 'a' });
    answer = (_one, response, n) =>
      n <= 2 ? json(response, 200, {}) : json(response, 503, { code: 'read_only' }, { 'retry-after': '600' });
    const report = await run();
    expect(report).toMatchObject({
      applied: 2,
      dead: 0,
      left: 3,
      stopped: { why: 'read_only_again', receipt: receipts[2] },
    });
    expect(await queue.show(receipts[2]!)).toMatchObject({ state: 'queued', unknown: false, attempts: 0 });
    expect(seen).toHaveLength(3);
  });

  test('when a guard buffers the replay again: that is not applied', async () => {
    const [receipt] = await accept(1);
    answer = (one, response) =>
      json(
        response,
        202,
        { receipt: one.headers['maint-replay'], status: 'queued' },
        { 'content-type': 'application/json' },
      );
    const report = await run();
    expect(stopped(report)).toBe('read_only_again');
    expect(await queue.show(receipt!)).toMatchObject({ state: 'queued', attempts: 0 });
    // an ordinary 202 is the service's own
    answer = (_one, response) => json(response, 202, { job: 7 });
    expect(await run()).toMatchObject({ applied: 1 });
  });

  test('when the queue is held, before the next write', async () => {
    await accept(10, { order: 'a' });
    answer = (_one, response, n) => {
      if (n === 3) void queue.hold('w-9', 'a window opens').then(() => json(response, 200, {}));
      else json(response, 200, {});
    };
    const report = await run();
    expect(report).toMatchObject({ applied: 3, left: 7, stopped: { why: 'held', detail: 'w-9: a window opens' } });
    expect((await queue.status()).states.applying).toBe(0);
    await queue.unhold('w-9');
    expect(await run()).toMatchObject({ applied: 7, left: 0 });
  });

  test('when reads are unhealthy: at once, and on the way', async () => {
    await accept(3);
    expect(stopped(await run({ health: async () => 'bad' }))).toBe('unhealthy');
    expect(seen).toHaveLength(0);
    expect(stopped(await run({ health: () => Promise.reject(new Error('no answer')) }))).toBe('unhealthy');
    let asked = 0;
    const report = await run({ rate: 1, health: async () => (++asked > 1 ? 'bad' : 'ok') });
    expect(stopped(report)).toBe('unhealthy');
    expect(report.left).toBeGreaterThan(0);
  });

  test('when the credential is refused: no letter dies of it', async () => {
    await accept(3);
    answer = (_one, response) => json(response, 401, {});
    expect(await run({ concurrency: 1 })).toMatchObject({ dead: 0, left: 3, stopped: { why: 'credential_refused' } });
  });

  test('when retries exceed their budget', async () => {
    await accept(100);
    answer = (_one, response) => json(response, 500, {});
    const report = await run({ maxAttempts: 100 });
    expect(stopped(report)).toBe('retry_budget');
    expect(report.sent).toBeLessThan(30);
    expect(report.left).toBe(100);
  });

  test('when the service is not there', async () => {
    await accept(30);
    const port = (server.address() as AddressInfo).port;
    await new Promise((resolve) => server.close(resolve));
    const report = await run({ url: `http://127.0.0.1:${port}` });
    expect(stopped(report)).toBe('retry_budget');
    expect(report).toMatchObject({ applied: 0, dead: 0, left: 30, unknown: 0 });
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    expect(await run()).toMatchObject({ applied: 30, left: 0 });
  });

  test('when one dead letter follows the other', async () => {
    await accept(50);
    answer = (_one, response) => json(response, 404, {});
    const report = await run({ stopAfterDead: 5, concurrency: 1 });
    expect(report).toMatchObject({ dead: 5, left: 45, stopped: { why: 'dead_letters' } });
  });

  test('when its caller says so; the write under way ends', async () => {
    await accept(10, { order: 'a' });
    const stop = new AbortController();
    answer = (_one, response, n) => {
      if (n === 3) stop.abort();
      setTimeout(() => json(response, 200, {}), 20);
    };
    const report = await run({ signal: stop.signal });
    expect(report).toMatchObject({ applied: 3, left: 7, unknown: 0, stopped: { why: 'interrupted' } });
    const cut = new AbortController();
    answer = () => cut.abort();
    const begun = performance.now();
    expect(await run({ signal: cut.signal, graceMs: 50 })).toMatchObject({ applied: 0, left: 7, unknown: 1 });
    expect(performance.now() - begun).toBeLessThan(3_000);
  });
});

describe('a service that does not honour keys', () => {
  const run1 = (more: Partial<BackfillOptions> = {}) => run({ honoursKeys: false, ...more });

  test.each([
    ['no answer', (response: ServerResponse) => response.destroy()],
    ['502', (response: ServerResponse) => json(response, 502, {})],
    ['500', (response: ServerResponse) => json(response, 500, {})],
  ])('%s: nothing is sent twice, and a person is asked', async (_name, broken) => {
    const [receipt, other] = await accept(2, { order: 'a' });
    answer = (_one, response) => broken(response);
    const report = await run1();
    expect(report).toMatchObject({ applied: 0, left: 2, unknown: 1, stopped: { why: 'unknown_outcome', receipt } });
    // not by another run either
    answer = (_one, response) => json(response, 200, {});
    expect(await run1()).toMatchObject({ sent: 0, stopped: { why: 'unknown_outcome', receipt } });
    expect(seen).toHaveLength(1);
    expect((await queue.list({ unknown: true })).intents.map((each) => each.receipt)).toEqual([receipt]);
    // the person looked: it was applied
    await queue.drop({ receipts: [receipt!] }, 'ana', 'it is there');
    expect(await run1()).toMatchObject({ applied: 1, left: 0 });
    expect(seen.at(-1)?.headers['maint-replay']).toBe(other);
  });

  test('what was surely not processed is sent again', async () => {
    await accept(3);
    answer = (_one, response, n) =>
      n === 1 ? json(response, 429, {}) : n === 2 ? json(response, 503, {}) : json(response, 200, {});
    expect(await run1()).toMatchObject({ applied: 3, retries: 2 });
    await accept(1);
    let tries = 0;
    const sender = async () => {
      if (++tries < 3) throw new NotSent('ECONNREFUSED');
      return { status: 200, headers: {}, body: '' };
    };
    expect(await run1({ sender })).toMatchObject({ applied: 1, retries: 2 });
  });

  test('an answer that changes the protocol is no answer, and nothing waits for another one', async () => {
    await accept(1);
    answer = (_one, response) => {
      const change = 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n';
      (response.socket as Socket).write(change);
    };
    expect(await run1()).toMatchObject({ left: 1, unknown: 1, stopped: { why: 'unknown_outcome' } });
  });

  test('an answer that breaks off after its status: the status is known', async () => {
    await accept(1);
    answer = (_one, response) => {
      response.writeHead(201, { 'content-length': '100' });
      response.write('{', () => (response.socket as Socket).resetAndDestroy());
    };
    const report = await run1();
    expect(report).toMatchObject({ applied: 1, unknown: 0, left: 0 });
    expect(report.stopped).toBeUndefined();
  });

  test('a worker that died while sending', async () => {
    const [receipt] = await accept(1);
    await queue.store.take('killed', 1);
    const report = await run1();
    expect(report).toMatchObject({ sent: 0, unknown: 1, stopped: { why: 'unknown_outcome', receipt } });
    await queue.requeue({ receipts: [receipt!] }, 'ana', 'it is not there');
    expect(await run1()).toMatchObject({ applied: 1 });
  });
});

describe('several runs and reports', () => {
  test('two runs on one queue: each write once', async () => {
    await accept(100);
    const second = await openQueue({ path: join(folder, 'q.db'), survives: 'process' }, { freeBytes: 0 });
    try {
      const options = { url, rate: 1_000, rampMs: 0, honoursKeys: true };
      const reports = await Promise.all([queue.backfill(options), second.backfill(options)]);
      expect(reports[0]!.applied + reports[1]!.applied).toBe(100);
      expect(seen).toHaveLength(100);
    } finally {
      await second.close();
    }
  });

  test('alone: the second run says who leads and since when; after the first has ended it goes on', async () => {
    await accept(3);
    let go: () => void = () => {};
    const stuck = new Promise<void>((resolve) => (go = resolve));
    answer = (_one, response) => void stuck.then(() => json(response, 201, {}));
    const first = run({ concurrency: 1, alone: { owner: 'laptop, process 1;a' } });
    await until(() => seen.length === 1);
    const report = await run({ alone: { owner: 'laptop, process 2;b', gone: () => false } });
    expect(report).toMatchObject({ sent: 0, left: 3, stopped: { why: 'running_elsewhere' } });
    expect(report.stopped?.detail).toMatch(/^laptop, process 1, since \d{4}-/);
    go();
    expect(await first).toMatchObject({ applied: 3, left: 0 });
    expect(await run({ alone: { owner: 'laptop, process 2;b' } })).toMatchObject({ applied: 0, left: 0 });
  });

  test('alone: what a killed run had claimed is applied at once where its process is known to be gone', async () => {
    await accept(2);
    await queue.store.lead('killed', 3_600_000);
    await queue.store.take('killed', 3_600_000);
    const report = await run({ alone: { owner: 'next', gone: (owner) => owner === 'killed' } });
    expect(report).toMatchObject({ applied: 2, left: 0 });
    expect(report.stopped).toBeUndefined();
  });

  test('writes that are accepted meanwhile are applied too', async () => {
    await accept(20);
    let more = 10;
    answer = (_one, response) => {
      if (more-- > 0) void queue.accept(write()).then(() => json(response, 200, {}));
      else json(response, 200, {});
    };
    expect(await run()).toMatchObject({ applied: 30, left: 0 });
  });

  test('tells how far it is, with an estimate', async () => {
    await accept(100);
    const told: BackfillProgress[] = [];
    await run({ rate: 80, progress: (each) => told.push(each) });
    expect(told.length).toBeGreaterThanOrEqual(3);
    expect(told[0]).toMatchObject({ applied: 0, left: 100, etaMs: null });
    const middle = told.find(({ applied }) => applied > 0 && applied < 100);
    expect(middle?.etaMs).toBeGreaterThan(0);
    expect(middle?.allowed).toBe(80);
    expect(told.at(-1)).toMatchObject({ applied: 100, left: 0, etaMs: 0 });
  });

  test.each([
    [{ rate: 0 }, /rate is 0/],
    [{ rate: Number.NaN }, /rate/],
    [{ maxAttempts: -1 }, /maxAttempts/],
    [{ deadMode: 'x' }, /deadMode is x/],
    [{ honoursKeys: undefined }, /honoursKeys/],
    [{ url: 'ftp://x/' }, /ftp/],
    [{ url: 'http://u:p@x/' }, /user or a password/],
  ])('refuses %j', async (options, message) => {
    await expect(run(options as never)).rejects.toThrow(message);
  });
});

test.each([true, false])(
  'asleep while the connection was made: surely not sent (kept alive: %s)',
  async (keepAlive) => {
    let asleep = true;
    const awake = () => {
      if (asleep) throw new Error('this machine has slept');
    };
    const send = httpSender({ url, keepAlive, awake });
    const one = { receipt: 'r', method: 'POST', target: '/notes', headers: {}, body: Buffer.from('{}') };
    try {
      await expect(send(one, new AbortController().signal)).rejects.toThrow(NotSent);
      await expect(send(one, new AbortController().signal)).rejects.toThrow('has slept');
      expect(seen).toEqual([]);
      asleep = false;
      expect(await send(one, new AbortController().signal)).toMatchObject({ status: 201 });
    } finally {
      send.close();
    }
  },
);
