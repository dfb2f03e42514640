// maint queue, and a window with a backfill, as people run them: a real queue, a real guard, a real service.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { z } from 'zod';
import { type BufferedWrite, type IntentQueue, openQueue } from '../../packages/intents/src/index.ts';
import { begin, maint } from '../support/cli.ts';
import * as shapes from '../support/json-shapes.ts';
import { until } from '../support/until.ts';

const TOKEN = 'planted-service-token';
const SECRET_BODY = 'a-body-that-nobody-prints';

let folder: string;
let server: Server;
let url: string;
let n = 0;
/** what the service does with a key */
let behaviour: (key: string) => { status: number; body?: unknown; headers?: Record<string, string> };
let effects: string[] = [];
const at = (name: string) => join(folder, name);
const run = (argv: readonly string[], env: Record<string, string> = {}) =>
  maint(argv, { cwd: folder, env: { TOKEN, ...env } });

async function json<T extends z.ZodType>(shape: T, argv: readonly string[], env = {}): Promise<z.infer<T>> {
  const { stdout } = await run([...argv, '--json'], env);
  const value = JSON.parse(stdout);
  expect(shape.safeParse(value)).toMatchObject({ success: true });
  return value;
}
async function withQueue<T>(work: (queue: IntentQueue) => Promise<T>): Promise<T> {
  const queue = await openQueue({ path: at('queue.db'), survives: 'process' });
  try {
    return await work(queue);
  } finally {
    await queue.close();
  }
}
/** The receipts, in order. */
function accept(...tenants: string[]): Promise<string[]> {
  return withQueue(async (queue) => {
    const receipts: string[] = [];
    for (const tenant of tenants) {
      const write: BufferedWrite = {
        ...{ surface: 'notes', tenant, key: `${tenant}${++n}`, order: tenant, method: 'POST' },
        target: `/tenants/${tenant}/notes?token=in-the-query`,
        headers: { 'content-type': 'application/json' },
        body: Buffer.from(JSON.stringify({ text: SECRET_BODY })),
        receivedAt: Date.now(),
        window: 'w-before',
      };
      const answer = await queue.accept(write);
      if (answer.is !== 'accepted') throw new Error(JSON.stringify(answer));
      receipts.push(answer.receipt);
    }
    return receipts;
  });
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'maint-queue-'));
  mkdirSync(at('runbooks'));
  server = createServer((request, response) => {
    const key = String(request.headers['idempotency-key']).replace(/^"(.*)"$/, '$1');
    const known = effects.includes(key);
    const {
      status,
      body = {},
      headers = {},
    } = known
      ? { status: 409, body: { code: 'already_applied' } }
      : request.headers.authorization === `Bearer ${TOKEN}`
        ? behaviour(key)
        : { status: 401 };
    if (!known && status < 300) effects.push(key);
    request.resume().on('end', () => {
      response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body));
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  writeFileSync(
    at('runbooks/prod.yaml'),
    `version: 1
environment: prod
contact: "#ops"
soak: 1s
steps:
  - { uses: flag/file, with: { path: ../flag.json } }
  - { uses: crons/crontab, with: { file: ../crontab }, release: after-backfill }
  - uses: backfill
    deadline: 10s
    with: { queue: ../queue.db, url: "${url}", credential: "Bearer \${TOKEN}", rate: 500, ramp: 1s, honours_keys: true }
`,
  );
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  behaviour = () => ({ status: 201 });
  effects = [];
  for (const name of ['queue.db', 'queue.db-wal', 'queue.db-shm', 'state', 'flag.json'])
    rmSync(at(name), { recursive: true, force: true });
  writeFileSync(at('crontab'), '*/5 * * * * /usr/local/bin/etl.sh\n');
});

