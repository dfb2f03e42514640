// The queue on Postgres, for guards on more than one machine. Nothing lives in a session, so that a pooler may hand each
// transaction another one. Every transaction locks a partition's row before it touches the partition's intents: an
// order of locks that all keep, and numbers within a partition that rise with the commits.
import type { Pool } from 'pg';
import { depthOf, type MoveRow, movesOf, statsOf } from './counts.ts';
import { QueueError } from './error.ts';
import type {
  Claim,
  Depth,
  Durability,
  Hold,
  Intent,
  IntentState,
  IntentStore,
  Led,
  Limits,
  ListQuery,
  Move,
  Moved,
  NewIntent,
  Next,
  Outcome,
  QueueAnswer,
  Settled,
  Stats,
  Taken,
} from './port.ts';
import {
  durabilityOf,
  isBroken,
  LOCKED,
  leader,
  migrate,
  type Place,
  placeOf,
  poolOf,
  type Query,
  ROLLED_BACK,
  serverError,
  sqlstate,
  transaction,
} from './postgres-server.ts';
import { difference, INTENT_COLUMNS, type IntentRow, intentOf, refusal, type Share, shareOf, wroteOf } from './rows.ts';

const BATCH_COUNT = 256;
const BATCH_BYTES = 4 * 1024 ** 2;
/** Batches under way at once: while one waits for its commit, the next one fills. */
const LANES = 2;
/** When a caller is told that nobody knows. The server may restart within it, and the batch goes on. */
const ANSWER_MS = 5_000;
const RETRY_MS = 100;
const SHARDS = 16;
/** Held while the holds are read and written: a hold that has been set is seen by every later claim. */
const HOLD_MS = 5_000;
const NOW = '(extract(epoch from clock_timestamp()) * 1000)::bigint';

export interface PostgresOptions {
  limits: Limits;
  schema?: string;
}

export async function openPostgresStore(url: string, options: PostgresOptions): Promise<IntentStore> {
  const place = placeOf(url, options.schema);
  const pool = await poolOf(place);
  try {
    await migrate(pool, place);
    const durability = await transaction(pool, place, (query) => durabilityOf(query, place));
    return new PostgresStore(pool, place, durability, options.limits);
  } catch (error) {
    await pool.end();
    throw serverError(place, error);
  }
}

interface Job {
  intent: NewIntent;
  wrote: string;
  bytes: number;
  signal: AbortSignal | undefined;
  deadline: number;
  answer(answer: QueueAnswer): void;
}

type Stored = IntentRow & { bytes: number };

class PostgresStore implements IntentStore {
  readonly kind = 'postgres';
  readonly address: string;
  readonly durability: Durability;
  readonly #pool: Pool;
  readonly #place: Place;
  readonly #limits: Limits;
  readonly #s: string;
  #jobs: Job[] = [];
  #lanes = 0;
  #closed = false;
  /** age of the oldest by the server's clock, and when that was read */
  #oldest: { ageMs: number; at: number } | undefined;
  readonly #idle: (() => void)[] = [];

  constructor(pool: Pool, place: Place, durability: Durability, limits: Limits) {
    this.#pool = pool;
    this.#place = place;
    this.#s = place.schema;
    this.address = place.address;
    this.durability = durability;
    this.#limits = limits;
  }

  // ── Accepting ───────────────────────────────────────────────────────────────────────────────────────────────────

  accept(intent: NewIntent, signal?: AbortSignal): Promise<QueueAnswer> {
    if (this.#closed) return Promise.resolve({ is: 'full', why: 'the queue was closed' });
    if (signal?.aborted) return Promise.resolve({ is: 'unknown', why: 'given up before it was written' });
    return new Promise((resolve) => {
      const done = (answer: QueueAnswer) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', gone);
        resolve(answer);
      };
      // a server that has stopped answering must not keep the service's caller for longer
      const timer = setTimeout(() => done({ is: 'unknown', why: 'the queue does not answer in time' }), ANSWER_MS);
      const gone = () => done({ is: 'unknown', why: 'given up before it was known to be written' });
      signal?.addEventListener('abort', gone, { once: true });
      const deadline = performance.now() + ANSWER_MS;
      this.#jobs.push({ intent, ...wroteOf(intent), signal, deadline, answer: done });
      if (this.#lanes < LANES) {
        this.#lanes++;
        void this.#lane();
      }
    });
  }

