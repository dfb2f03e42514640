// One suite over the adapters, each in a real server on a real socket.

import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, request, type Server } from 'node:http';
import { createRequire } from 'node:module';
import { type AddressInfo, connect } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { fastify } from 'fastify';
import { Hono } from 'hono';
import { createGuard, type FlagSink, type Guard, type GuardOptions } from '../../../packages/guard/src/index.ts';
import { until } from '../../support/until.ts';

// Express brings no types of its own.
const express = createRequire(import.meta.url)('express');

const ON = JSON.stringify({
  version: 1,
  holders: { 'w-1': { until: new Date(Date.now() + 600_000).toISOString(), reason: 'reindex' } },
});

/** A service that answers GET /items, takes POST /items and, on GET /slow, writes for as long as the test likes. */
interface World {
  guard: Guard;
  sink: FlagSink;
  port: number;
  /** Bytes of bodies that the service itself has received. */
  received: number;
  handled: number;
  finish: () => void;
  close(): Promise<void>;
}

const surfaces = [{ name: 'slow', match: { methods: ['GET'], path: '/slow' } }];

function makeGuard(options: Partial<GuardOptions>): { guard: Guard; sink: FlagSink } {
  let sink: FlagSink | undefined;
  const source = { start: (s: FlagSink) => void (sink = s), close() {} };
  const guard = createGuard({ source, surfaces, log: () => {}, ...options });
  if (!sink) throw new Error('the guard did not start its source');
  return { guard, sink };
}

async function onNode(options: Partial<GuardOptions>): Promise<World> {
  const { guard, sink } = makeGuard(options);
  const server = createServer(
    guard.http((req, res) => {
      world.handled += 1;
      if (req.url === '/slow') return void (world.finish = () => res.end('slow'));
      req.on('data', (chunk: Buffer) => (world.received += chunk.length));
      req.on('end', () => res.end('ok'));
    }),
  );
  const world = await listening(server, guard, sink);
  return world;
}

async function onExpress(options: Partial<GuardOptions>): Promise<World> {
  const { guard, sink } = makeGuard(options);
  const app = express();
  app.use(guard.express());
  app.use(express.json({ limit: '20mb' }));
  app.get('/slow', (_req: unknown, res: { send(text: string): void }) => {
    world.handled += 1;
    world.finish = () => res.send('slow');
  });
  app.all('/items', (req: IncomingMessage & { body?: unknown }, res: { send(text: string): void }) => {
    world.handled += 1;
    world.received += JSON.stringify(req.body ?? '').length;
    res.send('ok');
  });
  const world = await listening(createServer(app), guard, sink);
  return world;
}

async function onFastify(options: Partial<GuardOptions>): Promise<World> {
  const { guard, sink } = makeGuard(options);
  const app = fastify({ bodyLimit: 20 * 1024 * 1024, forceCloseConnections: true });
  await app.register(guard.fastify);
  // In a scope of its own: the hook must reach it all the same.
  await app.register(async (scope) => {
    scope.get('/slow', async () => {
      world.handled += 1;
      await new Promise<void>((resolve) => (world.finish = resolve));
      return 'slow';
    });
    scope.route({
      method: ['GET', 'POST'],
      url: '/items',
      handler: async (req) => {
        world.handled += 1;
        world.received += JSON.stringify(req.body ?? '').length;
        return 'ok';
      },
    });
  });
  await app.ready();
  guard.expect(app.server);
  const world: World = { guard, sink, port: 0, received: 0, handled: 0, finish() {}, close: () => app.close() };
  await app.listen({ port: 0, host: '127.0.0.1' });
  world.port = (app.server.address() as AddressInfo).port;
  return world;
}

