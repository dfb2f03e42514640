// One effect for each key, in the service's own transaction: real Postgres, and SQLite.
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import {
  FENCE_SQL,
  type FenceAnswer,
  type FencedAnswer,
  FenceRollback,
  type FenceStore,
  fenced,
  requestFingerprint,
} from '../../../packages/guard/src/index.ts';
import { describeWith, startPostgres } from '../../support/servers.ts';

interface Fenced {
  /** in a transaction of its own: committed with the answer, rolled back with the error */
  once(key: string, body: string, effect?: () => Promise<FenceAnswer>, keepCharacters?: number): Promise<FencedAnswer>;
  effects(): Promise<number>;
}

function suite(open: () => Fenced): void {
  const created: FenceAnswer = { status: 201, headers: { location: '/n/1' }, body: { id: 1 } };

  test('once, and the same answer again; another request is 422', async () => {
    const { once, effects } = open();
    const before = await effects();
    expect(await once('k-1', 'a')).toMatchObject({ ...created, replayed: false });
    expect(await once('k-1', 'a')).toMatchObject({ ...created, replayed: true });
    expect(await once('k-1', 'b')).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } });
    expect((await effects()) - before).toBe(1);
  });

  test('an answer that is not kept is 409 already_applied', async () => {
    const { once } = open();
    expect((await once('k-2', 'a', undefined, 10)).status).toBe(201);
    expect(await once('k-2', 'a')).toMatchObject({ status: 409, replayed: true, body: { code: 'already_applied' } });
  });

  test('what fails leaves nothing: the key is free, and so after a 5xx and a refusal', async () => {
    const { once, effects } = open();
    const before = await effects();
    const broken = once('k-3', 'a', async () => {
      throw new Error('no disk');
    });
    await expect(broken).rejects.toThrow('no disk');
    for (const status of [503, 409, 400])
      await expect(once('k-3', 'a', async () => ({ status }))).rejects.toMatchObject({
        name: FenceRollback.name,
        answer: { status },
      });
    expect(await effects()).toBe(before);
    expect((await once('k-3', 'a')).status).toBe(201);
    expect((await effects()) - before).toBe(1);
  });
}

describe('SQLite', () => {
  const db = new DatabaseSync(':memory:');
  const sql = FENCE_SQL.sqlite;
  db.exec(sql.table);
  db.exec('create table effects (key text)');
  afterAll(() => db.close());
  const store: FenceStore = {
    insert: (key, print) => db.prepare(sql.insert).run(key, print).changes === 1,
    find: (key) => db.prepare(sql.find).get(key) as { fingerprint: string; answer: string | null } | undefined,
    complete: (key, answer) => db.prepare(sql.complete).run(answer, key),
  };
  const world: Fenced = {
    async once(key, body, effect, keepCharacters = 1000) {
      db.exec('begin immediate');
      try {
        const request = { key, fingerprint: requestFingerprint('POST', '/n', body), keepCharacters };
        const answer = await fenced(store, request, async () => {
          db.prepare('insert into effects values (?)').run(key);
          return (await effect?.()) ?? { status: 201, headers: { location: '/n/1' }, body: { id: 1 } };
        });
        db.exec('commit');
        return answer;
      } catch (error) {
        db.exec('rollback');
        throw error;
      }
    },
    effects: async () => Number((db.prepare('select count(*) as n from effects').get() as { n: number }).n),
  };
  suite(() => world);

  test('keys are forgotten by age', () => {
    expect(db.prepare(sql.forget).run(3600).changes).toBe(0);
    expect(Number(db.prepare(sql.forget).run(-1).changes)).toBeGreaterThan(0);
  });
});

describeWith('postgres', 'Postgres', () => {
  let server: Awaited<ReturnType<typeof startPostgres>>;
  let pool: pg.Pool;
  const sql = FENCE_SQL.postgres;

  beforeAll(async () => {
    server = await startPostgres();
    pool = new pg.Pool({ connectionString: server.url, max: 20 });
    // The server may be gone before the last idle connection is.
    pool.on('error', () => {});
    await pool.query(sql.table);
    await pool.query('create table effects (key text)');
  });
  afterAll(async () => {
    await pool.end();
    await server.stop();
  });

  const storeOf = (tx: pg.PoolClient): FenceStore => ({
    insert: async (key, print) => (await tx.query(sql.insert, [key, print])).rowCount === 1,
    find: async (key) => (await tx.query(sql.find, [key])).rows[0],
    complete: (key, answer) => tx.query(sql.complete, [answer, key]),
  });

  const world: Fenced = {
    async once(key, body, effect, keepCharacters = 1000) {
      const tx = await pool.connect();
      try {
        await tx.query('begin');
        const request = { key, fingerprint: requestFingerprint('POST', '/n', body), keepCharacters };
        const answer = await fenced(storeOf(tx), request, async () => {
          await tx.query('insert into effects values ($1)', [key]);
          return (await effect?.()) ?? { status: 201, headers: { location: '/n/1' }, body: { id: 1 } };
        });
        await tx.query('commit');
        return answer;
      } catch (error) {
        await tx.query('rollback');
        throw error;
      } finally {
        tx.release();
      }
    },
    effects: async () => Number((await pool.query('select count(*) as n from effects')).rows[0].n),
  };
  suite(() => world);

  test('20 at the same time with one key: one effect, one answer for all', async () => {
    const before = await world.effects();
    const answers = await Promise.all(Array.from({ length: 20 }, () => world.once('k-race', 'a')));
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(201));
    expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect((await world.effects()) - before).toBe(1);
  });

  test('the first one fails while others wait: exactly one of them takes its place', async () => {
    const before = await world.effects();
    let first = true;
    const answers = await Promise.allSettled(
      Array.from({ length: 10 }, () =>
        world.once('k-fail', 'a', async () => {
          if (!first) return { status: 201 };
          first = false;
          throw new Error('the first one');
        }),
      ),
    );
    expect(answers.filter(({ status }) => status === 'rejected')).toHaveLength(1);
    expect((await world.effects()) - before).toBe(1);
  });

  test('keys are forgotten by age', async () => {
    expect((await pool.query(sql.forget, [3600])).rowCount).toBe(0);
    expect((await pool.query(sql.forget, [-1])).rowCount).toBeGreaterThan(0);
  });
});
