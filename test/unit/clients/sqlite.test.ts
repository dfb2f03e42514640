import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { statement } from '../../../src/engine/io.ts';
import { failure, type TestClients, testClients } from '../../support/clients.ts';

const ALL = statement('all', 'select a from t where a > ? order by a');
const INSERT = statement('insert', 'insert into t values (9)');
const DATA_VERSION = statement('data version', 'pragma data_version');

describe.each(['delete', 'wal'])('the SQLite client, journal_mode %s', (mode) => {
  let folder: string;
  let path: string;
  let io: TestClients;
  let app: DatabaseSync;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'maint-test-sqlite-'));
    path = join(folder, 'app #1?.db');
    io = testClients();
    app = new DatabaseSync(path);
    app.exec(`pragma journal_mode = ${mode}; create table t (a); insert into t values (1), (2)`);
  });
  afterEach(async () => {
    if (app.isOpen) app.close();
    await io.clients.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test('sees what a living writer has committed, and leaves the folder as it was', async () => {
    const { sqlite } = io.reader();
    const before = readdirSync(folder);
    expect(await sqlite.rows(path, ALL, [1])).toMatchObject([{ a: 2 }]);
    app.exec('insert into t values (3)');
    expect(await sqlite.rows(path, ALL, [1])).toHaveLength(2);
    expect(readdirSync(folder)).toEqual(before);
    app.close();
    await io.clients.close();
    expect(readdirSync(folder)).toEqual(['app #1?.db']);
  });

  test('nobody has it open: nothing stays behind, also when it was opened before and after', async () => {
    app.close();
    const { sqlite } = io.reader();
    expect(await sqlite.rows(path, ALL, [0])).toHaveLength(2);
    expect(readdirSync(folder)).toEqual(['app #1?.db']);
    app = new DatabaseSync(path);
    app.exec('insert into t values (3)');
    expect(await sqlite.rows(path, ALL, [0])).toHaveLength(3);
    app.close();
    expect(await sqlite.rows(path, ALL, [0])).toHaveLength(3);
    await io.clients.close();
    expect(readdirSync(folder)).toEqual(['app #1?.db']);
  });

  test('a crashed writer’s files', async () => {
    const copy = join(folder, 'copy.db');
    copyFileSync(path, copy);
    if (existsSync(`${path}-wal`)) copyFileSync(`${path}-wal`, `${copy}-wal`);
    const before = readdirSync(folder);
    expect(await io.reader().sqlite.rows(copy, ALL, [0])).toHaveLength(2);
    expect(readdirSync(folder)).toEqual(before);
  });

  test('writes nothing and creates nothing', async () => {
    const { sqlite } = io.reader();
    expect(await failure(sqlite.rows(path, INSERT))).toMatchObject({ effect: 'none', retryable: false });
    const missing = join(folder, 'missing.db');
    expect(await failure(sqlite.rows(missing, ALL, [0]))).toMatchObject({ code: 'ENOENT' });
    expect(existsSync(missing)).toBe(false);
    writeFileSync(missing, 'this is a text, and a longer one than a header of a database has to be');
    expect(await failure(sqlite.rows(missing, ALL, [0]))).toMatchObject({ code: 'SQLITE_NOTADB' });
    await expect(sqlite.rows(path, { name: 'made', text: 'select 1' })).rejects.toThrow(/statement\(\)/);
    expect(await failure(sqlite.rows(folder, ALL, [0]))).toMatchObject({ retryable: false });
  });

  test('a digest changes with any value, type and row, and with nothing else', async () => {
    const { sqlite } = io.reader();
    app.exec('create table "o""dd" (k text primary key, v) without rowid; create table u (rowid, v)');
    app.exec(`insert into "o""dd" values ('b', 1), ('a', x'00'); insert into u values (1, 9007199254740993)`);
    const first = await sqlite.digest(path, 't');
    expect(first).toMatchObject({ rows: 2, digest: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(await sqlite.digest(path, 't')).toEqual(first);
    expect(await sqlite.digest(path, 'o"dd')).toMatchObject({ rows: 2 });
    expect(await sqlite.digest(path, 'u')).toMatchObject({ rows: 1 });
    const seen = new Set([first.digest]);
    for (const change of [
      `update t set a = '1' where a = 1`,
      'update t set a = 1.5',
      'update t set a = null',
      'delete from t',
    ]) {
      app.exec(change);
      seen.add((await sqlite.digest(path, 't')).digest);
    }
    expect(seen.size).toBe(5);
    await expect(sqlite.digest(path, 'nowhere')).rejects.toThrow(/no table nowhere/);
  });

  test('a large table lets the process live, and obeys its deadline', async () => {
    app.exec(
      'with recursive n(i) as (select 1 union all select i + 1 from n where i < 300000) insert into t select i from n',
    );
    let ticks = 0;
    const timer = setInterval(() => {
      ticks += 1;
    }, 1);
    expect(await io.reader().sqlite.digest(path, 't')).toMatchObject({ rows: 300_002 });
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(5);
    expect(await failure(io.reader({ ms: 5 }).sqlite.digest(path, 't'))).toMatchObject({ code: 'ETIMEDOUT' });
  });

  test('locked by a writer: retryable', async () => {
    app.exec('begin exclusive; insert into t values (4)');
    if (mode === 'wal') expect(await io.reader().sqlite.rows(path, ALL, [0])).toHaveLength(2);
    else
      expect(await failure(io.reader().sqlite.rows(path, ALL, [0]))).toMatchObject({
        code: 'SQLITE_BUSY',
        retryable: true,
      });
    app.exec('rollback');
  });

  test('data_version: kept or refused, never silently the same', async () => {
    const { sqlite } = io.reader();
    if (mode === 'wal') {
      await expect(sqlite.rows(path, DATA_VERSION)).rejects.toThrow(/compare digests/);
      return;
    }
    const [first] = await sqlite.rows(path, DATA_VERSION);
    app.exec('insert into t values (5)');
    expect(await sqlite.rows(path, DATA_VERSION)).not.toEqual([first]);
  });
});
