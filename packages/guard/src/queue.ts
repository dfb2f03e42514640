// What the guard needs of a durable queue. `@maint/intents` is one; the guard knows the shape only, and imports nothing.

/** A write that was accepted for later: everything that a replay needs, and no credential. */
export interface BufferedWrite {
  readonly surface: string;
  /** '' where the surface names no tenant. */
  readonly tenant: string;
  /** The Idempotency-Key as sent, without the quotes of an RFC 9651 String; or derived: `content:` and a SHA-256 in hex. */
  readonly key: string;
  /** Writes of one partition (surface, tenant, order) are applied in the order of acceptance. null: no order. */
  readonly order: string | null;
  readonly method: string;
  /** Path and query as they were received. */
  readonly target: string;
  /** Lower-case names; only what may be stored. */
  readonly headers: Readonly<Record<string, string>>;
  /** As received: a compressed body stays compressed, and its content-encoding is among the headers. */
  readonly body: Uint8Array;
  /** Milliseconds since the epoch. */
  readonly receivedAt: number;
  /** The window that was open, null where it is not known. */
  readonly window: string | null;
}

export type QueueAnswer =
  /** It is durable. `replayed`: the same key and payload were there already. */
  | { readonly is: 'accepted'; readonly receipt: string; readonly replayed: boolean }
  /** The key was used for another payload: 422. */
  | { readonly is: 'reused' }
  /** The first request with this key is being stored: 409. */
  | { readonly is: 'in_flight' }
  /** Nothing was stored: 503. */
  | { readonly is: 'full'; readonly why: string }
  /** It may have been stored: 503, and the client comes back with the same key. */
  | { readonly is: 'unknown'; readonly why: string };

export type ReceiptState = 'queued' | 'applying' | 'applied' | 'dead' | 'dropped';

/** How an accepted write ended, or that it has not. */
export interface Receipt {
  readonly receipt: string;
  readonly state: ReceiptState;
  /** RFC 3339, UTC. */
  readonly acceptedAt: string;
  readonly settledAt: string | null;
  /** The HTTP status that the service gave to the replay. */
  readonly status: number | null;
  readonly reason: string | null;
}

export interface WriteQueue {
  /** Resolves when the write is durable, or is surely or possibly not. Never rejects. */
  accept(write: BufferedWrite, signal?: AbortSignal): Promise<QueueAnswer>;
  /** null: there is none. May reject: the guard then answers 503. */
  receipt(id: string): Promise<Receipt | null>;
  /** From memory, at most some seconds old. */
  depth(): { readonly queued: number; readonly bytes: number; readonly oldestMs: number | null };
  /** Whether anything of this surface is queued or being applied. From memory, at most a second old. */
  pending(surface: string): boolean;
  /**
   * After so long the `pending` of every process knows of a write that one of them has kept, in milliseconds. Default
   * 1500; 0 where no other process uses the queue.
   */
  readonly settleMs?: number;
  /** Whether anything of this partition is queued or being applied: a read of the store. May reject. */
  busy(surface: string, tenant: string, order: string): Promise<boolean>;
}
