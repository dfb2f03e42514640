// A lid that is closed while a write's connection is being made: what was to go out does not.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTls, getCACertificates, setDefaultCACertificates } from 'node:tls';
import { afterAll, expect, test } from '@jest/globals';
import { OuterError } from '../../../src/errors/catalogue.ts';
import { failure, testClients } from '../../support/clients.ts';
import { until } from '../../support/until.ts';

const io = testClients();
const stops: (() => void)[] = [];
afterAll(async () => {
  for (const stop of stops) stop();
  await io[Symbol.asyncDispose]();
});

interface Counting {
  port: number;
  /** in plain text */
  text: string;
  /** connections that have ended */
  ended: number;
}

async function counting(make: typeof createServer): Promise<Counting> {
  const counted: Counting = { port: 0, text: '', ended: 0 };
  const server: Server = make((socket) => {
    socket.on('data', (data) => {
      counted.text += data;
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}');
    });
    socket.on('error', () => undefined);
  });
  server.on('connection', (socket) => socket.on('close', () => counted.ended++));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(() => server.close());
  counted.port = (server.address() as AddressInfo).port;
  return counted;
}

/** It has slept when it is asked for the n-th time. */
function sleepsAt(n: number) {
  let asked = 0;
  return {
    hooks: {
      awake() {
        if (++asked === n)
          throw new OuterError('this machine has slept; not sent', { effect: 'none', retryable: true });
      },
    },
    asked: () => asked,
  };
}

test('while it connects: nothing is sent, and that is certain', async () => {
  const server = await counting(createServer);
  const { hooks } = sleepsAt(1);
  const sent = io.writer({ hooks }).http.send('POST', { url: `http://127.0.0.1:${server.port}/x`, json: { a: 1 } });
  expect(await failure(sent)).toEqual({
    message: `127.0.0.1:${server.port} (POST /x): this machine has slept; not sent`,
    effect: 'none',
    retryable: true,
  });
  await until(() => server.ended === 1);
  expect(server.text).toBe('');
});

test('awake all the time: it is asked once, and the write goes out', async () => {
  const server = await counting(createServer);
  const { hooks, asked } = sleepsAt(2);
  await io.writer({ hooks }).http.send('POST', { url: `http://127.0.0.1:${server.port}/x`, json: { a: 1 } });
  await until(() => server.ended === 1);
  expect([asked(), server.text]).toEqual([1, expect.stringContaining('{"a":1}')]);
});

const openssl = spawnSync('openssl', ['version']).status === 0;
const withTls = openssl ? test.each : test.skip.each;
withTls([1, 2])('over TLS, at its event no. %i (skipped without openssl)', async (n) => {
  const folder = mkdtempSync(join(tmpdir(), 'maint-slept-'));
  stops.push(() => rmSync(folder, { recursive: true, force: true }));
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const made = spawnSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'],
    ...['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert],
  ]);
  expect(made.status).toBe(0);
  const pem = readFileSync(cert, 'utf8');
  setDefaultCACertificates([...getCACertificates('default'), pem]);
  const server = await counting(((listener: never) =>
    createTls({ key: readFileSync(key), cert: pem }, listener)) as never);
  const url = `https://localhost:${server.port}/x`;

  await io.writer({ hooks: sleepsAt(3).hooks }).http.send('POST', { url, json: { a: 1 } });
  await until(() => server.ended === 1);
  expect(server.text).toContain('{"a":1}');
  server.text = '';

  const sent = io.writer({ hooks: sleepsAt(n).hooks }).http.send('POST', { url, json: { a: 1 } });
  expect(await failure(sent)).toMatchObject({ effect: 'none', message: expect.stringContaining('slept') });
  await until(() => server.ended === 2);
  expect(server.text).toBe('');
});
