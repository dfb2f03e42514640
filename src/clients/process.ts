// Who a process is, so that a lock or a journalled pid can be told from another process that got the same number later.
import { execFileSync } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** One process on one machine since its last boot. All strings but the pid; what the platform cannot tell is ''. */
export interface ProcessOwner {
  host: string;
  bootId: string;
  pidNamespace: string;
  pid: number;
  startTime: string;
}

/**
 * When the process began, as an opaque string that never changes while it lives; undefined: there is none (a zombie
 * counts as none, for it has ended). Linux: clock ticks since boot; elsewhere what `ps` says.
 */
export function startTimeOf(pid: number): string | undefined {
  if (process.platform === 'linux') {
    const stat = readOrUndefined(`/proc/${pid}/stat`);
    if (stat === undefined) return undefined;
    // the second field is the name in parentheses and may itself hold spaces and parentheses
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    return fields[19];
  }
  try {
    const line = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
      timeout: 2000,
    }).trim();
    if (line === '' || line.startsWith('Z')) return undefined;
    return line.replace(/^\S+\s+/, '');
  } catch {
    return undefined;
  }
}

let self: ProcessOwner | undefined;
/** This process. */
export function thisProcess(): ProcessOwner {
  self ??= {
    host: hostname(),
    bootId: bootId(),
    pidNamespace: pidNamespace(),
    pid: process.pid,
    startTime: startTimeOf(process.pid) ?? '',
  };
  return self;
}

/** Whether the process can be looked up from here at all: same machine, same boot, same pid namespace. */
export function sameMachine(owner: ProcessOwner): boolean {
  const me = thisProcess();
  return owner.host === me.host && owner.bootId === me.bootId && owner.pidNamespace === me.pidNamespace;
}

/** undefined: it cannot be told from here. */
export function isAlive(owner: ProcessOwner): boolean | undefined {
  if (!sameMachine(owner)) return undefined;
  return startTimeOf(owner.pid) === owner.startTime;
}

/** Changes with every boot; '' where the platform has none. */
export function bootId(): string {
  const linux = readOrUndefined('/proc/sys/kernel/random/boot_id')?.trim();
  if (linux !== undefined || process.platform !== 'darwin') return linux ?? '';
  try {
    return execFileSync('sysctl', ['-n', 'kern.bootsessionuuid'], { encoding: 'utf8', timeout: 2000 }).trim();
  } catch {
    return '';
  }
}

/** '' where there are none. */
export function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return '';
  }
}

function readOrUndefined(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
