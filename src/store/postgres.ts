// The journal on Postgres: one that a team shares. Nothing lives in a session, so that a pooler may hand each
// transaction another one: every transaction brings its own settings, and the lease's row is the lock.
import { setTimeout } from 'node:timers/promises';
import { Kysely, PostgresDialect, sql, type Transaction } from 'kysely';
import type { Recorded } from '../engine/events.ts';
import type { Journal, Lease, WindowRow } from '../engine/journal.ts';
import { advice } from '../errors/next.ts';
import { KyselyJournal } from './journal.ts';
import { isCurrent, migrate } from './migrate.ts';
import type { PostgresPlace } from './postgres-address.ts';
import { mayRepeat, sqlstate, stateError, UNIQUE_VIOLATION } from './postgres-errors.ts';
import { type Bounds, postgresPool } from './postgres-pool.ts';
import type { Schema } from './schema.ts';

export interface PostgresOptions {
  /** this release, recorded with the migrations that it makes */
  version: string;
  /** epoch milliseconds; tests bring their own, everybody else has the server's */
  clock?: () => number;
}

/** First runs wait for one another, and make tables: longer than any append. */
const MIGRATION_MS = 20_000;
/** On the table of migrations: tells our schema from one in which another program has tables of these names. */
const MARK = 'maint: the journal of maintenance windows';
/** The least that acting needs. Events are never changed: no update of them. */
const RIGHTS = [
  { table: 'migrations', rights: ['select'] },
  { table: 'windows', rights: ['select', 'insert', 'update'] },
  { table: 'events', rights: ['select', 'insert'] },
  { table: 'leases', rights: ['select', 'insert', 'update'] },
] as const;

/** Connects for writing; makes the schema and its tables where they are missing and this role may. */
export async function openPostgres(place: PostgresPlace, options: PostgresOptions): Promise<Journal> {
  return connected(place, async (db, bounds) => {
    const found = await inspect(db, place);
    const isThere = mustWrite(place, found);
    if (!isThere || !(await isCurrent(db.withSchema(place.schema), 'writing')))
      await migrated(db, place, bounds, options);
    return asJournal(db, place, options);
  });
}

/** Whether openPostgres would succeed, the making of tables aside. Makes nothing. */
export async function askPostgres(place: PostgresPlace): Promise<void> {
  await connected(place, async (db) => {
    mustWrite(place, await inspect(db, place));
    await db.destroy();
  });
}

/** Throws where it takes no writes of this role; the answer: our tables are there. */
function mustWrite(place: PostgresPlace, found: Found): boolean {
  if (found.replica)
    throw stateError(place, 'takes no writes: it is a standby', { next: [advice('name the primary: MAINT_STATE')] });
  if (found.mark !== MARK) mayMake(place, found);
  else mayUse(place, found, ['select', 'insert', 'update']);
  return found.mark === MARK;
}

/** For who only looks: makes nothing, and finds nothing where nothing is yet. */
export class LookingPostgres implements Journal {
  readonly address: string;
  readonly shared = true;
  readonly #place: PostgresPlace;
  readonly #options: PostgresOptions;
  #journal: Promise<Journal | undefined> | undefined;

  constructor(place: PostgresPlace, options: PostgresOptions) {
    this.address = place.address;
    this.#place = place;
    this.#options = options;
  }

