// The queue on a real Postgres: the suite of every engine, directly and through a pooler; then what only a server can do.
import { readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { keyHash, newIntent } from '../../packages/intents/src/identity.ts';
import { type IntentQueue, type Limits, openQueue } from '../../packages/intents/src/index.ts';
import { describeWith, type Postgres, type Server, startPgbouncer, startPostgres } from '../support/servers.ts';
import { intentsSuite, receiptOf, write } from './intents.ts';

const DURABLE = { fsync: 'on', full_page_writes: 'on' };
let server: Postgres;
let made = 0;
const fresh = () => `q${process.pid}_${++made}`;

const fixtureAt =
  (url: () => string) =>
  async (limits: Partial<Limits> = {}) => {
    const schema = fresh();
    const queues: IntentQueue[] = [];
    const reopen = async (more = limits) => {
      const queue = await openQueue({ url: url(), schema }, more);
      queues.push(queue);
      return queue;
    };
    return {
      queue: await reopen(),
      reopen,
      async cleanup() {
        for (const queue of queues) await queue.close();
        await server.sql(`set client_min_messages = error; drop schema ${schema} cascade`);
      },
    };
  };

describeWith('postgres', 'Postgres', () => {
  beforeAll(async () => {
    server = await startPostgres({ settings: DURABLE });
  });
  afterAll(() => server?.stop());

  intentsSuite(
    'Postgres',
    fixtureAt(() => server.url),
  );

  describe('the queue on a server', () => {
    const opened: IntentQueue[] = [];
    const open = async (more: { url?: string; schema?: string } = {}) => {
      const queue = await openQueue({ url: server.url, schema: fresh(), ...more });
      opened.push(queue);
      return queue;
    };
    const session = async () => {
      const client = new pg.Client({ connectionString: server.url });
      await client.connect();
      return client;
    };
    const ROW = '(receipt, key_hash, fingerprint, part, surface, wrote, body_bytes, bytes, accepted_at, state, blocks)';
    afterEach(async () => {
      for (const queue of opened.splice(0)) await queue.close();
    });

    test('says what it survives, and whose it is', async () => {
      const queue = await open();
      const { survives, proof } = queue.store.durability;
      expect(survives).toBe('power');
      for (const setting of ['fsync=on', 'full_page_writes=on', 'synchronous_commit=on'])
        expect(proof).toContain(setting);
      const rows = await server.sql('select system_identifier from pg_control_system()');
      expect(await queue.systemIdentifier()).toBe(rows[0]?.[0]);
      expect((await queue.status()).queue).toMatch(/^postgres 127\.0\.0\.1:\d+\/postgres schema q/);
    });

    test('refuses a server that does not sync, and tables that are not logged', async () => {
      const lax = await startPostgres();
      try {
        await expect(openQueue({ url: lax.url })).rejects.toMatchObject({
          code: 'QUEUE_NOT_DURABLE',
          details: [expect.stringMatching(/fsync=off/)],
        });
        const queue = await openQueue({ url: lax.url, survives: 'process' });
        await queue.close();
      } finally {
        await lax.stop();
      }
      const schema = fresh();
      await (await open({ schema })).close();
      await server.sql(`alter table ${schema}.intents set unlogged`);
      await expect(open({ schema })).rejects.toMatchObject({
        code: 'QUEUE_NOT_DURABLE',
        details: [expect.stringMatching(/unlogged: intents/)],
      });
    });

    test('waits for the disk and may write, whatever the database has as its defaults', async () => {
      await server.sql('create database lax');
      await server.sql('alter database lax set synchronous_commit = off');
      await server.sql('alter database lax set default_transaction_read_only = on');
      const queue = await open({ url: server.url.replace(/postgres$/, 'lax') });
      const answers = await Promise.all([queue.accept(write()), queue.accept(write())]);
      expect(answers.map(({ is }) => is)).toEqual(['accepted', 'accepted']);
      expect(queue.store.durability.proof).toMatch(/synchronous_commit=on/);
    });

    test('refuses what is not its own, a newer release, and addresses that cannot be', async () => {
      const foreign = fresh();
      await server.sql(`create schema ${foreign}; create table ${foreign}.intents (x integer)`);
      await expect(open({ schema: foreign })).rejects.toMatchObject({ code: 'QUEUE_FOREIGN' });
      expect(await server.sql(`select count(*) from pg_tables where schemaname = '${foreign}'`)).toEqual([['1']]);
      const schema = fresh();
      await (await open({ schema })).close();
      await server.sql(`update ${schema}.meta set version = 99`);
      await expect(open({ schema })).rejects.toMatchObject({
        code: 'QUEUE_FOREIGN',
        message: expect.stringMatching(/newer/),
      });
      await expect(open({ schema: 'Quoted"' })).rejects.toMatchObject({ code: 'QUEUE_OPTIONS' });
      const nobody = server.url.replace('postgres@', 'nobody:s3cret@');
      for (const url of ['postgres://u:s3cret@[bad/db', 'postgres://u:s3cret@127.0.0.1:1/db', nobody]) {
        const error = (await open({ url }).catch((each: unknown) => each)) as Error & { details: string[] };
        expect(error).toMatchObject({ name: 'QueueError' });
        expect(`${error.message} ${error.details}`).not.toContain('s3cret');
      }
    });

    test('tables of before anybody led: the first who leads adds what is missing', async () => {
      const schema = fresh();
      const queue = await open({ schema });
      await server.sql(`drop table ${schema}.leader`);
      await queue.store.resign('a');
      await server.sql(`drop table ${schema}.leader`);
      expect(await queue.store.lead('a', 60_000)).toEqual({ is: 'ours' });
      expect(await queue.store.lead('b', 60_000)).toMatchObject({ is: 'theirs', owner: 'a' });
    });

    test('many open it for the first time at once', async () => {
      const schema = fresh();
      const queues = await Promise.all(Array.from({ length: 6 }, () => open({ schema })));
      const answers = await Promise.all(queues.map((queue) => queue.accept(write())));
      expect(answers.map(({ is }) => is)).toEqual(answers.map(() => 'accepted'));
      expect(await server.sql(`select count(*) from ${schema}.meta`)).toEqual([['1']]);
    });

    test('a key that another session is storing: 409, and its neighbours are accepted', async () => {
      const schema = fresh();
      const queue = await open({ schema });
      const sent = write({ key: 'k' });
      const other = await session();
      try {
        await other.query('begin');
        const values = `('r', $1, '', 'p', 's', '{}', 0, 0, 0, 'queued', true)`;
        await other.query(`insert into ${schema}.intents ${ROW} values ${values}`, [keyHash(sent)]);
        const answers = await Promise.all([queue.accept(sent), queue.accept(write()), queue.accept(write())]);
        expect(answers.map(({ is }) => is)).toEqual(['in_flight', 'accepted', 'accepted']);
        await other.query('rollback');
        expect(await queue.accept(sent)).toMatchObject({ is: 'accepted', replayed: false });
      } finally {
        await other.end();
      }
    });

    test('numbers within a partition rise with the commits, also between two processes', async () => {
      const schema = fresh();
      const queue = await open({ schema });
      const other = await session();
      try {
        const { partition } = newIntent(write({ order: 'a' }));
        await queue.accept(write({ order: 'a' }));
        // somebody who has the partition and has not committed yet
        await other.query('begin');
        await other.query(
          `insert into ${schema}.parts (part, since) values ($1, 0) on conflict (part) do update set since = parts.since`,
          [partition],
        );
        const waiting = queue.accept(write({ order: 'a' }));
        await new Promise((resolve) => setTimeout(resolve, 100));
        const values = `('first', 'x', '', $1, 's', '{}', 0, 0, 0, 'applied', false)`;
        await other.query(`insert into ${schema}.intents ${ROW} values ${values}`, [partition]);
        await other.query('commit');
        const later = receiptOf(await waiting);
        const rows = await server.sql(`select receipt from ${schema}.intents where part = '${partition}' order by seq`);
        expect(rows.map(([receipt]) => receipt).slice(-2)).toEqual(['first', later]);
      } finally {
        await other.end();
      }
    });

    test('a hold that has been set is seen by every claim that begins later, and waits for those under way', async () => {
      const schema = fresh();
      const queue = await open({ schema });
      await queue.accept(write());
      const other = await session();
      try {
        await other.query(`begin; lock table ${schema}.holds in row share mode`);
        let held = false;
        const hold = queue.hold('w', 'x').then(() => {
          held = true;
        });
        await new Promise((resolve) => setTimeout(resolve, 150));
        expect(held).toBe(false);
        await other.query('commit');
        await hold;
        expect(await queue.store.take('t', 1_000)).toMatchObject({ is: 'held' });
      } finally {
        await other.end();
      }
    });

    test('one key twice in one batch, with the same payload and another', async () => {
      const queue = await open();
      const one = write({ key: 'k' });
      const two = { ...one, body: Buffer.from('other') };
      // past the queue, which joins them before
      const answers = await Promise.all([one, one, two].map((each) => queue.store.accept(newIntent(each))));
      expect(answers.map(({ is }) => is)).toEqual(['accepted', 'accepted', 'reused']);
      expect(new Set(answers.slice(0, 2).map(receiptOf)).size).toBe(1);
    });

    test('a server that crashes: nothing that was answered is taken back, and the same key finds what was stored', async () => {
      const queue = await open();
      const kept = receiptOf(await queue.accept(write({ key: 'kept' })));
      const hanging = queue.accept(write({ key: 'hanging' }));
      await server.kill();
      const began = performance.now();
      expect(await queue.accept(write({ key: 'down' }))).toMatchObject({ is: 'unknown' });
      expect(performance.now() - began).toBeLessThan(7_000);
      await expect(queue.receipt(kept)).rejects.toMatchObject({ code: 'QUEUE_UNAVAILABLE' });
      await expect(queue.busy('notes', 't1', 'a')).rejects.toMatchObject({ code: 'QUEUE_UNAVAILABLE' });
      expect(queue.pending('notes')).toBe(true);
      await server.restart();
      expect(await queue.receipt(kept)).toMatchObject({ state: 'queued' });
      const first = await hanging;
      const again = await queue.accept(write({ key: 'hanging' }));
      expect(again).toMatchObject({ is: 'accepted', ...(first.is === 'accepted' ? { receipt: first.receipt } : {}) });
      expect((await queue.list()).intents.filter(({ key }) => key === 'hanging')).toHaveLength(1);
    });

    test('a server that stops answering: the caller is told in time', async () => {
      const queue = await open();
      await queue.accept(write());
      const pids = await stopped(server.pid);
      try {
        const began = performance.now();
        expect(await queue.accept(write())).toMatchObject({ is: 'unknown' });
        expect(performance.now() - began).toBeLessThan(6_500);
        const gone = AbortSignal.timeout(50);
        expect(await queue.accept(write(), gone)).toMatchObject({ is: 'unknown' });
      } finally {
        for (const pid of pids) process.kill(pid, 'SIGCONT');
      }
      expect(await queue.accept(write())).toMatchObject({ is: 'accepted' });
    });
  });
});

/** The server and its processes, which a signal to their parent does not stop. */
async function stopped(parent: number): Promise<number[]> {
  const text = await readFile(`/proc/${parent}/task/${parent}/children`, 'utf8');
  const pids = [parent, ...text.trim().split(/\s+/).map(Number)];
  for (const pid of pids) process.kill(pid, 'SIGSTOP');
  return pids;
}

describeWith(['postgres', 'pgbouncer'], 'Postgres behind a pooler in transaction mode', () => {
  let pooler: Server;
  beforeAll(async () => {
    server = await startPostgres({ settings: DURABLE });
    pooler = await startPgbouncer({ postgres: server });
  });
  afterAll(async () => {
    await pooler?.stop();
    await server?.stop();
  });

  intentsSuite(
    'Postgres through PgBouncer',
    fixtureAt(() => pooler.url),
  );
});
