// Ten thousand jobs: planned, suspended and brought back, with the memory that it takes.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { must, type Ran, run, type Spread, spread } from './measure.ts';

export interface Crontab {
  lines: number;
  plan: Spread;
  start: Spread;
  end: Spread;
  maxRssMiB: Spread;
}

export const MAX_RSS_MIB = 300;

export async function crontabs(root: string, rounds: number, sizes: readonly number[]): Promise<Crontab[]> {
  const folder = mkdtempSync(join(tmpdir(), 'maint-bench-crontab-'));
  const maint = async (what: string, ...argv: string[]): Promise<Ran> =>
    must(
      await run(process.execPath, [join(root, 'bin/run.js'), ...argv], { cwd: folder, home: folder, usage: true }),
      what,
    );
  const samples = sizes.map((lines) => ({ lines, plan: [] as Ran[], start: [] as Ran[], end: [] as Ran[] }));
  try {
    writeFileSync(
      join(folder, 'runbook.yaml'),
      `version: 1
environment: prod
contact: "#ops"
soak: 1s
steps:
  - { uses: flag/file, with: { path: ./flag.json } }
  - { uses: crons/crontab, with: { file: ./crontab } }
`,
    );
    for (let round = 0; round < rounds; round++) {
      for (const { lines, plan, start, end } of samples) {
        const text = crontabOf(lines);
        const state = ['--state', `state-${lines}-${round}.db`];
        const window = ['--window', '30m', '--runbook', 'runbook.yaml', ...state];
        writeFileSync(join(folder, 'crontab'), text);
        plan.push(await maint('the plan', 'start', '--dry-run', ...window));
        start.push(await maint('the start', 'start', '--yes', ...window));
        const suspended = readFileSync(join(folder, 'crontab'), 'utf8').match(/^#maint:/gm)?.length;
        if (suspended !== lines) throw new Error(`${suspended} of ${lines} lines are suspended`);
        end.push(await maint('the end', 'end', '--soak', '1s', ...state));
        if (readFileSync(join(folder, 'crontab'), 'utf8') !== text) throw new Error('the crontab is not as before');
      }
    }
    return samples.map(({ lines, plan, start, end }) => ({
      lines,
      plan: spread(plan.map(({ ms }) => ms)),
      start: spread(start.map(({ ms }) => ms)),
      // the soak of a second is not ours
      end: spread(end.map(({ ms }) => ms - 1000)),
      maxRssMiB: spread([...plan, ...start, ...end].map(({ usage }) => usage?.maxRssMiB ?? 0)),
    }));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function crontabOf(lines: number): string {
  return Array.from(
    { length: lines },
    (_, n) => `${n % 60} ${n % 24} * * * /usr/local/bin/job-${n}.sh --tenant ${n} >/dev/null 2>&1\n`,
  ).join('');
}
