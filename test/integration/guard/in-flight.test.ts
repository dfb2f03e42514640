// A slow write, a client that leaves, a drain: once the guard says that nothing is in flight, nothing lands any more.
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { describe, expect, test } from '@jest/globals';
import { fastify } from 'fastify';
import { Hono } from 'hono';
import {
  createGuard,
  type FlagSink,
  type Guard,
  type GuardOptions,
  ReadOnlyError,
} from '../../../packages/guard/src/index.ts';
import { until } from '../../support/until.ts';

// Express brings no types of its own.
const express = createRequire(import.meta.url)('express');

const ON = JSON.stringify({ version: 1, holders: { 'w-1': {} } });

/** What the handlers below do: they wait for somebody, and then write, whoever is still there. */
interface Store {
  begun: number;
  written: number;
  finish(): void;
  /** The server has seen that the client is gone. */
  left: boolean;
}

/** One write; resolves when it has landed. */
function slowWrite(store: Store, response: ServerResponse | undefined): Promise<void> {
  store.begun += 1;
  response?.on('close', () => {
    store.left = true;
  });
  return new Promise((resolve) => {
    store.finish = () => {
      store.written += 1;
      resolve();
    };
  });
}

type Open = (guard: Guard, store: Store) => Promise<Server> | Server;

const SERVICES: Readonly<Record<string, Open>> = {
  'node:http, a callback': (guard, store) =>
    createServer(guard.http((_req, res) => void slowWrite(store, res).then(() => res.end('ok')))),
  'node:http, a promise': (guard, store) =>
    createServer(
      guard.http(async (_req, res) => {
        res.on('error', () => {});
        const landed = slowWrite(store, res);
        await landed;
        res.end('ok');
      }),
    ),
  'Express, a callback': (guard, store) => {
    const app = express();
    app.use(guard.express());
    app.post('/items', (_req: IncomingMessage, res: ServerResponse & { send(text: string): void }) => {
      void slowWrite(store, res).then(() => res.send('ok'));
    });
    return createServer(app);
  },
  'Express, a promise': (guard, store) => {
    const app = express();
    app.use(guard.express());
    app.post('/items', async (_req: IncomingMessage, res: ServerResponse & { json(value: unknown): void }) => {
      await slowWrite(store, res);
      res.json({ ok: true });
    });
    return createServer(app);
  },
  'Fastify, a promise': async (guard, store) => {
    const app = fastify({ forceCloseConnections: true });
    await app.register(guard.fastify);
    app.post('/items', async (_req, reply) => {
      await slowWrite(store, reply.raw);
      return { ok: true };
    });
    await app.ready();
    return app.server;
  },
  'Fastify, a callback': async (guard, store) => {
    const app = fastify({ forceCloseConnections: true });
    await app.register(guard.fastify);
    app.post('/items', (_req, reply) => void slowWrite(store, reply.raw).then(() => reply.send('ok')));
    await app.ready();
    return app.server;
  },
  Hono: (guard, store) => {
    const app = new Hono<{ Bindings: { outgoing: ServerResponse } }>();
    app.use(guard.hono());
    app.post('/items', async (c) => {
      await slowWrite(store, c.env.outgoing);
      return c.text('ok');
    });
    return createAdaptorServer(app) as Server;
  },
  fetch: (guard, store) =>
    createAdaptorServer({
      fetch: guard.fetch(async (_request, env: unknown) => {
        await slowWrite(store, (env as { outgoing: ServerResponse }).outgoing);
        return new Response('ok');
      }),
    }) as Server,
};

