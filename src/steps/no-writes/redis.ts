// No writes to a Redis. The server counts changes and calls; afterwards nothing tells which key, or who. Keyspace events
// name keys where they are switched on, but only while somebody listens; the clients that are connected name who.

import { createHash } from 'node:crypto';
import { z } from 'zod';
import { defineCheck } from '../../engine/contract.ts';
import { cutText } from '../../engine/cut.ts';
import type { Reader } from '../../engine/io.ts';
import { url } from '../../engine/secret.ts';
import { OuterError } from '../../errors/catalogue.ts';
import { fits, grouped } from './ledger.ts';
import { allowedName, For, HoldForAudit, MOMENTS, noWrites, WATCH_DEADLINE_MS } from './no-writes.ts';
import type { Difference, Evidence, Sight, Write } from './sight.ts';

/** Our own flag is written during the window (extend, another window's holder), by one script that also publishes. */
const FLAG_KEY = 'maint:read_only';

const Params = z.strictObject({
  url: url('the Redis: redis://host:6379, rediss://host:6380 or unix:///path/to/socket'),
  allow: z
    .array(z.strictObject({ key: allowedName(), because: z.string().min(1) }))
    .default([])
    .meta({ description: 'keys that are written to even so ("heartbeat:*"), and why' }),
  for: For,
  hold_for_audit: HoldForAudit,
});
type Params = z.infer<typeof Params>;

const Event = z.object({ count: z.number(), how: z.array(z.string()) });
const Seen = z.object({
  run: z.string(),
  /** a snapshot sets `dirty` to 0 */
  saves: z.string(),
  /** changes since the last snapshot */
  dirty: z.number(),
  /** calls of write commands that were neither refused nor failed */
  calls: z.record(z.string(), z.number()),
  scripts: z.number(),
  published: z.number(),
  expired: z.number(),
  evicted: z.number(),
  /** digests of the keys that are allowed by name; null: no string, or not to be read */
  keys: z.record(z.string(), z.string().nullable()),
  /** what was heard, by key; absent: keyspace events are off */
  events: z.record(z.string(), Event).optional(),
});
type Seen = z.infer<typeof Seen>;
type Heard = z.infer<typeof Event> & { last?: string };

/** Flagged as writes, and mostly used to read: without the count of changes their calls prove nothing. */
const READ_TOO = new Set([
  'sort',
  'getex',
  'georadius',
  'georadiusbymember',
  'bitfield',
  'xreadgroup',
  'xautoclaim',
  'xclaim',
  'del',
  'unlink',
  'expire',
  'pexpire',
  'persist',
]);
/** Nobody writes when these are told: the server removed a key by itself, or a reader missed one. */
const NO_WRITE = new Set(['expired', 'evicted', 'keymiss', 'new']);
const MAX_KEYS = 1_000;
const MAX_DIGESTS = 20;
const MAX_NAME = 100;

export const noWritesRedis = defineCheck<Params, Evidence>({
  name: 'no-writes/redis',
  proves: 'unwritten',
  deadlineMs: WATCH_DEADLINE_MS,
  summary: 'nothing is written to a Redis',
  Params,
  example: { url: '${REDIS_URL}', allow: [{ key: 'heartbeat:*', because: 'lag probe' }] },
  address: ({ url }) => `redis ${placeOf(url)}`,
  on: MOMENTS,
  async check(io, context) {
    const sight = sightOf(io, context.params);
    try {
      return await noWrites(context, {
        unit: 'writes',
        lateMs: 0,
        Seen,
        sight,
        allow: [
          { name: FLAG_KEY, because: 'our own flag' },
          ...context.params.allow.map(({ key, because }) => ({ name: key, because })),
        ],
        forMs: context.params.for,
        hold: context.params.hold_for_audit,
      });
    } finally {
      await sight.close();
    }
  },
  asks: 'ACL dry run of INFO',
  async allowed(io, { url }) {
    try {
      return await io.redis.missing(url, [['INFO']]);
    } catch (error) {
      // before 7.0, or without the right to ask: what the check reads tells
      if (!(error instanceof OuterError) || (error.code !== 'ERR' && error.code !== 'NOPERM')) throw error;
      await io.redis.read(url, 'INFO', 'server');
      return [];
    }
  },
});

