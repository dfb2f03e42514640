// Writes whose clients have left, in a real service behind the real guard.
import { once } from 'node:events';
import { createServer, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createGuard, type FlagSink } from '../../../packages/guard/src/index.ts';
import { drainInflight } from '../../../src/steps/drain/inflight.ts';
import { holderOf } from '../../../src/steps/flag/flag.ts';
import { type TestClients, testClients } from '../../support/clients.ts';
import { runOneCheck, windowOf } from '../../support/one-check.ts';
import { until } from '../../support/until.ts';

const A = windowOf();

let tools: TestClients;
const cleanup: (() => Promise<unknown>)[] = [];
beforeEach(() => {
  tools = testClients();
});
afterEach(async () => {
  await tools[Symbol.asyncDispose]();
  for (const end of cleanup.splice(0)) await end();
});

/** A write is admitted, its client leaves, and then the window opens. */
async function abandoned(abandonedMs: number) {
  let sink!: FlagSink;
  const source = { start: (given: FlagSink) => void (sink = given), close() {} };
  const guard = createGuard({ source, abandonedMs, log: () => {} });
  sink.document(null);
  const responses: ServerResponse[] = [];
  const server = createServer(guard.http((_request, response) => void responses.push(response)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  cleanup.push(async () => {
    server.closeAllConnections();
    server.close();
    await guard.close();
  });
  const sent = request({ host: '127.0.0.1', port, path: '/items', method: 'POST' });
  sent.on('error', () => {});
  sent.end();
  await until(() => responses.length === 1);
  sent.destroy();
  await until(() => guard.counts().abandoned === 1);
  sink.document(JSON.stringify({ version: 1, holders: { [A.id]: holderOf(A) } }));
  return { url: `http://127.0.0.1:${port}`, finish: () => responses[0]?.end() };
}

function drain(url: string, progress: (text: string) => void = () => {}, ms = 5_000) {
  const params = { guards: [url], samples: 2 };
  return runOneCheck(tools.clients, drainInflight, { params, moment: 'open', window: A, progress, ms });
}

test('a write whose client has left is waited for, and named while it is', async () => {
  const { url, finish } = await abandoned(3_600_000);
  const told: string[] = [];
  const result = await drain(url, (text) => {
    told.push(text);
    finish();
  });
  expect(told[0]).toMatch(/^1 write still under way \(1 of clients that left/);
  expect(result).toMatchObject({ outcome: 'pass', findings: [] });
  expect(result.summary).toMatch(/^none in flight, after .* \(at most 1 at one guard\)$/);
});

test('one that is not seen to end: the drain fails while it may go on, and says afterwards what it does not know', async () => {
  const going = await abandoned(3_600_000);
  const failed = await drain(going.url, undefined, 400);
  expect(failed.outcome).toBe('fail');
  expect(failed.findings[0]).toMatch(/1 write admitted before is still under way \(1 of clients that left/);

  const { url } = await abandoned(50);
  const passed = await drain(url);
  expect(passed.outcome).toBe('pass');
  expect(passed.findings).toEqual([`${new URL(url).host}: 1 write of clients that left was not seen to end`]);
  expect(passed.evidence).toMatchObject({ guards: { [new URL(url).host]: { left: 0, unseen: 1 } } });
});
