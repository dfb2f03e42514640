// The journal in one SQLite file. Rollback journal, not WAL: who only looks must leave no file behind (docs/adr/0002).
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { Kysely } from 'kysely';
import type { Journal } from '../engine/journal.ts';
import { KyselyJournal } from './journal.ts';
import { isCurrent, migrate } from './migrate.ts';
import type { Schema } from './schema.ts';
import { nodeSqliteDialect } from './sqlite-dialect.ts';
import { errcode, stateError } from './sqlite-errors.ts';

/** "mnt1": tells our files from other programs' databases, where tables of ours have no business. */
const APPLICATION_ID = 0x6d6e7431;
/** Longer than any commit, far shorter than the lease: the wait blocks this process. */
const BUSY_MS = 5_000;

export interface SqliteOptions {
  /** this release, recorded with the migrations that it makes */
  version: string;
  /** epoch milliseconds; tests bring their own */
  clock?: () => number;
}

/** Opens the file for writing; makes it (0600), its folder (0700) and its tables where they are missing. */
export async function openSqlite(path: string, options: SqliteOptions): Promise<Journal> {
  const translate = (error: unknown) => stateError(path, error);
  const clock = options.clock ?? Date.now;
  const db = guarded(translate, () => {
    create(path);
    return connect(path);
  });
  return closedOnError(db, async () => {
    const journal = new Kysely<Schema>({ dialect: nodeSqliteDialect(db, translate) });
    const empty = guarded(translate, () => isEmpty(db));
    if (empty) guarded(translate, () => db.exec(`PRAGMA application_id = ${APPLICATION_ID}`));
    if (empty || !(await isCurrent(journal, 'writing'))) await migrate(journal, options.version, { now: clock() });
    return asJournal(journal, path, clock);
  });
}

/** Whether openSqlite would succeed, by access(2) and a look; makes nothing. `freeBytes`: for this user, where it would be. */
export async function askSqlite(path: string, options: SqliteOptions): Promise<{ freeBytes: number }> {
  const folder = guarded(
    (error) => stateError(path, error),
    () => {
      if (fs.existsSync(path)) mayWrite(path);
      const above = nearest(dirname(path));
      fs.accessSync(above, fs.constants.W_OK | fs.constants.X_OK);
      return above;
    },
  );
  if (fs.existsSync(path)) await (await lookSqlite(path, options))?.end();
  const { bavail, bsize } = fs.statfsSync(folder);
  return { freeBytes: bavail * bsize };
}

/** The folder itself, or the one in which it would be made. */
function nearest(folder: string): string {
  if (fs.existsSync(folder) || dirname(folder) === folder) return folder;
  return nearest(dirname(folder));
}

/** Opens a file that is there, read only. undefined: nothing was written into it yet. */
export async function lookSqlite(path: string, options: SqliteOptions): Promise<Journal | undefined> {
  const translate = (error: unknown) => stateError(path, error);
  const clock = options.clock ?? Date.now;
  let db = guarded(translate, () => {
    mustBeFile(path);
    fs.accessSync(path, fs.constants.R_OK);
    mustBeOurs(path);
    return look(path);
  });
  return closedOnError(db, async () => {
    if (guarded(translate, () => isEmpty(db))) {
      db.close();
      return undefined;
    }
    let journal = new Kysely<Schema>({ dialect: nodeSqliteDialect(db, translate) });
    if (!(await isCurrent(journal, 'reading'))) {
      // of an older release, and looking must not change it
      const memory = inMemory(db.serialize());
      db.close();
      db = memory;
      journal = new Kysely<Schema>({ dialect: nodeSqliteDialect(db, translate) });
      await migrate(journal, options.version, { now: clock() });
    }
    return asJournal(journal, path, clock);
  });
}

function asJournal(db: Kysely<Schema>, path: string, clock: () => number): Journal {
  return new KyselyJournal({ db, address: `sqlite ${path}`, shared: false, now: async () => clock(), rowLocks: false });
}