function sightOf(io: Reader, params: Params): Sight<Seen> & { close(): Promise<void> } {
  const { url } = params;
  const exact = [FLAG_KEY, ...params.allow.map(({ key }) => key).filter((key) => !key.includes('*'))].slice(
    0,
    MAX_DIGESTS,
  );
  const heard = new Map<string, Heard>();
  let writes: string[] | undefined;
  let stop: (() => Promise<void>) | undefined;
  let quietBefore = true;
  return {
    close: async () => stop?.(),
    async prepare(watching) {
      writes = await writeCommands(io, url);
      // One look hears nothing, and would wait for the subscription with closed walls.
      if (!watching) return;
      stop = await listen(io, url, (key, event) => hear(heard, key, event));
    },
    async look() {
      const info = parseInfo(String(await io.redis.read(url, 'INFO', 'all')));
      // One more round trip: what the server told its subscribers before that answer has arrived when this one has.
      // A refusal is an answer too.
      if (stop) await optional(io.redis.read(url, 'PING'));
      const calls: Seen['calls'] = {};
      for (const name of writes ?? []) {
        const count = callsOf(info, name);
        if (count > 0) calls[name] = count;
      }
      const keys: Seen['keys'] = {};
      for (const key of exact) keys[key] = await digestOf(io, url, key);
      return {
        run: info['run_id'] ?? '',
        saves: `${info['rdb_saves'] ?? ''} ${info['rdb_last_save_time'] ?? ''}`,
        dirty: Number(info['rdb_changes_since_last_save'] ?? 0),
        calls,
        scripts: callsOf(info, 'eval'),
        published: callsOf(info, 'publish'),
        expired: Number(info['expired_keys'] ?? 0),
        evicted: Number(info['evicted_keys'] ?? 0),
        keys,
        ...(stop && {
          events: Object.fromEntries([...heard].map(([key, { count, how }]) => [key, { count, how: [...how] }])),
        }),
      };
    },
    async compare(from, to) {
      const counted = count(from, to);
      if (!from.events || !to.events || counted.doubts.length > 0)
        return await byCommand(io, params, from, to, counted);
      const told = byKey(from.events, to.events);
      // An event may be heard a moment before the count that it belongs to.
      const unheard = told.length === 0 && quietBefore && counted.changes !== 0;
      quietBefore = told.length === 0;
      if (unheard) return await byCommand(io, params, from, to, counted);
      const alarm = told.some(({ names }) => !params.allow.some(({ key }) => names?.some((name) => fits(name, key))));
      const who = !alarm ? [] : await clientsOf(io, url, Object.keys(counted.calls));
      return {
        still: told.length === 0,
        writes: told.map((write) => ({ ...write, who })),
        pending: [],
        doubts: [],
        notes: counted.notes,
      };
    },
    trim({ events: _, ...seen }) {
      return seen;
    },
  };
}

interface Counted {
  /** undefined: a snapshot was taken in between, only the calls are known */
  changes: number | undefined;
  calls: Record<string, number>;
  doubts: string[];
  notes: string[];
}

function count(from: Seen, to: Seen): Counted {
  const doubts: string[] = [];
  const notes: string[] = [];
  if (from.run !== to.run)
    return { changes: undefined, calls: {}, doubts: ['the server was restarted, or is another one'], notes };
  const calls: Record<string, number> = {};
  for (const [name, now] of Object.entries(to.calls)) {
    const more = now - (from.calls[name] ?? 0);
    if (more !== 0) calls[name] = more;
  }
  const changes = from.saves === to.saves ? to.dirty - from.dirty : undefined;
  const reset =
    Object.values(calls).some((more) => more < 0) ||
    Object.keys(from.calls).some((name) => to.calls[name] === undefined);
  if ((reset && changes !== 0) || (changes !== undefined && changes < 0)) doubts.push('the counters were reset');
  const [expired, evicted] = [to.expired - from.expired, to.evicted - from.evicted];
  if (expired > 0) notes.push(`${grouped(expired)} ${expired === 1 ? 'key' : 'keys'} expired: no write of anybody`);
  if (evicted > 0)
    notes.push(
      `${grouped(evicted)} ${evicted === 1 ? 'key was' : 'keys were'} evicted for want of memory: no write of anybody`,
    );
  return { changes, calls, doubts, notes };
}

