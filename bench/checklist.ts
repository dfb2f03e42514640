// The same checklist three times: as a runbook, as the shell script that one writes by hand, as an Ansible playbook.
// Every call to a service takes 50 ms longer than it would; what the tool itself costs is its wall time without the calls
// and without the second for which it watches the database.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Redis } from 'ioredis';
import { startChat } from '../examples/services/chat.ts';
import { startStatuspage } from '../examples/services/statuspage.ts';
import { type Call, criticalPath, type DelayProxy, startDelayProxy } from './delay-proxy.ts';
import { interleaved, must, run, type Spread, spread } from './measure.ts';

export const DELAY_MS = 50;
export const FOR_MS = 1000;
const TOKEN = 'bench-token';
const CRONTAB = ['0 3 * * * /usr/local/bin/backup.sh', '*/5 * * * * /usr/local/bin/heartbeat.sh', ''].join('\n');

export interface Tool {
  name: string;
  /** absent: it ran */
  missing?: string | undefined;
  wall?: Spread | undefined;
  calls?: Spread | undefined;
  criticalPath?: Spread | undefined;
  /** wall - critical path - for */
  overhead?: Spread | undefined;
  /** of the last round, milliseconds since the start: to see where the time goes */
  timeline?: { to: string; from: number; until: number }[] | undefined;
}

export async function checklist(root: string, rounds: number): Promise<Tool[]> {
  const world = await startWorld();
  const samples = new Map<string, { wall: number; calls: Call[]; began: number }[]>();
  const measure = (name: string, work: () => Promise<{ began: number; ended: number }>) => async () => {
    await world.reset();
    const { began, ended } = await work();
    const calls = world.calls();
    world.check(name);
    samples.set(name, [...(samples.get(name) ?? []), { wall: ended - began, calls, began }]);
    return ended - began;
  };
  const { folder } = world;
  const home = folder;
  const missing = (programs: readonly string[]) => {
    const lacking = programs.filter((program) => !onPath(program));
    return lacking.length === 0 ? undefined : `${lacking.join(', ')} is not installed`;
  };
  const tools = [
    {
      name: 'maint start --yes',
      work: async () => {
        const argv = ['start', '--yes', '--window', '30m', '--runbook', 'runbook.yaml', '--state', world.freshState()];
        return must(await run(process.execPath, [join(root, 'bin/run.js'), ...argv], { cwd: folder, home }), 'maint');
      },
    },
    {
      name: 'shell script',
      missing: missing(['bash', 'curl', 'redis-cli', 'sqlite3', 'sed']),
      work: async () => must(await run('bash', ['checklist.sh'], { cwd: folder, home }), 'the shell script'),
    },
    {
      name: 'Ansible playbook',
      missing: missing(['ansible-playbook', 'redis-cli', 'sqlite3']),
      work: async () =>
        must(
          await run('ansible-playbook', ['-i', 'localhost,', '-c', 'local', 'checklist.yaml'], { cwd: folder, home }),
          'Ansible',
        ),
    },
  ];
  try {
    const there = tools.filter((tool) => tool.missing === undefined);
    await interleaved(rounds, Object.fromEntries(there.map(({ name, work }) => [name, measure(name, work)])));
    return tools.map(({ name, missing }): Tool => {
      if (missing !== undefined) return { name, missing };
      // the first round warmed up
      const taken = samples.get(name)!.slice(1);
      const last = taken.at(-1)!;
      return {
        name,
        wall: spread(taken.map(({ wall }) => wall)),
        calls: spread(taken.map(({ calls }) => calls.length)),
        criticalPath: spread(taken.map(({ calls }) => criticalPath(calls))),
        overhead: spread(taken.map(({ wall, calls }) => wall - criticalPath(calls) - FOR_MS)),
        timeline: last.calls.map(({ to, began, ended }) => ({
          to,
          from: Math.round(began - last.began),
          until: Math.round(ended - last.began),
        })),
      };
    });
  } finally {
    await world.stop();
  }
}

