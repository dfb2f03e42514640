// Bodies that the guard reads: what they take from others while they come, and what is refused before they are sent.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import type { GuardOptions, Surface } from '../../../packages/guard/src/index.ts';
import { FRAMEWORKS, type Framework, type Guarded, holders, openGuarded } from '../../support/guarded.ts';
import { memoryQueue } from '../../support/memory-queue.ts';
import { until } from '../../support/until.ts';

const surfaces: Surface[] = [
  { name: 'notes', match: { methods: ['POST'], path: '/notes' }, disposition: 'buffer', max_bytes: 1000 },
  { name: 'graphql', kind: 'graphql', match: { path: '/graphql' }, max_bytes: 1000 },
];

let world: Guarded;
let sockets: Socket[] = [];

async function open(framework: Framework, options: Partial<GuardOptions> = {}): Promise<void> {
  world = await openGuarded(framework, { surfaces, queue: memoryQueue(), authorize: 'elsewhere', ...options });
  world.guard.expect(world.server);
  world.sink.document(holders());
}

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets = [];
  await world.close();
});

/** A write that says how long it is, sends so much of it, and waits. */
function upload(sent: number): void {
  const socket = connect(world.port, '127.0.0.1');
  sockets.push(socket);
  socket.on('error', () => {});
  socket.write(
    `POST /notes HTTP/1.1\r\nHost: x\r\nIdempotency-Key: "u${sockets.length}"\r\nContent-Length: 1000\r\n\r\n${'x'.repeat(sent)}`,
  );
}

async function post(path: string, body: string): Promise<number> {
  const headers = { 'content-type': 'application/json', 'idempotency-key': `"${body.length}"` };
  return (await fetch(world.url + path, { method: 'POST', body, headers })).status;
}

const READ = JSON.stringify({ query: '{ notes { id } }' });

describe.each(FRAMEWORKS)('%s', (framework) => {
  test('uploads that send nothing take nothing from others', async () => {
    let asked = 0;
    await open(framework, { maxPendingBytes: 2000, authorize: () => (asked += 1) > 0 });
    for (let n = 0; n < 10; n++) upload(0);
    await until(() => asked === 10);
    expect(await post('/graphql', READ)).toBe(200);
    expect(await post('/notes', '{}')).toBe(202);
  });

  test('uploads that are not allowed take nothing, whatever they send', async () => {
    let asked = 0;
    await open(framework, {
      maxPendingBytes: 2000,
      authorize: ({ headers }) => (asked += 1) > 0 && headers['content-length'] === '2',
    });
    for (let n = 0; n < 10; n++) upload(900);
    await until(() => asked === 10);
    expect(await post('/notes', '{}')).toBe(202);
  });

  test('no read is refused for the bodies of others', async () => {
    await open(framework, { maxPendingBytes: 2000 });
    for (let n = 0; n < 10; n++) upload(900);
    await until(async () => (await post('/notes', 'x'.repeat(500))) === 503);
    expect(await post('/graphql', READ)).toBe(200);
    expect(await post('/graphql', JSON.stringify({ query: 'mutation { a }' }))).toBe(503);
  });

  test('who asks before sending is told that it may only where it may', async () => {
    await open(framework, { authorize: ({ headers }) => headers['x-who'] === undefined || 403 });
    expect(await asking('/notes', 10, ['Idempotency-Key: "a"'])).toEqual([100, 202]);
    expect(await asking('/notes', 10, [])).toEqual([400]);
    expect(await asking('/notes?token=x', 10, ['Idempotency-Key: "b"'])).toEqual([503]);
    expect(await asking('/notes', 10, ['Idempotency-Key: "c"', 'X-Who: nobody'])).toEqual([403]);
    expect(await asking('/notes', 5000, ['Idempotency-Key: "d"'])).toEqual([413]);
    expect(await asking('/graphql', 5000, [])).toEqual([503]);
    expect(await asking('/other', 10, [])).toEqual([503]);
    expect(await asking('/graphql', 27, ['Content-Type: application/json'], '{"query":"{ notes { id } }"}')).toEqual([
      100, 200,
    ]);
    world.sink.document(null);
    expect(await asking('/notes', 10, [])).toEqual([100, 200]);
  });
});

/** The statuses that a client hears that sends its body only when it is told to. */
async function asking(path: string, length: number, headers: string[], body = 'x'.repeat(length)): Promise<number[]> {
  const socket = connect(world.port, '127.0.0.1');
  let heard = '';
  let sent = false;
  socket.on('data', (chunk) => {
    heard += chunk;
    if (!sent && heard.startsWith('HTTP/1.1 100 Continue\r\n\r\n')) {
      sent = true;
      socket.write(body);
    }
  });
  const head = ['Host: x', 'Connection: close', `Content-Length: ${body.length}`, 'Expect: 100-continue', ...headers];
  socket.write(`POST ${path} HTTP/1.1\r\n${head.join('\r\n')}\r\n\r\n`);
  await once(socket, 'close');
  return [...heard.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => Number(status));
}
