import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import {
  createGuard,
  type FlagSink,
  type Guard,
  type GuardOptions,
  isSkipped,
  ReadOnlyError,
} from '../../../packages/guard/src/index.ts';

const START = Date.parse('2026-11-23T02:00:00Z');
const ON = JSON.stringify({ version: 1, holders: { 'w-1': { until: '2026-11-23T02:30:00Z', contact: '#ops' } } });
const OFF = JSON.stringify({ version: 1, holders: {} });
const write = { method: 'POST', url: '/items', headers: {} };

let now = START;
let sink: FlagSink;
let logged: string[];
let folder: string;
let guards: Guard[];

beforeEach(() => {
  now = START;
  logged = [];
  guards = [];
  folder = mkdtempSync(join(tmpdir(), 'guard-'));
});
afterEach(async () => {
  await Promise.all(guards.map((guard) => guard.close()));
  rmSync(folder, { recursive: true });
});

function guardWith(options: Partial<GuardOptions> = {}): Guard {
  const guard = createGuard({
    source: { start: (s) => void (sink = s), close() {} },
    clock: () => now,
    monotonic: () => now,
    random: () => 0,
    log: (level, message) => void logged.push(`${level}: ${message}`),
    readyTimeoutMs: 20,
    ...options,
  });
  guards.push(guard);
  return guard;
}

test('a broken document and a lost source keep the last known state, which ages', async () => {
  const guard = guardWith();
  sink.document(ON);
  expect(await guard.ready()).toBe('source');
  now += 5_000;
  sink.document('{"version":1,"hold');
  sink.failed(new Error('connection refused'));
  sink.failed(new Error('connection refused'));
  expect(guard.readOnly()).toBe(true);
  expect(guard.counts()).toMatchObject({
    flagAgeMs: 5_000,
    stale: false,
    errors: { document: 1, source: 2, total: 3 },
  });
  now += 6_000;
  expect(guard.counts().stale).toBe(true);
  sink.document(OFF);
  expect(guard.readOnly()).toBe(false);
  expect(guard.counts()).toMatchObject({ flagAgeMs: 0, stale: false });
  expect(logged).toEqual([
    'info: read-only',
    'warn: the flag document is broken, the last known state stays',
    'warn: the flag source is gone, the last known state stays',
    'info: read-write',
    'info: the flag source is back',
  ]);
});

test('nothing known: passes, counts and says so; or refuses', async () => {
  const passing = guardWith();
  expect(passing.admit(write).answer).toBeNull();
  expect(passing.admit(write).answer).toBeNull();
  expect(await passing.ready()).toBe('unknown');
  expect(passing.counts()).toMatchObject({ passedUnknown: 2, flagAgeMs: null, stale: true });
  expect(logged).toEqual(['warn: a write passes though nothing is known about the flag']);
  const refusing = guardWith({ onUnknown: 'refuse' });
  expect(refusing.admit(write).answer?.status).toBe(503);
  sink.document(null);
  expect(refusing.admit(write).answer).toBeNull();
});

const untimed = JSON.stringify({ version: 1, holders: { 'w-1': {} } });
const opening = ON.replace('"contact"', '"on_expiry":"open","contact"');

test('a document that vanishes while it holds goes on holding, until its end and a minute, then as it says', () => {
  const guard = guardWith();
  sink.missing();
  expect(guard.readOnly()).toBe(false);
  sink.document(opening);
  now += 1_000;
  sink.missing();
  sink.missing();
  expect(guard.readOnly()).toBe(true);
  expect(guard.counts()).toMatchObject({ flagAgeMs: 1_000, errors: { missing: 2, total: 2 } });
  expect(logged.slice(-1)).toEqual(['warn: the flag has vanished while somebody held it: writes stay refused']);
  now = START + 30 * 60_000 + 59_999;
  sink.missing();
  expect(guard.readOnly()).toBe(true);
  expect(guard.maintenance().holders).toMatchObject([{ window: 'w-1', overdue: true }]);
  now += 2;
  expect(guard.readOnly()).toBe(false);
  sink.missing();
  expect(guard.counts()).toMatchObject({ flagAgeMs: 0, readOnly: false });
});

test('vanished with on_expiry hold, without an end, or a plain flag: held until a document says otherwise', () => {
  for (const held of [ON, untimed, 'true']) {
    const guard = guardWith();
    sink.document(held);
    sink.missing();
    now += 48 * 3_600_000;
    sink.missing();
    expect(guard.readOnly()).toBe(true);
    sink.document(OFF);
    expect(guard.readOnly()).toBe(false);
    sink.missing();
    expect(guard.readOnly()).toBe(false);
  }
});

