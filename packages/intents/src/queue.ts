// The queue as a service and a person use it, over any store.
import { type Backfill, type BackfillOptions, runBackfill } from './backfill.ts';
import { QueueError } from './error.ts';
import { isReceipt, keyHash, maskedTarget, newIntent, partitionOf } from './identity.ts';
import type {
  BufferedWrite,
  Depth,
  Durability,
  Hold,
  Intent,
  IntentState,
  IntentStore,
  Limits,
  ListQuery,
  Move,
  QueueAnswer,
  Receipt,
  WriteQueue,
} from './port.ts';

const REFRESH_MS = 1_000;
const PURGE_EVERY_MS = 60_000;
const PURGE_COUNT = 200;
const PAGE = 100;
const MAX_PAGE = 1_000;

// ── What people see ───────────────────────────────────────────────────────────────────────────────────────────────

/** One intent as it is listed: no headers, no body, the values of its query left out. */
export interface IntentLine {
  readonly receipt: string;
  readonly state: IntentState;
  readonly surface: string;
  readonly tenant: string;
  readonly key: string;
  readonly order: string | null;
  readonly method: string;
  readonly target: string;
  readonly body_bytes: number;
  readonly window: string | null;
  readonly accepted_at: string;
  readonly settled_at: string | null;
  readonly attempts: number;
  /** sent, and nobody knows what came of it */
  readonly unknown: boolean;
  /** a dead letter that stops its partition */
  readonly parked: boolean;
  /** the service had it already */
  readonly already_applied: boolean;
  readonly status: number | null;
  readonly reason: string | null;
}

export interface IntentDetail extends IntentLine {
  readonly received_at: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly moves: readonly {
    readonly at: string;
    readonly by: string;
    readonly from: IntentState;
    readonly to: IntentState;
    readonly reason: string;
  }[];
  /** Only where it was asked for. null: erased when the write was applied. */
  readonly body?: { readonly encoding: 'utf8' | 'base64'; readonly data: string } | null;
}

export interface QueueStatus {
  readonly queue: string;
  readonly durability: Durability;
  readonly states: Readonly<Record<IntentState, number>>;
  readonly surfaces: readonly ({ readonly surface: string } & Readonly<Record<IntentState, number>>)[];
  readonly unknown: number;
  readonly parked: { readonly partitions: number; readonly waiting: number };
  readonly claimed: number;
  readonly bytes: number;
  readonly oldest: string | null;
  readonly holds: readonly { readonly window: string; readonly reason: string; readonly since: string }[];
  readonly limits: Limits;
}

export interface Page<T> {
  readonly intents: readonly T[];
  /** hand it in as `after`; null: this was the last page */
  readonly next: string | null;
}

/** A selection; without anything in it, everything. */
export interface Selection {
  readonly states?: readonly IntentState[];
  readonly surface?: string;
  readonly unknown?: boolean;
  readonly parked?: boolean;
  readonly window?: string;
  /** accepted before */
  readonly before?: Date;
}

export interface PageQuery extends Selection {
  /** `next` of the page before */
  readonly after?: string;
  /** 1 to 1000; default 100 */
  readonly limit?: number;
}

export interface MoveResult {
  readonly moved: readonly string[];
  readonly refused: readonly { readonly receipt: string; readonly why: string }[];
}

/** Which intents to move: named ones, or all of a selection. */
export type Which = { readonly receipts: readonly string[] } | { readonly all: Selection };

