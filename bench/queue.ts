// The queue beside the least that is as durable: single inserts of the same bytes, each committed, in the same engine with
// the same fsync. And the backfill beside the rate that it is allowed.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import { type BufferedWrite, type IntentQueue, openQueue } from '../packages/intents/src/index.ts';
import '../test/support/outside-jest.ts';
import { interleaved, ratios, type Spread, spread } from './measure.ts';

const { missing, startPostgres } = await import('../test/support/servers.ts');

const CELL_MS = 400;
const BODY = Buffer.alloc(1024, 'x');
const RATE = 200;
const INTENTS = 400;

export interface Enqueue {
  engine: string;
  concurrency: number;
  /** accepted per second */
  accepted: Spread;
  /** raw commits per second, one after the other */
  raw: Spread;
  ratio: Spread;
}

export interface BackfillRate {
  engine: string;
  allowed: number;
  /** per second, all of the run */
  reached: Spread;
  ratio: Spread;
}

export interface QueueCosts {
  enqueue: Enqueue[];
  backfill: BackfillRate[];
  /** why an engine was left out */
  missing: { engine: string; why: string }[];
}

let count = 0;

export async function queueCosts(rounds: number): Promise<QueueCosts> {
  const folder = mkdtempSync(join(tmpdir(), 'maint-bench-queue-'));
  const costs: QueueCosts = { enqueue: [], backfill: [], missing: [] };
  try {
    const queue = await openQueue({ path: join(folder, 'queue.db') });
    const raw = rawSqlite(join(folder, 'raw.db'));
    try {
      costs.enqueue.push(...(await enqueue('SQLite', queue, raw.commit, rounds)));
    } finally {
      raw.close();
      await queue.close();
    }
    costs.backfill.push(await backfill('SQLite', (n) => openQueue({ path: join(folder, `backfill-${n}.db`) })));

    const why = missing('postgres');
    if (why !== undefined) costs.missing.push({ engine: 'Postgres', why });
    else await onPostgres(costs, rounds);
    return costs;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function onPostgres(costs: QueueCosts, rounds: number): Promise<void> {
  const server = await startPostgres({ settings: { fsync: 'on', full_page_writes: 'on' } });
  try {
    const queue = await openQueue({ url: server.url });
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    await client.query('create table raw (id bigint primary key, receipt text, body bytea)');
    const sql = 'insert into raw values ($1, $2, $3)';
    const commit = async () => void (await client.query(sql, [(count += 1), receiptOf(count), BODY]));
    try {
      costs.enqueue.push(...(await enqueue('Postgres', queue, commit, rounds)));
    } finally {
      await client.end();
      await queue.close();
    }
    costs.backfill.push(await backfill('Postgres', (n) => openQueue({ url: server.url, schema: `backfill_${n}` })));
  } finally {
    await server.stop();
  }
}

async function enqueue(
  engine: string,
  queue: IntentQueue,
  commit: () => void | Promise<void>,
  rounds: number,
): Promise<Enqueue[]> {
  const accept = async () => {
    const answer = await queue.accept(newWrite(null));
    if (answer.is !== 'accepted') throw new Error(`${engine} answered ${answer.is}`);
  };
  const values = await interleaved(rounds, {
    raw: () => perSecond(commit, 1),
    one: () => perSecond(accept, 1),
    many: () => perSecond(accept, 64),
  });
  return [['one', 1] as const, ['many', 64] as const].map(([name, concurrency]) => ({
    engine,
    concurrency,
    accepted: spread(values[name]),
    raw: spread(values.raw),
    ratio: spread(ratios(values[name], values.raw)),
  }));
}

/** So many waiting at once, for a while. */
async function perSecond(work: () => void | Promise<void>, concurrency: number): Promise<number> {
  const began = performance.now();
  let done = 0;
  async function loop(): Promise<void> {
    while (performance.now() - began < CELL_MS) {
      await work();
      done += 1;
    }
  }
  await Promise.all(Array.from({ length: concurrency }, loop));
  return (done / (performance.now() - began)) * 1000;
}

function rawSqlite(path: string): { commit(): void; close(): void } {
  const db = new DatabaseSync(path);
  // as the queue's
  db.exec('pragma synchronous = full; pragma journal_mode = wal; pragma journal_size_limit = 67108864');
  db.exec('create table raw (id integer primary key, receipt text, body blob) strict');
  const insert = db.prepare('insert into raw values (?, ?, ?)');
  return {
    commit: () => void insert.run((count += 1), receiptOf(count), BODY),
    close: () => db.close(),
  };
}

async function backfill(engine: string, open: (n: number) => Promise<IntentQueue>): Promise<BackfillRate> {
  let arrived = 0;
  const server = createServer((request, response) => {
    arrived += 1;
    request.resume().on('end', () => response.writeHead(201).end());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const reached: number[] = [];
  try {
    for (let round = 0; round < 2; round++) {
      const queue = await open(round);
      await Promise.all(Array.from({ length: INTENTS }, (_, n) => queue.accept(newWrite(String(n % 50)))));
      arrived = 0;
      const began = performance.now();
      const report = await queue.backfill({ url, rate: RATE, rampMs: 0, honoursKeys: true });
      reached.push((report.applied / (performance.now() - began)) * 1000);
      await queue.close();
      if (report.applied !== INTENTS || arrived !== INTENTS)
        throw new Error(`${report.applied} applied, ${arrived} arrived, of ${INTENTS}`);
    }
  } finally {
    server.closeAllConnections();
    server.close();
  }
  return { engine, allowed: RATE, reached: spread(reached), ratio: spread(reached.map((rate) => rate / RATE)) };
}

function newWrite(order: string | null): BufferedWrite {
  count += 1;
  return {
    surface: 'notes',
    tenant: 't-1',
    key: `key-${count}`,
    order,
    method: 'POST',
    target: '/tenants/t-1/notes',
    headers: { 'content-type': 'application/json' },
    body: BODY,
    receivedAt: Date.now(),
    window: 'w-bench',
  };
}

function receiptOf(n: number): string {
  return `receipt-${String(n).padStart(14, '0')}`;
}

if (import.meta.filename === process.argv[1]) {
  console.log(JSON.stringify(await queueCosts(Number(process.argv[2] ?? 5)), null, 1));
}
