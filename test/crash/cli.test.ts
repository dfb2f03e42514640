// One verb by turns at every point of the window; `npm run sweep` takes every verb at every point.
import { expect, test } from '@jest/globals';
import { findPoints, sweep, VERBS } from './crash.ts';
import { files, notices } from './worlds.ts';

for (const [name, make, width] of [
  ['files of this machine', files, 3],
  ['a status page and a chat', notices, 6],
] as const) {
  test(`killed at every append and every write, with ${name}: the world is as it was`, async () => {
    const points = await findPoints(make);
    const work = points.map((point, at) => ({ point, verb: VERBS[at % VERBS.length]! }));
    const wrong = await sweep(make, work, width, () => undefined);
    process.stderr.write(`crash sweep (${name}): ${points.length} points, ${wrong.length} wrong\n`);
    expect(wrong).toEqual([]);
    expect(points.length).toBeGreaterThan(40);
  }, 900_000);
}
