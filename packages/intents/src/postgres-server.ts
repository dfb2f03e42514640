// The server that holds a queue: how to get there, whether it keeps what it acknowledges, and its tables.
import type { Pool, PoolClient } from 'pg';
import { QueueError } from './error.ts';
import type { Durability } from './port.ts';

const CONNECT_MS = 5_000;
const STATEMENT_MS = 5_000;
const LOCK_MS = 500;
const MIGRATE_MS = 30_000;
const DEFAULT_SCHEMA = 'maint_queue';
const VERSION = 1;
/** Of the comment that tells our tables from others of the same names. */
const MARK = 'maint queue';
/** hashtext('maint queue'), as a constant: who makes the tables is alone */
const MIGRATION_LOCK = 0x6d6e7432;

export interface Place {
  connection: string;
  /** "postgres db.internal:5432/app schema maint_queue" */
  address: string;
  /** quoted */
  schema: string;
  schemaName: string;
}

/** Never with the address in its words: that may hold a password. */
export function placeOf(text: string, given: string | undefined): Place {
  const refused = (problem: string) =>
    new QueueError('QUEUE_OPTIONS', `the queue's address ${problem}`, {
      details: ['allowed: postgres://USER@HOST:PORT/DATABASE?schema=maint_queue'],
    });
  if (!/^postgres(ql)?:\/\//i.test(text) || !URL.canParse(text)) throw refused('cannot be read');
  const url = new URL(text);
  const schemaName = given ?? url.searchParams.get('schema') ?? DEFAULT_SCHEMA;
  url.searchParams.delete('schema');
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(schemaName) || schemaName.startsWith('pg_'))
    throw refused(`names the schema ${JSON.stringify(schemaName)}; allowed: up to 63 of a-z, 0-9 and _`);
  const where = `${url.hostname || 'localhost'}:${url.port || 5432}${url.pathname}`;
  return {
    connection: url.href,
    address: `postgres ${where} schema ${schemaName}`,
    schema: `"${schemaName}"`,
    schemaName,
  };
}

export async function poolOf(place: Place): Promise<Pool> {
  const { default: pg } = await import('pg').catch((cause: unknown) => {
    throw new QueueError('QUEUE_UNAVAILABLE', 'a postgres:// queue needs the package pg', {
      next: ['npm install pg'],
      cause,
    });
  });
  const pool = new pg.Pool({
    connectionString: place.connection,
    application_name: 'maint-queue',
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: STATEMENT_MS + 2_000,
    keepAlive: true,
    max: 12,
    // a process that is otherwise done is not kept alive by an idle connection
    allowExitOnIdle: true,
  });
  // an idle connection that breaks is noticed when it is next needed
  pool.on('error', () => {});
  return pool;
}

export type Query = <T = Record<string, unknown>>(
  text: string,
  values?: readonly unknown[],
) => Promise<{ rows: T[]; count: number }>;

interface Bounds {
  /** a statement sent with `begin` */
  first?: string;
  lockMs?: number;
  statementMs?: number;
  /** Right before the commit, with nothing awaited in between: what it throws rolls back, and is thrown as it is. */
  last?: (() => void) | undefined;
}

/**
 * One transaction with settings of its own, for a pooler hands each one another session. `synchronous_commit`: a role or
 * a database may have it off. The server ends one whose process has stopped in its middle.
 */
export async function transaction<T>(
  pool: Pool,
  place: Place,
  work: (query: Query) => Promise<T>,
  more: Bounds = {},
): Promise<T> {
  const client = await pool.connect().catch((error: unknown) => {
    throw serverError(place, error);
  });
  let broken = false;
  let forbidden: unknown;
  const lost = () => {
    broken = true;
  };
  client.on('error', lost);
  try {
    const begin = [
      'begin isolation level read committed read write',
      'set local synchronous_commit = on',
      `set local lock_timeout = ${more.lockMs ?? LOCK_MS}`,
      `set local statement_timeout = ${more.statementMs ?? STATEMENT_MS}`,
      'set local idle_in_transaction_session_timeout = 5000',
      ...(more.first ? [more.first] : []),
    ].join('; ');
    try {
      await client.query(begin);
      const value = await work(queryOf(client));
      try {
        more.last?.();
      } catch (error) {
        forbidden = error;
        throw error;
      }
      await client.query('commit');
      return value;
    } catch (error) {
      broken ||= isBroken(error);
      if (!broken)
        await client.query('rollback').catch(() => {
          broken = true;
        });
      throw forbidden ?? serverError(place, error);
    }
  } finally {
    client.off('error', lost);
    client.release(broken);
  }
}

