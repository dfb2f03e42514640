// What the journal costs on each store, as ratios to the raw engine doing the least that is as durable: one insert of the
// same bytes, committed. `node bench/store.ts [rounds] [postgres://…]…`; medians and p95 in milliseconds. All works take
// turns, so that what else this machine does meets all of them.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import type { JournalEvent } from '../src/engine/events.ts';
import { openJournal } from '../src/store/index.ts';

const ROUNDS = Number(process.argv[2] ?? 300);
const WARM_UP = 20;
const TEXT = 'x'.repeat(500);
const EVENT: JournalEvent = { type: 'note', text: TEXT, by: 'bench' };
const OWNER = { name: 'bench', host: 'h', bootId: 'b', pidNamespace: 'n', pid: 1, startTime: '1', verb: 'bench' };

type Work = () => unknown;

async function compared(store: string, state: string, raw: Record<string, Work>): Promise<void> {
  const journal = await openJournal({ state, env: {}, write: true, version: '0.0.0' });
  const taking = await journal.take('bench', OWNER);
  if (!('taken' in taking)) throw new Error('the lease is held');
  const lease = taking.taken;
  await journal.open(lease, 'w-1', [EVENT]);
  const works: Record<string, Work> = {
    ...raw,
    append: () => journal.append(lease, 'w-1', [EVENT]),
    'append 20 at once': () =>
      journal.append(
        lease,
        'w-1',
        Array.from({ length: 20 }, () => EVENT),
      ),
    'renew the lease': () => journal.renew(lease),
    'take and release': async () => {
      const other = await journal.take('other', OWNER);
      if ('taken' in other) await journal.release(other.taken);
    },
    'ask for the lease': () => journal.lease('bench'),
  };
  const times = new Map(Object.keys(works).map((name) => [name, [] as number[]]));
  for (let round = -WARM_UP; round < ROUNDS; round++) {
    for (const [name, work] of Object.entries(works)) {
      const began = performance.now();
      await work();
      if (round >= 0) times.get(name)!.push(performance.now() - began);
    }
  }
  await journal.end();
  console.log(`\n${store}, ${ROUNDS} rounds`);
  let least: number | undefined;
  for (const [name, all] of times) {
    all.sort((a, b) => a - b);
    const [median, p95] = [0.5, 0.95].map((part) => all[Math.floor(all.length * part)]!) as [number, number];
    least ??= median;
    const ratio = (median / least).toFixed(1);
    console.log(`  ${name.padEnd(22)} ${median.toFixed(2).padStart(6)}  p95 ${p95.toFixed(2).padStart(6)}  ${ratio}×`);
  }
}

async function onSqlite(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'maint-bench-'));
  try {
    const db = new DatabaseSync(join(folder, 'raw.db'));
    db.exec(
      'PRAGMA journal_mode = PERSIST; PRAGMA synchronous = FULL; create table t (n integer primary key, body text)',
    );
    const insert = db.prepare('insert into t (body) values (?)');
    await compared('SQLite', join(folder, 'state.db'), { 'one insert, committed': () => insert.run(TEXT) });
    db.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function onPostgres(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const schema = `bench${Date.now()}`;
  await client.query(`create schema ${schema}; create table ${schema}.t (n serial primary key, body text)`);
  await compared(`Postgres at ${new URL(url).host}`, `${url}?schema=${schema}`, {
    'one insert, committed': () => client.query(`insert into ${schema}.t (body) values ($1)`, [TEXT]),
    'one round trip': () => client.query('select 1'),
  });
  await client.query(`drop schema ${schema} cascade`);
  await client.end();
}

await onSqlite();
for (const url of process.argv.slice(3)) await onPostgres(url);
