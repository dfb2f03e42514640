// The outer world of the checklist: a real Redis, PostgreSQL and Alertmanager, the example's page and chat, an API that
// refuses while the flag is held, and a proxy before each of them that delays and counts. Loopback, one folder.
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { Redis } from 'ioredis';
import pg from 'pg';
import { startChat } from '../examples/services/chat.ts';
import { startStatuspage } from '../examples/services/statuspage.ts';
import { type Call, type DelayProxy, startDelayProxy } from './delay-proxy.ts';

const TOKEN = 'bench-token';
const CRONTAB = ['0 3 * * * /usr/local/bin/backup.sh', '*/5 * * * * /usr/local/bin/heartbeat.sh', ''].join('\n');
const HEARTBEAT_MS = 200;
const KNOCK_MS = 5;

export interface World {
  folder: string;
  /** for the scripts */
  env: Record<string, string>;
  delay(ms: number): void;
  /** as before the first start, nothing counted */
  reset(): Promise<void>;
  calls(): Call[];
  forget(): void;
  /** throws where a start, or an end, left something out */
  check(name: string, held: boolean): void;
  /** how long the API has refused since reset(), by performance.now() */
  refused(): number;
  stop(): Promise<void>;
}

/** The programs that it needs and that are not there. */
export function missingPrograms(): string[] {
  const wanted = ['bash', 'curl', 'jq', 'redis-cli', 'redis-server', 'psql', 'sed'];
  const lacking = wanted.filter((name) => program(name) === undefined);
  if (program('postgres') === undefined) lacking.push('postgres');
  if (alertmanager() === undefined) lacking.push('prometheus-alertmanager');
  return lacking;
}

