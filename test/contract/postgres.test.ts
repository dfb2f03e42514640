// The journal on Postgres: the same suite as every store's, directly and through a pooler; then what only a server can do.
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import pg from 'pg';
import { type Journal, LEASE_MS, type Lease, NewerStore } from '../../src/engine/journal.ts';
import { openJournal } from '../../src/store/index.ts';
import { openPostgres } from '../../src/store/postgres.ts';
import { postgresPlace } from '../../src/store/postgres-address.ts';
import { describeWith, type Postgres, type Server, startPgbouncer, startPostgres } from '../support/servers.ts';
import { owner, type StoreFixture, taken } from '../support/store-fixture.ts';
import { until } from '../support/until.ts';
import { spawned, storeSuite } from './store.ts';

const VERSION = '0.1.0';
let server: Postgres;
let made = 0;
const fresh = () => `s${process.pid}_${++made}`;
const within = (state: string, schema: string) => `${state}?schema=${schema}`;
const place = (state: string) => postgresPlace(state, 'MAINT_STATE', {});
const open = (state: string, write = true) => openJournal({ env: { MAINT_STATE: state }, write, version: VERSION });
const failure = (state: string, write = true): Promise<{ message?: string; details?: string[]; next?: string[] }> =>
  open(state, write)
    .then(async (journal) => journal.windows().finally(() => journal.end()))
    .then(
      () => ({}),
      (error) => error,
    );

async function fixture(url: string): Promise<StoreFixture> {
  const schema = fresh();
  const state = within(url, schema);
  let ms = Date.now();
  const journals: Journal[] = [];
  const reopen = async () => {
    const journal = await openPostgres(place(state), { version: VERSION, clock: () => ms });
    journals.push(journal);
    return journal;
  };
  return {
    journal: await reopen(),
    reopen,
    state,
    advance(by) {
      ms += by;
    },
    async cleanup() {
      for (const journal of journals) await journal.end();
      await server.sql(
        `begin read write; set local client_min_messages = error; drop schema if exists ${schema} cascade; commit`,
      );
    },
  };
}

