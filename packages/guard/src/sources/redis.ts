import { duplicateOf, placeOf, type Reader, readerOf } from './redis-key.ts';
import type { FlagSink, FlagSource } from './source.ts';

export interface RedisSourceOptions {
  /** As the server has it: a `keyPrefix` of the client is not put before it. Default `maint:read_only`. */
  readonly key?: string;
  /** Any message on it makes the guard read the key at once. Default `maint:read_only`. */
  readonly channel?: string;
  /** How often the key is read although nothing was heard, in milliseconds. Default 1000. */
  readonly pollMs?: number;
  /** After this many milliseconds without an answer the source counts as gone. Default 2000. */
  readonly timeoutMs?: number;
}

/** What is needed of a client. `ioredis` and `redis` (node-redis 4 and later) have it. */
export interface RedisClient {
  get(key: string): PromiseLike<unknown>;
  duplicate(): unknown;
}

/** The parts of both clients' subscriber connections that are used, each of them only where it is there. */
interface Subscriber {
  on(event: string, listener: (...args: never[]) => void): unknown;
  connect(): Promise<unknown>;
  subscribe(channel: string, listener?: () => void): Promise<unknown>;
  disconnect?(): unknown;
  destroy?(): unknown;
  readonly status?: string;
  readonly isOpen?: boolean;
}

interface Subscription {
  /** Connects or subscribes again where the client's own ways have given up. */
  revive(): void;
  close(): void;
}

/**
 * Reads the flag from a Redis key with the service's own client (`ioredis`, or `redis`, told apart by their shape), and
 * subscribes on a duplicate of it. A message is only a nudge: what counts is always the key. The interval goes on while
 * connections are lost, and survives them.
 *
 * The service's client stays the service's: it is never closed here, and its `error` events are not listened to. Of a
 * client of ioredis with a `keyPrefix` a duplicate without it reads, since the flag's key is written without one.
 *
 * A missing key is what a Redis that lost its data has, so it ends nothing: see `GuardOptions.onMissing`.
 *
 * @throws TypeError where the client is neither of the two
 */
export function redisSource(client: RedisClient, options: RedisSourceOptions = {}): FlagSource {
  const { key = 'maint:read_only', channel = 'maint:read_only', pollMs = 1000, timeoutMs = 2000 } = options;
  if (typeof client?.get !== 'function' || typeof client.duplicate !== 'function') {
    throw new TypeError('redisSource: a client of ioredis or redis (node-redis) with get() and duplicate()');
  }
  let timer: NodeJS.Timeout | null = null;
  let subscription: Subscription | null = null;
  let reader: Reader | null = null;
  let closed = false;

  function start(sink: FlagSink): void {
    let asked = 0;
    let answered = 0;
    let askedAt = 0;
    let waiting = false;
    let again = false;

    function look(): void {
      if (closed) return;
      // A client queues commands while it has no connection: one question at a time, or the queue grows with the outage.
      if (!waiting || performance.now() - askedAt > 5 * timeoutMs) ask();
      else again = true;
    }

    function ask(): void {
      const mine = (asked += 1);
      waiting = true;
      askedAt = performance.now();
      const late = setTimeout(() => !closed && sink.failed(new Error('Redis does not answer in time')), timeoutMs);
      late.unref();
      void get().then((result) => {
        clearTimeout(late);
        if (closed) return;
        if ('text' in result) {
          // An old question's answer must not replace a newer one's.
          if (mine > answered) {
            if (result.text === null) sink.missing();
            else sink.document(result.text);
          }
          answered = Math.max(answered, mine);
        } else if (mine === asked) sink.failed(result.error);
        if (mine !== asked) return;
        waiting = false;
        if (!again) return;
        again = false;
        look();
      });
    }

    async function get(): Promise<{ text: string | null } | { error: unknown }> {
      try {
        reader ??= readerOf(client, ignore);
        return { text: await reader.read(key) };
      } catch (error) {
        return { error };
      }
    }

    look();
    try {
      const open = isNodeRedis(client) ? subscribeNodeRedis : subscribeIoredis;
      subscription = open(client, channel, look, (error) => !closed && sink.trouble(error));
    } catch (error) {
      sink.trouble(error);
    }
    timer = setInterval(() => {
      subscription?.revive();
      look();
    }, pollMs);
    timer.unref();
  }

  return {
    address: `redis ${placeOf(client)} ${key}`,
    shown: `redis key ${key}`,
    start,
    close() {
      closed = true;
      if (timer) clearInterval(timer);
      subscription?.close();
      reader?.close();
    },
  };
}

function isNodeRedis(client: RedisClient): boolean {
  return typeof (client as Partial<Subscriber>).isOpen === 'boolean';
}

function subscribeIoredis(
  client: RedisClient,
  channel: string,
  nudge: () => void,
  trouble: (error: unknown) => void,
): Subscription {
  // The service's options may switch these off, and the subscriber needs them. It subscribes by itself at each `ready`.
  const own = { lazyConnect: true, enableOfflineQueue: true, autoResubscribe: false, keyPrefix: '' };
  const subscriber = duplicateOf(client, own) as Subscriber;
  let closed = false;
  subscriber.on('error', ignore);
  subscriber.on('message', nudge);
  subscriber.on('ready', () => {
    // What was published while nobody listened is caught by looking once more.
    subscriber.subscribe(channel).then(nudge, (error) => !closed && trouble(error));
  });
  subscriber.connect().catch(ignore);
  return {
    revive() {
      if (subscriber.status === 'end') subscriber.connect().catch(ignore);
    },
    close() {
      closed = true;
      subscriber.disconnect?.();
    },
  };
}

function subscribeNodeRedis(
  client: RedisClient,
  channel: string,
  nudge: () => void,
  trouble: (error: unknown) => void,
): Subscription {
  const subscriber = client.duplicate() as Subscriber;
  let opening = false;
  let subscribed = false;
  let closed = false;
  subscriber.on('error', ignore);
  subscriber.on('ready', nudge);

  async function open(): Promise<void> {
    opening = true;
    try {
      if (!subscriber.isOpen) await subscriber.connect();
      // Once subscribed it does so again by itself after a lost connection; a connection lost before that is ours to mend.
      await subscriber.subscribe(channel, nudge);
      subscribed = true;
      nudge();
    } catch (error) {
      if (!closed) trouble(error);
    } finally {
      opening = false;
    }
    if (closed) disconnect(subscriber);
  }

  void open();
  return {
    revive() {
      if (!opening && !(subscribed && subscriber.isOpen)) void open();
    },
    close() {
      closed = true;
      disconnect(subscriber);
    },
  };
}

function disconnect(subscriber: Subscriber): void {
  try {
    if (subscriber.destroy) subscriber.destroy();
    else void Promise.resolve(subscriber.disconnect?.()).catch(ignore);
  } catch {
    // It was not open.
  }
}

/** A lost connection shows in the answers to `get`; a second report of it would count it twice. */
function ignore(): void {}
