// The backfill over real queues: a hold, a run that stops for every reason there is, and a queue in the wrong place.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { type IntentQueue, openQueue } from '../../../packages/intents/src/index.ts';
import { refuseInside } from '../../../src/engine/apart.ts';
import { monotonicNow } from '../../../src/engine/clock.ts';
import { type Step, Unfinished } from '../../../src/engine/contract.ts';
import type { WriteHooks } from '../../../src/engine/io.ts';
import { OuterError } from '../../../src/errors/catalogue.ts';
import { storeOutsideWalls } from '../../../src/runbook/rules.ts';
import { BackfillParams, backfill } from '../../../src/steps/backfill/backfill.ts';
import { noWritesPostgres } from '../../../src/steps/no-writes/postgres.ts';
import { type TestClients, testClients } from '../../support/clients.ts';
import { windowOf } from '../../support/one-check.ts';
import { describeWith, type Postgres, startPostgres } from '../../support/servers.ts';

const WINDOW = windowOf({ surfaces: [] });
let folder: string;
let server: Server;
let url: string;
let tools: TestClients;
let effects: string[] = [];
let answer: (key: string) => { status: number; body?: unknown } | undefined;
let n = 0;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'maint-backfill-'));
  server = createServer((request, response) => {
    if (request.method === 'GET') return void response.writeHead(answer('health')?.status ?? 200).end();
    const key = String(request.headers['idempotency-key']).replace(/^"(.*)"$/, '$1');
    const given = answer(key) ?? { status: 201 };
    if (given.status < 300) effects.push(key);
    request.resume().on('end', () => {
      response.writeHead(given.status, { 'Content-Type': 'application/json' }).end(JSON.stringify(given.body ?? {}));
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  tools = testClients();
  effects = [];
  answer = () => undefined;
});
afterEach(async () => {
  await tools[Symbol.asyncDispose]();
});

async function fill(queue: string, count: number): Promise<void> {
  const one = await open(queue);
  try {
    for (let i = 0; i < count; i++) {
      const given = await one.accept({
        ...{ surface: 'notes', tenant: '', key: `k${++n}`, order: 'a', method: 'POST', target: '/notes' },
        headers: {},
        body: Buffer.from('{}'),
        receivedAt: Date.now(),
        window: WINDOW.id,
      });
      if (given.is !== 'accepted') throw new Error(JSON.stringify(given));
    }
  } finally {
    await one.close();
  }
}
function open(queue: string): Promise<IntentQueue> {
  return openQueue({ ...(queue.startsWith('postgres') ? { url: queue } : { path: queue }), survives: 'process' });
}
function run(
  queue: string,
  edge: 'open' | 'closed',
  more: {
    params?: object;
    ms?: number;
    signal?: AbortSignal;
    hooks?: Partial<WriteHooks>;
    progress?: (text: string) => void;
  } = {},
) {
  const params = BackfillParams.parse({ queue, url, rate: 1000, ramp: '1s', honours_keys: true, ...more.params });
  const { signal = new AbortController().signal } = more;
  const deadline = monotonicNow() + (more.ms ?? 20_000);
  const hooks = { before() {}, after() {}, spawned: async () => {}, ...more.hooks };
  const io = tools.clients.writer({ signal, deadline, hooks });
  const poll = async () => undefined;
  const { progress } = more;
  const context = { params, edge, window: WINDOW, deadline, poll, signal, ...(progress ? { progress } : {}) };
  return backfill.run(io, context);
}
const left = (error: unknown) => {
  expect(error).toBeInstanceOf(Unfinished);
  const { message, next, data } = error as Unfinished;
  return { message, next, data: data as { left: number; stopped?: { why: string } } };
};
const caught = (work: Promise<unknown>) => work.then(() => undefined, left);

describe('a queue in a file', () => {
  let queue: string;
  beforeEach(() => {
    queue = join(folder, `${n}-${Math.random().toString(36).slice(2)}.db`);
  });

  test('looking makes no file; a window in which nothing was accepted has nothing to apply', async () => {
    expect(await tools.reader().queue.look(queue)).toBeNull();
    expect(await run(queue, 'closed')).toEqual(['nothing was ever accepted']);
    expect(existsSync(queue)).toBe(false);
  });

  test('held from the start, and applied in order once it is released, with its progress', async () => {
    await fill(queue, 2);
    expect(await run(queue, 'open')).toEqual(['held: nothing is applied before the end', '2 writes waiting']);
    const reader = await tools.reader().queue.look(queue);
    expect(reader).toMatchObject({ waiting: 2, holds: [{ window: WINDOW.id }] });
    const said: string[] = [];
    const done = await run(queue, 'closed', { progress: (text) => said.push(text) });
    expect(done).toMatchObject({
      summary: [expect.stringMatching(/^2 writes applied in .*, at most 1000 a second$/)],
      data: { applied: 2, left: 0 },
    });
    expect(said[0]).toBe('2 writes waiting');
    expect(said.at(-1)).toMatch(/^2 applied · 0 left/);
    expect(effects).toEqual([`k${n - 1}`, `k${n}`]);
  });

  test("another window's hold stops it, and is named", async () => {
    await fill(queue, 1);
    await tools.writer().queue.hold(queue, 'w-other', 'somebody else');
    const stopped = await caught(run(queue, 'closed'));
    expect(stopped?.message).toBe('1 write left: the queue is held by w-other (somebody else)');
    expect(effects).toEqual([]);
  });

  test('the deadline of the step ends it in time, and says what is left', async () => {
    await fill(queue, 30);
    const began = monotonicNow();
    const stopped = await caught(run(queue, 'closed', { ms: 4_000, params: { rate: 5 } }));
    expect(monotonicNow() - began).toBeLessThan(5_000);
    expect(stopped).toMatchObject({
      message: expect.stringMatching(/^\d+ writes left, the step’s time is up · \d+ applied$/),
      next: expect.stringMatching(/^maint end goes on; .*maint queue backfill$/),
      data: { stopped: { why: 'deadline' } },
    });
    expect(stopped!.data.left + effects.length).toBe(30);
  });

  test('a lost lease stops it before the next write', async () => {
    await fill(queue, 10);
    let asked = 0;
    const lost = new Error('taken over');
    const may = async () => {
      if (++asked > 3) throw lost;
    };
    await expect(run(queue, 'closed', { hooks: { may } })).rejects.toBe(lost);
    expect(effects).toHaveLength(3);
    expect(await run(queue, 'closed')).toMatchObject({ data: { applied: 7, left: 0 } });
    expect(new Set(effects).size).toBe(10);
  });

  test('an interruption stops it, and what was under way is finished', async () => {
    await fill(queue, 20);
    const interrupt = new AbortController();
    const reason = new Error('interrupted');
    const after = () => void (effects.length === 2 && interrupt.abort(reason));
    const hooks = { after: (what: string) => what === 'queue replay' && after() };
    await expect(
      run(queue, 'closed', { signal: interrupt.signal, hooks: hooks as never, params: { rate: 20 } }),
    ).rejects.toBe(reason);
    expect(effects.length).toBeLessThan(20);
    await run(queue, 'closed');
    expect(new Set(effects).size).toBe(20);
    expect(effects).toHaveLength(20);
  });

  test.each<[string, { status: number; body?: unknown }, object, RegExp, string]>([
    [
      'read-only again',
      { status: 503, body: { code: 'read_only' } },
      {},
      /2 writes left, the service is read-only again/,
      'read_only_again',
    ],
    [
      'a refused credential',
      { status: 401 },
      {},
      /2 writes left, the service refuses the credential/,
      'credential_refused',
    ],
    [
      'an unknown outcome where keys are not honoured',
      { status: 500 },
      { honours_keys: false },
      /nobody knows what came of one.* · 1 of unknown outcome/,
      'unknown_outcome',
    ],
  ])('%s stops it', async (_name, given, params, words, why) => {
    await fill(queue, 2);
    answer = () => given;
    const stopped = await caught(run(queue, 'closed', { params }));
    expect(stopped?.message).toMatch(words);
    expect(stopped?.data).toMatchObject({ left: 2, stopped: { why } });
  });

  test('reads that are not answered well stop it before the first write', async () => {
    await fill(queue, 2);
    answer = (key) => (key === 'health' ? { status: 500 } : undefined);
    const stopped = await caught(run(queue, 'closed', { params: { health: `${url}/search` } }));
    expect(stopped?.message).toBe('2 writes left, reads of the service are not answered well');
    expect(effects).toEqual([]);
  });

  test('a dead letter without followers is something to look at, one with followers is for a human', async () => {
    await fill(queue, 2);
    answer = (key) => (key === `k${n}` ? { status: 422, body: { error: 'no such note' } } : undefined);
    expect(await run(queue, 'closed')).toMatchObject({ looks: ['1 dead letter: maint queue list --in-state dead'] });
    await fill(queue, 1);
    const parked = await caught(run(queue, 'closed'));
    expect(parked?.message).toMatch(/^1 write left, 1 behind a dead letter/);
  });

  test('what another program keeps is refused, and the queue says why', async () => {
    await expect(tools.reader().queue.look(folder)).rejects.toBeInstanceOf(OuterError);
    expect(await backfill.allowed!(tools.reader(), BackfillParams.parse({ queue: folder, url }))).toEqual([
      expect.stringMatching(/^the queue cannot be used: .*is a folder/),
    ]);
  });
});

describeWith('postgres', 'a queue in PostgreSQL', () => {
  let postgres: Postgres;
  beforeAll(async () => {
    postgres = await startPostgres();
  }, 60_000);
  afterAll(() => postgres?.stop());
  const step = (id: string, plugin: Step['plugin'], params: object): Step => ({ id, plugin, params, deadlineMs: 1000 });
  const looking = (...steps: Step[]) => ({
    steps,
    clients: tools.clients,
    signal: new AbortController().signal,
    now: monotonicNow,
  });

  test('looking makes no tables; held and applied as in a file', async () => {
    expect(await tools.reader().queue.look(postgres.url)).toBeNull();
    const client = new pg.Client(postgres.url);
    await client.connect();
    const { rows } = await client.query("select 1 from pg_namespace where nspname = 'maint_queue'");
    await client.end();
    expect(rows).toEqual([]);
    await fill(postgres.url, 3);
    await run(postgres.url, 'open');
    expect(await tools.reader().queue.look(postgres.url)).toMatchObject({ waiting: 3, holds: [{ window: WINDOW.id }] });
    expect(await run(postgres.url, 'closed')).toMatchObject({ data: { applied: 3, left: 0 } });
  });

  test('on the server that is to see no writes: refused by its identity, whatever it is called', async () => {
    const params = BackfillParams.parse({
      queue: `${postgres.url.replace('127.0.0.1', 'localhost')}?schema=other`,
      url,
    });
    const queue = step('backfill', backfill, params);
    const watch = step('no-writes', noWritesPostgres, { url: postgres.url, allow: [], for: 1000 });
    await expect(refuseInside(looking(queue, watch))).rejects.toMatchObject({
      code: 'E_STORE_INSIDE',
      details: [expect.stringMatching(/^backfill \(backfill\) keeps .* on PostgreSQL cluster \d+, which no-writes/)],
    });
    await expect(refuseInside(looking(queue))).resolves.toBeUndefined();
    await expect(refuseInside(looking(queue, { ...watch, skipped: 'x' }))).resolves.toBeUndefined();
    const file = step('backfill', backfill, BackfillParams.parse({ queue: '/srv/q.db', url }));
    await expect(refuseInside(looking(file, watch))).resolves.toBeUndefined();
  });
});

test('a queue behind a wall of the same runbook is refused by its address', () => {
  const queue = BackfillParams.parse({ queue: 'postgres://app@db:5432/queue', url: 'http://x' });
  const wall = {
    name: 'datastore/postgres',
    kind: 'resource',
    role: 'wall',
    address: () => '',
    closes: () => ['postgres db:5432'],
  };
  const steps = [
    { id: 'db', plugin: wall as never, params: {}, deadlineMs: 1 },
    { id: 'backfill', plugin: backfill, params: queue, deadlineMs: 1 },
  ];
  expect(() => storeOutsideWalls(steps, 'sqlite x')).toThrow(
    expect.objectContaining({
      code: 'E_STORE_INSIDE',
      details: [
        'db (datastore/postgres) closes postgres db:5432, where backfill keeps what it needs: postgres db:5432/queue',
      ],
    }),
  );
});