export async function startWorld(): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'maint-bench-checklist-'));
  chmodSync(folder, 0o755);
  const stops: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
  const host = '127.0.0.1';
  let delayMs = 0;
  const redisSocket = join(folder, 'redis.sock');
  stops.push(await server('redis-server', ['--port', '0', '--unixsocket', redisSocket, '--dir', folder, '--save', '']));
  const direct = new Redis({ path: redisSocket, retryStrategy: () => 20 });
  direct.on('error', () => undefined);
  stops.push(() => direct.disconnect());
  const postgresPort = await startPostgres(folder, stops);
  const db = new pg.Client({ host, port: postgresPort, user: 'postgres', database: 'postgres' });
  await db.connect();
  await db.query(`create extension pg_walinspect; create table documents (id bigserial primary key, title text);
    insert into documents (title) values ('one'); create table heartbeat (at timestamptz);
    create role maint login; grant pg_monitor to maint;
    grant execute on function pg_get_wal_records_info(pg_lsn, pg_lsn) to maint`);
  const beating = setInterval(
    () => void db.query('insert into heartbeat values (now())').catch(() => undefined),
    HEARTBEAT_MS,
  );
  stops.push(async () => {
    clearInterval(beating);
    await db.end();
  });
  const alertsPort = await freePort();
  writeFileSync(join(folder, 'alertmanager.yml'), 'route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n');
  stops.push(
    await server(alertmanager()!, [
      ...[`--config.file=${join(folder, 'alertmanager.yml')}`, `--storage.path=${join(folder, 'alerts')}`],
      ...[`--web.listen-address=127.0.0.1:${alertsPort}`, '--cluster.listen-address='],
    ]),
  );
  await answers(`http://${host}:${alertsPort}/-/ready`);

  const api = createHttpServer((request, response) => {
    request.resume().on('end', async () => {
      const text = await direct.get('maint:read_only');
      const held = text !== null && Object.keys(JSON.parse(text).holders ?? {}).length > 0;
      const [status, body] =
        request.method === 'PURGE'
          ? [200, { purged: true }]
          : held
            ? [503, { code: 'read_only' }]
            : [422, { code: 'invalid' }];
      const type = status === 503 ? 'application/problem+json' : 'application/json';
      response.writeHead(status as number, { 'content-type': type, 'retry-after': '60' }).end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => void api.listen(0, host, resolve));
  stops.push(() => {
    api.closeAllConnections();
    api.close();
  });
  const apiPort = (api.address() as AddressInfo).port;

  const ports = { page: 0, chat: 0 };
  let services: { stop(): Promise<void>; violations(): string[] }[] = [];
  stops.push(async () => {
    for (const service of services) await service.stop();
  });
  const refusing = knocker(`http://${host}:${apiPort}/documents`);
  stops.push(refusing.stop);
  const reset = async () => {
    for (const service of services) await service.stop();
    const page = await startStatuspage({ ...at(ports.page), page: 'bench', components: ['API'] });
    const chat = await startChat({ ...at(ports.chat), channels: ['ops'] });
    Object.assign(ports, { page: page.port, chat: chat.port });
    services = [page, chat];
    await direct.flushall();
    for (const silence of await silences(alertsPort))
      await fetch(`http://${host}:${alertsPort}/api/v2/silence/${silence}`, { method: 'DELETE' });
    writeFileSync(join(folder, 'crontab'), CRONTAB);
    for (const proxy of proxies) proxy.reset();
    refusing.reset();
  };
  const proxies: DelayProxy[] = [];
  await reset();
  const behind = {
    redis: { path: redisSocket },
    page: ports.page,
    chat: ports.chat,
    alerts: alertsPort,
    api: apiPort,
    postgres: postgresPort,
  };
  for (const [to, where] of Object.entries(behind))
    proxies.push(await startDelayProxy(to, typeof where === 'number' ? { host, port: where } : where, () => delayMs));
  stops.push(async () => {
    for (const proxy of proxies) await proxy.stop();
  });
  const [redis, page, chat, alerts, front, postgres] = proxies.map(({ port }) => port);
  const env = {
    ...{ TOKEN, REDIS_PORT: String(redis), PAGE: `http://${host}:${page}`, CHAT: `http://${host}:${chat}` },
    ...{ ALERTS: `http://${host}:${alerts}`, API: `http://${host}:${front}` },
    DATABASE_URL: `postgres://maint@${host}:${postgres}/postgres`,
  };
  for (const [name, text] of Object.entries(files(env))) writeFileSync(join(folder, name), text);
  for (const name of ['checklist-start.sh', 'checklist-end.sh'])
    copyFileSync(new URL(name, import.meta.url), join(folder, name));
  return {
    folder,
    env,
    reset,
    delay: (ms) => {
      delayMs = ms;
    },
    calls: () => proxies.flatMap((proxy) => proxy.calls()),
    forget: () => {
      for (const proxy of proxies) proxy.reset();
    },
    refused: refusing.ms,
    check(name, held) {
      const wrong = services.flatMap((service) => service.violations());
      if (wrong.length > 0) throw new Error(`${name}: ${wrong.join('; ')}`);
      const text = readFileSync(join(folder, 'crontab'), 'utf8');
      const as = held ? /^#.*backup\.sh\n\*\/5.*heartbeat\.sh$/m.test(text) : text === CRONTAB;
      if (!as) throw new Error(`${name} left the crontab as\n${text}`);
      const silent = proxies.find((proxy) => proxy.calls().length === 0);
      if (silent) throw new Error(`${name} left out a service`);
    },
    async stop() {
      for (const stop of stops.reverse()) await stop();
    },
  };
}

function at(port: number) {
  return { token: TOKEN, limit: 100_000, port };
}

async function silences(port: number): Promise<string[]> {
  const all = (await (await fetch(`http://127.0.0.1:${port}/api/v2/silences`)).json()) as {
    id: string;
    status: { state: string };
  }[];
  return all.filter(({ status }) => status.state !== 'expired').map(({ id }) => id);
}

/** Asks the API itself, without a delay, whether it refuses: from the first refusal to the last one. */
function knocker(url: string) {
  let first: number | undefined;
  let last: number | undefined;
  let stopped = false;
  const knock = async () => {
    if (stopped) return;
    const asked = performance.now();
    const answer = await fetch(url, { method: 'POST', body: '{}' }).catch(() => undefined);
    await answer?.arrayBuffer();
    if (answer?.status === 503) {
      first ??= asked;
      last = performance.now();
    }
    setTimeout(knock, KNOCK_MS);
  };
  void knock();
  return {
    ms: () => (first === undefined || last === undefined ? 0 : last - first),
    reset: () => {
      first = last = undefined;
    },
    stop: () => {
      stopped = true;
    },
  };
}

function files(env: Record<string, string>): Record<string, string> {
  const incident = { name: 'Maintenance', status: 'investigating', body: 'Read-only.', impact_override: 'maintenance' };
  const steps: Record<string, string> = {
    flag: `  - { uses: flag/redis, with: { url: "redis://127.0.0.1:${env['REDIS_PORT']}" } }`,
    notices: `  - parallel:
      - { uses: notice/statuspage, with: { url: "${env['PAGE']}", page: bench, token: "\${file:./token}", components: [API] } }
      - { uses: notice/slack, with: { url: "${env['CHAT']}", channel: "#ops", token: "\${file:./token}" } }`,
    silence: `  - { uses: silence/alertmanager, with: { url: "${env['ALERTS']}", matchers: ['alertname=WritesRefused'] } }`,
    crons: `  - { uses: crons/crontab, with: { file: ./crontab, keep: [heartbeat.sh] } }`,
    cache: `  - { uses: cache/http, with: { url: "${env['API']}/banner" } }`,
    canary: `  - { uses: verify/endpoints, with: { url: "${env['API']}" } }`,
    writes: `  - { uses: no-writes/postgres, with: { url: "${env['DATABASE_URL']}", allow: [{ table: heartbeat, because: lag probe }], for: 1s } }`,
  };
  const runbook = (order: readonly string[]) =>
    `version: 1\nenvironment: prod\ncontact: "#ops"\nsoak: 1s\nsurfaces: ./surfaces.yaml\nsteps:\n${order.map((name) => steps[name]).join('\n')}\n`;
  return {
    'surfaces.yaml': `version: 1
surfaces:
  - name: documents
    kind: http
    match: { methods: [POST], path: /documents }
    disposition: refuse
    canary: { method: POST, path: /documents, body: {} }
`,
    'runbook.yaml': runbook(['flag', 'notices', 'silence', 'crons', 'cache', 'canary', 'writes']),
    'slow-first.yaml': runbook(['notices', 'silence', 'crons', 'flag', 'cache', 'canary', 'writes']),
    token: TOKEN,
    'incident.json': JSON.stringify({ incident }),
    // the stand-in gives its first channel this id
    'message.json': JSON.stringify({ channel: 'C00000001', text: 'prod is read-only.' }),
  };
}

/** Starts it, and returns how to end it. */
async function server(
  name: string,
  argv: readonly string[],
  uid?: { uid: number; gid: number },
): Promise<() => Promise<void>> {
  const child = spawn(program(name) ?? name, argv, { stdio: 'ignore', ...uid });
  await new Promise((resolve, reject) => child.once('spawn', () => resolve(undefined)).once('error', reject));
  return async () => {
    const gone = new Promise((resolve) => child.once('exit', resolve));
    if (child.exitCode === null && child.kill('SIGINT')) await gone;
  };
}

async function startPostgres(folder: string, stops: (() => unknown)[]): Promise<number> {
  const data = join(folder, 'postgres');
  execFileSync('mkdir', [data]);
  // it refuses to run as root
  const root = process.getuid?.() === 0;
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  const as = root ? { uid: id('-u'), gid: id('-g') } : undefined;
  if (as) chownSync(data, as.uid, as.gid);
  const argv = ['-D', data, '-A', 'trust', '-U', 'postgres', '--no-sync', '--locale=C', '--encoding=UTF8'];
  execFileSync(program('initdb') ?? 'initdb', argv, { stdio: 'ignore', cwd: data, ...as });
  const port = await freePort();
  const settings = ['-c', 'listen_addresses=127.0.0.1', '-c', 'fsync=off'];
  stops.push(await server('postgres', ['-D', data, '-p', String(port), '-k', data, ...settings], as));
  for (;;) {
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', database: 'postgres' });
    const there = await client.connect().then(
      () => true,
      () => false,
    );
    await client.end().catch(() => undefined);
    if (there) return port;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function answers(url: string): Promise<void> {
  while (!(await fetch(url).catch(() => undefined))?.ok) await new Promise((resolve) => setTimeout(resolve, 50));
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => void probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

function alertmanager(): string | undefined {
  return program('prometheus-alertmanager') ?? program('alertmanager');
}

/** Debian keeps PostgreSQL's programs off the PATH, by version. */
function program(name: string): string | undefined {
  const base = '/usr/lib/postgresql';
  const versions = existsSync(base) ? readdirSync(base).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [
    ...(process.env['PATH'] ?? '').split(delimiter),
    ...versions.map((version) => join(base, version, 'bin')),
  ];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}
