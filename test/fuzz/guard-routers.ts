// Applications with the routers that people use, each with its own way to read a target. They tell which requests wrote.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import {
  createServer as createHttp2Server,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { parse } from 'node:url';
import { createAdaptorServer } from '@hono/node-server';
import { fastify } from 'fastify';
import { Hono } from 'hono';
import { createGuard, type FlagSink, type Guard, type Surface } from '../../packages/guard/src/index.ts';

const express = createRequire(import.meta.url)('express');

/** What the routes below do, in the words of the guard. */
const surfaces: Surface[] = [
  { name: 'run', match: { methods: ['GET'], path: '/jobs/:id/run' } },
  { name: 'export', match: { methods: ['GET'], path: '/:tenant/export' } },
  { name: 'admin', match: { methods: ['GET'], path: '/admin/*' } },
  { name: 'api', kind: 'graphql', match: { path: '/graphql' } },
  { name: 'search', match: { methods: ['POST'], path: '/search' }, disposition: 'pass' },
];

type Route = 'run' | 'export' | 'admin' | 'graphql' | 'search' | 'other';

/** What a handler sees. */
interface Seen {
  readonly method: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** A parameter of the query, as the framework reads it. */
  query(name: string): unknown;
}

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/** Handlers that take all methods, behind a layer that follows method overrides. */
function writes(route: Route, { method, headers, query }: Seen): boolean {
  const given = headers['x-http-method-override'] ?? headers['x-method-override'] ?? query('_method') ?? method;
  const actual = String(given).toUpperCase();
  if (route === 'graphql')
    return String(query('query')).includes('mutation') || !(SAFE.has(actual) || actual === 'POST');
  if (route === 'search') return !(SAFE.has(actual) || actual === 'POST');
  return route === 'other' ? !SAFE.has(actual) : true;
}

type Tell = (route: Route, seen: Seen) => void;
type Make = (guard: Guard | null, tell: Tell) => Promise<Server | Http2Server> | Server | Http2Server;

/** For servers without a router: the routes, as a regular expression each. */
function routeOf(path: string | null): Route {
  if (path === null) return 'other';
  if (/^\/jobs\/[^/]+\/run\/?$/.test(path)) return 'run';
  if (/^\/admin(\/|$)/.test(path)) return 'admin';
  if (/^\/[^/]+\/export\/?$/.test(path)) return 'export';
  if (/^\/graphql\/?$/.test(path)) return 'graphql';
  return path === '/search' ? 'search' : 'other';
}

/** Gives the path, and a look into the query; throws for what it cannot read. */
type Reader = (target: string) => { readonly path: string | null; readonly query: URLSearchParams };

const READERS = {
  'new URL': (target) => {
    const { pathname, searchParams } = new URL(target, 'http://h');
    return { path: pathname, query: searchParams };
  },
  'url.parse': (target) => {
    const { pathname, query } = parse(target);
    return { path: pathname, query: new URLSearchParams(query ?? '') };
  },
  'url.parse with slashes': (target) => {
    const { pathname, query } = parse(target, false, true);
    return { path: pathname, query: new URLSearchParams(query ?? '') };
  },
  'new URL, decoded': (target) => {
    const { pathname, searchParams } = new URL(target, 'http://h');
    return { path: decodeURIComponent(pathname), query: searchParams };
  },
  'split at ?': (target) => {
    const [path = '', ...rest] = target.split('?');
    return { path, query: new URLSearchParams(rest.join('?')) };
  },
} satisfies Record<string, Reader>;

function listener(read: Reader, tell: Tell) {
  return ({ method = '', url = '', headers }: IncomingMessage, response: ServerResponse) => {
    let target: ReturnType<Reader>;
    try {
      target = read(url);
    } catch {
      response.writeHead(400).end('not a target');
      return;
    }
    const route = routeOf(target.path);
    tell(route, { method, headers, query: (name) => target.query.get(name) ?? undefined });
    response.end(route);
  };
}

function onHttp(read: Reader): Make {
  return (guard, tell) => {
    const own = listener(read, tell);
    return createServer(guard ? guard.http(own) : own);
  };
}

function onHttp2(read: Reader): Make {
  return (guard, tell) => {
    const own = listener(read, tell) as unknown as (request: Http2ServerRequest, response: Http2ServerResponse) => void;
    return createHttp2Server(guard ? guard.http(own) : own);
  };
}

