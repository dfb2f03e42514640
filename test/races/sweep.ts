// npm run sweep:races: two hundred rounds of each race, on SQLite and on Postgres where it is installed.
import { parseArgs } from 'node:util';
import '../support/outside-jest.ts';
import { RACES, type Race, Track } from './races.ts';

const { missing, startPostgres } = await import('../support/servers.ts');

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '200' }, race: { type: 'string' } } });
const chosen = (values.race === undefined ? Object.keys(RACES) : [values.race]) as Race[];
let wrong = 0;
let rounds = 0;

async function sweep(store: string, state?: string): Promise<void> {
  const track = await Track.open(state);
  for (const race of chosen) {
    const began = performance.now();
    const result = await track.run(race, Number(values.rounds));
    for (const line of result.wrong) console.log(line);
    wrong += result.wrong.length;
    rounds += result.rounds;
    const [first, second] = RACES[race];
    const { wins } = result;
    console.log(
      `${store}  ${race}: ${result.rounds} rounds, ${result.wrong.length} wrong; alone ${first} ${wins.first}, ${second} ${wins.second}, one after the other ${wins.both}; ${((performance.now() - began) / 1000).toFixed(1)} s`,
    );
  }
  await track.close();
}

await sweep('sqlite');
const why = missing('postgres');
if (why) console.log(`postgres  skipped: ${why}`);
else {
  const server = await startPostgres();
  await sweep('postgres', server.url);
  await server.stop();
}
console.log(`${rounds} rounds, ${wrong} wrong`);
process.exitCode = wrong > 0 ? 1 : 0;
