// Files of this machine: read whole, replaced atomically and durably, compared with what was read under a lock.
import { createHash, randomBytes } from 'node:crypto';
import { constants, linkSync, readFileSync, renameSync, type Stats, unlinkSync } from 'node:fs';
import {
  access,
  type FileHandle,
  link,
  lstat,
  open,
  readdir,
  readlink,
  readFile as readText,
  realpath,
  stat,
  unlink,
} from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicNow } from '../engine/clock.ts';
import { Stale } from '../engine/contract.ts';
import { type FileSeen, type FilesReader, type FilesWriter, WRITE_DEADLINE_MS } from '../engine/io.ts';
import { OuterError } from '../errors/catalogue.ts';
import {
  after,
  before,
  errorCode,
  interrupted,
  type Limit,
  limit,
  MAX_ANSWER_BYTES,
  outerError,
  type Scope,
  timedOut,
} from './call.ts';
import { carryOver, NotCarriedOver, notCarried } from './inode.ts';
import { isAlive, type ProcessOwner, sameMachine, thisProcess } from './process.ts';

const DEFAULT_MODE = 0o644;
/** How often a waiting process looks at another one's lock. */
const LOCK_POLL_MS = 20;
/** A lock whose owner cannot be looked up from here (another host, another boot), by its date: clocks may differ. */
const FOREIGN_LOCK_MS = 6 * WRITE_DEADLINE_MS;
/** One that this process has watched for so long belongs to nobody who still writes: see {@link mayStillWrite}. */
const WATCHED_LOCK_MS = WRITE_DEADLINE_MS + 1_000;

export function filesReader(scope: Scope): FilesReader {
  return {
    read: (path) => guarded(scope, path, 'none', () => readFile(path)),
    list: (folder) =>
      guarded(scope, folder, 'none', async () => {
        try {
          return (await readdir(folder)).sort();
        } catch (error) {
          if (errorCode(error) === 'ENOENT') return null;
          throw error;
        }
      }),
    replaceable: (path) => guarded(scope, path, 'none', () => whyNot(path)),
  };
}

export function filesWriter(scope: Scope): FilesWriter {
  return { ...filesReader(scope), replace: (path, from, content) => replace(scope, path, from, content) };
}

async function replace(
  scope: Scope,
  path: string,
  from: FileSeen | null,
  content: Buffer | null,
): Promise<FileSeen | null> {
  using bound = limit(scope, path, undefined);
  const over = monotonicNow() + bound.ms;
  const last = () => mayStillWrite(scope, path, over, bound);
  const real = await guarded(scope, path, 'none', () => resolveLinks(path));
  before(scope, 'file replace');
  const result = await guarded(scope, path, 'none', async () => {
    await using _lock = await acquire(scope, lockPath(real), path, bound);
    await removeLeftovers(real);
    await assertUnchanged(real, path, from);
    if (content === null) {
      if (from !== null) await remove(scope, real, path, last);
      return null;
    }
    await write(scope, real, path, from, content, bound, last);
    return await readFile(real);
  });
  after(scope, 'file replace');
  return result;
}

/**
 * The last word before the file changes, and nothing is awaited after it: a process that was stopped on its way here, or
 * that a slow disk has kept here, must not write when others have long gone on without it. So whoever has a lock writes
 * within a write's deadline or not at all.
 */
function mayStillWrite(scope: Scope, path: string, over: number, bound: Limit): void {
  try {
    scope.hooks?.awake?.();
  } catch (error) {
    if (!(error instanceof OuterError)) throw error;
    throw outerError(scope, `${path}: ${error.message}`, { effect: error.effect, retryable: error.retryable });
  }
  if (monotonicNow() >= over) throw timedOut(scope, path, bound.ms, 'none');
}

