// One flag, two parties, on a real disk and a real Redis.
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { createGuard, fileSource } from '../../../packages/guard/src/index.ts';
import { type Is, type Phase, type Resource, Stale, Unknown, type Window } from '../../../src/engine/contract.ts';
import { see as lookAt, pinned, type Sight } from '../../../src/engine/see.ts';
import type { FlagState } from '../../../src/steps/flag/document.ts';
import { flagFile } from '../../../src/steps/flag/file.ts';
import { flagRedis } from '../../../src/steps/flag/redis.ts';
import { type TestClients, testClients } from '../../support/clients.ts';
import { Crash, drive } from '../../support/drive.ts';
import { describeWith, type Server, startRedis } from '../../support/servers.ts';

function windowOf(id: string, more: Partial<Window> = {}): Window {
  return {
    id,
    environment: 'prod',
    since: '2026-11-24T02:00:04.000Z',
    until: '2026-11-24T02:30:00.000Z',
    plannedUntil: '2026-11-24T02:30:00.000Z',
    reason: 'reindex "documents"',
    contact: '#ops-oncall',
    statusPage: 'https://status.example.com',
    onExpiry: 'hold',
    overdue: false,
    by: 'ana@lapis',
    surfaces: [],
    ...more,
  };
}
const A = windowOf('w-aaaa');
const B = windowOf('w-bbbb', { environment: 'staging', statusPage: undefined });

let tools: TestClients;
beforeEach(() => {
  tools = testClients();
});
afterEach(async () => await tools[Symbol.asyncDispose]());

type Flag = Resource<any, FlagState>;

function look(flag: Flag, params: unknown, window: Window): Promise<Sight> {
  const step = { id: 'flag', plugin: flag, params, deadlineMs: 1000 };
  return lookAt(step, tools.reader(), { phase: 'open', window, owned: new Map() });
}
async function see(flag: Flag, params: unknown, window: Window): Promise<Is<FlagState> | Unknown> {
  const { states } = await look(flag, params, window);
  expect([...states.keys()]).toEqual([window.id]);
  return states.get(window.id)!;
}
/** What converge does with one resource, without its journal; again where the world moved. */
async function go(flag: Flag, params: unknown, window: Window, phase: Phase): Promise<void> {
  for (let turn = 0; turn < 50; turn++) {
    const sight = await look(flag, params, window);
    const now = sight.states.get(window.id)!;
    if (now instanceof Unknown) throw new Error(now.why);
    const situation = { phase, held: phase === 'open', window, params, id: window.id, now, before: null };
    const to = flag.desired(situation) as Is<FlagState>;
    if (JSON.stringify(to) === JSON.stringify(now)) return;
    try {
      const changes = pinned(sight, [{ id: window.id, from: now, to }]);
      expect(await flag.write(tools.writer(), params, changes, window)).toEqual([to]);
    } catch (error) {
      if (!(error instanceof Stale)) throw error;
    }
  }
  throw new Error('never settles');
}

const ENDED = '{"version":1,"holders":{}}';

