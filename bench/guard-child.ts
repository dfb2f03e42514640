// One app, with the guard or without: in a process of its own, as a service is, for what the compiler has learnt of one
// is not true of the other. Or what refuses by rote. Spoken to over IPC: 'on' and 'off' set the flag, 'cpu' asks for the microseconds of this process.
import { createServer, type RequestListener } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { fastify } from 'fastify';
import { createGuard, type FlagSink, type Guard } from '../packages/guard/src/index.ts';
import { SURFACES } from './guard-surfaces.ts';

const express = createRequire(import.meta.url)('express');

let sink: FlagSink | undefined;
const guard = createGuard({
  source: { start: (own) => void (sink = own), close() {} },
  surfaces: SURFACES,
  log: () => {},
});
sink?.document(null);

interface Item {
  name: string;
}

async function fastifyPort(guarded: Guard | null): Promise<number> {
  const app = fastify();
  if (guarded) await app.register(guarded.fastify);
  app.get('/items/:id', async (request) => ({ id: (request.params as { id: string }).id, name: 'an item' }));
  app.post('/items', async (request) => ({ id: 7, name: (request.body as Item).name }));
  await app.listen({ port: 0, host: '127.0.0.1' });
  return (app.server.address() as AddressInfo).port;
}

async function expressPort(guarded: Guard | null): Promise<number> {
  const app = express();
  if (guarded) app.use(guarded.express());
  app.use(express.json());
  app.get('/items/:id', (request: { params: { id: string } }, response: { json(value: unknown): void }) =>
    response.json({ id: request.params.id, name: 'an item' }),
  );
  app.post('/items', (request: { body: Item }, response: { json(value: unknown): void }) =>
    response.json({ id: 7, name: request.body.name }),
  );
  const server = createServer(app as RequestListener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

process.on('message', (message) => {
  if (message === 'cpu') {
    const { user, system } = process.cpuUsage();
    process.send?.({ cpu: user + system });
    return;
  }
  hold(message === 'on');
  process.send?.({ readOnly: guard.readOnly() });
});
process.on('disconnect', () => process.exit());

/** The most that any refusal could reach: node:http, with an answer that was made before the request came. */
async function ceilingPort(): Promise<number> {
  const { status, headers, body } = guard.admit({ method: 'POST', url: '/items', headers: {} }).answer!;
  const flat = Object.entries(headers).flat();
  const server = createServer((_request, response) => response.writeHead(status, flat).end(body));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

function hold(on: boolean): void {
  const until = new Date(Date.now() + 3_600_000).toISOString();
  sink?.document(on ? JSON.stringify({ version: 1, holders: { 'w-bench': { until } } }) : null);
}

const [framework, side] = process.argv.slice(2);
hold(true);
const ceiling = side === 'ceiling' ? await ceilingPort() : undefined;
hold(false);
const open = framework === 'fastify' ? fastifyPort : expressPort;
process.send?.({ port: ceiling ?? (await open(side === 'guarded' ? guard : null)) });
