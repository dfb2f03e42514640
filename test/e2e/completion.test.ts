// The scripts of `maint completion` in the shells that they are for.
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { maint } from '../support/cli.ts';
import { CompletionShape } from '../support/json-shapes.ts';
import { describeWith } from '../support/servers.ts';
import { fishOffers, zshCompletes } from '../support/shells.ts';

const run = promisify(execFile);
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'maint-completion-'));
  // a folder that is called like a command
  for (const name of ['runbooks', 'other', 'status']) mkdirSync(join(folder, name));
  for (const name of ['other/secret.yaml', 'a b.yaml']) writeFileSync(join(folder, name), '');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function script(shell: string): Promise<string> {
  const { code, stdout } = await maint(['completion', shell], { cwd: folder });
  expect(code).toBe(0);
  const path = join(folder, `maint.${shell}`);
  writeFileSync(path, stdout);
  return path;
}

test.each(['bash', 'zsh', 'fish'])('%s: the same as JSON', async (shell) => {
  const { stdout } = await maint(['completion', shell, '--json'], { cwd: folder });
  const value = CompletionShape.parse(JSON.parse(stdout));
  expect(value).toMatchObject({ ok: true, shell, script: expect.stringContaining('rehearse') });
});

/** What fits what is being typed, the last word. */
const OFFERS: [string, string[]][] = [
  ['maint sta', ['start', 'status']],
  ['maint runbook ', ['check', 'schema', 'show']],
  ['maint rehearse --form', ['--format']],
  ['maint rehearse --format j', ['json', 'junit']],
  ['maint steps flag/f', ['flag/file']],
  ['maint runbook check other/s', ['other/secret.yaml']],
  ['maint queue status --queue a', ['a b.yaml']],
  ['maint start --yes --wi', ['--window']],
  ['maint queue status --fo', []],
  ['maint completion ', ['bash', 'fish', 'zsh']],
];

test('a real bash offers commands, flags, values and files', async () => {
  const path = await script('bash');
  const ask = `set -eu; source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _maint; printf '%s\\n' "\${COMPREPLY[@]}"`;
  for (const [line, expected] of OFFERS) {
    const { stdout } = await run('bash', ['-c', ask, 'bash', path, ...line.split(' ')], { cwd: folder });
    expect([line, stdout.trim().split('\n').filter(Boolean).sort()]).toEqual([line, expected]);
  }
});

describeWith('fish', 'a real fish', () => {
  test('offers commands, flags, values and files', async () => {
    const path = await script('fish');
    for (const [line, expected] of OFFERS)
      expect([line, (await fishOffers(path, line, folder)).sort()]).toEqual([line, expected]);
  });
});

describeWith('zsh', 'a real zsh', () => {
  test('completes commands, flags, values and files', async () => {
    const expected = {
      'maint runbook che': 'maint runbook check',
      'maint stat': 'maint status',
      'maint sta': 'maint sta',
      'maint queue sta': 'maint queue status',
      'maint rehearse --form': 'maint rehearse --format',
      'maint rehearse --format js': 'maint rehearse --format json',
      'maint steps flag/f': 'maint steps flag/file',
      'maint runbook check other/s': 'maint runbook check other/secret.yaml',
      'maint queue status --queue a': 'maint queue status --queue a\\ b.yaml',
      'maint start --runbook runb': 'maint start --runbook runbooks/',
      'maint start --yes --wi': 'maint start --yes --window',
    };
    expect(await zshCompletes(await script('zsh'), Object.keys(expected), folder)).toEqual(Object.values(expected));
  });
});
