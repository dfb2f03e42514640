// HTTP/2 through the guard: passed, refused, kept; and what only HTTP/2 has, a stream that is reset on a connection that stays.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  createSecureServer,
  createServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { request as requestHttp1 } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAdaptorServer } from '@hono/node-server';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { fastify } from 'fastify';
import { Hono } from 'hono';
import { createGuard, type FlagSink, type Guard, type Surface } from '../../../packages/guard/src/index.ts';
import { makeCertificate, openssl } from '../../support/certificate.ts';
import { holders } from '../../support/guarded.ts';
import { type MemoryQueue, memoryQueue } from '../../support/memory-queue.ts';
import { until } from '../../support/until.ts';

const surfaces: Surface[] = [
  {
    name: 'notes',
    match: { methods: ['POST'], path: '/tenants/:tenant/notes' },
    disposition: 'buffer',
    order: { param: 'tenant' },
    max_bytes: 100_000,
  },
  { name: 'events', match: { methods: ['POST'], path: '/events' }, disposition: 'buffer', key: 'content' },
  { name: 'graphql', kind: 'graphql', match: { path: '/graphql' } },
];

const key = (value: string) => ({ 'idempotency-key': `"${value}"` });

/** Tells what reaches the service, and echoes the body. */
type Serve = (guard: Guard, tell: (body: string) => void) => Http2Server | Promise<Http2Server>;

function listener(guard: Guard, tell: (body: string) => void) {
  return guard.http((request: Http2ServerRequest, response: Http2ServerResponse) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      tell(Buffer.concat(chunks).toString());
      response.end(Buffer.concat(chunks));
    });
  });
}

function secure(guard: Guard, tell: (body: string) => void): Http2Server {
  const folder = mkdtempSync(join(tmpdir(), 'maint-http2-'));
  try {
    return createSecureServer({ ...makeCertificate(folder), allowHTTP1: true }, listener(guard, tell));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const SERVERS: Readonly<Record<string, Serve>> = {
  'node:http2': (guard, tell) => createServer(listener(guard, tell)),
  ...(openssl ? { 'node:http2 with TLS': secure } : {}),
  'Fastify 5 over HTTP/2': async (guard, tell) => {
    const app = fastify({ http2: true });
    await app.register(guard.fastify);
    app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));
    app.all('/*', async ({ body }) => {
      const text = body === undefined || typeof body === 'string' ? (body ?? '') : JSON.stringify(body);
      tell(text);
      return text;
    });
    await app.listen({ port: 0, host: '127.0.0.1' });
    return app.server;
  },
  'Hono 4 over HTTP/2': (guard, tell) => {
    const app = new Hono();
    app.use(guard.hono());
    app.all('*', async (c) => {
      const text = await c.req.text();
      tell(text);
      return c.text(text);
    });
    return createAdaptorServer({ fetch: app.fetch, createServer }) as Http2Server;
  },
};

if (!openssl) test.skip('node:http2 with TLS: openssl is not installed', () => {});

