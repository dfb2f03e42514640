// A small part of `npm run sweep:intents`: kill -9 under load.
import { expect, test } from '@jest/globals';
import { describeWith } from '../support/servers.ts';
import { sweepIntents } from './intents.ts';

const nothingLost = (kills: object) => ({ problems: [], kills });

test('SQLite: guards and workers are killed; every acknowledged write is applied once, in order', async () => {
  const result = await sweepIntents({ engine: 'sqlite', intents: 600, kills: 4 });
  expect(result).toMatchObject(nothingLost({ guard: 2, worker: 2 }));
  expect(result.acknowledged).toBeGreaterThanOrEqual(600);
}, 120_000);

describeWith('postgres', 'Postgres', () => {
  test('the engine is killed too', async () => {
    const result = await sweepIntents({ engine: 'postgres', intents: 300, kills: 3 });
    expect(result).toMatchObject(nothingLost({ guard: 1, worker: 1, engine: 1 }));
    expect(result.acknowledged).toBeGreaterThanOrEqual(300);
  }, 120_000);
});
