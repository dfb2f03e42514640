// What a queue is to the service that fills it (WriteQueue) and to those who keep one (IntentStore).

/** A write that was taken in place of the service. What must not be stored has been left out of it by its sender. */
export interface BufferedWrite {
  readonly surface: string;
  /** '' where there is one only */
  readonly tenant: string;
  /** `Idempotency-Key` as sent (unquoted), or `content:<sha-256 hex>` where the surface derives it */
  readonly key: string;
  /** writes of one partition (surface, tenant, order) are applied in the order of acceptance; null: no order */
  readonly order: string | null;
  readonly method: string;
  /** path and query as received */
  readonly target: string;
  /** lower-case names; `idempotency-key` as it was sent, if it was */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** milliseconds since the epoch */
  readonly receivedAt: number;
  /** the window that was open; null where unknown */
  readonly window: string | null;
}

export type QueueAnswer =
  /** Durable. `replayed`: the same key and payload were there already, and this is their receipt. */
  | { readonly is: 'accepted'; readonly receipt: string; readonly replayed: boolean }
  /** the key is taken by another payload: 422 */
  | { readonly is: 'reused' }
  /** another process is storing this key at this moment: 409 */
  | { readonly is: 'in_flight' }
  /** nothing was stored: 503 */
  | { readonly is: 'full'; readonly why: string }
  /** It may or may not be stored: 503, and the client comes back with the *same* key. */
  | { readonly is: 'unknown'; readonly why: string };

export type IntentState = 'queued' | 'applying' | 'applied' | 'dead' | 'dropped';
export const INTENT_STATES: readonly IntentState[] = ['queued', 'applying', 'applied', 'dead', 'dropped'];

export interface Receipt {
  readonly receipt: string;
  readonly state: IntentState;
  /** ISO 8601, UTC */
  readonly acceptedAt: string;
  readonly settledAt: string | null;
  /** of the service's answer when the write was applied or given up */
  readonly status: number | null;
  readonly reason: string | null;
}

/** What a guard needs of a queue. */
export interface WriteQueue {
  /** Resolves when the write is durable, or says why it is not; never rejects. */
  accept(write: BufferedWrite, signal?: AbortSignal): Promise<QueueAnswer>;
  receipt(id: string): Promise<Receipt | null>;
  /** From memory, at most some seconds old. */
  depth(): { readonly queued: number; readonly bytes: number; readonly oldestMs: number | null };
  /** Whether anything of this surface still waits, is being applied, or stands parked. From memory, at most a second old. */
  pending(surface: string): boolean;
  /** After so long `pending` of every process knows of a write that one of them has kept, in milliseconds. */
  readonly settleMs?: number;
  /** The same of one partition, read from the store: a direct write that passes now overtakes nothing. */
  busy(surface: string, tenant: string, order: string): Promise<boolean>;
}

// ── The store ─────────────────────────────────────────────────────────────────────────────────────────────────────

export interface NewIntent extends BufferedWrite {
  /** 128 random bits, base64url */
  readonly receipt: string;
  /** SHA-256 of tenant, surface and key */
  readonly keyHash: Uint8Array;
  /** SHA-256 of what makes two writes the same */
  readonly fingerprint: Uint8Array;
  /** the partition's name: a hash, of the receipt where there is no order */
  readonly partition: string;
}

export interface Intent extends Omit<BufferedWrite, 'body'> {
  /** acceptance order within a partition; also where a page goes on */
  readonly seq: number;
  readonly receipt: string;
  readonly partition: string;
  /** null: not asked for, or applied (a body is erased with the record that it was applied) */
  readonly body: Uint8Array | null;
  readonly bodyBytes: number;
  readonly acceptedAt: number;
  readonly state: IntentState;
  /** a dead letter that stops its partition */
  readonly parked: boolean;
  /** It was sent, and nobody knows what came of it. */
  readonly unknown: boolean;
  /** applied: the service had it already */
  readonly already: boolean;
  readonly attempts: number;
  readonly status: number | null;
  readonly reason: string | null;
  readonly settledAt: number | null;
}

