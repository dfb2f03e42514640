// What clients that no one here wrote do with the guard's answers: each sends the same requests to a real guard, whose
// window does not end, and is counted. `node -C maint-source test/docs/clients-table.ts` prints the table of
// docs/clients.md, with --write it puts it there; --json is for the test.
//
// Not under jest: its tests have globals of their own, and clients compare with instanceof.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import axios from 'axios';
import axiosRetry, { isRetryableError } from 'axios-retry';
import got from 'got';
import ky from 'ky';
import { Agent, RetryAgent, request } from 'undici';
import { createBudget, createFetch, installOn, waitForReceipt } from '../../packages/client/src/index.ts';
import { createGuard, type Receipt } from '../../packages/guard/src/index.ts';

const RETRY_AFTER = 4;
/** Each is told to try again twice, so that the counts compare. */
const RETRIES = 2;
/** A client that waits as told comes this much early at most. */
const EARLY_MS = 50;

const CASES = [
  { name: '503 GET', method: 'GET', path: '/export' },
  { name: '503 POST', method: 'POST', path: '/notes' },
  { name: '423 GET', method: 'GET', path: '/locked-export' },
  { name: '423 POST', method: 'POST', path: '/locked' },
  { name: '409 POST', method: 'POST', path: '/in-flight' },
  { name: '422 POST', method: 'POST', path: '/reused' },
  { name: '202 POST', method: 'POST', path: '/kept' },
] as const;

const SURFACES = [
  { name: 'export', match: { methods: ['GET'], path: '/export' } },
  { name: 'locked-export', match: { methods: ['GET'], path: '/locked-export' }, status: 423 },
  { name: 'locked', match: { path: '/locked' }, status: 423 },
  { name: 'in-flight', match: { path: '/in-flight' }, disposition: 'buffer' },
  { name: 'reused', match: { path: '/reused' }, disposition: 'buffer' },
  { name: 'kept', match: { path: '/kept' }, disposition: 'buffer' },
];

interface Request {
  readonly url: string;
  readonly method: 'GET' | 'POST';
  readonly headers: Record<string, string>;
  readonly body: string | undefined;
}

interface Client {
  readonly name: string;
  /** What is measured here is the server's to tell, so an error is as good as an answer. */
  send(request: Request): Promise<unknown>;
  /** Why it cannot be measured on this machine. */
  readonly missing?: string;
}

export interface Row {
  readonly name: string;
  readonly cells: readonly string[];
  readonly missing?: string;
}

function version(name: string): string {
  const file = fileURLToPath(new URL(`../../node_modules/${name}/package.json`, import.meta.url));
  return `${name} ${(JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version}`;
}

function onPath(program: string): string | undefined {
  return (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, program))
    .find(existsSync);
}

/** Resolves whatever it ends with: the status is not what is measured. */
async function run(program: string, args: readonly string[]): Promise<number> {
  return await new Promise((resolve) => {
    const child = execFile(program, args, () => resolve(child.exitCode ?? -1));
  });
}

function curl(name: string, args: readonly string[]): Client {
  const program = onPath('curl');
  return {
    name: `\`curl ${name}\``,
    ...(program ? {} : { missing: 'curl is not installed' }),
    async send({ url, method, headers, body }) {
      const data = body === undefined ? [] : ['--data', body];
      const head = Object.entries(headers).flatMap(([key, value]) => ['-H', `${key}: ${value}`]);
      await run(program as string, ['-sS', '-X', method, ...head, ...data, ...args, url]);
    },
  };
}

async function python(): Promise<string | undefined> {
  for (const program of [onPath('python3'), '/usr/bin/python3']) {
    if (program && existsSync(program) && (await run(program, ['-c', 'import urllib3'])) === 0) return program;
  }
  return undefined;
}