/** What both backends must do; `raw` and `plant` are the other party. */
function twoHolders(
  flag: () => Flag,
  params: () => unknown,
  raw: () => Promise<string | null>,
  plant: (text: string | null) => Promise<void>,
) {
  test('our holder, exactly as designed, and nothing is left of it', async () => {
    await go(flag(), params(), A, 'open');
    expect(JSON.parse((await raw())!)).toEqual({
      version: 1,
      holders: {
        'w-aaaa': {
          environment: 'prod',
          since: A.since,
          until: A.until,
          reason: A.reason,
          contact: '#ops-oncall',
          status_page: 'https://status.example.com',
          on_expiry: 'hold',
        },
      },
    });
    await go(flag(), params(), { ...A, until: '2026-11-24T02:45:00.000Z' }, 'open');
    expect(JSON.parse((await raw())!).holders['w-aaaa'].until).toBe('2026-11-24T02:45:00.000Z');
    await go(flag(), params(), A, 'soaking');
    expect(await raw()).toBeNull();
  });

  test('whatever we write of a window, we read back: each of its fields set, changed and gone again', async () => {
    for (const more of [{ note: 'one' }, { note: 'two', carrier: 'c-1' }, { note: 'three', carrier: 'c-2' }, {}]) {
      const window = { ...A, ...more };
      await go(flag(), params(), window, 'open');
      const holder = await see(flag(), params(), window);
      expect(holder).toMatchObject({ reason: A.reason, ...(more.note && { note: more.note }) });
      // no name twice: who parses it keeps either
      expect((await raw())!.match(/"note"/g) ?? []).toHaveLength(more.note ? 1 : 0);
    }
    await go(flag(), params(), A, 'soaking');
    expect(await raw()).toBeNull();
  });

  test('a foreign holder and foreign fields keep every byte', async () => {
    const text =
      '{\n  "holders": { "w-old": {"until": "2026-11-24T03:00:00Z", "n": 1.50, "on_expiry":"open"} },\n  "x": 1e2, "version": 1\n}\n';
    await plant(text);
    await go(flag(), params(), A, 'open');
    const holders = await flag().holders!(tools.reader(), params());
    expect(holders.map(({ id, environment, until }) => [id, environment, until])).toEqual([
      ['w-old', '', '2026-11-24T03:00:00Z'],
      ['w-aaaa', 'prod', A.until],
    ]);
    expect(flag().State.parse(holders[0]!.state)).toEqual(holders[0]!.state);
    await go(flag(), params(), A, 'closed');
    expect(await raw()).toBe(text);
  });

  test('an orphan is removed by its id, as `end --holder` does it', async () => {
    await go(flag(), params(), B, 'open');
    const [orphan] = await flag().holders!(tools.reader(), params());
    const state = flag().State.parse(orphan!.state);
    expect(await see(flag(), params(), windowOf(orphan!.id))).toEqual(state);
    const sight = await look(flag(), params(), windowOf(orphan!.id));
    const changes = pinned(sight, [{ id: orphan!.id, from: state, to: null }]);
    await flag().write(tools.writer(), params(), changes, windowOf(orphan!.id));
    expect(await raw()).toBeNull();
  });

  test('an empty document that was there before stays', async () => {
    await plant('{"version":1,"holders":{}}');
    await go(flag(), params(), A, 'open');
    await go(flag(), params(), B, 'open');
    await go(flag(), params(), A, 'closed');
    await go(flag(), params(), B, 'closed');
    expect(await raw()).toBe('{"version":1,"holders":{}}');
  });

  test('two at once, many times: neither loses the other', async () => {
    for (let round = 0; round < 5; round++) {
      await Promise.all([go(flag(), params(), A, 'open'), go(flag(), params(), B, 'open')]);
      expect(Object.keys(JSON.parse((await raw())!).holders).sort()).toEqual(['w-aaaa', 'w-bbbb']);
      await Promise.all([go(flag(), params(), A, 'aborted'), go(flag(), params(), B, 'aborted')]);
      expect(await raw()).toBeNull();
    }
  });

  test('what is no flag document is refused, and left as it is', async () => {
    for (const text of ['', 'true', '{"version":1,"holders":{', '{"version":7,"holders":{}}', 'maintenance!']) {
      await plant(text);
      const seen = await see(flag(), params(), A);
      expect(seen).toBeInstanceOf(Unknown);
      expect(seen).toMatchObject({ refused: true, why: expect.stringContaining('is no flag document') });
      expect((seen as Unknown).why).toContain(flag().address(params()));
      const sight = await look(flag(), params(), A);
      expect(() => pinned(sight, [{ id: A.id, from: null, to: null }])).toThrow('is no flag document');
      await expect(flag().holders!(tools.reader(), params())).rejects.toThrow('is no flag document');
      expect(await raw()).toBe(text);
    }
  });

  test('a holder of ours that somebody edited is not written over by a write that did not know', async () => {
    await go(flag(), params(), A, 'open');
    const sight = await look(flag(), params(), A);
    const changes = pinned(sight, [{ id: A.id, from: sight.states.get(A.id) as FlagState, to: null }]);
    await plant((await raw())!.replace('02:30', '02:40'));
    await expect(flag().write(tools.writer(), params(), changes, A)).rejects.toThrow(Stale);
    expect(await raw()).toContain('02:40');
  });
}