  async #lane(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#jobs.length > 0) await this.#commit(this.#batch());
    this.#lanes--;
    if (this.#lanes === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  #batch(): Job[] {
    let bytes = 0;
    let count = 0;
    for (const job of this.#jobs) {
      bytes += job.bytes;
      if (count > 0 && (count === BATCH_COUNT || bytes > BATCH_BYTES)) break;
      count++;
    }
    return this.#jobs.splice(0, count);
  }

  /**
   * Every job is answered. A batch whose connection broke is sent again with the same receipts: if it was stored after
   * all, it is found by its keys.
   */
  async #commit(all: Job[]): Promise<void> {
    for (;;) {
      const now = performance.now();
      const jobs = all.filter((job) => !job.signal?.aborted && now < job.deadline);
      if (jobs.length === 0) return;
      try {
        const answers = await transaction(this.#pool, this.#place, (query) => this.#store(query, jobs));
        for (const [index, job] of jobs.entries()) job.answer(answers[index]!);
        return;
      } catch (error) {
        const cause = (error as Error).cause ?? error;
        const code = sqlstate(cause);
        if (code === LOCKED && jobs.length === 1) {
          jobs[0]!.answer({ is: 'in_flight' });
          return;
        }
        if (isBroken(cause) || (code !== undefined && ROLLED_BACK.test(code))) {
          all = jobs;
          await new Promise((resolve) => setTimeout(resolve, RETRY_MS * Math.random()));
          continue;
        }
        if (jobs.length === 1) {
          const full = code === '53100' || code === '53200';
          const why = (error as Error).message;
          jobs[0]!.answer(full ? { is: 'full', why } : { is: 'unknown', why });
          return;
        }
        // one that is locked or cannot be stored must not take its neighbours with it
        for (const job of jobs) await this.#commit([job]);
        return;
      }
    }
  }

  async #store(query: Query, jobs: readonly Job[]): Promise<QueueAnswer[]> {
    const keys = jobs.map(({ intent }) => Buffer.from(intent.keyHash));
    const known = await this.#known(query, keys);
    const { rows: sums } = await query<{ kept: string; bytes: string }>(
      `select coalesce(sum(kept), 0) as kept, coalesce(sum(bytes), 0) as bytes from ${this.#s}.totals`,
    );
    let kept = Number(sums[0]?.kept);
    let bytes = Number(sums[0]?.bytes);
    const fresh = new Map<string, Job>();
    const answers = new Map<Job, QueueAnswer>();
    for (const [index, job] of jobs.entries()) {
      const key = keys[index]!.toString('hex');
      // one key twice in a batch: an insert would give one row for two callers, and not see that they differ
      if (known.has(key) || fresh.has(key)) continue;
      const full = this.#full(kept, bytes, job.bytes);
      if (full !== undefined) {
        answers.set(job, { is: 'full', why: full });
        continue;
      }
      kept += 1;
      bytes += job.bytes;
      fresh.set(key, job);
    }
    const stored = await this.#insert(query, [...fresh.values()]);
    // keys that another process has committed between the question and the insert
    const lost = [...fresh]
      .filter(([, job]) => !stored.has(job.intent.receipt))
      .map(([key]) => Buffer.from(key, 'hex'));
    if (lost.length > 0) for (const [key, row] of await this.#known(query, lost)) known.set(key, row);
    return jobs.map((job, index) => {
      const answer = answers.get(job);
      if (answer) return answer;
      const key = keys[index]!.toString('hex');
      const row = known.get(key) ?? fresh.get(key)?.intent;
      if (!row) return { is: 'in_flight' };
      if (Buffer.compare(row.fingerprint, job.intent.fingerprint) !== 0) return { is: 'reused' };
      // ours: also where an earlier try of this batch had stored it
      return { is: 'accepted', receipt: row.receipt, replayed: row.receipt !== job.intent.receipt };
    });
  }

