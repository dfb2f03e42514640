// The world of the fault sweep: the full checklist, with a proxy before every service. Every secret is a canary.
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Redis } from 'ioredis';
import { type Chat, startChat } from '../../examples/services/chat.ts';
import { type Statuspage, startStatuspage } from '../../examples/services/statuspage.ts';
import { createGuard, fileSource, redisSource } from '../../packages/guard/src/index.ts';
import type { State, Store, StoreName } from '../crash/stores.ts';
import { type Between, type Faulty, faultless, httpProxy, redisProxy } from './proxies.ts';
import { alertmanager, type Real, redis } from './real.ts';

/** No two alike, none a part of another, all with characters that URLs and JSON write otherwise. */
export const SECRETS = {
  PAGE_TOKEN: 'canary/page+1&"q"',
  CHAT_TOKEN_FILE: 'xoxb-canary-chat-2',
  REDIS_PASSWORD: 'canary redis@3/ä',
  ALERTS_PASSWORD: 'canary:alerts?4',
  CACHE_KEY: 'canary=cache;5',
  API_PASSWORD: 'canary#api%6',
} as const;
/** In the address of a state that is a server's; trusted without it. */
export const STATE_PASSWORD = 'canary?state/9&';

export const CRONTAB =
  '# jobs of the search service\nMAILTO=ops\n*/5 * * * * TOKEN=canary-in-a-line-7 /opt/reindex.sh --all\n0 3 * * * /opt/report.sh\n\n* * * * * /opt/heartbeat.sh\n';

/** Slow to start, and the same for every case. */
export interface Servers {
  redis: Real | undefined;
  alertmanager: Real | undefined;
  /** where the state is, unless it is a file of the case's folder */
  store: Store | undefined;
  /** with what is missing here, and that it is left out */
  missing: string[];
  stop(): Promise<void>;
}

export async function servers(kept: StoreName = 'sqlite'): Promise<Servers> {
  // its servers are those of the tests: for who has a runner, or has imported outside-jest
  const stores = kept === 'sqlite' ? undefined : await import('../crash/stores.ts');
  const noStore = stores?.missingStore(kept);
  const [flags, alerts, store] = await Promise.all([
    redis(SECRETS.REDIS_PASSWORD),
    alertmanager(),
    noStore === undefined ? stores?.openStore(kept) : undefined,
  ]);
  return {
    redis: flags,
    alertmanager: alerts,
    store,
    missing: [
      ...(noStore === undefined ? [] : [`${noStore}: the state is a file`]),
      ...(flags ? [] : ['redis-server is not installed: the flag is a file']),
      ...(alerts ? [] : ['prometheus-alertmanager is not installed: no silence is made']),
    ],
    async stop() {
      await flags?.stop();
      await alerts?.stop();
      await store?.stop();
    },
  };
}

export interface FaultWorld {
  folder: string;
  runbook: string;
  env: Record<string, string>;
  /** undefined: state/state.db of the folder */
  state: State | undefined;
  faulty: Faulty;
  proxies: Map<string, Between>;
  page: Statuspage;
  chat: Chat;
  /** everything that must come out as it went in, as text */
  essence(): Promise<string>;
  /** what must not be there at any time: a second incident, message or silence, the same words twice */
  doubles(): Promise<string[]>;
  /** what must not be there once the window is over */
  leftovers(): Promise<string[]>;
  stop(): Promise<void>;
}

export const STEPS: Readonly<Record<string, string>> = {
  flag: 'flag',
  page: 'statuspage',
  chat: 'slack',
  alerts: 'silence',
  cache: 'cache',
  api: 'refused',
};

