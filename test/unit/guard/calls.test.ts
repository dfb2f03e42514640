// Calls by name, schedulers, metrics, and what the guard has seen.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import {
  createGuard,
  type FlagSink,
  type Guard,
  type GuardOptions,
  isSkipped,
  ReadOnlyError,
} from '../../../packages/guard/src/index.ts';
import { until } from '../../support/until.ts';

const ON = JSON.stringify({ version: 1, holders: { 'w-1': { until: '2026-11-23T02:30:00Z' } } });
let now: number;
let sink: FlagSink;
let guards: Guard[];

beforeEach(() => {
  now = Date.parse('2026-11-23T02:00:00Z');
  guards = [];
});
afterEach(async () => {
  await Promise.all(guards.map((guard) => guard.close()));
});

function guardWith(options: Partial<GuardOptions> = {}): Guard {
  const guard = createGuard({
    source: { start: (s) => void (sink = s), close() {} },
    clock: () => now,
    monotonic: () => now,
    random: () => 0,
    log: () => {},
    ...options,
  });
  guards.push(guard);
  return guard;
}

const surfaces = [
  { name: 'mail', kind: 'tool', match: { names: ['send_mail', 'crm.*'] } },
  { name: 'lookup', kind: 'tool', match: { names: ['find'] }, disposition: 'pass' },
  { name: 'last-seen', kind: 'kv', match: { names: ['seen'] }, disposition: 'drop', status: 204 },
  { name: 'cache', kind: 'kv', disposition: 'drop' },
  { name: 'upsert', kind: 'vector', match: { path: '/points', methods: ['PUT'], names: ['points.*'] }, status: 423 },
];

test('calls by name: refused, passed, dropped, and counted under their surface', async () => {
  const { tool, call, counts } = guardWith({ surfaces });
  sink.document(ON);
  const done: string[] = [];
  const fn = (what: string) => void done.push(what);
  await expect(tool(fn, { name: 'send_mail' })('a')).rejects.toBeInstanceOf(ReadOnlyError);
  await expect(tool(fn, { name: 'crm.update' })('b')).rejects.toBeInstanceOf(ReadOnlyError);
  await expect(tool(fn, { name: 'other' })('c')).rejects.toBeInstanceOf(ReadOnlyError);
  await tool(fn, { name: 'find' })('passes');
  expect(await call(() => 7, { kind: 'kv', name: 'seen' })()).toBeUndefined();
  await expect(call(fn, { kind: 'kv', name: 'cache' })('d')).rejects.toBeInstanceOf(ReadOnlyError);
  const returned = await call(fn, { kind: 'vector', name: 'points.upsert', onRefused: 'return' })('e');
  expect(returned).toMatchObject({ error: { code: 'read_only' } });
  // The kind is part of the name.
  await expect(call(fn, { kind: 'vector', name: 'find' })('f')).rejects.toBeInstanceOf(ReadOnlyError);
  expect(done).toEqual(['passes']);
  expect(counts()).toMatchObject({
    refused: { total: 6, tool: 3, kv: 1, vector: 2, bySurface: { mail: 2, other: 1, cache: 1, upsert: 1, find: 1 } },
    dropped: { bySurface: { 'last-seen': 1 } },
    surfaces: { lookup: { passed: 1 } },
  });
  sink.document(null);
  expect(await call(() => 7, { kind: 'kv', name: 'seen' })()).toBe(7);
});

test.each([
  [{ name: 'a', kind: 'grpc', match: {} }, 'grpc, allowed are http, graphql, tool, job, vector, kv'],
  [{ name: 'a', kind: 'tool', disposition: 'buffer' }, 'buffer: only a request can be kept'],
  [{ name: 'a', kind: 'job', match: { path: '/x' } }, 'a job is matched by names'],
  [{ name: 'a', kind: 'tool', match: { names: ['x*y'] } }, '* stands only at the end'],
  [{ name: 'a', kind: 'tool', match: { names: ['x*'] }, disposition: 'pass' }, 'what passes is exact'],
  [{ name: 'a', match: { path: '/x' }, disposition: 'queue' }, 'queue, allowed are refuse, buffer, drop and pass'],
  [{ name: 'a', match: { path: '/x' }, status: 204 }, '204, allowed are 503 and 423'],
  [{ name: 'a', match: { path: '/x' }, disposition: 'drop', status: 200 }, '200, allowed are 503, 423 and 204'],
  [{ name: 'a', match: { path: '/x' }, order: { header: 'x' } }, 'order (a): only with disposition: buffer'],
  [{ name: 'a', match: { path: '/x/:id' }, tenant: { param: 'ID' } }, 'ID is no parameter of match.path'],
  [{ name: 'a', match: { path: '/x' }, disposition: 'buffer', credential: 'user' }, "the user's own credential"],
  [{ name: 'a', match: { path: '/x' }, disposition: 'buffer', keep_headers: ['Cookie'] }, 'cookie is never stored'],
  [{ name: 'a', match: { path: '/x' }, disposition: 'buffer', max_bytes: 0 }, 'max_bytes (a): 0'],
  [{ name: 'a', match: { path: '/x' }, disposition: 'buffer', key: 'body' }, 'body, allowed are header and content'],
  [{ name: 'a', match: { path: '/x', operations: ['mutation'] } }, 'only with kind: graphql'],
  [{ name: 'a', kind: 'graphql', match: { path: '/x', operations: ['write'] } }, '["write"], allowed is a list'],
])('a surface that cannot be understood is an error at the start: %j', (surface, message) => {
  expect(() => guardWith({ surfaces: [surface as never] })).toThrow(message);
});

