// `npm run bench`: what maint costs, as ratios to what stands beside it in the same run. One page; --json for the numbers.
//
//   --only checklist,startup,crontab,store   --rounds N   --json
import { cpus, loadavg, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Appends, appends } from './appends.ts';
import { checklist, DELAY_MS, FOR_MS, type Tool } from './checklist.ts';
import { type Crontab, crontabs, MAX_RSS_MIB } from './crontab.ts';
import { ms, type Spread, table, times } from './measure.ts';
import { type StartUp, startUp } from './startup.ts';

const GOAL_OVERHEAD_MS = 400;
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
const machine = {
  at: began.toISOString(),
  node: process.version,
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  system: `${process.platform} ${release().split('-')[0]} ${process.arch}`,
  load: { before: before.map(rounded), after: loadavg().map(rounded) },
};

if (values.json) {
  const all = { machine, checklist: tools, startUp: starts, crontab: sizes, store: stores };
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
  ];
  console.log(lines.join('\n'));
}

async function part<T>(name: string, work: () => Promise<T>): Promise<T | undefined> {
  if (only && !only.includes(name)) return undefined;
  if (process.stderr.isTTY) process.stderr.write(`${name} …\n`);
  return await work();
}

function checklistLines(tools: readonly Tool[]): string[] {
  const rows = tools.map((tool) => {
    const { name, missing, wall, calls, criticalPath, overhead } = tool;
    if (missing !== undefined || !wall || !calls || !criticalPath || !overhead) return [name, `left out: ${missing}`];
    const goal = tool === tools[0] ? verdict(overhead, GOAL_OVERHEAD_MS, 'ms') : '';
    return [name, ms(wall), `${calls.median} calls`, ms(criticalPath), ms(overhead), goal];
  });
  return [
    '',
    `Checklist: flag, two notices, crontab, cache, canary, ${FOR_MS / 1000} s of no writes; ${DELAY_MS} ms in each call`,
    ...table([['', 'wall', '', 'calls, side by side once', 'wall − calls − watch', ''], ...rows]),
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

function verdict({ median }: Spread, goal: number, unit: string): string {
  const shown = unit === 'x' ? `${goal}x` : `${goal} ${unit}`;
  return median <= goal ? `✔ goal ≤ ${shown}` : `✘ goal ≤ ${shown}`;
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}
