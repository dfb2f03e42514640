// Hostile requests, on raw sockets, against a guard that refuses: the applications behind it read paths, methods and
// bodies as leniently as anybody does, and tell of every write that reached them.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { type AddressInfo, connect } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { fastify } from 'fastify';
import { Hono } from 'hono';
import { createGuard, type FlagSink, type Guard, type Surface } from '../../packages/guard/src/index.ts';
import { memoryQueue } from '../support/memory-queue.ts';

const express = createRequire(import.meta.url)('express');

export const surfaces: Surface[] = [
  { name: 'run', match: { methods: ['GET'], path: '/jobs/:id/run' } },
  { name: 'search', match: { methods: ['POST'], path: '/search' }, disposition: 'pass' },
  { name: 'api', kind: 'graphql', match: { path: '/graphql' }, max_bytes: 100_000 },
  { name: 'notes', match: { methods: ['POST'], path: '/tenants/:tenant/notes' }, disposition: 'buffer' },
  { name: 'seen', match: { methods: ['POST'], path: '/seen/:id' }, disposition: 'drop', status: 204 },
];

export interface Target {
  readonly name: string;
  readonly guard: Guard;
  readonly sink: FlagSink;
  readonly port: number;
  /** the writes that reached the application: what, and the number of the request */
  readonly effects: string[];
  close(): Promise<void>;
}

/** What an application sees of a request. */
interface Looked {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: unknown;
}

/** Written without a look at the guard: does this write, to an application that follows every habit? */
function effectOf({ method, path, query, headers, body }: Looked): string | null {
  const params = new URLSearchParams(query);
  const override = [headers['x-http-method-override'], headers['x-http-method'], headers['x-method-override']]
    .flat()
    .find((value) => value !== undefined && value !== '');
  const actual = String(override ?? params.get('_method') ?? method).toUpperCase();
  const route = routeOf(path);
  if (/^\/jobs\/[^/]+\/run$/.test(route)) return 'job';
  if (route === '/graphql') {
    const texts = (Array.isArray(body) ? body : [body]).flatMap((each) =>
      typeof each === 'string'
        ? [each]
        : [(each as { query?: unknown } | null)?.query, (each as { id?: unknown } | null)?.id],
    );
    const written = [...texts, params.get('query'), params.get('id')].some(
      (text) =>
        typeof text === 'string' && (/(^|[}\s,])mutation\b/.test(withoutStrings(text)) || text === 'saved-mutation'),
    );
    return written ? 'graphql' : ['GET', 'POST', 'HEAD', 'OPTIONS', 'TRACE'].includes(actual) ? null : 'unsafe';
  }
  if (route === '/search' && actual === 'POST') return null;
  return ['GET', 'HEAD', 'OPTIONS', 'TRACE'].includes(actual) ? null : 'unsafe';
}

/** What stands at the top of a document: a field may be called `mutation` too. */
function withoutStrings(text: string): string {
  let top = text.replace(/"""(?:\\"""|(?!""")[\s\S])*"""|"(?:\\.|[^"\\\n])*"|#[^\n\r]*/g, ' ').replace(/^\ufeff/, '');
  for (let before = ''; before !== top; ) {
    before = top;
    top = top.replace(/\([^(){}]*\)|\{[^(){}]*\}/g, ' ');
  }
  return top;
}

