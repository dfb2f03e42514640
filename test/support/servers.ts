// Real servers for tests: on free ports of the loopback, in folders of their own, stopped by their own pid. What is not
// installed is skipped with its reason in the title; on CI nothing is skipped.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { describe, test } from '@jest/globals';
import { freePort } from './ports.ts';

export type ServerName =
  | 'redis'
  | 'postgres'
  | 'pgbouncer'
  | 'varnish'
  | 'alertmanager'
  | 'cron'
  | 'chromium'
  | 'zsh'
  | 'fish';

export interface Server {
  url: string;
  port: number;
  /** changes with restart() */
  readonly pid: number;
  /** its own, removed by stop() */
  folder: string;
  /** ends it as its manual says, and removes its folder */
  stop(): Promise<void>;
  /** SIGKILL: the folder stays, so that restart() finds what was on disk */
  kill(): Promise<void>;
  /** stops it if it runs, and starts it again with the same port and folder */
  restart(): Promise<void>;
  /** what it wrote to stdout and stderr */
  log(): string;
}

const isRoot = process.getuid?.() === 0;
const run = promisify(execFile);

// ── What is there ─────────────────────────────────────────────────────────────────────────────────────────────────

/** undefined: it can be started here. */
export function missing(server: ServerName): string | undefined {
  if (server === 'cron') {
    if (process.platform !== 'linux' || !isRoot) return 'a private cron daemon needs root on Linux';
    for (const program of ['cron', 'crontab', 'unshare', 'nsenter']) {
      if (!which(program)) return `${program} is not installed`;
    }
    return undefined;
  }
  if (server === 'varnish' && !which('gcc') && which('varnishd')) return 'varnishd needs gcc, which is not installed';
  return programOf(server) ? undefined : `${PROGRAMS[server][0]} is not installed`;
}

const PROGRAMS: Readonly<Record<ServerName, readonly string[]>> = {
  redis: ['redis-server', 'valkey-server'],
  postgres: ['postgres'],
  pgbouncer: ['pgbouncer'],
  varnish: ['varnishd'],
  alertmanager: ['prometheus-alertmanager', 'alertmanager'],
  cron: ['cron'],
  chromium: ['chromium', 'chromium-browser', 'google-chrome'],
  zsh: ['zsh'],
  fish: ['fish'],
};

/** The program's path; several names, for distributions differ. */
export function programOf(server: ServerName): string | undefined {
  for (const name of PROGRAMS[server]) {
    const path = server === 'postgres' ? postgresProgram(name) : which(name);
    if (path) return path;
  }
  return undefined;
}

/** Debian keeps PostgreSQL's programs off the PATH, by version. */
function postgresProgram(name: string): string | undefined {
  const base = '/usr/lib/postgresql';
  const versions = existsSync(base) ? readdirSync(base).sort((a, b) => Number(b) - Number(a)) : [];
  for (const version of versions) {
    const path = join(base, version, 'bin', name);
    if (existsSync(path)) return path;
  }
  return which(name);
}