describeWith('postgres', 'Postgres', () => {
  beforeAll(async () => {
    // the whole server is read-only by default: the state is written to even so
    server = await startPostgres({ settings: { default_transaction_read_only: 'on', max_connections: '100' } });
  }, 60_000);
  afterAll(() => server.stop());

  storeSuite('Postgres', () => fixture(server.url));

  describeWith('pgbouncer', 'behind a pooler', () => {
    let pooler: Server;
    beforeAll(async () => {
      pooler = await startPgbouncer({ postgres: server });
    });
    afterAll(() => pooler.stop());
    storeSuite('Postgres through PgBouncer in transaction mode', () => fixture(pooler.url));
  });

  const event = { type: 'overdue' as const };
  const owned = (sql: string) => server.sql(`begin read write; ${sql}; commit`);
  const url = (user: string, port = server.port) => `postgres://${user}@127.0.0.1:${port}/postgres`;
  async function begun(state: string): Promise<{ journal: Journal; lease: Lease }> {
    const journal = await open(state);
    const lease = await taken(journal);
    await journal.open(lease, 'w-1', [event]);
    return { journal, lease };
  }

  test('20 processes run first at once: one makes the tables, all are ready, one takes the lease', async () => {
    await using children = await spawned(within(server.url, fresh()), 'race', 20);
    for (const child of children.list) child.process.stdin!.write('go\n');
    const said = await Promise.all(children.list.map((child) => child.next()));
    expect(said.filter((line) => 'taken' in (line as object))).toHaveLength(1);
  }, 90_000);

  test('goes by the server’s clock, whatever this machine’s says', async () => {
    const lying = jest.spyOn(Date, 'now').mockReturnValue(0);
    const { journal, lease } = await begun(within(server.url, fresh())).finally(() => lying.mockRestore());
    const [[now]] = (await server.sql('select extract(epoch from clock_timestamp()) * 1000')) as [[string]];
    const [recorded] = await journal.append(lease, 'w-1', [event]);
    for (const time of [lease.renewedAt, Date.parse(recorded!.at), await journal.now()])
      expect(Math.abs(time - Number(now))).toBeLessThan(60_000);
    await journal.end();
  });

  test('leaves nothing in its sessions, and says who it is', async () => {
    const { journal } = await begun(within(server.url, fresh()));
    const sessions = await server.sql("select state from pg_stat_activity where application_name = 'maint'");
    expect(sessions).toContainEqual(['idle']);
    expect(sessions).not.toContainEqual(['idle in transaction']);
    expect(await server.sql("select count(*) from pg_locks where locktype = 'advisory'")).toEqual([['0']]);
    await journal.end();
  });

  test('looking makes nothing, sees what begins later, and refuses to write', async () => {
    const schema = fresh();
    const look = await open(within(server.url, schema), false);
    expect(await look.windows()).toEqual([]);
    expect(await look.lease('prod')).toBeUndefined();
    expect(await look.now()).toBeGreaterThan(1e12);
    expect(await server.sql(`select 1 from pg_namespace where nspname = '${schema}'`)).toEqual([]);
    expect(look).toMatchObject({
      shared: true,
      address: `postgres 127.0.0.1:${server.port}/postgres schema ${schema}`,
    });
    const { journal, lease } = await begun(within(server.url, schema));
    expect(journal.address).toBe(look.address);
    expect(await look.windows()).toEqual(await journal.windows());
    expect(await look.read('w-1')).toEqual(await journal.read('w-1'));
    expect(await look.lease('prod')).toEqual(lease);
    await expect(look.append(lease, 'w-1', [])).rejects.toThrow('looking only');
    for (const each of [look, journal, look]) await each.end();
  });

  test('of a newer release: refused where its changes break what older ones do, that release named', async () => {
    const schema = fresh();
    const state = within(server.url, schema);
    await (await open(state)).end();
    const later = (breaks: string) =>
      owned(`insert into ${schema}.migrations values ('0099-${breaks}', '9.1.0-${breaks}', '', '${breaks}')`);
    await later('nothing');
    expect(await failure(state)).toEqual({});
    await later('writing');
    expect(await failure(state)).toMatchObject({ name: 'NewerStore', version: '9.1.0-writing' });
    expect(await failure(state, false)).toEqual({});
    await later('reading');
    for (const write of [true, false]) expect(await failure(state, write)).toBeInstanceOf(NewerStore);
  });

  test('a schema in which another program has tables of these names is left alone', async () => {
    const schema = fresh();
    await owned(
      `create schema ${schema}; create table ${schema}.migrations (id int); create table ${schema}.events (id int)`,
    );
    for (const write of [true, false])
      expect(await failure(within(server.url, schema), write)).toMatchObject({
        code: 'E_STATE',
        message: expect.stringContaining('holds tables of another program: events, migrations'),
        next: [{ advice: expect.stringContaining('?schema=') }],
      });
    expect(
      await server.sql(
        `select count(*) from pg_class where relnamespace = '${schema}'::regnamespace and relkind = 'r'`,
      ),
    ).toEqual([['2']]);
  });

  test('of two environments that open the same window at once, one is told that it exists', async () => {
    const state = within(server.url, fresh());
    const one = await open(state);
    const two = await open(state);
    const leases = [await taken(one, 'prod'), await taken(two, 'staging')] as const;
    for (let round = 0; round < 20; round++) {
      const id = `w-${round}`;
      const settled = await Promise.allSettled([one.open(leases[0], id, [event]), two.open(leases[1], id, [event])]);
      const lost = settled.filter((each) => each.status === 'rejected');
      expect(lost).toHaveLength(1);
      expect(lost[0]!.reason).toMatchObject({ name: 'WindowExists', id });
      const won = settled[0]!.status === 'fulfilled' ? 0 : 1;
      await [one, two][won]!.close(leases[won]!, id, []);
    }
    await one.end();
    await two.end();
  });

  test('what the server rolled back for others’ sake is done again, once', async () => {
    const schema = fresh();
    const { journal, lease } = await begun(within(server.url, schema));
    await owned(`create sequence ${schema}.tries; create function ${schema}.fail() returns trigger language plpgsql as $$ begin
      if nextval('${schema}.tries') <= 2 then raise sqlstate '40001'; end if; return new; end $$;
      create trigger fail before insert on ${schema}.events for each row execute function ${schema}.fail()`);
    expect(await journal.append(lease, 'w-1', [event])).toMatchObject([{ seq: 2 }]);
    expect(await journal.read('w-1')).toHaveLength(2);
    await owned(`alter sequence ${schema}.tries restart; create or replace function ${schema}.fail() returns trigger language plpgsql as $$ begin
      raise sqlstate '40P01'; end $$`);
    await expect(journal.append(lease, 'w-1', [event])).rejects.toMatchObject({ code: 'E_STATE', exit: 75 });
    expect(await journal.read('w-1')).toHaveLength(2);
    await journal.end();
  });

  test('sessions that were ended between two appends are made anew', async () => {
    const { journal, lease } = await begun(within(server.url, fresh()));
    await server.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'maint'");
    expect(await journal.append(lease, 'w-1', [event])).toMatchObject([{ seq: 2 }]);
    await journal.end();
  });

  test('a commit whose answer is lost is not repeated: said so, and recorded once', async () => {
    const schema = fresh();
    await (await open(within(server.url, schema))).end();
    await using cut = await proxy(server.port);
    const { journal, lease } = await begun(within(url('postgres', cut.port), schema));
    cut.at('commit\0');
    const error = await journal.append(lease, 'w-1', [event]).catch((reason) => reason);
    expect(error).toMatchObject({
      code: 'E_STATE',
      message: expect.stringContaining('did not say whether'),
      next: [{ advice: expect.stringContaining('again') }],
    });
    await until(async () => (await journal.read('w-1')).length === 2);
    await journal.end();
  });

  test('a connection that is cut before the commit: done again, recorded once', async () => {
    const schema = fresh();
    await (await open(within(server.url, schema))).end();
    await using cut = await proxy(server.port);
    const { journal, lease } = await begun(within(url('postgres', cut.port), schema));
    cut.at('insert into');
    expect(await journal.append(lease, 'w-1', [event])).toMatchObject([{ seq: 2 }]);
    expect(await journal.read('w-1')).toHaveLength(2);
    await journal.end();
  });

  test('an append is four ways to the server and back', async () => {
    const schema = fresh();
    await (await open(within(server.url, schema))).end();
    await using way = await proxy(server.port);
    const { journal, lease } = await begun(within(url('postgres', way.port), schema));
    const before = way.answers();
    await journal.append(lease, 'w-1', [event, event]);
    expect(way.answers() - before).toBe(4);
    await journal.end();
  });

  test('a restart that takes a moment is waited for', async () => {
    const schema = fresh();
    await (await open(within(server.url, schema))).end();
    await using way = await proxy(server.port);
    const { journal, lease } = await begun(within(url('postgres', way.port), schema));
    const up = await way.down();
    const appending = journal.append(lease, 'w-1', [event]).then(
      (recorded) => recorded,
      (error) => error,
    );
    await new Promise((resolve) => setTimeout(resolve, 300));
    await up();
    expect(await appending).toMatchObject([{ seq: 2 }]);
    await journal.end();
  });

  test('who holds the lease’s row for long is named as busy: exit 75, nothing appended', async () => {
    const schema = fresh();
    const { journal, lease } = await begun(within(server.url, schema));
    const other = new pg.Client({ connectionString: server.url });
    await other.connect();
    await other.query('begin read write');
    await other.query(`select * from ${schema}.leases for update`);
    await expect(journal.append(lease, 'w-1', [event])).rejects.toMatchObject({ code: 'E_STATE', exit: 75 });
    await other.query('rollback');
    await other.end();
    expect(await journal.append(lease, 'w-1', [event])).toMatchObject([{ seq: 2 }]);
    await journal.end();
  }, 30_000);

  test('a lease that is taken after a wait lives as long as any other', async () => {
    const schema = fresh();
    const { journal, lease } = await begun(within(server.url, schema));
    const other = new pg.Client({ connectionString: server.url });
    await other.connect();
    await other.query('begin read write');
    await other.query(`select * from ${schema}.leases for update`);
    const taking = journal.take('prod', owner('ben'), lease.token);
    await until(
      async () =>
        (await server.sql("select 1 from pg_locks where not granted and locktype in ('transactionid', 'tuple')"))
          .length > 0,
    );
    await other.query('select pg_sleep(1)');
    const { rows } = await other.query('select floor(extract(epoch from clock_timestamp()) * 1000) as now');
    await other.query('rollback');
    await other.end();
    const { taken: over } = (await taking) as { taken: Lease };
    expect(over.expiresAt - Number(rows[0].now)).toBeGreaterThanOrEqual(LEASE_MS);
    await journal.end();
  }, 30_000);

  test('a run that fell asleep within a transaction does not keep others from taking over, and writes nothing when it wakes', async () => {
    const state = within(server.url, fresh());
    const journal = await open(state);
    await using children = await spawned(state, 'append', 1);
    const [child] = children.list;
    child!.process.stdin!.write('go\n');
    while (((await child!.next()) as number) < 5);
    child!.process.kill('SIGSTOP');
    const sleeping = (await journal.lease('prod'))!;
    const { taken: lease } = (await journal.take('prod', owner('ben'), sleeping.token)) as { taken: Lease };
    const before = await journal.read('w-1');
    const exited = new Promise((resolve) => child!.process.once('exit', resolve));
    child!.process.kill('SIGCONT');
    expect(await exited).toBe(3);
    expect(await journal.read('w-1')).toEqual(before);
    expect(await journal.append(lease, 'w-1', [event])).toHaveLength(1);
    await journal.end();
  }, 30_000);

  describe('rights', () => {
    const roles: string[] = [];
    async function role(): Promise<string> {
      const name = `r${process.pid}_${++made}`;
      roles.push(name);
      await owned(`create role ${name} login`);
      return name;
    }
    afterAll(async () => {
      for (const name of roles) await owned(`drop owned by ${name}; drop role ${name}`);
    });

    test('of the documentation are enough for everything that acting does, and its tables are those that are made', async () => {
      const [least, owning, other] = [await role(), await role(), fresh()];
      const schema = fresh();
      const { tables, grants } = documented(schema, least);
      await owned(`create schema ${schema} authorization ${owning}; set local role ${owning}; ${tables}; ${grants}`);
      const { journal, lease } = await begun(within(url(least), schema));
      await journal.append(lease, 'w-1', [event]);
      const second = await open(within(url(least), schema));
      const { taken: over } = (await second.take('prod', owner('ben'), lease.token)) as { taken: Lease };
      await second.renew(over);
      await second.close(over, 'w-1', [event]);
      await second.release(over);
      expect(await failure(within(url(least), schema), false)).toEqual({});
      await journal.end();
      await second.end();

      // an event that is recorded cannot be changed, and nothing can be made or dropped
      for (const forbidden of [
        `update ${schema}.events set body = ''`,
        `delete from ${schema}.events`,
        `truncate ${schema}.windows`,
        `create table ${schema}.x ()`,
        `insert into ${schema}.migrations values ('x')`,
      ])
        await expect(owned(`set local role ${least}; ${forbidden}`)).rejects.toThrow(/permission denied/);

      await (await open(within(server.url, other))).end();
      const shape = (name: string) =>
        server.sql(
          `select table_name, column_name, data_type, is_nullable, column_default from information_schema.columns where table_schema = '${name}' order by 1, 2`,
        );
      const indexes = async (name: string) =>
        (
          await server.sql(
            `select indexdef from pg_indexes where schemaname = '${name}' union all select conrelid::regclass || ' ' || pg_get_constraintdef(oid) from pg_constraint where connamespace = '${name}'::regnamespace order by 1`,
          )
        ).map(([text]) => text!.replaceAll(name, 'S'));
      expect(await shape(schema)).toEqual(await shape(other));
      expect(await indexes(schema)).toEqual(await indexes(other));
      expect(await server.sql(`select name, breaks from ${schema}.migrations order by 1`)).toEqual(
        await server.sql(`select name, breaks from ${other}.migrations order by 1`),
      );
    });

    test('of who owns the schema are enough to make the tables', async () => {
      const [name, schema] = [await role(), fresh()];
      await owned(`create schema ${schema} authorization ${name}`);
      const { journal } = await begun(within(url(name), schema));
      await journal.end();
    });

    test.each([
      [
        'to make the schema',
        '',
        /is not there yet, and \S+ may not make that schema/,
        /create schema \S+ authorization \S+;/,
      ],
      [
        'to make the tables',
        'create schema SCHEMA',
        /may not make the tables in it/,
        /grant usage, create on schema \S+ to \S+;/,
      ],
    ])('are missing %s: what to grant is said', async (_, before, words, grant) => {
      const [name, schema] = [await role(), fresh()];
      if (before) await owned(before.replace('SCHEMA', schema));
      const error = await failure(within(url(name), schema));
      expect(error).toMatchObject({
        code: 'E_STATE',
        exit: 64,
        message: expect.stringMatching(words),
        details: expect.arrayContaining([expect.stringMatching(grant)]),
      });
      expect(await failure(within(url(name), schema), false)).toEqual({});
      // what is said is enough
      await owned(/: (.*);/.exec(error.details![0]!)![1]!);
      expect(await failure(within(url(name), schema))).toEqual({});
    });

    test('on the tables are missing: what to grant is said, and is enough', async () => {
      const [name, schema] = [await role(), fresh()];
      await (await open(within(server.url, schema))).end();
      for (const write of [false, true]) {
        const error = await failure(within(url(name), schema), write);
        expect(error).toMatchObject({
          code: 'E_STATE',
          exit: 64,
          message: expect.stringContaining(`is not for ${name}`),
        });
        expect(error.details!.join('\n')).toContain(
          write ? `grant insert on ${schema}.events to ${name};` : `grant usage on schema ${schema} to ${name};`,
        );
        await owned(error.details!.join(' ').replace(/;$/, ''));
        expect(await failure(within(url(name), schema), write)).toEqual({});
      }
    });
  });
});

