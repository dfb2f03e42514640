// What a guard is made with, and what is refused before it begins.
import type { Authorize } from './buffer.ts';
import type { GuardLog } from './keeper.ts';
import type { WriteQueue } from './queue.ts';
import type { FlagSource } from './sources/source.ts';
import type { Surface } from './surfaces.ts';
export interface GuardOptions {
  /** Where the flag is: `fileSource(path)`, `redisSource(client)`, or your own. */
  readonly source: FlagSource;
  /** The parsed surfaces file, or its list. Default: nothing is named, so unsafe methods are refused and safe ones pass. */
  readonly surfaces?: readonly Surface[] | { readonly surfaces: readonly Surface[] };
  /** This service's environment: holders that name another one do not count. Default: every holder counts. */
  readonly environment?: string;
  /** As long as nothing is known about the flag (source down at the start, no local copy). Default `pass`: counted and logged. */
  readonly onUnknown?: 'pass' | 'refuse';
  /**
   * The flag vanishes while somebody holds (a Redis that lost its data, a replica without the key). Default `hold`: writes
   * stay refused until the last `until` and 60 s more, then as `on_expiry` says; a document that is written ends it at
   * once. `open`: no document means read-write at any time.
   */
  readonly onMissing?: 'hold' | 'open';
  /** A file that keeps the last document across restarts. */
  readonly localCopy?: string;
  /**
   * The status of a refusal; a surface may have its own. Default 503, which generic clients retry after `Retry-After`.
   * 423 (RFC 4918) they never retry.
   */
  readonly status?: 503 | 423;
  /** Exact paths whose GET and HEAD always pass. Default `/health`, `/healthz`, `/livez`, `/readyz`. */
  readonly healthPaths?: readonly string[];
  /**
   * True: a CORS layer behind the guard answers every preflight, so that no handler sees one, and preflights pass. Default
   * false: they are judged like any other OPTIONS, and where a surface of GET has the path, refused.
   */
  readonly corsBehindGuard?: boolean;
  /** Default: warnings and errors go to `console.warn`. */
  readonly log?: GuardLog;
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly clock?: () => number;
  /** Milliseconds of a clock that nobody sets: the flag's age is what the clock that says more says. Default `performance.now`. */
  readonly monotonic?: () => number;
  /** From 0 up to, not including, 1: the jitter of `Retry-After`. Default `Math.random`. */
  readonly random?: () => number;
  /** How long `ready()` waits for the source, in milliseconds. Default 3000. */
  readonly readyTimeoutMs?: number;
  /** An age of the flag above this is `stale` in the counts, in milliseconds. Default 10,000. */
  readonly staleAfterMs?: number;
  /** Where `buffer` surfaces keep their writes: `openQueue` of `@maint/intents`, or your own. */
  readonly queue?: WriteQueue;
  /**
   * Who may have a write kept. Its credentials are not stored, and it is applied with the service's own later: so this is
   * the last moment to look at them. Needed with `buffer` surfaces. `elsewhere`: what stands before the guard does it, or
   * anybody may.
   */
  readonly authorize?: Authorize;
  /** Where receipts are looked up. Who knows one may ask how it ended. Default `/.well-known/maintenance/receipts`. */
  readonly receiptsPath?: string;
  /** How long a body that has to be read may take, in milliseconds. Default 30,000. */
  readonly bodyTimeoutMs?: number;
  /**
   * How many bytes of bodies may be in memory at once; a body counts with what has arrived of it. Above it writes that
   * are to be kept are refused with 503; what has to be read to know whether it writes is not. Default 256 MiB.
   */
  readonly maxPendingBytes?: number;
  /** How long the queue and `authorize` may take, in milliseconds. Default 10,000. */
  readonly queueTimeoutMs?: number;
  /**
   * A client leaves, and the handler goes on: so long its write stays in flight, in milliseconds, where its end cannot be
   * seen (it returned no promise, and does not end its response). Default 30,000.
   */
  readonly abandonedMs?: number;
  /** Serve `/.well-known/maintenance`. It is public, and so are `reason` and `contact`. Default true. */
  readonly wellKnown?: boolean;
}

export interface CallOptions {
  /** The name in the surfaces, the counts and messages. Default: the function's own. */
  readonly name?: string;
}

export interface NamedCallOptions extends CallOptions {
  /** Default `tool`. */
  readonly kind?: 'tool' | 'job' | 'vector' | 'kv';
}

export const RECEIPTS_PATH = '/.well-known/maintenance/receipts';

/** @throws TypeError where an option cannot be understood */
export function checkOptions({ source, status, onUnknown, onMissing, receiptsPath }: GuardOptions): void {
  if (typeof source?.start !== 'function') {
    throw new TypeError('source: fileSource(path), redisSource(client), httpSource(url) or your own');
  }
  if (status !== undefined && status !== 503 && status !== 423) {
    throw new TypeError(`status: ${String(status)}, allowed are 503 and 423`);
  }
  if (onUnknown !== undefined && onUnknown !== 'pass' && onUnknown !== 'refuse') {
    throw new TypeError(`onUnknown: ${String(onUnknown)}, allowed are pass and refuse`);
  }
  if (onMissing !== undefined && onMissing !== 'hold' && onMissing !== 'open') {
    throw new TypeError(`onMissing: ${String(onMissing)}, allowed are hold and open`);
  }
  if (receiptsPath !== undefined && !/^(?:\/[\w.~-]+)+$/.test(receiptsPath)) {
    throw new TypeError(`receiptsPath: ${String(receiptsPath)}, allowed is a path such as ${RECEIPTS_PATH}`);
  }
}

/** @throws TypeError where a surface keeps writes and nothing is there to keep them */
export function checkBuffering(buffers: boolean, { queue, authorize }: GuardOptions): void {
  if (queue !== undefined && typeof queue?.accept !== 'function') {
    throw new TypeError('queue: openQueue() of @maint/intents, or your own WriteQueue');
  }
  if (!buffers) return;
  if (!queue)
    throw new TypeError('queue: a surface has the disposition buffer, and there is no queue to keep its writes');
  if (authorize !== 'elsewhere' && typeof authorize !== 'function') {
    throw new TypeError(
      "authorize: a function that says who may have a write kept, or 'elsewhere' where that is decided before the guard: kept writes are applied with the service's own credential",
    );
  }
}