describe.each(Object.keys(SERVERS))('%s', (framework) => {
  let guard: Guard;
  let sink: FlagSink;
  let queue: MemoryQueue;
  let server: Http2Server;
  let client: ClientHttp2Session;
  let seen: string[];
  /** Names of the headers that were given to Node. */
  let given: string[];

  beforeEach(async () => {
    queue = memoryQueue();
    seen = [];
    guard = createGuard({
      // A body that never ends leaves a handler that never does.
      abandonedMs: 50,
      source: { start: (s) => void (sink = s), close() {} },
      ...{ surfaces, queue, authorize: 'elsewhere', bodyTimeoutMs: 1_000, log: () => {} },
    });
    server = await SERVERS[framework]!(guard, (body) => void seen.push(body));
    given = [];
    server.prependListener('request', (_, response) => {
      const { writeHead } = response;
      response.writeHead = (...head: unknown[]) => {
        given.push(...Object.keys(Object(head.at(-1))));
        return Reflect.apply(writeHead, response, head);
      };
    });
    if (!server.listening) await once(server.listen(0, '127.0.0.1'), 'listening');
    const scheme = framework.endsWith('TLS') ? 'https' : 'http';
    const { port } = server.address() as AddressInfo;
    client = connect(`${scheme}://127.0.0.1:${port}`, { rejectUnauthorized: false });
    client.on('error', () => {});
  });

  afterEach(async () => {
    client.destroy();
    server.close();
    await guard.close();
  });

  function begin(path: string, headers: OutgoingHttpHeaders = {}): ClientHttp2Stream {
    const stream = client.request({
      ...{ ':method': 'POST', ':path': path, 'content-type': 'application/json' },
      ...headers,
    });
    stream.on('error', () => {});
    return stream;
  }

  async function answer(stream: ClientHttp2Stream) {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    const [headers] = await once(stream, 'response');
    await once(stream, 'end');
    return { status: headers[':status'], headers, text: Buffer.concat(chunks).toString() };
  }

  async function post(path: string, headers: OutgoingHttpHeaders = {}, body = '{"a":1}') {
    const stream = begin(path, headers);
    stream.end(body);
    return await answer(stream);
  }

  test('off: writes pass, and are counted until their answers are out', async () => {
    sink.document(null);
    expect(await post('/notes')).toMatchObject({ status: 200, text: '{"a":1}' });
    expect(seen).toEqual(['{"a":1}']);
    await until(() => guard.counts().inFlight.total === 0);
  });

  test('on: refused before any work, on a connection that goes on; reads pass with the header', async () => {
    sink.document(holders());
    const refused = await post('/other', {}, 'x'.repeat(300_000));
    expect(refused).toMatchObject({
      status: 503,
      headers: { 'content-type': expect.stringMatching(/^application\/problem\+json/) },
    });
    expect(JSON.parse(refused.text)).toMatchObject({ code: 'read_only', window: 'w-1' });
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(590);
    const read = await answer(client.request({ ':path': '/any' }));
    expect(read).toMatchObject({ status: 200, headers: { 'read-only': expect.stringMatching(/^\?1/) } });
    const known = await answer(client.request({ ':path': '/.well-known/maintenance' }));
    expect(JSON.parse(known.text)).toMatchObject({ read_only: true });
    expect(seen).toEqual(['']);
  });

  test('kept: whole, once, with a receipt that says how it ended', async () => {
    sink.document(holders());
    const body = JSON.stringify('é'.repeat(40_000));
    const first = await post('/tenants/a/notes?x=1', { ...key('k-1'), cookie: 's=1', authorization: 'Bearer x' }, body);
    expect(first.status).toBe(202);
    const { receipt, url } = JSON.parse(first.text);
    expect(first.headers['location']).toBe(url);
    expect(JSON.parse((await post('/tenants/a/notes?x=1', key('k-1'), body)).text).receipt).toBe(receipt);
    expect((await post('/tenants/a/notes?x=1', key('k-1'))).status).toBe(422);
    expect((await post('/tenants/a/notes')).status).toBe(400);
    expect((await post('/tenants/a/notes', key('k-2'), 'x'.repeat(100_001))).status).toBe(413);
    // without a body: the stream has ended with its headers
    expect((await answer(client.request({ ':method': 'POST', ':path': '/events' }, { endStream: true }))).status).toBe(
      202,
    );
    expect(queue.kept.map(({ write }) => [write.target, Buffer.from(write.body).toString()])).toEqual([
      ['/tenants/a/notes?x=1', body],
      ['/events', ''],
    ]);
    expect(Object.keys(queue.kept[0]!.write.headers).sort()).toEqual(['content-type', 'idempotency-key']);
    queue.settle(receipt, 'applied');
    expect(JSON.parse((await answer(client.request({ ':path': url }))).text)).toMatchObject({ state: 'applied' });
    expect(seen).toEqual([]);
  });

  test('a body that is looked at goes on to the service as it came', async () => {
    sink.document(holders());
    const query = JSON.stringify({ query: '{ notes }' });
    expect(await post('/graphql', {}, query)).toMatchObject({ status: 200, text: query });
    expect((await post('/graphql', {}, JSON.stringify({ query: 'mutation { add }' }))).status).toBe(503);
    expect(seen).toEqual([query]);
  });

  test('a body that does not come is 408, and its stream is not held open; nor that of one that is refused', async () => {
    sink.document(holders());
    const stream = begin('/tenants/a/notes', key('k-1'));
    const closed = once(stream, 'close');
    const late = await answer(stream);
    expect([late.status, JSON.parse(late.text).code]).toEqual([408, 'body_late']);
    await closed;
    expect(queue.kept).toEqual([]);
    const other = begin('/other');
    const closedToo = once(other, 'close');
    expect((await answer(other)).status).toBe(503);
    await closedToo;
    expect([stream.rstCode, other.rstCode, client.closed]).toEqual([constants.NGHTTP2_NO_ERROR, 0, false]);
    expect((await answer(client.request({ ':path': '/any' }))).status).toBe(200);
    // RFC 9113, 8.2.2: a message that has one is malformed; Node drops it with a warning
    expect(given.filter((name) => /^(connection|keep-alive|transfer-encoding|upgrade)$/i.test(name))).toEqual([]);
    expect(given).toContainEqual(expect.stringMatching(/^cache-control$/i));
  });

  // A part of a body must never be taken for the whole of it: nobody was told that it was kept.
  test.each([
    ['a stream that is reset', {}, (stream: ClientHttp2Stream) => stream.destroy(new Error('gone'))],
    ['a body shorter than it said', { 'content-length': '30' }, (stream: ClientHttp2Stream) => stream.end()],
    ['a connection that is lost', {}, () => client.destroy()],
  ] as const)('%s leaves nothing', async (_, headers, leave) => {
    sink.document(holders());
    const stream = begin('/events', headers);
    stream.write('{"a":1}');
    // the guard has begun to read: an answer on the same connection comes after it
    await answer(client.request({ ':path': '/.well-known/maintenance' }));
    leave(stream);
    await until(() => guard.counts().refused.http === 1 || queue.kept.length > 0);
    expect(queue.kept).toEqual([]);
  });

  test('a client that leaves while the order is asked for is not counted for ever', async () => {
    sink.document(null);
    let go: (busy: boolean) => void = () => {};
    queue.busy = () => new Promise((resolve) => void (go = resolve));
    const stream = begin('/tenants/a/notes', key('k-1'));
    stream.write('{"a":1}');
    await answer(client.request({ ':path': '/.well-known/maintenance' }));
    stream.close(constants.NGHTTP2_CANCEL);
    await answer(client.request({ ':path': '/.well-known/maintenance' }));
    go(false);
    await until(() => guard.counts().surfaces['notes']?.passed === 1);
    await until(() => guard.counts().inFlight.total === 0);
  });
});

(openssl ? test : test.skip)('with TLS, a client of HTTP/1.1 gets the same (skipped without openssl)', async () => {
  let sink: FlagSink | undefined;
  const source = { start: (s: FlagSink) => void (sink = s), close() {} };
  const guard = createGuard({ source, surfaces, queue: memoryQueue(), authorize: 'elsewhere', log: () => {} });
  sink?.document(holders());
  const server = secure(guard, () => {});
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const ask = async (method: string, path: string, body?: string) => {
    const options = { port, host: '127.0.0.1', rejectUnauthorized: false, agent: false, method, path };
    const [{ statusCode, httpVersion }] = await once(requestHttp1(options).end(body), 'response');
    return [statusCode, httpVersion];
  };
  expect(await ask('GET', '/any')).toEqual([200, '1.1']);
  expect(await ask('POST', '/any', '{}')).toEqual([503, '1.1']);
  expect(await ask('POST', '/events', '{}')).toEqual([202, '1.1']);
  server.close();
  await guard.close();
});
