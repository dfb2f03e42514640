// A part of `npm run sweep:guard`: no hostile request gets a write through, and the guard and the service live on.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { fire, HELD, openTargets, sweep, type Target } from './guard-requests.ts';

const COUNT = 500;

let targets: Target[];

beforeEach(async () => {
  targets = await openTargets();
});
afterEach(() => Promise.all(targets.map((each) => each.close())));

test(`${COUNT} hostile requests to each of four frameworks: no write gets through`, async () => {
  for (const each of targets) each.sink.document(HELD);
  const seed = 1 + (Date.now() % 1_000_000);
  const results = await Promise.all(targets.map((each) => sweep(each, seed, COUNT, 8)));
  for (const { target, effects, internalErrors, statuses } of results) {
    expect({ target, seed, effects, internalErrors }).toEqual({ target, seed, effects: [], internalErrors: 0 });
    // Reads go on, and not everything was refused as no HTTP.
    expect(statuses['200']).toBeGreaterThan(20);
    expect(statuses['503']).toBeGreaterThan(50);
  }
  for (const { port } of targets) {
    expect(await fire(port, ['GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n'])).toBe(200);
  }
}, 60_000);

test('the same without a window: each application tells of writes of each kind, so that it would have told', async () => {
  for (const each of targets) each.sink.document(null);
  const results = await Promise.all(targets.map((each) => sweep(each, 7, 300, 8)));
  for (const { target, effects } of results) {
    const kinds = new Set(effects.map((effect) => effect.split(' ')[0]));
    expect([target, [...kinds].sort()]).toEqual([target, expect.arrayContaining(['graphql', 'job', 'unsafe'])]);
  }
  expect(results[0]?.effects.some((effect) => effect.startsWith('upgrade'))).toBe(true);
}, 60_000);
