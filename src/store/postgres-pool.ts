// pg's pool as kysely wants it: every wait bounded, every error in words, every transaction with settings of its own.
import type { PostgresPool } from 'kysely';
import type { Pool, PoolClient } from 'pg';
import type { PostgresPlace } from './postgres-address.ts';
import { isBroken, NoAnswer, postgresError } from './postgres-errors.ts';

const CONNECT_MS = 5_000;
/** Also the wait for the lease's row, which another process may hold for PAUSE_MS. */
const STATEMENT_MS = 6_000;
const LOCK_SOONER_MS = 500;
/** A laptop that fell asleep within a transaction must not keep the others from taking over. */
const PAUSE_MS = 4_000;
/** The server gives up first, and says why. */
const GRACE_MS = 1_000;
const END_MS = 1_000;
/** A timer that is later than this was not merely kept waiting. */
const SLEPT_MS = 1_500;

export interface Bounds {
  statementMs: number;
  reset(): void;
}

export async function postgresPool(place: PostgresPlace): Promise<{ pool: PostgresPool; bounds: Bounds }> {
  const { default: pg } = await import('pg');
  const { host, port, database, user, password, ssl, options } = place;
  const bounds: Bounds = {
    statementMs: STATEMENT_MS,
    reset() {
      this.statementMs = STATEMENT_MS;
    },
  };
  const pool = new pg.Pool({
    ...{ host, port, database, user, ssl, application_name: 'maint' },
    ...(options === undefined ? {} : { options }),
    // a function: pg looks for one elsewhere when there is none
    password: () => password ?? '',
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
    // a renewal does not wait behind an append
    max: 3,
    // a process that is otherwise done is not kept alive by an idle connection
    allowExitOnIdle: true,
  });
  // an idle connection that breaks is noticed when it is next needed
  pool.on('error', () => {});
  const known = { answers: false };
  let ended: Promise<void> | undefined;
  return {
    bounds,
    pool: {
      options: {},
      async connect() {
        const client = await connect(pool).catch((error) => {
          throw postgresError(place, error, 'connect', known.answers);
        });
        return adapt(client, place, bounds, known);
      },
      end() {
        // a server that does not answer is not waited for
        ended ??= Promise.race([pool.end(), new Promise<void>((resolve) => setTimeout(resolve, END_MS).unref())]);
        return ended;
      },
    },
  };
}

/** pg waits for an answer to its greeting only as long as the connection is being made, the wait in the pool included. */
async function connect(pool: Pool): Promise<PoolClient> {
  const due = Date.now() + CONNECT_MS;
  const client = await pool.connect().catch((error) => {
    // It slept while the connection was being made: its time is over, and that says nothing of the server.
    if (Date.now() - due > SLEPT_MS) return pool.connect();
    throw error;
  });
  // one that breaks while it is ours is told by the question that is under way
  client.on('error', ignore);
  return client;
}

function ignore(): void {}

type Result = { command: string; rowCount: number; rows: unknown[] };

function adapt(
  client: PoolClient,
  place: PostgresPlace,
  bounds: Bounds,
  known: { answers: boolean },
): Awaited<ReturnType<PostgresPool['connect']>> {
  let broken = false;

  async function query(text: string, values: readonly unknown[]): Promise<Result> {
    if (text === 'begin') return await ask(beginning(bounds.statementMs), []);
    // a second error would hide the one that it is rolled back for
    if (text === 'rollback' && broken) return { command: 'ROLLBACK', rowCount: 0, rows: [] };
    return await ask(text, values);
  }

  async function ask(text: string, values: readonly unknown[]): Promise<Result> {
    const ms = bounds.statementMs + GRACE_MS;
    let timer: NodeJS.Timeout | undefined;
    try {
      const answer = client.query(text, [...values]);
      const late = new Promise<never>((_resolve, reject) => {
        const wait = (rest: number) => {
          const due = Date.now() + rest;
          timer = setTimeout(() => {
            // It slept: what came meanwhile, an answer or the end of the connection, is read after this.
            if (Date.now() - due > SLEPT_MS) wait(GRACE_MS);
            else reject(new NoAnswer(ms));
          }, rest);
        };
        wait(ms);
      });
      const result = (await Promise.race([answer, late])) as unknown as Result | Result[];
      known.answers = true;
      return Array.isArray(result) ? result[0]! : result;
    } catch (error) {
      broken ||= isBroken(error);
      if (text === 'rollback') return { command: 'ROLLBACK', rowCount: 0, rows: [] };
      throw postgresError(place, error, text === 'commit' ? 'commit' : 'query', known.answers);
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    query: query as never,
    release() {
      client.off('error', ignore);
      client.release(broken);
    },
  };
}

/**
 * One message, so that a pooler sees one transaction. `read write`: a database may be read-only by default, and the
 * state stands outside the walls. `synchronous_commit`: an intent is durable before its write goes out.
 */
function beginning(statementMs: number): string {
  return [
    'begin isolation level read committed read write',
    `set local statement_timeout = ${statementMs}`,
    // before the other one, so that the answer says which it was
    `set local lock_timeout = ${statementMs - LOCK_SOONER_MS}`,
    `set local idle_in_transaction_session_timeout = ${PAUSE_MS}`,
    'set local synchronous_commit = on',
  ].join('; ');
}
