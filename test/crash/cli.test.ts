// One verb by turns at every point of the window on SQLite; and some of everything else, by turns of the day. `npm run
// sweep` takes every way at every point, on both stores.
import { afterEach, expect, test } from '@jest/globals';
import { allCases, findPoints, openStage, type Stage, sweep } from './crash.ts';
import { WORLDS } from './worlds.ts';

const stages: Stage[] = [];
afterEach(async () => {
  for (const stage of stages.splice(0)) await stage.stop();
});

test('killed at every append and every write of a whole window: the world is as it was', async () => {
  for (let n = 0; n < 6; n++) stages.push(await openStage('sqlite', WORLDS.notices));
  const points = await findPoints(stages[0]!);
  const work = allCases(points, ['resume', 'end', 'abort']).filter((_, at) => at % 3 === Math.floor(at / 3) % 3);
  const { wrong } = await sweep(stages, work);
  process.stderr.write(`crash sweep: ${points.length} points, ${wrong.length} wrong\n`);
  expect(wrong).toEqual([]);
  expect(points.length).toBeGreaterThan(150);
  expect(work.length).toBe(points.length);
}, 1_500_000);