async function onHono(options: Partial<GuardOptions>): Promise<World> {
  const { guard, sink } = makeGuard(options);
  const app = new Hono();
  app.use(guard.hono());
  app.get('/slow', async (c) => {
    world.handled += 1;
    await new Promise<void>((resolve) => (world.finish = resolve));
    return c.text('slow');
  });
  app.all('/items', async (c) => {
    world.handled += 1;
    world.received += (await c.req.text()).length;
    return c.text('ok');
  });
  const world = await listening(createAdaptorServer(app) as Server, guard, sink);
  return world;
}

async function onFetch(options: Partial<GuardOptions>): Promise<World> {
  const { guard, sink } = makeGuard(options);
  const handler = guard.fetch(async (request) => {
    world.handled += 1;
    if (new URL(request.url).pathname === '/slow') {
      let left = false;
      // The answer has begun, and its body is what takes long.
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(Buffer.from('sl'));
          world.finish = () => {
            if (left) return;
            controller.enqueue(Buffer.from('ow'));
            controller.close();
          };
        },
        cancel() {
          left = true;
        },
      });
      return new Response(body);
    }
    world.received += (await request.text()).length;
    return new Response('ok');
  });
  const world = await listening(createAdaptorServer({ fetch: handler }) as Server, guard, sink);
  return world;
}