test('a document that vanished and is back as it was is confirmed again', () => {
  const guard = guardWith();
  sink.document(opening);
  sink.missing();
  now += 5_000;
  sink.document(opening);
  expect(guard.counts().flagAgeMs).toBe(0);
  now = START + 30 * 60_000 + 1;
  expect(guard.readOnly()).toBe(false);
});

test('onMissing open: what vanishes opens', () => {
  const guard = guardWith({ onMissing: 'open' });
  sink.document(ON);
  sink.missing();
  expect(guard.readOnly()).toBe(false);
  expect(() => guardWith({ onMissing: 'close' as never })).toThrow('close, allowed are hold and open');
});

test('missing where it was found before is an end, missing elsewhere is no answer', () => {
  const guard = guardWith();
  sink.document(ON, ['here', 'behind']);
  sink.missing('elsewhere');
  expect(guard.readOnly()).toBe(true);
  expect(guard.counts().errors).toMatchObject({ source: 1, missing: 0 });
  sink.missing('behind');
  expect(guard.readOnly()).toBe(false);
});

test('after a restart: what vanished is held by the copy, a place is remembered, and an old copy lapses', async () => {
  const localCopy = join(folder, 'copy.json');
  const first = guardWith({ localCopy });
  sink.document(ON);
  await first.close();
  const second = guardWith({ localCopy });
  sink.missing();
  expect(second.readOnly()).toBe(true);
  await second.close();

  const placed = guardWith({ localCopy });
  sink.document(ON, ['here']);
  await placed.close();
  const third = guardWith({ localCopy });
  sink.missing('elsewhere');
  expect(third.readOnly()).toBe(true);
  sink.missing('here');
  expect(third.readOnly()).toBe(false);
  sink.document(ON);
  await third.close();

  // Down for longer than the end of a window leaves its empty document: it may have ended meanwhile.
  now += 25 * 3_600_000;
  const fourth = guardWith({ localCopy });
  expect(fourth.readOnly()).toBe(true);
  sink.missing();
  expect(fourth.readOnly()).toBe(false);
});

test('a document of a later version closes and never opens', () => {
  const later = (holders: unknown) => JSON.stringify({ version: 99, holders });
  const guard = guardWith({ environment: 'prod', onUnknown: 'refuse' });
  sink.document(later({}));
  expect(guard.readOnly()).toBe(true);
  expect(guard.counts().flagAgeMs).toBeNull();
  sink.document(OFF);
  sink.document(later({ 'w-9': { until: '2026-11-23T01:00:00Z', on_expiry: 'open' } }));
  expect(guard.readOnly()).toBe(true);
  for (const nothing of [{}, undefined, { 'w-9': { environment: 'staging' } }]) {
    sink.document(later(nothing));
    expect(guard.readOnly()).toBe(true);
  }
  expect(guard.counts().errors.document).toBe(4);
  sink.document(OFF);
  expect(guard.readOnly()).toBe(false);
});

test('a clock that is set back hides no age', () => {
  let steady = 0;
  const guard = guardWith({ monotonic: () => steady });
  sink.document(ON);
  now -= 3_600_000;
  steady += 11_000;
  expect(guard.counts()).toMatchObject({ flagAgeMs: 11_000, stale: true });
});

test('the local copy outlives a restart, and the source overrules it', async () => {
  const localCopy = join(folder, 'flag-copy.json');
  const first = guardWith({ localCopy });
  sink.document(ON);
  await first.close();
  expect(readdirSync(folder)).toEqual(['flag-copy.json']);

  now += 60_000;
  const second = guardWith({ localCopy });
  expect(second.readOnly()).toBe(true);
  expect(second.counts().flagAgeMs).toBe(60_000);
  sink.failed(new Error('down'));
  expect(await second.ready()).toBe('local_copy');
  sink.document(OFF);
  expect(second.readOnly()).toBe(false);
  await second.close();
  expect(JSON.parse(readFileSync(localCopy, 'utf8')).document).toBe(OFF);
});

test('a local copy that is broken or cannot be written is counted, and nothing more', async () => {
  const localCopy = join(folder, 'copy.json');
  writeFileSync(localCopy, '{"half');
  const guard = guardWith({ localCopy });
  expect(guard.counts().errors.localCopy).toBe(1);
  const elsewhere = guardWith({ localCopy: join(folder, 'missing', 'copy.json') });
  sink.document(ON);
  await elsewhere.close();
  expect(elsewhere.counts().errors.localCopy).toBe(1);
  expect(elsewhere.readOnly()).toBe(true);
});

