// Writes that are kept for later, on each framework.
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { GuardOptions, Surface } from '../../../packages/guard/src/index.ts';
import { FRAMEWORKS, type Framework, type Guarded, holders, openGuarded } from '../../support/guarded.ts';
import { type MemoryQueue, memoryQueue } from '../../support/memory-queue.ts';
import { until } from '../../support/until.ts';

const surfaces: Surface[] = [
  {
    name: 'notes',
    match: { methods: ['POST'], path: '/tenants/:tenant/notes' },
    disposition: 'buffer',
    order: { param: 'tenant' },
    tenant: { param: 'tenant' },
    keep_headers: ['x-trace-id'],
    max_bytes: 1000,
  },
  { name: 'events', match: { methods: ['POST'], path: '/events' }, disposition: 'buffer', key: 'content' },
  { name: 'seen', match: { methods: ['POST'], path: '/seen/:id' }, disposition: 'drop', status: 204 },
];

let world: Guarded;
let queue: MemoryQueue;

async function open(framework: Framework, options: Partial<GuardOptions> = {}): Promise<void> {
  queue = memoryQueue();
  world = await openGuarded(framework, { surfaces, queue, authorize: 'elsewhere', ...options });
}

afterEach(() => world.close());

function post(path: string, headers: Record<string, string> = {}, body = '{"a":1}'): Promise<Response> {
  return fetch(world.url + path, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } });
}

const key = (value: string) => ({ 'idempotency-key': `"${value}"` });