describeWith('postgres', 'a Postgres that goes away', () => {
  test('killed and started again between two appends: told in words, nothing half, and on it goes', async () => {
    const own = await startPostgres();
    try {
      const journal = await open(own.url);
      const lease = await taken(journal);
      const batch = Array.from({ length: 50 }, () => ({ type: 'overdue' as const }));
      await journal.open(lease, 'w-1', batch);
      const appending = Array.from({ length: 5 }, () =>
        journal.append(lease, 'w-1', batch).then(
          () => 1,
          (error) => error,
        ),
      );
      await own.kill();
      const answers = await Promise.all(appending);
      for (const answer of answers) if (answer !== 1) expect(answer).toMatchObject({ code: 'E_STATE' });
      for (const write of [true, false])
        expect(await failure(own.url, write)).toMatchObject({
          code: 'E_STATE',
          message: `the state at postgres 127.0.0.1:${own.port}/postgres schema maint is not there: nothing listens at that address`,
        });
      await expect(journal.renew(lease)).rejects.toMatchObject({ code: 'E_STATE' });
      await own.restart();
      const events = await journal.read('w-1');
      expect(events.length % 50).toBe(0);
      expect(events.length / 50).toBeGreaterThan(answers.filter((answer) => answer === 1).length);
      expect(await journal.append(lease, 'w-1', batch)).toMatchObject({ length: 50 });
      await journal.end();
    } finally {
      await own.stop();
    }
  }, 60_000);

  test('frozen while it is asked: told after seconds', async () => {
    const own = await startPostgres();
    const [journal, pids] = [
      await open(own.url),
      await own.sql("select pid from pg_stat_activity where application_name = 'maint'"),
    ];
    try {
      const lease = await taken(journal);
      for (const [pid] of pids) process.kill(Number(pid), 'SIGSTOP');
      const began = performance.now();
      await expect(journal.renew(lease)).rejects.toMatchObject({
        code: 'E_STATE',
        message: expect.stringContaining('did not answer within 7s'),
      });
      expect(performance.now() - began).toBeLessThan(10_000);
      // another connection is made, and the frozen one holds nothing
      for (const [pid] of pids) process.kill(Number(pid), 'SIGCONT');
      await journal.renew(lease);
      await journal.end();
    } finally {
      await own.stop();
    }
  }, 60_000);
});