  async now(): Promise<number> {
    const journal = await this.#connected();
    if (journal) return await journal.now();
    return await connected(this.#place, async (db) => {
      const now = await serverClock(db);
      await db.destroy();
      return now;
    });
  }
  async windows(filter?: { environment?: string; live?: boolean; id?: string }): Promise<WindowRow[]> {
    return (await (await this.#connected())?.windows(filter)) ?? [];
  }
  async read(windowId: string, after?: number): Promise<Recorded[]> {
    return (await (await this.#connected())?.read(windowId, after)) ?? [];
  }
  async lease(environment: string): Promise<Lease | undefined> {
    return await (await this.#connected())?.lease(environment);
  }
  async end(): Promise<void> {
    await (await this.#journal?.catch(() => undefined))?.end();
  }

  open = refuse;
  append = refuse;
  close = refuse;
  adopt = refuse;
  take = refuse;
  renew = refuse;
  release = refuse;

  /** Once found it stays; until then every question looks anew, for a window may begin later. */
  async #connected(): Promise<Journal | undefined> {
    this.#journal ??= look(this.#place, this.#options);
    const asked = this.#journal;
    const journal = await asked.catch((error) => {
      this.#journal = undefined;
      throw error;
    });
    if (!journal && this.#journal === asked) this.#journal = undefined;
    return journal;
  }
}

async function refuse(): Promise<never> {
  throw new Error('this journal was opened for looking only');
}

async function look(place: PostgresPlace, options: PostgresOptions): Promise<Journal | undefined> {
  return connected(place, async (db) => {
    const found = await inspect(db, place);
    if (found.mark !== MARK) {
      mustBeFree(place, found);
      await db.destroy();
      return undefined;
    }
    mayUse(place, found, ['select']);
    if (!(await isCurrent(db.withSchema(place.schema), 'reading')))
      throw stateError(place, 'was written by an older release, and looking must not change it', {
        next: [advice('any command that writes brings it up to date: maint start, end, extend, note')],
      });
    return asJournal(db, place, options);
  });
}

async function connected<T>(
  place: PostgresPlace,
  work: (db: Kysely<Schema>, bounds: Bounds) => Promise<T>,
): Promise<T> {
  const { pool, bounds } = await postgresPool(place);
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
  try {
    return await work(db, bounds);
  } catch (error) {
    await pool.end();
    throw error;
  }
}

function asJournal(db: Kysely<Schema>, place: PostgresPlace, { clock }: PostgresOptions): Journal {
  return new KyselyJournal({
    db: db.withSchema(place.schema),
    address: place.address,
    shared: true,
    rowLocks: true,
    now: clock ? async () => clock() : serverClock,
    insertNext: (db, lease, windowId, bodies) => insertNext(db, place.schema, lease, windowId, bodies, clock?.()),
    attempt,
    isTaken: (error) => sqlstate(error) === UNIQUE_VIOLATION,
  });
}

/** Of this moment, not of the transaction's beginning. */
async function serverClock(db: Kysely<Schema>): Promise<number> {
  const { rows } = await sql<{
    now: string;
  }>`select floor(extract(epoch from clock_timestamp()) * 1000) as now`.execute(db);
  return Number(rows[0]!.now);
}

/**
 * The statement begins after the one that locked the lease's row, and only who holds that row adds events: what it sees
 * of them is all there is. `now`: by another clock than the server's.
 */
async function insertNext(
  db: Kysely<Schema>,
  schema: string,
  { environment, token }: Lease,
  windowId: string,
  bodies: string[],
  now: number | undefined,
): Promise<{ seq: number; at: string } | undefined> {
  const at = now === undefined ? null : new Date(now).toISOString();
  const windows = sql.table(`${schema}.windows`);
  const events = sql.table(`${schema}.events`);
  const { rows } = await sql<{ seq: number; at: string }>`
    with next as materialized (
      select w.id, (select coalesce(max(e.seq), 0) from ${events} e where e.window_id = w.id) as last,
        coalesce(${at}::text, to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) as at
      from ${windows} w where w.id = ${windowId} and w.environment = ${environment})
    insert into ${events} (window_id, seq, at, token, body)
      select next.id, next.last + new.n, next.at, ${token}::bigint, new.body
      from next, unnest(${bodies}::text[]) with ordinality as new (body, n)
    returning seq, at`.execute(db);
  const first = rows.reduce((least, row) => Math.min(least, row.seq), Number.POSITIVE_INFINITY);
  return rows[0] && { seq: first, at: rows[0].at };
}

const ATTEMPTS = 3;
/** A server that restarts is not worth an interrupted window; a Ctrl-C must still be through within seconds. */
const RESTART_MS = 3_000;

async function attempt<T>(work: () => Promise<T>): Promise<T> {
  const giveUp = performance.now() + RESTART_MS;
  let attempts = 0;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const repeat = mayRepeat(error);
      if (repeat === 'at once' && ++attempts < ATTEMPTS) continue;
      if (repeat !== 'in a moment' || performance.now() >= giveUp) throw error;
      await setTimeout(100 + Math.random() * 200);
    }
  }
}

interface Found {
  role: string;
  encoding: string;
  replica: boolean;
  schema: boolean;
  mark: string | null;
  /** the role may make it */
  create_schema: boolean;
  usage: boolean | null;
  create: boolean | null;
  tables: string[];
  /** "select on windows" */
  lacks: string[];
}

/** Everything that may be wrong, from catalogs that every role may read, in one question. */
async function inspect(db: Kysely<Schema>, place: PostgresPlace): Promise<Found> {
  const wanted = RIGHTS.flatMap(({ table, rights }) => rights.map((right) => sql`(${table}, ${right})`));
  const { rows } = await sql<Found>`
    select current_user::text as role, current_setting('server_encoding') as encoding, pg_is_in_recovery() as replica,
      n.oid is not null as schema,
      (select obj_description(c.oid, 'pg_class') from pg_class c where c.relnamespace = n.oid and c.relname = 'migrations') as mark,
      has_database_privilege(current_database(), 'create') as create_schema,
      has_schema_privilege(n.oid, 'usage') as usage, has_schema_privilege(n.oid, 'create') as create,
      array(select c.relname::text from pg_class c where c.relnamespace = n.oid
        and c.relname in ('migrations', 'windows', 'events', 'leases') order by 1) as tables,
      array(select w.privilege || ' on ' || w.name from (values ${sql.join(wanted)}) as w (name, privilege)
        join pg_class c on c.relnamespace = n.oid and c.relname = w.name
        where not has_table_privilege(c.oid, w.privilege)) as lacks
    from (select 1) as one left join pg_namespace n on n.nspname = ${place.schema}`.execute(db);
  const found = rows[0]!;
  if (found.encoding !== 'UTF8')
    throw stateError(place, `cannot hold every character: its encoding is ${found.encoding}`, {
      next: [advice('use a database whose encoding is UTF8')],
    });
  return found;
}

function mustBeFree(place: PostgresPlace, { tables }: Found): void {
  if (tables.length === 0) return;
  throw stateError(place, `holds tables of another program: ${tables.join(', ')}`, {
    next: [advice('use another schema: ?schema=NAME')],
  });
}

function mayMake(place: PostgresPlace, found: Found): void {
  mustBeFree(place, found);
  if (found.schema ? found.create && found.usage : found.create_schema) return;
  const what = found.schema ? 'the tables in it' : 'that schema';
  throw stateError(place, `is not there yet, and ${found.role} may not make ${what}`, {
    details: [
      `once, by who owns the database: ${found.schema ? 'grant usage, create on schema' : 'create schema'} ${quoted(place.schema)} ${found.schema ? 'to' : 'authorization'} ${quoted(found.role)};`,
      'or the tables and least grants of docs/shared-state.md',
    ],
    next: [advice('run the same command again, once that is done')],
  });
}

function mayUse(place: PostgresPlace, found: Found, needed: readonly string[]): void {
  const lacks = found.lacks.filter((each) => needed.some((right) => each.startsWith(`${right} on `)));
  if (found.usage && lacks.length === 0) return;
  const schema = quoted(place.schema);
  const byTable = Map.groupBy(lacks, (each) => each.slice(each.indexOf(' on ') + 4));
  const grants = [
    ...(found.usage ? [] : [`grant usage on schema ${schema} to ${quoted(found.role)};`]),
    ...[...byTable].map(
      ([table, each]) =>
        `grant ${each.map((right) => right.split(' ')[0]).join(', ')} on ${schema}.${table} to ${quoted(found.role)};`,
    ),
  ];
  throw stateError(place, `is not for ${found.role}: rights are missing`, {
    details: grants,
    next: [advice('let its owner run these, then run the same command again')],
  });
}

async function migrated(
  db: Kysely<Schema>,
  place: PostgresPlace,
  bounds: Bounds,
  options: PostgresOptions,
): Promise<void> {
  const now = await serverClock(db);
  bounds.statementMs = MIGRATION_MS;
  try {
    await attempt(() =>
      migrate(db.withSchema(place.schema), options.version, {
        now,
        first: (transaction) => makeSchema(transaction, place.schema),
        marked: async (transaction) => {
          await sql`comment on table ${sql.table(`${place.schema}.migrations`)} is ${sql.lit(MARK)}`.execute(
            transaction,
          );
        },
      }),
    );
  } finally {
    bounds.reset();
  }
}

async function makeSchema(transaction: Transaction<Schema>, schema: string): Promise<void> {
  // of the transaction: a session's lock would stay with the pooler
  await sql`select pg_advisory_xact_lock(hashtext('maint migrations'), hashtext(${schema}))`.execute(transaction);
  const { rows } = await sql`select 1 from pg_namespace where nspname = ${schema}`.execute(transaction);
  // `if not exists` asks for the right to create even where there is nothing to do
  if (rows.length === 0) await sql`create schema ${sql.id(schema)}`.execute(transaction);
}

function quoted(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}