async function opened(open: Open, options: Partial<GuardOptions> = {}) {
  let sink: FlagSink | undefined;
  const guard = createGuard({ source: { start: (s) => void (sink = s), close() {} }, log: () => {}, ...options });
  sink?.document(null);
  const store: Store = { begun: 0, written: 0, left: false, finish() {} };
  const server = await open(guard, store);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const post = () => {
    const sent = request({ port, host: '127.0.0.1', method: 'POST', path: '/items' }, (answer) => answer.resume());
    sent.on('error', () => {});
    sent.end();
    return sent;
  };
  async function close(): Promise<void> {
    server.closeAllConnections();
    server.close();
    await guard.close();
  }
  return { guard, sink: sink as unknown as FlagSink, store, post, close };
}

describe.each(Object.keys(SERVICES))('%s', (name) => {
  test('a client that leaves does not end the write that it began', async () => {
    // A grace that cannot be what ends it.
    const { guard, sink, store, post, close } = await opened(SERVICES[name]!, { abandonedMs: 3_600_000 });
    const sent = post();
    await until(() => store.begun === 1);
    sent.destroy();
    await until(() => store.left);
    sink.document(ON);
    expect(guard.counts().inFlight).toMatchObject({ total: 1, http: 1 });
    expect(guard.maintenance().in_flight).toBe(1);
    const drained = until(() => guard.counts().inFlight.total === 0).then(() => store.written);
    store.finish();
    // What has landed by the time the drain ends is all that ever lands.
    expect(await drained).toBe(1);
    expect(guard.counts()).toMatchObject({ abandoned: 0, unseen: 0 });
    await close();
  });

  test('who waits for the answer is counted until it is out, and once', async () => {
    const { guard, store, post, close } = await opened(SERVICES[name]!);
    const sent = post();
    await until(() => store.begun === 1);
    expect(guard.counts().inFlight.http).toBe(1);
    store.finish();
    await once(sent, 'response');
    await until(() => guard.counts().inFlight.total === 0);
    expect(guard.counts()).toMatchObject({ abandoned: 0, unseen: 0 });
    await close();
  });
});

test('a handler that says nothing of its end is waited for, and then counted as not seen', async () => {
  const silent: Open = (guard, store) => createServer(guard.http((_req, res) => void slowWrite(store, res)));
  const { guard, sink, store, post, close } = await opened(silent, { abandonedMs: 50 });
  const sent = post();
  await until(() => store.begun === 1);
  sink.document(ON);
  const leaving = performance.now();
  sent.destroy();
  await until(() => guard.counts().inFlight.total === 0);
  expect(performance.now() - leaving).toBeGreaterThan(45);
  expect(guard.maintenance()).toMatchObject({ in_flight: 0, abandoned: 0, unseen: 1 });
  expect(guard.metrics()).toContain('\nmaint_guard_abandoned 0\n');
  await close();
});

test('a promise is awaited after the answer as well', async () => {
  let landed = () => {};
  const open: Open = (guard, store) =>
    createServer(
      guard.http(async (_req, res) => {
        res.end('accepted');
        landed = () => store.finish();
        await slowWrite(store, res);
      }),
    );
  const { guard, store, post, close } = await opened(open);
  const sent = post();
  await once(sent, 'response');
  await until(() => store.left);
  expect(guard.counts().inFlight.http).toBe(1);
  landed();
  await until(() => guard.counts().inFlight.total === 0);
  expect(store.written).toBe(1);
  await close();
});

test('write: in flight until it is over, whatever becomes of the request; refused while somebody holds', async () => {
  const { guard, sink, close } = await opened(() => createServer());
  let finish = () => {};
  const writing = guard.write(() => new Promise<string>((resolve) => (finish = () => resolve('kept'))));
  expect(guard.counts().inFlight.total).toBe(1);
  sink.document(ON);
  expect(guard.counts().inFlight.total).toBe(1);
  let ran = false;
  await expect(guard.write(() => void (ran = true), { name: 'points' })).rejects.toThrow(ReadOnlyError);
  expect(ran).toBe(false);
  expect(guard.counts().refused.bySurface).toEqual({ points: 1 });
  finish();
  expect(await writing).toBe('kept');
  expect(guard.counts().inFlight.total).toBe(0);
  await close();
});