function urllib3(program: string | undefined, name: string, retry: string): Client {
  return {
    name,
    ...(program ? {} : { missing: 'python3 has no urllib3 (apt-get install python3-urllib3)' }),
    async send({ url, method, headers, body }) {
      const code = `import sys, json, urllib3
url, method, headers, body = json.loads(sys.argv[1])
urllib3.PoolManager(retries=${retry}).request(method, url, headers=headers, body=body)`;
      await run(program as string, ['-c', code, JSON.stringify([url, method, headers, body ?? null])]);
    },
  };
}

function throughAxios(name: string, prepare: (api: ReturnType<typeof axios.create>) => void): Client {
  const api = axios.create();
  prepare(api);
  return { name, send: ({ url, method, headers, body }) => api.request({ url, method, headers, data: body }) };
}

function throughUndici(name: string, more: object): Client {
  const dispatcher = new RetryAgent(new Agent(), { maxRetries: RETRIES, ...more });
  return {
    name,
    send: async ({ url, ...init }) => await (await request(url, { ...definite(init), dispatcher })).body.text(),
  };
}

async function clients(): Promise<Client[]> {
  const program = await python();
  const anyMethod = ['get', 'post'] as const;
  const patient = { budget: createBudget({ burst: 1000 }), maxAttempts: RETRIES + 1 };
  const again = createFetch(patient);
  return [
    {
      name: '`fetch` of Node.js',
      send: async ({ url, ...init }) => await (await fetch(url, init as RequestInit)).text(),
    },
    throughAxios(version('axios'), () => {}),
    curl('--retry', ['--retry', String(RETRIES)]),
    curl('--retry --retry-all-errors -f', ['--retry', String(RETRIES), '--retry-all-errors', '-f']),
    {
      name: version('ky'),
      send: async ({ url, ...init }) => await ky(url, { ...(init as object), timeout: false, retry: RETRIES }),
    },
    {
      name: 'ky, `methods` with post',
      send: async ({ url, ...init }) =>
        await ky(url, { ...(init as object), timeout: false, retry: { limit: RETRIES, methods: [...anyMethod] } }),
    },
    {
      name: version('got'),
      send: async ({ url, ...init }) => await got(url, { ...definite(init), retry: { limit: RETRIES } }),
    },
    {
      name: 'got, `methods` with POST',
      send: async ({ url, ...init }) =>
        await got(url, { ...definite(init), retry: { limit: RETRIES, methods: ['GET', 'POST'] } }),
    },
    throughAxios(version('axios-retry'), (api) => axiosRetry(api, { retries: RETRIES })),
    throughAxios('axios-retry, `retryCondition: isRetryableError`', (api) =>
      axiosRetry(api, { retries: RETRIES, retryCondition: isRetryableError }),
    ),
    throughUndici(`${version('undici')}, \`RetryAgent\``, {}),
    throughUndici('undici, `RetryAgent`, `methods` with POST', { methods: ['GET', 'POST'] }),
    urllib3(program, 'Python urllib3', `urllib3.Retry(${RETRIES})`),
    urllib3(program, 'Python urllib3, `allowed_methods=None`', `urllib3.Retry(${RETRIES}, allowed_methods=None)`),
    {
      name: '**@maint/client**, `createFetch`',
      async send({ url, ...init }) {
        const answer = await again(url, init as RequestInit);
        if (answer.status === 202) await waitForReceipt(answer);
      },
    },
    {
      ...throughAxios('**@maint/client**, `installOn(axios)`', (api) => void installOn(api, patient)),
    },
  ];
}

/** got minds keys that are there and undefined. */
function definite({ body, ...init }: Omit<Request, 'url'>): object {
  return body === undefined ? init : { ...init, body };
}