const OPENSSL = 'openssl';
const openssl = spawnSync(OPENSSL, ['version']).status === 0;
describeWith('postgres', 'TLS', () => {
  const host = `maint-test.localhost`;
  let own: Postgres;
  let folder: string;
  let certificate = '';
  const at = (mode: string, name = '127.0.0.1') => `postgres://postgres@${name}:${own.port}/postgres?${mode}`;
  beforeAll(async () => {
    if (!openssl) return;
    folder = mkdtempSync(join(tmpdir(), 'maint-tls-'));
    certificate = join(folder, 'cert.pem');
    const key = join(folder, 'key.pem');
    spawnSync(OPENSSL, [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
      '-subj',
      `/CN=${host}`,
      '-addext',
      `subjectAltName=DNS:localhost`,
      '-keyout',
      key,
      '-out',
      certificate,
    ]);
    const hba = join(folder, 'pg_hba.conf');
    writeFileSync(hba, 'local all all trust\nhostssl all postgres all trust\nhostssl all pass all scram-sha-256\n');
    const line = readFileSync('/etc/passwd', 'utf8').match(/^postgres:x:(\d+):(\d+)/m);
    chmodSync(folder, 0o755);
    if (line && process.getuid?.() === 0)
      for (const path of [key, certificate, hba]) chownSync(path, Number(line[1]), Number(line[2]));
    own = await startPostgres({
      settings: { ssl: 'on', ssl_cert_file: certificate, ssl_key_file: key, hba_file: hba },
    });
  }, 60_000);
  afterAll(async () => {
    await own?.stop();
    if (folder) rmSync(folder, { recursive: true });
  });
  const each = openssl ? test.each : test.skip.each;

  each([
    ['', '127.0.0.1', /takes no connection in plain text/, /sslmode=verify-full/],
    ['sslmode=verify-full', 'localhost', /a certificate that this machine does not trust/, /sslrootcert=FILE/],
    ['sslmode=require', 'localhost', /a certificate that this machine does not trust/, /sslrootcert=FILE/],
    [
      'sslmode=verify-full&sslrootcert=CERT',
      '127.0.0.1',
      /a certificate that this machine does not trust/,
      /sslrootcert=FILE/,
    ],
    ['sslmode=verify-full&sslrootcert=CERT', 'localhost', undefined, undefined],
    ['sslmode=no-verify', '127.0.0.1', undefined, undefined],
  ])('%j at %s (skipped without openssl)', async (mode, name, words, next) => {
    const error = await failure(at(mode.replace('CERT', certificate), name));
    if (words === undefined) expect(error).toEqual({});
    else
      expect(error).toMatchObject({
        code: 'E_STATE',
        exit: 64,
        message: expect.stringMatching(words),
        next: [{ advice: expect.stringMatching(next!) }],
      });
  });

  (openssl ? test : test.skip)(
    'passwords: right, wrong, none, from the environment (skipped without openssl)',
    async () => {
      const psql = new pg.Client({ connectionString: at('', '127.0.0.1'), ssl: { rejectUnauthorized: false } });
      await psql.connect();
      await psql.query("create role pass login password 'hunt%r2'; create schema passes authorization pass");
      await psql.end();
      const named = (userinfo: string) => at('sslmode=no-verify&schema=passes').replace('postgres@', `${userinfo}@`);
      expect(await failure(named('pass:hunt%25r2'))).toEqual({});
      const wrong = await failure(named('pass:hunter3'));
      expect(wrong).toMatchObject({ code: 'E_STATE', message: expect.stringContaining('refuses the password') });
      expect(JSON.stringify(wrong) + String(wrong)).not.toContain('hunter3');
      expect(await failure(named('pass'))).toMatchObject({
        code: 'E_STATE',
        message: expect.stringContaining('asks for a password'),
      });
      const journal = await openJournal({
        state: named('pass'),
        env: { PGPASSWORD: 'hunt%r2' },
        write: true,
        version: VERSION,
      });
      expect(await journal.windows()).toEqual([]);
      await journal.end();
    },
  );

  describeWith('postgres', 'where the server has none', () => {
    test('sslmode=require: told in words', async () => {
      const plain = await startPostgres();
      try {
        expect(await failure(`${plain.url}?sslmode=require`)).toMatchObject({
          code: 'E_STATE',
          message: expect.stringContaining('does not speak TLS'),
          next: [{ advice: expect.stringContaining('sslmode=disable') }],
        });
        expect(await failure(`${plain.url.replace(/\w+$/, 'none')}`)).toMatchObject({
          message: expect.stringContaining('has no such database'),
        });
        expect(await failure(plain.url.replace('postgres@', 'nobody@'))).toMatchObject({
          message: expect.stringContaining('refuses this user'),
        });
      } finally {
        await plain.stop();
      }
    }, 60_000);
  });
});

