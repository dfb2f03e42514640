// `npm run bench`: what maint costs, as ratios to what stands beside it in the same run. One page; --json for the numbers.
//
//   --only checklist,startup,crontab,store,guard,queue,flips   --rounds N   --json
import { cpus, loadavg, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Appends, appends } from './appends.ts';
import { type Checklist, checklist } from './checklist.ts';
import { type Crontab, crontabs, MAX_RSS_MIB } from './crontab.ts';
import { type Flips, flips } from './flips.ts';
import { GOAL_DECISION_NS, type GuardCosts, guardCosts } from './guard.ts';
import { ms, type Spread, table, times } from './measure.ts';
import { type QueueCosts, queueCosts } from './queue.ts';
import { type StartUp, startUp } from './startup.ts';

const GOAL_RATIO_SLOW = 1.25;
const GOAL_RATIO_QUICK = 1.75;
const GOAL_CALLS_START = 30;
const GOAL_CALLS_END = 35;
const GOAL_OWN = 10;
const SIZES = [1000, 5000, 10_000];

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({
  options: { only: { type: 'string' }, rounds: { type: 'string' }, json: { type: 'boolean' } },
});
const only = values.only?.split(',');
const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0)) throw new Error('--rounds takes a whole number');

const before = loadavg();
const began = new Date();
const tools = await part('checklist', () => checklist(root, rounds ?? 5));
const starts = await part('startup', () => startUp(root, rounds ?? 15));
const sizes = await part('crontab', () => crontabs(root, rounds ?? 3, SIZES));
const stores = await part('store', () => appends((rounds ?? 5) * 20));
const guards = await part('guard', () => guardCosts(Math.max(10, rounds ?? 12)));
const queues = await part('queue', () => queueCosts(rounds ?? 5));
const flipped = await part('flips', () => flips(rounds ?? 5));
const machine = {
  at: began.toISOString(),
  node: process.version,
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  system: `${process.platform} ${release().split('-')[0]} ${process.arch}`,
  load: { before: before.map(rounded), after: loadavg().map(rounded) },
};

if (values.json) {
  const parts = { checklist: tools, startUp: starts, crontab: sizes, store: stores };
  const all = { machine, ...parts, guard: guards, queue: queues, flips: flipped };
  console.log(JSON.stringify(all, null, 2));
} else {
  const { load } = machine;
  const lines = [
    `maint bench · ${machine.at.slice(0, 16)}Z · ${machine.system} · ${machine.cores} cores · ${machine.memoryGiB} GiB · node ${machine.node}`,
    `load average ${load.before.join(' ')} before, ${load.after.join(' ')} after; median (least–most) of interleaved rounds`,
    ...(Math.max(load.before[0]!, load.after[0]!) > machine.cores
      ? ['! more work than cores: times are those of a busy machine, ratios are what to look at']
      : []),
    ...(tools ? checklistLines(tools) : []),
    ...(starts ? startLines(starts) : []),
    ...(sizes ? crontabLines(sizes) : []),
    ...(stores ? storeLines(stores) : []),
    ...(guards ? guardLines(guards) : []),
    ...(queues ? queueLines(queues) : []),
    ...(flipped ? flipLines(flipped) : []),
  ];
  console.log(lines.join('\n'));
}

async function part<T>(name: string, work: () => Promise<T>): Promise<T | undefined> {
  if (only && !only.includes(name)) return undefined;
  if (process.stderr.isTTY) process.stderr.write(`${name} …\n`);
  return await work();
}

function checklistLines({ missing, ways, overheads }: Checklist): string[] {
  const title =
    'Checklist: flag, page, chat, silence, crontab, cache, canary, PostgreSQL; beside a careful shell script';
  if (missing.length > 0)
    return ['', title, `  left out: ${missing.join(', ')} not installed (node tools/install-servers.ts)`];
  const rows = ways.map(({ way, delayMs, maint, script, ratio, calls, scriptCalls, own, ownRatio }) => [
    `${way}, ${delayMs} ms a call`,
    ms(maint),
    ms(script),
    times(ratio),
    verdict(ratio, delayMs === 0 ? GOAL_RATIO_QUICK : GOAL_RATIO_SLOW, 'x'),
    `${calls.median} calls`,
    verdict(calls, way === 'start' ? GOAL_CALLS_START : GOAL_CALLS_END, ''),
    `${scriptCalls.median} calls`,
    ms(own),
    times(ownRatio),
    verdict(ownRatio, GOAL_OWN, 'x'),
  ]);
  const refused = overheads.map(({ list, delayMs, refused }) => [`${list}, ${delayMs} ms a call`, ms(refused)]);
  return [
    '',
    `${title}; without the second of watching or soaking`,
    ...table([['', 'maint', 'script', 'ratio', '', 'maint', '', 'script', 'own time', 'to node -e 0', ''], ...rows]),
    '  writes refused though nobody worked in between (the second of watching is a part of it)',
    ...table(refused).map((line) => `  ${line}`),
  ];
}

