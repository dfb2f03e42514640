// The same guarded service on each framework, on a real socket: it tells what reached its handler, body and all.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { fastify } from 'fastify';
import { Hono } from 'hono';
import { createGuard, type FlagSink, type Guard, type GuardOptions } from '../../packages/guard/src/index.ts';

// Express brings no types of its own.
const express = createRequire(import.meta.url)('express');

export interface Seen {
  /** as the framework has them when its handler runs */
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

export interface Guarded {
  readonly guard: Guard;
  readonly sink: FlagSink;
  readonly server: Server;
  readonly port: number;
  readonly url: string;
  readonly seen: Seen[];
  close(): Promise<void>;
}

export const FRAMEWORKS = ['node:http', 'Express 5', 'Fastify 5', 'Hono 4', 'fetch'] as const;
export type Framework = (typeof FRAMEWORKS)[number];

export function holders(untilMs: number = Date.now() + 600_000): string {
  return JSON.stringify({ version: 1, holders: { 'w-1': { until: new Date(untilMs).toISOString() } } });
}

export async function openGuarded(framework: Framework, options: Partial<GuardOptions> = {}): Promise<Guarded> {
  let sink: FlagSink | undefined;
  const source = { start: (s: FlagSink) => void (sink = s), close() {} };
  const guard = createGuard({ source, log: () => {}, ...options });
  if (!sink) throw new Error('the guard did not start its source');
  const seen: Seen[] = [];
  const server = await SERVERS[framework](guard, (each) => void seen.push(each));
  if (!server.listening) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  }
  const { port } = server.address() as AddressInfo;
  return {
    guard,
    sink,
    server,
    port,
    url: `http://127.0.0.1:${port}`,
    seen,
    async close() {
      server.closeAllConnections();
      server.close();
      if (server.listening) await once(server, 'close');
      await guard.close();
    },
  };
}

type Tell = (seen: Seen) => void;

const SERVERS: Readonly<Record<Framework, (guard: Guard, tell: Tell) => Server | Promise<Server>>> = {
  'node:http': (guard, tell) =>
    createServer(
      guard.http((req, res) => {
        const chunks: Buffer[] = [];
        req.on('data', (chunk: Buffer) => chunks.push(chunk));
        req.on('end', () => {
          const body = Buffer.concat(chunks).toString();
          tell({ method: req.method ?? '', path: req.url ?? '', headers: req.headers, body });
          res.end(body);
        });
      }),
    ),
  'Express 5': (guard, tell) => {
    const app = express();
    app.use(guard.express());
    app.use(express.json({ limit: '20mb' }));
    app.use(express.text({ type: '*/*', limit: '20mb' }));
    app.use((req: IncomingMessage & { body?: unknown; originalUrl: string }, res: ServerResponse) => {
      const body = typeof req.body === 'string' ? req.body : req.body === undefined ? '' : JSON.stringify(req.body);
      tell({ method: req.method ?? '', path: req.originalUrl, headers: req.headers, body });
      res.end(body);
    });
    app.use((_e: unknown, _q: unknown, res: ServerResponse, _n: unknown) => void res.writeHead(400).end('bad'));
    return createServer(app);
  },
  'Fastify 5': async (guard, tell) => {
    const app = fastify({ bodyLimit: 20 * 1024 * 1024, forceCloseConnections: true });
    await app.register(guard.fastify);
    app.addContentTypeParser('*', { parseAs: 'string' }, (_req, body, done) => done(null, body));
    app.all('/*', async (req) => {
      const body = typeof req.body === 'string' ? req.body : req.body === undefined ? '' : JSON.stringify(req.body);
      tell({ method: req.method, path: req.url, headers: req.headers, body });
      return body;
    });
    await app.listen({ port: 0, host: '127.0.0.1' });
    return app.server;
  },
  'Hono 4': (guard, tell) => {
    const app = new Hono();
    app.use(guard.hono());
    app.all('*', async (c) => {
      const type = c.req.header('content-type') ?? '';
      const body = type.startsWith('application/json') ? JSON.stringify(await c.req.json()) : await c.req.text();
      tell({ method: c.req.method, path: c.req.path, headers: c.req.header(), body });
      return c.text(body);
    });
    return createAdaptorServer(app) as Server;
  },
  fetch: (guard, tell) =>
    createAdaptorServer({
      fetch: guard.fetch(async (request) => {
        const body = await request.text();
        const { pathname } = new URL(request.url);
        tell({ method: request.method, path: pathname, headers: Object.fromEntries(request.headers), body });
        return new Response(body);
      }),
    }) as Server,
};
