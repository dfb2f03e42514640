// The README's examples, as they stand there, and the built package on the oldest Node.js that this machine has.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { delimiter, join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';

const root = resolve(import.meta.dirname, '../../..');
const blocks = [...readFileSync(join(root, 'packages/client/README.md'), 'utf8').matchAll(/```js\n(.*?)```/gs)].map(
  (m) => m[1] as string,
);

let folder: string;
let server: Server;
let api: string;
/** Requests to `/notes` of the example under way. */
let notes = 0;
let keys = new Set<unknown>();

beforeAll(async () => {
  // Inside the checkout, so that the examples find their packages.
  mkdirSync(join(root, '.tmp'), { recursive: true });
  folder = mkdtempSync(join(root, '.tmp', 'client-readme-'));
  server = createServer((request, response) => {
    const problem = (after: number, until: string) =>
      response
        .writeHead(503, { 'retry-after': String(after), 'content-type': 'application/problem+json' })
        .end(JSON.stringify({ code: 'read_only', until }));
    if (request.url === '/closed-for-long') return problem(600, '2100-01-01T00:00:00Z');
    if (request.url === '/queued')
      return response.writeHead(202, { location: '/receipts/r1', 'retry-after': '0' }).end();
    if (request.url === '/receipts/r1') {
      const receipt = { receipt: 'r1', state: 'applied', acceptedAt: '', settledAt: '', status: 201, reason: null };
      return response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(receipt));
    }
    notes += 1;
    keys.add(request.headers['idempotency-key']);
    if (notes <= 2) return problem(0, new Date().toISOString());
    return response.writeHead(201).end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  api = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
  rmSync(folder, { recursive: true, force: true });
});

async function outputOf(node: string, args: string[]): Promise<string> {
  notes = 0;
  keys = new Set();
  const child = spawn(node, args, { env: { ...process.env, NODE_OPTIONS: '', API_URL: api } });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await once(child, 'close');
  return text.trim();
}

async function example(word: string): Promise<string> {
  const found = blocks.filter((block) => block.includes(word));
  expect(found).toHaveLength(1);
  const file = join(folder, `example-${word.replace(/\W/g, '')}.mjs`);
  writeFileSync(file, found[0] as string);
  return await outputOf(process.execPath, ['--conditions=maint-source', '--disable-warning=ExperimentalWarning', file]);
}

test.each(['console.log(answer.status);', 'axios.create'])(
  'a write goes through after two refusals: %s',
  async (word) => {
    expect(await example(word)).toBe('201');
    expect(notes).toBe(3);
    expect(keys.size).toBe(1);
  },
);

test('the one that gives up says until when', async () => {
  const [code, message, until] = (await example('closed-for-long')).split('\n');
  expect([code, until]).toEqual(['past_deadline', '2100-01-01T00:00:00Z']);
  expect(message).toBe(
    `POST ${api}/closed-for-long: 503 read_only until 2100-01-01T00:00:00Z; that is past the deadline of 2 s. Try again after 2100-01-01T00:00:00Z, with the same Idempotency-Key. Or wait for it: a larger deadlineMs.`,
  );
});

test('the one that waits for a receipt', async () => {
  expect(await example('waitForReceipt(answer')).toBe('202 applied 201');
});

test('the one that tells of its retries', async () => {
  const lines = (await example('onRetry')).split('\n');
  expect(lines).toEqual([
    expect.stringMatching(/^POST http:.*\/notes: 503, again in [01] s$/),
    expect.stringMatching(/again in [01] s$/),
    '2',
  ]);
});

test('the README has no example that is not run here', () => {
  expect(blocks).toHaveLength(5);
});

test('the built package: plain JavaScript with types, by import and by require, on the oldest Node.js here', async () => {
  const dist = join(folder, 'dist');
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  execFileSync(process.execPath, [tsc, '-p', join(root, 'packages/client'), '--outDir', dist], { stdio: 'pipe' });
  expect(readFileSync(join(dist, 'index.d.ts'), 'utf8')).toContain('createFetch');
  writeFileSync(join(dist, 'package.json'), '{"type":"module"}');
  const code = readdirSync(dist).filter((name) => name.endsWith('.js'));
  // Browsers have none of Node's modules, and a bundler would bring stand-ins.
  expect(code.filter((name) => /from '(?!\.\/)/.test(readFileSync(join(dist, name), 'utf8')))).toEqual([]);
  const use = join(folder, 'use.ts');
  writeFileSync(
    use,
    `import { createFetch, waitForReceipt } from './dist/index.js';
    const again: typeof fetch = createFetch({ deadlineMs: 5000 });
    export const state: string = (await waitForReceipt(await again('/notes'))).state;`,
  );
  const browser = ['--lib', 'es2022,dom,dom.iterable', '--types', ''];
  const strict = ['--ignoreConfig', '--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022'];
  execFileSync(process.execPath, [tsc, ...strict, ...browser, use], { stdio: 'pipe' });
  const index = JSON.stringify(join(dist, 'index.js'));
  const file = join(folder, 'built.mjs');
  writeFileSync(
    file,
    `import { createRequire } from 'node:module';
    import axios from 'axios';
    import { createBudget, createFetch, installOn, sharedBudget, waitForReceipt } from ${index};
    const same = createRequire(import.meta.url)(${index}).createFetch === createFetch;
    const url = process.env.API_URL;
    const options = { budget: createBudget({ burst: 20 }), maxJitterMs: 50 };
    const body = new FormData();
    body.set('a', '1');
    const first = await createFetch(options)(url + '/notes', { method: 'POST', body });
    const request = await createFetch(options)(new Request(url + '/notes', { method: 'POST', body: 'x' }));
    const api = axios.create({ baseURL: url });
    installOn(api, options);
    const third = await api.post('/notes', { a: 1 });
    const receipt = await waitForReceipt(await api.post('/queued', 'x'));
    const late = await createFetch(options)(url + '/closed-for-long', { method: 'POST', body: 'x', deadlineMs: 2000 }).catch((e) => e.code);
    console.log(first.status, request.status, third.status, receipt.state, late, same, sharedBudget().counts().requests);`,
  );
  const nodes = (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((path) => join(path, 'node'))
    .filter(existsSync);
  const env = { ...process.env, NODE_OPTIONS: '' };
  const versions = new Map(
    nodes.map((node) => [execFileSync(node, ['-p', 'process.version'], { env }).toString().trim(), node]),
  );
  const [version, node] = [...versions].sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))[0] as [
    string,
    string,
  ];
  console.log(`built client run on ${version}`);
  expect(await outputOf(node, [file])).toMatch(/^201 201 201 applied past_deadline true 0$/m);
});