describe('at that address', () => {
  test('something listens that never answers: told after seconds, and the password is not in the words', async () => {
    await using deaf = await listening(() => {});
    const began = performance.now();
    for (const write of [true, false]) {
      const error = await failure(`postgres://ana:hunter2@127.0.0.1:${deaf.port}/app`, write);
      expect(error).toMatchObject({
        code: 'E_STATE',
        exit: 64,
        message: `the state at postgres 127.0.0.1:${deaf.port}/app schema maint did not answer in time`,
      });
      expect(JSON.stringify(error) + String(error)).not.toContain('hunter2');
    }
    expect(performance.now() - began).toBeLessThan(14_000);
  }, 30_000);

  test.each([
    ['something else speaks', (socket: Socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['the connection is closed at once', (socket: Socket) => socket.destroy()],
  ])('%s: told in words', async (_, answer) => {
    await using other = await listening(answer);
    expect(await failure(`postgres://127.0.0.1:${other.port}/app`)).toMatchObject({ code: 'E_STATE', exit: 64 });
  });
});

async function listening(answer: (socket: Socket) => void) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    answer(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    /** nobody listens until the function that it returns is called */
    async down() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      return () => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Passes everything on, until a message holds the text: that still arrives, its answer does not, once. */
async function proxy(port: number) {
  let text: string | undefined;
  let answers = 0;
  const listener = await listening((client) => {
    const upstream = connect({ port, host: '127.0.0.1' });
    upstream.on('error', () => {});
    client.on('data', (data) => {
      upstream.write(data);
      if (text === undefined || !data.includes(text)) return;
      text = undefined;
      client.destroy();
    });
    upstream.on('data', (data) => {
      // ReadyForQuery ends each answer
      if (data.subarray(-6, -1).equals(Buffer.from([0x5a, 0, 0, 0, 5]))) answers++;
      if (!client.destroyed) client.write(data);
    });
    client.on('close', () => upstream.end());
    upstream.on('close', () => client.destroy());
  });
  return Object.assign(listener, {
    answers: () => answers,
    at(wanted: string) {
      text = wanted;
    },
  });
}

/** The two blocks of SQL in docs/shared-state.md, for another schema and role. */
function documented(schema: string, role: string): { tables: string; grants: string } {
  const text = readFileSync(new URL('../../docs/shared-state.md', import.meta.url), 'utf8');
  const blocks = [...text.matchAll(/```sql\n([\s\S]*?)```/g)].map(([, block]) =>
    block!
      .replace(/^create schema.*$/m, '')
      .replaceAll('maint_team', role)
      .replace(/\bmaint\b(?!:)/g, schema)
      .trim()
      .replace(/;$/, ''),
  );
  const [tables, grants] = [
    blocks.find((block) => block.includes('create table')),
    blocks.find((block) => block.includes('grant ')),
  ];
  return { tables: tables!, grants: grants! };
}