function routeOf(path: string): string {
  let route = path.split(/[?#]/, 1)[0] as string;
  for (let turn = 0; turn < 2; turn += 1) {
    try {
      route = decodeURIComponent(route);
    } catch {
      break;
    }
  }
  route = route
    .replace(/\\/g, '/')
    .replace(/;[^/]*/g, '')
    .replace(/\0.*/s, '');
  const kept: string[] = [];
  for (const segment of route.split('/')) {
    if (segment === '..') kept.pop();
    else if (segment !== '' && segment !== '.') kept.push(segment);
  }
  return `/${kept.join('/').toLowerCase()}`;
}

export async function openTargets(): Promise<Target[]> {
  return [await onNode(), await onExpress(), await onFastify(), await onHono()];
}

type Tell = (looked: Looked) => void;

async function target(
  name: string,
  make: (guard: Guard, tell: Tell, direct: (effect: string) => void) => Promise<Server> | Server,
): Promise<Target> {
  let sink: FlagSink | undefined;
  const guard = createGuard({
    source: { start: (s) => void (sink = s), close() {} },
    surfaces,
    queue: memoryQueue(),
    authorize: 'elsewhere',
    bodyTimeoutMs: 500,
    log: () => {},
  });
  const effects: string[] = [];
  const server = await make(
    guard,
    (looked) => {
      const effect = effectOf(looked);
      if (effect) effects.push(`${effect} ${looked.method} ${looked.path} by ${String(looked.headers['x-fuzz'])}`);
    },
    (effect) => void effects.push(effect),
  );
  if (!server.listening) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  }
  return {
    name,
    guard,
    sink: sink as FlagSink,
    port: (server.address() as AddressInfo).port,
    effects,
    async close() {
      server.closeAllConnections();
      server.close();
      await guard.close();
    },
  };
}

const split = (url: string): [string, string] => {
  const at = url.indexOf('?');
  return at < 0 ? [url, ''] : [url.slice(0, at), url.slice(at + 1)];
};

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function onNode(): Promise<Target> {
  return target('node:http', (guard, tell, direct) => {
    const server = createServer(
      guard.http((req, res) => {
        let text = '';
        req.on('data', (chunk: Buffer) => (text += chunk.toString()));
        req.on('error', () => {});
        req.on('end', () => {
          const [path, query] = split(req.url ?? '');
          tell({ method: req.method ?? '', path, query, headers: req.headers, body: parsed(text) });
          res.end('ok');
        });
      }),
    );
    server.on(
      'upgrade',
      guard.upgrade((req, socket) => {
        direct(`upgrade ${req.method} ${req.url} by ${String(req.headers['x-fuzz'])}`);
        socket.end();
      }),
    );
    return server;
  });
}

function onExpress(): Promise<Target> {
  return target('Express 5', (guard, tell) => {
    const app = express();
    app.set('query parser', 'extended');
    app.use(guard.express());
    app.use(express.json({ limit: '1mb', type: ['application/json', '*/*'] }));
    app.use((_e: unknown, req: IncomingMessage & { body?: unknown }, _s: unknown, next: () => void) => {
      req.body = '';
      next();
    });
    app.use((req: IncomingMessage & { body?: unknown; originalUrl: string }, res: ServerResponse) => {
      const [path, query] = split(req.originalUrl);
      tell({ method: req.method ?? '', path, query, headers: req.headers, body: req.body });
      res.end('ok');
    });
    return createServer(app);
  });
}

function onFastify(): Promise<Target> {
  return target('Fastify 5', async (guard, tell) => {
    const app = fastify({
      bodyLimit: 1024 * 1024,
      forceCloseConnections: true,
      routerOptions: {
        caseSensitive: false,
        ignoreTrailingSlash: true,
        ignoreDuplicateSlashes: true,
        // Known to Fastify, and not yet to its types.
        ...({ useSemicolonDelimiter: true } as object),
      },
    });
    await app.register(guard.fastify);
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', { parseAs: 'string' }, (_req, body, done) => done(null, parsed(String(body))));
    app.all('/*', async (req) => {
      const [path, query] = split(req.url);
      tell({ method: req.method, path, query, headers: req.headers, body: req.body });
      return 'ok';
    });
    await app.listen({ port: 0, host: '127.0.0.1' });
    return app.server;
  });
}

function onHono(): Promise<Target> {
  return target('Hono 4', (guard, tell) => {
    const app = new Hono();
    app.use(guard.hono());
    app.all('*', async (c) => {
      const body = parsed(await c.req.text());
      const query = split(c.req.raw.url)[1];
      tell({ method: c.req.method, path: c.req.path, query, headers: c.req.header(), body });
      return c.text('ok');
    });
    return createAdaptorServer(app) as Server;
  });
}

// ── Requests ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** A small generator of numbers (mulberry32), so that a seed is a run. */
export function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const METHODS = [
  ...['GET', 'GET', 'GET', 'HEAD', 'OPTIONS', 'TRACE', 'POST', 'POST', 'POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND'],
  ...['MKCOL', 'QUERY', 'LINK', 'PURGE', 'SEARCH', 'ACL', 'CONNECT', 'get', 'Post', 'P0ST', 'GETPOST', ''],
];
const PATHS = [
  ...[
    '/jobs/7/run',
    '/jobs/7/run',
    '/search',
    '/search',
    '/graphql',
    '/graphql',
    '/graphql',
    '/items',
    '/tenants/a/notes',
  ],
  ...[
    '/seen/7',
    '/healthz',
    '/.well-known/maintenance',
    '/.well-known/maintenance/receipts/AAAAAAAAAAAAAAAAAAAAAA',
    '/',
    '*',
  ],
];
const PIECES = [
  ...['/', '//', '/./', '/../', '/x/../', '%2e', '%2e%2e', '..', '.', '%2f', '%2F', '%5c', '\\', ';', ';v=1', '..;'],
  ...['%3b', '%25', '%252e', '%252f', '%00', '?', '#', '%3f', '%20', '\t', 'J', '%6a', 'jobs', 'run', 'search', '\x80'],
  ...['%c0%af', '%e2%84%aa', '%u002f', '%', '%zz', '&', '=', '?_method=DELETE', '?%5fmethod=PUT', '?x=1'],
];
const QUERIES = [
  ...[
    '?x=1',
    '?_method=DELETE',
    '?%5Fmethod=put',
    '?_method=GET&_method=DELETE',
    '?query=mutation{a}',
    '?query=%7Ba%7D',
  ],
  ...['?query={a}&query=mutation{b}', '?id=saved-mutation', '?query=%7Ba%7D%20mutation%7Bb%7D', '?', '??', '?a=%'],
];
const BODIES = [
  ...['', '{}', '{"query":"{ a }"}', '{"query":"mutation { a }"}', '{"query":"{ a } mutation M { b }"}', '[]'],
  ...[
    '{"query":"{ a }","query":"mutation { b }"}',
    '{"query":"mutation { b }","query":"{ a }"}',
    '{"id":"saved-mutation"}',
  ],
  ...[
    '[{"query":"{ a }"},{"query":"mutation { b }"}]',
    '{"query":"{ a(x: \\"\\"\\"\\\\\\"\\"\\"\\"\\"\\") }\\nmutation { b }"}',
  ],
  ...[
    '{"query":"# x\\rmutation { b }"}',
    '{"query":"query A { a } mutation B { b }","operationName":"B"}',
    'mutation { a }',
  ],
  ...[
    '{"query":"{ a }","id":"saved-mutation"}',
    '\ufeff{"query":"mutation { a }"}',
    '_method=DELETE',
    '{"_method":"DELETE"}',
  ],
  ...[
    '{"query":"{ a(x: \\"mutation\\") }"}',
    '{"query":"{ mutation }"}',
    '{"query":',
    'POST /items HTTP/1.1\r\nHost: h\r\n\r\n',
  ],
];
const TYPES = [
  ...['application/json', 'application/json', 'application/json; charset=utf-8', 'application/json;charset=utf-16le'],
  ...['application/graphql', 'text/plain', 'multipart/form-data; boundary=x', 'application/x-www-form-urlencoded', ''],
];
const HEADERS = [
  ...[
    'X-HTTP-Method-Override: DELETE',
    'X-HTTP-Method-Override: get',
    'x-http-method: PUT',
    'X-Method-Override: PATCH',
  ],
  ...[
    'X-HTTP-Method-Override: GET\r\nX-HTTP-Method-Override: DELETE',
    'X-HTTP-Method-Override:\t delete ',
    'X-Original-URL: /jobs/7/run',
  ],
  ...[
    'X-Rewrite-URL: /jobs/7/run',
    'Host: other',
    'Expect: 100-continue',
    'Expect: nonsense',
    'Maint-Replay: AAAAAAAAAAAAAAAAAAAAAA',
  ],
  ...[
    'Idempotency-Key: "a"',
    'Idempotency-Key: a\r\nIdempotency-Key: b',
    'Content-Encoding: gzip',
    'Content-Encoding: identity',
  ],
  ...[
    'Transfer-Encoding: gzip',
    'Transfer-Encoding: identity',
    'Transfer-Encoding : chunked',
    'Content-Length: 0',
    'Content-Length: 5',
  ],
  ...[
    'Trailer: X-HTTP-Method-Override',
    'X-Long: '.padEnd(9000, 'x'),
    'X-Bad\x00: y',
    'Folded: a\r\n b',
    'TE: trailers',
  ],
  ...[
    'Connection: X-HTTP-Method-Override',
    'Range: bytes=0-1',
    'Upgrade-Insecure-Requests: 1',
    'Cookie: a=b',
    'Authorization: x',
  ],
];
const UPGRADES = [
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
  'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__',
  'Connection: upgrade\r\nUpgrade: anything',
];

/** The bytes of one request, in the pieces in which they are sent. */
export function hostile(random: () => number, id: string): string[] {
  const one = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const chance = (share: number) => random() < share;
  let path = one(PATHS);
  for (let edits = chance(0.6) ? Math.floor(random() * 4) : 0; edits > 0; edits -= 1) {
    const at = Math.floor(random() * (path.length + 1));
    path = path.slice(0, at) + one(PIECES) + path.slice(at);
  }
  if (chance(0.2)) path += one(QUERIES);
  if (chance(0.05)) path = `http://host${path}`;
  if (chance(0.02)) path = path.padEnd(20_000, 'a');
  const method = one(METHODS);
  const lines = [`${method} ${path} HTTP/1.${chance(0.95) ? 1 : 0}`, 'Host: h', `X-Fuzz: ${id}`];
  for (let more = Math.floor(random() * 3); more > 0; more -= 1) if (chance(0.5)) lines.push(one(HEADERS));
  const upgrades = chance(0.08);
  const pipelined = chance(0.08);
  lines.push(upgrades ? one(UPGRADES) : pipelined ? 'X-Keep: alive' : 'Connection: close');
  const hasBody = chance(method === 'GET' ? 0.2 : 0.75);
  let body = hasBody ? one(BODIES) : '';
  if (hasBody && chance(0.03)) body = body.padEnd(200_000, ' ');
  if (hasBody) lines.push(`Content-Type: ${one(TYPES)}`);
  const pieces: string[] = [];
  if (hasBody && chance(0.35)) {
    lines.push(
      one([
        'Transfer-Encoding: chunked',
        'Transfer-Encoding: Chunked',
        'transfer-encoding:\tchunked',
        'Transfer-Encoding: gzip, chunked',
      ]),
    );
    if (chance(0.1)) lines.push(`Content-Length: ${Buffer.byteLength(body)}`);
    const cut = Math.floor(random() * body.length);
    for (const part of [body.slice(0, cut), body.slice(cut)]) {
      if (part !== '')
        pieces.push(`${Buffer.byteLength(part).toString(16)}${chance(0.1) ? ';x=y' : ''}\r\n${part}\r\n`);
    }
    const trailer = chance(0.2) ? `${one(HEADERS)}\r\n` : '';
    pieces.push(chance(0.95) ? `0\r\n${trailer}\r\n` : 'zz\r\n');
  } else if (hasBody) {
    lines.push(`Content-Length: ${Buffer.byteLength(body)}`);
    const cut = chance(0.3) ? Math.floor(random() * body.length) : body.length;
    pieces.push(body.slice(0, cut), body.slice(cut));
  }
  // Cut off in the middle.
  if (chance(0.04)) pieces.pop();
  if (pipelined) pieces.push(`DELETE /items HTTP/1.1\r\nHost: h\r\nX-Fuzz: ${id}-second\r\nConnection: close\r\n\r\n`);
  const end = chance(0.02) ? '\n' : '\r\n';
  return [`${lines.join(end)}${end}${end}`, ...pieces.filter((piece) => piece !== '')];
}

/** Sends it and waits for the end of the answers. @returns the first status, or 0 where there is none */
export function fire(port: number, pieces: readonly string[]): Promise<number> {
  return new Promise((resolve) => {
    let status = 0;
    let quiet: NodeJS.Timeout | undefined;
    const socket = connect(port, '127.0.0.1');
    const longest = setTimeout(() => socket.destroy(), 1500);
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(longest);
      clearTimeout(quiet);
      resolve(status);
    });
    socket.on('data', (data: Buffer) => {
      if (status === 0) status = Number(/^HTTP\/1\.1 (\d{3})/.exec(data.toString('latin1'))?.[1] ?? 0);
      if (status === 100) status = 0;
      clearTimeout(quiet);
      // An answer on a connection that stays open.
      quiet = setTimeout(() => socket.destroy(), 30);
    });
    socket.on('connect', async () => {
      socket.setNoDelay(true);
      for (const piece of pieces) {
        if (socket.destroyed) return;
        socket.write(Buffer.from(piece, piece.includes('\ufeff') ? 'utf8' : 'latin1'));
        await new Promise((next) => setImmediate(next));
      }
    });
  });
}

export interface Swept {
  readonly target: string;
  readonly sent: number;
  readonly effects: readonly string[];
  readonly statuses: Readonly<Record<string, number>>;
  readonly internalErrors: number;
}

/** Sends `count` requests of a seed, `wide` at a time. */
export async function sweep(on: Target, seed: number, count: number, wide = 16): Promise<Swept> {
  const random = numbers(seed);
  const statuses: Record<string, number> = {};
  let sent = 0;
  async function sender(): Promise<void> {
    while (sent < count) {
      const id = `${seed}-${sent}`;
      sent += 1;
      const status = await fire(on.port, hostile(random, id));
      statuses[status] = (statuses[status] ?? 0) + 1;
    }
  }
  await Promise.all(Array.from({ length: wide }, sender));
  const { errors } = on.guard.counts();
  return { target: on.name, sent, effects: [...on.effects], statuses, internalErrors: errors.internal };
}

export const HELD = JSON.stringify({ version: 1, holders: { 'w-1': { until: '2100-01-01T00:00:00Z' } } });