export async function makeWorld({
  redis,
  alertmanager,
  store,
}: Pick<Servers, 'redis' | 'alertmanager' | 'store'>): Promise<FaultWorld> {
  const folder = mkdtempSync(join(tmpdir(), 'maint-faults-'));
  const stops: (() => Promise<unknown> | unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
  const faulty = faultless();
  const proxies = new Map<string, Between>();
  async function before(name: string, proxy: Promise<Between>): Promise<string> {
    const made = await proxy;
    proxies.set(name, made);
    stops.push(() => made.stop());
    return `127.0.0.1:${made.port}`;
  }

  mkdirSync(join(folder, 'flag'));
  writeFileSync(join(folder, 'app.cron'), CRONTAB);
  writeFileSync(join(folder, 'chat-token'), `${SECRETS.CHAT_TOKEN_FILE}\n`);
  const database = new DatabaseSync(join(folder, 'app.db'));
  database.exec(
    'create table documents (id integer primary key, text text); insert into documents (text) values (1), (2)',
  );
  database.close();

  const page = await startStatuspage({
    token: tokenOf(SECRETS.PAGE_TOKEN),
    page: 'abc123',
    components: [
      { name: 'api', id: 'api1' },
      { name: 'search', id: 'search1', status: 'degraded_performance' },
    ],
    limit: 100_000,
  });
  const chat = await startChat({
    token: SECRETS.CHAT_TOKEN_FILE,
    channels: [{ name: 'ops', id: 'C1' }],
    limit: 100_000,
  });
  stops.push(page.stop, chat.stop);

  const key = `maint:${folder}`;
  const direct = redis && new Redis({ port: redis.port, password: SECRETS.REDIS_PASSWORD, retryStrategy: () => null });
  direct?.on('error', () => undefined);
  if (direct) stops.push(() => direct.disconnect());
  const guard = createGuard({
    source: direct ? redisSource(direct, { key, channel: key }) : fileSource(join(folder, 'flag', 'flag.json')),
    surfaces: SURFACES,
    environment: 'faults',
    log: () => undefined,
  });
  stops.push(() => guard.close());
  await guard.ready();
  const api = createServer(
    guard.http((_request, response) =>
      response.writeHead(422, { 'content-type': 'application/json' }).end('{"code":"invalid"}'),
    ),
  );
  const apiUrl = await listening(api, stops);

  const cache = createServer((request, response) => {
    response.writeHead(request.headers['x-key'] === SECRETS.CACHE_KEY ? 200 : 403).end('purged');
  });
  const cacheUrl = await listening(cache, stops);

  const at = {
    page: await before(
      'page',
      httpProxy(
        faulty,
        'page',
        page.url,
        (path) =>
          path
            .replace('/v1/pages/abc123', '')
            .replace(/(\/incidents\/)(?!active_maintenance|scheduled)[^/]+/, '$1:id') || '/',
      ),
    ),
    chat: await before(
      'chat',
      httpProxy(faulty, 'chat', chat.url, (path) => path.replace('/api/', '')),
    ),
    cache: await before(
      'cache',
      httpProxy(faulty, 'cache', cacheUrl, (path) => path),
    ),
    api: await before(
      'api',
      httpProxy(faulty, 'api', apiUrl, (path) => path),
    ),
    alerts:
      alertmanager &&
      (await before(
        'alerts',
        httpProxy(faulty, 'alerts', `http://127.0.0.1:${alertmanager.port}`, (path) =>
          path.replace(/(\/silence\/).+/, '$1:id'),
        ),
      )),
    flag: redis && (await before('flag', redisProxy(faulty, 'flag', redis.port))),
  };
  const userinfo = (password: string) => `ops:${encodeURIComponent(password)}@`;
  const env: Record<string, string> = {
    PAGE_TOKEN: tokenOf(SECRETS.PAGE_TOKEN),
    REDIS_URL: `redis://:${encodeURIComponent(SECRETS.REDIS_PASSWORD)}@${at.flag}`,
    ALERTS_URL: `http://${userinfo(SECRETS.ALERTS_PASSWORD)}${at.alerts}`,
    CACHE_KEY: SECRETS.CACHE_KEY,
    API_URL: `http://${userinfo(SECRETS.API_PASSWORD)}${at.api}`,
  };
  const state = store?.state(folder);
  if (state) {
    const address = new URL(state.address);
    address.password = encodeURIComponent(STATE_PASSWORD);
    env['MAINT_STATE'] = address.href;
    stops.push(() => state.drop());
  }

  // the Alertmanager is everybody's
  const alert = `WritesRefused_${folder.replace(/\W/g, '')}`;
  const runbook = join(folder, 'runbook.yaml');
  writeFileSync(join(folder, 'surfaces.yaml'), `version: 1\nsurfaces: ${JSON.stringify(SURFACES.surfaces)}\n`);
  writeFileSync(
    runbook,
    `version: 1
name: full checklist
environment: faults
contact: "#ops"
status_page: https://status.example.com
surfaces: ./surfaces.yaml
soak: 1s
steps:
  - ${redis ? `{ id: flag, uses: flag/redis, with: { url: "\${REDIS_URL}", key: "${key}", channel: "${key}" } }` : '{ id: flag, uses: flag/file, with: { path: flag/flag.json } }'}
  - parallel:
      - { uses: notice/statuspage, with: { url: "http://${at.page}", page: abc123, token: "\${PAGE_TOKEN}", components: [api, search] } }
      - { uses: notice/slack, with: { url: "http://${at.chat}", channel: "#ops", token: "\${file:chat-token}" } }
${at.alerts ? `  - { uses: silence/alertmanager, with: { url: "\${ALERTS_URL}", matchers: ['alertname=${alert}'] } }\n` : ''}  - { uses: crons/crontab, with: { file: app.cron, keep: [heartbeat.sh] } }
  - { uses: cache/http, with: { url: "http://${at.cache}/banner", headers: { X-Key: "\${CACHE_KEY}" } } }
  - { id: refused, uses: verify/endpoints, with: { url: "\${API_URL}" } }
  - { uses: no-writes/sqlite, with: { path: app.db, for: 1s } }
`,
  );

  const silences = async (): Promise<{ status: { state: string } }[]> => {
    if (!alertmanager) return [];
    const answer = await fetch(
      `http://127.0.0.1:${alertmanager.port}/api/v2/silences?filter=alertname%3D%22${alert}%22`,
    );
    return (await answer.json()) as { status: { state: string } }[];
  };
  const flagFile = join(folder, 'flag', 'flag.json');
  const roots = () =>
    chat.messages('ops').filter((message) => message.thread_ts === undefined || message.thread_ts === message.ts);
  return {
    folder,
    runbook,
    env,
    state,
    faulty,
    proxies,
    page,
    chat,
    async essence() {
      return [
        direct ? flagText(await direct.get(key)) : existsSync(flagFile) ? readFileSync(flagFile, 'utf8') : 'no flag',
        lstatSync(join(folder, 'app.cron')).isFile() ? readFileSync(join(folder, 'app.cron'), 'latin1') : 'no crontab',
        JSON.stringify(page.components().map(({ name, status }) => ({ name, status }))),
      ].join('\n---\n');
    },
    async doubles() {
      const wrong = [...page.violations(), ...chat.violations()].map((what) => `violates the description: ${what}`);
      if (page.incidents().length > 1) wrong.push(`${page.incidents().length} incidents`);
      const told = page.notifications().map((one) => `${one.status} ${one.body}`);
      for (const [n, one] of told.entries())
        if (n > 0 && told[n - 1] === one) wrong.push(`subscribers were told twice: ${one.split('\n')[0]}`);
      if (roots().length > 1) wrong.push(`${roots().length} messages`);
      const replies = chat
        .messages('ops')
        .filter((message) => message.thread_ts !== undefined && message.thread_ts !== message.ts)
        .map((message) => message.text);
      for (const [n, one] of replies.entries())
        if (replies.indexOf(one) !== n) wrong.push(`the thread was told twice: ${one}`);
      const alive = (await silences()).filter(({ status }) => status.state !== 'expired').length;
      if (alive > 1) wrong.push(`${alive} silences`);
      return wrong;
    },
    async leftovers() {
      const wrong = page
        .incidents()
        .filter(({ status }) => status !== 'completed')
        .map(({ status }) => `an incident is left ${status}`);
      const all = await silences();
      const alive = all.filter(({ status }) => status.state !== 'expired').length;
      if (alive > 0) wrong.push(`${alive} of ${all.length} silences are left`);
      return wrong;
    },
    async stop() {
      await direct?.del(key).catch(() => undefined);
      for (const stop of stops.reverse()) await stop();
    },
  };
}

/** The stand-in reads a token up to the first blank. */
function tokenOf(secret: string): string {
  return secret.replaceAll(' ', '');
}

const SURFACES = {
  surfaces: ['documents', 'vectors'].map((name) => ({
    name,
    kind: 'http' as const,
    match: { methods: ['POST'], path: `/${name}` },
    disposition: 'refuse' as const,
    canary: { method: 'POST', path: `/${name}`, body: {} },
  })),
};

async function listening(server: ReturnType<typeof createServer>, stops: (() => unknown)[]): Promise<string> {
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  stops.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A laptop that knows only the state: a folder without runbook, surfaces or anything else. */
export function coldLaptop(world: FaultWorld): string {
  const folder = join(world.folder, 'cold');
  mkdirSync(join(folder, 'state'), { recursive: true });
  if (!world.state) copyFileSync(join(world.folder, 'state', 'state.db'), join(folder, 'state', 'state.db'));
  for (const name of ['runbook.yaml', 'surfaces.yaml']) rmSync(join(world.folder, name));
  return folder;
}

/** The empty document that an end leaves in Redis for a day is no flag. */
function flagText(text: string | null): string {
  return text === null || text === '{"version":1,"holders":{}}' ? 'no flag' : text;
}
