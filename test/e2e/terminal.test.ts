// What a new user meets first: help in every form, terminals of every kind, and what was mistyped.
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { BIN, maint } from '../support/cli.ts';
import { onTerminal } from '../support/terminal.ts';

let cwd: string;
const RUNBOOK = `version: 1
environment: prod
contact: "#ops"
steps:
  - { uses: flag/file, with: { path: ../flag.json } }
`;
const START = ['start', '--window', '10m'];
// biome-ignore lint/suspicious/noControlCharactersInRegex: an escape sequence begins with one
const COLOUR = /\x1b\[\d+m/;

beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'maint-terminal-'));
  mkdirSync(join(cwd, 'runbooks'));
  writeFileSync(join(cwd, 'runbooks', 'prod.yaml'), RUNBOOK);
});
afterAll(() => rmSync(cwd, { recursive: true, force: true }));

describe('help', () => {
  test.each([
    [['-h'], '$ maint [COMMAND]'],
    [['start', '-h'], '$ maint start '],
    [['start', '--window', '30m', '-h'], '$ maint start '],
    [['-h', 'start'], '$ maint start '],
    [['runbook', 'check', '-h'], '$ maint runbook check '],
    [['queue', '-h'], '$ maint queue COMMAND'],
    [['-h', 'queue'], '$ maint queue COMMAND'],
    [['help', 'queue', 'list'], '$ maint queue list '],
    [['runbook', '-h'], '$ maint runbook COMMAND'],
    [['window', '--help'], '$ maint window COMMAND'],
  ])('maint %j', async (words, usage) => {
    const { code, stdout, stderr } = await maint(words, { cwd });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(usage);
  });

  test('behind -- it is a text', async () => {
    const { code, stderr } = await maint(['note', '--', '-h'], { cwd });
    expect({ code, stderr }).toMatchObject({ code: 66, stderr: expect.stringContaining('E_NO_WINDOW') });
  });
});

describe('a terminal', () => {
  test('of 0 columns is as wide as most', async () => {
    const { code, output } = await onTerminal([...START, '--dry-run'], { cwd, columns: 0 });
    expect(code).toBe(0);
    expect(output).toMatch(/^ {2}flag {8}flag\/file flag\.json {3}\S+ our holder, until /m);
  });

  test('of 4 columns does not get a line for each word', async () => {
    const { output } = await onTerminal([...START, '--dry-run'], { cwd, columns: 4 });
    expect(output).toMatch(/^\S+ \S+ \S+/m);
  });

  test.each([[{ CI: 'true' }], [{ CI: '1', GITHUB_ACTIONS: 'true' }]])(
    'of a CI system (%j) is never asked',
    async (env) => {
      const { code, output } = await onTerminal(START, { cwd, env });
      expect(code).toBe(64);
      expect(output).toContain('E_YES  Nobody can be asked here');
      expect(output).not.toContain('to go on');
    },
  );

  test('that is a person is asked', async () => {
    const { code, output } = await onTerminal(START, { cwd, env: { CI: 'false' }, answer: 'no' });
    expect({ code, output }).toMatchObject({ code: 66, output: expect.stringContaining('"no" is not prod') });
    expect(output).toMatch(COLOUR);
  });

  test.each([[{ FORCE_COLOR: '0' }], [{ NO_COLOR: '1' }], [{ TERM: 'dumb' }], [{ FORCE_COLOR: 'false' }]])(
    'with %j has no colours, and is asked all the same',
    async (env) => {
      const { code, output } = await onTerminal(START, { cwd, env, answer: 'no' });
      expect(code).toBe(66);
      expect(output).not.toMatch(COLOUR);
    },
  );
});

describe('mistyped', () => {
  test.each([
    [['strat'], 'maint has no command "strat".', 'Next: maint start · maint --help'],
    [['backfill'], 'maint has no command "backfill".', 'Next: maint queue backfill · maint --help'],
    [['check'], 'maint has no command "check".', 'Next: maint runbook check · maint scope check · maint --help'],
    [['queue', 'lst'], 'maint has no command "queue lst".', 'Next: maint queue list · maint queue --help'],
    [['--yes', 'start'], 'The command stands first, and "--yes" is not a command.', 'Next: maint --help'],
    [['start', '--dry'], 'maint start has no --dry (did you mean --dry-run?).', 'Next: maint start --help'],
    [['steps', 'redis'], 'No plugin is called "redis".', 'maint steps flag/redis'],
    [[...START, '--skip', 'fil'], '--skip names "fil", and no step has that id.', 'Next: --skip flag'],
  ])('%j', async (words, says, next) => {
    const { code, stderr } = await maint(words, { cwd });
    expect(code).toBe(64);
    expect(stderr).toContain(says);
    expect(stderr).toContain(next);
  });
});

describe('a Node that is too old', () => {
  const OLD = `data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'20.1.0'}})`;
  const run = (bin: string): Promise<{ code: number; stderr: string }> =>
    new Promise((resolve) => {
      execFile(
        process.execPath,
        ['--import', OLD, bin, ...START, '--reason', "it's x"],
        { cwd },
        (error, _out, stderr) => resolve({ code: Number(error?.code ?? 0), stderr }),
      );
    });

  test('is told where the right one comes from, and no package to fetch', async () => {
    const { code, stderr } = await run(BIN);
    expect(code).toBe(64);
    expect(stderr).toContain('maint needs Node 24 or later');
    expect(stderr).toContain(
      'Next: install Node 24 or later (https://nodejs.org/en/download), then the same command again',
    );
    expect(stderr).not.toMatch(/npx|npm/);
  });

  test('a checkout has one: the same command with it', async () => {
    const bin = fileURLToPath(new URL('../../bin/run.js', import.meta.url));
    const { stderr } = await run(bin);
    expect(stderr).toMatch(
      /Next: \S+\/node_modules\/\.bin\/node \S+\/bin\/run\.js start --window 10m --reason 'it'\\''s x'\n$/,
    );
  });
});