test('the counts of a period begin with it', () => {
  const guard = guardWith();
  sink.document(ON);
  guard.admit(write);
  now += 1_000;
  guard.admit(write);
  expect(guard.maintenance()).toMatchObject({
    refused: 2,
    first_refused_at: '2026-11-23T02:00:00.000Z',
    last_refused_at: '2026-11-23T02:00:01.000Z',
  });
  // Another holder of the same period.
  sink.document(ON.replace('w-1', 'w-2'));
  expect(guard.maintenance().refused).toBe(2);
  sink.document(OFF);
  expect(guard.maintenance()).toMatchObject({ read_only: false, refused: 2 });
  sink.document(ON);
  expect(guard.maintenance()).toMatchObject({ refused: 0, first_refused_at: null });
  expect(guard.counts().refused).toMatchObject({ total: 2, http: 2, bySurface: { unnamed: 2 } });
});

test('the maintenance document, whole', () => {
  const guard = guardWith();
  sink.document(ON);
  now += 3_600_000;
  expect(guard.maintenance()).toEqual({
    version: 1,
    read_only: true,
    holders: [
      {
        window: 'w-1',
        environment: null,
        since: null,
        until: '2026-11-23T02:30:00Z',
        reason: null,
        contact: '#ops',
        status_page: null,
        note: null,
        overdue: true,
      },
    ],
    source: null,
    flag_age_ms: 3_600_000,
    refused: 0,
    in_flight: 0,
    abandoned: 0,
    unseen: 0,
    first_refused_at: null,
    last_refused_at: null,
    queue: null,
    surfaces: {},
    surfaces_digest: expect.stringMatching(/^[0-9a-f]{16}$/),
    unnamed: [],
  });
});

test('a guarded tool rejects with an error, or returns one that a model can read', async () => {
  const guard = guardWith();
  let calls = 0;
  const send = (to: string) => {
    calls += 1;
    return `sent to ${to}`;
  };
  const throwing = guard.tool(send, { name: 'send_mail' });
  const returning = guard.tool(send, { name: 'send_mail', onRefused: 'return' });
  expect(await throwing('ana')).toBe('sent to ana');
  sink.document(ON);
  const error = await throwing('ana').catch((e: unknown) => e);
  expect(error).toBeInstanceOf(ReadOnlyError);
  expect(error).toMatchObject({ code: 'read_only', until: '2026-11-23T02:30:00Z', retryAfter: 1800, contact: '#ops' });
  expect(await returning('ana')).toEqual({
    error: {
      code: 'read_only',
      message:
        'send_mail did nothing. Writes are refused for maintenance until 2026-11-23T02:30:00Z. Reads work. Do not call it again before 1800 seconds have passed.',
      window: 'w-1',
      until: '2026-11-23T02:30:00Z',
      retry_after: 1800,
      contact: '#ops',
    },
  });
  expect(calls).toBe(1);
  expect(guard.counts().refused).toMatchObject({ tool: 2, bySurface: { send_mail: 2 } });
});

test('a guarded job skips its run, and counts those that are under way', async () => {
  const guard = guardWith();
  let finish = () => {};
  async function ingest(count: number): Promise<number> {
    await new Promise<void>((resolve) => (finish = resolve));
    return count;
  }
  const job = guard.job(ingest);
  const running = job(3);
  expect(guard.counts().inFlight).toMatchObject({ total: 1, job: 1 });
  sink.document(ON);
  const skipped = await job(4);
  expect(isSkipped(skipped) && skipped.until).toBe('2026-11-23T02:30:00Z');
  finish();
  expect(await running).toBe(3);
  expect(guard.counts().inFlight.total).toBe(0);
  expect(guard.counts().refused.bySurface).toEqual({ ingest: 1 });
});

test("a job's own failure is its own, and is no longer in flight", async () => {
  const guard = guardWith();
  const job = guard.job(() => {
    throw new Error('disk full');
  });
  await expect(job()).rejects.toThrow('disk full');
  expect(guard.counts().inFlight.total).toBe(0);
});

test('the guard survives a source that throws, a request without a target and a logger that throws', () => {
  const source = {
    start() {
      throw new Error('no');
    },
    close() {
      throw new Error('no');
    },
  };
  const log = () => {
    throw new Error('no');
  };
  const guard = guardWith({ source, log });
  expect(guard.counts().errors.source).toBe(1);
  const clocked = guardWith({ log });
  sink.document('true');
  expect(clocked.admit({ method: 'POST', url: undefined as unknown as string, headers: {} }).answer?.status).toBe(503);
  expect(clocked.admit({ method: 'GET', url: undefined as unknown as string, headers: {} }).answer).toBeNull();
  expect(clocked.counts().errors.internal).toBe(2);
});

test('options that cannot be understood are errors at the start', () => {
  expect(() => guardWith({ source: undefined as never })).toThrow('source:');
  expect(() => guardWith({ status: 500 as never })).toThrow('500, allowed are 503 and 423');
  expect(() => guardWith({ onUnknown: 'maybe' as never })).toThrow('maybe, allowed are pass and refuse');
});