async function listening(server: Server, guard: Guard, sink: FlagSink): Promise<World> {
  guard.expect(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    guard,
    sink,
    port: (server.address() as AddressInfo).port,
    received: 0,
    handled: 0,
    finish() {},
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

describe.each([
  ['node:http', onNode],
  ['Express 5', onExpress],
  ['Fastify 5', onFastify],
  ['Hono 4', onHono],
  ['fetch', onFetch],
])('%s', (_name, open) => {
  let world: World;
  const call = (path: string, init: RequestInit = {}) => fetch(`http://127.0.0.1:${world.port}${path}`, init);
  const post = (body = '{"a":1}') =>
    call('/items', { method: 'POST', body, headers: { 'content-type': 'application/json' } });

  beforeEach(async () => {
    world = await open({});
  });
  afterEach(async () => {
    await world.close();
    await world.guard.close();
  });

  test('off: everything passes and nothing is added', async () => {
    world.sink.document(null);
    expect((await post()).status).toBe(200);
    const read = await call('/items');
    expect(read.status).toBe(200);
    expect(read.headers.get('read-only')).toBeNull();
  });

  test('on: writes are refused before any work, reads pass with the header', async () => {
    world.sink.document(ON);
    const refused = await post();
    expect(refused.status).toBe(503);
    expect(refused.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(refused.headers.get('cache-control')).toBe('no-store');
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(590);
    expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(660);
    expect(await refused.json()).toMatchObject({ code: 'read_only', window: 'w-1', status: 503 });
    // No route, but refused rather than unknown: whether it exists is not the question.
    expect((await call('/nowhere', { method: 'DELETE' })).status).toBe(503);
    expect(world.handled).toBe(0);
    const read = await call('/items');
    expect(read.headers.get('read-only')).toMatch(/^\?1;until=@\d+;window="w-1"$/);
    expect(await read.text()).toContain('ok');
    expect(world.guard.counts().refused).toMatchObject({ http: 2, bySurface: { unnamed: 2 } });
  });

  test('who asks whether to send a body is refused before "go on", and hears it where the write passes', async () => {
    const asking = async () => {
      const body = '{"a":"of this service"}';
      const socket = connect(world.port, '127.0.0.1');
      let heard = '';
      socket.on('data', (chunk) => {
        heard += chunk;
        if (/^HTTP\/1\.1 100 Continue\r\n\r\n$/.test(heard)) socket.write(body);
      });
      socket.write(
        `POST /items HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nExpect: 100-continue\r\n\r\n`,
      );
      await once(socket, 'close');
      return [...heard.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => Number(status));
    };
    world.sink.document(ON);
    expect(await asking()).toEqual([503]);
    expect(world.handled).toBe(0);
    expect(world.guard.counts().refused.http).toBe(1);
    world.sink.document(null);
    expect(await asking()).toEqual([100, 200]);
    expect(world.received).toBeGreaterThan(20);
  });

  test('a GET that writes is refused by its surface, HEAD without a body', async () => {
    world.sink.document(ON);
    expect(await (await call('/slow')).json()).toMatchObject({ code: 'read_only' });
    const head = await call('/SLOW/', { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([503, '']);
    expect(world.guard.counts().refused.bySurface).toEqual({ slow: 2 });
  });

  test('5 MB on a kept connection: answered, drained, and the connection serves the next request', async () => {
    world.sink.document(ON);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    try {
      const sockets = new Set<unknown>();
      for (let round = 0; round < 3; round += 1) {
        const [status, socket] = await send(agent, world.port, 'POST', Buffer.alloc(5 * 1024 * 1024, 0x20));
        expect(status).toBe(503);
        sockets.add(socket);
        const [read, again] = await send(agent, world.port, 'GET', null);
        expect(read).toBe(200);
        sockets.add(again);
      }
      expect(sockets.size).toBe(1);
      expect(world.received).toBeLessThan(10);
    } finally {
      agent.destroy();
    }
  });

  test('a body that is sent slowly does not delay the answer', async () => {
    world.sink.document(ON);
    const socket = connect(world.port, '127.0.0.1');
    try {
      socket.write(
        'POST /items HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{"a"',
      );
      const [first] = (await once(socket, 'data')) as [Buffer];
      expect(first.toString()).toMatch(/^HTTP\/1\.1 503 /);
    } finally {
      socket.destroy();
    }
  });

  test('writes in flight are counted from admission to the end of the answer, also of a client that leaves', async () => {
    world.sink.document(null);
    const answer = call('/slow');
    await until(() => world.handled === 1);
    expect(world.guard.counts().inFlight).toMatchObject({ total: 1, http: 1 });
    // The flag does not touch what was admitted before it.
    world.sink.document(ON);
    expect((await (await call('/.well-known/maintenance')).json()).in_flight).toBe(1);
    world.finish();
    expect((await answer).status).toBe(200);
    await until(() => world.guard.counts().inFlight.total === 0);

    world.sink.document(null);
    const leaving = new AbortController();
    const left = call('/slow', { signal: leaving.signal }).catch(() => 'left');
    await until(() => world.handled === 2);
    expect(world.guard.counts().inFlight.http).toBe(1);
    leaving.abort();
    expect(await left).toBe('left');
    world.finish();
    await until(() => world.guard.counts().inFlight.total === 0);
  });

  test('/.well-known/maintenance is served by the guard, for every origin, and not for long', async () => {
    world.sink.document(ON);
    await post();
    const answer = await call('/.well-known/maintenance?x=1');
    expect(answer.headers.get('access-control-allow-origin')).toBe('*');
    expect(answer.headers.get('cache-control')).toBe('max-age=5');
    expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
    expect(await answer.json()).toMatchObject({
      version: 1,
      read_only: true,
      holders: [{ window: 'w-1', reason: 'reindex', overdue: false }],
      refused: 1,
      in_flight: 0,
    });
    world.sink.document(null);
    expect(await (await call('/.well-known/maintenance')).json()).toMatchObject({ read_only: false, holders: [] });
  });

  test('switching 20 times under keep-alive load fails no read, and no write is let through after the switch', async () => {
    let going = true;
    let wrong = 0;
    let reads = 0;
    const readers = Array.from({ length: 4 }, async () => {
      while (going) {
        const answer = await call('/items');
        await answer.text();
        reads += 1;
        if (answer.status !== 200) wrong += 1;
      }
    });
    for (let turn = 0; turn < 20; turn += 1) {
      world.sink.document(ON);
      if ((await post()).status !== 503) wrong += 1;
      world.sink.document(null);
      if ((await post()).status !== 200) wrong += 1;
    }
    going = false;
    await Promise.all(readers);
    expect({ wrong, some: reads > 20 }).toEqual({ wrong: 0, some: true });
  });
});

test('Express, mounted: surfaces are written for what the client sends', async () => {
  const { guard, sink } = makeGuard({ surfaces: [{ name: 'api', match: { methods: ['GET'], path: '/api/run' } }] });
  const app = express();
  app.use('/api', guard.express());
  app.get('/api/run', (_req: unknown, res: { send(text: string): void }) => res.send('ran'));
  const world = await listening(createServer(app), guard, sink);
  sink.document(ON);
  expect((await fetch(`http://127.0.0.1:${world.port}/api/run`)).status).toBe(503);
  await world.close();
  await guard.close();
});

test.each(['Express', 'Fastify', 'Hono'])('%s behind a CORS layer: its origin and its list stay', async (framework) => {
  const { guard, sink } = makeGuard({});
  const layer = (origin: string) => ({
    'access-control-allow-origin': origin,
    'access-control-allow-credentials': 'true',
    'access-control-expose-headers': 'X-Request-Id',
  });
  const allowed = 'https://app.example.com';
  let server: Server;
  let close: () => unknown = () => {};
  if (framework === 'Express') {
    const app = express();
    app.use((_: unknown, res: { set(all: Record<string, string>): void }, next: () => void) => {
      res.set(layer(allowed));
      next();
    });
    app.use(guard.express());
    server = createServer(app);
  } else if (framework === 'Fastify') {
    const app = fastify();
    app.addHook('onRequest', async (_, reply) => void reply.headers(layer(allowed)));
    await app.register(guard.fastify);
    await app.ready();
    server = app.server;
    close = () => app.close();
  } else {
    const app = new Hono();
    app.use(async (c, next) => {
      for (const [name, value] of Object.entries(layer(allowed))) c.res.headers.set(name, value);
      await next();
    });
    app.use(guard.hono());
    server = createAdaptorServer(app) as Server;
  }
  const world = await listening(server, guard, sink);
  sink.document(ON);
  const of = async (path: string, method: string, origin: string) => {
    const { headers } = await fetch(`http://127.0.0.1:${world.port}${path}`, { method, headers: { origin } });
    return [headers.get('access-control-allow-origin'), headers.get('access-control-expose-headers')];
  };
  expect(await of('/items', 'POST', allowed)).toEqual([allowed, 'X-Request-Id, Location, Read-Only, Retry-After']);
  expect(await of('/.well-known/maintenance', 'GET', allowed)).toEqual([allowed, 'X-Request-Id']);
  // The document is for every page, whomever the layer names.
  expect(await of('/.well-known/maintenance', 'GET', 'https://status.example.com')).toEqual(['*', 'X-Request-Id']);
  await world.close();
  await close();
  await guard.close();
});

test('Fastify, rewritten: the routed path is looked at too', async () => {
  const { guard, sink } = makeGuard({ surfaces: [{ name: 'run', match: { methods: ['GET'], path: '/run' } }] });
  const app = fastify({ rewriteUrl: (req) => (req.url === '/start' ? '/run' : (req.url ?? '/')) });
  await app.register(guard.fastify);
  app.get('/run', async () => 'ran');
  sink.document(ON);
  expect((await app.inject('/start')).statusCode).toBe(503);
  await app.close();
  await guard.close();
});

function send(agent: Agent, port: number, method: string, body: Buffer | null): Promise<[number, unknown]> {
  return new Promise((resolve, reject) => {
    const headers = body ? { 'content-type': 'application/json', 'content-length': body.length } : {};
    const sent = request({ agent, port, host: '127.0.0.1', method, path: '/items', headers }, (answer) => {
      const { socket } = answer;
      answer.resume().on('end', () => resolve([answer.statusCode ?? 0, socket]));
    });
    sent.on('error', reject);
    sent.end(body ?? undefined);
  });
}