function queryOf(client: PoolClient): Query {
  return async <T>(text: string, values: readonly unknown[] = []) => {
    const result = await client.query(text, [...values]);
    return { rows: result.rows as T[], count: result.rowCount ?? 0 };
  };
}

// ── Durability ────────────────────────────────────────────────────────────────────────────────────────────────────

export async function durabilityOf(query: Query, place: Place): Promise<Durability> {
  const { rows } = await query<{ name: string; setting: string }>(
    `select name, setting from pg_settings
     where name in ('fsync', 'full_page_writes', 'synchronous_commit', 'synchronous_standby_names')`,
  );
  const setting = Object.fromEntries(rows.map((row) => [row.name, row.setting]));
  const proof = rows.map((row) => `${row.name}=${row.setting}`).join(' ');
  const unlogged = await query<{ relname: string }>(
    `select relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = $1 and c.relkind = 'r' and c.relpersistence <> 'p'`,
    [place.schemaName],
  );
  if (unlogged.rows.length > 0)
    return {
      survives: 'process',
      proof: `${proof}; unlogged: ${unlogged.rows.map(({ relname }) => relname).join(', ')}`,
    };
  if (setting['fsync'] !== 'on' || setting['full_page_writes'] !== 'on') return { survives: 'process', proof };
  // this transaction's own setting: a cluster that was told to wait for a standby only by more than `on` still does
  if (setting['synchronous_commit'] !== 'on') return { survives: 'process', proof };
  return { survives: setting['synchronous_standby_names'] ? 'machine' : 'power', proof };
}

// ── Tables ────────────────────────────────────────────────────────────────────────────────────────────────────────

// `blocks` and the rest: as in SQLite (sqlite-file.ts). The totals are sharded: one row would be a queue of its own.
function tables(s: string): string {
  return `
create table ${s}.intents (
  seq bigint generated always as identity primary key,
  receipt text not null unique,
  key_hash bytea not null unique,
  fingerprint bytea not null,
  part text not null,
  surface text not null,
  win text,
  wrote text not null,
  body bytea,
  body_bytes integer not null,
  bytes integer not null,
  accepted_at bigint not null,
  state text not null check (state in ('queued', 'applying', 'applied', 'dead', 'dropped')),
  blocks boolean not null,
  unknown boolean not null default false,
  already boolean not null default false,
  attempts integer not null default 0,
  status integer,
  reason text,
  settled_at bigint
);
create index intents_blocks on ${s}.intents (part, seq) where blocks;
create index intents_state on ${s}.intents (state, seq);
create index intents_settled on ${s}.intents (settled_at) where settled_at is not null;
create table ${s}.parts (
  part text primary key,
  since bigint not null,
  due_at bigint not null default 0,
  parked boolean not null default false,
  token bigint not null default 0,
  owner text,
  until bigint not null default 0
);
create index parts_free on ${s}.parts (since) where not parked;
create table ${s}.totals (
  shard integer not null,
  surface text not null,
  waiting bigint not null,
  blocking bigint not null,
  kept bigint not null,
  bytes bigint not null,
  primary key (shard, surface)
);
create sequence ${s}.tokens;
create table ${s}.holds (win text primary key, reason text not null, since bigint not null);
create table ${s}.moves (
  id bigint generated always as identity primary key,
  receipt text not null,
  at bigint not null,
  mover text not null,
  was text not null,
  goal text not null,
  reason text not null
);
create index moves_receipt on ${s}.moves (receipt);
${leader(s)};
create table ${s}.meta (version integer not null);
comment on table ${s}.meta is '${MARK}';
insert into ${s}.meta values (${VERSION});
`;
}

