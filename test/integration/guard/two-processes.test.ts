// Two processes with one queue, of which one has seen the flag and the other has not: who sends a write after the answer
// to the one before is kept behind it, whichever process it meets.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { createGuard, type FlagSink, type Surface } from '../../../packages/guard/src/index.ts';
import { openQueue } from '../../../packages/intents/src/index.ts';
import { holders } from '../../support/guarded.ts';

const surfaces: Surface[] = [
  {
    name: 'notes',
    match: { methods: ['POST'], path: '/tenants/:tenant/notes' },
    disposition: 'buffer',
    order: { param: 'tenant' },
    tenant: { param: 'tenant' },
  },
  { name: 'events', match: { methods: ['POST'], path: '/events' }, disposition: 'buffer' },
];

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function service(path: string) {
  const queue = await openQueue({ path });
  closing.push(() => queue.close());
  let sink: FlagSink | undefined;
  // long after its start: a guard that has just begun asks the queue in any case
  let now = Date.now();
  const source = { start: (given: FlagSink) => void (sink = given), close() {} };
  const guard = createGuard({ source, surfaces, queue, authorize: 'elsewhere', log: () => {}, clock: () => now });
  closing.push(() => guard.close());
  sink!.document(null);
  now += 3_600_000;
  const applied: string[] = [];
  const server = createServer(
    guard.http((request, response) => {
      applied.push(String(request.headers['idempotency-key']));
      request.resume();
      response.end();
    }),
  ).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  async function write(path: string, key: string): Promise<number> {
    const headers = { 'idempotency-key': `"${key}"` };
    return (await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', body: key, headers })).status;
  }
  return { queue, applied, write, hold: () => sink!.document(holders(now + 600_000)) };
}

async function two() {
  const folder = mkdtempSync(join(tmpdir(), 'maint-two-'));
  closing.push(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'queue.db');
  return [await service(file), await service(file)] as const;
}

test('writes of one partition keep their order from the first write of a window', async () => {
  const [seeing, late] = await two();
  seeing.hold();
  for (const n of [1, 3, 5]) {
    expect(await seeing.write('/tenants/a/notes', `k-${n}`)).toBe(202);
    expect(await late.write('/tenants/a/notes', `k-${n + 1}`)).toBe(202);
  }
  const kept: (string | null)[] = [];
  for await (const { key } of seeing.queue.export()) kept.push(key);
  expect(kept).toEqual(['k-1', 'k-2', 'k-3', 'k-4', 'k-5', 'k-6']);
  expect(late.applied).toEqual([]);
  // other partitions pass where the flag was not seen
  expect(await late.write('/tenants/b/notes', 'k-7')).toBe(200);
});