describe('maint queue', () => {
  test('status, list and show tell everything but headers, bodies and values of the query', async () => {
    const [first] = await accept('a', 'b', 'a');
    const status = await json(shapes.QueueStatusShape, ['queue', 'status']);
    expect(status).toMatchObject({
      states: { queued: 3, dead: 0 },
      surfaces: [{ surface: 'notes', queued: 3 }],
      holds: [],
    });
    const all = [
      await run(['queue', 'status', '--queue', 'queue.db']),
      await run(['queue', 'list'], { MAINT_QUEUE: 'queue.db' }),
      await run(['queue', 'show', first!]),
      await run(['queue', 'show', first!, '--json']),
      await run(['queue', 'export']),
    ];
    for (const { code, output } of all) {
      expect(code).toBe(0);
      expect(output).not.toMatch(/a-body-that-nobody|in-the-query|planted/);
    }
    expect(all[0]!.stdout).toMatch(
      /queue\.db: queued 3 · the oldest waits since[\s\S]*notes +queued 3[\s\S]*Next: maint queue backfill/,
    );
    expect(all[1]!.stdout.split('\n')).toHaveLength(5);
    expect(all[2]!.stdout).toMatch(new RegExp(`^${first} is queued\\n[\\s\\S]*window +w-before`));
    expect(
      all[4]!.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).order),
    ).toEqual(['a', 'b', 'a']);
    const page = await json(shapes.QueueListShape, ['queue', 'list', '--limit', '2']);
    expect(page.intents).toHaveLength(2);
    const rest = await json(shapes.QueueListShape, ['queue', 'list', '--after', page.next!]);
    expect(rest).toMatchObject({ next: null, intents: [{ tenant: 'a' }] });
  });

  test('drop and requeue: named ones or all of a selection, with a reason that stays', async () => {
    const [first] = await accept('a', 'a', 'b');
    const dropped = await json(shapes.QueueMovedShape, ['queue', 'drop', first!, '--reason', 'gone']);
    expect(dropped).toMatchObject({ exit: 0, moved: [first] });
    expect((await run(['queue', 'show', first!])).stdout).toMatch(/moved +.*queued → dropped by .*: gone/);
    const unasked = await run(['queue', 'requeue', '--all', '--in-state', 'dropped', '--reason', 'back']);
    expect(unasked.code).toBe(64);
    expect(unasked.stderr).toMatch(/--all would requeue 1 writes\. Nothing changed/);
    const back = await run(['queue', 'requeue', '--all', '--in-state', 'dropped', '--reason', 'back', '--yes']);
    expect(back).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^1 write queued again, at their places\.\n/),
    });
    const unknown = 'AAAAAAAAAAAAAAAAAAAAAA';
    const none = await run(['queue', 'drop', unknown, '--reason', 'x']);
    expect(none).toMatchObject({ code: 66, stdout: expect.stringContaining(`! ${unknown}`) });
  });

  test('export with bodies goes into a file of one’s own only', async () => {
    await accept('a');
    const printed = await run(['queue', 'export', '--bodies']);
    expect(printed).toMatchObject({ code: 64, stdout: '' });
    expect(printed.stderr).toContain('Next: maint queue export --bodies --output');
    expect((await run(['queue', 'export', '--bodies', '--output', 'out.ndjson'])).stdout).toMatch(
      /^out\.ndjson: 1 write\./,
    );
    expect(statSync(at('out.ndjson')).mode & 0o777).toBe(0o600);
    expect(JSON.parse(JSON.parse(readFileSync(at('out.ndjson'), 'utf8')).body.data)).toEqual({ text: SECRET_BODY });
    expect((await run(['queue', 'export', '--output', 'out.ndjson'])).code).toBe(64);
    rmSync(at('out.ndjson'));
  });

  test.each<[string[], number, RegExp]>([
    [['queue', 'status'], 66, /E_QUEUE {2}There is no queue at sqlite .*queue\.db: nothing was ever accepted there/],
    [['queue', 'status', '--queue', 'redis://x'], 64, /--queue "redis:\/\/x" names no queue[\s\S]*Next: --queue/],
    [['queue', 'status', '--queue', 'postgres://u:hidden-1@h/x'], 64, /holds a password[\s\S]*MAINT_QUEUE/],
    [['queue', 'status', '--queue', 'runbooks'], 64, /is a folder/],
    [['queue', 'status', '--queue', 'runbooks/prod.yaml'], 66, /E_QUEUE/],
    [['queue', 'show', 'nope'], 64, /"nope" is no receipt[\s\S]*Next: maint queue list/],
    [['queue', 'show'], 64, /receipt/],
    [['queue', 'drop', '--reason', 'x'], 64, /Nothing says what to drop[\s\S]*--all/],
    [['queue', 'drop', 'AAAAAAAAAAAAAAAAAAAAAA', '--all', '--reason', 'x'], 64, /which of them/],
    [['queue', 'drop', 'AAAAAAAAAAAAAAAAAAAAAA'], 64, /reason/],
    [['queue', 'list', '--in-state', 'lost'], 64, /queued, applying, applied, dead, dropped/],
    [['queue', 'list', '--before', 'noon'], 64, /--before noon is no day/],
    [['queue', 'list', '--limit', '0'], 64, /limit|1/],
    [['queue', 'backfill', '--url', 'ftp://x'], 64, /--url "ftp:\/\/x" is no address/],
    [['queue', 'backfill', '--queue', 'queue.db'], 64, /Nothing says where the writes go/],
    [['queue', 'statsu'], 64, /maint queue status/],
  ])('%j: %d', async (argv, code, text) => {
    const done = await run(argv);
    expect(done).toMatchObject({ code, stdout: '' });
    expect(done.stderr).toMatch(text);
    expect(done.stderr).not.toMatch(/\n\s+at |E_BUG/);
    expect(existsSync(at('queue.db'))).toBe(false);
  });

  test('no queue named and no backfill step: says how to name one', async () => {
    writeFileSync(
      at('bare.yaml'),
      'version: 1\nenvironment: x\ncontact: y\nsteps: [{ uses: flag/file, with: { path: f } }]\n',
    );
    const done = await run(['queue', 'status', '--runbook', 'bare.yaml']);
    expect(done.code).toBe(64);
    expect(done.stderr).toMatch(/bare\.yaml has no backfill step[\s\S]*MAINT_QUEUE/);
  });
});