function which(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** `describe`, or a skip whose title says why. On CI what is missing fails. */
export function describeWith(server: ServerName | readonly ServerName[], name: string, body: () => void): void {
  const reasons = [server]
    .flat()
    .map((each) => missing(each))
    .filter((reason) => reason !== undefined);
  if (reasons.length === 0) {
    describe(name, body);
    return;
  }
  if (process.env['CI']) {
    describe(name, () => {
      test('has the servers that it needs', () => {
        throw new Error(`${reasons.join('; ')}: run node tools/install-servers.ts`);
      });
    });
    return;
  }
  describe.skip(`${name} (skipped: ${reasons.join('; ')})`, body);
}

// ── The servers ───────────────────────────────────────────────────────────────────────────────────────────────────

export async function startRedis(options: { args?: readonly string[] } = {}): Promise<Server & { socket: string }> {
  const folder = await makeFolder('redis');
  const socket = join(folder, 'redis.sock');
  const server = await launch({
    server: 'redis',
    folder,
    argv: (port) => [
      ...['--port', String(port), '--bind', '127.0.0.1', '--unixsocket', socket, '--dir', folder],
      ...['--save', '', '--appendonly', 'no', ...(options.args ?? [])],
    ],
    ready: (port) => answersRedis(port),
    url: (port) => `redis://127.0.0.1:${port}`,
  });
  return Object.assign(server, { socket });
}

export interface Postgres extends Server {
  /** as superuser, with psql; rows as arrays of strings */
  sql(text: string, database?: string): Promise<string[][]>;
}

export async function startPostgres(options: { settings?: Readonly<Record<string, string>> } = {}): Promise<Postgres> {
  const folder = await makeFolder('postgres');
  const uid = isRoot ? await uidOf('postgres') : undefined;
  if (uid) await chown(folder, uid.uid, uid.gid);
  const data = join(folder, 'data');
  const initdb = as(uid, [
    postgresProgram('initdb') ?? 'initdb',
    '-D',
    data,
    '-A',
    'trust',
    '-U',
    'postgres',
    '--no-sync',
    // its own, whatever LANG says: that locale may not be installed, and its messages are not English
    '--locale=C',
    '--encoding=UTF8',
  ]);
  await run(initdb[0]!, initdb.slice(1), { cwd: folder });
  const settings = {
    listen_addresses: '127.0.0.1',
    // quick, and what is committed still survives kill()
    fsync: 'off',
    full_page_writes: 'off',
    ...options.settings,
  };
  const server = await launch({
    server: 'postgres',
    folder,
    uid,
    argv: (port) => [
      ...['-D', data, '-p', String(port), '-k', folder],
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ],
    ready: async (port) => {
      await run(postgresProgram('pg_isready') ?? 'pg_isready', ['-h', '127.0.0.1', '-p', String(port), '-q']);
    },
    url: (port) => `postgres://postgres@127.0.0.1:${port}/postgres`,
    // fast shutdown: TERM would wait for every client
    stopSignal: 'SIGINT',
  });
  async function sql(text: string, database = 'postgres'): Promise<string[][]> {
    const psql = postgresProgram('psql') ?? 'psql';
    const argv = ['-h', '127.0.0.1', '-p', String(server.port), '-U', 'postgres', '-d', database];
    const { stdout } = await run(psql, [
      ...argv,
      '-X',
      '-q',
      '-A',
      '-t',
      '-F',
      '\t',
      '-v',
      'ON_ERROR_STOP=1',
      '-c',
      text,
    ]);
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split('\t'));
  }
  return Object.assign(server, { sql });
}

/** In transaction mode unless told otherwise; everybody is let in, as in the server behind it. */
export async function startPgbouncer(options: {
  postgres: Server;
  settings?: Readonly<Record<string, string>>;
}): Promise<Server> {
  const folder = await makeFolder('pgbouncer');
  const uid = isRoot ? await uidOf('postgres') : undefined;
  const config = join(folder, 'pgbouncer.ini');
  const users = join(folder, 'users.txt');
  await writeFile(users, '"postgres" ""\n"maint_team" ""\n');
  if (uid) for (const path of [folder, users]) await chown(path, uid.uid, uid.gid);
  return await launch({
    server: 'pgbouncer',
    folder,
    uid,
    argv: () => [config],
    prepare: async (port) => {
      const settings = {
        ...{ listen_addr: '127.0.0.1', listen_port: String(port), unix_socket_dir: '' },
        ...{ auth_type: 'trust', auth_file: users, pool_mode: 'transaction', default_pool_size: '10' },
        ...options.settings,
      };
      const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
      const databases = `* = host=127.0.0.1 port=${options.postgres.port}`;
      await writeFile(config, ['[databases]', databases, '[pgbouncer]', ...lines, ''].join('\n'));
    },
    ready: async (port) => {
      await run(postgresProgram('pg_isready') ?? 'pg_isready', ['-h', '127.0.0.1', '-p', String(port), '-q']);
    },
    url: (port) => `postgres://postgres@127.0.0.1:${port}/postgres`,
    // at once: TERM's gentler sibling waits for every client
    stopSignal: 'SIGTERM',
  });
}