async function measure(): Promise<Row[]> {
  const now = Date.now();
  const held = { until: new Date(now + RETRY_AFTER * 1000).toISOString(), reason: 'reindex' };
  const receipt: Receipt = {
    receipt: 'receipt-0123456789abcdef',
    state: 'applied',
    acceptedAt: new Date(now).toISOString(),
    settledAt: new Date(now).toISOString(),
    status: 201,
    reason: null,
  };
  const guard = createGuard({
    source: { start: (sink) => sink.document(JSON.stringify({ version: 1, holders: { w: held } })), close() {} },
    surfaces: SURFACES,
    authorize: 'elsewhere',
    queue: {
      async accept({ surface }) {
        if (surface === 'in-flight') return { is: 'in_flight' };
        if (surface === 'reused') return { is: 'reused' };
        return { is: 'accepted', receipt: receipt.receipt, replayed: false };
      },
      receipt: async () => receipt,
      depth: () => ({ queued: 0, bytes: 0, oldestMs: null }),
      pending: () => false,
      busy: async () => false,
    },
    // The window does not end, and Retry-After is the same for all.
    clock: () => now,
    random: () => 0,
    log: () => {},
  });
  const seen = new Map<string, number[]>();
  const told = new Map<string, number>();
  let receipts = 0;
  const guarded = guard.http((_request, response) => response.end());
  const server = createServer((request, response) => {
    if (request.url?.includes('/receipts/')) receipts += 1;
    const id = String(request.headers['x-case'] ?? '');
    const times = seen.get(id);
    if (times) times.push(performance.now());
    else seen.set(id, [performance.now()]);
    const writeHead = response.writeHead.bind(response) as (...args: unknown[]) => unknown;
    response.writeHead = ((status: number, headers: Record<string, string>) => {
      told.set(id, Number(headers['Retry-After']));
      return writeHead(status, headers);
    }) as typeof response.writeHead;
    guarded(request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  async function row({ name, send, missing }: Client, index: number): Promise<Row> {
    if (missing !== undefined) return { name, cells: [], missing };
    const cells = await Promise.all(
      CASES.map(async ({ method, path }, at) => {
        const id = `${index}-${at}`;
        const headers = { 'content-type': 'text/plain', 'idempotency-key': `"${id}"`, 'x-case': id };
        const end = await send({ url: base + path, method, headers, body: method === 'GET' ? undefined : 'x' }).then(
          () => null,
          (error: unknown) => error,
        );
        const times = seen.get(id);
        if (!times) throw new Error(`${name} sent nothing to ${path}`, { cause: end });
        return cell(times, told.get(id) ?? Number.NaN);
      }),
    );
    return { name, cells };
  }

  try {
    const rows = await Promise.all((await clients()).map(row));
    // The one that asks for receipts is ours.
    if (receipts !== 1) throw new Error(`${receipts} receipts were asked for`);
    return rows;
  } finally {
    await guard.close();
    server.closeAllConnections();
    server.close();
  }
}

function cell(times: readonly number[], told: number): string {
  if (times.length === 1) return '1';
  if (Number.isNaN(told)) return `${times.length}, unasked`;
  const gaps = times.slice(1).map((time, n) => time - times[n]!);
  return `${times.length}, ${Math.min(...gaps) >= told * 1000 - EARLY_MS ? 'waits' : 'too early'}`;
}

function line({ name, cells }: Row): string {
  return `| ${[name, ...cells].join(' | ')} |`;
}

function head(): string[] {
  return [line({ name: '', cells: CASES.map(({ name }) => name) }), `|${' --- |'.repeat(CASES.length + 1)}`];
}

const DOCUMENT = fileURLToPath(new URL('../../docs/clients.md', import.meta.url));
const TABLE = /(<!-- table -->\n)(.*?)(\n<!-- \/table -->)/s;

if (process.argv.includes('--names')) {
  console.log(JSON.stringify((await clients()).map(({ name, missing }) => ({ name, missing }))));
} else {
  const rows = await measure();
  const missing = rows.filter((each) => each.missing !== undefined);
  const table = [...head(), ...rows.map(line)].join('\n');
  console.log(process.argv.includes('--json') ? JSON.stringify(rows) : table);
  if (process.argv.includes('--write')) {
    if (missing.length > 0) throw new Error(missing.map((each) => `${each.name}: ${each.missing}`).join('\n'));
    writeFileSync(
      DOCUMENT,
      readFileSync(DOCUMENT, 'utf8').replace(TABLE, (_, from, _old, to) => from + table + to),
    );
  }
}
// Agents keep their sockets.
process.exit();
