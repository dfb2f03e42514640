// Where the state is: --state, else MAINT_STATE, else the XDG state folder.
import { readFileSync, realpathSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { homeFolder } from '../engine/who.ts';
import { MaintError } from '../errors/catalogue.ts';
import { advice } from '../errors/next.ts';

const ALLOWED = 'allowed: a path, sqlite:PATH, file:PATH or postgres://HOST/DATABASE';

export interface Where {
  /** --state */
  state?: string | undefined;
  env: Readonly<Record<string, string | undefined>>;
}

/** The absolute path of the state file. E_STATE for an address that this release has no store for. */
export function locate({ state, env }: Where): string {
  if (state !== undefined) return pathOf(state, '--state');
  if (env.MAINT_STATE) return pathOf(env.MAINT_STATE, 'MAINT_STATE');
  const base = env.XDG_STATE_HOME;
  // a relative one is to be ignored, says the XDG Base Directory Specification
  const home = homeFolder(env);
  const folder = base && isAbsolute(base) ? base : home && join(home, '.local', 'state');
  if (!folder) throw refused('nobody said where windows are kept, and this user has no home folder');
  return join(folder, 'maint', 'state.db');
}

function pathOf(value: string, from: string): string {
  // two letters at least: C:\ is a path
  const [, scheme, rest = ''] = /^([a-z][a-z0-9+.-]+):(.*)$/is.exec(value) ?? [];
  if (scheme === undefined) return checked(value, from);
  if (!['sqlite', 'file'].includes(scheme.toLowerCase())) {
    // the scheme only: the rest may hold a password
    throw refused(`${from} names a ${scheme.toLowerCase()}: address, which this release has no store for`);
  }
  const [, host = '', path = ''] = /^\/\/([^/]*)(.*)$/s.exec(rest) ?? [undefined, '', rest];
  if (host !== '' && host !== 'localhost') throw refused(`${from} names a file on another host: ${host}`);
  if (/[?#]/.test(path)) throw refused(`${from} takes no options behind the path: ${value}`);
  return checked(decoded(path, from), from);
}

function decoded(path: string, from: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw refused(`${from} is badly encoded: ${path}`);
  }
}

function checked(path: string, from: string): string {
  if (path === '') throw refused(`${from} is empty`);
  if (path.includes('\0')) throw refused(`${from} holds a NUL character`);
  return resolve(path);
}

function refused(message: string): MaintError {
  return new MaintError('E_STATE', message, { details: [ALLOWED], next: [advice('name another place: --state PATH')] });
}

/** Their locks do not hold between machines, or come and go with the connection; some answer fsync without having written. */
const NETWORK =
  /^(nfs4?|cifs|smb\w*|ncpfs|afs|ceph|lustre|beegfs|glusterfs|davfs|fuse\.(sshfs|glusterfs|ceph|s3fs|rclone|davfs2?|gcsfuse))$/;

/** Refuses a path on a network file system. Only Linux tells. */
export function refuseNetwork(path: string, mountinfo = readMounts()): void {
  const type = mountinfo && fileSystemOf(realPath(path), mountinfo);
  if (!type || !NETWORK.test(type)) return;
  throw new MaintError('E_STATE', `the state file ${path} is on a network file system (${type})`, {
    details: ['SQLite cannot rely on its locks and its fsync; allowed: a path on a local disk'],
    next: [advice('name another place: --state PATH')],
  });
}

function readMounts(): string | undefined {
  try {
    return readFileSync('/proc/self/mountinfo', 'utf8');
  } catch {
    return undefined;
  }
}

/** The type of the mount that a path is on: the longest mount point above it, the last one mounted there. */
function fileSystemOf(path: string, mountinfo: string): string | undefined {
  let found: { point: string; type: string } | undefined;
  for (const line of mountinfo.split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const point = left
      .split(' ')[4]
      ?.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
    const type = right.split(' ')[0];
    if (point === undefined || !type) continue;
    const above = path === point || path.startsWith(point === '/' ? '/' : `${point}/`);
    if (above && point.length >= (found?.point.length ?? 0)) found = { point, type };
  }
  return found?.type;
}

/** Links resolved as far as the path exists. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : join(realPath(parent), path.slice(parent.length));
  }
}