/** Answers carry X-Cache: HIT or MISS; PURGE is taken from the loopback. */
export async function startVarnish(options: { backendPort: number; vcl?: string }): Promise<Server> {
  const folder = await makeFolder('varnish');
  const uid = isRoot ? await uidOf('nobody') : undefined;
  const file = join(folder, 'default.vcl');
  await writeFile(file, options.vcl ?? defaultVcl(options.backendPort));
  if (uid) for (const path of [folder, file]) await chown(path, uid.uid, uid.gid);
  return await launch({
    server: 'varnish',
    folder,
    uid,
    argv: (port) => ['-F', '-n', join(folder, 'v'), '-a', `127.0.0.1:${port}`, '-s', 'malloc,16m', '-f', file],
    // any answer will do, also the 503 of a backend that is not there yet
    ready: (port) => answersHttp(port, '/'),
    url: (port) => `http://127.0.0.1:${port}`,
  });
}

function defaultVcl(backendPort: number): string {
  return `vcl 4.1;
backend default { .host = "127.0.0.1"; .port = "${backendPort}"; }
acl purgers { "127.0.0.1"; "::1"; }
sub vcl_recv {
  if (req.method == "PURGE") {
    if (client.ip !~ purgers) { return (synth(405, "Not allowed")); }
    return (purge);
  }
}
sub vcl_backend_response { set beresp.ttl = 1h; }
sub vcl_deliver {
  if (obj.hits > 0) { set resp.http.X-Cache = "HIT"; } else { set resp.http.X-Cache = "MISS"; }
}
`;
}

export async function startAlertmanager(options: { config?: string } = {}): Promise<Server> {
  const folder = await makeFolder('alertmanager');
  const config = join(folder, 'alertmanager.yml');
  await writeFile(config, options.config ?? 'route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n');
  return await launch({
    server: 'alertmanager',
    folder,
    argv: (port) => [
      ...[`--config.file=${config}`, `--storage.path=${join(folder, 'data')}`],
      // no gossip: its port is the same for all
      ...[`--web.listen-address=127.0.0.1:${port}`, '--cluster.listen-address='],
    ],
    ready: (port) => answersHttp(port, '/-/ready', 200),
    url: (port) => `http://127.0.0.1:${port}`,
  });
}

export interface Cron extends Server {
  /** prefix for commands in the daemon's mount namespace: `[...cron.inside(), 'crontab', '-l']` */
  inside(): string[];
  /** a folder with a `crontab` that works inside the namespace: put it first on the PATH of the program under test */
  bin: string;
  crontab(args: readonly string[], stdin?: string): Promise<{ code: number; stdout: string; stderr: string }>;
  /** what is /etc/cron.d inside */
  cronD: string;
  /** what is /etc/crontab inside */
  etcCrontab: string;
  /** the pids of everything that the daemon has started and that still runs */
  jobs(): number[];
}

/**
 * A private daemon with private crontabs in a mount namespace; nothing of the host is touched. Jobs run by `@reboot`, at
 * its start and at every restart(), so that no test waits for a minute. `cronD` maps file names to their content.
 */
