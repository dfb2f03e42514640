import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { NewerStore } from '../../src/engine/journal.ts';
import { openJournal } from '../../src/store/index.ts';
import { openSqlite } from '../../src/store/sqlite.ts';
import { owner, taken } from '../support/store-fixture.ts';
import { storeSuite } from './store.ts';

const VERSION = '0.1.0';

/** Tried beforehand, so that a machine which forbids it says skipped, and not passed. */
function triesToMount(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  const folder = fs.mkdtempSync(join(tmpdir(), 'maint-mount-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', folder]).status === 0;
  if (mounted) spawnSync('umount', [folder]);
  fs.rmdirSync(folder);
  return mounted;
}
const mayMount = triesToMount();

storeSuite('SQLite', async () => {
  const folder = fs.mkdtempSync(join(tmpdir(), 'maint-store-'));
  const state = join(folder, 'state.db');
  let ms = Date.now();
  const reopen = () => openSqlite(state, { version: VERSION, clock: () => ms });
  const journal = await reopen();
  return {
    journal,
    reopen,
    state,
    advance(by) {
      ms += by;
    },
    async cleanup() {
      await journal.end();
      fs.rmSync(folder, { recursive: true });
    },
  };
});

describe('the file', () => {
  let folder: string;
  let state: string;
  beforeEach(() => {
    folder = fs.mkdtempSync(join(tmpdir(), 'maint-store-'));
    state = join(folder, 'sub', 'state.db');
  });
  afterEach(() => fs.rmSync(folder, { recursive: true }));
  const open = (write: boolean) => openJournal({ state, env: {}, write, version: VERSION });
  const failure = (write: boolean): Promise<{ message?: string }> =>
    open(write)
      .then((journal) => journal.windows())
      .then(
        () => ({}),
        (error) => error,
      );

  /**
   * Names, modes, times and bytes of everything in the folder (not ctime: SQLite, run by root, sets a journal's owner anew).
   * Seen by another process: closing a file here would drop the locks that this process holds on it.
   */
  const listing = (): unknown => {
    const code = `
      const fs = require('node:fs');
      const seen = fs.readdirSync('.', { recursive: true }).sort().map((name) => {
        const stat = fs.statSync(name, { bigint: true });
        const bytes = stat.isFile() && require('node:crypto').createHash('sha256').update(fs.readFileSync(name)).digest('hex');
        return [name, bytes, ...[stat.mode, stat.ino, stat.mtimeNs].map(String)];
      });
      process.stdout.write(JSON.stringify(seen))`;
    return JSON.parse(spawnSync(process.execPath, ['-e', code], { cwd: folder, encoding: 'utf8' }).stdout);
  };

  async function lookAround(): Promise<number> {
    const look = await open(false);
    const count = (await look.windows()).length;
    await look.read('w-1');
    await look.lease('prod');
    await look.now();
    await look.end();
    return count;
  }

  test('is 0600 in a folder of 0700, whatever the umask', async () => {
    const before = process.umask(0);
    const journal = await open(true).finally(() => process.umask(before));
    await journal.open(await taken(journal), 'w-1', []);
    const mode = (name: string) => fs.statSync(join(folder, name)).mode & 0o777;
    expect(['sub', 'sub/state.db', 'sub/state.db-journal'].map(mode)).toEqual([0o700, 0o600, 0o600]);
    await journal.end();
    fs.chmodSync(state, 0o644);
    await (await open(true)).end();
    expect(mode('sub/state.db')).toBe(0o600);
  });

  test('looking makes no file: none there, an empty one, one at rest, one being written', async () => {
    expect(await lookAround()).toBe(0);
    expect(fs.readdirSync(folder)).toEqual([]);

    fs.mkdirSync(join(folder, 'sub'));
    fs.writeFileSync(state, '');
    const empty = listing();
    expect(await lookAround()).toBe(0);
    expect(listing()).toEqual(empty);

    const writer = await open(true);
    const lease = await taken(writer);
    await writer.open(lease, 'w-1', [{ type: 'overdue' }]);
    const active = listing();
    expect(await lookAround()).toBe(1);
    expect(listing()).toEqual(active);
    await writer.append(lease, 'w-1', [{ type: 'overdue' }]);

    // another connection in the middle of a transaction
    const inside = new DatabaseSync(state);
    inside.exec("PRAGMA journal_mode = PERSIST; begin immediate; insert into windows values ('w-9', 'x', '', 1)");
    const middle = listing();
    expect(await lookAround()).toBe(1);
    expect(listing()).toEqual(middle);
    inside.exec('rollback');
    inside.close();

    await writer.end();
    const rest = listing();
    expect(await lookAround()).toBe(1);
    expect(listing()).toEqual(rest);
  });

  test('looking sees a window that begins later, and refuses to write', async () => {
    const look = await open(false);
    expect(await look.windows()).toEqual([]);
    const writer = await open(true);
    const lease = await taken(writer);
    await writer.open(lease, 'w-1', [{ type: 'overdue' }]);
    expect(await look.windows()).toEqual(await writer.windows());
    expect(await look.read('w-1')).toEqual(await writer.read('w-1'));
    expect(await look.lease('prod')).toEqual(lease);
    expect(look.address).toBe(writer.address);
    await expect(look.take('prod', owner('eva'), lease.token)).rejects.toThrow('looking only');
    await expect(look.append(lease, 'w-1', [])).rejects.toThrow('looking only');
    await expect(look.open(lease, 'w-2', [])).rejects.toThrow('looking only');
    await expect(look.close(lease, 'w-1', [])).rejects.toThrow('looking only');
    await expect(look.renew(lease)).rejects.toThrow('looking only');
    await expect(look.release(lease)).rejects.toThrow('looking only');
    await writer.end();
  });

  test('killed in the middle of a commit: looking sees what was before and changes nothing; the next writer cleans up', async () => {
    const writer = await open(true);
    const lease = await taken(writer);
    await writer.open(lease, 'w-1', [{ type: 'overdue' }]);
    const before = await writer.read('w-1');
    await writer.end();
    // a cache of one page: half of the transaction is in the file when the process dies
    const code = `
      const db = new (require('node:sqlite').DatabaseSync)(process.argv[1]);
      db.exec("PRAGMA journal_mode = PERSIST; PRAGMA cache_size = 1; begin immediate; update windows set live = 0; update leases set token = 9; update events set body = ''");
      for (let n = 2; n < 300; n++) db.prepare('insert into events values (?, ?, ?, ?, ?)').run('w-1', n, '', 1, 'x'.repeat(3000));
      process.kill(process.pid, 'SIGKILL')`;
    expect(spawnSync(process.execPath, ['-e', code, state]).signal).toBe('SIGKILL');
    const hot = new DatabaseSync(state, { readOnly: true });
    expect(() => hot.prepare('select * from windows').all()).toThrow('readonly');
    hot.close();

    const temporary = () => fs.readdirSync(tmpdir()).filter((name) => name.startsWith('maint-look-'));
    const leftovers = temporary();
    const crashed = listing();
    const look = await open(false);
    expect(await look.windows({ live: true })).toHaveLength(1);
    expect(await look.read('w-1')).toEqual(before);
    expect(await look.lease('prod')).toEqual(lease);
    expect(listing()).toEqual(crashed);
    expect(temporary()).toEqual(leftovers);

    const again = await open(true);
    expect(await again.read('w-1')).toEqual(before);
    await again.append(lease, 'w-1', [{ type: 'overdue' }]);
    await again.end();
    expect(await look.read('w-1', 1)).toHaveLength(1);
  });

  test('of a newer release: refused where its changes break what older ones do, that release named', async () => {
    await (await open(true)).end();
    const db = new DatabaseSync(state);
    const later = (breaks: string) =>
      db.exec(`insert into migrations values ('0099-${breaks}', '9.1.0-${breaks}', '', '${breaks}')`);
    later('nothing');
    expect(await failure(true)).toEqual({});
    later('writing');
    expect(await failure(true)).toMatchObject({ name: 'NewerStore', version: '9.1.0-writing' });
    expect(await failure(false)).toEqual({});
    later('reading');
    later('unheard of');
    for (const write of [true, false]) {
      const error = await failure(write);
      expect(error).toBeInstanceOf(NewerStore);
      expect(error).toMatchObject({ version: write ? '9.1.0-writing' : '9.1.0-unheard of' });
    }
    db.close();
  });

  test('of the first release, without marks, is read as it is and brought up to date by who writes', async () => {
    await (await open(true)).end();
    const db = new DatabaseSync(state);
    db.exec("alter table migrations drop column breaks; delete from migrations where name > '0001-windows'");
    const before = listing();
    expect(await lookAround()).toBe(0);
    expect(listing()).toEqual(before);
    await (await open(true)).end();
    expect(db.prepare('select name, breaks from migrations order by name').all()).toEqual([
      { name: '0001-windows', breaks: 'reading' },
      { name: '0002-breaks', breaks: 'nothing' },
    ]);
    db.close();
  });

  test('may be made by 10 first runs at once', async () => {
    const journals = await Promise.all(Array.from({ length: 10 }, () => open(true)));
    expect(await Promise.all(journals.map((journal) => journal.windows()))).toEqual(journals.map(() => []));
    for (const journal of journals) await journal.end();
  });

  test.each([
    ['text', (path: string) => fs.writeFileSync(path, 'no database at all '.repeat(100)), /no SQLite database/],
    ['a folder', (path: string) => fs.mkdirSync(path), /a folder/],
    ['cut short', (path: string) => cut(path), /damaged|no SQLite database/],
    [
      "another program's, in WAL mode",
      (path: string) => {
        const db = new DatabaseSync(path);
        db.exec('PRAGMA journal_mode = wal; create table users (id)');
        db.close();
      },
      /another program/,
    ],
    [
      "another program's",
      (path: string) => {
        const db = new DatabaseSync(path);
        db.exec('create table users (id)');
        db.close();
      },
      /another program/,
    ],
  ])('that is %s: told in words, with the path and what to type', async (_, make, words) => {
    fs.mkdirSync(join(folder, 'sub'));
    make(state);
    const before = listing();
    for (const write of [false, true]) {
      const error = await failure(write);
      expect(error).toMatchObject({
        code: 'E_STATE',
        exit: 64,
        next: [{ advice: expect.stringContaining('--state') }],
      });
      expect(error.message).toMatch(words);
      expect(error.message).toContain(state);
    }
    expect(listing()).toEqual(before);
  });

  test('below a file, behind a broken link: told in words', async () => {
    fs.writeFileSync(join(folder, 'sub'), '');
    expect(await failure(true)).toMatchObject({ code: 'E_STATE', message: expect.stringContaining(state) });
    fs.rmSync(join(folder, 'sub'));
    fs.mkdirSync(join(folder, 'sub'));
    fs.symlinkSync(state, state);
    expect(await failure(true)).toMatchObject({ code: 'E_STATE', message: expect.stringContaining(state) });
  });

  const root = process.getuid?.() === 0;
  // root may read and write everything: a user who may not does the opening
  (root ? test : test.skip)(
    'that this user may not read, or only read: told in words (skipped unless run by root)',
    async () => {
      const writer = await open(true);
      await writer.open(await taken(writer), 'w-1', []);
      await writer.end();
      fs.chmodSync(folder, 0o755);
      fs.chmodSync(join(folder, 'sub'), 0o755);
      // by its code, not as a process: another user may not be let into this checkout
      const opening = async (write: boolean): Promise<{ message?: string }> => {
        process.seteuid!(65534);
        return failure(write).finally(() => process.seteuid!(0));
      };
      for (const write of [true, false]) {
        expect(await opening(write)).toMatchObject({
          code: 'E_STATE',
          exit: 64,
          message: expect.stringContaining(state),
        });
      }
      fs.chmodSync(state, 0o644);
      fs.chmodSync(`${state}-journal`, 0o644);
      expect(await opening(false)).toEqual({});
      expect(await opening(true)).toMatchObject({ code: 'E_STATE', message: expect.stringContaining('not allowed') });
    },
  );

  (mayMount ? test : test.skip)(
    'on a disk that becomes full: told in words, nothing of the commit is there (skipped where no tmpfs may be mounted)',
    async () => {
      fs.mkdirSync(join(folder, 'sub'));
      const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', join(folder, 'sub')], {
        encoding: 'utf8',
      });
      expect(mount).toMatchObject({ status: 0 });
      try {
        const journal = await open(true);
        const lease = await taken(journal);
        await journal.open(lease, 'w-1', [{ type: 'overdue' }]);
        const big = { type: 'note' as const, text: 'x'.repeat(1_000_000), by: 'ana' };
        await expect(journal.append(lease, 'w-1', [{ type: 'overdue' }, big])).rejects.toMatchObject({
          code: 'E_STATE',
          message: `the state file ${state} is on a full disk`,
          next: [{ advice: expect.stringContaining('make room') }],
        });
        expect(await journal.read('w-1')).toHaveLength(1);
        expect(await journal.append(lease, 'w-1', [{ type: 'overdue' }])).toMatchObject([{ seq: 2 }]);
        await journal.end();
      } finally {
        spawnSync('umount', [join(folder, 'sub')]);
      }
    },
  );

  test('that another process keeps locked: exit 75, after the wait', async () => {
    const writer = await open(true);
    const other = new DatabaseSync(state);
    other.exec('begin exclusive');
    await expect(writer.take('prod', owner('ana'))).rejects.toMatchObject({
      code: 'E_STATE',
      exit: 75,
      message: expect.stringContaining('locked'),
    });
    other.exec('rollback');
    other.close();
    expect(await writer.take('prod', owner('ana'))).toMatchObject({ taken: { token: 1 } });
    await writer.end();
  });

  function cut(path: string): void {
    const db = new DatabaseSync(path);
    db.exec(`PRAGMA application_id = ${0x6d6e7431}; create table a (b)`);
    db.close();
    const bytes = fs.readFileSync(path);
    bytes.fill(0xff, 100);
    fs.writeFileSync(path, bytes.subarray(0, 6_000));
    fs.chmodSync(path, 0o600);
  }
});