export interface IntentQueue extends WriteQueue {
  readonly store: IntentStore;
  readonly limits: Limits;
  /** Replays what waits; resolves with the report when nothing can be applied any more, or when it stopped by itself. */
  backfill(options: BackfillOptions): Promise<Backfill>;
  status(): Promise<QueueStatus>;
  list(query?: PageQuery): Promise<Page<IntentLine>>;
  show(receipt: string, options?: { readonly body?: boolean }): Promise<IntentDetail | null>;
  /** Never applied; stays on record with who and why. Frees the partition that it parks. */
  drop(which: Which, by: string, reason: string): Promise<MoveResult>;
  /** Back to its place in the order: a dead letter, a dropped one, or one whose outcome was unknown. */
  requeue(which: Which, by: string, reason: string): Promise<MoveResult>;
  /** Everything of the selection in the order of acceptance, page by page. `bodies`: with whole targets and bodies. */
  export(selection?: Selection, options?: { readonly bodies?: boolean }): AsyncIterable<IntentDetail>;
  /**
   * Stops every backfill before its next write, until `unhold`. Durable. `awake`: asked right before it counts; what it
   * throws undoes it.
   */
  hold(window: string, reason: string, awake?: () => void): Promise<void>;
  /** false: there was no hold of this window */
  unhold(window: string, awake?: () => void): Promise<boolean>;
  holds(): Promise<readonly Hold[]>;
  /** Of the Postgres cluster; null for SQLite. */
  systemIdentifier(): Promise<string | null>;
  close(): Promise<void>;
}

// ── The queue ─────────────────────────────────────────────────────────────────────────────────────────────────────

export interface QueueOptions {
  limits: Limits;
  clock: () => number;
}

const NOTHING: Depth = { waiting: 0, kept: 0, bytes: 0, oldestAt: null, busy: new Set() };

export async function makeQueue(store: IntentStore, options: QueueOptions): Promise<IntentQueue> {
  const queue = new Queue(store, options);
  await queue.begin();
  return queue;
}