async function startWorld() {
  const folder = mkdtempSync(join(tmpdir(), 'maint-bench-checklist-'));
  const socket = join(folder, 'redis.sock');
  const argv = ['--port', '0', '--unixsocket', socket, '--dir', folder, '--save', '', '--appendonly', 'no'];
  const redis = spawn('redis-server', argv, { stdio: 'ignore' });
  const direct = new Redis({ path: socket, retryStrategy: () => 20 });
  direct.on('error', () => undefined);
  const api = await listen(async (method) => {
    if (method === 'PURGE') return { status: 200, body: { purged: true } };
    if ((await direct.exists('maint:read_only')) === 0) return { status: 422, body: { code: 'invalid' } };
    return { status: 503, body: { code: 'read_only' } };
  });
  const ports = { statuspage: 0, chat: 0 };
  let services: { stop(): Promise<void>; violations(): string[] }[] = [];
  const reset = async () => {
    for (const service of services) await service.stop();
    const statuspage = await startStatuspage({
      token: TOKEN,
      page: 'bench',
      components: ['API'],
      limit: 100_000,
      port: ports.statuspage,
    });
    const chat = await startChat({ token: TOKEN, channels: ['ops'], limit: 100_000, port: ports.chat });
    Object.assign(ports, { statuspage: statuspage.port, chat: chat.port });
    services = [statuspage, chat];
    await direct.flushall();
    writeFileSync(join(folder, 'crontab'), CRONTAB);
    for (const proxy of proxies) proxy.calls.length = 0;
  };
  const proxies: DelayProxy[] = [];
  await reset();
  const host = '127.0.0.1';
  for (const [to, at] of [
    ['redis', { path: socket }],
    ['statuspage', { host, port: ports.statuspage }],
    ['slack', { host, port: ports.chat }],
    ['api', { host, port: (api.address() as AddressInfo).port }],
  ] as const)
    proxies.push(await startDelayProxy(to, at, DELAY_MS));
  const [redisPort, statuspagePort, slackPort, apiPort] = proxies.map(({ port }) => port) as [
    number,
    number,
    number,
    number,
  ];
  const db = new DatabaseSync(join(folder, 'app.db'));
  db.exec("create table documents (id integer primary key, title text); insert into documents (title) values ('one')");
  db.close();
  for (const [name, text] of Object.entries(files({ redisPort, statuspagePort, slackPort, apiPort })))
    writeFileSync(join(folder, name), text);
  let states = 0;
  return {
    folder,
    reset,
    calls: () => proxies.flatMap(({ calls }) => calls.map((call) => ({ ...call }))),
    freshState: () => join(folder, `state-${states++}.db`),
    /** That the work was done: a tool that does less is faster. */
    check(name: string) {
      const wrong = services.flatMap((service) => service.violations());
      if (wrong.length > 0) throw new Error(`${name}: ${wrong.join('; ')}`);
      const text = readFileSync(join(folder, 'crontab'), 'utf8');
      if (!/^#.*backup\.sh$/m.test(text) || !/^\*\/5.*heartbeat\.sh$/m.test(text))
        throw new Error(`${name} left the crontab as\n${text}`);
      for (const proxy of proxies) if (proxy.calls.length === 0) throw new Error(`${name} left out a service`);
    },
    async stop() {
      for (const service of services) await service.stop();
      for (const proxy of proxies) await proxy.stop();
      direct.disconnect();
      api.closeAllConnections();
      await new Promise((resolve) => api.close(resolve));
      await new Promise((resolve) => redis.once('exit', resolve).kill());
      rmSync(folder, { recursive: true });
    },
  };
}

async function listen(answer: (method: string) => Promise<{ status: number; body: object }>): Promise<Server> {
  const server = createServer((request, response) => {
    request.resume().on('end', async () => {
      const { status, body } = await answer(request.method ?? '');
      const type = status === 503 ? 'application/problem+json' : 'application/json';
      response.writeHead(status, { 'content-type': type, 'retry-after': '60' }).end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

interface Ports {
  redisPort: number;
  statuspagePort: number;
  slackPort: number;
  apiPort: number;
}

function files({ redisPort, statuspagePort, slackPort, apiPort }: Ports): Record<string, string> {
  const statuspage = `http://127.0.0.1:${statuspagePort}`;
  const slack = `http://127.0.0.1:${slackPort}`;
  const api = `http://127.0.0.1:${apiPort}`;
  const incident = {
    incident: { name: 'Maintenance', status: 'investigating', body: 'Read-only.', impact_override: 'maintenance' },
  };
  const message = { channel: channelId(), text: 'prod is read-only.' };
  const digest = "sqlite3 app.db 'select * from documents' | sha256sum";
  return {
    'surfaces.yaml': `version: 1
surfaces:
  - name: documents
    kind: http
    match: { methods: [POST], path: /documents }
    disposition: refuse
    canary: { method: POST, path: /documents, body: {} }
`,
    'runbook.yaml': `version: 1
environment: prod
contact: "#ops"
surfaces: ./surfaces.yaml
steps:
  - { uses: flag/redis, with: { url: "redis://127.0.0.1:${redisPort}" } }
  - parallel:
      - { uses: notice/statuspage, with: { url: "${statuspage}", page: bench, token: "\${file:./token}", components: [API] } }
      - { uses: notice/slack, with: { url: "${slack}", channel: "#ops", token: "\${file:./token}" } }
  - { uses: crons/crontab, with: { file: ./crontab, keep: [heartbeat.sh] } }
  - { uses: cache/http, with: { url: "${api}/banner" } }
  - { uses: verify/endpoints, with: { url: "${api}" } }
  - { uses: no-writes/sqlite, with: { path: ./app.db, for: ${FOR_MS / 1000}s } }
`,
    token: TOKEN,
    'incident.json': JSON.stringify(incident),
    'message.json': JSON.stringify(message),
    'checklist.sh': `set -eu
redis-cli -h 127.0.0.1 -p ${redisPort} set maint:read_only 1 >/dev/null
curl -sf -o /dev/null -H 'Authorization: OAuth ${TOKEN}' -H 'Content-Type: application/json' -d @incident.json ${statuspage}/v1/pages/bench/incidents &
statuspage=$!
curl -sf -o /dev/null -H 'Authorization: Bearer ${TOKEN}' -H 'Content-Type: application/json; charset=utf-8' -d @message.json ${slack}/api/chat.postMessage
wait $statuspage
sed -i '/heartbeat.sh/!s/^[^#]/# &/' crontab
curl -sf -o /dev/null -X PURGE ${api}/banner
status=$(curl -s -o /dev/null -w '%{http_code}' -H 'Content-Type: application/json' -d '{}' ${api}/documents)
[ "$status" = 503 ]
before=$(${digest})
sleep ${FOR_MS / 1000}
[ "$before" = "$(${digest})" ]
`,
    'checklist.yaml': `- hosts: all
  gather_facts: false
  tasks:
    - command: redis-cli -h 127.0.0.1 -p ${redisPort} set maint:read_only 1
    - uri: { url: "${statuspage}/v1/pages/bench/incidents", method: POST, src: incident.json, status_code: 201, headers: { Authorization: OAuth ${TOKEN}, Content-Type: application/json } }
    - uri: { url: "${slack}/api/chat.postMessage", method: POST, src: message.json, headers: { Authorization: Bearer ${TOKEN}, Content-Type: application/json; charset=utf-8 } }
    - replace: { path: "{{ playbook_dir }}/crontab", regexp: '^(?!#)(.*backup\\.sh)$', replace: '# \\1' }
    - uri: { url: "${api}/banner", method: PURGE }
    - uri: { url: "${api}/documents", method: POST, body: {}, body_format: json, status_code: 503 }
    - shell: ${digest}
      args: { chdir: "{{ playbook_dir }}" }
      register: before
    - command: sleep ${FOR_MS / 1000}
    - shell: ${digest}
      args: { chdir: "{{ playbook_dir }}" }
      register: after
      failed_when: after.stdout != before.stdout
`,
  };
}

/** The stand-in gives its first channel this id. */
function channelId(): string {
  return 'C00000001';
}

function onPath(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, program)));
}
