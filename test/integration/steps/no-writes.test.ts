// No writes: real stores, read by many while one writes once. What must be found is found and named; what must not alarm
// at two in the morning does not.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import pg from 'pg';
import { fits } from '../../../src/steps/no-writes/ledger.ts';
import { noWritesPostgres } from '../../../src/steps/no-writes/postgres.ts';
import { noWritesRedis } from '../../../src/steps/no-writes/redis.ts';
import { noWritesSqlite } from '../../../src/steps/no-writes/sqlite.ts';
import { type CheckRun, checkRun } from '../../support/checks.ts';
import {
  describeWith,
  type Postgres,
  programOf,
  type Server,
  startPostgres,
  startRedis,
} from '../../support/servers.ts';

/** The watch has looked that often since its first look. */
async function underWay(run: CheckRun, looks = 1): Promise<void> {
  while (run.progress.length < looks) await delay(5);
}

test('a pattern of the allow list covers what it says, and no more', () => {
  expect(fits('heartbeat', 'heartbeat')).toBe(true);
  expect(fits('heartbeats', 'heartbeat')).toBe(false);
  expect(fits('heartbeat:eu:1', 'heartbeat:*')).toBe(true);
  expect(fits('heartbeat', 'heartbeat:*')).toBe(false);
  expect(fits('a:b', 'a*:*b')).toBe(true);
  expect(fits('ab', 'ab*b')).toBe(false);
  expect(fits('x.y', 'x?y')).toBe(false);
});

describe('ten thousand tables', () => {
  const names = Array.from({ length: 10_000 }, (_, i) => `table_${i}`);

  test('of SQLite fit into the journal, and still tell that something changed', async () => {
    let changes = 0;
    const sqlite: any = {
      version: async () => String(changes),
      digest: async (_path: string, table: string) => ({
        digest: (table === 'table_9999' ? 'ab' : 'cd').repeat(32),
        rows: table === 'table_9999' ? changes : 1,
      }),
      rows: async (_path: string, { name }: { name: string }) =>
        names.map((each) =>
          name === 'sqlite.tables'
            ? { name: each, type: 'table' }
            : { type: 'table', name: each, owner: each, sql: '' },
        ),
    };
    const run = checkRun(noWritesSqlite, { path: 'app.db', for: '1s' }, { world: { sqlite } });
    expect(await run.at('open')).toMatchObject({ outcome: 'pass' });
    expect(JSON.stringify(run.evidence.get('open')).length).toBeLessThan(200_000);
    expect(await run.at('reopen')).toMatchObject({ outcome: 'pass' });
    changes = 1;
    expect((await run.at('reopen')).summary).toMatch(/^one of 8,000 more tables: 1 since /);
  });

  test('of PostgreSQL fit into the journal, and still tell that something changed', async () => {
    let inserted = 0;
    const server = { replica: false, counts: 'on', lsn: '0/1000', started: '1', reset: null };
    const counted = { root: null, upd: 0, del: 0, live: 0, dead: 0, kept: 0 };
    const postgres: any = {
      rows: async (_url: string, { name }: { name: string }) => {
        if (name !== 'postgres.look') return [];
        const tables = names.map((each, i) => ({
          id: `${i}`,
          name: each,
          ...counted,
          file: i,
          ins: i === 9999 ? inserted : 1,
        }));
        return [{ ...server, tables, prepared: [], holders: [], held: [] }];
      },
    };
    const run = checkRun(noWritesPostgres, { url: 'postgres://db/app', for: '1s' }, { world: { postgres } });
    await run.at('open');
    expect(JSON.stringify(run.evidence.get('open')).length).toBeLessThan(250_000);
    inserted = 3;
    expect((await run.at('reopen')).summary).toMatch(/^one of 8,000 more tables: 3 since /);
  });

  test('a replica is refused, with what to give instead', async () => {
    const postgres: any = { rows: async () => [{ replica: true, counts: 'on', lsn: null, started: '1', reset: null }] };
    const run = checkRun(noWritesPostgres, { url: 'postgres://db/app' }, { world: { postgres } });
    expect(await run.at('open')).toMatchObject({
      outcome: 'unknown',
      summary: expect.stringContaining('give the address of the primary'),
    });
    expect(
      await noWritesPostgres.usable?.({ postgres } as any, {
        url: 'postgres://db/app',
        allow: [],
        for: 11_000,
        hold_for_audit: false,
      }),
    ).toEqual([expect.stringContaining('this is a replica')]);
  });
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
    // Long enough that a machine which stands still for a second does not end the watch before it is seen to be under way.
    await run.close();
    run = checkRun(noWritesSqlite, { path, allow, for: '3s' });
    const opening = run.at('open');
    await underWay(run, 1);
    const wrote = Date.now();
    db.exec("insert into orders (v) values ('late')");
    const opened = await opening;
    expect(Date.now() - wrote).toBeGreaterThanOrEqual(3000);
    expect(opened).toMatchObject({ outcome: 'pass', summary: '0 changes in 3s after orders: 1' });
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
});