async function write(
  scope: Scope,
  real: string,
  path: string,
  from: FileSeen | null,
  content: Buffer,
  bound: Limit,
  last: () => void,
): Promise<void> {
  const temporary = temporaryPath(real, 'tmp');
  let renamed = false;
  try {
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(content);
      await takeOver(handle, from);
      // before it has the name: nobody meets the file without its ACL
      if (from !== null) await carried(scope, real, temporary, path, bound);
      await handle.sync();
    } finally {
      await handle.close();
    }
    // an editor does not know our lock: look again, as late as possible
    await assertUnchanged(real, path, from);
    last();
    if (from === null) {
      // link(2) fails where rename would silently replace what somebody has just created
      try {
        linkSync(temporary, real);
      } catch (error) {
        throw errorCode(error) === 'EEXIST' ? new Stale(`${path} was created by somebody else meanwhile`) : error;
      }
    } else {
      renameSync(temporary, real);
      renamed = true;
    }
  } finally {
    if (!renamed) await unlink(temporary).catch(ignoreMissing);
  }
  await guarded(scope, path, 'unknown', () => syncFolder(dirname(real)));
}

async function carried(scope: Scope, real: string, temporary: string, path: string, bound: Limit): Promise<void> {
  try {
    await carryOver(real, temporary, bound.signal);
  } catch (error) {
    if (bound.reason() === 'interrupted') throw interrupted(scope, path, 'none');
    if (bound.reason() === 'timeout') throw timedOut(scope, path, bound.ms, 'none');
    throw error;
  }
}

async function remove(scope: Scope, real: string, path: string, last: () => void): Promise<void> {
  last();
  unlinkSync(real);
  await guarded(scope, path, 'unknown', () => syncFolder(dirname(real)));
}

async function assertUnchanged(real: string, path: string, from: FileSeen | null): Promise<void> {
  const now = await readFile(real);
  if (from === null && now === null) return;
  if (from === null) throw new Stale(`${path} was created by somebody else meanwhile`);
  if (now === null) throw new Stale(`${path} was removed by somebody else meanwhile`);
  if (now.version !== from.version) throw new Stale(`${path} was changed by somebody else meanwhile`);
}

async function takeOver(handle: FileHandle, from: FileSeen | null): Promise<void> {
  const made = await handle.stat();
  if (from && (made.uid !== from.uid || made.gid !== from.gid)) await handle.chown(from.uid, from.gid);
  // after the owner: chown clears set-user-id
  await handle.chmod(from?.mode ?? DEFAULT_MODE);
}

async function readFile(path: string): Promise<FileSeen | null> {
  let handle: FileHandle;
  try {
    // O_NONBLOCK: opening a pipe that nobody writes to would wait for ever
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  }
  try {
    for (let attempt = 0; ; attempt++) {
      const at = await handle.stat({ bigint: true });
      if (!at.isFile())
        throw Object.assign(new Error('not a regular file'), { code: at.isDirectory() ? 'EISDIR' : 'ENOTFILE' });
      if (at.size > MAX_ANSWER_BYTES) throw Object.assign(new Error('too large'), { code: 'EFBIG' });
      const content = Buffer.alloc(Number(at.size) + 1);
      const { bytesRead } = await handle.read(content, 0, content.length, 0);
      const again = await handle.stat({ bigint: true });
      const torn = bytesRead !== Number(at.size) || again.mtimeNs !== at.mtimeNs || again.size !== at.size;
      if (torn && attempt < 20) continue;
      const bytes = content.subarray(0, bytesRead);
      const mode = Number(at.mode) & 0o7777;
      // times alone miss a second write within the clock's tick, and touch alone is no change of what is there
      const digest = createHash('sha256').update(bytes).digest('hex');
      const version = [at.dev, at.ino, at.mtimeNs, digest, mode.toString(8), at.uid, at.gid].join(':');
      return { content: bytes, mode, uid: Number(at.uid), gid: Number(at.gid), version };
    }
  } finally {
    await handle.close();
  }
}

/** The file itself behind symbolic links, also where the last one points to nothing yet: the link stays a link. */
async function resolveLinks(path: string): Promise<string> {
  let at = resolve(path);
  for (let hops = 0; hops < 40; hops++) {
    at = join(await realpath(dirname(at)), basename(at));
    const seen = await lstat(at).catch(ignoreMissing);
    if (!seen?.isSymbolicLink()) return at;
    at = resolve(dirname(at), await readlink(at));
  }
  throw Object.assign(new Error('too many symbolic links'), { code: 'ELOOP' });
}

