// How long a command takes that does next to nothing, against a bare Node in the same round. The compile cache is warm.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { interleaved, must, ratios, run, type Spread, spread } from './measure.ts';

export interface StartUp {
  what: string;
  ms: Spread;
  /** to `node -e 0` of the same round */
  ratio: Spread;
  goal?: number | undefined;
}

const OPEN = 69;
const GOALS: Readonly<Record<string, number>> = { '--version': 2, status: 4, 'status, a window is open': 4 };

export async function startUp(root: string, rounds: number): Promise<StartUp[]> {
  const folder = mkdtempSync(join(tmpdir(), 'maint-bench-startup-'));
  try {
    writeFileSync(join(folder, 'crontab'), '0 3 * * * /usr/local/bin/backup.sh\n');
    writeFileSync(
      join(folder, 'runbook.yaml'),
      `version: 1
environment: prod
contact: "#ops"
steps:
  - { uses: flag/file, with: { path: ./flag.json } }
  - { uses: crons/crontab, with: { file: ./crontab } }
`,
    );
    const node = (...argv: string[]) => run(process.execPath, argv, { cwd: folder, home: folder });
    const maint = (...argv: string[]) => node(join(root, 'bin/run.js'), ...argv);
    const open = ['--state', 'open.db'];
    must(await maint('start', '--yes', '--window', '2h', '--runbook', 'runbook.yaml', ...open), 'maint start');
    const bare = 'node -e 0';
    const values = await interleaved(rounds, {
      [bare]: async () => must(await node('-e', '0'), bare).ms,
      '--version': async () => must(await maint('--version'), '--version').ms,
      status: async () => must(await maint('status'), 'status').ms,
      'status, a window is open': async () => must(await maint('status', ...open), 'status', [OPEN]).ms,
      '--help': async () => must(await maint('--help'), '--help').ms,
      'start --help': async () => must(await maint('start', '--help'), 'start --help').ms,
    });
    return Object.entries(values).map(([what, taken]) => ({
      what,
      ms: spread(taken),
      ratio: spread(ratios(taken, values[bare]!)),
      goal: GOALS[what],
    }));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