describeWith('postgres', 'no-writes/postgres', () => {
  let server: Postgres;
  const runs: CheckRun[] = [];
  const sessions: pg.Client[] = [];
  const loads: ChildProcess[] = [];

  const at = (database: string, user = 'maint') => `postgres://${user}@127.0.0.1:${server.port}/${database}`;
  function watched(database: string, params: Record<string, unknown> = {}): CheckRun {
    const allow = [{ table: 'heartbeat', because: 'lag probe' }];
    const run = checkRun(noWritesPostgres, { url: at(database), allow, ...params });
    runs.push(run);
    return run;
  }
  async function session(database: string, user: string, application: string): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: at(database, user), application_name: application });
    await client.connect();
    sessions.push(client);
    return client;
  }
  async function database(name: string): Promise<string> {
    await server.sql(`create database ${name} template model`);
    return name;
  }

  beforeAll(async () => {
    server = await startPostgres({
      settings: {
        shared_preload_libraries: 'pg_stat_statements',
        max_prepared_transactions: '5',
        autovacuum_naptime: '1s',
      },
    });
    await server.sql(
      `create role maint login; grant pg_monitor to maint; create role app login; create role job login; create role plain login`,
    );
    await server.sql('create database model');
    await server.sql(
      `create extension pg_stat_statements;
       create table orders (id bigserial primary key, v text); insert into orders (v) select 'v' || i from generate_series(1, 1000) i;
       create table items (id int); insert into items values (1), (2), (3);
       create unlogged table sessions (id int);
       create table heartbeat (at timestamptz);
       create table events (id int) partition by range (id); create table events_1 partition of events for values from (0) to (100);
       grant all on all tables in schema public to app, job; grant all on all sequences in schema public to app, job;`,
      'model',
    );
  }, 60_000);
  afterEach(async () => {
    for (const load of loads.splice(0)) load.kill();
    for (const client of sessions.splice(0)) await client.end();
    for (const run of runs.splice(0)) await run.close();
  });
  afterAll(async () => {
    await server?.stop();
  });

  test('what the counters of this server cannot see is named beside every "0 rows"', async () => {
    const name = await database('blind');
    const other = await database('seeing');
    await server.sql(
      `create foreign data wrapper nothing no handler; create server elsewhere foreign data wrapper nothing;
       create schema far; create foreign table far.prices (id int) server elsewhere; create foreign table stock (id int) server elsewhere;
       create role silent login; alter role silent in database ${name} set track_counts = 'no'; alter role app set track_counts = on;`,
      name,
    );
    const result = await watched(name, { for: '1s' }).at('open');
    expect(result.summary).toMatch(/^0 rows.*; not covered: 2 foreign tables, what silent writes$/);
    expect(result.findings).toEqual([
      'not covered: the foreign tables far.prices, stock; only elsewhere knows what is written to them: check that server as well',
      'not counted: what silent writes, for which track_counts is off; ALTER ROLE … RESET track_counts, or the log alone can tell',
    ]);
    expect((await watched(other, { for: '1s' }).at('open')).summary).not.toContain('not covered');
    await server.sql(`alter database ${other} set track_counts = off`);
    const everybody = await watched(other, { for: '1s' })
      .at('open')
      .catch((error: Error) => error);
    expect(String((everybody as Error).message ?? (everybody as { summary: string }).summary)).toMatch(
      /track_counts is off|what everybody writes/,
    );
    await server.sql(`alter role silent in database ${name} reset all; alter role app reset all; drop role silent`);
  });

  test('among thousands of reads a second: a write that is told ten seconds late is found and named; where there is none, noise does not alarm', async () => {
    const [busy, quiet] = [await database('busy'), await database('quiet')];
    const bench = join(dirname(programOf('postgres')!), 'pgbench');
    const where = ['-h', '127.0.0.1', '-p', String(server.port), '-U', 'postgres'];
    for (const name of [busy, quiet]) {
      await server.sql(
        'create table read_mostly as select i as id, i::text as v from generate_series(1, 10000) i; create index on read_mostly (id)',
        name,
      );
      await server.sql('update read_mostly set v = v', name);
      // the counters of what was just done are there before the watch begins; autovacuum's work is not
      const script = join(server.folder, `${name}.sql`);
      writeFileSync(script, '\\set id random(1, 10000)\nselect v from read_mostly where id = :id;\n', { mode: 0o644 });
      loads.push(
        spawn(bench, [...where, '-n', '-f', script, '-c', '2', '-R', '5000', '-T', '60', name], { stdio: 'ignore' }),
      );
    }
    const writer = await session(busy, 'app', 'web-7');
    const beating = await Promise.all([busy, quiet].map((name) => session(name, 'job', 'probe')));
    const beat = setInterval(
      () => beating.forEach((client) => void client.query('insert into heartbeat values (now())')),
      1000,
    );
    const noise = setInterval(() => void server.sql('analyze; checkpoint', quiet), 3000);
    const [found, clean] = await Promise.all([
      watched(busy).at('open', 14_000),
      watched(quiet).at('open', 14_000),
      (async () => {
        await writer.query('select 1');
        await delay(300);
        await writer.query('select 2');
        await writer.query("with w as (insert into orders (v) values ('one') returning 1) select * from w");
      })(),
    ]);
    clearInterval(beat);
    clearInterval(noise);
    const [[reads] = []] = await server.sql('select sum(xact_commit) from pg_stat_database', quiet);
    expect(Number(reads)).toBeGreaterThan(11 * 2000);
    expect(clean.findings).toEqual([]);
    expect(clean).toMatchObject({ outcome: 'pass' });
    expect(clean.summary).toMatch(/^0 rows in 11s, except heartbeat: \d+ \(allowed\)$/);
    expect(found.outcome).toBe('fail');
    expect(found.summary).toMatch(/^orders: 1 by app: quiet for \ds of 11s only at the deadline/);
    expect(found.findings).toEqual([
      expect.stringMatching(/^orders: 1 row, 1 inserted by app, first seen \d\d:\d\d:\d\dZ$/),
    ]);
  }, 60_000);

  test('an open transaction is found with who holds it, and its end is waited for', async () => {
    const name = await database('held');
    const run = watched(name, { for: '1s' });
    const client = await session(name, 'app', 'web-7');
    await client.query('begin; update items set id = 9 where id = 1; insert into events values (5)');
    const opened = run.at('open');
    await delay(700);
    await client.query('commit');
    const result = await opened;
    expect(result).toMatchObject({ outcome: 'inconclusive' });
    expect(result.summary).toMatch(/a write may show up 11s late, so watch for 11s at least$/);
    const line = result.findings.find((each) => each.startsWith('items: '));
    expect(line).toMatch(/open transaction of app \(web-7, 127\.0\.0\.1, pid \d+\) since \d\d:\d\d:\d\dZ/);
    expect(result.findings.some((each) => each.startsWith('events_1: '))).toBe(true);
    expect(run.progress.some((text) => /items: open transaction of app/.test(text))).toBe(true);
  });

  test('whatever the kind of write, the end of the window finds it: rolled back, truncated, unlogged, created, dropped, large', async () => {
    const name = await database('kinds');
    await server.sql('create table old (id int)', name);
    const run = watched(name, { for: '1s', allow: [{ table: 'events', because: 'partitioned' }] });
    await run.at('open');
    await server.sql("insert into orders (v) values ('never'); select 1/0", name).catch(() => {});
    await server.sql('truncate items', name);
    await server.sql('insert into sessions values (1), (2)', name);
    await server.sql('create table new as select 1 as id', name);
    await server.sql('drop table old', name);
    await server.sql("select lo_from_bytea(0, 'large')", name);
    await server.sql('insert into events values (7)', name);
    const began = Date.now();
    // whole counters: the sessions above have ended
    const last = await run.at('reopen');
    // less than what a write may show up late, which would have been waited for
    expect(Date.now() - began).toBeLessThan(10_000);
    expect(last.outcome).toBe('fail');
    const result = await run.at('audit');
    expect(result.outcome).toBe('fail');
    const findings = result.findings.map((each) => each.replace(/ by .*/, '')).sort();
    expect(findings).toEqual([
      'items: truncated or rewritten',
      expect.stringMatching(/^large objects: \d rows?, \d inserted$/),
      'new: 1 row, created',
      'old: dropped',
      'orders: 1 row, 1 inserted, then rolled back',
      'sessions: 2 rows, 2 inserted',
    ]);
    expect(result.summary).toContain('except events_1: 1 (allowed)');
  });

  test('at the end an unmoved log passes at once; a moved one is waited for; lost statistics prove nothing', async () => {
    const name = await database('audited');
    const run = watched(name, { for: '1s' });
    await run.at('open');
    const noted = run.evidence.get('open');
    const early = { ...noted, at: new Date(Date.now() - 20_000).toISOString() };
    run.evidence.set('open', early);
    const passed = await run.at('reopen');
    expect(passed).toMatchObject({ outcome: 'pass', summary: expect.stringMatching(/^0 rows since \d\d:\d\d:\d\dZ$/) });
    // autovacuum and the server's own snapshots move it, too; then the audit tells
    const [[lsn] = []] = await server.sql('select pg_current_wal_insert_lsn()');
    if (lsn === noted.seen.lsn) expect((await run.at('audit')).summary).toBe(passed.summary);
    await server.sql('create temp table t as select 1; analyze', name);
    expect((await run.at('reopen')).outcome).toBe('pass');
    expect(await run.at('audit')).toMatchObject({
      outcome: 'inconclusive',
      summary: expect.stringMatching(
        /^0 rows since \S+, audited until \S+Z; the last \d+s cannot be told from counters: create extension pg_walinspect \(PostgreSQL 15 and newer\); grant execute on function pg_get_wal_records_info\(pg_lsn, pg_lsn\) to maint; or hold_for_audit: true waits/,
      ),
    });
    const held = watched(name, { for: '1s', hold_for_audit: true });
    held.evidence.set('open', noted);
    expect(await held.at('reopen', 1500)).toMatchObject({
      outcome: 'inconclusive',
      summary: expect.stringMatching(/^0 rows since \S+, but the deadline came before what may show up 11s late$/),
    });
    expect(await held.at('audit')).toMatchObject({ summary: expect.stringContaining('but the deadline came before') });
    await server.sql('select pg_stat_reset()', name);
    await run.at('reopen');
    expect(await run.at('audit')).toMatchObject({
      outcome: 'inconclusive',
      summary: expect.stringMatching(/but the statistics were reset/),
    });
  });

  test('a prepared transaction is in no counter, and is found', async () => {
    const name = await database('prepared');
    const run = watched(name, { for: '1s' });
    await run.at('open');
    await server.sql("begin; insert into items values (4); prepare transaction 'later'", name);
    expect(await run.at('reopen')).toMatchObject({
      outcome: 'fail',
      summary: expect.stringMatching(/^prepared transaction later of postgres since \S+: prepared meanwhile/),
    });
    await server.sql("rollback prepared 'later'", name);
  });

  describe('with pg_walinspect, once the walls are open', () => {
    async function audited(name: string): Promise<{ name: string; run: CheckRun }> {
      await database(name);
      await server.sql(
        'create extension pg_walinspect; grant execute on function pg_get_wal_records_info(pg_lsn, pg_lsn) to maint',
        name,
      );
      const run = watched(name, { for: '1s' });
      await run.at('open');
      return { name, run };
    }

    test('a write of the last second before the walls opened is found, and one after them is nobody’s business', async () => {
      const { name, run } = await audited('last_second');
      const client = await session(name, 'app', 'web-7');
      // a session that idles after its write tells the counters ten seconds later
      await client.query('select 1');
      await client.query("insert into orders (v) values ('one'), ('two')");
      await client.query('insert into heartbeat values (now())');
      await client.query('begin; update items set id = 9 where id = 1; rollback');
      const last = await run.at('reopen');
      await server.sql("insert into orders (v) values ('after the walls')", name);
      const result = await run.at('audit');
      expect(result.outcome).toBe('fail');
      expect(result.summary).toMatch(
        /^(orders: 2|items: 1) .*(orders: 2|items: 1) .*since \S+Z, except heartbeat: 1 \(allowed\)$/,
      );
      expect(result.findings.map((each) => each.replace(/ by .*/, ''))).toEqual(
        expect.arrayContaining(['orders: 2 rows, 2 inserted', 'items: 1 row, 1 updated, then rolled back']),
      );
      expect(last.summary).toMatch(/so far; audited next|orders: 2/);
    });

    test('a heartbeat, ANALYZE and temporary tables pass: all of it was read, and nobody waited', async () => {
      const { name, run } = await audited('quiet_log');
      await server.sql('insert into heartbeat values (now()); create temp table t as select 1; analyze', name);
      expect(await run.at('reopen')).toMatchObject({ outcome: 'pass', summary: expect.stringMatching(/^0 rows/) });
      expect(await run.at('audit')).toMatchObject({
        outcome: 'pass',
        summary: expect.stringMatching(/^0 rows since \S+Z, except heartbeat: 1 \(allowed\)$/),
      });
    });

    test('a table that came and went is found; lost statistics do not matter; a rewritten table keeps its name', async () => {
      const { name, run } = await audited('came_and_went');
      await server.sql('insert into items values (5)', name);
      await server.sql('truncate items', name);
      await server.sql('create table brief (id int)', name);
      await server.sql('insert into brief values (1)', name);
      await server.sql('drop table brief', name);
      await server.sql('select pg_stat_reset()', name);
      await run.at('reopen');
      const result = await run.at('audit');
      expect(result.outcome).toBe('fail');
      expect(result.findings.map((each) => each.replace(/ by .*/, '')).sort()).toEqual([
        expect.stringMatching(/^a table that is gone \(file \d+\): 1 row, 1 inserted$/),
        expect.stringMatching(/^items: 1 row, .*1 inserted/),
      ]);
    });

    test('an unlogged table leaves no record: what the counters cannot tell yet is said', async () => {
      const { name, run } = await audited('unlogged');
      const client = await session(name, 'app', 'web-7');
      await client.query('select 1');
      await client.query('insert into sessions values (1)');
      await run.at('reopen');
      const result = await run.at('audit');
      // the counters may have it already
      if (result.outcome === 'fail') expect(result.summary).toMatch(/^sessions: 1/);
      else
        expect(result).toMatchObject({
          outcome: 'inconclusive',
          summary: expect.stringMatching(/the last \d+s .*: the log has no record of unlogged tables \(sessions\)/),
        });
    });

    test('without the right it says which; a server that has gone says until when', async () => {
      const { name, run } = await audited('no_right');
      await server.sql('revoke execute on function pg_get_wal_records_info(pg_lsn, pg_lsn) from maint', name);
      await server.sql('analyze', name);
      await run.at('reopen');
      expect((await run.at('audit')).summary).toMatch(
        /; the last \d+s cannot be told from counters: grant execute on function pg_get_wal_records_info\(pg_lsn, pg_lsn\) to maint; or hold_for_audit: true/,
      );
      const gone = checkRun(noWritesPostgres, { url: at('no_such_database'), for: '1s' });
      runs.push(gone);
      for (const [moment, evidence] of run.evidence) gone.evidence.set(moment, evidence);
      expect(await gone.at('audit')).toMatchObject({
        outcome: 'inconclusive',
        summary: expect.stringMatching(/, audited until \S+Z; .*the log cannot be read: .*no_such_database/),
      });
    });
  });

  test('a role without rights sees enough, and is told what it does not see', async () => {
    const run = watched(await database('plain'), { for: '1s' });
    const plain = checkRun(noWritesPostgres, { url: at('plain', 'plain'), for: '1s' });
    runs.push(plain);
    const io = await plain.at('open');
    expect(io.outcome).toBe('inconclusive');
    expect(io.findings).toEqual(["plain is no member of pg_monitor: a writer's address and statement are not seen"]);
    expect((await run.at('open')).findings).toEqual([]);
  });
});

