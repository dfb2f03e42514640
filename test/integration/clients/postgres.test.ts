import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { statement } from '../../../src/engine/io.ts';
import { failure, type TestClients, testClients } from '../../support/clients.ts';
import { describeWith, type Postgres, startPostgres } from '../../support/servers.ts';
import { until } from '../../support/until.ts';

const INSERT = statement('insert', 'insert into t values ($1)');
const TWO = statement('two', 'select 1; select 2');
const SELECT = statement('select', 'select a from t where a > $1 order by a');
const SESSION = statement(
  'session',
  `select current_setting('default_transaction_read_only') ro, current_setting('statement_timeout') st, current_setting('application_name') app, current_setting('work_mem') mem`,
);
const SLEEP = statement('sleep', 'select pg_sleep(30)');
const COUNT = statement(
  'count',
  `select count(*)::int n from pg_stat_activity where application_name = 'maint' and state = 'active' and pid <> pg_backend_pid()`,
);
const STATS = statement('stats', `select n_tup_ins::int n from pg_stat_user_tables where relname = 't'`);

describeWith('postgres', 'the Postgres client', () => {
  let server: Postgres;
  let io: TestClients;
  beforeAll(async () => {
    server = await startPostgres();
    io = testClients();
    await server.sql(`create table t (a int); insert into t values (1), (2), (3); create role app login password 'x'`);
  });
  afterAll(async () => {
    await io?.clients.close();
    await server?.stop();
  });

  test('reads with parameters, in sessions that are read-only by default and bounded', async () => {
    const { postgres } = io.reader();
    expect(await postgres.rows(server.url, SELECT, [1])).toEqual([{ a: 2 }, { a: 3 }]);
    expect(await postgres.rows(server.url, SESSION)).toMatchObject([{ ro: 'on', st: '9500ms', app: 'maint' }]);
    // the address' own options stay, and cannot make the session writable
    const options = encodeURIComponent('-c work_mem=1234kB -c default_transaction_read_only=off');
    expect(await postgres.rows(`${server.url}?options=${options}`, SESSION)).toMatchObject([
      { ro: 'on', mem: '1234kB' },
    ]);
  });

  test('writes, several statements and texts made at run time are refused', async () => {
    const { postgres } = io.reader();
    expect(await failure(postgres.rows(server.url, INSERT, [9]))).toMatchObject({
      effect: 'none',
      retryable: false,
      code: '25006',
    });
    expect(await failure(postgres.rows(server.url, TWO))).toMatchObject({ code: '42601' });
    const made = { name: 'made', text: 'select 1' };
    await expect(postgres.rows(server.url, made)).rejects.toThrow(/statement\(\)/);
  });

  test('statistics are not kept within one connection', async () => {
    const { postgres } = io.reader();
    const first = Number((await postgres.rows<{ n: number }>(server.url, STATS))[0]?.n);
    await server.sql('insert into t values (4)');
    const until = Date.now() + 5000;
    let last = first;
    while (last === first && Date.now() < until) {
      await new Promise((done) => setTimeout(done, 50));
      last = Number((await postgres.rows<{ n: number }>(server.url, STATS))[0]?.n);
    }
    expect(last).toBe(first + 1);
  });

  test('a query that takes too long is left, and its connection is closed', async () => {
    const seen = await failure(io.reader({ ms: 300 }).postgres.rows(server.url, SLEEP));
    expect(seen).toMatchObject({ effect: 'none', retryable: true, code: 'ETIMEDOUT' });
    expect(await io.reader().postgres.rows(server.url, SELECT, [3])).toEqual([{ a: 4 }]);
    // bounded by statement_timeout where the server does not notice the closed connection
    expect((await io.reader().postgres.rows<{ n: number }>(server.url, COUNT))[0]?.n).toBeLessThanOrEqual(1);
  });

  test('a connection that was given up is told that the server ends: nobody is there to hear it, and nothing breaks', async () => {
    const uncaught: unknown[] = [];
    const heard = (error: unknown) => uncaught.push(error);
    process.on('uncaughtException', heard);
    try {
      const reader = io.reader({ ms: 300 });
      await failure(reader.postgres.rows(server.url, SLEEP));
      await server.kill();
      await server.restart();
      expect(await io.reader({ ms: 20_000 }).postgres.rows(server.url, SELECT, [3])).toEqual([{ a: 4 }]);
      expect(uncaught).toEqual([]);
    } finally {
      process.off('uncaughtException', heard);
    }
  });

  test('no server, no database, no right', async () => {
    const { postgres } = io.reader();
    expect(await failure(postgres.rows('postgres://app:secretpw@127.0.0.1:1/db', SELECT, [1]))).toEqual({
      message: 'postgres 127.0.0.1:1/db refused the connection',
      effect: 'none',
      retryable: true,
      code: 'ECONNREFUSED',
    });
    expect(await failure(postgres.rows(server.url.replace(/postgres$/, 'nowhere'), SELECT, [1]))).toMatchObject({
      code: '3D000',
      retryable: false,
    });
    expect(await failure(postgres.rows(server.url.replace('postgres@', 'app:x@'), SELECT, [1]))).toMatchObject({
      code: '42501',
      retryable: false,
    });
  });

  test('a server that goes away, and comes back', async () => {
    const { postgres } = io.reader({ ms: 20_000 });
    // a connection that is open outlives the server by a moment, and may answer once more
    await postgres.rows(server.url, SELECT, [1]);
    await server.kill();
    let seen: unknown;
    await until(async () => {
      seen = await postgres.rows(server.url, SELECT, [1]).then(
        () => undefined,
        (error: unknown) => error,
      );
      return seen !== undefined;
    }, 10_000);
    expect(await failure(Promise.reject(seen))).toMatchObject({ effect: 'none', retryable: true });
    await server.restart();
    expect(await postgres.rows(server.url, SELECT, [3])).toEqual([{ a: 4 }]);
  });
});
