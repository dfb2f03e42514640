// The file of a queue: whose it is, where it may be, and that what is committed to it is on the disk.
import * as fs from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { QueueError } from './error.ts';
import type { Durability } from './port.ts';

/** "mnt2": tells our files from other programs' databases, where tables of ours have no business. */
const APPLICATION_ID = 0x6d6e7432;
/** The schema's version, in user_version. */
const VERSION = 1;
/** While it is opened and its tables are made; afterwards nobody waits inside SQLite, for that stops the service. */
const OPEN_BUSY_MS = 1_000;
const OPEN_TRIES = 20;

// `blocks` is derived: queued, applying, or a dead letter that stops its partition. One column, so that one small index
// answers "what is next" and "is this partition busy".
const SCHEMA = `
create table intents (
  seq integer primary key autoincrement,
  receipt text not null unique,
  key_hash blob not null unique,
  fingerprint blob not null,
  part text not null,
  surface text not null,
  win text,
  wrote text not null,
  body blob,
  body_bytes integer not null,
  bytes integer not null,
  accepted_at integer not null,
  state text not null check (state in ('queued', 'applying', 'applied', 'dead', 'dropped')),
  blocks integer not null,
  unknown integer not null default 0,
  already integer not null default 0,
  attempts integer not null default 0,
  status integer,
  reason text,
  settled_at integer
) strict;
create index intents_blocks on intents (part, seq) where blocks = 1;
create index intents_state on intents (state, seq);
create index intents_settled on intents (settled_at) where settled_at is not null;
create table parts (
  part text primary key,
  since integer not null,
  due_at integer not null default 0,
  parked integer not null default 0,
  token integer not null default 0,
  owner text,
  until integer not null default 0
) strict, without rowid;
create index parts_free on parts (since) where parked = 0;
create table totals (
  surface text primary key,
  waiting integer not null,
  blocking integer not null,
  kept integer not null,
  bytes integer not null
) strict, without rowid;
create table tokens (last integer not null) strict;
insert into tokens values (0);
create table holds (win text primary key, reason text not null, since integer not null) strict;
create table moves (
  receipt text not null,
  at integer not null,
  mover text not null,
  was text not null,
  goal text not null,
  reason text not null
) strict;
create index moves_receipt on moves (receipt);
`;

/** Made when somebody leads for the first time: files of before it have none. */
export const LEADER = `create table if not exists leader (
  owner text not null, since integer not null, until integer not null
) strict`;

/** Opens the file; makes it (0600), its folder (0700) and its tables where they are missing. */
export async function openFile(path: string): Promise<{ db: DatabaseSync; durability: Durability }> {
  guarded(path, () => create(path));
  for (let attempt = 1; ; attempt++) {
    const db = guarded(path, () => new DatabaseSync(path, { timeout: OPEN_BUSY_MS }));
    try {
      prepare(db, path);
      return { db, durability: durabilityOf(db, path) };
    } catch (error) {
      db.close();
      // switching to WAL and recovering one do not always wait for others that open the file at the same moment
      if (!isBusy(error) || attempt === OPEN_TRIES) throw sqliteError(path, error);
    }
    await delay(5 + Math.random() * 50);
  }
}

function prepare(db: DatabaseSync, path: string): void {
  // per connection, and not stored in the file: every one asks for it
  db.exec('pragma synchronous = full');
  if (process.platform === 'darwin') db.exec('pragma fullfsync = 1; pragma checkpoint_fullfsync = 1');
  if (versionOf(db) < VERSION) migrate(db);
  const version = versionOf(db);
  if (version > VERSION)
    throw new QueueError('QUEUE_FOREIGN', `the queue ${path} was made by a newer release (schema ${version})`, {
      details: [`this release knows schema ${VERSION}`],
      next: ['use the release that the guards use'],
    });
  db.exec('pragma journal_mode = wal; pragma journal_size_limit = 67108864; pragma busy_timeout = 0');
}

// The mark is written before the file becomes WAL, so that it can be read from the file alone.
function migrate(db: DatabaseSync): void {
  db.exec('begin immediate');
  try {
    if (versionOf(db) === 0) db.exec(`${SCHEMA}; pragma application_id = ${APPLICATION_ID}; pragma user_version = 1`);
    db.exec('commit');
  } catch (error) {
    if (db.isTransaction) db.exec('rollback');
    throw error;
  }
}

function versionOf(db: DatabaseSync): number {
  return Number(db.prepare('pragma user_version').get()?.['user_version']);
}

