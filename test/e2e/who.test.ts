// Who opened a window, who acts and who noted something, where everybody is root.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { maint } from '../support/cli.ts';

let cwd: string;

beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'maint-who-'));
  mkdirSync(join(cwd, 'runbooks'));
  writeFileSync(
    join(cwd, 'runbooks', 'prod.yaml'),
    'version: 1\nenvironment: prod\ncontact: "#ops"\nsoak: 1s\nsteps:\n  - { uses: flag/file, with: { path: ../flag.json } }\n',
  );
});
afterAll(() => rmSync(cwd, { recursive: true, force: true }));

test('is journalled, shown and reported by name', async () => {
  const host = hostname();
  const started = await maint(['start', '--window', '10m', '--yes', '--by', 'ana'], { cwd });
  expect(started).toMatchObject({ code: 0 });
  expect((await maint(['status'], { cwd })).stdout).toContain(`ana@${host}`);
  await maint(['note', 'half way'], { cwd, env: { SUDO_USER: 'ben' } });
  expect((await maint(['status'], { cwd })).stdout).toMatch(
    new RegExp(`^ {2}last note \\d\\d:\\d\\d:\\d\\dZ by ben@${host}: "half way"$`, 'm'),
  );
  await maint(['extend', '--by', '5m'], { cwd, env: { MAINT_BY: 'cleo' } });
  await maint(['end', '--yes'], { cwd, env: { CI: 'true', GITHUB_ACTOR: 'dan' } });
  const { stdout } = await maint(['report', '--format', 'json'], { cwd });
  for (const name of ['ana', 'ben', 'cleo', 'dan']) expect(stdout).toContain(`${name}@${host}`);
});

test('extend has --by for a time, and says where the name goes', async () => {
  const { code, stderr } = await maint(['extend', '--by', 'ana'], { cwd });
  expect(code).toBe(64);
  expect(stderr).toContain('MAINT_BY');
});