/** Without names of keys: our own flag is subtracted, keys that are allowed explain what their change can explain. */
async function byCommand(io: Reader, params: Params, from: Seen, to: Seen, counted: Counted): Promise<Difference> {
  const { changes, doubts, notes } = counted;
  const none = { still: changes === 0, writes: [], pending: [], doubts, notes };
  const calls = Object.entries(counted.calls).filter(([, more]) => more > 0);
  if (doubts.length > 0 || changes === 0) return none;
  if (changes === undefined && calls.length === 0 && to.dirty === 0) return none;
  const called = calls.reduce((sum, [, more]) => sum + more, 0);
  let left = changes ?? Math.max(called, to.dirty);
  const good: Write[] = [];
  const moved = (key: string) => from.keys[key] !== to.keys[key];
  if (moved(FLAG_KEY)) {
    const swaps = (counted.calls['set'] ?? 0) + (counted.calls['del'] ?? 0);
    const own = Math.min(swaps, to.scripts - from.scripts, to.published - from.published, left);
    if (own > 0) good.push({ what: FLAG_KEY, count: own, how: 'our own flag' });
    left -= Math.max(own, 0);
  }
  for (const key of Object.keys(to.keys)) {
    if (key === FLAG_KEY || left === 0 || !moved(key)) continue;
    good.push({ what: key, count: 1, how: 'its value changed' });
    left -= 1;
  }
  if (left <= 0) return { ...none, writes: good };
  const names =
    calls.map(([name, more]) => `${name.toUpperCase().replace('|', ' ')} ${grouped(more)}`).join(', ') ||
    'no command that is known to write';
  // Whether the rest went to allowed keys is not recorded.
  if (params.allow.some(({ key }) => key.includes('*') || moved(key) || to.keys[key] === null)) {
    const why = `${grouped(left)} more ${left === 1 ? 'write' : 'writes'} (${names}) may or may not have gone to allowed keys: only keyspace events tell (CONFIG SET notify-keyspace-events KA)`;
    return { ...none, writes: good, doubts: [why] };
  }
  if (changes === undefined && to.dirty === 0 && calls.every(([name]) => READ_TOO.has(name))) {
    return {
      ...none,
      writes: good,
      doubts: [`a snapshot was taken, and commands that may write without effect were called (${names})`],
    };
  }
  const who = await clientsOf(
    io,
    params.url,
    calls.map(([name]) => name),
  );
  const how = `${names}; the key is not told${changes === undefined ? '; a snapshot was taken, some may have been without effect' : ''}`;
  const what = calls.length === 1 ? calls[0]![0].toUpperCase().replace('|', ' ') : 'keys';
  return { ...none, writes: [...good, { what, names: [], count: left, how, who }] };
}

function byKey(from: NonNullable<Seen['events']>, to: NonNullable<Seen['events']>): Write[] {
  const writes: Write[] = [];
  for (const [key, { count, how }] of Object.entries(to)) {
    const more = count - (from[key]?.count ?? 0);
    if (more > 0) writes.push({ what: cut(key), names: [key], count: more, how: how.join(', ') });
  }
  return writes;
}

function hear(heard: Map<string, Heard>, key: string, event: string): void {
  if (NO_WRITE.has(event)) return;
  const name = heard.has(key) || heard.size < MAX_KEYS ? key : `(more than ${MAX_KEYS} keys)`;
  const entry: Heard = heard.get(name) ?? { count: 0, how: [] };
  // SET … EX tells two things of one write
  if (!(event === 'expire' && entry.last === 'set')) entry.count += 1;
  if (!entry.how.includes(event) && entry.how.length < 5) entry.how.push(event);
  entry.last = event;
  heard.set(name, entry);
}