class Queue implements IntentQueue {
  readonly store: IntentStore;
  readonly limits: Limits;
  readonly #clock: () => number;
  /** keys that this process is storing at the moment */
  readonly #storing = new Map<string, { fingerprint: string; answer: Promise<QueueAnswer> }>();
  /** surfaces that this process has stored something of since the last refresh began */
  #fresh = new Map<string, { count: number; bytes: number }>();
  #depth: Depth = NOTHING;
  #timer: NodeJS.Timeout | undefined;
  #refreshing: Promise<void> | undefined;
  #purged = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(store: IntentStore, options: QueueOptions) {
    this.store = store;
    this.limits = options.limits;
    this.#clock = options.clock;
  }

  async begin(): Promise<void> {
    this.#depth = await this.store.depth();
    this.#timer = setInterval(() => void this.#refresh(), REFRESH_MS);
    // a queue that nobody uses keeps no process alive
    this.#timer.unref();
  }

  async #refresh(): Promise<void> {
    // A store that does not answer leaves the last known state. What others accept meanwhile, the guard asks `busy` for.
    this.#refreshing ??= this.#reread()
      .catch(() => {})
      .finally(() => {
        this.#refreshing = undefined;
      });
    await this.#refreshing;
  }

  async #reread(): Promise<void> {
    const before = this.#fresh;
    this.#fresh = new Map();
    try {
      this.#depth = await this.store.depth();
    } catch (error) {
      for (const [surface, { count, bytes }] of before) this.#count(surface, count, bytes);
      throw error;
    }
    if (performance.now() - this.#purged < PURGE_EVERY_MS) return;
    const purged = await this.store.purge(this.#clock() - this.limits.retentionMs, PURGE_COUNT);
    // a full page: there is more, and it goes on at the next refresh
    if (purged < PURGE_COUNT) this.#purged = performance.now();
  }

  async accept(write: BufferedWrite, signal?: AbortSignal): Promise<QueueAnswer> {
    try {
      return await this.#accept(write, signal);
    } catch (error) {
      return { is: 'unknown', why: error instanceof Error ? error.message : 'failed' };
    }
  }

  async #accept(write: BufferedWrite, signal?: AbortSignal): Promise<QueueAnswer> {
    if (this.#closed) return { is: 'full', why: 'the queue was closed' };
    const { bodyBytes } = this.limits;
    if (write.body.byteLength > bodyBytes)
      return { is: 'full', why: `the body has ${write.body.byteLength} bytes, at most ${bodyBytes} are stored` };
    const key = keyHash(write).toString('latin1');
    const intent = newIntent(write);
    const fingerprint = Buffer.from(intent.fingerprint).toString('latin1');
    for (;;) {
      const other = this.#storing.get(key);
      if (!other) break;
      const answer = await other.answer;
      if (answer.is === 'accepted')
        return other.fingerprint === fingerprint ? { ...answer, replayed: true } : { is: 'reused' };
      if (other.fingerprint === fingerprint && answer.is !== 'unknown') return answer;
      // what the other one could not store is no obstacle
    }
    if (signal?.aborted) return { is: 'unknown', why: 'given up before it was written' };
    const answer = this.store.accept(intent, signal);
    this.#storing.set(key, { fingerprint, answer });
    try {
      const is = await answer;
      if (is.is === 'accepted' && !is.replayed) this.#count(intent.surface, 1, intent.body.byteLength);
      return is;
    } finally {
      this.#storing.delete(key);
    }
  }

  #count(surface: string, count: number, bytes: number): void {
    const sum = this.#fresh.get(surface) ?? { count: 0, bytes: 0 };
    this.#fresh.set(surface, { count: sum.count + count, bytes: sum.bytes + bytes });
  }

  async receipt(id: string): Promise<Receipt | null> {
    if (!isReceipt(id)) return null;
    const intent = await this.store.get(id);
    if (!intent) return null;
    const { receipt, state, acceptedAt, settledAt, status, reason } = intent;
    return { receipt, state, acceptedAt: iso(acceptedAt), settledAt: isoOrNull(settledAt), status, reason };
  }

  depth(): { queued: number; bytes: number; oldestMs: number | null } {
    let { waiting, bytes } = this.#depth;
    for (const fresh of this.#fresh.values()) {
      waiting += fresh.count;
      bytes += fresh.bytes;
    }
    const { oldestAt } = this.#depth;
    return { queued: waiting, bytes, oldestMs: oldestAt === null ? null : Math.max(0, this.#clock() - oldestAt) };
  }

  pending(surface: string): boolean {
    return this.#depth.busy.has(surface) || this.#fresh.has(surface);
  }

  async busy(surface: string, tenant: string, order: string): Promise<boolean> {
    if (order === null) return false;
    return await this.store.busy(partitionOf(surface, tenant, order));
  }

  // ── For people ──────────────────────────────────────────────────────────────────────────────────────────────────

  backfill(options: BackfillOptions): Promise<Backfill> {
    return runBackfill(this, options);
  }

  async status(): Promise<QueueStatus> {
    const [stats, depth, holds] = await Promise.all([this.store.stats(), this.store.depth(), this.store.holds()]);
    return {
      queue: this.store.address,
      durability: this.store.durability,
      states: stats.states,
      surfaces: Object.entries(stats.surfaces)
        .map(([surface, states]) => ({ surface, ...states }))
        .sort((a, b) => (a.surface < b.surface ? -1 : 1)),
      ...{ unknown: stats.unknown, parked: stats.parked, claimed: stats.claimed },
      bytes: depth.bytes,
      oldest: isoOrNull(depth.oldestAt),
      holds: holds.map(({ window, reason, since }) => ({ window, reason, since: iso(since) })),
      limits: this.limits,
    };
  }

  async list(query: PageQuery = {}): Promise<Page<IntentLine>> {
    const limit = query.limit ?? PAGE;
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE)
      throw new QueueError('QUEUE_OPTIONS', `a page of ${limit} intents cannot be listed`, {
        details: [`allowed: 1 to ${MAX_PAGE}`],
      });
    const rows = await this.store.list({ ...listQuery(query), limit: limit + 1 });
    const intents = rows.slice(0, limit);
    return { intents: intents.map(lineOf), next: rows.length > limit ? String(intents.at(-1)?.seq) : null };
  }

  async show(receipt: string, options: { readonly body?: boolean } = {}): Promise<IntentDetail | null> {
    if (!isReceipt(receipt)) return null;
    const intent = await this.store.get(receipt, options.body ?? false);
    if (!intent) return null;
    const moves = await this.store.moves([receipt]);
    return detailOf(intent, moves.get(receipt) ?? [], options.body ?? false);
  }

  drop(which: Which, by: string, reason: string): Promise<MoveResult> {
    return this.#move(which, 'dropped', by, reason);
  }

  requeue(which: Which, by: string, reason: string): Promise<MoveResult> {
    return this.#move(which, 'queued', by, reason);
  }

  async #move(which: Which, to: 'queued' | 'dropped', by: string, reason: string): Promise<MoveResult> {
    const moved: string[] = [];
    const refused: { receipt: string; why: string }[] = [];
    const move = async (receipts: readonly string[]) => {
      const answers = await Promise.all(receipts.map((receipt) => this.store.move(receipt, to, by, reason)));
      for (const [index, answer] of answers.entries()) {
        const receipt = receipts[index]!;
        if (answer.is === 'moved') moved.push(receipt);
        else refused.push({ receipt, why: answer.why });
      }
    };
    if ('receipts' in which) {
      await move([...new Set(which.receipts)]);
      return { moved, refused };
    }
    // by position, not "until none is left": one that is refused would come again for ever
    let after: number | undefined;
    for (;;) {
      const page = { ...listQuery(which.all), limit: PAGE };
      const rows = await this.store.list(after === undefined ? page : { ...page, after });
      await move(rows.map(({ receipt }) => receipt));
      if (rows.length < PAGE) return { moved, refused };
      after = rows.at(-1)?.seq;
    }
  }

  async *export(selection: Selection = {}, options: { readonly bodies?: boolean } = {}): AsyncIterable<IntentDetail> {
    const bodies = options.bodies ?? false;
    let after: number | undefined;
    for (;;) {
      const page = { ...listQuery(selection), limit: PAGE, bodies };
      const rows = await this.store.list(after === undefined ? page : { ...page, after });
      const moves = await this.store.moves(rows.map(({ receipt }) => receipt));
      for (const row of rows) yield detailOf(row, moves.get(row.receipt) ?? [], bodies);
      if (rows.length < PAGE) return;
      after = rows.at(-1)?.seq;
    }
  }

  hold(window: string, reason: string, awake?: () => void): Promise<void> {
    return this.store.hold(window, reason, awake);
  }

  unhold(window: string, awake?: () => void): Promise<boolean> {
    return this.store.unhold(window, awake);
  }

  holds(): Promise<readonly Hold[]> {
    return this.store.holds();
  }

  systemIdentifier(): Promise<string | null> {
    return this.store.systemIdentifier();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#refreshing;
    await this.store.close();
  }
}