export async function startCron(
  options: { crontab?: string; cronD?: Readonly<Record<string, string>>; etcCrontab?: string } = {},
): Promise<Cron> {
  const folder = await makeFolder('cron');
  const cronD = join(folder, 'cron.d');
  const etcCrontab = join(folder, 'crontab');
  const bin = join(folder, 'bin');
  const initial = join(folder, 'initial');
  await mkdir(join(folder, 'spool', 'crontabs'), { recursive: true });
  await mkdir(cronD);
  await mkdir(bin);
  await writeFile(etcCrontab, options.etcCrontab ?? '', { mode: 0o644 });
  for (const [name, text] of Object.entries(options.cronD ?? {}))
    await writeFile(join(cronD, name), text, { mode: 0o644 });
  if (options.crontab !== undefined) await writeFile(initial, options.crontab);
  // an empty first argument: the user has no crontab
  const script = `set -e
chgrp crontab "$1/spool/crontabs"; chmod 1730 "$1/spool/crontabs"
mount --bind "$1/spool" /var/spool/cron
mount --bind "$1/cron.d" /etc/cron.d
mount --bind "$1/crontab" /etc/crontab
mount -t tmpfs none /run
if [ -e "$1/initial" ]; then crontab "$1/initial"; rm "$1/initial"; fi
echo ready >/run/maint-test-ready
exec cron -f -L 15`;
  const server = await launch({
    server: 'cron',
    folder,
    program: 'unshare',
    argv: () => ['-m', '--propagation', 'private', 'sh', '-c', script, 'sh', folder],
    // the lock file of the daemon itself: from then on it has read its crontabs
    ready: async (_port, pid) => {
      await run('nsenter', ['-t', String(pid), '-m', 'sh', '-c', 'test -s /run/crond.pid']);
    },
    url: () => 'cron://localhost',
    beforeStop: (pid) => {
      const jobs = descendants(pid);
      return () => {
        for (const job of jobs) signalPid(job, 'SIGKILL');
      };
    },
  });
  const inside = () => ['nsenter', '-t', String(server.pid), '-m'];
  const wrapper = async () => {
    const text = `#!/bin/sh\nexec ${inside().join(' ')} /usr/bin/crontab "$@"\n`;
    await writeFile(join(bin, 'crontab'), text, { mode: 0o755 });
  };
  await wrapper();
  const { restart } = server;
  return Object.assign(server, {
    inside,
    bin,
    cronD,
    etcCrontab,
    jobs: () => descendants(server.pid),
    async restart() {
      await restart();
      await wrapper();
    },
    crontab(args: readonly string[], stdin = '') {
      return new Promise<{ code: number; stdout: string; stderr: string }>((resolve, reject) => {
        const [program, ...rest] = [...inside(), 'crontab', ...args];
        const child = execFile(program!, rest, (error, stdout, stderr) => {
          if (error && typeof error.code !== 'number') reject(error);
          else resolve({ code: Number(error?.code ?? 0), stdout, stderr });
        });
        child.stdin?.on('error', () => {});
        child.stdin?.end(stdin);
      });
    },
  });
}

// ── Starting and stopping ─────────────────────────────────────────────────────────────────────────────────────────

interface Launch {
  server: ServerName;
  folder: string;
  program?: string;
  argv(port: number): string[];
  /** what is written before it starts */
  prepare?(port: number): Promise<void>;
  ready(port: number, pid: number): Promise<void>;
  url(port: number): string;
  uid?: Uid | undefined;
  stopSignal?: NodeJS.Signals;
  /** looks at what will be left over, and returns what clears it away once the server has ended */
  beforeStop?(pid: number): () => void;
}

interface Uid {
  uid: number;
  gid: number;
}

const READY_MS = 30_000;
const STOP_MS = 10_000;
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) if (child.pid !== undefined) signalPid(child.pid, 'SIGKILL');
});

