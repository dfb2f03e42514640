// The flag in a Redis key. Redis 7 has no compare-and-set: one script compares, sets and tells the guards.
import { z } from 'zod';
import { Stale, Unknown } from '../../engine/contract.ts';
import type { Reader } from '../../engine/io.ts';
import { url } from '../../engine/secret.ts';
import { OuterError } from '../../errors/catalogue.ts';
import { defineFlag } from './flag.ts';

export const RedisFlagParams = z.strictObject({
  url: url('the Redis: redis://host:6379, rediss://host:6380 or unix:///path/to/socket'),
  key: z.string().min(1).default('maint:read_only').meta({ description: 'where the flag document is' }),
  channel: z.string().min(1).default('maint:read_only').meta({ description: 'where guards hear of a change' }),
});
export type RedisFlagParams = z.infer<typeof RedisFlagParams>;

/**
 * What the end of a window leaves: a guard that finds it knows that the window is over, where a missing key may also be a
 * Redis that lost its data. It expires by itself.
 */
const ENDED = '{"version":1,"holders":{}}';
const ENDED_SECONDS = 24 * 60 * 60;

/**
 * ARGV: whether the key was there, what it held, whether it shall be there, what it shall hold, the channel.
 * SET takes a time to live away on purpose: a flag that expires would open the writes by itself. Only what an end leaves has one. A PUBLISH that is not
 * allowed must not make an error of a SET that was done: guards read the key each second anyway.
 */
const SWAP = `
local now = redis.call('GET', KEYS[1])
if ARGV[1] == '0' then
  if now then return 0 end
elseif now ~= ARGV[2] then
  return 0
end
if ARGV[3] == '0' then redis.call('SET', KEYS[1], ARGV[4], 'EX', ARGV[6]) else redis.call('SET', KEYS[1], ARGV[4]) end
redis.pcall('PUBLISH', ARGV[5], ARGV[4])
return 1`;

const NOT_OURS_TO_READ = new Set(['NOPERM', 'NOAUTH', 'WRONGPASS', 'WRONGTYPE']);

/** `version`: the text as it stands there, null where the key is missing. */
export const flagRedis = defineFlag<RedisFlagParams, string | null>({
  name: 'flag/redis',
  summary: 'our holder in the read-only flag, a Redis key that guards read and hear of',
  Params: RedisFlagParams,
  example: { url: '${REDIS_URL}' },
  address: ({ url, key }) => `redis ${placeOf(url)} ${key}`,
  leaves: 'an empty flag document, for 24 hours',
  saysEnded: true,

  async read(io, { url, key }) {
    try {
      const text = (await io.redis.read(url, 'GET', key)) as string | null;
      return { text: text === ENDED && (await expires(io, url, key)) ? null : text, version: text };
    } catch (error) {
      if (!(error instanceof OuterError) || !NOT_OURS_TO_READ.has(error.code ?? '')) throw error;
      return new Unknown(`GET ${key}: ${error.message}`);
    }
  },

  async replace(io, { url, key, channel }, seen, text) {
    const was = seen.version;
    const args = [was === null ? '0' : '1', was ?? '', text === null ? '0' : '1', text ?? ENDED, channel];
    args.push(String(ENDED_SECONDS));
    const done = await io.redis.script(url, SWAP, [key], args);
    if (Number(done) !== 1) throw new Stale(`${key} was changed by somebody else meanwhile`);
  },

  asks: 'GET, ACL dry run',
  allowed: (io, { url, key, channel }) =>
    io.redis.missing(url, [
      ['GET', key],
      ['EVAL', 'return 1', '1', key],
      ['SET', key, ''],
      ['PUBLISH', channel, ''],
    ]),
});

/** Ours expires; a document that somebody keeps there does not. Where that may not be asked, it is taken for ours. */
async function expires(io: Reader, url: string, key: string): Promise<boolean> {
  try {
    return Number(await io.redis.read(url, 'PTTL', key)) > 0;
  } catch (error) {
    if (!(error instanceof OuterError) || error.code !== 'NOPERM') throw error;
    return true;
  }
}

/** Host, port and database, or the socket; no userinfo. */
function placeOf(address: string): string {
  if (!URL.canParse(address)) return 'at an address that is not known yet';
  const { protocol, hostname, port, pathname, searchParams } = new URL(address);
  if (protocol === 'unix:') return decodeURIComponent(pathname);
  const database = Number(pathname.slice(1) || searchParams.get('db') || 0);
  return `${hostname}:${port || 6379}${database ? `/${database}` : ''}`;
}
