import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import { openJournal } from '../../../src/store/index.ts';
import { locate, refuseNetwork } from '../../../src/store/locate.ts';

test('--state goes before MAINT_STATE, that before the XDG state folder, that before ~/.local/state', () => {
  const env = { MAINT_STATE: '/b.db', XDG_STATE_HOME: '/xdg', HOME: '/home/ana' };
  expect(locate({ state: '/a.db', env })).toBe('/a.db');
  expect(locate({ env })).toBe('/b.db');
  expect(locate({ env: { ...env, MAINT_STATE: '' } })).toBe('/xdg/maint/state.db');
  expect(locate({ env: { HOME: '/home/ana' } })).toBe('/home/ana/.local/state/maint/state.db');
  expect(locate({ env: { HOME: '/home/ana', XDG_STATE_HOME: 'relative' } })).toBe(
    '/home/ana/.local/state/maint/state.db',
  );
});

test.each([
  ['a.db', resolve('a.db')],
  ['/tmp/x y/ü.db', '/tmp/x y/ü.db'],
  ['/tmp/100%.db', '/tmp/100%.db'],
  [':memory:', resolve(':memory:')],
  ['sqlite:a.db', resolve('a.db')],
  ['sqlite:/tmp/a.db', '/tmp/a.db'],
  ['sqlite:///tmp/a.db', '/tmp/a.db'],
  ['SQLITE:///tmp/a%20b.db', '/tmp/a b.db'],
  ['file:///tmp/a.db', '/tmp/a.db'],
  ['file://localhost/tmp/a.db', '/tmp/a.db'],
  ['file:a.db', resolve('a.db')],
])('%s is %s', (state, path) => {
  expect(locate({ state, env: {} })).toBe(path);
});

test.each([
  ['mysql://ana:hunter2@db.internal/maint', /--state names a mysql: address/],
  ['redis://localhost', /redis:/],
  ['http://x/y.db', /http:/],
  ['file://nas/share/a.db', /another host: nas/],
  ['sqlite:/tmp/a.db?mode=memory', /no options/],
  ['sqlite:', /empty/],
  ['', /empty/],
  ['file:/a%zz', /badly encoded/],
  ['a\0b', /NUL/],
])('%j is refused, and what is allowed is said', (state, words) => {
  expect.assertions(4);
  try {
    locate({ state, env: {} });
  } catch (error) {
    expect(error).toMatchObject({ code: 'E_STATE', exit: 64, details: [expect.stringContaining('allowed: a path')] });
    expect(error).toMatchObject({ next: [{ advice: expect.stringContaining('--state') }] });
    expect((error as Error).message).toMatch(words);
    expect(JSON.stringify(error) + String(error)).not.toContain('hunter2');
  }
});

test('MAINT_STATE is named where it is at fault', () => {
  expect(() => locate({ env: { MAINT_STATE: 'mysql://x' } })).toThrow('MAINT_STATE names a mysql: address');
});

const MOUNTS = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:31 / /home rw - nfs4 nas:/home rw
31 30 254:1 / /home/ana/.local rw - xfs /dev/vdb rw
32 22 0:40 / /mnt/my\\040share rw - fuse.sshfs ana@nas:/ rw
33 22 0:41 / /win rw - cifs //nas/x rw
34 22 0:42 / /over rw - nfs nas:/x rw
35 34 0:43 / /over rw - tmpfs tmpfs rw
`;
test.each([
  ['/home/ben/.local/state/maint/state.db', 'nfs4'],
  ['/home/ana/.local/state/maint/state.db', undefined],
  ['/homework/state.db', undefined],
  ['/mnt/my share/state.db', 'fuse.sshfs'],
  ['/win/state.db', 'cifs'],
  ['/over/state.db', undefined],
])('a state at %s: network file system %s', (path, type) => {
  if (type) expect(() => refuseNetwork(path, MOUNTS)).toThrow(`is on a network file system (${type})`);
  else refuseNetwork(path, MOUNTS);
});

test('a link onto a network file system is seen through', () => {
  const folder = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), 'maint-locate-')));
  try {
    fs.mkdirSync(join(folder, 'nas'));
    fs.symlinkSync(join(folder, 'nas'), join(folder, 'link'));
    const mounts = `${MOUNTS}36 22 0:44 / ${folder}/nas rw - nfs nas:/y rw\n`;
    expect(() => refuseNetwork(join(folder, 'link', 'new', 'state.db'), mounts)).toThrow('(nfs)');
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

test('this machine’s own mounts can be read', async () => {
  const journal = await openJournal({
    state: join(tmpdir(), 'maint-never', 'state.db'),
    env: {},
    write: false,
    version: '0.1.0',
  });
  expect(await journal.windows()).toEqual([]);
  expect(journal.address).toMatch(/^sqlite \//);
  expect(journal.shared).toBe(false);
});