/** undefined: keyspace events are off, or this user may not know. */
async function listen(
  io: Reader,
  url: string,
  told: (key: string, event: string) => void,
): Promise<(() => Promise<void>) | undefined> {
  const answer = await optional(io.redis.read(url, 'CONFIG', 'GET', 'notify-keyspace-events'));
  const flags = String((answer as string[] | undefined)?.[1] ?? '');
  const all = flags.includes('A') || [...'g$lshzt'].every((flag) => flags.includes(flag));
  if (!all || !/[KE]/.test(flags)) return undefined;
  const kind = flags.includes('K') ? 'keyspace' : 'keyevent';
  return await optional(
    io.redis.subscribe(url, `__${kind}@*__:*`, (channel, message) => {
      const rest = channel.slice(channel.indexOf('__:') + 3);
      if (kind === 'keyspace') told(rest, message);
      else told(message, rest);
    }),
  );
}

/** By the server's own flags; in a container they stand at the sub-command ("xgroup|create"). */
async function writeCommands(io: Reader, url: string): Promise<string[] | undefined> {
  const answer = (await optional(io.redis.read(url, 'COMMAND'))) as any[] | undefined;
  if (!answer) return undefined;
  const names: string[] = [];
  for (const entry of answer) {
    for (const each of [entry, ...(Array.isArray(entry[9]) ? entry[9] : [])]) {
      if (Array.isArray(each[2]) && each[2].map(String).includes('write')) names.push(String(each[0]).toLowerCase());
    }
  }
  return names;
}

/** Who is connected and did one of these commands last: a sample, for nothing is recorded. */
async function clientsOf(io: Reader, url: string, commands: readonly string[]): Promise<string[]> {
  const text = await optional(io.redis.read(url, 'CLIENT', 'LIST'));
  const clients = new Set<string>();
  for (const line of String(text ?? '').split('\n')) {
    const fields = Object.fromEntries(
      line.split(' ').map((field) => [field.slice(0, field.indexOf('=')), field.slice(field.indexOf('=') + 1)]),
    );
    if (!fields['cmd'] || !commands.includes(fields['cmd']) || Number(fields['idle']) > 2) continue;
    clients.add(`${fields['user'] ?? 'default'} (${[fields['name'], fields['addr']].filter(Boolean).join(', ')})`);
  }
  return [...clients].slice(0, 5);
}

async function digestOf(io: Reader, url: string, key: string): Promise<string | null> {
  try {
    const value = await io.redis.read(url, 'GET', key);
    return value === null ? 'not there' : createHash('sha256').update(String(value)).digest('hex').slice(0, 16);
  } catch (error) {
    if (error instanceof OuterError && (error.code === 'WRONGTYPE' || error.code === 'NOPERM')) return null;
    throw error;
  }
}

/** undefined: this user may not, or this server does not know it. */
async function optional<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof OuterError && (error.code === 'NOPERM' || error.code === 'ERR')) return undefined;
    throw error;
  }
}

function parseInfo(text: string): Record<string, string> {
  const info: Record<string, string> = {};
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0 && !line.startsWith('#')) info[line.slice(0, colon)] = line.slice(colon + 1);
  }
  return info;
}

/** "calls=3,usec=9,usec_per_call=3.00,rejected_calls=0,failed_calls=1"; a refused call is counted as rejected only */
function callsOf(info: Readonly<Record<string, string>>, command: string): number {
  const fields = new Map(
    (info[`cmdstat_${command}`] ?? '').split(',').map((field) => field.split('=') as [string, string]),
  );
  const number = (name: string) => Number(fields.get(name) ?? 0);
  return Math.max(0, number('calls') - number('failed_calls'));
}

function cut(key: string): string {
  return cutText(key, MAX_NAME);
}

/** Host, port and database, or the socket; no userinfo. */
function placeOf(address: string): string {
  if (!URL.canParse(address)) return 'at an address that is not known yet';
  const { protocol, hostname, port, pathname } = new URL(address);
  return protocol === 'unix:'
    ? decodeURIComponent(pathname)
    : `${hostname}:${port || 6379}${pathname.length > 1 ? pathname : ''}`;
}