test('two surfaces of one name are an error at the start', () => {
  const twice = { name: 'a', match: { path: '/x' } };
  expect(() => guardWith({ surfaces: [twice, twice] })).toThrow('surfaces[1].name: a is the name of another surface');
});

test('a scheduler skips runs, and pauses and resumes what runs by itself', async () => {
  const { scheduler, counts } = guardWith();
  const told: string[] = [];
  const own = scheduler({ pause: () => void told.push('pause'), resume: () => void told.push('resume') });
  sink.document(null);
  expect(told).toEqual([]);
  expect(await own.run('digest', () => 3)).toBe(3);
  sink.document(ON);
  expect(own.paused).toBe(true);
  expect(isSkipped(await own.run('digest', () => 3))).toBe(true);
  expect(await own.wrap('digest', (n: number) => n)(4)).toMatchObject({ skipped: 'read_only', window: 'w-1' });
  await until(() => told.length === 1);
  let open = false;
  const waiting = own.untilOpen().then(() => (open = true));
  const aborted = own.untilOpen(AbortSignal.timeout(1));
  await expect(aborted).rejects.toThrow();
  expect(open).toBe(false);
  sink.document(null);
  await waiting;
  await until(() => told.length === 2);
  expect(told).toEqual(['pause', 'resume']);
  expect(counts().refused).toMatchObject({ job: 2, bySurface: { digest: 2 } });
  own.close();
  sink.document(ON);
  expect(told).toHaveLength(2);
});

test('a scheduler made in a window pauses at once; a pause that fails or takes long is followed by its resume', async () => {
  const { scheduler, counts } = guardWith();
  sink.document(ON);
  const told: string[] = [];
  let go: () => void = () => {};
  scheduler({
    async pause() {
      told.push('pause');
      await new Promise<void>((resolve) => (go = resolve));
      throw new Error('no');
    },
    resume: () => void told.push('resume'),
  });
  expect(told).toEqual(['pause']);
  sink.document(null);
  expect(told).toEqual(['pause']);
  go();
  await until(() => told.length === 2);
  expect(told).toEqual(['pause', 'resume']);
  expect(counts().errors.internal).toBe(1);
});

test('a holder that runs out by the clock resumes without a change of the flag', async () => {
  const guard = guardWith();
  const soon = new Date(now + 100).toISOString();
  sink.document(JSON.stringify({ version: 1, holders: { 'w-1': { until: soon, on_expiry: 'open' } } }));
  const own = guard.scheduler();
  expect(own.paused).toBe(true);
  now += 100;
  await own.untilOpen();
  expect(own.paused).toBe(false);
  own.close();
});

test('every: in place of setInterval, never twice at once, and its errors are logged', async () => {
  const { scheduler, counts } = guardWith();
  sink.document(null);
  const own = scheduler();
  let runs = 0;
  const stop = own.every(1, 'tick', async () => {
    runs += 1;
    await new Promise((resolve) => setTimeout(resolve, 5));
    throw new Error('no');
  });
  await until(() => runs === 3);
  expect(counts().errors.internal).toBeGreaterThanOrEqual(2);
  sink.document(ON);
  await until(() => (counts().refused.bySurface['tick'] ?? 0) > 0);
  const before = runs;
  await until(() => (counts().refused.bySurface['tick'] ?? 0) > 3);
  expect(runs - before).toBeLessThanOrEqual(1);
  stop();
  own.close();
});