async function launch(how: Launch): Promise<Server> {
  const program = how.program ?? programOf(how.server);
  if (!program) throw new Error(`${missing(how.server)}: run node tools/install-servers.ts`);
  let text = '';
  let child: ChildProcess | undefined;
  let ended: Promise<void> = Promise.resolve();

  async function start(port: number): Promise<void> {
    await how.prepare?.(port);
    const argv = as(how.uid, [program!, ...how.argv(port)]);
    const started = spawn(argv[0]!, argv.slice(1), { cwd: how.folder, stdio: ['ignore', 'pipe', 'pipe'] });
    child = started;
    running.add(started);
    let code: number | string | undefined;
    ended = new Promise((resolve) => {
      started.once('error', (error) => {
        code = error.message;
        running.delete(started);
        resolve();
      });
      started.once('exit', (status, signal) => {
        code = signal ?? status ?? 'no code';
        running.delete(started);
        resolve();
      });
    });
    for (const stream of [started.stdout, started.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
    }
    const until = Date.now() + READY_MS;
    for (;;) {
      if (code !== undefined) throw new Error(`${how.server} ended with ${code} before it was ready:\n${text}`);
      try {
        await how.ready(port, started.pid!);
        return;
      } catch (error) {
        if (Date.now() < until) {
          await delay(10);
          continue;
        }
        signalPid(started.pid!, 'SIGKILL');
        throw new Error(`${how.server} is not ready after ${READY_MS / 1000}s: ${(error as Error).message}\n${text}`);
      }
    }
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (!child || child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    const clear = how.beforeStop?.(child.pid);
    child.kill(signal);
    const inTime = await Promise.race([ended.then(() => true), delay(STOP_MS, false, { ref: false })]);
    if (!inTime) child.kill('SIGKILL');
    await ended;
    clear?.();
  }

  let port = await freePort();
  try {
    await start(port);
  } catch (error) {
    if (!/EADDRINUSE|address already in use/i.test(String(error))) throw error;
    // somebody took the port between our looking and the server's binding
    text = '';
    port = await freePort();
    await start(port);
  }
  return {
    url: how.url(port),
    port,
    folder: how.folder,
    get pid() {
      return child?.pid ?? 0;
    },
    log: () => text,
    kill: () => end('SIGKILL'),
    async stop() {
      await end(how.stopSignal ?? 'SIGTERM');
      await rm(how.folder, { recursive: true, force: true, maxRetries: 3 });
    },
    async restart() {
      await end(how.stopSignal ?? 'SIGTERM');
      await start(port);
    },
  };
}

/** As another user where the server refuses root; ended by the kernel with the test process, where it can be had. */
function as(uid: Uid | undefined, argv: string[]): string[] {
  if (process.platform !== 'linux' || !which('setpriv')) return argv;
  const user = uid ? ['--reuid', String(uid.uid), '--regid', String(uid.gid), '--clear-groups'] : [];
  return ['setpriv', '--pdeathsig', 'KILL', ...user, ...argv];
}

async function uidOf(name: string): Promise<Uid> {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((each) => each.startsWith(`${name}:`));
  const [, , uid, gid] = (line ?? 'nobody:x:65534:65534').split(':');
  return { uid: Number(uid), gid: Number(gid) };
}

async function makeFolder(name: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `maint-test-${name}-`));
  // the server's own user has to get in
  await chmod(folder, 0o755);
  return folder;
}

function answersRedis(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.setTimeout(1000, () => socket.destroy(new Error('no answer')));
    socket.once('error', reject);
    socket.once('data', (data) => {
      socket.destroy();
      // -NOAUTH is an answer too
      if (/^(\+PONG|-NOAUTH|-NOPERM)/.test(data.toString())) resolve();
      else reject(new Error(data.toString()));
    });
    socket.write('PING\r\n');
  });
}

function answersHttp(port: number, path: string, status?: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const sent = request({ port, host: '127.0.0.1', path, timeout: 1000, agent: false }, (answer) => {
      answer.resume();
      if (status === undefined || answer.statusCode === status) resolve();
      else reject(new Error(`answered ${answer.statusCode}`));
    });
    sent.once('timeout', () => sent.destroy(new Error('no answer')));
    sent.once('error', reject);
    sent.end();
  });
}

function descendants(pid: number): number[] {
  let children: number[] = [];
  try {
    children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .trim()
      .split(/\s+/)
      .filter(Boolean)
      .map(Number);
  } catch {
    // it has ended
  }
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function signalPid(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // it has ended already
  }
}
