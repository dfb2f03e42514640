// The queue on SQLite: the suite of every engine, then what only a file can do.
import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { newIntent } from '../../packages/intents/src/identity.ts';
import { type IntentQueue, type Limits, openQueue } from '../../packages/intents/src/index.ts';
import { intentsSuite, receiptOf, write } from './intents.ts';

/** so that a test machine's disk may be nearly full, and /tmp in memory */
const ANYWHERE = { survives: 'process' } as const;

intentsSuite('SQLite', async (limits = {}) => {
  const folder = mkdtempSync(join(tmpdir(), 'maint-queue-'));
  const path = join(folder, 'queue.db');
  const queues: IntentQueue[] = [];
  const reopen = async (more = limits) => {
    const queue = await openQueue({ path, ...ANYWHERE }, { freeBytes: 0, ...more });
    queues.push(queue);
    return queue;
  };
  return {
    queue: await reopen(),
    reopen,
    async cleanup() {
      for (const queue of queues) await queue.close();
      rmSync(folder, { recursive: true });
    },
  };
});

describe('the queue in a file', () => {
  let folder: string;
  let path: string;
  const opened: IntentQueue[] = [];
  const open = async (at = path, limits: Partial<Limits> = {}, more = {}) => {
    const queue = await openQueue({ path: at, ...ANYWHERE, ...more }, { freeBytes: 0, ...limits });
    opened.push(queue);
    return queue;
  };
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'maint-queue-'));
    path = join(folder, 'made', 'queue.db');
  });
  afterEach(async () => {
    for (const queue of opened.splice(0)) await queue.close();
    rmSync(folder, { recursive: true });
  });

  test('is for its owner only', async () => {
    const queue = await open();
    await queue.accept(write());
    expect(statSync(join(folder, 'made')).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(join(folder, 'made')))
      expect([name, statSync(join(folder, 'made', name)).mode & 0o777]).toEqual([name, 0o600]);
    await queue.close();
    chmodSync(path, 0o644);
    await open();
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test('syncs every commit, and says so', async () => {
    const queue = await open();
    expect(queue.store.durability.proof).toMatch(/journal_mode=wal synchronous=2/);
    expect(await queue.systemIdentifier()).toBeNull();
    expect((await queue.status()).queue).toBe(`sqlite ${path}`);
  });

  const memory = existsSync('/dev/shm') && process.platform === 'linux';
  const inMemory = `refuses a disk in memory, unless it is told that this will do${memory ? '' : ' (skipped: no /dev/shm)'}`;
  (memory ? test : test.skip)(inMemory, async () => {
    const shm = mkdtempSync('/dev/shm/maint-queue-');
    try {
      await expect(openQueue({ path: join(shm, 'q.db') })).rejects.toMatchObject({
        code: 'QUEUE_NOT_DURABLE',
        details: [expect.stringMatching(/tmpfs/)],
      });
      const queue = await openQueue({ path: join(shm, 'q.db'), survives: 'process' }, { freeBytes: 0 });
      expect(queue.store.durability.survives).toBe('process');
      await queue.close();
    } finally {
      rmSync(shm, { recursive: true });
    }
  });

  test('refuses what is not its own, and leaves it as it is', async () => {
    mkdirSync(join(folder, 'made'));
    const other = new DatabaseSync(path);
    other.exec('create table intents (x); insert into intents values (1)');
    other.close();
    const before = readFileSync(path);
    await expect(open()).rejects.toMatchObject({ code: 'QUEUE_FOREIGN' });
    expect(readFileSync(path).equals(before)).toBe(true);
    const text = join(folder, 'text');
    writeFileSync(text, 'not a database, and long enough to be looked at as one '.repeat(40));
    await expect(open(text)).rejects.toMatchObject({ code: 'QUEUE_UNAVAILABLE' });
    await expect(open(folder)).rejects.toMatchObject({ code: 'QUEUE_OPTIONS' });
    await expect(open(path, { count: -1 })).rejects.toMatchObject({ code: 'QUEUE_OPTIONS' });
    await expect(open(path, { cuont: 1 } as never)).rejects.toMatchObject({ message: /there is no limit cuont/ });
  });

  test('refuses a queue of a newer release', async () => {
    await (await open()).close();
    const db = new DatabaseSync(path);
    db.exec('pragma user_version = 99');
    db.close();
    await expect(open()).rejects.toMatchObject({ code: 'QUEUE_FOREIGN', message: expect.stringMatching(/newer/) });
  });

  test('is full before its disk is, and still settles', async () => {
    const queue = await open(path, { freeBytes: Number.MAX_SAFE_INTEGER });
    expect(await queue.accept(write())).toMatchObject({ is: 'full', why: expect.stringMatching(/bytes left/) });
    const roomy = await open();
    const receipt = receiptOf(await roomy.accept(write()));
    const taken = await queue.store.take('t', 1_000);
    if (taken.is !== 'taken') throw new Error(taken.is);
    const settled = await queue.store.settle(taken.claim, receipt, { is: 'applied', status: 200, already: false });
    expect(settled).toEqual({ is: 'settled', more: false });
  });

  test('a disk that is full after all is told as that, loses nothing, and takes writes again', async () => {
    const queue = await open();
    const receipt = receiptOf(await queue.accept(write({ key: 'first' })));
    // SQLite's own word for it, without a disk of our own to fill
    const db = Reflect.get(await limited(queue), 'db') as DatabaseSync;
    const body = Buffer.alloc(200_000);
    const answers = [];
    for (let n = 0; n < 6; n++) answers.push(await queue.accept(write({ body })));
    expect(answers.at(-1)).toEqual({ is: 'full', why: 'the disk is full' });
    expect(await queue.accept(write({ key: 'first' }))).toEqual({ is: 'accepted', receipt, replayed: true });
    db.exec('pragma max_page_count = 1073741823');
    expect(await queue.accept(write({ body }))).toMatchObject({ is: 'accepted' });
  });

  /** The file may not grow by more than 100 pages: per connection, so it has to be the store's own. */
  async function limited(queue: IntentQueue): Promise<{ db: DatabaseSync }> {
    const exec = DatabaseSync.prototype.exec;
    let db: DatabaseSync | undefined;
    DatabaseSync.prototype.exec = function (this: DatabaseSync, sql: string) {
      db ??= this;
      return exec.call(this, sql);
    };
    try {
      await queue.unhold('none');
    } finally {
      DatabaseSync.prototype.exec = exec;
    }
    const pages = Number(db!.prepare('pragma page_count').get()?.['page_count']);
    db!.exec(`pragma max_page_count = ${pages + 100}`);
    return { db: db! };
  }

  test('while somebody else has it locked, the event loop goes on, and nothing is lost', async () => {
    const queue = await open();
    const other = new DatabaseSync(path);
    other.exec('begin immediate');
    let answered = false;
    const answer = queue.accept(write()).then((is) => {
      answered = true;
      return is;
    });
    // SQLite’s own wait would be one gap of five seconds
    let longest = 0;
    for (let turn = 0; turn < 100; turn++) {
      const at = performance.now();
      await new Promise((resolve) => setTimeout(resolve, 5));
      longest = Math.max(longest, performance.now() - at);
    }
    const waited = !answered;
    other.exec('rollback');
    other.close();
    expect(waited).toBe(true);
    expect(longest).toBeLessThan(2_000);
    expect(await answer).toMatchObject({ is: 'accepted' });
  });

  test('locked for too long: come again with the same key, and nothing was stored', async () => {
    const queue = await open();
    const other = new DatabaseSync(path);
    other.exec('begin immediate');
    const answer = await queue.accept(write({ key: 'k' }));
    expect(answer).toMatchObject({ is: 'unknown', why: expect.stringMatching(/written to by others/) });
    // looking does not wait for writers
    expect((await queue.status()).states.queued).toBe(0);
    other.exec('rollback');
    other.close();
    expect(await queue.accept(write({ key: 'k' }))).toMatchObject({ is: 'accepted', replayed: false });
  });

  test('many processes open it for the first time at once', async () => {
    const source = fileURLToPath(new URL('../../packages/intents/src/index.ts', import.meta.url));
    const script = `import { openQueue } from ${JSON.stringify(source)};
      const queue = await openQueue({ path: ${JSON.stringify(path)}, survives: 'process' }, { freeBytes: 0 });
      const write = { surface: 's', tenant: '', key: 'k' + process.pid, order: null, method: 'POST', target: '/', headers: {}, body: Buffer.alloc(0), receivedAt: 0, window: null };
      const answer = await queue.accept(write);
      await queue.close();
      if (answer.is !== 'accepted') throw new Error(JSON.stringify(answer));`;
    const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script];
    const env = { ...process.env, NODE_OPTIONS: '' };
    const ends = await Promise.all(
      Array.from({ length: 5 }, () => {
        const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
        let errors = '';
        child.stderr.on('data', (chunk) => {
          errors += String(chunk);
        });
        return new Promise<string>((resolve) => child.once('close', (code) => resolve(code === 0 ? '' : errors)));
      }),
    );
    expect(ends).toEqual(['', '', '', '', '']);
    expect((await (await open()).status()).states.queued).toBe(5);
  });

  test('one that cannot be stored does not take its neighbours with it', async () => {
    const queue = await open();
    const taken = receiptOf(await queue.accept(write()));
    // a receipt that is there already breaks the statement, in the middle of a batch of three
    const broken = { ...newIntent(write()), receipt: taken };
    const answers = await Promise.all([queue.accept(write()), queue.store.accept(broken), queue.accept(write())]);
    expect(answers.map(({ is }) => is)).toEqual(['accepted', 'unknown', 'accepted']);
    expect(await queue.accept(write({ body: 7 as never }))).toMatchObject({ is: 'unknown' });
    expect((await queue.status()).states.queued).toBe(3);
  });

  test('retention, by a clock of its own', async () => {
    let now = Date.now();
    const queue = await open(path, { retentionMs: 1_000 }, { clock: () => now });
    const receipt = receiptOf(await queue.accept(write({ key: 'k' })));
    const taken = await queue.store.take('t', 1_000);
    if (taken.is !== 'taken') throw new Error(taken.is);
    await queue.store.settle(taken.claim, receipt, { is: 'applied', status: 200, already: false });
    now += 5_000;
    const end = Date.now() + 10_000;
    while ((await queue.receipt(receipt)) !== null && Date.now() < end)
      await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await queue.receipt(receipt)).toBeNull();
    expect(await queue.accept(write({ key: 'k' }))).toMatchObject({ is: 'accepted', replayed: false });
  });
});
