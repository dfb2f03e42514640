// `npm run sweep:guard`: hostile requests against four guarded frameworks (--count N each; 25,000), then each router's own
// reading of a target, with the same application unguarded as the judge (a tenth of N each). --seed N, --only paths
import { parseArgs } from 'node:util';
import { sweepPaths } from './guard-paths.ts';
import { fire, HELD, openTargets, sweep } from './guard-requests.ts';
import { ROUTERS } from './guard-routers.ts';

const { values } = parseArgs({
  options: { count: { type: 'string' }, seed: { type: 'string' }, only: { type: 'string' } },
});
const count = Number(values.count ?? 25_000);
const first = Number(values.seed ?? 1);
const CHUNK = 1_000;

let crashed = 0;
process.on('uncaughtException', (error) => {
  crashed += 1;
  console.error('uncaught:', error);
});
process.on('unhandledRejection', (error) => {
  crashed += 1;
  console.error('unhandled:', error);
});

let failed = false;
if (values.only !== 'paths') failed = await sweepRequests();
if (!failed) failed = await sweepRouters();
console.log(failed || crashed > 0 ? `FAILED (${crashed} crashes)` : 'no write got through');
process.exit(failed || crashed > 0 ? 1 : 0);

/** @returns whether something got through */
async function sweepRequests(): Promise<boolean> {
  const targets = await openTargets();
  for (const each of targets) each.sink.document(HELD);
  const statuses = new Map<string, Record<string, number>>();
  let failed = false;
  let sent = 0;
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
  return failed;
}

/** @returns whether something got through, an open guard made a difference, or a read was lost */
async function sweepRouters(): Promise<boolean> {
  let failed = false;
  const each = Math.ceil(count / 10);
  for (const router of Object.keys(ROUTERS)) {
    const sum = { sent: 0, wrote: 0, through: 0, differing: 0, honest: 0, lost: 0 };
    for (let done = 0, seed = first; done < each; done += CHUNK, seed += 1) {
      const size = Math.min(CHUNK, each - done);
      const result = await sweepPaths(router, seed, size, Math.ceil(size / 2));
      sum.sent += result.sent;
      sum.wrote += result.wrote;
      sum.honest += result.honest;
      for (const kind of ['through', 'differing', 'lost'] as const) {
        sum[kind] += result[kind].length;
        for (const request of result[kind]) console.error(`${router}, seed ${seed}, ${kind}: ${request}`);
      }
    }
    const { sent, wrote, through, differing, honest, lost } = sum;
    console.log(
      `${router}: ${sent} requests, of which ${wrote} write without a guard; got through: ${through}, differ behind an open guard: ${differing}, lost of ${honest} honest reads: ${lost}`,
    );
    if (through + differing + lost > 0) failed = true;
  }
  return failed;
}
