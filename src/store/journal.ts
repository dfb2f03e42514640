// The journal port on kysely: what every database has in common. A store brings its connection, its clock and its locks.
import type { Kysely, Transaction } from 'kysely';
import type { JournalEvent, Recorded } from '../engine/events.ts';
import {
  type Journal,
  LEASE_MS,
  type Lease,
  type Owner,
  StaleToken,
  WindowExists,
  type WindowRow,
} from '../engine/journal.ts';
import { MaintError } from '../errors/catalogue.ts';
import type { LeasesTable, Schema } from './schema.ts';

interface Connection {
  db: Kysely<Schema>;
  address: string;
  shared: boolean;
  /** epoch milliseconds by the store's clock */
  now(db: Kysely<Schema>): Promise<number>;
  /** whether a transaction must lock the rows that it decides by; SQLite's locks the whole file from its beginning */
  rowLocks: boolean;
  /** does it again where nothing of it was committed and that may help */
  attempt?<T>(work: () => Promise<T>): Promise<T>;
  /**
   * Numbers, dates and inserts a window's next events in one statement, where each statement is a way to a server and
   * back. The lease's row is locked already. undefined: the environment has no such window.
   */
  insertNext?(db: Kysely<Schema>, lease: Lease, windowId: string, bodies: string[]): Promise<Numbered | undefined>;
  /** of an insert, where transactions do not exclude each other: the row is there already */
  isTaken?(error: unknown): boolean;
}

interface Numbered {
  /** of the first one; the others follow */
  seq: number;
  /** RFC 3339 */
  at: string;
}

// a statement carries at most 32,766 values
const ROWS_PER_INSERT = 1_000;

export class KyselyJournal implements Journal {
  readonly address: string;
  readonly shared: boolean;
  readonly #connection: Connection;
  readonly #db: Kysely<Schema>;

  constructor(connection: Connection) {
    this.address = connection.address;
    this.shared = connection.shared;
    this.#connection = connection;
    this.#db = connection.db;
  }

  now(): Promise<number> {
    return this.#attempt(() => this.#connection.now(this.#db));
  }

  async windows(filter: { environment?: string; live?: boolean; id?: string } = {}): Promise<WindowRow[]> {
    const { environment, live, id } = filter;
    let query = this.#db.selectFrom('windows').selectAll();
    if (environment !== undefined) query = query.where('environment', '=', environment);
    if (live !== undefined) query = query.where('live', '=', live ? 1 : 0);
    if (id !== undefined) query = query.where('id', '=', id);
    const rows = await this.#attempt(() => query.orderBy('created_at', 'desc').orderBy('id', 'desc').execute());
    return rows.map((row) => ({
      id: row.id,
      environment: row.environment,
      createdAt: row.created_at,
      live: row.live === 1,
    }));
  }

  async read(windowId: string, after = 0): Promise<Recorded[]> {
    const query = this.#db
      .selectFrom('events')
      .select(['seq', 'at', 'token', 'body'])
      .where('window_id', '=', windowId)
      .where('seq', '>', after)
      .orderBy('seq');
    const rows = await this.#attempt(() => query.execute());
    return rows.map((row) => ({
      seq: row.seq,
      at: row.at,
      token: Number(row.token),
      event: JSON.parse(row.body) as JournalEvent,
    }));
  }