/** The text format, as its document has it: families together, HELP and TYPE first, escaped labels, a newline at the end. */
function parseExposition(text: string): Map<string, number> {
  expect(text.endsWith('\n')).toBe(true);
  const samples = new Map<string, number>();
  const families = new Set<string>();
  let family = '';
  for (const line of text.slice(0, -1).split('\n')) {
    const [, keyword, name = ''] = /^# (HELP|TYPE) ([a-zA-Z_:][\w:]*) \S.*$/.exec(line) ?? [];
    if (keyword === 'HELP') {
      expect(families).not.toContain(name);
      families.add(name);
      family = name;
    } else if (keyword === 'TYPE') {
      expect(name).toBe(family);
      expect(line).toMatch(name.endsWith('_total') ? / counter$/ : / gauge$/);
    } else {
      const sample =
        /^([a-zA-Z_:][\w:]*)((?:\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*\})?) (\+Inf|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/.exec(
          line,
        );
      expect([line, sample?.[1]]).toEqual([line, family]);
      const id = `${sample?.[1]}${sample?.[2]}`;
      expect(samples.has(id)).toBe(false);
      samples.set(id, sample?.[3] === '+Inf' ? Number.POSITIVE_INFINITY : Number(sample?.[3]));
    }
  }
  return samples;
}

test('metrics: valid, with zeros for what was never seen, and the queue where there is one', async () => {
  const queue = {
    accept: async () => ({ is: 'full' as const, why: '' }),
    receipt: async () => null,
    depth: () => ({ queued: 3, bytes: 1024, oldestMs: 1500 }),
    pending: () => false,
    busy: async () => false,
  };
  const { metrics, admit, tool } = guardWith({ surfaces: [{ name: 'a"\\\n', match: { path: '/a' } }], queue });
  let samples = parseExposition(metrics());
  expect(samples.get('maint_guard_flag_age_seconds')).toBe(Number.POSITIVE_INFINITY);
  expect(samples.get('maint_guard_flag_stale')).toBe(1);
  expect(samples.get('maint_guard_refused_total{surface="a\\"\\\\\\n"}')).toBe(0);
  admit({ method: 'POST', url: '/a', headers: {} });
  sink.document(ON);
  now += 2_500;
  admit({ method: 'POST', url: '/a', headers: {} });
  await tool(() => 1, { name: 't', onRefused: 'return' })();
  samples = parseExposition(metrics());
  expect(Object.fromEntries(samples)).toMatchObject({
    'maint_guard_refused_total{surface="a\\"\\\\\\n"}': 1,
    'maint_guard_refused_total{surface="t"}': 1,
    'maint_guard_passed_unknown_total{surface="a\\"\\\\\\n"}': 1,
    'maint_guard_in_flight{kind="http"}': 1,
    maint_guard_read_only: 1,
    maint_guard_flag_age_seconds: 2.5,
    maint_guard_queue_depth: 3,
    maint_guard_queue_bytes: 1024,
    maint_guard_queue_oldest_age_seconds: 1.5,
    'maint_guard_errors_total{kind="local_copy"}': 0,
  });
});

test('what no surface names is listed without ids, the most frequent first, at most 50', () => {
  const { admit, maintenance } = guardWith({ surfaces: [{ name: 'a', match: { path: '/a/:id' } }] });
  sink.document(null);
  for (let n = 0; n < 240; n += 1) {
    admit({
      method: 'POST',
      url: `/junk-${'abcdefghij'[n % 10]}${'abcdefghij'[Math.floor(n / 10) % 10]}${'abc'[n % 3]}`,
      headers: {},
    });
    admit({ method: 'PUT', url: `/users/${n}/mails/${n}?token=x`, headers: {} });
    admit({ method: 'POST', url: `/a/${n}`, headers: {} });
  }
  const { unnamed, surfaces } = maintenance();
  expect(unnamed[0]).toEqual({ method: 'PUT', path: '/users/:id/mails/*', count: 240 });
  expect(unnamed).toHaveLength(50);
  expect(surfaces).toEqual({ a: { refused: 0, queued: 0, dropped: 0, passed: 240 } });
  sink.document(ON);
  admit({ method: 'PUT', url: '/users/1/mails/2', headers: {} });
  expect(maintenance().unnamed[0]?.count).toBe(241);
  for (let n = 0; n < 1600; n += 1) admit({ method: 'PUT', url: '/users/1/mails/2', headers: {} });
  expect(maintenance().unnamed[0]?.count).toBeGreaterThan(1700);
  expect(maintenance().unnamed[0]?.count).toBeLessThan(1900);
});