describe('maint queue backfill', () => {
  test('applies what waits, and a second time there is nothing to apply', async () => {
    await accept('a', 'a', 'b');
    const done = await json(shapes.QueueBackfillShape, ['queue', 'backfill']);
    expect(done).toMatchObject({ exit: 0, applied: 3, left: 0, stopped: null });
    expect(effects).toHaveLength(3);
    const again = await run(['queue', 'backfill']);
    expect(again).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/nothing to apply\.\nNext: maint queue status/),
    });
  });

  test('without a runbook: the credential from the environment, never shown', async () => {
    await accept('a');
    const argv = ['queue', 'backfill', '--queue', 'queue.db', '--url', url, '--honours-keys', '--ramp', '1s'];
    const refused = await run(argv, { MAINT_QUEUE_CREDENTIAL: 'Bearer wrong-token-here' });
    expect(refused).toMatchObject({
      code: 68,
      stdout: expect.stringMatching(
        /E_LEFT_BEHIND.*1 write left, the service refuses the credential[\s\S]*Next: maint queue backfill --queue queue.db \(goes on\)/,
      ),
    });
    expect(refused.output).not.toContain('wrong-token-here');
    expect((await run(argv, { MAINT_QUEUE_CREDENTIAL: `Bearer ${TOKEN}` })).code).toBe(0);
  });

  test('a dead letter stops what comes after it, and says what to do', async () => {
    const [first, second] = await accept('a', 'a', 'b');
    behaviour = (key) => (key === `a${n - 2}` ? { status: 422, body: { error: 'no such tenant' } } : { status: 201 });
    const done = await run(['queue', 'backfill']);
    expect(done.code).toBe(68);
    expect(done.stdout).toMatch(/1 write left, 1 behind a dead letter[\s\S]*Next: maint queue list --in-state dead/);
    const dead = await json(shapes.QueueListShape, ['queue', 'list', '--in-state', 'dead']);
    expect(dead.intents).toMatchObject([
      { receipt: first, status: 422, parked: true, reason: expect.stringContaining('no such tenant') },
    ]);
    await run(['queue', 'drop', first!, '--reason', 'no such tenant']);
    expect((await run(['queue', 'backfill'])).code).toBe(0);
    expect((await json(shapes.QueueShowShape, ['queue', 'show', second!])).state).toBe('applied');
  });

  test('a second one is told who runs the first; after a kill the next one goes on at once', async () => {
    await accept(...Array.from({ length: 200 }, () => 'a'));
    const first = begin(['queue', 'backfill', '--rate', '10'], { cwd: folder, env: { TOKEN } });
    await until(() => effects.length >= 2);
    expect(await run(['queue', 'backfill'])).toMatchObject({
      code: 68,
      stdout: expect.stringMatching(
        new RegExp(`another backfill of this queue runs: .+, process ${first.child.pid}, since \\d{4}-`),
      ),
    });
    first.child.kill('SIGKILL');
    await first.ended;
    expect(effects.length).toBeLessThan(200);
    expect((await run(['queue', 'backfill'])).code).toBe(0);
    expect(effects).toEqual([...new Set(effects)]);
    expect(effects).toHaveLength(200);
  });

  test('Ctrl-C ends it with 130, and the same command goes on', async () => {
    await accept(...Array.from({ length: 40 }, () => 'a'));
    const running = begin(['queue', 'backfill', '--rate', '10'], { cwd: folder, env: { TOKEN } });
    await until(() => effects.length >= 2);
    running.child.kill('SIGINT');
    expect((await running.ended).code).toBe(130);
    const so = effects.length;
    expect(so).toBeLessThan(40);
    expect((await run(['queue', 'backfill'])).code).toBe(0);
    expect(effects).toEqual([...new Set(effects)]);
    expect(effects).toHaveLength(40);
  });
});