function listQuery({ before, ...query }: PageQuery): Omit<ListQuery, 'limit'> {
  const { after, limit: _, ...rest } = query;
  if (after !== undefined && !/^\d{1,15}$/.test(after))
    throw new QueueError('QUEUE_OPTIONS', `there is no page after ${JSON.stringify(after)}`, {
      details: ['allowed: what the page before gave as next'],
    });
  return {
    ...rest,
    ...(before === undefined ? {} : { before: before.getTime() }),
    ...(after === undefined ? {} : { after: Number(after) }),
  };
}

function lineOf(intent: Intent): IntentLine {
  return {
    receipt: intent.receipt,
    state: intent.state,
    surface: intent.surface,
    tenant: intent.tenant,
    key: intent.key,
    order: intent.order,
    method: intent.method,
    target: maskedTarget(intent.target),
    body_bytes: intent.bodyBytes,
    window: intent.window,
    accepted_at: iso(intent.acceptedAt),
    settled_at: isoOrNull(intent.settledAt),
    attempts: intent.attempts,
    unknown: intent.unknown,
    parked: intent.parked,
    already_applied: intent.already,
    status: intent.status,
    reason: intent.reason,
  };
}

function detailOf(intent: Intent, moves: readonly Move[], body: boolean): IntentDetail {
  return {
    ...lineOf(intent),
    ...(body ? { target: intent.target } : {}),
    received_at: iso(intent.receivedAt),
    headers: intent.headers,
    moves: moves.map(({ at, by, from, to, reason }) => ({ at: iso(at), by, from, to, reason })),
    ...(body ? { body: intent.body === null ? null : encoded(intent.body) } : {}),
  };
}

function encoded(body: Uint8Array): { encoding: 'utf8' | 'base64'; data: string } {
  try {
    return { encoding: 'utf8', data: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body) };
  } catch {
    return { encoding: 'base64', data: Buffer.from(body).toString('base64') };
  }
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

function isoOrNull(ms: number | null): string | null {
  return ms === null ? null : iso(ms);
}
