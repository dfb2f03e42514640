// Ten rounds of each race on each store; `npm run sweep:races` runs two hundred.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { describeWith, type Postgres, startPostgres } from '../support/servers.ts';
import { RACES, type Race, Track } from './races.ts';

const ROUNDS = 12;

function races(track: () => Track): void {
  test.each(Object.keys(RACES) as Race[])(
    '%s: exactly one wins, and the other wrote nothing',
    async (race) => {
      const { wrong, wins } = await track().run(race, ROUNDS);
      expect(wrong).toEqual([]);
      expect(wins.first + wins.second).toBeGreaterThanOrEqual(ROUNDS / 2);
    },
    60_000,
  );
}

describeWith([], 'on SQLite', () => {
  let track: Track;
  beforeAll(async () => {
    track = await Track.open();
  }, 30_000);
  afterAll(() => track.close());
  races(() => track);
});

describeWith('postgres', 'on Postgres', () => {
  let server: Postgres;
  let track: Track;
  beforeAll(async () => {
    server = await startPostgres();
    track = await Track.open(server.url);
  }, 60_000);
  afterAll(async () => {
    await track.close();
    await server.stop();
  });
  races(() => track);
});