  async open(lease: Lease, windowId: string, events: readonly JournalEvent[]): Promise<Recorded[]> {
    try {
      return await this.#open(lease, windowId, events);
    } catch (error) {
      if (!this.#connection.isTaken?.(error)) throw error;
      // committed by somebody else after we had looked
      const [live] = await this.windows({ environment: lease.environment, live: true });
      throw new WindowExists(live?.id ?? windowId);
    }
  }

  #open(lease: Lease, windowId: string, events: readonly JournalEvent[]): Promise<Recorded[]> {
    return this.#fenced(lease, async (transaction, now) => {
      const taken = await transaction
        .selectFrom('windows')
        .select('id')
        .where((is) =>
          is.or([is.and([is('environment', '=', lease.environment), is('live', '=', 1)]), is('id', '=', windowId)]),
        )
        .executeTakeFirst();
      if (taken) throw new WindowExists(taken.id);
      await transaction
        .insertInto('windows')
        .values({
          id: windowId,
          environment: lease.environment,
          created_at: new Date(now).toISOString(),
          live: 1,
        })
        .execute();
      return write(transaction, lease, windowId, 0, events, now);
    });
  }

  append(lease: Lease, windowId: string, events: readonly JournalEvent[]): Promise<Recorded[]> {
    return this.#held(lease, (transaction) => this.#add(transaction, lease, windowId, events));
  }

  close(lease: Lease, windowId: string, events: readonly JournalEvent[]): Promise<Recorded[]> {
    return this.#held(lease, async (transaction) => {
      const recorded = await this.#add(transaction, lease, windowId, events);
      await transaction.updateTable('windows').set({ live: 0 }).where('id', '=', windowId).execute();
      return recorded;
    });
  }

  async adopt(
    lease: Lease,
    windowId: string,
    recorded: readonly Recorded[],
    more: readonly JournalEvent[],
    live: boolean,
  ): Promise<Lease> {
    try {
      return await this.#adopt(lease, windowId, recorded, more, live);
    } catch (error) {
      if (!this.#connection.isTaken?.(error)) throw error;
      throw new WindowExists(windowId);
    }
  }

  #adopt(
    lease: Lease,
    windowId: string,
    recorded: readonly Recorded[],
    more: readonly JournalEvent[],
    live: boolean,
  ): Promise<Lease> {
    const { environment } = lease;
    return this.#fenced(lease, async (transaction, now) => {
      const there = await transaction
        .selectFrom('windows')
        .select(['id', 'environment', 'live'])
        .where((is) =>
          is.or([
            is('id', '=', windowId),
            ...(live ? [is.and([is('environment', '=', environment), is('live', '=', 1)])] : []),
          ]),
        )
        .execute();
      const same = there.find((row) => row.id === windowId);
      const inTheWay = there.find((row) => row.live === 1 || row.environment !== environment);
      if (inTheWay) throw new WindowExists(inTheWay.id);
      const token = recorded.reduce((most, one) => Math.max(most, one.token + 1), lease.token);
      const grown = await transaction
        .updateTable('leases')
        .set({ token })
        .where('environment', '=', environment)
        .returningAll()
        .executeTakeFirstOrThrow();
      let last = 0;
      if (same) {
        const { seq } = await transaction
          .selectFrom('events')
          .select((is) => is.fn.coalesce(is.fn.max('seq'), is.lit(0)).as('seq'))
          .where('window_id', '=', windowId)
          .executeTakeFirstOrThrow();
        last = seq;
        await transaction
          .updateTable('windows')
          .set({ live: live ? 1 : 0 })
          .where('id', '=', windowId)
          .execute();
      } else {
        const created_at = recorded[0]?.at ?? new Date(now).toISOString();
        await transaction
          .insertInto('windows')
          .values({ id: windowId, environment, created_at, live: live ? 1 : 0 })
          .execute();
      }
      await insert(
        transaction,
        windowId,
        recorded.filter((one) => one.seq > last),
      );
      await write(transaction, { ...lease, token }, windowId, recorded.at(-1)?.seq ?? last, more, now);
      return asLease(grown);
    });
  }

  async lease(environment: string): Promise<Lease | undefined> {
    const query = this.#db
      .selectFrom('leases')
      .selectAll()
      .where('environment', '=', environment)
      .where('owner', 'is not', null);
    const row = await this.#attempt(() => query.executeTakeFirst());
    return row && asLease(row);
  }

  take(environment: string, owner: Owner, instead?: number): Promise<{ taken: Lease } | { held: Lease }> {
    return this.#transaction(async (transaction) => {
      // the clock is read once nobody else is at it: a wait must not make the new lease shorter than its taker believes
      if (this.#connection.rowLocks)
        await transaction
          .selectFrom('leases')
          .select('token')
          .where('environment', '=', environment)
          .forUpdate()
          .execute();
      const now = await this.#connection.now(transaction);
      const values = { owner: JSON.stringify(owner), renewed_at: now, expires_at: now + LEASE_MS };
      // one statement, so that of two takers exactly one gets a row back, where transactions do not exclude each other too
      const row = await transaction
        .insertInto('leases')
        .values({ environment, token: 1, ...values })
        .onConflict((conflict) =>
          conflict
            .column('environment')
            .doUpdateSet((is) => ({ token: is('leases.token', '+', 1), ...values }))
            .where((is) =>
              is.or([
                is('leases.owner', 'is', null),
                is('leases.expires_at', '<=', now),
                ...(instead === undefined ? [] : [is('leases.token', '=', instead)]),
              ]),
            ),
        )
        .returningAll()
        .executeTakeFirst();
      if (row) return { taken: asLease(row) };
      // the conflict has locked the row: it is still the one that was in the way
      const held = await transaction
        .selectFrom('leases')
        .selectAll()
        .where('environment', '=', environment)
        .executeTakeFirstOrThrow();
      return { held: asLease(held) };
    });
  }

  renew(lease: Lease): Promise<Lease> {
    return this.#fenced(lease, async (transaction, now) => {
      const row = await transaction
        .updateTable('leases')
        .set({ renewed_at: now, expires_at: now + LEASE_MS })
        .where('environment', '=', lease.environment)
        .returningAll()
        .executeTakeFirstOrThrow();
      return asLease(row);
    });
  }

  async release(lease: Lease): Promise<void> {
    await this.#transaction((transaction) =>
      transaction
        .updateTable('leases')
        .set({ owner: null, expires_at: 0 })
        .where('environment', '=', lease.environment)
        .where('token', '=', lease.token)
        .execute(),
    );
  }

  end(): Promise<void> {
    return this.#db.destroy();
  }

  #attempt<T>(work: () => Promise<T>): Promise<T> {
    return this.#connection.attempt?.(work) ?? work();
  }

  #transaction<T>(work: (transaction: Transaction<Schema>) => Promise<T>): Promise<T> {
    return this.#attempt(() => this.#db.transaction().execute(work));
  }

  #fenced<T>(lease: Lease, work: (transaction: Transaction<Schema>, now: number) => Promise<T>): Promise<T> {
    return this.#held(lease, async (transaction) => work(transaction, await this.#connection.now(transaction)));
  }

  // Expiry alone does not fence: as long as nobody took it over, the newest token's events are still in order.
  #held<T>(lease: Lease, work: (transaction: Transaction<Schema>) => Promise<T>): Promise<T> {
    return this.#transaction(async (transaction) => {
      const held = await transaction
        .selectFrom('leases')
        .select('token')
        .where('environment', '=', lease.environment)
        .where('token', '=', lease.token)
        .where('owner', 'is not', null)
        .$if(this.#connection.rowLocks, (query) => query.forUpdate())
        .executeTakeFirst();
      if (!held) throw new StaleToken(lease.environment);
      return work(transaction);
    });
  }

  async #add(
    transaction: Transaction<Schema>,
    lease: Lease,
    windowId: string,
    events: readonly JournalEvent[],
  ): Promise<Recorded[]> {
    const { insertNext } = this.#connection;
    if (insertNext === undefined || events.length === 0)
      return await add(transaction, lease, windowId, events, await this.#connection.now(transaction));
    const bodies = events.map((event) => JSON.stringify(event));
    const first = await insertNext(transaction, lease, windowId, bodies);
    if (!first) throw unknownWindow(lease, windowId);
    return events.map((event, index) => ({ seq: first.seq + index, at: first.at, token: lease.token, event }));
  }
}

