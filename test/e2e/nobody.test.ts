// Run by a uid without a name, a home or an environment, and from a folder that is gone: it works, or says plainly what
// is missing.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { BIN } from '../support/cli.ts';

let folder: string;
const at = (name: string) => join(folder, name);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'maint-nobody-'));
  chmodSync(folder, 0o777);
  // as libuv does where the uid has no entry
  writeFileSync(
    at('nobody.mjs'),
    `const os = process.getBuiltinModule('node:os');
const none = (call) => () => { throw Object.assign(new Error('A system error occurred: ' + call + ' returned ENOENT'), { code: 'ERR_SYSTEM_ERROR' }); };
os.userInfo = none('uv_os_get_passwd');
if (!process.env.HOME) os.homedir = none('uv_os_homedir');
process.getBuiltinModule('node:module').syncBuiltinESMExports();
`,
  );
  writeFileSync(
    at('rb.yaml'),
    'version: 1\nenvironment: prod\ncontact: "#ops"\nsteps:\n  - { uses: flag/file, with: { path: ro.json } }\n',
  );
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const isRoot = process.getuid?.() === 0;
/** Where we are root, a real one. */
function maint(words: string[], env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', at('nobody.mjs'), BIN, ...words], {
    cwd: folder,
    env: { PATH: process.env['PATH'], ...env },
    encoding: 'utf8',
    ...(isRoot ? { uid: 12345, gid: 12345 } : {}),
  });
  return { exit: status, out: stdout, err: stderr };
}

describe('a uid without a name', () => {
  test('a whole window', () => {
    if (isRoot) for (const part of [BIN, join(BIN, '..'), join(BIN, '..', '..')]) chmodSync(part, 0o755);
    const env = { MAINT_STATE: at('s.db'), MAINT_RUNBOOK: at('rb.yaml') };
    expect(maint(['status'], env)).toMatchObject({ exit: 0, err: '' });
    expect(maint(['start', '--window', '30m', '--yes', '--reason', 'x'], env)).toMatchObject({ exit: 0 });
    expect(maint(['status'], env).out).toMatch(/^prod is READ-ONLY .* by unknown@/);
    expect(maint(['end', '--soak', '1s'], env)).toMatchObject({ exit: 0 });
    expect(maint(['--help'], env)).toMatchObject({ exit: 0, err: '' });
  });

  test.each([
    ['no place for the state', {}, 'E_STATE  nobody said where windows are kept, and this user has no home folder'],
    [
      'a shared state without a user',
      { MAINT_STATE: 'postgres://127.0.0.1:1/app', HOME: '/' },
      'names no user, and this uid has no name that could stand in',
    ],
  ])('%s is a plain usage error', (_name, env, says) => {
    if (isRoot) for (const part of [BIN, join(BIN, '..'), join(BIN, '..', '..')]) chmodSync(part, 0o755);
    const { exit, err } = maint(['status'], env as Record<string, string>);
    expect({ exit, err }).toEqual({ exit: 64, err: expect.stringContaining(says) });
    expect(err).toMatch(/Next: name another place: --state PATH|allowed: postgres:\/\/USER@HOST/);
  });
});

test.each([[['status']], [['start', '--window', '30m', '--yes']], [['abort', '--json']]])(
  'from a folder that is gone, maint %j says so',
  (words) => {
    mkdirSync(at('gone'));
    const script = 'cd "$1"; rmdir "$1"; shift; exec "$@"';
    const { status, stdout, stderr } = spawnSync(
      'sh',
      ['-c', script, 'sh', at('gone'), process.execPath, BIN, ...words],
      {
        env: { PATH: process.env['PATH'], MAINT_STATE: at('s.db'), MAINT_RUNBOOK: at('rb.yaml') },
        encoding: 'utf8',
      },
    );
    expect(status).toBe(64);
    expect(stdout + stderr).toContain('The folder that this was typed in is gone. Nothing changed.');
    expect(stdout + stderr).not.toMatch(/E_BUG|^\s+at /m);
  },
);
