import { z } from 'zod';
import { defineResource, type Is, LEAVE, Refusal, Stale, Unknown } from '../../engine/contract.ts';
import { url } from '../../engine/secret.ts';

export const Params = z.strictObject({
  url: url('redis://, rediss:// or unix://'),
  key: z.string().min(1).describe('the key that holds the namespace, which readers put before their cache keys'),
});
export type Params = z.infer<typeof Params>;

export const State = z.strictObject({ namespace: z.string() });
export type State = z.infer<typeof State>;

/** Compare and set; an expiry stays as it is. KEYS: the key. ARGV: whether it is there, its value, the new value. */
const SET = `local now = redis.call('GET', KEYS[1])
if (now and '1' or '0') ~= ARGV[1] or (now and now ~= ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'KEEPTTL')
return 1`;

/** Numbers stay numbers: readers may count on it. */
const NUMBER = /^(?:0|[1-9]\d{0,17})$/;
/** What a former window left behind. */
const TURN = /\.w-[\w-]+\.\d+$/;

/**
 * Forward only: the old namespace still holds what was cached before or in the window, and going back to it would make
 * that live again. Counted from `before`, an odd turn is a window's, an even one what comes after it.
 */
export const redisNamespace = defineResource<Params, State>({
  name: 'cache/redis-namespace',
  role: 'cache',
  summary: 'rotates the namespace of a cache in Redis at both edges, forward only',
  Params,
  State,
  leaves: 'a new cache namespace; what was cached under the old ones expires by itself',
  example: { url: '${REDIS_URL}', key: 'cache:ns' },
  address: (params) => {
    const at = new URL(params.url);
    return `redis ${at.protocol === 'unix:' ? at.pathname : `${at.hostname}:${at.port || 6379}${at.pathname.length > 1 ? at.pathname : ''}`} ${params.key}`;
  },

  compare: 'server',
  async observe(io, { url: address, key }) {
    const value: string | null = await io.redis.read(address, 'GET', key);
    return new Map([['namespace', { state: value === null ? null : { namespace: value } }]]);
  },

  desired({ held, window, now, before }) {
    if (!held && before === undefined) return LEAVE;
    const start = before === undefined ? now : before;
    const turn = turnOf(start, now, window.id);
    const fits = held ? turn % 2 === 1 : turn % 2 === 0 && turn > 0;
    return fits ? now : at(start, turn + 1, window.id);
  },

  async write(io, { url: address, key }, [change]) {
    const { from, to } = change!;
    if (to === null) throw new Refusal('a cache namespace only ever goes forward');
    const done = await io.redis.script(address, SET, [key], [from ? '1' : '0', from?.namespace ?? '', to.namespace]);
    if (Number(done) !== 1) throw new Stale('the namespace was changed by somebody else meanwhile');
    return [to];
  },

  notes({ seen, changes, when }) {
    const now = seen.get('namespace');
    const [first] = changes;
    if (first) return [`namespace ${first.from?.namespace ?? '(none)'} → ${changes.at(-1)!.to!.namespace}`];
    return when === 'done' && now && !(now instanceof Unknown) ? [`namespace ${now.namespace}`] : [];
  },

  asks: 'GET, ACL dry run',
  allowed: (io, { url: address, key }) =>
    io.redis.missing(address, [
      ['SET', key, 'x', 'KEEPTTL'],
      ['EVAL', SET, '1', key, '0', '', 'x'],
    ]),
});

/** How often it was turned since `start`; 0 where it was not, or where somebody else has set something of their own. */
function turnOf(start: Is<State>, now: Is<State>, window: string): number {
  if (!now || start?.namespace === now.namespace) return 0;
  if (isNumber(start) && NUMBER.test(now.namespace)) {
    const turns = BigInt(now.namespace) - BigInt(start.namespace);
    return turns > 0n && turns < 1_000_000n ? Number(turns) : 0;
  }
  const stem = stemOf(start, window);
  const turn = now.namespace.startsWith(stem) ? now.namespace.slice(stem.length) : '';
  return /^\d{1,6}$/.test(turn) ? Number(turn) : 0;
}

function at(start: Is<State>, turn: number, window: string): State {
  if (isNumber(start)) return { namespace: String(BigInt(start.namespace) + BigInt(turn)) };
  return { namespace: `${stemOf(start, window)}${turn}` };
}

function isNumber(state: Is<State>): state is State {
  return state !== null && NUMBER.test(state.namespace);
}

function stemOf(start: Is<State>, window: string): string {
  const base = start?.namespace.replace(TURN, '') ?? '';
  return `${base}${base === '' ? '' : '.'}${window}.`;
}
