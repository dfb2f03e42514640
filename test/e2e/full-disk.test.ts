// A log on a full disk: what cannot be shown is dropped, and production opens all the same. /dev/full is a disk without
// room; a limit on the size of files is one with room for a part.
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { BIN } from '../support/cli.ts';

let folder: string;
const at = (name: string) => join(folder, name);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'maint-full-'));
  writeFileSync(at('app.cron'), '*/5 * * * * /opt/reindex.sh\n');
  writeFileSync(
    at('rb.yaml'),
    `version: 1
environment: prod
contact: "#ops"
steps:
  - { uses: flag/file, with: { path: ro.json } }
  - { uses: crons/crontab, with: { file: app.cron } }
`,
  );
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}
/** `full`: which streams go to a full disk. `limit`: no file may grow beyond so many bytes; stdout goes to a file. */
async function maint(
  words: readonly string[],
  { full = [], limit }: { full?: readonly ('stdout' | 'stderr')[]; limit?: number } = {},
): Promise<Ran> {
  const disk = openSync('/dev/full', 'w');
  const file = openSync(at('stdout.log'), 'w');
  const to = (name: 'stdout' | 'stderr') => (full.includes(name) ? disk : 'pipe');
  const run = [process.execPath, BIN, ...words];
  // in blocks of 512 bytes
  const argv = limit === undefined ? run : ['sh', '-c', `ulimit -f ${limit / 512}; exec "$@"`, 'sh', ...run];
  const child = spawn(argv[0]!, argv.slice(1), {
    cwd: folder,
    env: { PATH: process.env['PATH'], HOME: folder, MAINT_STATE: at('s.db'), MAINT_RUNBOOK: at('rb.yaml') },
    stdio: ['ignore', limit === undefined ? to('stdout') : file, to('stderr')],
  });
  closeSync(disk);
  closeSync(file);
  const ran: Ran = { code: null, stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk) => {
    ran.stdout += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    ran.stderr += chunk;
  });
  ran.code = await new Promise((resolve) => child.on('close', resolve));
  return ran;
}

test('start and end with both streams on a full disk do their work and say so by their exit code', async () => {
  const start = ['start', '--window', '30m', '--yes', '--reason', 'x'];
  expect((await maint(start, { full: ['stdout', 'stderr'] })).code).toBe(0);
  expect(readFileSync(at('ro.json'), 'utf8')).toContain('"prod"');
  expect((await maint(['status'], { full: ['stdout', 'stderr'] })).code).toBe(69);
  expect((await maint(['end', '--soak', '1s'], { full: ['stdout', 'stderr'] })).code).toBe(0);
  expect(() => statSync(at('ro.json'))).toThrow('ENOENT');
  expect(readFileSync(at('app.cron'), 'utf8')).toBe('*/5 * * * * /opt/reindex.sh\n');
  expect((await maint(['status'])).stdout).toMatch(/^(No window is open|prod has no open window)\./);
});

test('what one stream loses is told by one line on the other', async () => {
  const start = ['start', '--window', '30m', '--yes', '--reason', 'x'];
  const lostProgress = await maint(start, { full: ['stderr'] });
  expect(lostProgress.code).toBe(0);
  expect(lostProgress.stdout.match(/stderr cannot be written \(the disk is full\)/g)).toHaveLength(1);
  const lostResult = await maint(['abort', '--yes'], { full: ['stdout'] });
  expect(lostResult.code).toBe(0);
  expect(lostResult.stderr.match(/stdout cannot be written \(the disk is full\)/g)).toHaveLength(1);
});

describe('a text that was asked for and not written whole is not a success', () => {
  const asked = [
    ['start --json', ['start', '--window', '30m', '--dry-run', '--json']],
    ['runbook check --json', ['runbook', 'check', '--json']],
    ['runbook schema', ['runbook', 'schema']],
    ['completion', ['completion', 'bash']],
    ['--help', ['start', '--help']],
    ['--version', ['--version']],
  ] as const;
  test.each(asked)('%s on a full disk', async (_name, words) => {
    const { code, stderr } = await maint(words, { full: ['stdout'] });
    expect({ code, stack: /^\s+at /m.test(stderr) }).toEqual({ code: 74, stack: false });
  });
  test.each(asked.filter(([name]) => name.startsWith('runbook schema') || name === 'completion'))(
    '%s on a disk with room for a part of it',
    async (_name, words) => {
      const { code, stderr } = await maint(words, { limit: 512 });
      expect(statSync(at('stdout.log')).size).toBe(512);
      expect({ code, stderr }).toEqual({
        code: 74,
        stderr:
          'stdout cannot be written (the file may not grow any more). What it did not take is dropped; the work goes on.\n',
      });
    },
  );
  test('a window that is open stays 69', async () => {
    await maint(['start', '--window', '30m', '--yes', '--reason', 'x']);
    expect((await maint(['status', '--json'], { full: ['stdout'] })).code).toBe(69);
  });
});
