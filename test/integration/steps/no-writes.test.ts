// No writes: real stores, read by many while one writes once. What must be found is found and named; what must not alarm
// at two in the morning does not.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { fits } from '../../../src/steps/no-writes/no-writes.ts';
import { noWritesSqlite } from '../../../src/steps/no-writes/sqlite.ts';
import { type CheckRun, checkRun } from '../../support/checks.ts';

test('a pattern of the allow list covers what it says, and no more', () => {
  expect(fits('heartbeat', 'heartbeat')).toBe(true);
  expect(fits('heartbeats', 'heartbeat')).toBe(false);
  expect(fits('heartbeat:eu:1', 'heartbeat:*')).toBe(true);
  expect(fits('heartbeat', 'heartbeat:*')).toBe(false);
  expect(fits('a:b', 'a*:*b')).toBe(true);
  expect(fits('ab', 'ab*b')).toBe(false);
  expect(fits('x.y', 'x?y')).toBe(false);
});

describe.each(['wal', 'delete'])('no-writes/sqlite, journal_mode=%s', (mode) => {
  let folder: string;
  let path: string;
  let db: DatabaseSync;
  let run: CheckRun;
  const allow = [{ table: 'heartbeat', because: 'lag probe' }];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'maint-no-writes-'));
    path = join(folder, 'app.db');
    db = new DatabaseSync(path);
    db.exec(`pragma journal_mode=${mode};
      create table orders (id integer primary key autoincrement, v text);
      create table heartbeat (at integer);
      insert into orders (v) values ('a'), ('b');
      insert into heartbeat values (0);`);
    run = checkRun(noWritesSqlite, { path, allow, for: '1s' });
  });
  afterEach(async () => {
    await run.close();
    if (db.isOpen) db.close();
    rmSync(folder, { recursive: true });
  });

  test('reads alone are no writes; at the end the whole window is told', async () => {
    const reading = setInterval(() => db.prepare('select * from orders').all(), 5);
    const opened = await run.at('open');
    clearInterval(reading);
    expect(opened).toMatchObject({ outcome: 'pass', summary: '0 changes in 1s', findings: [] });
    const closed = await run.at('reopen');
    expect(closed.outcome).toBe('pass');
    expect(closed.summary).toMatch(/^0 changes since \d\d:\d\d:\d\dZ$/);
  });

  test('one write is found and named; the watch begins anew, and what was found stays in the report', async () => {
    setTimeout(() => db.exec("insert into orders (v) values ('late')"), 500);
    const began = Date.now();
    const opened = await run.at('open');
    expect(Date.now() - began).toBeGreaterThan(1450);
    expect(opened).toMatchObject({ outcome: 'pass', summary: '0 changes in 1s after orders: 1' });
    expect(opened.findings).toEqual([
      expect.stringMatching(/^orders: 1 change, 1 row more, first seen \d\d:\d\d:\d\dZ$/),
    ]);
    // it happened before what was noted
    expect(await run.at('reopen')).toMatchObject({ outcome: 'pass' });
  });

  test('a writer that does not stop fails the check at the deadline', async () => {
    const writing = setInterval(() => db.exec("update orders set v = v || 'x' where id = 1"), 100);
    const opened = await run.at('open', 2500);
    clearInterval(writing);
    expect(opened.outcome).toBe('fail');
    expect(opened.summary).toMatch(/^orders: \d+: still written to at the deadline$/);
    expect(opened.findings[0]).toContain('content changed');
  });

  test('the heartbeat is counted, and alarms nobody', async () => {
    const beating = setInterval(() => db.exec('insert into heartbeat values (1)'), 100);
    const opened = await run.at('open');
    clearInterval(beating);
    expect(opened.outcome).toBe('pass');
    expect(opened.summary).toMatch(/^0 changes in 1s, except heartbeat: \d+ \(allowed\)$/);
    db.exec('insert into heartbeat values (2), (3)');
    expect((await run.at('reopen')).summary).toMatch(/^0 changes since \S+, except heartbeat: \d+ \(allowed\)$/);
  });

  test('a write in the middle of the window, when nobody watched, is found at the end', async () => {
    await run.at('open');
    db.exec("update orders set v = 'changed' where id = 2; create table extra (id)");
    const now = await run.at('now');
    expect(now.outcome).toBe('fail');
    const closed = await run.at('reopen');
    expect(closed.outcome).toBe('fail');
    expect(closed.summary).toMatch(/^orders: 1, extra: 1 since /);
    expect(closed.findings).toEqual(['orders: 1 change, content changed', 'extra: 1 change, created']);
  });

  test('what changes no content is no write: rollback, checkpoint, VACUUM, ANALYZE, the same value again', async () => {
    await run.at('open');
    db.exec("begin; insert into orders (v) values ('never'); rollback");
    db.exec('update orders set v = v; pragma wal_checkpoint(truncate); vacuum; analyze');
    expect(await run.at('reopen')).toMatchObject({ outcome: 'pass', findings: [] });
  });

  test('nothing stays behind in the folder, and closed databases are looked at too', async () => {
    db.close();
    const before = readdirSync(folder);
    expect((await run.at('open')).outcome).toBe('pass');
    expect((await run.at('reopen')).outcome).toBe('pass');
    await run.close();
    expect(readdirSync(folder)).toEqual(before);
  });

  test('a lock that is held for a moment is waited for', async () => {
    db.exec('begin exclusive');
    setTimeout(() => db.exec('commit'), 300);
    expect((await run.at('open')).outcome).toBe('pass');
  });

  test('too little time is inconclusive, a missing file cannot be told, and nothing noted is said', async () => {
    const long = checkRun(noWritesSqlite, { path });
    const opened = await long.at('open', 1500);
    expect(opened).toMatchObject({
      outcome: 'inconclusive',
      summary: '0 changes, but the deadline left only 1s of 11s',
    });
    const gone = checkRun(noWritesSqlite, { path: `${path}.gone` });
    expect((await gone.at('open')).outcome).toBe('unknown');
    expect((await gone.at('reopen')).outcome).toBe('inconclusive');
  });

  // with WAL every look opens a connection, and every connection reads the whole schema: minutes, for this many
  if (mode === 'wal') return;
  (mode === 'wal' ? test.skip : test)(
    'thousands of tables fit into the journal, and still tell that something changed',
    async () => {
      db.exec('begin');
      for (let i = 0; i < 2100; i++) db.exec(`create table t${String(i).padStart(4, '0')} (v)`);
      db.exec('commit');
      expect((await run.at('open')).outcome).toBe('pass');
      expect(JSON.stringify(run.evidence.get('open')).length).toBeLessThan(200_000);
      expect((await run.at('reopen')).outcome).toBe('pass');
      db.exec('insert into t2099 values (1)');
      expect((await run.at('now')).summary).toMatch(/^one of 102 more tables: 1 since /);
    },
  );
});
