// `npm run sweep:intents`: kill -9 under load, on both engines. Defaults: 100,000 writes over 50 kills.
// --engine sqlite|postgres  --intents N  --kills N (of each engine)
import { parseArgs } from 'node:util';
import '../support/outside-jest.ts';

const { missing } = await import('../support/servers.ts');
const { sweepIntents } = await import('./intents.ts');

const { values } = parseArgs({
  options: {
    engine: { type: 'string' },
    intents: { type: 'string', default: '50000' },
    kills: { type: 'string', default: '25' },
  },
});
const engines = values.engine === undefined ? (['sqlite', 'postgres'] as const) : [values.engine as 'sqlite'];
let failed = false;
for (const engine of engines) {
  const why = engine === 'sqlite' ? undefined : missing('postgres');
  if (why !== undefined) {
    // what was not run did not pass
    console.error(`postgres was not run: ${why}`);
    failed = true;
    continue;
  }
  const result = await sweepIntents({
    engine,
    intents: Number(values.intents),
    kills: Number(values.kills),
    tell: (line) => console.error(line),
  });
  console.log(JSON.stringify(result));
  if (result.problems.length > 0) failed = true;
}
process.exitCode = failed ? 1 : 0;