  async #known(
    query: Query,
    keys: readonly Buffer[],
  ): Promise<Map<string, { receipt: string; fingerprint: Uint8Array }>> {
    const { rows } = await query<{ key_hash: Buffer; receipt: string; fingerprint: Buffer }>(
      `select key_hash, receipt, fingerprint from ${this.#s}.intents where key_hash = any($1::bytea[])`,
      [keys],
    );
    return new Map(rows.map((row) => [row.key_hash.toString('hex'), row]));
  }

  async #insert(query: Query, jobs: readonly Job[]): Promise<Set<string>> {
    if (jobs.length === 0) return new Set();
    const s = this.#s;
    const column = <T>(of: (job: Job) => T) => jobs.map(of);
    const { rows } = await query<{ receipt: string }>(
      // The partitions' rows are locked first, in one order, until the commit: a number within a partition is given only
      // when all smaller ones are there to be seen. They are made anew where a backfill has just removed them.
      `with input as (
         select * from unnest($1::text[], $2::bytea[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::text[],
           $8::bytea[], $9::integer[], $10::integer[])
         with ordinality as i (receipt, key_hash, fingerprint, part, surface, win, wrote, body, body_bytes, bytes, n)
       ), locked as (
         insert into ${s}.parts (part, since) select part, ${NOW} from (select distinct part from input order by part) p
         on conflict (part) do update set since = parts.since returning part
       ), stored as (
         insert into ${s}.intents
           (receipt, key_hash, fingerprint, part, surface, win, wrote, body, body_bytes, bytes, accepted_at, state, blocks)
         select receipt, key_hash, fingerprint, part, surface, win, wrote, body, body_bytes, bytes, ${NOW}, 'queued', true
         from (select input.* from input join locked using (part) order by n) i
         on conflict (key_hash) do nothing returning receipt, surface, bytes
       ), summed as (
         insert into ${s}.totals (shard, surface, waiting, blocking, kept, bytes)
         select $11, surface, count(*), count(*), count(*), sum(bytes) from stored group by surface order by surface
         on conflict (shard, surface) do update set waiting = totals.waiting + excluded.waiting,
           blocking = totals.blocking + excluded.blocking, kept = totals.kept + excluded.kept,
           bytes = totals.bytes + excluded.bytes
       ) select receipt from stored`,
      [
        column(({ intent }) => intent.receipt),
        column(({ intent }) => Buffer.from(intent.keyHash)),
        column(({ intent }) => Buffer.from(intent.fingerprint)),
        column(({ intent }) => intent.partition),
        column(({ intent }) => text(intent.surface)),
        column(({ intent }) => (intent.window === null ? null : text(intent.window))),
        column(({ wrote }) => wrote),
        column(({ intent }) => Buffer.from(intent.body)),
        column(({ intent }) => intent.body.byteLength),
        column(({ bytes }) => bytes),
        shard(),
      ],
    );
    return new Set(rows.map(({ receipt }) => receipt));
  }

  #full(kept: number, bytes: number, more: number): string | undefined {
    const { count, bytes: most, ageMs } = this.#limits;
    if (kept >= count) return `the queue holds ${kept} writes, its cap`;
    if (bytes + more > most) return `the queue holds ${bytes} of ${most} bytes`;
    const age = this.#oldest ? this.#oldest.ageMs + performance.now() - this.#oldest.at : 0;
    if (age > ageMs) return `the oldest write has waited for ${Math.round(age / 1000)} s`;
    return undefined;
  }

  // ── Reading ─────────────────────────────────────────────────────────────────────────────────────────────────────

  async get(receipt: string, bodies = false): Promise<Intent | null> {
    const rows = await this.#read<IntentRow>(`select ${columns(bodies)} from ${this.#s}.intents where receipt = $1`, [
      receipt,
    ]);
    return rows[0] ? intentOf(rows[0]) : null;
  }

  async moves(receipts: readonly string[]): Promise<ReadonlyMap<string, readonly Move[]>> {
    const sql = `select * from ${this.#s}.moves where receipt = any($1::text[]) order by id`;
    return movesOf(await this.#read<MoveRow>(sql, [receipts]));
  }

  async list(query: ListQuery): Promise<readonly Intent[]> {
    const values: unknown[] = [];
    const terms: string[] = ['true'];
    const term = (sql: (placeholder: string) => string, value: unknown) => terms.push(sql(`$${values.push(value)}`));
    if (query.states) term((p) => `state = any(${p}::text[])`, query.states);
    if (query.surface !== undefined) term((p) => `surface = ${p}`, text(query.surface));
    if (query.partition !== undefined) term((p) => `part = ${p}`, query.partition);
    if (query.unknown !== undefined) term((p) => `unknown = ${p}`, query.unknown);
    if (query.parked !== undefined) term((p) => `(state = 'dead' and blocks) = ${p}`, query.parked);
    if (query.window !== undefined) term((p) => `win = ${p}`, text(query.window));
    if (query.before !== undefined) term((p) => `accepted_at < ${p}`, query.before);
    if (query.after !== undefined) term((p) => `seq > ${p}`, query.after);
    const limit = `$${values.push(query.limit)}`;
    const rows = await this.#read<IntentRow>(
      `select ${columns(query.bodies ?? false)} from ${this.#s}.intents where ${terms.join(' and ')} order by seq limit ${limit}`,
      values,
    );
    return rows.map(intentOf);
  }

  async busy(partition: string): Promise<boolean> {
    const rows = await this.#read(`select 1 from ${this.#s}.intents where part = $1 and blocks limit 1`, [partition]);
    return rows.length > 0;
  }

  async depth(): Promise<Depth> {
    const s = this.#s;
    const rows = await this.#read<Share & { surface: string }>(
      `select surface, sum(waiting) as waiting, sum(blocking) as blocking, sum(kept) as kept, sum(bytes) as bytes
       from ${s}.totals group by surface`,
    );
    const oldest = await this.#read<{ at: string | null; now: string }>(
      `select least((select accepted_at from ${s}.intents where state = 'queued' order by seq limit 1),
         (select accepted_at from ${s}.intents where state = 'applying' order by seq limit 1)) as at, ${NOW} as now`,
    );
    const at = oldest[0]?.at == null ? null : Number(oldest[0].at);
    this.#oldest = at === null ? undefined : { ageMs: Number(oldest[0]?.now) - at, at: performance.now() };
    return depthOf(rows, at);
  }

  async stats(): Promise<Stats> {
    const s = this.#s;
    const counts = await this.#read<{ surface: string; state: IntentState; n: string; unknown: string }>(
      `select surface, state, count(*) as n, count(*) filter (where unknown) as unknown from ${s}.intents group by surface, state`,
    );
    const rows = await this.#read<{ partitions: string; waiting: string; claimed: string }>(
      `select (select count(*) from ${s}.parts where parked) as partitions,
         (select count(*) from ${s}.parts p join ${s}.intents i on i.part = p.part and i.blocks and i.state <> 'dead'
          where p.parked) as waiting,
         (select count(*) from ${s}.parts where until > ${NOW}) as claimed`,
    );
    const { partitions = 0, waiting = 0, claimed = 0 } = rows[0] ?? {};
    return statsOf(counts, { partitions, waiting }, Number(claimed));
  }

  /** One statement by itself: nothing of it is written, so it may be asked twice. */
  async #read<T>(sql: string, values: readonly unknown[] = []): Promise<T[]> {
    for (let again = false; ; again = true) {
      if (this.#closed) throw new QueueError('QUEUE_CLOSED', `the queue ${this.address} was closed`);
      try {
        return (await this.#pool.query(sql, [...values])).rows as T[];
      } catch (error) {
        // the server has restarted since this connection was last used
        if (again || !isBroken(error)) throw serverError(this.#place, error);
      }
    }
  }

  // ── Replaying ───────────────────────────────────────────────────────────────────────────────────────────────────

  async take(owner: string, leaseMs: number): Promise<Taken> {
    for (;;) {
      const taken = await this.#transaction((query) => this.#take(query, owner, leaseMs), this.#lockHolds());
      if (taken) return taken;
    }
  }

  /** undefined: what looked free held nothing, and was put right */
  async #take(query: Query, owner: string, leaseMs: number): Promise<Taken | undefined> {
    const s = this.#s;
    const { rows } = await query<{ part: string; token: string }>(
      `with free as (
         select part from ${s}.parts where not parked and due_at <= ${NOW} and until <= ${NOW}
           and not exists (select 1 from ${s}.holds)
         order by since limit 1 for update skip locked
       ) update ${s}.parts p set token = nextval('${s}.tokens'), owner = $1, until = ${NOW} + $2::bigint
         from free where p.part = free.part returning p.part, p.token`,
      [text(owner), Math.ceil(leaseMs)],
    );
    const row = rows[0];
    if (!row) {
      const holds = await this.#holds(query);
      if (holds.length > 0) return { is: 'held', holds };
      const later = await query<{ at: string | null; now: string }>(
        `select min(greatest(due_at, until)) as at, ${NOW} as now from ${s}.parts where not parked`,
      );
      const { at, now } = later.rows[0]!;
      return at === null ? { is: 'empty' } : { is: 'later', at: Number(at), now: Number(now) };
    }
    const intent = await this.#mark(query, row.part);
    if (intent) return { is: 'taken', claim: { partition: row.part, token: Number(row.token) }, intent };
    if (!(await this.#removeEmpty(query, row.part)))
      // a dead letter is its head
      await query(`update ${s}.parts set parked = true, until = 0, owner = null where part = $1`, [row.part]);
    return undefined;
  }

  next(claim: Claim, leaseMs: number): Promise<Next> {
    return this.#transaction(async (query): Promise<Next> => {
      const { rows } = await query<{ held: boolean }>(
        `select exists (select 1 from ${this.#s}.holds) as held from ${this.#s}.parts where part = $1 and token = $2 for update`,
        [claim.partition, claim.token],
      );
      if (!rows[0]) return { is: 'fenced' };
      if (rows[0].held) return { is: 'held', holds: await this.#holds(query) };
      const intent = await this.#mark(query, claim.partition, leaseMs);
      return intent ? { is: 'taken', intent } : { is: 'empty' };
    }, this.#lockHolds());
  }

  #lockHolds(): { first: string; lockMs: number } {
    return { first: `lock table ${this.#s}.holds in row share mode`, lockMs: HOLD_MS };
  }

  /**
   * The head of a partition whose row this transaction has locked. What is marked already was sent by somebody who is
   * gone: nobody knows what came of it. undefined: nothing waits, or a dead letter stops it.
   */
  async #mark(query: Query, part: string, leaseMs?: number): Promise<Intent | undefined> {
    const s = this.#s;
    const { rows } = await query<IntentRow>(
      `with head as (
         select ${columns(true)} from ${s}.intents where part = $1 and blocks order by seq limit 1
       ), renewed as (
         update ${s}.parts set until = ${NOW} + $2::bigint where part = $1 and $2::bigint is not null
       ), marked as (
         update ${s}.intents i set state = 'applying', unknown = i.unknown or head.state = 'applying'
         from head where i.seq = head.seq and head.state <> 'dead'
       ) select * from head where state <> 'dead'`,
      [part, leaseMs === undefined ? null : Math.ceil(leaseMs)],
    );
    const head = rows[0];
    return (
      head && intentOf({ ...head, state: 'applying', unknown: Boolean(head.unknown) || head.state === 'applying' })
    );
  }

  /** Locks the partition until the end of the transaction, where the claim still holds. */
  async #ours(query: Query, claim: Claim): Promise<boolean> {
    const { rows } = await query(`select 1 from ${this.#s}.parts where part = $1 and token = $2 for update`, [
      claim.partition,
      claim.token,
    ]);
    return rows.length > 0;
  }

  settle(claim: Claim, receipt: string, outcome: Outcome): Promise<Settled> {
    return this.#transaction(async (query): Promise<Settled> => {
      const s = this.#s;
      const { rows } = await query<Stored>(
        `select i.seq, i.part, i.surface, i.state, i.blocks, i.bytes from ${s}.parts p join ${s}.intents i on i.part = p.part
         where p.part = $1 and p.token = $2 and i.receipt = $3 and i.state = 'applying' for update`,
        [claim.partition, claim.token, receipt],
      );
      const row = rows[0];
      if (!row) return { is: 'fenced' };
      if (outcome.is === 'again') {
        const { delayMs, unknown, counted, status, reason } = outcome;
        await query(
          `with intent as (
             update ${s}.intents set state = 'queued', unknown = unknown or $2, attempts = attempts + $3::integer,
               status = $4, reason = coalesce($5, reason) where seq = $1
           ) update ${s}.parts set owner = null, until = 0, due_at = ${NOW} + $6::bigint where part = $7`,
          [
            row.seq,
            unknown,
            counted ? 1 : 0,
            status,
            reason === null ? null : text(reason),
            Math.ceil(delayMs),
            row.part,
          ],
        );
        return { is: 'settled', more: false };
      }
      const dead = outcome.is === 'dead';
      const blocks = dead && outcome.park && !row.part.startsWith('one:');
      const share = difference(shareOf({ state: outcome.is, blocks, bytes: row.bytes }), before(row));
      // Others that wait are seen: whoever accepts for this partition locks its row, which is ours since the last statement.
      const { rows: gone } = await query(
        `with intent as (
           update ${s}.intents set state = $2, blocks = $3, attempts = attempts + 1, status = $4, reason = $5, already = $6,
             body = case when $7 then body end, unknown = unknown and $7, settled_at = ${NOW} where seq = $1
         ), sums as (
           insert into ${s}.totals values ($8, $9, $10, $11, $12, $13) on conflict (shard, surface) do update set
             waiting = totals.waiting + excluded.waiting, blocking = totals.blocking + excluded.blocking,
             kept = totals.kept + excluded.kept, bytes = totals.bytes + excluded.bytes
         ), stopped as (
           update ${s}.parts set owner = null, until = 0, parked = true where part = $14 and $3
         ) delete from ${s}.parts where part = $14 and not $3
             and not exists (select 1 from ${s}.intents where part = $14 and blocks and seq <> $1)
           returning 1`,
        [
          row.seq,
          outcome.is,
          blocks,
          outcome.status,
          dead ? text(outcome.reason) : null,
          !dead && outcome.already,
          dead,
          shard(),
          row.surface,
          share.waiting,
          share.blocking,
          share.kept,
          share.bytes,
          row.part,
        ],
      );
      return { is: 'settled', more: !blocks && gone.length === 0 };
    });
  }

  /** Under the lock of the partition's row: who accepts for it meanwhile waits, and makes it anew. */
  async #removeEmpty(query: Query, part: string): Promise<boolean> {
    const { count } = await query(
      `delete from ${this.#s}.parts where part = $1 and not exists (select 1 from ${this.#s}.intents where part = $1 and blocks)`,
      [part],
    );
    return count > 0;
  }

  async renew(claim: Claim, leaseMs: number): Promise<boolean> {
    return await this.#transaction(async (query) => {
      const { count } = await query(
        `update ${this.#s}.parts set until = ${NOW} + $3::bigint where part = $1 and token = $2`,
        [claim.partition, claim.token, Math.ceil(leaseMs)],
      );
      return count > 0;
    });
  }

  async release(claim: Claim): Promise<void> {
    await this.#transaction(async (query) => {
      const s = this.#s;
      if (!(await this.#ours(query, claim))) return;
      await query(`update ${s}.intents set state = 'queued' where part = $1 and blocks and state = 'applying'`, [
        claim.partition,
      ]);
      if (await this.#removeEmpty(query, claim.partition)) return;
      // behind the others: a long partition does not keep short ones waiting
      await query(`update ${s}.parts set owner = null, until = 0, since = ${NOW} where part = $1`, [claim.partition]);
    });
  }

  // ── Leading ─────────────────────────────────────────────────────────────────────────────────────────────────────

  async lead(owner: string, leaseMs: number, instead?: string): Promise<Led> {
    return await this.#transaction(async (query): Promise<Led> => {
      const s = this.#s;
      await this.#leader(query);
      // alone from here on: two that find no row would both add one
      await query(`lock table ${s}.leader in exclusive mode`);
      const { rows } = await query<{ owner: string; since: string; until: string; now: string }>(
        `select owner, since, until, n.now from (select ${NOW} as now) n left join ${s}.leader on true`,
      );
      const row = rows[0]!;
      const now = Number(row.now);
      const [since, until] = [Number(row.since), Number(row.until)];
      const others = row.owner !== null && row.owner !== owner;
      if (others && row.owner !== instead && until > now) return { is: 'theirs', owner: row.owner, since, until };
      await query(`delete from ${s}.leader`);
      await query(`insert into ${s}.leader values ($1, $2, $3)`, [
        text(owner),
        row.owner === owner ? since : now,
        now + Math.ceil(leaseMs),
      ]);
      if (others) await query(`update ${s}.parts set owner = null, until = 0 where owner = $1`, [row.owner]);
      return { is: 'ours' };
    });
  }

  async resign(owner: string): Promise<void> {
    await this.#transaction(async (query) => {
      await this.#leader(query);
      await query(`delete from ${this.#s}.leader where owner = $1`, [text(owner)]);
    });
  }

  async #leader(query: Query): Promise<void> {
    const { rows } = await query<{ there: boolean }>('select to_regclass($1) is not null as there', [
      `${this.#s}.leader`,
    ]);
    if (!rows[0]!.there) await query(leader(this.#s));
  }

  // ── People ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async hold(window: string, reason: string, awake?: () => void): Promise<void> {
    // after every claim that has not seen it
    const first = `lock table ${this.#s}.holds in exclusive mode`;
    await this.#transaction(
      (query) =>
        query(
          `insert into ${this.#s}.holds values ($1, $2, ${NOW}) on conflict (win) do update set reason = excluded.reason`,
          [text(window), text(reason)],
        ),
      { first, lockMs: HOLD_MS, last: awake },
    );
  }

  async unhold(window: string, awake?: () => void): Promise<boolean> {
    return await this.#transaction(
      async (query) => (await query(`delete from ${this.#s}.holds where win = $1`, [text(window)])).count > 0,
      { last: awake },
    );
  }

  async holds(): Promise<readonly Hold[]> {
    return await this.#transaction((query) => this.#holds(query));
  }

  async #holds(query: Query): Promise<Hold[]> {
    const { rows } = await query<{ win: string; reason: string; since: string }>(
      `select * from ${this.#s}.holds order by since, win`,
    );
    return rows.map(({ win, reason, since }) => ({ window: win, reason, since: Number(since) }));
  }

  async move(receipt: string, to: 'queued' | 'dropped', by: string, reason: string): Promise<Moved> {
    return await this.#transaction(async (query): Promise<Moved> => {
      const s = this.#s;
      const found = await query<{ part: string }>(`select part from ${s}.intents where receipt = $1`, [receipt]);
      const part = found.rows[0]?.part;
      if (part === undefined) return { is: 'refused', why: 'there is no such receipt' };
      // made where it is missing, and locked either way
      const locked = await query<{ until: string; now: string }>(
        `insert into ${s}.parts (part, since) values ($1, ${NOW})
         on conflict (part) do update set since = parts.since returning until, ${NOW} as now`,
        [part],
      );
      const row = await this.#stored(query, receipt);
      if (!row) return { is: 'refused', why: 'there is no such receipt' };
      // of a worker that is gone: its lease is over, and the outcome is unknown
      const lapsed = row.state === 'applying' && Number(locked.rows[0]?.until) <= Number(locked.rows[0]?.now);
      const from = lapsed ? 'queued' : row.state;
      const why = refusal(from, to, lapsed || Boolean(row.unknown));
      if (why !== undefined) {
        await this.#removeEmpty(query, part);
        return { is: 'refused', why };
      }
      if (to === 'queued')
        await query(
          `update ${s}.intents set state = 'queued', blocks = true, unknown = false, attempts = 0, status = null,
             settled_at = null where seq = $1`,
          [row.seq],
        );
      else
        await query(
          `update ${s}.intents set state = 'dropped', blocks = false, settled_at = ${NOW}, reason = $2 where seq = $1`,
          [row.seq, text(reason)],
        );
      await query(
        `insert into ${s}.moves (receipt, at, mover, was, goal, reason) values ($1, ${NOW}, $2, $3, $4, $5)`,
        [receipt, text(by), from, to, text(reason)],
      );
      const after = shareOf({ state: to, blocks: to === 'queued', bytes: row.bytes });
      await this.#add(query, row.surface, difference(after, before(row)));
      // a parked partition goes on, unless another dead letter stops it; whoever still believes to hold it is fenced
      await query(
        `update ${s}.parts set due_at = 0,
           parked = exists (select 1 from ${s}.intents where part = $1 and blocks and state = 'dead')
           ${lapsed ? ', token = 0, until = 0, owner = null' : ''} where part = $1`,
        [part],
      );
      return { is: 'moved', from };
    });
  }

  async purge(settledBefore: number, limit: number): Promise<number> {
    return await this.#transaction(async (query) => {
      const s = this.#s;
      const { rows } = await query<{ receipt: string }>(
        `delete from ${s}.intents where seq in (select seq from ${s}.intents
           where settled_at < $1 and state in ('applied', 'dropped') order by seq limit $2 for update skip locked)
         returning receipt`,
        [settledBefore, limit],
      );
      if (rows.length > 0)
        await query(`delete from ${s}.moves where receipt = any($1::text[])`, [rows.map(({ receipt }) => receipt)]);
      return rows.length;
    });
  }

  async #stored(query: Query, receipt: string): Promise<Stored | undefined> {
    const { rows } = await query<Stored>(
      `select ${INTENT_COLUMNS}, bytes from ${this.#s}.intents where receipt = $1 for update`,
      [receipt],
    );
    return rows[0];
  }

  async #add(query: Query, surface: string, share: Share): Promise<void> {
    if (Object.values(share).every((each) => each === 0)) return;
    await query(
      `insert into ${this.#s}.totals values ($1, $2, $3, $4, $5, $6) on conflict (shard, surface) do update set
         waiting = totals.waiting + excluded.waiting, blocking = totals.blocking + excluded.blocking,
         kept = totals.kept + excluded.kept, bytes = totals.bytes + excluded.bytes`,
      [shard(), surface, share.waiting, share.blocking, share.kept, share.bytes],
    );
  }

  async systemIdentifier(): Promise<string> {
    const rows = await this.#read<{ id: string }>('select system_identifier::text as id from pg_control_system()');
    return rows[0]!.id;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // what was begun is answered; what is not answered within its deadline is unknown by then
    if (this.#lanes > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
    await this.#pool.end();
  }

  #transaction<T>(work: (query: Query) => Promise<T>, more: Parameters<typeof transaction>[3] = {}): Promise<T> {
    if (this.#closed) return Promise.reject(new QueueError('QUEUE_CLOSED', `the queue ${this.address} was closed`));
    return transaction(this.#pool, this.#place, work, { lockMs: HOLD_MS, ...more });
  }
}

function before(row: Stored): Share {
  return shareOf({ state: row.state, blocks: Boolean(row.blocks), bytes: row.bytes });
}

function columns(bodies: boolean): string {
  return bodies ? `${INTENT_COLUMNS}, body` : INTENT_COLUMNS;
}

function shard(): number {
  return Math.floor(Math.random() * SHARDS);
}

/** What Postgres takes as text: no NUL, no half of a pair. Only for people's eyes; what is replayed is kept as JSON. */
function text(value: string): string {
  return value.replaceAll('\0', '').toWellFormed();
}
