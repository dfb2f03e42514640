// SQLite databases of others, looked at only. Nothing may stay behind: a WAL database opened read-only gets a -wal and a
// -shm file that a read-only connection cannot remove again, so such a database is opened immutable while nobody has it
// open, and never kept open between two calls.
import { createHash } from 'node:crypto';
import { closeSync, copyFileSync, mkdtempSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { setImmediate as nextTick } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import type { SqliteReader, Statement } from '../engine/io.ts';
import { interrupted, type Limit, limit, outerError, type Scope, timedOut } from './call.ts';

type Value = string | number | null;

/** How long a call waits for a lock: node:sqlite blocks the whole process meanwhile, the lease's renewal too. */
const BUSY_MS = 500;
const BUSY = { code: 'ERR_SQLITE_ERROR', errcode: 5 };
/** Rows hashed between two looks at the clock and the lease. */
const ROWS_PER_TURN = 2000;

export class SqlitePool {
  readonly #kept = new Map<string, { db: DatabaseSync; ino: number }>();

  /** Rollback-journal databases stay open: `data_version` compares within one connection only. */
  async kept(path: string): Promise<DatabaseSync> {
    const { ino } = statSync(path);
    const known = this.#kept.get(path);
    if (known && known.ino === ino) return known.db;
    known?.db.close();
    this.#kept.delete(path);
    const db = await open(path);
    this.#kept.set(path, { db, ino });
    return db;
  }

  close(): void {
    for (const { db } of this.#kept.values()) db.close();
    this.#kept.clear();
  }
}

export function sqliteReader(scope: Scope, pool: SqlitePool): SqliteReader {
  async function withDatabase<T>(
    path: string,
    statement: Statement | undefined,
    work: (db: DatabaseSync, bound: Limit) => T | Promise<T>,
  ): Promise<T> {
    const file = resolve(path);
    using bound = limit(scope, file, undefined);
    try {
      if (!isWal(file)) return await work(await pool.kept(file), bound);
      if (statement && /\bdata_version\b/i.test(statement.text)) {
        throw new Error('data_version means nothing in WAL mode, where no connection is kept: compare digests');
      }
      return await inWal(file, (db) => work(db, bound));
    } catch (error) {
      if (bound.reason() === 'interrupted') throw interrupted(scope, file, 'none');
      if (bound.reason() === 'timeout') throw timedOut(scope, file, bound.ms, 'none');
      throw failed(scope, file, error);
    }
  }

  return {
    rows: (path, statement, values = []) =>
      withDatabase(path, statement, (db) => {
        assertStatement(statement);
        return db.prepare(statement.text).all(...(values as Value[])) as any[];
      }),
    digest: (path, table) => withDatabase(path, undefined, (db, bound) => digest(db, table, bound)),
    async version(path) {
      const file = resolve(path);
      try {
        return version(file);
      } catch (error) {
        throw failed(scope, file, error);
      }
    },
  };
}

/** Only what statement() made: a module constant, never text put together at run time. */
export function assertStatement(statement: Statement): void {
  if (Object.isFrozen(statement) && typeof statement.name === 'string' && typeof statement.text === 'string') return;
  throw new TypeError('only statements made with statement() are taken: constants with a name');
}

async function open(path: string, immutable = false): Promise<DatabaseSync> {
  const { DatabaseSync } = await import('node:sqlite');
  const url = pathToFileURL(path);
  url.searchParams.set('mode', 'ro');
  if (immutable) url.searchParams.set('immutable', '1');
  return new DatabaseSync(url, { readOnly: true, timeout: BUSY_MS });
}

/** The file format's version in the header, bytes 18 and 19: 2 means WAL. */
function isWal(path: string): boolean {
  const fd = openSync(path, 'r');
  try {
    const header = Buffer.alloc(20);
    return readSync(fd, header, 0, 20, 0) === 20 && header[18] === 2;
  } finally {
    closeSync(fd);
  }
}

/**
 * What every commit moves: the header's change counter (rollback journal), the write-ahead log's size and the head of its
 * index, which counts transactions (WAL). Checkpoints, VACUUM and the first or last connection move it, too: that it
 * moved proves nothing.
 */
function version(path: string): string {
  const hash = createHash('sha256').update(head(path, 100) ?? '');
  for (const [file, bytes] of [
    [path, 0],
    [`${path}-wal`, 32],
    [`${path}-shm`, 48],
  ] as const) {
    const at = statSync(file, { bigint: true, throwIfNoEntry: false });
    hash.update(`;${at && file !== `${path}-shm` ? [at.ino, at.size, at.mtimeNs].join(' ') : ''};`);
    if (at && bytes > 0) hash.update(head(file, bytes) ?? '');
  }
  return hash.digest('hex').slice(0, 32);
}

function head(path: string, bytes: number): Buffer | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    // the last connection has just removed it
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && /-(wal|shm)$/.test(path)) return undefined;
    throw error;
  }
  try {
    const buffer = Buffer.alloc(bytes);
    return buffer.subarray(0, readSync(fd, buffer, 0, bytes, 0));
  } finally {
    closeSync(fd);
  }
}

