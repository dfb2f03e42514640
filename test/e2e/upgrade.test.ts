// A window that an earlier release opened is ended by this one, and one that the earlier release opens now. The fixture
// holds the release as it was packed, its state in SQLite, and the world as it left it while the window was open.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from '@jest/globals';
import { maint } from '../support/cli.ts';

const FIXTURES = fileURLToPath(new URL('../fixtures/upgrade/', import.meta.url));
/** The folder that the recorded state names. */
const RECORDED_AT = '/srv/search';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** The world of the fixture in a folder of its own, and a state that names that folder. */
function world(release: string) {
  const cwd = mkdtempSync(join(tmpdir(), 'maint-upgrade-'));
  folders.push(cwd);
  cpSync(join(FIXTURES, release, 'world'), cwd, { recursive: true });
  cpSync(join(FIXTURES, release, 'state.db'), join(cwd, 'state.db'));
  const state = new DatabaseSync(join(cwd, 'state.db'));
  state.prepare('update events set body = replace(body, ?, ?)').run(RECORDED_AT, cwd);
  state.close();
  const text = (name: string) => readFileSync(join(cwd, name), 'utf8');
  return { cwd, env: { MAINT_STATE: join(cwd, 'state.db') }, text };
}

describe.each(readdirSync(FIXTURES))('release %s', (release) => {
  const before = readFileSync(join(FIXTURES, release, 'before', 'app.cron'), 'utf8');

  test('its open window is shown, and ended', async () => {
    const of = world(release);
    expect(of.text('app.cron')).not.toBe(before);
    const status = await maint(['status'], of);
    expect([status.code, status.stdout]).toEqual([69, expect.stringContaining('prod is READ-ONLY')]);
    const ended = await maint(['end', '--soak', '1s'], of);
    expect([ended.code, ended.output]).toEqual([0, expect.stringContaining('prod was read-only for')]);
    expect(of.text('app.cron')).toBe(before);
    expect(readdirSync(of.cwd)).not.toContain('flag.json');
  }, 60_000);

  test('a window that it opens now is extended and ended by this release', async () => {
    const of = world(release);
    rmSync(of.env.MAINT_STATE);
    rmSync(join(of.cwd, 'flag.json'));
    cpSync(join(FIXTURES, release, 'before', 'app.cron'), join(of.cwd, 'app.cron'));
    execFileSync('tar', ['xzf', join(FIXTURES, release, `maint-${release}.tgz`), '-C', of.cwd]);
    const env = { PATH: process.env['PATH'] ?? '', HOME: of.cwd, ...of.env };
    const old = (...argv: string[]) =>
      execFileSync(process.execPath, [join(of.cwd, 'package', 'bin', 'run.js'), ...argv], {
        cwd: of.cwd,
        env,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
    old('start', '-r', 'runbook.yaml', '--window', '30m', '--yes');
    expect((await maint(['extend', '--by', '15m', '--yes'], of)).code).toBe(0);
    expect((await maint(['end', '--soak', '1s'], of)).code).toBe(0);
    expect(of.text('app.cron')).toBe(before);
    expect(readdirSync(of.cwd)).not.toContain('flag.json');
  }, 60_000);
});