// Never opens a file that is there by hand: closing it would drop the locks that SQLite holds on it in this process.
function create(path: string): void {
  if (!fs.existsSync(path)) {
    fs.mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    try {
      fs.closeSync(fs.openSync(path, 'wx', 0o600));
      syncFolder(dirname(path));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
  const stat = fs.statSync(path);
  if (!stat.isFile())
    throw new QueueError('QUEUE_OPTIONS', `the queue ${path} is ${stat.isDirectory() ? 'a folder' : 'not a file'}`, {
      next: ['name a file: path: /var/lib/app/queue.db'],
    });
  fs.accessSync(path, fs.constants.R_OK | fs.constants.W_OK);
  mustBeOurs(path, stat.size);
  // it holds what people wrote
  if (process.platform !== 'win32' && stat.mode & 0o077) fs.chmodSync(path, 0o600);
}

/** The file's name is in its folder: without this, a power cut may take the name and with it all that was synced. */
function syncFolder(folder: string): void {
  if (process.platform === 'win32') return;
  const handle = fs.openSync(folder, 'r');
  try {
    fs.fsyncSync(handle);
  } finally {
    fs.closeSync(handle);
  }
}

/** `immutable` reads the header without a lock, and changes nothing of another program's file. */
function mustBeOurs(path: string, size: number): void {
  if (size === 0) return;
  const url = pathToFileURL(path);
  url.searchParams.set('immutable', '1');
  const db = new DatabaseSync(url, { readOnly: true });
  try {
    const mark = db.prepare('pragma application_id').get()?.['application_id'];
    if (mark === APPLICATION_ID) return;
    throw new QueueError('QUEUE_FOREIGN', `the file ${path} is a database of another program`, {
      next: ['name another file; it is made where it is missing'],
    });
  } finally {
    db.close();
  }
}

/** statfs(2) types. WAL shares memory between processes, which no network file system does. */
const NETWORK: Readonly<Record<number, string>> = {
  26985: 'nfs',
  20859: 'smb',
  4283649346: 'cifs',
  4266872130: 'smb2',
  16914839: '9p',
  12805120: 'ceph',
  1397113167: 'afs',
  1702057286: 'fuse',
  198183888: 'lustre',
  1196443219: 'gpfs',
  18225520: 'glusterfs',
};
/** tmpfs, ramfs */
const VOLATILE: Readonly<Record<number, string>> = { 16914836: 'tmpfs', 2240043254: 'ramfs' };

function durabilityOf(db: DatabaseSync, path: string): Durability {
  const mode = db.prepare('pragma journal_mode').get()?.['journal_mode'];
  const sync = db.prepare('pragma synchronous').get()?.['synchronous'];
  if (mode !== 'wal' || Number(sync) !== 2)
    throw new QueueError('QUEUE_NOT_DURABLE', `the queue ${path} does not sync what it commits`, {
      details: [`journal_mode is ${mode}, synchronous is ${sync}; wanted: wal and 2`],
      next: ['put it on a local file system that SQLite can use with a write-ahead log'],
    });
  const proof = `journal_mode=${mode} synchronous=${sync}`;
  if (process.platform !== 'linux') return { survives: 'power', proof };
  const type = fs.statfsSync(path).type >>> 0;
  const network = NETWORK[type];
  if (network !== undefined)
    throw new QueueError('QUEUE_NOT_DURABLE', `the queue ${path} is on a network file system (${network})`, {
      details: ['several processes share it through memory of one machine'],
      next: ['put it on a local disk, or use a postgres:// queue'],
    });
  const memory = VOLATILE[type];
  if (memory !== undefined) return { survives: 'process', proof: `${proof}, but on ${memory}` };
  return { survives: 'power', proof };
}

// ── Errors ────────────────────────────────────────────────────────────────────────────────────────────────────────

function codeOf(error: unknown): number | undefined {
  const { errcode } = (error ?? {}) as { errcode?: unknown };
  // extended codes carry the plain one in their low byte
  return typeof errcode === 'number' ? errcode & 0xff : undefined;
}

/** SQLITE_BUSY, SQLITE_LOCKED */
export function isBusy(error: unknown): boolean {
  const code = codeOf(error);
  return code === 5 || code === 6;
}

/** SQLITE_FULL */
export function isFull(error: unknown): boolean {
  return codeOf(error) === 13 || (error as NodeJS.ErrnoException)?.code === 'ENOSPC';
}

const WORDS: Readonly<Record<number, string>> = {
  5: 'is written to by others, and stays so',
  6: 'is written to by others, and stays so',
  8: 'cannot be written to',
  10: 'cannot be read or written (an error of the disk)',
  11: 'is damaged',
  13: 'is on a full disk',
  14: 'cannot be opened',
  26: 'is not a database',
};

export function sqliteError(path: string, error: unknown): Error {
  if (error instanceof QueueError) return error;
  const code = codeOf(error);
  const words = (code === undefined ? undefined : WORDS[code]) ?? 'failed';
  return new QueueError(isBusy(error) ? 'QUEUE_BUSY' : 'QUEUE_UNAVAILABLE', `the queue ${path} ${words}`, {
    details: error instanceof Error ? [error.message] : [],
    next: [code === 13 ? 'make room on its disk' : 'check the file, its folder and their owner'],
    cause: error,
  });
}

function guarded<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw sqliteError(path, error);
  }
}