async function inWal<T>(path: string, work: (db: DatabaseSync) => T | Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    const wal = sizeOf(`${path}-wal`);
    if (wal > 0 && sizeOf(`${path}-shm`) < 0) return await inCopy(path, work);
    if (wal >= 0 && sizeOf(`${path}-shm`) >= 0) return await closing(await open(path), work);
    const seen = fingerprint(path);
    const result = await closing(await open(path, true), work);
    // somebody opened it for writing meanwhile: an immutable connection does not see what was written
    if (fingerprint(path) === seen) return result;
    if (attempt === 5) throw Object.assign(new Error('is opened and closed all the time'), BUSY);
  }
}

/** A crashed writer's -wal without its -shm: opening it in place would make one. */
async function inCopy<T>(path: string, work: (db: DatabaseSync) => T | Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'maint-sqlite-'));
  try {
    copyFileSync(path, join(folder, 'copy.db'));
    copyFileSync(`${path}-wal`, join(folder, 'copy.db-wal'));
    return await closing(await open(join(folder, 'copy.db')), work);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function closing<T>(db: DatabaseSync, work: (db: DatabaseSync) => T | Promise<T>): Promise<T> {
  try {
    return await work(db);
  } finally {
    db.close();
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? -1;
}

function fingerprint(path: string): string {
  const at = statSync(path, { bigint: true });
  return [at.ino, at.size, at.mtimeNs, sizeOf(`${path}-wal`) > 0].join(' ');
}

async function digest(db: DatabaseSync, table: string, bound: Limit): Promise<{ digest: string; rows: number }> {
  const entry = db.prepare("select name, type, wr from pragma_table_list(?) where schema = 'main'").get(table) as
    | { name: string; type: string; wr: number }
    | undefined;
  if (!entry || entry.type === 'view') throw new Error(`there is no table ${table}`);
  const columns = db.prepare('select name, pk from pragma_table_info(?)').all(entry.name) as {
    name: string;
    pk: number;
  }[];
  const names = columns.map((column) => column.name);
  const keys = columns.filter((column) => column.pk > 0).sort((a, b) => a.pk - b.pk);
  const taken = new Set(names.map((name) => name.toLowerCase()));
  const rowid = entry.wr ? undefined : ['_rowid_', 'rowid', 'oid'].find((name) => !taken.has(name));
  const order = rowid ? [rowid] : (keys.length > 0 ? keys.map((key) => key.name) : names).map(quote);
  const select = [...(rowid ? [rowid] : []), ...names.map(quote)].join(', ');
  const rows = db.prepare(`select ${select} from main.${quote(entry.name)} order by ${order.join(', ')}`);
  rows.setReadBigInts(true);
  rows.setReturnArrays(true);
  const hash = createHash('sha256').update(JSON.stringify(names));
  let count = 0;
  for (const row of rows.iterate() as Iterable<unknown> as Iterable<(bigint | number | string | Uint8Array | null)[]>) {
    for (const value of row) feed(hash, value);
    hash.update('\n');
    count += 1;
    if (count % ROWS_PER_TURN !== 0) continue;
    await nextTick();
    if (bound.signal.aborted) throw new Error('ended by its limit');
  }
  return { digest: hash.digest('hex'), rows: count };
}

/** Type and length before each value, so that no two different rows feed the same bytes. */
function feed(hash: ReturnType<typeof createHash>, value: bigint | number | string | Uint8Array | null): void {
  if (value === null) hash.update('n');
  else if (typeof value === 'bigint') hash.update(`i${value};`);
  else if (typeof value === 'number') hash.update(`r${Object.is(value, -0) ? '-0' : value};`);
  else if (typeof value === 'string') hash.update(`t${Buffer.byteLength(value)};`).update(value);
  else hash.update(`b${value.byteLength};`).update(value);
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function failed(scope: Scope, path: string, error: unknown) {
  const { code, errcode, message } = error as { code?: string; errcode?: number; message: string };
  if (code === 'ENOENT') {
    return outerError(scope, `${path} is not there`, { effect: 'none', retryable: false, code });
  }
  if (code === 'EACCES' || code === 'EISDIR' || code === 'EPERM') {
    return outerError(scope, `${path} cannot be read: ${code}`, { effect: 'none', retryable: false, code });
  }
  if (code !== 'ERR_SQLITE_ERROR') return error;
  const primary = (errcode ?? 0) & 0xff;
  if (primary === 5 || primary === 6) {
    return outerError(scope, `${path} is locked by a writer`, { effect: 'none', retryable: true, code: 'SQLITE_BUSY' });
  }
  if (primary === 26) {
    return outerError(scope, `${path} is no SQLite database`, {
      effect: 'none',
      retryable: false,
      code: 'SQLITE_NOTADB',
    });
  }
  return outerError(scope, `${path}: ${message}`, { effect: 'none', retryable: false, code: `SQLITE_${errcode}` });
}
