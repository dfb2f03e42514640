// Redis through ioredis. One connection per address, made when it is first needed, never again by itself: no retry, no
// queue of commands that would go out later.
import type { Socket } from 'node:net';
import type { Redis } from 'ioredis';
import type { RedisReader, RedisWriter } from '../engine/io.ts';
import {
  after,
  before,
  Expired,
  errorCode,
  type Failure,
  interrupted,
  type Limit,
  limit,
  NEVER_CONNECTED,
  outerError,
  race,
  type Scope,
  timedOut,
} from './call.ts';

export class RedisPool {
  readonly #open = new Map<string, { redis: Redis; ready: Promise<void> }>();
  readonly #subscriptions = new Set<Redis>();
  #closed = false;

  /** A connected client; a broken one is replaced. */
  async get(url: string, bound: Limit): Promise<Redis> {
    let entry = this.#open.get(url);
    if (entry && isGone(entry.redis)) {
      this.drop(url);
      entry = undefined;
    }
    if (!entry) {
      const redis = await this.connection(url, bound);
      // two callers at once: the first one's connection is everybody's
      const other = this.#open.get(url);
      if (other) hangUp(redis);
      entry = other ?? { redis, ready: connect(redis) };
      this.#open.set(url, entry);
    }
    try {
      await race(bound, entry.ready);
    } catch (error) {
      if (this.#open.get(url) === entry) this.drop(url);
      throw error;
    }
    return entry.redis;
  }

  /** Whoever is still asking when all is closed must not open another one: it would keep the process alive for ever. */
  private async connection(url: string, bound: Limit): Promise<Redis> {
    const redis = await connection(url, bound.ms);
    if (this.#closed) throw new Error('Connection is closed.');
    return redis;
  }

  drop(url: string): void {
    const entry = this.#open.get(url);
    if (entry) hangUp(entry.redis);
    this.#open.delete(url);
  }

  async subscription(url: string, bound: Limit): Promise<Redis> {
    const redis = await this.connection(url, bound);
    this.#subscriptions.add(redis);
    try {
      await race(bound, connect(redis));
    } catch (error) {
      this.end(redis);
      throw error;
    }
    return redis;
  }

  end(redis: Redis): void {
    this.#subscriptions.delete(redis);
    hangUp(redis);
  }

  close(): void {
    this.#closed = true;
    for (const url of [...this.#open.keys()]) this.drop(url);
    for (const redis of [...this.#subscriptions]) this.end(redis);
  }
}

/** Replies come as RESP2 gives them: a map is a flat list of names and values. */
export function redisReader(scope: Scope, pool: RedisPool): RedisReader {
  return {
    async read(url, ...command) {
      const refused = notARead(command);
      if (refused) {
        throw outerError(scope, `redis ${refused} is no read command`, {
          effect: 'none',
          retryable: false,
          code: 'NOT_A_READ',
        });
      }
      return await send(scope, pool, url, command, false);
    },
    async missing(url, commands) {
      const asked = userOf(url);
      const [who, ...answers] = await pipeline(scope, pool, url, [['ACL', 'WHOAMI'], ...dryRuns(asked, commands)]);
      const user = String(who);
      // The address does not always say who one is (a client certificate does, too).
      const told = user === asked ? answers : await pipeline(scope, pool, url, dryRuns(user, commands));
      return commands.flatMap((command, at) => {
        const answer = told[at];
        if (answer === 'OK') return [];
        const words = answer instanceof Error ? answer.message : String(answer);
        return [`Redis user ${user} may not ${command[0]} ${placeIn(command)}: ${words}`.replace(' :', ':')];
      });
    },
    async subscribe(url, pattern, listener) {
      const where = address(scope, url);
      using bound = limit(scope, where, undefined);
      try {
        const redis = await pool.subscription(url, bound);
        redis.on('pmessage', (_pattern: string, channel: string, message: string) => listener(channel, message));
        await race(bound, redis.psubscribe(pattern)).catch((error) => {
          pool.end(redis);
          throw error;
        });
        const stop = () => pool.end(redis);
        scope.signal.addEventListener('abort', stop, { once: true });
        return async () => {
          scope.signal.removeEventListener('abort', stop);
          stop();
        };
      } catch (error) {
        throw failed(scope, where, error, bound, 'none');
      }
    },
  };
}

function userOf(url: string): string {
  return URL.canParse(url) ? decodeURIComponent(new URL(url).username) || 'default' : 'default';
}

function dryRuns(user: string, commands: readonly (readonly string[])[]): string[][] {
  return commands.map((command) => ['ACL', 'DRYRUN', user, ...command]);
}

/** The key or the channel of a command. */
function placeIn([name, first = '', , key = '']: readonly string[]): string {
  return name === 'EVAL' ? key : first;
}

/** Reads only, in one round trip. An answer that is an error stands in its place; the first one's is thrown. */
async function pipeline(scope: Scope, pool: RedisPool, url: string, commands: readonly string[][]): Promise<unknown[]> {
  const where = address(scope, url);
  using bound = limit(scope, where, undefined);
  try {
    const redis = await pool.get(url, bound);
    const batch = redis.pipeline();
    for (const [name, ...args] of commands) batch.call(name!, ...args);
    const answers = await race(bound, batch.exec());
    const [first] = answers ?? [];
    if (first?.[0]) throw first[0];
    return (answers ?? []).map(([error, answer]) => error ?? answer);
  } catch (error) {
    if (error instanceof Expired) pool.drop(url);
    throw failed(scope, where, error, bound, 'none');
  }
}

export function redisWriter(scope: Scope, pool: RedisPool): RedisWriter {
  return {
    ...redisReader(scope, pool),
    write: (url, ...command) => send(scope, pool, url, command, true),
    script: (url, lua, keys, args) =>
      send(scope, pool, url, ['EVAL', lua, String(keys.length), ...keys, ...args], true),
  };
}

async function send(scope: Scope, pool: RedisPool, url: string, command: readonly string[], write: boolean) {
  const where = address(scope, url);
  using bound = limit(scope, where, undefined);
  const what = `redis ${command[0]?.toUpperCase()}`;
  let redis: Redis;
  try {
    redis = await pool.get(url, bound);
  } catch (error) {
    throw failed(scope, where, error, bound, 'none');
  }
  if (write) before(scope, what);
  try {
    const answer = await race(bound, redis.call(command[0]!, ...command.slice(1)));
    if (write) after(scope, what);
    return answer;
  } catch (error) {
    if (write && isReply(error)) after(scope, what);
    // its answer may still come, and must not be taken for the next command's; nor may it wait in the socket's buffer
    if (error instanceof Expired) pool.drop(url);
    throw failed(scope, where, error, bound, write ? 'unknown' : 'none');
  }
}

/** Also where the socket has ended and its client has not heard of it yet. */
function isGone(redis: Redis): boolean {
  if (redis.status === 'close' || redis.status === 'end') return true;
  return redis.status === 'ready' && socketOf(redis)?.writable === false;
}

/** At once: a polite end would wait for a server that hangs, and keep the process alive meanwhile. */
function hangUp(redis: Redis): void {
  // for one that has ended already ioredis would only start a timer of two seconds
  if (redis.status !== 'end') redis.disconnect();
  socketOf(redis)?.destroy();
}

function socketOf(redis: Redis): Socket | undefined {
  return (redis as unknown as { stream?: Socket }).stream;
}

async function connection(url: string, connectTimeout: number): Promise<Redis> {
  const { Redis } = await import('ioredis');
  const redis = new Redis({
    ...place(url),
    lazyConnect: true,
    connectTimeout,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    enableReadyCheck: false,
    autoResubscribe: false,
    autoResendUnfulfilledCommands: false,
    // HELLO and CLIENT SETINFO need rights that a narrow ACL user does not have, and Redis 5 does not know the first
    protocol: 2,
    disableClientInfo: true,
  });
  return redis;
}

/** ioredis rejects connect() with "Connection is closed." and tells the reason only by its error event. */
function connect(redis: Redis): Promise<void> {
  let reason: Error | undefined;
  redis.on('error', (error: Error) => {
    reason = error;
  });
  return new Promise((resolve, reject) => {
    redis.once('ready', resolve);
    redis.once('end', () => reject(reason ?? new Error('Connection is closed.')));
    redis.connect().catch((error: Error) => reject(reason ?? error));
  });
}

function place(url: string) {
  const parsed = new URL(url);
  const name = parsed.username === '' ? undefined : decodeURIComponent(parsed.username);
  const login = {
    ...(name !== undefined && { username: name }),
    ...(parsed.password !== '' && { password: decodeURIComponent(parsed.password) }),
  };
  if (parsed.protocol === 'unix:') {
    return { ...login, path: decodeURIComponent(parsed.pathname), db: Number(parsed.searchParams.get('db') ?? 0) };
  }
  const host = parsed.hostname.replace(/^\[(.*)\]$/, '$1');
  return {
    ...login,
    host,
    port: Number(parsed.port || 6379),
    db: Number(parsed.pathname.slice(1) || parsed.searchParams.get('db') || 0),
    ...(parsed.protocol === 'rediss:' && { tls: { servername: host } }),
  };
}

/** Host and port, or the socket: what may be shown. */
function address(scope: Scope, url: string): string {
  try {
    const parsed = new URL(url);
    if (!['redis:', 'rediss:', 'unix:'].includes(parsed.protocol)) throw new TypeError('another protocol');
    return parsed.protocol === 'unix:' ? `redis ${parsed.pathname}` : `redis ${parsed.hostname}:${parsed.port || 6379}`;
  } catch {
    throw outerError(scope, 'not a Redis address: redis://host:6379, rediss:// or unix:///path', {
      effect: 'none',
      retryable: false,
    });
  }
}

function isReply(error: unknown): boolean {
  return (error as Error | undefined)?.name === 'ReplyError';
}

function failed(scope: Scope, where: string, error: unknown, bound: Limit, effect: 'none' | 'unknown') {
  if (error instanceof Expired) {
    return bound.reason() === 'interrupted'
      ? interrupted(scope, where, effect)
      : timedOut(scope, where, bound.ms, effect);
  }
  const { message } = error as Error;
  if (isReply(error)) {
    const code = /^[A-Z]+/.exec(message)?.[0];
    const failure: Failure = {
      effect: effect === 'none' ? 'none' : 'answered',
      retryable: code !== undefined && RETRYABLE.has(code),
      code,
    };
    // an unknown command is answered with its arguments
    return outerError(scope, `${where} answered ${message.replace(/,? with args beginning with.*/s, '')}`, failure);
  }
  const code = errorCode(error);
  const never = code === undefined ? undefined : NEVER_CONNECTED[code];
  if (never) return outerError(scope, `${where} ${never}`, { effect: 'none', retryable: true, code });
  if (/enableOfflineQueue/.test(message)) {
    return outerError(scope, `${where} has closed the connection`, { effect: 'none', retryable: true, code });
  }
  if (code === 'ENOENT' || code === 'EACCES') {
    return outerError(scope, `${where}: ${code === 'ENOENT' ? 'no such socket' : 'permission denied'}`, {
      effect: 'none',
      retryable: code === 'ENOENT',
      code,
    });
  }
  if (code !== undefined && /^(ERR_SSL_|ERR_TLS_|CERT_|EPROTO|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO)/.test(code)) {
    return outerError(scope, `${where} does not complete the TLS handshake (${code})`, {
      effect,
      retryable: false,
      code,
    });
  }
  return outerError(scope, `${where} broke the connection`, { effect, retryable: true, code: code ?? 'ECONNRESET' });
}

const RETRYABLE = new Set(['LOADING', 'BUSY', 'TRYAGAIN', 'CLUSTERDOWN', 'MASTERDOWN', 'NOREPLICAS', 'MISCONF']);

// ── What reads ────────────────────────────────────────────────────────────────────────────────────────────────────

const words = (text: string) => new Set(text.trim().split(/\s+/));

/** Of the server's own commands with the flag `readonly`, and of those that only tell something, what a step may need. */
const READS = words(`
  GET MGET GETRANGE STRLEN GETBIT BITCOUNT BITPOS BITFIELD_RO EXISTS TTL PTTL EXPIRETIME PEXPIRETIME TYPE DUMP SCAN KEYS RANDOMKEY DBSIZE
  HGET HMGET HGETALL HKEYS HVALS HLEN HEXISTS HSTRLEN HSCAN HRANDFIELD
  LLEN LRANGE LINDEX LPOS SCARD SMEMBERS SISMEMBER SMISMEMBER SRANDMEMBER SSCAN SINTER SUNION SDIFF SINTERCARD
  ZCARD ZCOUNT ZLEXCOUNT ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZRANK ZREVRANK ZSCORE ZMSCORE ZSCAN ZRANDMEMBER ZINTER ZUNION ZDIFF ZINTERCARD
  XLEN XRANGE XREVRANGE XPENDING PFCOUNT GEODIST GEOHASH GEOPOS GEOSEARCH SORT_RO
  INFO PING ECHO TIME LASTSAVE ROLE COMMAND
`);

/** Containers: what stands behind the first word decides. */
const SUBCOMMANDS: Readonly<Record<string, ReadonlySet<string>>> = {
  ACL: words('WHOAMI DRYRUN LOG LIST USERS GETUSER CAT'),
  CLIENT: words('LIST INFO ID GETNAME GETREDIR TRACKINGINFO'),
  CLUSTER: words('INFO MYID NODES SHARDS SLOTS KEYSLOT COUNTKEYSINSLOT'),
  CONFIG: words('GET'),
  FUNCTION: words('LIST STATS'),
  LATENCY: words('LATEST HISTORY HISTOGRAM DOCTOR GRAPH'),
  MEMORY: words('USAGE STATS DOCTOR MALLOC-STATS'),
  MODULE: words('LIST'),
  OBJECT: words('ENCODING FREQ IDLETIME REFCOUNT'),
  PUBSUB: words('CHANNELS NUMSUB NUMPAT SHARDCHANNELS SHARDNUMSUB'),
  SCRIPT: words('EXISTS'),
  SLOWLOG: words('GET LEN'),
  XINFO: words('STREAM GROUPS CONSUMERS'),
};

/** undefined: it reads. Otherwise the command's name, without its arguments. */
export function notARead(command: readonly string[]): string | undefined {
  const first = command[0]?.toUpperCase() ?? '';
  const second = command[1]?.toUpperCase() ?? '';
  const container = Object.hasOwn(SUBCOMMANDS, first) ? SUBCOMMANDS[first] : undefined;
  if (!container) return READS.has(first) ? undefined : first;
  if (!container.has(second)) return `${first} ${second}`.trim();
  // ACL LOG RESET empties the log
  if (first === 'ACL' && second === 'LOG' && command[2] !== undefined && !/^\d+$/.test(command[2]))
    return 'ACL LOG RESET';
  return undefined;
}