describe('flag/file', () => {
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'maint-flag-'));
    path = join(folder, 'read-only.json');
  });
  afterEach(() => {
    chmodSync(folder, 0o755);
    rmSync(folder, { recursive: true });
  });
  const raw = async () => (readdirSync(folder).includes('read-only.json') ? readFileSync(path, 'utf8') : null);

  twoHolders(
    () => flagFile,
    () => ({ path }),
    raw,
    async (text) => (text === null ? rmSync(path, { force: true }) : writeFileSync(path, text)),
  );

  test('leaves nothing beside the document, and keeps its mode', async () => {
    writeFileSync(path, '{"holders":{"w-x":{}}}', { mode: 0o640 });
    await go(flagFile, { path }, A, 'open');
    expect(statSync(path).mode & 0o777).toBe(0o640);
    expect(readdirSync(folder)).toEqual(['read-only.json']);
  });

  test('a new document ends with a line end', async () => {
    await go(flagFile, { path }, A, 'open');
    expect(await raw()).toMatch(/\}\n$/);
  });

  test('a folder that is not there: a mount that is gone is no flag that is off', async () => {
    const params = { path: join(folder, 'gone', 'read-only.json') };
    const seen = await see(flagFile, params, A);
    expect(seen).toMatchObject({
      refused: true,
      why: expect.stringContaining(`its folder ${join(folder, 'gone')} is not there`),
    });
    expect(await flagFile.allowed!(tools.reader(), params, [])).toEqual([
      expect.stringContaining('the folder is not there'),
    ]);
  });

  test('bytes that are no text, and a folder in the place of the file', async () => {
    writeFileSync(path, Buffer.from([0x7b, 0xff, 0xfe]));
    expect(await see(flagFile, { path }, A)).toMatchObject({ refused: true, why: expect.stringContaining('no UTF-8') });
    await expect(see(flagFile, { path: folder }, A)).rejects.toThrow('is a folder');
  });

  test('the guard reads what we write', async () => {
    const guard = createGuard({ source: fileSource(path, { pollMs: 10 }) });
    try {
      await guard.ready();
      expect(guard.readOnly()).toBe(false);
      await go(flagFile, { path }, A, 'open');
      for (let i = 0; i < 200 && !guard.readOnly(); i++) await new Promise((done) => setTimeout(done, 5));
      expect(guard.maintenance().holders[0]).toMatchObject({ window: 'w-aaaa', environment: 'prod', until: A.until });
    } finally {
      await guard.close();
    }
  });
});

test('notes say what a person wants to know', () => {
  const holder = flagFile.desired({
    phase: 'open',
    held: true,
    window: A,
    params: { path: '/f' },
    id: A.id,
    now: null,
    before: undefined,
  }) as FlagState;
  const context = { params: { path: '/f' }, phase: 'open' as const, window: A, owned: new Map(), seen: new Map() };
  const notes = (from: Is<FlagState>, to: Is<FlagState>, when: 'plan' | 'done') =>
    flagFile.notes!({ ...context, changes: [{ id: A.id, from, to }], when });
  expect(notes(null, holder, 'plan')).toEqual(['our holder, until 02:30Z']);
  expect(notes(holder, { ...holder, until: '2026-11-24T02:45:30Z' }, 'plan')).toEqual([
    'our holder, until 02:45:30Z (now 02:30Z)',
  ]);
  expect(notes(null, holder, 'done')).toEqual(['written, read back']);
  expect(notes(holder, null, 'done')).toEqual(['our holder removed, read back']);
  const none = { ...context, changes: [], when: 'done' as const };
  expect(flagFile.notes!({ ...none, seen: new Map([[A.id, holder]]) })).toEqual(['our holder is there, until 02:30Z']);
});

