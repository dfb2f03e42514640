// The real servers of the fault sweep, for a process that is not jest's: on free ports, in folders of their own, ended
// by their own pid. What is not installed is left out, and said.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { freePort } from '../support/ports.ts';
import { until } from '../support/until.ts';

export interface Real {
  port: number;
  stop(): Promise<void>;
}

/** undefined: not installed. */
export async function redis(password: string): Promise<Real | undefined> {
  const program = which('redis-server', 'valkey-server');
  if (program === undefined) return undefined;
  const options = ['--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--requirepass', password];
  return await launch((port) => [program, '--port', `${port}`, ...options]);
}

/** undefined: not installed. */
export async function alertmanager(): Promise<Real | undefined> {
  const program = which('prometheus-alertmanager', 'alertmanager');
  if (program === undefined) return undefined;
  return await launch((port, folder) => {
    const config = join(folder, 'alertmanager.yml');
    writeFileSync(config, 'route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n');
    return [
      program,
      `--config.file=${config}`,
      `--storage.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--cluster.listen-address=',
    ];
  });
}

function which(...names: string[]): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/bin', '/usr/sbin'];
  return names.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path));
}

async function launch(argv: (port: number, folder: string) => string[]): Promise<Real> {
  for (let left = 5; ; left--) {
    const folder = mkdtempSync(join(tmpdir(), 'maint-faults-real-'));
    const port = await freePort();
    const [program = '', ...args] = argv(port, folder);
    const child: ChildProcess = spawn(program, args, { cwd: folder, stdio: 'ignore' });
    let over = false;
    const ended = new Promise<void>((resolve) => {
      child.once('exit', () => {
        over = true;
        resolve();
      });
    });
    const remove = () => rmSync(folder, { recursive: true, force: true });
    await until(async () => over || ((await answers(port)) && listens(child.pid!, port)), 200_000);
    // somebody took the port between our looking and the server's binding: it ends, and another one answers there
    if (over) {
      remove();
      if (left > 1) continue;
      throw new Error(`${program} ends as soon as it is started`);
    }
    return {
      port,
      async stop() {
        child.kill('SIGTERM');
        await ended;
        remove();
      },
    };
  }
}

/** Whether it is this process that listens there; where /proc does not tell, yes. */
function listens(pid: number, port: number): boolean {
  if (!existsSync('/proc/net/tcp')) return true;
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const inodes = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[1]?.endsWith(local) && fields[3] === '0A')
    .map((fields) => `socket:[${fields[9]}]`);
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return inodes.includes(readlinkSync(`/proc/${pid}/fd/${fd}`));
      } catch {
        return false;
      }
    });
  } catch {
    return false;
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