describe('a window', () => {
  test('holds the queue, and applies it at the end before the crons run again; the report tells', async () => {
    await accept('a');
    expect((await run(['start', '--window', '30m', '--yes'])).code).toBe(0);
    await accept('a', 'b');
    const held = await run(['queue', 'backfill']);
    expect(held).toMatchObject({
      code: 68,
      stdout: expect.stringMatching(/3 writes left, the queue is held: w-\S+: prod is read-only/),
    });
    expect(effects).toEqual([]);
    expect((await run(['queue', 'status'])).stdout).toMatch(/held by w-\S+ since/);

    const end = await run(['end', '--soak', '1s']);
    expect(end.code).toBe(0);
    expect(end.output).toMatch(/backfill +3 writes applied in .*crons/s);
    expect(effects).toHaveLength(3);
    expect(readFileSync(at('crontab'), 'utf8')).toBe('*/5 * * * * /usr/local/bin/etl.sh\n');
    const report = await json(shapes.ReportShape, ['report']);
    expect(report.backfills).toMatchObject([
      { step: 'backfill', applied: 3, alreadyApplied: 0, dead: 0, left: 0, stopped: null },
    ]);
    expect((await run(['report'])).stdout).toMatch(/Backfill[\s\S]*\| 3 /);
  });

  test('what is left keeps the window from closing, and what waits for it; end goes on, --skip closes without', async () => {
    await accept('a', 'a');
    expect((await run(['start', '--window', '30m', '--yes'])).code).toBe(0);
    behaviour = () => ({
      status: 503,
      body: { code: 'read_only' },
      headers: { 'Content-Type': 'application/problem+json' },
    });
    const end = await run(['end', '--soak', '1s']);
    expect(end.code).toBe(68);
    expect(end.output).toMatch(/2 writes left, the service is read-only again/);
    expect(end.output).toMatch(/crons.*waits for backfill/);
    expect(end.output).toMatch(/maint end --skip backfill/);
    expect(readFileSync(at('crontab'), 'utf8')).toContain('#maint:');
    behaviour = () => ({ status: 201 });
    expect(await run(['end'])).toMatchObject({ code: 0 });
    expect(effects).toHaveLength(2);
    expect(readFileSync(at('crontab'), 'utf8')).not.toContain('#maint:');
  });

  test('an end that is told to leave it out says what still waits, and how it goes on by hand', async () => {
    await accept('a');
    expect((await run(['start', '--window', '30m', '--yes'])).code).toBe(0);
    const end = await run(['end', '--soak', '1s', '--skip', 'backfill']);
    expect(end.code).toBe(0);
    expect(end.output).toMatch(
      /1 thing to look at:\n {2}backfill {2}left out of the end: what was accepted still waits/,
    );
    expect((await run(['report'])).stdout).toMatch(/backfill.*left out of the end/);
    const held = await run(['queue', 'backfill']);
    expect([held.code, effects]).toEqual([68, []]);
    const release = /maint queue backfill --release (w-\w+)/;
    const [, window] = release.exec((await run(['queue', 'status'])).stdout) ?? [];
    expect(release.exec(held.output)?.[1]).toBe(window);
    expect((await run(['queue', 'backfill', '--release', window!])).code).toBe(0);
    expect(effects).toHaveLength(1);
  });

  test('start while the backfill is not done makes it read-only again, and the queue is held', async () => {
    await accept('a', 'a');
    expect((await run(['start', '--window', '30m', '--yes'])).code).toBe(0);
    behaviour = () => ({ status: 503, body: { code: 'read_only' } });
    expect((await run(['end', '--soak', '1s'])).code).toBe(68);
    const again = await run(['start', '--window', '30m', '--yes']);
    expect(again.output).toMatch(/prod is read-only since/);
    expect(again.code).toBe(0);
    const status = await json(shapes.QueueStatusShape, ['queue', 'status']);
    expect(status.holds).toHaveLength(1);
    expect(JSON.parse(readFileSync(at('flag.json'), 'utf8')).holders).not.toEqual({});
    behaviour = () => ({ status: 201 });
    expect(await run(['end', '--soak', '1s'])).toMatchObject({ code: 0 });
    expect(effects).toHaveLength(2);
  });

  test('a refreeze takes the window over from a backfill that runs, and nothing is applied any more', async () => {
    await accept(...Array.from({ length: 200 }, () => 'a'));
    writeFileSync(
      at('runbooks/slow.yaml'),
      readFileSync(at('runbooks/prod.yaml'), 'utf8')
        .replace('rate: 500', 'rate: 10')
        .replace('deadline: 10s', 'deadline: 5m'),
    );
    const slow = ['--runbook', 'runbooks/slow.yaml'];
    try {
      expect((await run(['start', '--window', '30m', '--yes', ...slow])).code).toBe(0);
      const ending = begin(['end', '--soak', '1s'], { cwd: folder, env: { TOKEN } });
      await until(() => effects.length >= 2, 30_000);
      const busy = await run(['start', '--window', '30m', '--yes', ...slow]);
      expect(busy.code).toBe(75);
      const again = await run(['start', '--window', '30m', '--yes', '--takeover', ...slow]);
      expect(again.output).toMatch(/prod is read-only since/);
      expect((await ending.ended).code).toBe(75);
      const so = effects.length;
      expect(so).toBeLessThan(200);
      expect((await run(['queue', 'backfill'])).stdout).toMatch(/the queue is held/);
      expect(effects).toHaveLength(so);
    } finally {
      rmSync(at('runbooks/slow.yaml'));
    }
  }, 120_000);

  test('killed while it applies, the same end goes on: each write once, in order', async () => {
    await accept(...Array.from({ length: 60 }, () => 'a'));
    const text = readFileSync(at('runbooks/prod.yaml'), 'utf8');
    const slow = text.replace('rate: 500', 'rate: 40').replace('deadline: 10s', 'deadline: 2m');
    writeFileSync(at('runbooks/slow.yaml'), slow);
    try {
      expect((await run(['start', '--window', '30m', '--yes', '--runbook', 'runbooks/slow.yaml'])).code).toBe(0);
      const ending = begin(['end', '--soak', '1s'], { cwd: folder, env: { TOKEN } });
      await until(() => effects.length >= 5, 30_000);
      ending.child.kill('SIGKILL');
      await ending.ended;
      expect(effects.length).toBeLessThan(60);
      expect((await run(['end', '--soak', '1s'])).code).toBe(0);
      expect(effects).toHaveLength(60);
      expect(effects).toEqual(effects.toSorted((a, b) => Number(a.slice(1)) - Number(b.slice(1))));
    } finally {
      rmSync(at('runbooks/slow.yaml'));
    }
  }, 120_000);

  test('abort applies what was accepted, too', async () => {
    expect((await run(['start', '--window', '30m', '--yes'])).code).toBe(0);
    await accept('a');
    expect(await run(['abort'])).toMatchObject({ code: 0 });
    expect(effects).toHaveLength(1);
  });
});
