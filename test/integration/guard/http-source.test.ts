// The flag over HTTP, from a server that misbehaves.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createGuard, type Guard, type HttpSourceOptions, httpSource } from '../../../packages/guard/src/index.ts';
import { until } from '../../support/until.ts';

const ON = JSON.stringify({ version: 1, holders: { 'w-1': {} } });
const OFF = JSON.stringify({ version: 1, holders: {} });

let server: Server;
let guard: Guard | undefined;
let url: string;
let answer: (req: IncomingMessage, res: ServerResponse) => void;
let asked: IncomingMessage[];
let streams: ServerResponse[];
let document: string;

beforeEach(async () => {
  asked = [];
  streams = [];
  document = OFF;
  answer = serve;
  server = createServer((req, res) => {
    asked.push(req);
    answer(req, res);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/flag`;
});
afterEach(async () => {
  await guard?.close();
  server.closeAllConnections();
  server.close();
});

/** As it should be: an ETag, 304, and a stream of events. */
function serve(req: IncomingMessage, res: ServerResponse): void {
  if (req.headers.accept === 'text/event-stream') {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write(': hello\n\nretry: 100\n\n');
    streams.push(res);
    return;
  }
  const etag = `"${document.length}"`;
  if (req.headers['if-none-match'] === etag) res.writeHead(304, { etag }).end();
  else res.writeHead(200, { etag, 'content-type': 'application/json' }).end(document);
}

function open(options: HttpSourceOptions = {}): Guard {
  guard = createGuard({
    source: httpSource(url, { pollMs: 10, timeoutMs: 200, ...options }),
    log: () => {},
    readyTimeoutMs: 1000,
  });
  return guard;
}

const errors = () => guard?.counts().errors.source ?? 0;

test('polled with an ETag: 304 confirms, a new document counts, its own headers are sent', async () => {
  const { ready, readOnly, counts } = open({ timeoutMs: 5000, headers: { authorization: 'Bearer x' } });
  expect(await ready()).toBe('source');
  expect(readOnly()).toBe(false);
  await until(() => asked.some((req) => req.headers['if-none-match'] !== undefined));
  expect(asked.every((req) => req.headers.authorization === 'Bearer x')).toBe(true);
  document = ON;
  await until(readOnly);
  const before = asked.length;
  await until(() => asked.length > before + 3);
  expect(readOnly()).toBe(true);
  expect(counts()).toMatchObject({ stale: false, errors: { total: 0 } });
  document = OFF;
  await until(() => !readOnly());
});

test('204 is no document; 404, 500, a redirect, rubbish and too much keep the state', async () => {
  document = ON;
  const { readOnly } = open();
  await until(readOnly);
  const faults: ((res: ServerResponse) => void)[] = [
    (res) => res.writeHead(404).end(),
    (res) => res.writeHead(500).end(OFF),
    (res) => res.writeHead(302, { location: '/elsewhere' }).end(),
    (res) => res.writeHead(200).end('x'.repeat(2 * 1024 * 1024)),
    (res) => res.writeHead(304).end(),
    (res) => void res.destroy(),
  ];
  for (const fault of faults) {
    answer = (_req, res) => fault(res);
    const before = errors();
    // A 304 confirms where an ETag was sent, and is no failure.
    if (faults.indexOf(fault) === 4) await until(() => asked.length > 3);
    else await until(() => errors() > before + 1);
    expect(readOnly()).toBe(true);
  }
  answer = (_req, res) => res.writeHead(200).end('<html>');
  await until(() => (guard?.counts().errors.document ?? 0) > 0);
  expect(readOnly()).toBe(true);
  answer = (_req, res) => res.writeHead(204).end();
  await until(() => !readOnly());
});

test('404 means read-write only where that is said', async () => {
  answer = (_req, res) => res.writeHead(404).end();
  expect(await open({ notFound: 'read_write' }).ready()).toBe('source');
});

test('an answer that hangs, before or in its body, ages the state and is given up', async () => {
  document = ON;
  const { readOnly, counts } = open({ timeoutMs: 50 });
  await until(readOnly);
  answer = () => {};
  const first = errors();
  await until(() => errors() > first + 1);
  answer = (_req, res) => void res.writeHead(200).write('{"version"');
  const second = errors();
  await until(() => errors() > second + 1);
  expect(readOnly()).toBe(true);
  expect(counts().flagAgeMs).toBeGreaterThan(100);
  document = OFF;
  answer = serve;
  await until(() => !readOnly());
});

test('an event makes it look at once; a lost stream is opened again', async () => {
  const { ready, readOnly } = open({ sse: true, pollMs: 3_600_000 });
  await ready();
  await until(() => streams.length === 1);
  document = ON;
  streams[0]?.write('event: flag\ndata: {}\n\n');
  await until(readOnly);
  streams[0]?.destroy();
  document = OFF;
  // What changed while nobody listened is found at the next opening.
  await until(() => !readOnly());
  await until(() => streams.length === 2);
  document = ON;
  streams[1]?.write('data:');
  streams[1]?.write(' x\r\n\r\n');
  await until(readOnly);
});

test('a stream that is silent is opened again; one that cannot be had leaves polling', async () => {
  open({ sse: true, sseIdleMs: 50 });
  await until(() => streams.length >= 2);
  await guard?.close();
  answer = (req, res) => (req.headers.accept === 'text/event-stream' ? res.writeHead(404).end() : serve(req, res));
  const { readOnly } = open({ sse: `${url}/events` });
  document = ON;
  await until(readOnly);
  await until(() => asked.some((req) => req.url === '/flag/events'));
});

test('closed, nothing is asked any more', async () => {
  const { ready, close } = open({ sse: true });
  await ready();
  await until(() => streams.length === 1);
  await close();
  const before = asked.length;
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(asked.length).toBeLessThanOrEqual(before + 1);
});

test('what is no address is an error at the start', () => {
  expect(() => httpSource('flag')).toThrow('flag is no http or https URL');
  expect(() => httpSource('file:///flag')).toThrow('no http');
});