describe.each(FRAMEWORKS)('%s', (framework) => {
  beforeEach(() => open(framework));

  test('kept once: 202 with a receipt, the same for the same request; another payload is 422', async () => {
    world.sink.document(holders());
    const first = await post('/tenants/a/notes?x=1', {
      ...key('k-1'),
      authorization: 'Bearer secret',
      cookie: 'session=secret',
      'x-api-key': 'secret',
      'x-trace-id': 't-1',
      'x-other': 'no',
    });
    expect(first.status).toBe(202);
    const answer = (await first.json()) as { receipt: string; url: string };
    expect(answer).toEqual({
      receipt: answer.receipt,
      status: 'queued',
      url: `/.well-known/maintenance/receipts/${answer.receipt}`,
    });
    expect(first.headers.get('location')).toBe(answer.url);
    expect(Number(first.headers.get('retry-after'))).toBeGreaterThan(590);
    expect(first.headers.get('cache-control')).toBe('no-store');
    expect(first.headers.get('read-only')).toMatch(/^\?1;until=/);
    const again = await post('/tenants/a/notes?x=1', key('k-1'));
    expect([again.status, ((await again.json()) as typeof answer).receipt]).toEqual([202, answer.receipt]);
    const other = await post('/tenants/a/notes?x=1', key('k-1'), '{"a":2}');
    expect([other.status, await other.json()]).toMatchObject([422, { code: 'idempotency_key_reused', window: 'w-1' }]);
    // Another tenant's key is another key.
    expect((await post('/tenants/b/notes?x=1', key('k-1'))).status).toBe(202);

    expect(queue.kept).toHaveLength(2);
    const { body, receivedAt, ...write } = (queue.kept[0] as (typeof queue.kept)[0]).write;
    expect(Buffer.from(body).toString()).toBe('{"a":1}');
    expect(Math.abs(receivedAt - Date.now())).toBeLessThan(10_000);
    expect(write).toMatchObject({
      surface: 'notes',
      tenant: 'a',
      key: 'k-1',
      order: 'a',
      method: 'POST',
      target: '/tenants/a/notes?x=1',
      window: 'w-1',
    });
    const { accept: _, ...headers } = write.headers;
    expect(headers).toEqual({
      'content-type': 'application/json',
      'x-trace-id': 't-1',
      'idempotency-key': expect.stringMatching(/^"/),
    });
    expect(world.seen).toEqual([]);
    expect(world.guard.counts()).toMatchObject({
      queued: { total: 2, bySurface: { notes: 2 } },
      refused: { http: 1, bySurface: { notes: 1 } },
      inFlight: { total: 0 },
      queue: { queued: 2, bytes: 14 },
    });
    expect(world.guard.maintenance()).toMatchObject({
      queue: { queued: 2 },
      surfaces: {
        notes: { refused: 1, queued: 2, dropped: 0, passed: 0 },
        seen: { refused: 0, queued: 0, dropped: 0, passed: 0 },
      },
    });
  });

  test('the receipt says how it ended', async () => {
    world.sink.document(holders());
    const { url, receipt } = (await (await post('/events')).json()) as { url: string; receipt: string };
    const queued = await fetch(world.url + url);
    expect(await queued.json()).toMatchObject({ receipt, state: 'queued', settledAt: null, status: null });
    expect(queued.headers.get('cache-control')).toBe('no-store');
    expect(Number(queued.headers.get('retry-after'))).toBeGreaterThan(0);
    queue.settle(receipt, 'applied');
    world.sink.document(null);
    const settled = await fetch(`${world.url}${url}?x=1`);
    expect(await settled.json()).toMatchObject({ state: 'applied', status: 201 });
    expect(settled.headers.get('retry-after')).toBeNull();
    for (const id of ['AAAAAAAAAAAAAAAAAAAAAA', 'x', '%2f', 'a%00b']) {
      expect((await fetch(`${world.url}/.well-known/maintenance/receipts/${id}`)).status).toBe(404);
    }
    queue.down = true;
    expect((await fetch(world.url + url)).status).toBe(503);
    expect(world.seen).toEqual([]);
  });

  test('missing, malformed and doubled keys are 400 and consume nothing', async () => {
    world.sink.document(holders());
    const missing = await post('/tenants/a/notes');
    expect([missing.status, await missing.json()]).toMatchObject([
      400,
      { code: 'idempotency_key_missing', window: 'w-1', status: 400 },
    ]);
    expect(missing.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(missing.headers.get('read-only')).toMatch(/^\?1/);
    for (const value of ['"open', '"a", "b"', 'a b', '""', `"${'x'.repeat(256)}"`]) {
      const answer = await post('/tenants/a/notes', { 'idempotency-key': value });
      expect([value, answer.status, await answer.json()]).toMatchObject([
        value,
        400,
        { code: 'idempotency_key_invalid' },
      ]);
    }
    expect(queue.kept).toEqual([]);
  });

  test('a body that is too large, by its length or in chunks, is 413, and the connection goes on', async () => {
    world.sink.document(holders());
    const large = 'x'.repeat(1001);
    expect((await post('/tenants/a/notes', key('k'), large)).status).toBe(413);
    expect(await chunked('/tenants/a/notes', 'k', ['x'.repeat(500), 'x'.repeat(500), 'x'])).toBe(413);
    expect(await chunked('/tenants/a/notes', 'k', ['x'.repeat(500), 'x'.repeat(500)])).toBe(202);
    expect(queue.kept.map(({ write }) => write.body.byteLength)).toEqual([1000]);
    expect((await fetch(`${world.url}/x`)).status).toBe(200);
  });

  test('a client that leaves in the middle of the body leaves nothing', async () => {
    world.sink.document(holders());
    const socket = connect(world.port, '127.0.0.1');
    socket.write(
      'POST /tenants/a/notes HTTP/1.1\r\nHost: h\r\nIdempotency-Key: "k"\r\nContent-Length: 100\r\n\r\n{"half',
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    socket.destroy();
    await until(() => world.guard.counts().refused.http === 1);
    expect(queue.kept).toEqual([]);
    expect((await post('/tenants/a/notes', key('k'))).status).toBe(202);
  });

  test('full, unknown, in flight, a queue that rejects: each has its answer, and nothing is thrown', async () => {
    world.sink.document(holders());
    queue.next = [{ is: 'full', why: 'count' }, { is: 'unknown', why: 'lost' }, { is: 'in_flight' }, 'reject'];
    const told: unknown[] = [];
    for (let turn = 0; turn < 4; turn += 1) {
      const answer = await post('/tenants/a/notes', key('k'));
      told.push([answer.status, ((await answer.json()) as { code: string }).code, answer.headers.has('retry-after')]);
    }
    expect(told).toEqual([
      [503, 'queue_full', true],
      [503, 'queue_unknown', true],
      [409, 'idempotency_in_flight', true],
      [503, 'queue_unknown', true],
    ]);
    expect(world.guard.counts().errors.queue).toBe(3);
    expect((await post('/tenants/a/notes', key('k'))).status).toBe(202);
  });

  test('dropped with 204: not done, and nobody needs to know', async () => {
    world.sink.document(holders());
    const answer = await post('/seen/7');
    expect([answer.status, await answer.text()]).toEqual([204, '']);
    // Only what is surely this surface is pretended to be done.
    expect((await post('/seen/7/')).status).toBe(503);
    expect((await post('/SEEN/7')).status).toBe(503);
    expect(world.guard.counts()).toMatchObject({ dropped: { total: 1, bySurface: { seen: 1 } }, refused: { http: 2 } });
  });

  test('only an exact path is kept; a replay during a window is refused, never kept or dropped again', async () => {
    world.sink.document(holders());
    for (const path of [
      '/tenants/a/notes/',
      '//tenants/a/notes',
      '/tenants/a%2fb/notes',
      '/Tenants/a/notes',
      '/tenants/a/notes;v=1',
    ]) {
      const answer = await post(path, key('k'));
      expect([path, answer.status]).toEqual([path, 503]);
    }
    const replay = { ...key('k'), 'maint-replay': 'AAAAAAAAAAAAAAAAAAAAAA' };
    for (const path of ['/tenants/a/notes', '/seen/7']) {
      const answer = await post(path, replay);
      expect([path, answer.status, await answer.json()]).toMatchObject([path, 503, { code: 'read_only' }]);
    }
    expect(queue.kept).toEqual([]);
    // Escapes of what belongs into a segment are one value however they are written.
    expect((await post('/tenants/M%C3%BCller%20AG/notes', key('k'))).status).toBe(202);
    expect(queue.kept[0]?.write).toMatchObject({
      tenant: 'Müller AG',
      order: 'Müller AG',
      target: '/tenants/M%C3%BCller%20AG/notes',
    });
  });

  test('a credential in the query is not stored: refused', async () => {
    world.sink.document(holders());
    const secrets = ['access_token=x', 'a=1&api_key=x', 'access%5ftoken=x', 'X-Amz-Signature=x', 'userSessionId=x'];
    for (const query of [...secrets, 'x-goog-credential=x', 'csrf=x', 'client_secret=x', 'sid=x', 'hdnts=x', 'jwt=x']) {
      expect([query, (await post(`/events?${query}`)).status]).toEqual([query, 503]);
    }
    expect(queue.kept).toEqual([]);
    expect((await post('/events?sort_key=x&author=y&page_size=7')).status).toBe(202);
  });

  test('after the window: behind earlier writes of its partition, past those of others, and the replay itself passes', async () => {
    world.sink.document(holders());
    const { receipt } = (await (await post('/tenants/a/notes', key('k-1'))).json()) as { receipt: string };
    world.sink.document(null);
    // Behind.
    expect((await post('/tenants/a/notes', key('k-2'))).status).toBe(202);
    // Without a key it can be neither kept nor let through.
    expect((await post('/tenants/a/notes')).status).toBe(400);
    // In a spelling that leaves its partition unclear.
    expect((await post('/tenants/a/notes/', key('k-3'))).status).toBe(503);
    expect(world.seen).toEqual([]);
    // Other partitions, other surfaces.
    expect((await post('/tenants/b/notes')).status).toBe(200);
    expect((await post('/events')).status).toBe(200);
    expect(world.seen.map(({ body }) => body)).toEqual(['{"a":1}', '{"a":1}']);
    // The replay.
    const replay = () => post('/tenants/a/notes', { ...key('k-1'), 'maint-replay': receipt });
    const early = await replay();
    expect([early.status, await early.json()]).toMatchObject([503, { code: 'replay_not_applying' }]);
    queue.settle(receipt, 'applying');
    expect((await replay()).status).toBe(200);
    expect(world.seen).toHaveLength(3);
    queue.settle(receipt, 'applied');
    queue.settle(queue.kept[1]?.receipt as string, 'applied');
    expect((await post('/tenants/a/notes')).status).toBe(200);
    expect(world.seen).toHaveLength(4);
    queue.down = true;
    const unknown = await post('/tenants/a/notes', key('k-4'));
    expect([unknown.status, await unknown.json()]).toMatchObject([503, { code: 'queue_unknown' }]);
  });
});

describe('the rest, on node:http', () => {
  test('authorize: refused, broken, hanging, and the tenant that it names', async () => {
    const told: unknown[] = [];
    await open('node:http', {
      queueTimeoutMs: 50,
      authorize({ surface, params, headers }) {
        told.push([surface, params]);
        if (headers.authorization === 'Bearer good') return { tenant: 'real' };
        if (headers.authorization === 'Bearer other') return 403;
        if (headers.authorization === 'Bearer broken') throw new Error('no');
        if (headers.authorization === 'Bearer slow') return new Promise<boolean>(() => {});
        return false;
      },
    });
    world.sink.document(holders());
    const status = async (token: string) =>
      (await post('/tenants/a/notes', { ...key('k'), authorization: `Bearer ${token}` })).status;
    expect([await status('none'), await status('other'), await status('broken'), await status('slow')]).toEqual([
      401, 403, 503, 503,
    ]);
    expect(queue.kept).toEqual([]);
    expect(await status('good')).toBe(202);
    expect(queue.kept[0]?.write).toMatchObject({ tenant: 'real', order: 'a' });
    expect(told[0]).toEqual(['notes', { tenant: 'a' }]);
  });

  test('a queue that hangs is unknown, a body that does not come is 408', async () => {
    await open('node:http', { queueTimeoutMs: 50, bodyTimeoutMs: 50 });
    world.sink.document(holders());
    queue.next = ['hang'];
    expect(((await (await post('/events')).json()) as { code: string }).code).toBe('queue_unknown');
    const socket = connect(world.port, '127.0.0.1');
    socket.write('POST /events HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{"half');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 408 .*connection: close/is);
    socket.destroy();
  });

  test('more bodies at once than may be in memory: 503, and as before when they are through', async () => {
    let asked = 0;
    await open('node:http', { maxPendingBytes: 20, authorize: () => (asked += 1) > 0 });
    world.sink.document(holders());
    let go: () => void = () => {};
    const first = sendChunks('/events', { 'content-length': '15' }, async (write) => {
      write('{"a":12345678');
      await new Promise<void>((resolve) => (go = resolve));
      write('9}');
    });
    await until(() => asked === 1);
    // what has come of the first may come after it was asked for
    await until(async () => (await post('/events', {}, '{"second":true}')).status === 503);
    const full = await post('/events', {}, '{"second":true}');
    expect([full.status, await full.json()]).toMatchObject([503, { code: 'queue_full' }]);
    expect(await chunked('/events', 'k', ['123456', '78901'])).toBe(503);
    go();
    expect(await first).toBe(202);
    expect((await post('/events', {}, '{"second":true}')).status).toBe(202);
  });

  test('an upgrade is refused in words of HTTP, unless a surface lets its path pass', async () => {
    await open('node:http', {
      surfaces: [{ name: 'live', match: { methods: ['GET'], path: '/live' }, disposition: 'pass' }],
    });
    world.server.on(
      'upgrade',
      world.guard.upgrade((_req, socket) => void socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n')),
    );
    const answerOf = async (method: string, path: string) => {
      const socket = connect(world.port, '127.0.0.1');
      socket.write(`${method} ${path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
      const [answer] = (await once(socket, 'data')) as [Buffer];
      socket.destroy();
      return answer.toString();
    };
    world.sink.document(null);
    expect(await answerOf('GET', '/any')).toMatch(/^HTTP\/1\.1 101 /);
    world.sink.document(holders());
    expect(await answerOf('GET', '/any')).toMatch(
      /^HTTP\/1\.1 503 Service Unavailable\r\n.*Retry-After: \d+\r\n.*\r\n\r\n\{.*"code":"read_only"/s,
    );
    expect(await answerOf('GET', '/live?x=1')).toMatch(/^HTTP\/1\.1 101 /);
    expect(await answerOf('GET', '/live/')).toMatch(/^HTTP\/1\.1 503 /);
    expect(await answerOf('POST', '/live')).toMatch(/^HTTP\/1\.1 503 /);
    expect(world.guard.counts().refused).toMatchObject({ http: 3, bySurface: { unnamed: 3 } });
  });

  test('the window ends while the body comes: nothing is kept that nobody would replay', async () => {
    let asked = false;
    await open('node:http', { authorize: () => (asked = true) });
    world.sink.document(holders());
    const slow = sendChunks('/events', {}, async (write) => {
      write('{"a":');
      await until(() => asked);
      world.sink.document(null);
      write('1}');
    });
    expect(await slow).toBe(503);
    expect(queue.kept).toEqual([]);
  });

  test('the window begins while the order is asked for: kept, not let through', async () => {
    await open('node:http');
    world.sink.document(holders());
    world.sink.document(null);
    let answer: (busy: boolean) => void = () => {};
    queue.busy = () => new Promise((resolve) => (answer = resolve));
    const sent = post('/tenants/a/notes', key('k'));
    await until(async () => {
      world.sink.document(holders());
      answer(false);
      return queue.kept.length === 1;
    });
    expect((await sent).status).toBe(202);
    expect(world.seen).toEqual([]);
  });

  test('long after a window the queue is not asked, unless its memory says that something waits', async () => {
    let now = Date.now();
    await open('node:http', { clock: () => now, monotonic: () => now });
    world.sink.document(null);
    expect((await post('/tenants/a/notes')).status).toBe(200);
    // A guard that has just started does not know what was before it.
    expect(queue.asked).toBe(1);
    now += 60_000;
    expect((await post('/tenants/a/notes')).status).toBe(200);
    expect(queue.asked).toBe(1);
    world.sink.document(holders(now + 60_000));
    expect((await post('/tenants/a/notes', key('k'))).status).toBe(202);
    world.sink.document(null);
    now += 3_600_000;
    expect((await post('/tenants/a/notes', key('k-2'))).status).toBe(202);
    expect((await post('/tenants/b/notes')).status).toBe(200);
    for (const { receipt } of queue.kept) queue.settle(receipt, 'applied');
    const { asked } = queue;
    expect((await post('/tenants/a/notes')).status).toBe(200);
    expect(queue.asked).toBe(asked);
  });

  test('a key derived from the content: the same request is the same write', async () => {
    await open('node:http');
    world.sink.document(holders());
    const receipts = new Set<string>();
    for (const body of ['{"a":1}', '{"a":1}', '{"a":2}']) {
      receipts.add(((await (await post('/events', {}, body)).json()) as { receipt: string }).receipt);
    }
    expect(receipts.size).toBe(2);
    expect(queue.kept[0]?.write.key).toMatch(/^content:[0-9a-f]{64}$/);
    expect((await post('/events', key('own'))).status).toBe(202);
    expect(queue.kept[2]?.write.key).toBe('own');
  });
});

test('what cannot be kept is an error at the start', async () => {
  await open('node:http');
  const { queue: _, ...none } = { queue, surfaces };
  await expect(openGuarded('node:http', { ...none })).rejects.toThrow('queue: a surface has the disposition buffer');
  await expect(openGuarded('node:http', { surfaces, queue })).rejects.toThrow('authorize:');
});

function chunked(path: string, idempotencyKey: string, chunks: string[]): Promise<number> {
  return sendChunks(path, key(idempotencyKey), async (write) => {
    for (const chunk of chunks) {
      write(chunk);
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
}

function sendChunks(
  path: string,
  headers: Record<string, string>,
  body: (write: (text: string) => void) => Promise<void>,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request({ port: world.port, host: '127.0.0.1', method: 'POST', path, headers }, (answer) => {
      answer.resume().on('end', () => resolve(answer.statusCode ?? 0));
    });
    sent.on('error', reject);
    void body((text) => void sent.write(text)).then(() => sent.end());
  });
}