function startLines(starts: readonly StartUp[]): string[] {
  const rows = starts.map(({ what, ms: taken, ratio, goal }) => [
    what,
    ms(taken),
    times(ratio),
    goal === undefined ? '' : verdict(ratio, goal, 'x'),
  ]);
  return ['', 'Start-up, the compile cache warm', ...table(rows)];
}

function crontabLines(sizes: readonly Crontab[]): string[] {
  const smallest = sizes[0]!;
  const rows = sizes.map(({ lines, plan, start, end, maxRssMiB }) => [
    lines.toLocaleString('en-US'),
    ms(plan),
    ms(start),
    ms(end),
    `${(start.median / lines).toFixed(2)} ms`,
    `${Math.round(maxRssMiB.max)} MiB ${maxRssMiB.max <= MAX_RSS_MIB ? '✔' : `✘ goal ≤ ${MAX_RSS_MIB}`}`,
  ]);
  const largest = sizes.at(-1)!;
  const growth = largest.start.median / smallest.start.median;
  return [
    '',
    'Crontab lines',
    ...table([['', 'plan', 'start', 'end', 'start per line', 'most memory'], ...rows]),
    `  ${largest.lines / smallest.lines} times the lines: ${growth.toFixed(1)} times the start`,
  ];
}

function storeLines(stores: readonly Appends[]): string[] {
  const rows = stores.map(({ events, bytes, append, raw, ratio }) => [
    `${events} ${events === 1 ? 'event' : 'events'}, ${bytes} bytes`,
    ms(append),
    ms(raw),
    times(ratio),
  ]);
  return ['', 'Durable append', ...table([['', 'journal', 'write + fsync', ''], ...rows])];
}

function guardLines({ pairs, decisions }: GuardCosts): string[] {
  const rows = pairs.map(({ what, bare, guarded, ratio, lower, cpuRatio, cpuLower, goal }) => [
    what,
    perSecond(bare),
    perSecond(guarded),
    share(ratio),
    `≥ ${lower.toFixed(3)}x`,
    `${share(cpuRatio)} ≥ ${cpuLower.toFixed(3)}x`,
    goal === null ? 'the most there is' : `${lower >= goal ? '✔' : '✘'} goal ≥ ${goal}x`,
  ]);
  const nanoseconds = decisions.map(({ what, ns }) => [
    what,
    `${Math.round(ns.median)} ns (${Math.round(ns.min)}–${Math.round(ns.max)})`,
    what.startsWith('off') ? `${ns.median <= GOAL_DECISION_NS ? '✔' : '✘'} goal ≤ ${GOAL_DECISION_NS} ns` : '',
  ]);
  return [
    '',
    `Guard: requests per second beside the same app without it, ${pairs[0]?.ratio.samples} pairs; ≥ is the lower bound of the median, 95 %`,
    ...table([['', 'without', 'with', 'ratio', '', 'by processor time', ''], ...rows]),
    '',
    'Guard: one decision and its counting, without a server',
    ...table(nanoseconds),
  ];
}

function queueLines({ enqueue, backfill, missing }: QueueCosts): string[] {
  const rows = enqueue.map(({ engine, concurrency, accepted, raw, ratio }) => [
    `${engine}, ${concurrency} at once`,
    perSecond(accepted),
    perSecond(raw),
    share(ratio),
  ]);
  return [
    '',
    'Queue: accepted per second, beside single commits of 1 KiB in the same engine',
    ...table([['', 'accepted', 'raw commits', 'ratio'], ...rows]),
    ...backfill.map(
      ({ engine, allowed, reached, ratio }) =>
        `  ${engine}, backfill: ${perSecond(reached)} of ${allowed}/s allowed, ${share(ratio)}`,
    ),
    ...missing.map(({ engine, why }) => `  ${engine}: left out, ${why}`),
  ];
}

function flipLines({ flips: all, missing }: Flips): string[] {
  const rows = all.map(({ source, publish, half, all: last, ratio }) => [
    source,
    ms(publish),
    ms(half),
    ms(last),
    times(ratio),
  ]);
  return [
    '',
    `Flip: from the begin of publishing until ${all[0]?.processes} processes refuse`,
    ...table([['', 'publish', 'half of them', 'the last', 'last to publish'], ...rows]),
    ...missing.map(({ source, why }) => `  ${source}: left out, ${why}`),
  ];
}

function perSecond({ median }: Spread): string {
  return `${Math.round(median).toLocaleString('en-US')}/s`;
}
function share({ median, min, max }: Spread): string {
  return `${median.toFixed(3)}x (${min.toFixed(2)}–${max.toFixed(2)})`;
}

function verdict({ median }: Spread, goal: number, unit: string): string {
  const shown = unit === 'x' ? `${goal}x` : `${goal} ${unit}`.trimEnd();
  return median <= goal ? `✔ goal ≤ ${shown}` : `✘ goal ≤ ${shown}`;
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}