describeWith('redis', 'flag/redis', () => {
  let server: Server;
  let admin: Redis;
  beforeAll(async () => {
    server = await startRedis();
    admin = new Redis(server.url);
  });
  afterAll(async () => {
    admin.disconnect();
    await server.stop();
  });
  beforeEach(async () => void (await admin.flushall()));
  const params = (more = {}) => flagRedis.Params.parse({ url: server.url, ...more });

  twoHolders(
    () => flagRedis,
    params,
    async () => {
      const text = await admin.get('maint:read_only');
      // the empty document that an end leaves for a time
      return text === ENDED && (await admin.ttl('maint:read_only')) > 0 ? null : text;
    },
    async (text) =>
      void (text === null ? await admin.del('maint:read_only') : await admin.set('maint:read_only', text)),
  );

  test('guards hear of each change', async () => {
    const listener = admin.duplicate();
    const heard: string[] = [];
    listener.on('message', (_channel, message) => heard.push(message));
    await listener.subscribe('flags');
    await go(flagRedis, params({ key: 'k', channel: 'flags' }), A, 'open');
    const text = await admin.get('k');
    await go(flagRedis, params({ key: 'k', channel: 'flags' }), A, 'closed');
    for (let i = 0; i < 200 && heard.length < 2; i++) await new Promise((done) => setTimeout(done, 5));
    listener.disconnect();
    expect(heard).toEqual([text, ENDED]);
    // the next window takes it for nothing, and the one after its end leaves it again, for a day
    expect(await admin.ttl('k')).toBeGreaterThan(23 * 3600);
    await go(flagRedis, params({ key: 'k', channel: 'flags' }), B, 'open');
    expect([await admin.get('k'), await admin.ttl('k')]).toEqual([expect.not.stringContaining('keep_document'), -1]);
    await go(flagRedis, params({ key: 'k', channel: 'flags' }), B, 'closed');
    expect([await admin.get('k'), (await admin.ttl('k')) > 0]).toEqual([ENDED, true]);
  });

  test('missing rights are found before the first write', async () => {
    expect(await flagRedis.allowed!(tools.reader(), params(), [])).toEqual([]);
    await admin.call(
      'ACL',
      'SETUSER',
      'narrow',
      'on',
      '>pw',
      '~maint:*',
      'resetchannels',
      '+get',
      '+eval',
      '+acl|whoami',
      '+acl|dryrun',
      '+ping',
    );
    const url = server.url.replace('//', '//narrow:pw@');
    const missing = await flagRedis.allowed!(tools.reader(), params({ url }), []);
    expect(missing.map((one) => one.split(':')[0])).toEqual([
      'Redis user narrow may not SET maint',
      'Redis user narrow may not PUBLISH maint',
    ]);
    await admin.call('ACL', 'SETUSER', 'narrow', '+set', '+publish', '&maint:*');
    expect(await flagRedis.allowed!(tools.reader(), params({ url }), [])).toEqual([]);
    await go(flagRedis, params({ url }), A, 'open');
    await admin.call('ACL', 'SETUSER', 'narrow', '-get');
    expect(await see(flagRedis, params({ url }), A)).toMatchObject({
      refused: true,
      why: expect.stringContaining('NOPERM'),
    });
    expect(JSON.stringify(await see(flagRedis, params({ url }), A))).not.toContain('pw');
  });

  test('a wrong password, and a key of another type', async () => {
    const seen = await see(flagRedis, params({ url: server.url.replace('//', '//nobody:nope@') }), A);
    expect(seen).toMatchObject({ refused: true, why: expect.stringContaining('WRONGPASS') });
    await admin.lpush('maint:read_only', 'x');
    expect(await see(flagRedis, params(), A)).toMatchObject({
      refused: true,
      why: expect.stringContaining('WRONGTYPE'),
    });
  });

  test('addresses are free of secrets', () => {
    const address = (url: string) => flagRedis.address(flagRedis.Params.parse({ url }));
    expect(address('redis://u:secret@db.internal:6380/2')).toBe('redis db.internal:6380/2 maint:read_only');
    expect(address('rediss://db.internal')).toBe('redis db.internal:6379 maint:read_only');
    expect(address('unix:///run/redis.sock')).toBe('redis /run/redis.sock maint:read_only');
    expect(flagRedis.address({ ...params(), url: '${REDIS_URL}' })).toBe(
      'redis at an address that is not known yet maint:read_only',
    );
  });
});

test('a process that dies at any write of flag/file leaves nothing that the next one cannot end', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'maint-flag-'));
  const path = join(folder, 'read-only.json');
  const before = '{ "holders": {"w-x": {"environment":"eu"} } }';
  writeFileSync(path, before);
  try {
    for (const phase of ['soaking', 'aborted'] as const) {
      for (const after of [false, true]) {
        const run = drive(tools.clients, flagFile, { path });
        await run.converge('open', { at: 1, after }).catch((error) => expect(error).toBeInstanceOf(Crash));
        await run.converge(phase);
        expect(readFileSync(path, 'utf8')).toBe(before);
        expect(run.mine.size).toBe(0);

        const other = drive(tools.clients, flagFile, { path });
        expect(await other.converge('open')).toBe(1);
        expect(await other.converge('open')).toBe(0);
        expect(other.notes).toEqual(['our holder is there, until 02:30Z']);
        await other.converge(phase, { at: 1, after }).catch((error) => expect(error).toBeInstanceOf(Crash));
        await other.converge(phase);
        expect(readFileSync(path, 'utf8')).toBe(before);
      }
    }
    const edited = drive(tools.clients, flagFile, { path });
    await edited.converge('open');
    writeFileSync(path, readFileSync(path, 'utf8').replace('#ops-oncall', '#somebody-else'));
    await edited.converge('soaking');
    expect(edited.drift).toMatchObject([{ id: 'w-7k2p', gone: false, taken: true }]);
    expect([readFileSync(path, 'utf8'), edited.mine.size]).toEqual([before, 0]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