/** A partition that is ours for the length of a lease. The token rises with every claim; an old one changes nothing. */
export interface Claim {
  readonly partition: string;
  readonly token: number;
}

export type Taken =
  | { readonly is: 'taken'; readonly claim: Claim; readonly intent: Intent }
  /** nothing waits, but for what is parked */
  | { readonly is: 'empty' }
  /** what waits is in other hands, or not due yet; `at`: milliseconds since the epoch, by the store's clock, with `now` */
  | { readonly is: 'later'; readonly at: number; readonly now: number }
  | { readonly is: 'held'; readonly holds: readonly Hold[] };

export type Next =
  | { readonly is: 'taken'; readonly intent: Intent }
  | { readonly is: 'empty' }
  | { readonly is: 'held'; readonly holds: readonly Hold[] }
  | { readonly is: 'fenced' };

export type Outcome =
  | { readonly is: 'applied'; readonly status: number | null; readonly already: boolean }
  /** Not before `delayMs`. `unknown`: it may have been applied. `counted`: whether this was an attempt. */
  | {
      readonly is: 'again';
      readonly delayMs: number;
      readonly unknown: boolean;
      readonly counted: boolean;
      readonly status: number | null;
      readonly reason: string | null;
    }
  /** `park`: its partition stops until it is dropped or requeued. Without an order there is nothing to stop. */
  | { readonly is: 'dead'; readonly status: number | null; readonly reason: string; readonly park: boolean };

/** `more`: the claim goes on, and the partition has a next intent. Without it the claim has ended. */
export type Settled = { readonly is: 'settled'; readonly more: boolean } | { readonly is: 'fenced' };

/** Who leads: the run that alone applies what waits. Times in milliseconds since the epoch. */
export type Led =
  | { readonly is: 'ours' }
  | { readonly is: 'theirs'; readonly owner: string; readonly since: number; readonly until: number };

export interface Hold {
  readonly window: string;
  readonly reason: string;
  /** milliseconds since the epoch */
  readonly since: number;
}

export interface Move {
  readonly at: number;
  readonly by: string;
  readonly from: IntentState;
  readonly to: 'queued' | 'dropped';
  readonly reason: string;
}

export type Moved =
  | { readonly is: 'moved'; readonly from: IntentState }
  | { readonly is: 'refused'; readonly why: string };

export interface ListQuery {
  readonly states?: readonly IntentState[];
  readonly surface?: string;
  /** only those of this partition (Intent.partition) */
  readonly partition?: string;
  readonly unknown?: boolean;
  readonly parked?: boolean;
  readonly window?: string;
  /** accepted before, milliseconds since the epoch */
  readonly before?: number;
  /** the `seq` of the last one of the page before */
  readonly after?: number;
  readonly limit: number;
  readonly bodies?: boolean;
}

/** What accept and the guard's questions are decided by. Cheap: a handful of rows. */
export interface Depth {
  /** queued and applying */
  readonly waiting: number;
  /** waiting, and dead letters: what the caps count */
  readonly kept: number;
  /** of what is kept */
  readonly bytes: number;
  /** when the oldest that waits was accepted, milliseconds since the epoch */
  readonly oldestAt: number | null;
  /** surfaces with something that waits, is being applied or stands parked */
  readonly busy: ReadonlySet<string>;
}

export interface Stats {
  readonly states: Readonly<Record<IntentState, number>>;
  readonly surfaces: Readonly<Record<string, Readonly<Record<IntentState, number>>>>;
  readonly unknown: number;
  /** partitions that a dead letter stops, and what waits in them */
  readonly parked: { readonly partitions: number; readonly waiting: number };
  /** partitions with a claim whose lease runs */
  readonly claimed: number;
}

