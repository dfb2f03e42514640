// Reading one key as the server has it: whatever prefix the client is told to use, and never more than a document may be.
import type { RedisClient } from './redis.ts';

const MOST_BYTES = 1024 * 1024;

export interface Reader {
  /** @returns null where there is no such key */
  read(key: string): Promise<string | null>;
  close(): void;
}

/** What is used of both clients where it is there. */
interface Client extends RedisClient {
  /** ioredis */
  readonly options?: {
    readonly keyPrefix?: string;
    readonly host?: string;
    readonly port?: number;
    readonly path?: string | null;
    readonly db?: number;
    /** node-redis */
    readonly url?: string;
    readonly socket?: { readonly host?: string; readonly port?: number; readonly path?: string };
    readonly database?: number;
  };
  readonly isCluster?: boolean;
  getrange?(key: string, from: number, to: number): PromiseLike<unknown>;
  getRange?(key: string, from: number, to: number): PromiseLike<unknown>;
  on?(event: string, listener: () => void): unknown;
  connect?(): PromiseLike<unknown>;
  disconnect?(): unknown;
  readonly status?: string;
}

export function readerOf(client: RedisClient, ignore: () => void): Reader {
  const prefix = (client as Client).options?.keyPrefix;
  if (prefix === undefined || prefix === '') return { read: (key) => readBounded(client, key), close() {} };
  // Every command of this client gets the prefix, a raw one as well.
  const own = duplicateOf(client, { keyPrefix: '', lazyConnect: false, enableOfflineQueue: true }) as Client;
  own.on?.('error', ignore);
  return {
    async read(key) {
      // Where the service's way to connect again has given up, its own client is its own business; this one is not.
      if (own.status === 'end') await own.connect?.();
      return readBounded(own, key);
    },
    close: () => void own.disconnect?.(),
  };
}

export function duplicateOf(client: RedisClient, options: Record<string, unknown>): unknown {
  const duplicate = client.duplicate as (...args: unknown[]) => unknown;
  if ((client as Client).isCluster !== true) return duplicate.call(client, options);
  // A cluster has its prefix beside the options of its nodes.
  return duplicate.call(client, [], { ...options, redisOptions: { keyPrefix: '' } });
}

/** Host, port and database, or the socket; no credentials. */
export function placeOf(client: RedisClient): string {
  const { isCluster, options = {} } = client as Client;
  if (isCluster) return 'cluster';
  const url = options.url !== undefined && URL.canParse(options.url) ? new URL(options.url) : undefined;
  const socket = options.path ?? options.socket?.path;
  if (socket) return socket;
  const host = options.host ?? options.socket?.host ?? (url?.hostname || 'localhost');
  const port = options.port ?? options.socket?.port ?? (url?.port || 6379);
  const database = options.db ?? options.database ?? (Number(url?.pathname.slice(1)) || 0);
  return `${host}:${port}${database ? `/${database}` : ''}`;
}

/** A value of half a gigabyte must not come over each second. */
async function readBounded(client: RedisClient, key: string): Promise<string | null> {
  const text = await rangeOf(client, key);
  if (text === null || text === '') {
    // A range of a missing key is as empty as that of an empty value.
    const value = await client.get(key);
    return value === null || value === undefined ? null : String(value);
  }
  if (Buffer.byteLength(text) > MOST_BYTES) throw new Error(`the flag document is larger than ${MOST_BYTES} bytes`);
  return text;
}

/** @returns null where the client has no such command, or its user may not use it */
async function rangeOf(client: Client, key: string): Promise<string | null> {
  try {
    if (client.getrange) return String(await client.getrange(key, 0, MOST_BYTES));
    if (client.getRange) return String(await client.getRange(key, 0, MOST_BYTES));
  } catch (error) {
    if (!/^NOPERM/.test((error as Error)?.message)) throw error;
  }
  return null;
}
