// `npm run sweep:guard`: hostile requests against four guarded frameworks. --count N (each; 25,000), --seed N
import { parseArgs } from 'node:util';
import { fire, HELD, openTargets, sweep } from './guard-requests.ts';

const { values } = parseArgs({ options: { count: { type: 'string' }, seed: { type: 'string' } } });
const count = Number(values.count ?? 25_000);
const first = Number(values.seed ?? 1);
const CHUNK = 1_000;
let sent = 0;

let crashed = 0;
process.on('uncaughtException', (error) => {
  crashed += 1;
  console.error('uncaught:', error);
});
process.on('unhandledRejection', (error) => {
  crashed += 1;
  console.error('unhandled:', error);
});

const targets = await openTargets();
for (const each of targets) each.sink.document(HELD);
const statuses = new Map<string, Record<string, number>>();
let failed = false;
for (let done = 0, seed = first; done < count && !failed; done += CHUNK, seed += 1) {
  for (const result of await Promise.all(targets.map((each) => sweep(each, seed, Math.min(CHUNK, count - done))))) {
    if (result.target === targets[0]?.name) sent += result.sent;
    const sum = statuses.get(result.target) ?? {};
    for (const [status, times] of Object.entries(result.statuses)) sum[status] = (sum[status] ?? 0) + times;
    statuses.set(result.target, sum);
    if (result.effects.length > 0 || result.internalErrors > 0) {
      failed = true;
      console.error(`${result.target}, seed ${seed}: ${result.internalErrors} faults of the guard, let through:`);
      for (const effect of result.effects) console.error(`  ${effect}`);
    }
  }
  console.error(`${Math.min(done + CHUNK, count)} of ${count} to each`);
}
for (const { name, port, guard } of targets) {
  const alive = await fire(port, ['GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n']);
  if (alive !== 200) failed = true;
  const told = Object.entries(statuses.get(name) ?? {}).map(([status, times]) => `${status}: ${times}`);
  console.log(
    `${name}: ${sent} requests, ${guard.counts().refused.total} refused, alive: ${alive}; ${told.join(', ')}`,
  );
}
await Promise.all(targets.map((each) => each.close()));
console.log(failed || crashed > 0 ? `FAILED (${crashed} crashes)` : 'no write got through');
process.exit(failed || crashed > 0 ? 1 : 0);
