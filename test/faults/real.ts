// The real servers of the fault sweep, for a process that is not jest's: on free ports, in folders of their own, ended
// by their own pid. What is not installed is left out, and said.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
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
  const folder = mkdtempSync(join(tmpdir(), 'maint-faults-real-'));
  const port = await freePort();
  const [program = '', ...args] = argv(port, folder);
  const child: ChildProcess = spawn(program, args, { cwd: folder, stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await until(() => answers(port), 200_000);
  return {
    port,
    async stop() {
      child.kill('SIGTERM');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
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
