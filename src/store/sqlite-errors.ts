// What is wrong with the file, in words, from the codes of SQLite and of the system.
import { MaintError } from '../errors/catalogue.ts';
import { EXIT } from '../errors/exit-codes.ts';
import { advice } from '../errors/next.ts';

const ELSEWHERE = 'use another place: --state PATH, or MAINT_STATE=PATH';

const WORDS: Readonly<Record<string, { is: string; next: string }>> = {
  ENOENT: { is: 'not there', next: ELSEWHERE },
  EEXIST: { is: 'below something that is no folder', next: ELSEWHERE },
  ENOTDIR: { is: 'below something that is no folder', next: ELSEWHERE },
  EISDIR: { is: 'a folder', next: 'name a file in it: --state PATH/state.db' },
  EACCES: { is: 'not allowed for this user, or in a folder that is not', next: `check with ls -l; or ${ELSEWHERE}` },
  EPERM: { is: 'not allowed for this user', next: `check with ls -l; or ${ELSEWHERE}` },
  EROFS: { is: 'on a read-only file system', next: ELSEWHERE },
  ENOSPC: { is: 'on a full disk', next: `make room, then run the same command again; or ${ELSEWHERE}` },
  EDQUOT: { is: 'beyond the disk quota', next: `make room, then run the same command again; or ${ELSEWHERE}` },
  ENAMETOOLONG: { is: 'too long a name', next: ELSEWHERE },
  ELOOP: { is: 'a symbolic link that leads nowhere', next: ELSEWHERE },
  5: { is: 'locked by another process for 5 s', next: 'run the same command again; who holds it: fuser -v PATH' },
  8: { is: 'read-only for this user', next: `check with ls -l; or ${ELSEWHERE}` },
  10: { is: 'on a disk that answers with I/O errors', next: `check the disk (dmesg); or ${ELSEWHERE}` },
  11: { is: 'damaged', next: `keep a copy of it, and ${ELSEWHERE}` },
  13: { is: 'on a full disk', next: `make room, then run the same command again; or ${ELSEWHERE}` },
  14: { is: 'not to be opened by SQLite', next: `check with ls -l; or ${ELSEWHERE}` },
  26: { is: 'no SQLite database', next: ELSEWHERE },
};

const SQLITE_BUSY = 5;

/** SQLite's extended result code; undefined where it is no error of SQLite. */
export function errcode(error: unknown): number | undefined {
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  return code === 'ERR_SQLITE_ERROR' && typeof errcode === 'number' ? errcode : undefined;
}

/** `error`: what went wrong, or what the file is, in words. Errors that are ours already pass through. */
export function stateError(path: string, error: unknown): Error {
  if (error instanceof MaintError) return error;
  if (typeof error === 'string') return asError(path, { is: error, next: ELSEWHERE }, undefined);
  const primary = (errcode(error) ?? -1) & 0xff;
  const words = errcode(error) === undefined ? WORDS[String((error as NodeJS.ErrnoException).code)] : WORDS[primary];
  if (words) return asError(path, words, error, primary === SQLITE_BUSY);
  return error instanceof Error ? error : new Error(String(error));
}

function asError(path: string, { is, next }: { is: string; next: string }, cause: unknown, busy = false): MaintError {
  return new MaintError('E_STATE', `the state file ${path} is ${is}`, {
    details: cause instanceof Error ? [cause.message] : [],
    next: [advice(next.replaceAll('fuser -v PATH', `fuser -v ${path}`))],
    cause,
    ...(busy ? { exit: EXIT.BUSY } : {}),
  });
}