function unknownWindow(lease: Lease, windowId: string): MaintError {
  return new MaintError('E_NO_WINDOW', `${lease.environment} has no window ${windowId}`);
}

async function add(
  transaction: Transaction<Schema>,
  lease: Lease,
  windowId: string,
  events: readonly JournalEvent[],
  now: number,
): Promise<Recorded[]> {
  const window = await transaction
    .selectFrom('windows')
    .select((is) =>
      is
        .selectFrom('events')
        .select((inner) => inner.fn.coalesce(inner.fn.max('seq'), inner.lit(0)).as('last'))
        .where('window_id', '=', windowId)
        .as('last'),
    )
    .where('id', '=', windowId)
    .where('environment', '=', lease.environment)
    .executeTakeFirst();
  if (!window) throw unknownWindow(lease, windowId);
  return write(transaction, lease, windowId, window.last ?? 0, events, now);
}

async function write(
  transaction: Transaction<Schema>,
  lease: Lease,
  windowId: string,
  last: number,
  events: readonly JournalEvent[],
  now: number,
): Promise<Recorded[]> {
  const at = new Date(now).toISOString();
  const recorded = events.map((event, index) => ({ seq: last + 1 + index, at, token: lease.token, event }));
  await insert(transaction, windowId, recorded);
  return recorded;
}

async function insert(
  transaction: Transaction<Schema>,
  windowId: string,
  recorded: readonly Recorded[],
): Promise<void> {
  for (let from = 0; from < recorded.length; from += ROWS_PER_INSERT) {
    const rows = recorded.slice(from, from + ROWS_PER_INSERT);
    await transaction
      .insertInto('events')
      .values(
        rows.map(({ seq, at, token, event }) => ({ seq, at, token, window_id: windowId, body: JSON.stringify(event) })),
      )
      .execute();
  }
}

/** Of a row with an owner. Postgres hands bigints out as text. */
function asLease(row: LeasesTable): Lease {
  return {
    environment: row.environment,
    token: Number(row.token),
    owner: JSON.parse(row.owner ?? 'null') as Owner,
    renewedAt: Number(row.renewed_at),
    expiresAt: Number(row.expires_at),
  };
}