export interface Durability {
  /** What an accepted write survives: the end of the process, of the machine's power, or the loss of the machine. */
  readonly survives: 'process' | 'power' | 'machine';
  /** how that is known */
  readonly proof: string;
}

/**
 * One queue's storage. The same suite runs over every implementation (test/contract/intents.ts).
 *
 * Batching is the implementation's own matter. Every method may reject with {@link QueueError}, but for `accept`, whose
 * answers say it.
 */
export interface IntentStore {
  readonly kind: 'sqlite' | 'postgres';
  /** where it is, free of secrets */
  readonly address: string;
  readonly durability: Durability;
  /** Resolves only when it is durable. Abort: what was not written yet is not written. */
  accept(intent: NewIntent, signal?: AbortSignal): Promise<QueueAnswer>;
  get(receipt: string, bodies?: boolean): Promise<Intent | null>;
  /** oldest first, of each that has any */
  moves(receipts: readonly string[]): Promise<ReadonlyMap<string, readonly Move[]>>;
  /** in the order of acceptance */
  list(query: ListQuery): Promise<readonly Intent[]>;
  /** whether anything of this partition waits, is being applied or stands parked */
  busy(partition: string): Promise<boolean>;

  /** Claims a partition and marks its head as being applied, durably: what is sent was written down before. */
  take(owner: string, leaseMs: number): Promise<Taken>;
  /** the next head of a claimed partition, marked likewise; the lease begins anew */
  next(claim: Claim, leaseMs: number): Promise<Next>;
  settle(claim: Claim, receipt: string, outcome: Outcome): Promise<Settled>;
  /** false: it is in other hands */
  renew(claim: Claim, leaseMs: number): Promise<boolean>;
  /** gives the partition back; what was marked and not sent is queued as before */
  release(claim: Claim): Promise<void>;

  /**
   * Takes the lead of the whole queue, or renews it. `instead`: of this owner, who is known to be gone. What a former
   * leader had claimed is free again.
   */
  lead(owner: string, leaseMs: number, instead?: string): Promise<Led>;
  resign(owner: string): Promise<void>;

  /** While there is a hold, `take` and `next` give nothing. The same window again: its reason is replaced.
   * `awake`: asked right before it counts; what it throws undoes it. */
  hold(window: string, reason: string, awake?: () => void): Promise<void>;
  /** false: there was none */
  unhold(window: string, awake?: () => void): Promise<boolean>;
  holds(): Promise<readonly Hold[]>;

  /** Requeue or drop, written down with who and why. */
  move(receipt: string, to: 'queued' | 'dropped', by: string, reason: string): Promise<Moved>;
  depth(): Promise<Depth>;
  stats(): Promise<Stats>;
  /** Removes what was settled before this time; returns how many. Dead letters stay. */
  purge(settledBefore: number, limit: number): Promise<number>;
  /** of the database cluster; null where there is none. For the check that the queue is not in the frozen database. */
  systemIdentifier(): Promise<string | null>;
  close(): Promise<void>;
}

// ── Limits ────────────────────────────────────────────────────────────────────────────────────────────────────────

export interface Limits {
  /** intents that wait or are dead. Default 1,000,000 */
  readonly count: number;
  /** bytes of these, bodies and what is stored with them. Default 1 GiB */
  readonly bytes: number;
  /** Nothing more is accepted while the oldest that waits is older. Default three days */
  readonly ageMs: number;
  /** of one body. Default 1 MiB */
  readonly bodyBytes: number;
  /** Keys and receipts are kept this long after their write was applied or dropped. Default seven days */
  readonly retentionMs: number;
  /** SQLite: nothing more is accepted while the file system has less room; settling needs some too. Default 256 MiB */
  readonly freeBytes: number;
}

export const DEFAULT_LIMITS: Limits = {
  count: 1_000_000,
  bytes: 1024 ** 3,
  ageMs: 3 * 86_400_000,
  bodyBytes: 1024 ** 2,
  retentionMs: 7 * 86_400_000,
  freeBytes: 256 * 1024 ** 2,
};