function onExpress(guard: Guard | null, tell: Tell): Server {
  const app = express();
  if (guard) app.use(guard.express());
  const on = (path: string, route: Route) =>
    app.all(path, ({ method, headers, query }: any, response: ServerResponse) => {
      tell(route, { method, headers, query: (name) => query[name] });
      response.end(route);
    });
  on('/jobs/:id/run', 'run');
  on('/admin{/*rest}', 'admin');
  on('/:tenant/export', 'export');
  on('/graphql', 'graphql');
  on('/search', 'search');
  on('/{*rest}', 'other');
  // Express would print what it cannot decode.
  app.use((_error: unknown, _request: unknown, response: ServerResponse, _next: unknown) => {
    response.writeHead(400).end('not a target');
  });
  return createServer(app as RequestListener);
}

function onFastify(routerOptions: object, http2 = false): Make {
  return async (guard, tell) => {
    const app = fastify({ forceCloseConnections: true, routerOptions, ...(http2 ? { http2: true } : {}) } as object);
    if (guard) await app.register(guard.fastify);
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', (_request, _body, done) => done(null));
    const on = (path: string, route: Route) =>
      app.all(path, async ({ method, headers, query }) => {
        tell(route, { method, headers, query: (name) => (query as Record<string, unknown>)[name] });
        return route;
      });
    on('/jobs/:id/run', 'run');
    on('/admin', 'admin');
    on('/admin/*', 'admin');
    on('/:tenant/export', 'export');
    on('/graphql', 'graphql');
    on('/search', 'search');
    on('/*', 'other');
    await app.ready();
    return app.server;
  };
}

function onHono(strict: boolean): Make {
  return (guard, tell) => {
    const app = new Hono({ strict });
    if (guard) app.use(guard.hono());
    const on = (path: string, route: Route) =>
      app.all(path, (c) => {
        tell(route, { method: c.req.method, headers: c.req.header(), query: (name) => c.req.query(name) });
        return c.text(route);
      });
    on('/jobs/:id/run', 'run');
    on('/admin/*', 'admin');
    on('/:tenant/export', 'export');
    on('/graphql', 'graphql');
    on('/search', 'search');
    on('*', 'other');
    return createAdaptorServer(app) as Server;
  };
}

const LENIENT = {
  useSemicolonDelimiter: true,
  ignoreDuplicateSlashes: true,
  ignoreTrailingSlash: true,
  caseSensitive: false,
};

export const ROUTERS: Readonly<Record<string, Make>> = {
  'Fastify 5': onFastify({}),
  'Fastify 5, useSemicolonDelimiter': onFastify({ useSemicolonDelimiter: true }),
  'Fastify 5, ignoreDuplicateSlashes': onFastify({ ignoreDuplicateSlashes: true }),
  'Fastify 5, ignoreTrailingSlash': onFastify({ ignoreTrailingSlash: true }),
  'Fastify 5, caseSensitive: false': onFastify({ caseSensitive: false }),
  'Fastify 5, all of these': onFastify(LENIENT),
  'Express 5': onExpress,
  'Hono 4': onHono(true),
  'Hono 4, strict: false': onHono(false),
  ...Object.fromEntries(Object.entries(READERS).map(([name, read]) => [`node:http, ${name}`, onHttp(read)])),
  ...Object.fromEntries(Object.entries(READERS).map(([name, read]) => [`node:http2, ${name}`, onHttp2(read)])),
  'Fastify 5 over HTTP/2, all of these': onFastify(LENIENT, true),
};

export interface Serving {
  readonly port: number;
  readonly http2: boolean;
  /** The numbers of the requests that wrote. */
  readonly wrote: Set<string>;
  close(): Promise<void>;
}

/** @param guarded with a guard that `sink` opens and closes */
async function serve(make: Make, guard: Guard | null): Promise<Serving> {
  const wrote = new Set<string>();
  const server = await make(guard, (route, seen) => {
    if (writes(route, seen)) wrote.add(String(seen.headers['x-fuzz']));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sessions = new Set<{ destroy(): void }>();
  (server as Http2Server).on('session', (session) => sessions.add(session));
  return {
    port: (server.address() as AddressInfo).port,
    http2: !('closeAllConnections' in server),
    wrote,
    async close() {
      for (const session of sessions) session.destroy();
      if ('closeAllConnections' in server) server.closeAllConnections();
      server.close();
      await guard?.close();
    },
  };
}

/** The same application twice. */
export interface Pair {
  readonly name: string;
  readonly bare: Serving;
  readonly guarded: Serving;
  readonly sink: FlagSink;
  close(): Promise<void>;
}

export async function openPair(name: string): Promise<Pair> {
  const make = ROUTERS[name] as Make;
  let sink: FlagSink | undefined;
  const source = { start: (given: FlagSink) => void (sink = given), close() {} };
  const guard = createGuard({ source, surfaces, log: () => {} });
  const bare = await serve(make, null);
  const guarded = await serve(make, guard);
  return {
    name,
    bare,
    guarded,
    sink: sink as FlagSink,
    close: async () => void (await Promise.all([bare.close(), guarded.close()])),
  };
}
