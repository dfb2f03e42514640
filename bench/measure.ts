// How things are measured here: in interleaved rounds, so that what else the machine does hits all of them alike; told
// as the median with the least and the most.
import { type ChildProcess, spawn } from 'node:child_process';

export interface Spread {
  median: number;
  min: number;
  max: number;
  samples: number;
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length / 2;
  const median =
    sorted.length % 2 === 1 ? sorted[Math.floor(half)]! : ((sorted[half - 1] ?? 0) + (sorted[half] ?? 0)) / 2;
  return { median, min: sorted[0] ?? 0, max: sorted.at(-1) ?? 0, samples: sorted.length };
}

/** Each of `cases` once per round; the first round, which warms caches, does not count. */
export async function interleaved<K extends string>(
  rounds: number,
  cases: Readonly<Record<K, () => Promise<number>>>,
): Promise<Record<K, number[]>> {
  const names = Object.keys(cases) as K[];
  const values = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<K, number[]>;
  for (let round = 0; round <= rounds; round++) {
    for (const name of names) {
      const value = await cases[name]();
      if (round > 0) values[name].push(value);
    }
  }
  return values;
}

/** Round by round: what was slow in one round is compared with what ran beside it. */
export function ratios(of: readonly number[], to: readonly number[]): number[] {
  return of.map((value, round) => value / to[round]!);
}

export interface Ran {
  /** by `performance.now()` */
  began: number;
  ended: number;
  ms: number;
  code: number | null;
  output: string;
  /** of the child itself, where it is a Node that was asked to tell */
  usage?: { maxRssMiB: number; cpuMs: number } | undefined;
}

const TELL_USAGE = `process.on('exit', () => {
  const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage();
  process.getBuiltinModule('node:fs').writeSync(3, JSON.stringify({ maxRssMiB: maxRSS / 1024, cpuMs: (userCPUTime + systemCPUTime) / 1000 }));
})`;

/** A child with a bare environment: what npm sets would leak into it. */
export async function run(
  command: string,
  args: readonly string[],
  options: { cwd: string; home: string; usage?: boolean; env?: Readonly<Record<string, string>> },
): Promise<Ran> {
  const told = options.usage ? ['--import', `data:text/javascript,${encodeURIComponent(TELL_USAGE)}`] : [];
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: options.home,
    TMPDIR: options.home,
    LC_ALL: 'C.UTF-8',
    ...options.env,
  };
  const began = performance.now();
  const child = spawn(command, [...told, ...args], {
    cwd: options.cwd,
    env,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  const [output, usage, ended] = await Promise.all([textOf(child, [1, 2]), textOf(child, [3]), exitOf(child)]);
  return {
    began,
    ended: ended.at,
    ms: ended.at - began,
    code: ended.code,
    output,
    usage: usage === '' ? undefined : JSON.parse(usage),
  };
}

async function exitOf(child: ChildProcess): Promise<{ code: number | null; at: number }> {
  return await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve({ code, at: performance.now() }));
  });
}

async function textOf(child: ChildProcess, streams: readonly number[]): Promise<string> {
  let text = '';
  await Promise.all(
    streams.map(async (at) => {
      for await (const chunk of child.stdio[at] as NodeJS.ReadableStream) text += String(chunk);
    }),
  );
  return text;
}

export function must(ran: Ran, what: string, codes: readonly number[] = [0]): Ran {
  if (ran.code === null || !codes.includes(ran.code))
    throw new Error(`${what} ended with ${ran.code}:\n${ran.output.slice(-3000)}`);
  return ran;
}

export function ms(spread: Spread): string {
  return `${number(spread.median)} ms (${number(spread.min)}–${number(spread.max)})`;
}
export function times(spread: Spread): string {
  return `${spread.median.toFixed(1)}x (${spread.min.toFixed(1)}–${spread.max.toFixed(1)})`;
}
function number(value: number): string {
  return value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString('en-US');
}

/** Columns as wide as what is in them. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length);
  return rows.map((row) => `  ${row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join('  ')}`.trimEnd());
}
