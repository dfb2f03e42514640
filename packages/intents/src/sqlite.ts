// The queue in one SQLite file, for all processes of one machine. Writes of one turn of the event loop share a
// transaction and its sync; whoever finds the file locked waits outside SQLite, so that the service goes on.
import { statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
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
import { difference, INTENT_COLUMNS, type IntentRow, intentOf, refusal, type Share, shareOf, wroteOf } from './rows.ts';
import { isBusy, isFull, LEADER, openFile, sqliteError } from './sqlite-file.ts';

/** Of one transaction: bounds how long the event loop stands still for it. */
const BATCH_COUNT = 256;
const BATCH_BYTES = 4 * 1024 ** 2;
/** How long others may keep the file locked before a caller is told. */
const BUSY_MS = 5_000;
const FREE_EVERY_MS = 1_000;

export interface SqliteOptions {
  limits: Limits;
  /** milliseconds since the epoch; tests bring their own */
  clock: () => number;
}

export async function openSqliteStore(path: string, options: SqliteOptions): Promise<IntentStore> {
  const { db, durability } = await openFile(path);
  return new SqliteStore(db, path, durability, options);
}

interface Job {
  bytes: number;
  /** false: its caller has gone, and nothing was written for it */
  wanted(): boolean;
  run(batch: Batch): unknown;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** What one transaction adds to the totals: written once, at its end. */
class Batch {
  readonly changes = new Map<string, Share>();
  /** of the whole queue, with what this batch adds */
  kept: number | undefined;
  bytes = 0;

  add(surface: string, share: Share): void {
    const sum = this.changes.get(surface) ?? { waiting: 0, blocking: 0, kept: 0, bytes: 0 };
    sum.waiting += share.waiting;
    sum.blocking += share.blocking;
    sum.kept += share.kept;
    sum.bytes += share.bytes;
    this.changes.set(surface, sum);
    if (this.kept !== undefined) this.kept += share.kept;
    this.bytes += share.bytes;
  }
}

type Stored = IntentRow & { bytes: number };

class SqliteStore implements IntentStore {
  readonly kind = 'sqlite';
  readonly address: string;
  readonly durability: Durability;
  readonly #db: DatabaseSync;
  readonly #path: string;
  readonly #limits: Limits;
  readonly #now: () => number;
  readonly #statements = new Map<string, StatementSync>();
  #jobs: Job[] = [];
  #flushing: Promise<void> | undefined;
  #closed = false;
  #oldestAt: number | null = null;
  #free: { at: number; bytes: number } | undefined;

  constructor(db: DatabaseSync, path: string, durability: Durability, options: SqliteOptions) {
    this.#db = db;
    this.#path = path;
    this.address = `sqlite ${path}`;
    this.durability = durability;
    this.#limits = options.limits;
    this.#now = options.clock;
  }

  // ── Accepting ───────────────────────────────────────────────────────────────────────────────────────────────────

  async accept(intent: NewIntent, signal?: AbortSignal): Promise<QueueAnswer> {
    const { wrote, bytes } = wroteOf(intent);
    try {
      const wanted = () => !signal?.aborted;
      return await this.#write((batch) => this.#insert(batch, intent, wrote, bytes), bytes, wanted);
    } catch (error) {
      if (isFull((error as Error).cause)) return { is: 'full', why: 'the disk is full' };
      // the transaction did not begin, or nobody can say how it ended: either way the same key is right
      return { is: 'unknown', why: (error as Error).message };
    }
  }

  #insert(batch: Batch, intent: NewIntent, wrote: string, bytes: number): QueueAnswer {
    const there = this.#get<{ receipt: string; fingerprint: Uint8Array }>(
      'select receipt, fingerprint from intents where key_hash = ?',
      intent.keyHash,
    );
    if (there) {
      if (Buffer.compare(there.fingerprint, intent.fingerprint) !== 0) return { is: 'reused' };
      return { is: 'accepted', receipt: there.receipt, replayed: true };
    }
    const full = this.#full(batch, bytes);
    if (full !== undefined) return { is: 'full', why: full };
    const now = this.#now();
    this.#run('insert into parts (part, since) values (?, ?) on conflict do nothing', intent.partition, now);
    this.#run(
      `insert into intents (receipt, key_hash, fingerprint, part, surface, win, wrote, body, body_bytes, bytes, accepted_at, state, blocks)
       values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', 1)`,
      intent.receipt,
      intent.keyHash,
      intent.fingerprint,
      intent.partition,
      intent.surface,
      intent.window,
      wrote,
      intent.body,
      intent.body.byteLength,
      bytes,
      now,
    );
    batch.add(intent.surface, shareOf({ state: 'queued', blocks: true, bytes }));
    return { is: 'accepted', receipt: intent.receipt, replayed: false };
  }

  #full(batch: Batch, bytes: number): string | undefined {
    if (batch.kept === undefined) {
      const sums = this.#get<{ kept: number; bytes: number }>(
        'select coalesce(sum(kept), 0) as kept, coalesce(sum(bytes), 0) as bytes from totals',
      );
      batch.kept = (sums?.kept ?? 0) + [...batch.changes.values()].reduce((sum, { kept }) => sum + kept, 0);
      batch.bytes += sums?.bytes ?? 0;
    }
    const { count, bytes: most, ageMs, freeBytes } = this.#limits;
    if (batch.kept >= count) return `the queue holds ${batch.kept} writes, its cap`;
    if (batch.bytes + bytes > most) return `the queue holds ${batch.bytes} of ${most} bytes`;
    const age = this.#oldestAt === null ? 0 : this.#now() - this.#oldestAt;
    if (age > ageMs) return `the oldest write has waited for ${Math.round(age / 1000)} s`;
    const free = this.#freeBytes();
    if (free < freeBytes) return `its disk has ${free} bytes left, the floor is ${freeBytes}`;
    return undefined;
  }

  #freeBytes(): number {
    const now = performance.now();
    if (this.#free && now - this.#free.at < FREE_EVERY_MS) return this.#free.bytes;
    let bytes = Number.POSITIVE_INFINITY;
    try {
      const stat = statfsSync(dirname(this.#path));
      bytes = stat.bavail * stat.bsize;
    } catch {
      // a platform without it: the disk itself will say
    }
    this.#free = { at: now, bytes };
    return bytes;
  }

  // ── Reading ─────────────────────────────────────────────────────────────────────────────────────────────────────

  get(receipt: string, bodies = false): Promise<Intent | null> {
    return this.#read(() => {
      const row = this.#get<IntentRow>(`select ${columns(bodies)} from intents where receipt = ?`, receipt);
      return row ? intentOf(row) : null;
    });
  }

  moves(receipts: readonly string[]): Promise<ReadonlyMap<string, readonly Move[]>> {
    return this.#read(() =>
      movesOf(
        this.#all<MoveRow>(
          'select * from moves where receipt in (select value from json_each(?)) order by at, rowid',
          JSON.stringify(receipts),
        ),
      ),
    );
  }

  list(query: ListQuery): Promise<readonly Intent[]> {
    return this.#read(() => {
      const terms: string[] = ['1'];
      const values: (string | number)[] = [];
      const term = (sql: string, ...more: (string | number)[]) => {
        terms.push(sql);
        values.push(...more);
      };
      if (query.states) term(`state in (${query.states.map(() => '?').join(', ')})`, ...query.states);
      if (query.surface !== undefined) term('surface = ?', query.surface);
      if (query.partition !== undefined) term('part = ?', query.partition);
      if (query.unknown !== undefined) term('unknown = ?', query.unknown ? 1 : 0);
      if (query.parked !== undefined) term(`(state = 'dead' and blocks = 1) = ?`, query.parked ? 1 : 0);
      if (query.window !== undefined) term('win = ?', query.window);
      if (query.before !== undefined) term('accepted_at < ?', query.before);
      if (query.after !== undefined) term('seq > ?', query.after);
      const sql = `select ${columns(query.bodies ?? false)} from intents where ${terms.join(' and ')} order by seq limit ?`;
      return this.#all<IntentRow>(sql, ...values, query.limit).map(intentOf);
    });
  }

  busy(partition: string): Promise<boolean> {
    return this.#read(() => this.#waits(partition));
  }

  depth(): Promise<Depth> {
    return this.#read(() => {
      const rows = this.#all<Share & { surface: string }>('select * from totals');
      const oldest = this.#get<{ at: number | null }>(
        `select min(at) as at from (
           select * from (select accepted_at as at from intents where state = 'queued' order by seq limit 1)
           union all
           select * from (select accepted_at as at from intents where state = 'applying' order by seq limit 1))`,
      );
      this.#oldestAt = oldest?.at ?? null;
      return depthOf(rows, this.#oldestAt);
    });
  }

  stats(): Promise<Stats> {
    return this.#read(() => {
      const counts = this.#all<{ surface: string; state: IntentState; n: number; unknown: number }>(
        'select surface, state, count(*) as n, sum(unknown) as unknown from intents group by surface, state',
      );
      const parked = this.#get<{ partitions: number; waiting: number }>(
        `select count(*) as partitions, coalesce(sum((select count(*) from intents i
           where i.part = p.part and i.blocks = 1 and i.state <> 'dead')), 0) as waiting
         from parts p where parked = 1`,
      );
      const claimed = this.#get<{ n: number }>('select count(*) as n from parts where until > ?', this.#now());
      return statsOf(counts, parked ?? { partitions: 0, waiting: 0 }, claimed?.n ?? 0);
    });
  }

  // ── Replaying ───────────────────────────────────────────────────────────────────────────────────────────────────

  take(owner: string, leaseMs: number): Promise<Taken> {
    return this.#write(() => {
      const holds = this.#holds();
      if (holds.length > 0) return { is: 'held', holds };
      const now = this.#now();
      for (;;) {
        const free = this.#get<{ part: string }>(
          'select part from parts where parked = 0 and due_at <= ? and until <= ? order by since limit 1',
          now,
          now,
        );
        if (!free) {
          const later = this.#get<{ at: number | null }>(
            'select min(max(due_at, until)) as at from parts where parked = 0',
          );
          return later?.at == null ? { is: 'empty' } : { is: 'later', at: later.at, now };
        }
        const head = this.#head(free.part);
        if (!head) {
          this.#run('delete from parts where part = ?', free.part);
          continue;
        }
        if (head.state === 'dead') {
          this.#run('update parts set parked = 1 where part = ?', free.part);
          continue;
        }
        const token = this.#get<{ last: number }>('update tokens set last = last + 1 returning last')?.last ?? 0;
        this.#run(
          'update parts set token = ?, owner = ?, until = ? where part = ?',
          token,
          owner,
          now + leaseMs,
          free.part,
        );
        return { is: 'taken', claim: { partition: free.part, token }, intent: this.#mark(head) };
      }
    });
  }

  next(claim: Claim, leaseMs: number): Promise<Next> {
    return this.#write(() => {
      if (!this.#ours(claim)) return { is: 'fenced' };
      const holds = this.#holds();
      if (holds.length > 0) return { is: 'held', holds };
      const head = this.#head(claim.partition);
      if (!head || head.state === 'dead') return { is: 'empty' };
      this.#run('update parts set until = ? where part = ?', this.#now() + leaseMs, claim.partition);
      return { is: 'taken', intent: this.#mark(head) };
    });
  }

  #head(part: string): IntentRow | undefined {
    return this.#get<IntentRow>(
      `select ${columns(true)} from intents where part = ? and blocks = 1 order by seq limit 1`,
      part,
    );
  }

  #waits(part: string): boolean {
    return this.#get('select 1 from intents where part = ? and blocks = 1 limit 1', part) !== undefined;
  }

  /** What is marked already was sent by somebody who is gone: nobody knows what came of it. */
  #mark(head: IntentRow): Intent {
    const unknown = head.unknown === 1 || head.state === 'applying';
    this.#run(`update intents set state = 'applying', unknown = ? where seq = ?`, unknown ? 1 : 0, Number(head.seq));
    return intentOf({ ...head, state: 'applying', unknown });
  }

  #ours(claim: Claim): boolean {
    return this.#get('select 1 from parts where part = ? and token = ?', claim.partition, claim.token) !== undefined;
  }

  settle(claim: Claim, receipt: string, outcome: Outcome): Promise<Settled> {
    return this.#write((batch) => {
      const row = this.#ours(claim) ? this.#stored(receipt) : undefined;
      if (!row || row.part !== claim.partition || row.state !== 'applying') return { is: 'fenced' };
      const now = this.#now();
      const ordered = !row.part.startsWith('one:');
      let blocks = false;
      if (outcome.is === 'applied') {
        this.#run(
          `update intents set state = 'applied', blocks = 0, body = null, unknown = 0, already = ?, attempts = attempts + 1,
             status = ?, reason = null, settled_at = ? where receipt = ?`,
          outcome.already ? 1 : 0,
          outcome.status,
          now,
          receipt,
        );
      } else if (outcome.is === 'dead') {
        blocks = outcome.park && ordered;
        this.#run(
          `update intents set state = 'dead', blocks = ?, attempts = attempts + 1, status = ?, reason = ?, settled_at = ?
           where receipt = ?`,
          blocks ? 1 : 0,
          outcome.status,
          outcome.reason,
          now,
          receipt,
        );
      } else {
        blocks = true;
        this.#run(
          `update intents set state = 'queued', unknown = unknown or ?, attempts = attempts + ?, status = ?,
             reason = coalesce(?, reason) where receipt = ?`,
          outcome.unknown ? 1 : 0,
          outcome.counted ? 1 : 0,
          outcome.status,
          outcome.reason,
          receipt,
        );
      }
      const state = outcome.is === 'again' ? 'queued' : outcome.is;
      batch.add(row.surface, difference(shareOf({ state, blocks, bytes: row.bytes }), before(row)));
      if (outcome.is === 'again') {
        this.#run(
          'update parts set owner = null, until = 0, due_at = ? where part = ?',
          now + outcome.delayMs,
          row.part,
        );
        return { is: 'settled', more: false };
      }
      if (blocks) {
        this.#run('update parts set owner = null, until = 0, parked = 1 where part = ?', row.part);
        return { is: 'settled', more: false };
      }
      const more = ordered && this.#waits(row.part);
      if (!more) this.#run('delete from parts where part = ?', row.part);
      return { is: 'settled', more };
    });
  }

  renew(claim: Claim, leaseMs: number): Promise<boolean> {
    return this.#write(
      () =>
        this.#run(
          'update parts set until = ? where part = ? and token = ?',
          this.#now() + leaseMs,
          claim.partition,
          claim.token,
        ) > 0,
    );
  }

  release(claim: Claim): Promise<void> {
    return this.#write(() => {
      if (!this.#ours(claim)) return;
      this.#run(
        `update intents set state = 'queued' where part = ? and blocks = 1 and state = 'applying'`,
        claim.partition,
      );
      if (!this.#waits(claim.partition)) this.#run('delete from parts where part = ?', claim.partition);
      else
        this.#run(
          // behind the others: a long partition does not keep short ones waiting
          'update parts set owner = null, until = 0, since = ? where part = ?',
          this.#now(),
          claim.partition,
        );
    });
  }

  // ── Leading ─────────────────────────────────────────────────────────────────────────────────────────────────────

  lead(owner: string, leaseMs: number, instead?: string): Promise<Led> {
    return this.#write((): Led => {
      this.#db.exec(LEADER);
      const now = this.#now();
      const row = this.#get<{ owner: string; since: number; until: number }>('select * from leader');
      if (row && row.owner !== owner && row.owner !== instead && row.until > now) return { is: 'theirs', ...row };
      this.#run('delete from leader');
      this.#run('insert into leader values (?, ?, ?)', owner, row?.owner === owner ? row.since : now, now + leaseMs);
      if (row && row.owner !== owner) this.#run('update parts set owner = null, until = 0 where owner = ?', row.owner);
      return { is: 'ours' };
    });
  }

  resign(owner: string): Promise<void> {
    return this.#write(() => {
      this.#db.exec(LEADER);
      this.#run('delete from leader where owner = ?', owner);
    });
  }

  // ── People ──────────────────────────────────────────────────────────────────────────────────────────────────────

  hold(window: string, reason: string, awake?: () => void): Promise<void> {
    return this.#write(
      () => {
        this.#run(
          'insert into holds values (?, ?, ?) on conflict (win) do update set reason = excluded.reason',
          window,
          reason,
          this.#now(),
        );
      },
      256,
      atLast(awake),
    );
  }

  unhold(window: string, awake?: () => void): Promise<boolean> {
    return this.#write(() => this.#run('delete from holds where win = ?', window) > 0, 256, atLast(awake));
  }

  holds(): Promise<readonly Hold[]> {
    return this.#read(() => this.#holds());
  }

  #holds(): Hold[] {
    return this.#all<{ win: string; reason: string; since: number }>('select * from holds order by since, win').map(
      ({ win, reason, since }) => ({ window: win, reason, since }),
    );
  }

  move(receipt: string, to: 'queued' | 'dropped', by: string, reason: string): Promise<Moved> {
    return this.#write((batch) => {
      const row = this.#stored(receipt);
      if (!row) return { is: 'refused', why: 'there is no such receipt' };
      const now = this.#now();
      const part = this.#get<{ until: number }>('select until from parts where part = ?', row.part);
      // of a worker that is gone: its lease is over, and the outcome is unknown
      const lapsed = row.state === 'applying' && (part?.until ?? 0) <= now;
      const from = lapsed ? 'queued' : row.state;
      const why = refusal(from, to, lapsed || row.unknown === 1);
      if (why !== undefined) return { is: 'refused', why };
      if (to === 'queued')
        this.#run(
          `update intents set state = 'queued', blocks = 1, unknown = 0, attempts = 0, status = null, settled_at = null
           where receipt = ?`,
          receipt,
        );
      else
        this.#run(
          `update intents set state = 'dropped', blocks = 0, settled_at = ?, reason = ? where receipt = ?`,
          now,
          reason,
          receipt,
        );
      this.#run('insert into moves values (?, ?, ?, ?, ?, ?)', receipt, now, by, from, to, reason);
      batch.add(
        row.surface,
        difference(shareOf({ state: to, blocks: to === 'queued', bytes: row.bytes }), before(row)),
      );
      this.#run('insert into parts (part, since) values (?, ?) on conflict do nothing', row.part, now);
      // whoever still believes to hold it is fenced; a parked partition goes on, unless another dead letter stops it
      const stopped = this.#get(
        `select 1 from intents where part = ? and blocks = 1 and state = 'dead' limit 1`,
        row.part,
      );
      this.#run('update parts set parked = ?, due_at = 0 where part = ?', stopped ? 1 : 0, row.part);
      if (lapsed) this.#run('update parts set token = 0, until = 0, owner = null where part = ?', row.part);
      return { is: 'moved', from };
    });
  }

  purge(settledBefore: number, limit: number): Promise<number> {
    return this.#write(() => {
      const rows = this.#all<{ receipt: string }>(
        `delete from intents where seq in (select seq from intents
           where settled_at < ? and state in ('applied', 'dropped') limit ?) returning receipt`,
        settledBefore,
        limit,
      );
      for (const { receipt } of rows) this.#run('delete from moves where receipt = ?', receipt);
      return rows.length;
    });
  }

  #stored(receipt: string): Stored | undefined {
    return this.#get<Stored>(`select ${INTENT_COLUMNS}, bytes from intents where receipt = ?`, receipt);
  }

  systemIdentifier(): Promise<null> {
    return Promise.resolve(null);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#flushing;
    this.#statements.clear();
    this.#db.close();
  }

  // ── Transactions ────────────────────────────────────────────────────────────────────────────────────────────────

  /** One job of the next transaction. All that a turn of the event loop brings shares one. */
  #write<T>(run: (batch: Batch) => T, bytes = 256, wanted = () => true): Promise<T> {
    if (this.#closed) return Promise.reject(closed(this.#path));
    return new Promise<T>((resolve, reject) => {
      this.#jobs.push({ bytes, wanted, run, resolve: resolve as (value: unknown) => void, reject });
      this.#flushing ??= this.#flush();
    });
  }

  async #flush(): Promise<void> {
    await turn();
    while (this.#jobs.length > 0) {
      await this.#commit(this.#batch());
      // what is waiting outside gets its turn between two transactions
      if (this.#jobs.length > 0) await turn();
    }
    this.#flushing = undefined;
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

  async #commit(all: Job[]): Promise<void> {
    const deadline = performance.now() + BUSY_MS;
    for (;;) {
      const jobs = all.filter((job) => {
        try {
          if (job.wanted()) return true;
          job.reject(new QueueError('QUEUE_BUSY', 'given up before it was written'));
        } catch (error) {
          job.reject(error);
        }
        return false;
      });
      if (jobs.length === 0) return;
      try {
        const values = this.#transaction(jobs);
        for (const [index, job] of jobs.entries()) job.resolve(values[index]);
        return;
      } catch (error) {
        if (isBusy(error) && performance.now() < deadline) {
          // Short and random: outside SQLite, so that the service goes on, and so that nobody starves.
          await delay(1 + Math.random() * 4);
          all = jobs;
          continue;
        }
        if (jobs.length > 1 && !isBusy(error)) {
          // one that cannot be stored must not take its neighbours with it
          for (const job of jobs) await this.#commit([job]);
          return;
        }
        for (const job of jobs) job.reject(sqliteError(this.#path, error));
        return;
      }
    }
  }

  #transaction(jobs: readonly Job[]): unknown[] {
    const batch = new Batch();
    this.#db.exec('begin immediate');
    try {
      const values = jobs.map((job) => job.run(batch));
      for (const [surface, share] of batch.changes)
        this.#run(
          `insert into totals values (?, ?, ?, ?, ?) on conflict (surface) do update set
             waiting = waiting + excluded.waiting, blocking = blocking + excluded.blocking,
             kept = kept + excluded.kept, bytes = bytes + excluded.bytes`,
          surface,
          share.waiting,
          share.blocking,
          share.kept,
          share.bytes,
        );
      this.#db.exec('commit');
      return values;
    } catch (error) {
      // on some errors SQLite has rolled back by itself
      if (this.#db.isTransaction) this.#db.exec('rollback');
      throw error;
    }
  }

  /** Readers do not wait for writers; a busy file is one that is being recovered. */
  async #read<T>(work: () => T): Promise<T> {
    const deadline = performance.now() + BUSY_MS;
    for (;;) {
      if (this.#closed) throw closed(this.#path);
      try {
        return work();
      } catch (error) {
        if (!isBusy(error) || performance.now() > deadline) throw sqliteError(this.#path, error);
      }
      await delay(1 + Math.random() * 4);
    }
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #get<T = unknown>(sql: string, ...values: Value[]): T | undefined {
    return this.#statement(sql).get(...values) as T | undefined;
  }

  #all<T>(sql: string, ...values: Value[]): T[] {
    return this.#statement(sql).all(...values) as T[];
  }

  #run(sql: string, ...values: Value[]): number {
    return Number(this.#statement(sql).run(...values).changes);
  }
}

type Value = string | number | null | Uint8Array;

function before(row: Stored): Share {
  return shareOf({ state: row.state, blocks: Boolean(row.blocks), bytes: row.bytes });
}

function columns(bodies: boolean): string {
  return bodies ? `${INTENT_COLUMNS}, body` : INTENT_COLUMNS;
}

function closed(path: string): QueueError {
  return new QueueError('QUEUE_CLOSED', `the queue ${path} was closed`);
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** As `wanted` of a job: asked right before each try of its transaction. */
function atLast(awake?: () => void): () => boolean {
  return () => {
    awake?.();
    return true;
  };
}
