// A backend and its test, whole: docs/writing-a-step.md shows this file, and a test holds the two together.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from '@jest/globals';
import { z } from 'zod';
import { createClients } from '../../src/clients/index.ts';
import { defineResource, Stale, whileHeld } from '../../src/engine/contract.ts';
import { secret, url } from '../../src/engine/secret.ts';
import { drive } from '../support/drive.ts';

const Params = z.strictObject({ url: url('where the service has its switch'), token: secret(z.string()) });
type Params = z.infer<typeof Params>;
const State = z.strictObject({ paused: z.boolean(), version: z.number() });
type State = z.infer<typeof State>;

const headers = ({ token }: Params) => ({ authorization: `Bearer ${token}` });

const pauseSwitch = defineResource<Params, State>({
  name: 'work/pause-switch',
  role: 'work',
  summary: 'pauses the background work of a service',
  Params,
  State,
  computed: ['version'],
  example: { url: 'http://indexer:8080', token: '${INDEXER_TOKEN}' },
  address: (params) => `switch of ${new URL(params.url).host}`,
  compare: 'server',
  async observe(io, params) {
    const { json } = await io.http.get({ url: `${params.url}/switch`, headers: headers(params) });
    return new Map([['switch', { state: json }]]);
  },
  desired: whileHeld(({ now }) => now && { ...now, paused: true }),
  async write(io, params, [change]) {
    const { from, to } = change!;
    const { status, json } = await io.http.send('PUT', {
      url: `${params.url}/switch`,
      headers: { ...headers(params), 'if-match': String(from!.version) },
      json: { paused: to!.paused },
      expect: [200, 412],
    });
    if (status === 412) throw new Stale();
    return [State.parse(json)];
  },
});

test('pauses while it is held, and leaves the switch as it was', async () => {
  let state = { paused: false, version: 1 };
  const server = createServer((request, response) => {
    if (request.method === 'PUT') {
      if (request.headers['if-match'] !== String(state.version)) return response.writeHead(412).end();
      state = { paused: !state.paused, version: state.version + 1 };
    }
    return response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(state));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const clients = createClients();
  try {
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const window = drive(clients, pauseSwitch, { url: address, token: 'a-token' });
    expect(await window.converge('open')).toBe(1);
    expect(await window.converge('open')).toBe(0);
    expect(state.paused).toBe(true);
    expect(await window.converge('soaking')).toBe(0);
    expect(await window.converge('closed')).toBe(1);
    expect(state.paused).toBe(false);
    expect(window.journal.join()).not.toContain('a-token');
  } finally {
    await clients.close();
    server.close();
  }
});