/** In a statement of its own: schemas of before it have none. */
export function leader(s: string): string {
  return `create table ${s}.leader (owner text not null, since bigint not null, until bigint not null)`;
}

/** Makes the tables where they are missing; alone, however many processes open the queue for the first time. */
export async function migrate(pool: Pool, place: Place): Promise<void> {
  // the common case needs no lock
  const version = await transaction(pool, place, (query) => versionOf(query, place));
  if (version === undefined)
    await transaction(
      pool,
      place,
      async (query) => {
        await query('select pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
        if ((await versionOf(query, place)) !== undefined) return;
        // asked first: creating one that is there needs a right, even if it does nothing
        const there = await query('select 1 from pg_namespace where nspname = $1', [place.schemaName]);
        if (there.rows.length === 0) await query(`create schema ${place.schema}`);
        await query(tables(place.schema));
      },
      { lockMs: MIGRATE_MS, statementMs: MIGRATE_MS },
    );
  else if (version > VERSION)
    throw new QueueError(
      'QUEUE_FOREIGN',
      `the queue ${place.address} was made by a newer release (schema ${version})`,
      {
        details: [`this release knows schema ${VERSION}`],
        next: ['use the release that the guards use'],
      },
    );
}

/** undefined: there are no tables yet. */
async function versionOf(query: Query, place: Place): Promise<number | undefined> {
  const { rows } = await query<{ relname: string; mark: string | null }>(
    `select relname, obj_description(c.oid, 'pg_class') as mark from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = $1 and relname in ('meta', 'intents', 'parts', 'totals', 'holds', 'moves') and relkind in ('r', 'p')`,
    [place.schemaName],
  );
  if (rows.length === 0) return undefined;
  if (rows.find(({ relname }) => relname === 'meta')?.mark !== MARK)
    throw new QueueError('QUEUE_FOREIGN', `${place.address} holds tables of another program: ${rows[0]?.relname}`, {
      next: ['name another schema: ?schema=maint_queue'],
    });
  const { rows: versions } = await query<{ version: number }>(`select version from ${place.schema}.meta`);
  return versions[0]?.version ?? 0;
}

// ── Errors ────────────────────────────────────────────────────────────────────────────────────────────────────────

export function sqlstate(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === 'string' ? code : undefined;
}

/** Whether the connection is of no use any more; what was sent last may have happened. */
export function isBroken(error: unknown): boolean {
  const code = sqlstate(error);
  if (code !== undefined) return /^(ECONNRESET|EPIPE|ETIMEDOUT|ECONNREFUSED|57P0[123]|25P03|08...)$/.test(code);
  return /terminated|timeout|connection error|not queryable/i.test((error as Error)?.message ?? '');
}

/** lock_not_available: another session holds the row, or has the key uncommitted */
export const LOCKED = '55P03';
/** The server has rolled it back, and says that trying again may help. */
export const ROLLED_BACK = /^(40001|40P01)$/;

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'is not there: nothing listens at that address',
  ENOTFOUND: 'has a host name that does not resolve',
  '28P01': 'refuses the password',
  '28000': 'refuses this user, host or database',
  '3D000': 'has no such database',
  '42501': 'does not let this user do it',
  '53300': 'has no connection left',
  '53100': 'is on a full disk',
  '57P01': 'is being shut down',
  '57P02': 'has crashed, and restarts',
  '57P03': 'is starting up or shutting down',
  '25006': 'takes no writes: a standby, or held read-only',
  [LOCKED]: 'is locked by another session',
};

export function serverError(place: Place, error: unknown): QueueError {
  if (error instanceof QueueError) return error;
  const code = sqlstate(error);
  const busy = code === LOCKED || (code !== undefined && ROLLED_BACK.test(code));
  const message = error instanceof Error ? error.message : String(error);
  const words = (code === undefined ? undefined : WORDS[code]) ?? (isBroken(error) ? 'broke the connection' : 'failed');
  return new QueueError(busy ? 'QUEUE_BUSY' : 'QUEUE_UNAVAILABLE', `the queue ${place.address} ${words}`, {
    details: message === '' ? [] : [message],
    next: ['check the address, and that the server is up'],
    cause: error,
  });
}
