// The built package on the oldest Node.js that this machine has: kept writes, GraphQL, receipts, calls and the fence, on
// node:http, Express, Fastify and a fetch handler.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';

const root = resolve(import.meta.dirname, '../../..');
let folder: string;

beforeAll(() => {
  // Inside the checkout, so that the frameworks are found.
  mkdirSync(join(root, '.tmp'), { recursive: true });
  folder = mkdtempSync(join(root, '.tmp', 'guard-oldest-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const PROGRAM = `
import { strictEqual as same, deepStrictEqual as alike } from 'node:assert';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import express from 'express';
import { fastify } from 'fastify';
import { createGuard, fenced, httpSource } from './dist/index.js';

const kept = [];
const queue = {
  async accept(write) { kept.push(write); return { is: 'accepted', receipt: 'AAAAAAAAAAAAAAAAAAAAA' + kept.length, replayed: false }; },
  async receipt(id) { return { receipt: id, state: 'queued', acceptedAt: '', settledAt: null, status: null, reason: null }; },
  depth: () => ({ queued: kept.length, bytes: 0, oldestMs: null }),
  pending: () => true,
  busy: async () => false,
};
let sink;
const guard = createGuard({
  source: { start: (s) => { sink = s; }, close() {} },
  surfaces: [
    { name: 'notes', match: { methods: ['POST'], path: '/notes' }, disposition: 'buffer', order: { header: 'x-a' } },
    { name: 'api', kind: 'graphql', match: { path: '/graphql' } },
  ],
  queue, authorize: 'elsewhere', log() {},
});
async function handler(request) { return new Response(await request.text()); }
const app = express();
app.use(guard.express());
app.use(express.json({ limit: '1mb' }));
app.use((req, res) => res.end(JSON.stringify(req.body ?? '')));
const other = fastify({ forceCloseConnections: true });
await other.register(guard.fastify);
other.all('/*', async (req) => JSON.stringify(req.body ?? ''));
await other.ready();
const guarded = guard.fetch(handler);
async function bridge(req, res) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  const body = req.method === 'GET' ? undefined : Buffer.concat(chunks);
  const answer = await guarded(new Request('http://h' + req.url, { method: req.method, headers: req.headers, body }));
  res.writeHead(answer.status, Object.fromEntries(answer.headers)).end(Buffer.from(await answer.arrayBuffer()));
}
const servers = {
  node: createServer(guard.http((req, res) => req.pipe(res))),
  express: createServer(app),
  fastify: other.server,
  fetch: createServer(bridge),
};
const flag = JSON.stringify({ version: 1, holders: { w: { until: '2100-01-01T00:00:00Z' } } });
for (const [name, server] of Object.entries(servers)) {
  if (name === 'fastify') await other.listen({ port: 0, host: '127.0.0.1' });
  else { server.listen(0, '127.0.0.1'); await once(server, 'listening'); }
  const url = 'http://127.0.0.1:' + server.address().port;
  const post = async (path, body, headers = {}) => {
    const answer = await fetch(url + path, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } });
    return [answer.status, await answer.text()];
  };
  sink.document(null);
  alike(await post('/notes', '{"a":1}'), [200, '{"a":1}'], name);
  sink.document(flag);
  const before = kept.length;
  alike((await post('/notes', '{"a":1}'))[0], 400, name);
  alike((await post('/notes', '{"a":1}', { 'idempotency-key': '"k"' }))[0], 202, name);
  same(Buffer.from(kept.at(-1).body).toString(), '{"a":1}');
  same(kept.length, before + 1);
  const big = JSON.stringify({ query: '{ a }' + ' '.repeat(200000) });
  alike(await post('/graphql', big), [200, big], name);
  alike((await post('/graphql', '{"query":"mutation { a }"}'))[0], 503, name);
  same((await fetch(url + '/.well-known/maintenance/receipts/AAAAAAAAAAAAAAAAAAAAAA')).status, 200);
  if (name !== 'fetch') {
    const socket = connect(server.address().port, '127.0.0.1');
    socket.write('POST /notes HTTP/1.1\\r\\nHost: h\\r\\nIdempotency-Key: "k"\\r\\nContent-Length: 10\\r\\n\\r\\n{');
    await new Promise((r) => setTimeout(r, 50));
    socket.destroy();
    await new Promise((r) => setTimeout(r, 50));
    same(kept.length, before + 1);
  }
  same(guard.counts().inFlight.total, 0, name);
  server.closeAllConnections();
  server.close();
}
let inserted = false;
const store = { insert: () => !inserted && (inserted = true), find: () => ({ fingerprint: 'f', answer: null }), complete() {} };
same((await fenced(store, { key: 'k', fingerprint: 'f' }, () => ({ status: 201 }))).status, 201);
same((await fenced(store, { key: 'k', fingerprint: 'f' }, () => ({ status: 201 }))).status, 409);
httpSource('http://127.0.0.1:1/').close();
same(guard.metrics().includes('maint_guard_queued_total{surface="notes"} 4'), true);
await guard.close();
console.log('ok', process.version);
process.exit(0);
`;

test('everything that reads bodies works there too', () => {
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  execFileSync(process.execPath, [tsc, '-p', join(root, 'packages/guard'), '--outDir', join(folder, 'dist')], {
    stdio: 'pipe',
  });
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  writeFileSync(join(folder, 'program.js'), PROGRAM);
  const env = { ...process.env, NODE_OPTIONS: '' };
  const nodes = (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((path) => join(path, 'node'))
    .filter(existsSync);
  const versions = new Map(
    nodes.map((node) => [execFileSync(node, ['-p', 'process.version'], { env }).toString().trim(), node]),
  );
  const [oldest] = [...versions].sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }));
  const [version = '', node = process.execPath] = oldest ?? [];
  const said = execFileSync(node, [join(folder, 'program.js')], { env, timeout: 60_000 })
    .toString()
    .trim();
  console.log(`kept writes, GraphQL and the fence on ${version}`);
  expect(said).toBe(`ok ${version}`);
}, 90_000);