function connect(path: string): DatabaseSync {
  const db = new DatabaseSync(path, { timeout: BUSY_MS });
  try {
    // PERSIST zeroes the journal's header, and FULL syncs that too: durable as it stands, and no name comes or goes.
    db.exec('PRAGMA journal_mode = PERSIST; PRAGMA synchronous = FULL');
    // macOS answers fsync from the drive's cache
    if (process.platform === 'darwin') db.exec('PRAGMA fullfsync = 1');
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

const SQLITE_READONLY_ROLLBACK = 776;

/** A read-only connection; after a crash in mid-commit, a copy in memory as it was before that commit. */
function look(path: string): DatabaseSync {
  for (let attempt = 1; ; attempt++) {
    const db = new DatabaseSync(path, { readOnly: true, timeout: BUSY_MS });
    try {
      db.prepare('select count(*) from sqlite_master').get();
      return db;
    } catch (error) {
      db.close();
      if (errcode(error) !== SQLITE_READONLY_ROLLBACK || attempt === 10) throw error;
    }
    const bytes = rolledBack(path);
    if (bytes) return inMemory(bytes);
  }
}

/** The half-written commit undone in a copy outside; undefined: somebody changed the original meanwhile. */
function rolledBack(path: string): Uint8Array | undefined {
  const folder = fs.mkdtempSync(join(tmpdir(), 'maint-look-'));
  try {
    const copy = join(folder, 'state.db');
    const before = stamp(path);
    fs.copyFileSync(path, copy);
    if (fs.existsSync(`${path}-journal`)) fs.copyFileSync(`${path}-journal`, `${copy}-journal`);
    if (stamp(path) !== before) return undefined;
    const db = new DatabaseSync(copy);
    try {
      db.prepare('select count(*) from sqlite_master').get();
      return db.serialize();
    } finally {
      db.close();
    }
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

function stamp(path: string): string {
  return [path, `${path}-journal`]
    .map((name) => fs.statSync(name, { bigint: true, throwIfNoEntry: false }))
    .map((stat) => stat && `${stat.ino} ${stat.size} ${stat.mtimeNs}`)
    .join();
}

function inMemory(bytes: Uint8Array): DatabaseSync {
  const db = new DatabaseSync(':memory:');
  db.deserialize(bytes);
  return db;
}

/**
 * Throws where the file holds something else; changes nothing, a WAL file of another program neither. `immutable` reads
 * the header without a lock: our mark is in it from the first commit on.
 */
function mustBeOurs(path: string): void {
  if (fs.statSync(path).size === 0) return;
  const url = pathToFileURL(path);
  url.searchParams.set('immutable', '1');
  const db = new DatabaseSync(url, { readOnly: true });
  try {
    const mark = db.prepare('PRAGMA application_id').get()?.application_id;
    if (mark !== APPLICATION_ID) throw stateError(path, 'a SQLite database of another program');
  } finally {
    db.close();
  }
}

/** Whether there is no table yet: a first run is about to make them, or died before it could. */
function isEmpty(db: DatabaseSync): boolean {
  return db.prepare('select 1 from sqlite_master limit 1').get() === undefined;
}

// Never opens a file that is there: closing it would drop the locks that SQLite holds on it in this process.
function create(path: string): void {
  if (!fs.existsSync(path)) {
    fs.mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    try {
      fs.closeSync(fs.openSync(path, 'wx', 0o600));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
  mayWrite(path);
  if (process.platform !== 'win32' && fs.statSync(path).mode & 0o077) fs.chmodSync(path, 0o600);
}

function mayWrite(path: string): void {
  mustBeFile(path);
  fs.accessSync(path, fs.constants.R_OK | fs.constants.W_OK);
  mustBeOurs(path);
  fs.accessSync(dirname(path), fs.constants.W_OK | fs.constants.X_OK);
}

function mustBeFile(path: string): void {
  const stat = fs.statSync(path);
  if (!stat.isFile()) throw stateError(path, stat.isDirectory() ? 'a folder' : 'not a regular file');
}

function guarded<T>(translate: (error: unknown) => Error, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw translate(error);
  }
}

async function closedOnError<T>(db: DatabaseSync, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (db.isOpen) db.close();
    throw error;
  }
}
