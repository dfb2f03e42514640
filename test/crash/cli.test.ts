// One verb by turns at every point of the window; `npm run sweep` takes every verb at every point.
import { expect, test } from '@jest/globals';
import { findPoints, sweep, VERBS } from './crash.ts';
import { notices } from './worlds.ts';

test('killed at every append and every write of a whole window: the world is as it was', async () => {
  const points = await findPoints(notices);
  const work = points.map((point, at) => ({ point, verb: VERBS[at % VERBS.length]! }));
  const wrong = await sweep(notices, work, 6, () => undefined);
  process.stderr.write(`crash sweep: ${points.length} points, ${wrong.length} wrong\n`);
  expect(wrong).toEqual([]);
  expect(points.length).toBeGreaterThan(150);
}, 1_500_000);