async function whyNot(path: string): Promise<string | undefined> {
  let real: string;
  try {
    real = await resolveLinks(path);
  } catch (error) {
    return `${path}: ${words(errorCode(error))}`;
  }
  const folder = dirname(real);
  try {
    await access(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    return `the folder ${folder} cannot be written to: ${words(errorCode(error))}`;
  }
  const file = await stat(real).catch(ignoreMissing);
  if (!file) return undefined;
  if (!file.isFile()) return `${path} is not a regular file`;
  if (await isMountPoint(real)) return `${path} is a mount point, so it cannot be replaced: mount its folder instead`;
  const lost = await notCarried(real, file);
  if (lost !== undefined) return lost;
  const me = process.getuid?.();
  if (me === undefined || me === 0) return undefined;
  const parent = await stat(folder);
  if ((parent.mode & 0o1000) !== 0 && parent.uid !== me && file.uid !== me) {
    return `${path} belongs to another user, and its folder ${folder} has the sticky bit`;
  }
  return ownerLost(path, file, me);
}

/** A single file that a container mounts: rename(2) over it fails with EBUSY. Only Linux tells. */
async function isMountPoint(real: string): Promise<boolean> {
  const mounts = await readText('/proc/self/mountinfo', 'utf8').catch(() => '');
  return mounts.split('\n').some((line) => unescaped(line.split(' ')[4] ?? '') === real);
}

/** Spaces and the like stand in mountinfo as octal numbers. */
function unescaped(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

function ownerLost(path: string, file: Stats, me: number): string | undefined {
  if (file.uid !== me) return `${path} belongs to uid ${file.uid}, which only root can keep; this is uid ${me}`;
  const groups = [process.getgid?.(), ...(process.getgroups?.() ?? [])];
  if (!groups.includes(file.gid)) return `${path} belongs to gid ${file.gid}, of which uid ${me} is no member`;
  return undefined;
}

// ── The lock ──────────────────────────────────────────────────────────────────────────────────────────────────────

interface Lock extends ProcessOwner {
  /** tells this lock from the next one of the same process */
  id: string;
}

function lockPath(real: string): string {
  return join(dirname(real), `.maint.${basename(real)}.lock`);
}

/** The dot makes cron and run-parts pass over it. */
function temporaryPath(real: string, kind: 'tmp' | 'mine'): string {
  return join(dirname(real), `.maint.${basename(real)}.${kind}.${randomBytes(6).toString('hex')}`);
}

/**
 * link(2) of a complete file: the lock never exists without its owner in it. A dead owner's lock is removed under a lock
 * of its own, named by the dead one's id: whoever holds that is the only one who may remove that very lock.
 */
async function acquire(scope: Scope, path: string, what: string, bound: Limit): Promise<AsyncDisposable> {
  const mine: Lock = { ...thisProcess(), id: randomBytes(8).toString('hex') };
  const temporary = temporaryPath(path, 'mine');
  await writeWhole(temporary, `${JSON.stringify(mine)}\n`);
  try {
    for (;;) {
      const taken = await link(temporary, path).then(
        () => true,
        (error) => {
          if (errorCode(error) === 'EEXIST') return false;
          throw error;
        },
      );
      if (taken) break;
      const other = await readLock(path);
      if (other === undefined) continue;
      if (other.stale) {
        await using _removal = await acquire(scope, `${path}.${other.id}`, what, bound);
        if ((await readLock(path))?.id === other.id) await unlink(path).catch(ignoreMissing);
        continue;
      }
      if (bound.signal.aborted) {
        if (bound.reason() === 'interrupted') throw interrupted(scope, what, 'none');
        const message = `${what} is locked by ${other.owner}; if that is long gone, remove ${path}`;
        throw outerError(scope, message, { effect: 'none', retryable: true, code: 'LOCKED' });
      }
      await delay(LOCK_POLL_MS);
    }
  } finally {
    await unlink(temporary).catch(ignoreMissing);
  }
  return {
    async [Symbol.asyncDispose]() {
      unlock(path, mine.id);
    },
  };
}

/** Only one's own, and nothing is awaited in between: who was away for long finds another one's lock here. */
function unlock(path: string, id: string): void {
  try {
    if ((JSON.parse(readFileSync(path, 'utf8')) as Lock).id === id) unlinkSync(path);
  } catch (error) {
    if (!(error instanceof SyntaxError)) ignoreMissing(error);
  }
}

/** When this process met a lock first, by its path and id: a process has few of them. */
const met = new Map<string, number>();

function watchedFor(path: string, id: string): number {
  const key = `${path} ${id}`;
  const first = met.get(key) ?? monotonicNow();
  met.set(key, first);
  return monotonicNow() - first;
}

async function readLock(path: string): Promise<{ id: string; stale: boolean; owner: string } | undefined> {
  let text: string;
  let age: number;
  try {
    await using handle = await open(path, 'r');
    age = Date.now() - (await handle.stat()).mtimeMs;
    text = await handle.readFile('utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  let lock: Lock;
  try {
    lock = JSON.parse(text);
  } catch {
    return { id: 'unreadable', stale: age > FOREIGN_LOCK_MS, owner: 'a lock file that cannot be understood' };
  }
  const id = /^[0-9a-f]{1,32}$/.test(lock.id) ? lock.id : 'unreadable';
  const gone = sameMachine(lock) ? isAlive(lock) === false : age > FOREIGN_LOCK_MS;
  return {
    id,
    stale: gone || watchedFor(path, id) > WATCHED_LOCK_MS,
    owner: `pid ${lock.pid} on ${lock.host}`,
  };
}

/** Under the lock: temporary files of this name can only be those of processes that died. */
async function removeLeftovers(real: string): Promise<void> {
  const name = basename(real);
  for (const entry of await readdir(dirname(real))) {
    if (!entry.startsWith(`.maint.${name}.`)) continue;
    const path = join(dirname(real), entry);
    if (entry.startsWith(`.maint.${name}.tmp.`)) await unlink(path).catch(ignoreMissing);
  }
  // those of a process that died while it waited for the lock
  const lock = basename(lockPath(real));
  for (const entry of await readdir(dirname(real))) {
    if (!entry.startsWith(`.maint.${lock}.mine.`)) continue;
    const path = join(dirname(real), entry);
    const seen = await readLock(path).catch(() => undefined);
    if (seen?.stale) await unlink(path).catch(ignoreMissing);
  }
}

async function writeWhole(path: string, text: string): Promise<void> {
  await using handle = await open(path, 'wx', 0o600);
  await handle.writeFile(text);
}

async function syncFolder(folder: string): Promise<void> {
  // Windows cannot open a folder for this
  if (process.platform === 'win32') return;
  await using handle = await open(folder, 'r');
  await handle.sync().catch((error) => {
    // some file systems have no fsync for folders, and keep their order by themselves
    if (errorCode(error) !== 'EINVAL' && errorCode(error) !== 'ENOTSUP') throw error;
  });
}

function ignoreMissing(error: unknown): undefined {
  if (errorCode(error) === 'ENOENT') return undefined;
  throw error;
}

async function guarded<T>(scope: Scope, path: string, effect: 'none' | 'unknown', work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw failed(scope, path, error, effect);
  }
}

function failed(scope: Scope, path: string, error: unknown, effect: 'none' | 'unknown'): unknown {
  const code = errorCode(error);
  if (error instanceof NotCarriedOver)
    return outerError(scope, `${path}: ${error.message}`, { effect, retryable: false, code: error.code });
  // ours already, or no error of the file system
  if (error instanceof Stale || (error as OuterError).name === 'OuterError' || code === undefined) return error;
  return outerError(scope, `${path}: ${words(code)}`, { effect, retryable: RETRYABLE.has(code), code });
}

/** Not EBUSY: for a name that is a mount point, which it stays. */
const RETRYABLE = new Set(['EAGAIN', 'EMFILE', 'ENFILE', 'ETIMEDOUT', 'ESTALE', 'EINTR']);

const WORDS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'not permitted (owner, immutable flag or mount option)',
  EBUSY: 'is a mount point, so it cannot be replaced: mount its folder instead',
  EROFS: 'the file system is mounted read-only',
  ENOSPC: 'no space left on the device',
  EDQUOT: 'the disk quota is used up',
  EISDIR: 'is a folder',
  ENOTDIR: 'a part of the path is no folder',
  ENOENT: 'the folder is not there',
  ENOTFILE: 'is no regular file',
  EFBIG: `is larger than ${MAX_ANSWER_BYTES / 1e6} MB`,
  ELOOP: 'too many symbolic links',
  ENAMETOOLONG: 'the name is too long',
  EXDEV: 'the folder spans two file systems',
};

function words(code: string | undefined): string {
  return (code && WORDS[code]) ?? code ?? 'not possible';
}