describeWith('redis', 'no-writes/redis', () => {
  let server: Server;
  let redis: Redis;
  const runs: CheckRun[] = [];
  const allow = [{ key: 'heartbeat', because: 'lag probe' }];

  function watched(params: Record<string, unknown> = {}): CheckRun {
    const run = checkRun(noWritesRedis, { url: server.url, for: '1s', ...params });
    runs.push(run);
    return run;
  }
  beforeAll(async () => {
    server = await startRedis();
    redis = new Redis(server.port, '127.0.0.1', { connectionName: 'web-7' });
    await redis.mset(Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`k${i}`, `v${i}`])));
  });
  afterEach(async () => {
    for (const run of runs.splice(0)) await run.close();
    await redis.config('SET', 'notify-keyspace-events', '');
  });
  afterAll(async () => {
    redis?.disconnect();
    await server?.stop();
  });

  test('one write among ten thousand reads a second is found, with the command and who is connected', async () => {
    const reader = new Redis(server.port, '127.0.0.1');
    let reads = 0;
    const load = setInterval(() => {
      const batch = reader.pipeline();
      for (let i = 0; i < 100; i++) batch.get(`k${i}`);
      void batch.exec().then(() => (reads += 100));
    }, 10);
    const run = watched({ allow: [{ key: 'elsewhere', because: 'no reason' }] });
    const opened = run.at('open', 10_000);
    await underWay(run);
    await redis.set('orders:1', 'x');
    const result = await opened;
    clearInterval(load);
    reader.disconnect();
    expect(reads).toBeGreaterThan(2000);
    // an allowed key that never changed explains nothing
    expect(result.summary).toMatch(/SET 1|SET: 1/);
  });

  test('without an allow list a write fails, or is reported once it has stopped', async () => {
    const run = watched();
    const stopped = run.at('open');
    await underWay(run);
    await redis.set('orders:2', 'x');
    const result = await stopped;
    expect(result).toMatchObject({
      outcome: 'pass',
      summary: expect.stringMatching(/^0 writes in 1s after SET: 1 by default \(web-7, 127\.0\.0\.1:\d+\)$/),
    });
    expect(result.findings[0]).toMatch(/^SET: 1 write, SET 1; the key is not told by default \(web-7/);
    await redis.call('XGROUP', 'CREATE', 'stream', 'g', '$', 'MKSTREAM');
    expect(await run.at('reopen')).toMatchObject({
      outcome: 'fail',
      summary: expect.stringMatching(/^XGROUP CREATE: \d by default/),
    });
  });

  test('keyspace events name the key; the heartbeat is counted', async () => {
    await redis.config('SET', 'notify-keyspace-events', 'KA');
    const run = watched({ allow: [{ key: 'heartbeat:*', because: 'lag probe' }] });
    const opened = run.at('open');
    let beats = 0;
    const beat = setInterval(() => void redis.set('heartbeat:eu', ++beats, 'EX', 10), 200);
    await underWay(run);
    await redis.eval("redis.call('SET', KEYS[1], '1'); redis.call('PUBLISH', 'c', 'x')", 1, 'orders:3');
    const result = await opened;
    clearInterval(beat);
    expect(result.outcome).toBe('pass');
    expect(result.summary).toMatch(/^0 writes in 1s after orders:3: 1.*, except heartbeat:eu: \d+ \(allowed\)$/);
    const [, counted] = /heartbeat:eu: (\d+)/.exec(result.summary) ?? [];
    expect(Number(counted)).toBeLessThanOrEqual(beats);
  });

  test('the least rights of SECURITY.md are enough, also with keyspace events on', async () => {
    const security = readFileSync(new URL('../../../SECURITY.md', import.meta.url), 'utf8');
    const [, rights] = /^\| `no-writes\/redis` \| `([^`]+)`/m.exec(security)!;
    const words = rights!.replaceAll('\\|', '|').split(' ');
    await redis.call('ACL', 'SETUSER', 'narrow', 'on', '>narrowpass', 'resetkeys', 'resetchannels', '-@all', ...words);
    await redis.config('SET', 'notify-keyspace-events', 'KA');
    const run = watched({ url: `redis://narrow:narrowpass@127.0.0.1:${server.port}` });
    const opened = run.at('open');
    await underWay(run);
    await redis.set('orders:6', 'x');
    expect(await opened).toMatchObject({ outcome: 'pass', summary: expect.stringContaining('after orders:6: 1') });
  });

  test('without keyspace events an allowed key explains its own changes; what it cannot explain is inconclusive', async () => {
    const run = watched({ allow });
    const opened = run.at('open');
    // once between two looks: a second one could not be told from another key's
    let looks = 0;
    const beat = setInterval(() => {
      if (run.progress.length === looks) return;
      looks = run.progress.length;
      void redis.set('heartbeat', looks);
    }, 5);
    const result = await opened;
    clearInterval(beat);
    expect(result).toMatchObject({
      outcome: 'pass',
      summary: expect.stringMatching(/^0 writes in 1s, except heartbeat: \d \(allowed\)$/),
    });
    for (let i = 0; i < 5; i++) await redis.set('heartbeat', `later ${i}`);
    expect(await run.at('reopen')).toMatchObject({
      outcome: 'inconclusive',
      summary: expect.stringMatching(
        /4 more writes \(SET 5\) may or may not have gone to allowed keys: only keyspace events tell/,
      ),
    });
  });

  test('our own flag, written during the window, is subtracted', async () => {
    const run = watched();
    await run.at('open');
    const swap = "redis.call('SET', KEYS[1], ARGV[1]); redis.call('PUBLISH', KEYS[1], ARGV[1])";
    await redis.eval(swap, 1, 'maint:read_only', 'until 03:00');
    await redis.eval(swap, 1, 'maint:read_only', 'until 04:00');
    expect(await run.at('now')).toMatchObject({
      outcome: 'pass',
      summary: expect.stringMatching(/^0 writes since \S+, except maint:read_only: 2 \(allowed\)$/),
    });
    await redis.set('orders:4', 'x');
    expect(await run.at('reopen')).toMatchObject({
      outcome: 'fail',
      summary: expect.stringMatching(/: 1 .*since .*except maint:read_only: 2/),
    });
  });

  test('what changes nothing, what expires and what is refused does not alarm; a snapshot does not hide a write', async () => {
    await redis.set('short', 'x', 'PX', 300);
    await redis.del('maint:read_only');
    const run = watched();
    await run.at('open');
    await redis.del('missing');
    await redis.lpush('k1', 'x').catch(() => {});
    await redis.sort('list');
    await redis.get('short');
    const result = await run.at('reopen');
    expect(result).toMatchObject({ outcome: 'pass', summary: expect.stringMatching(/^0 writes since \S+$/) });
    await redis.save();
    await redis.del('missing');
    expect(await run.at('now')).toMatchObject({
      outcome: 'inconclusive',
      summary: expect.stringContaining('a snapshot was taken'),
    });
    await redis.set('orders:5', 'x');
    await redis.save();
    expect(await run.at('reopen')).toMatchObject({ outcome: 'fail' });
    await redis.config('RESETSTAT');
  });

  test('a server that is restarted meanwhile is waited for, and watched afresh', async () => {
    const run = watched();
    const opened = run.at('open', 15_000);
    await underWay(run);
    await server.restart();
    const result = await opened;
    expect(result).toMatchObject({ outcome: 'pass', summary: '0 writes in 1s' });
    expect(result.findings).toEqual([
      expect.stringMatching(/^the server was restarted, or is another one .*watched afresh/),
    ]);
  });
});
