// What a page of another origin gets to read, in a real browser: the banner's document, a refusal, a receipt.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createGuard, type FlagSink, type Guard, type Surface } from '../../../packages/guard/src/index.ts';
import { holders } from '../../support/guarded.ts';
import { memoryQueue } from '../../support/memory-queue.ts';
import { describeWith, programOf } from '../../support/servers.ts';

const express = createRequire(import.meta.url)('express');

/** Runs in the page: what its script can read of each answer. */
const SCRIPT = `
async function ask(path, options) {
  try {
    const answer = await fetch(API + path, options);
    const { headers } = answer;
    const read = (name) => headers.get(name);
    return { status: answer.status, body: await answer.json(), retryAfter: read('retry-after'), location: read('location'), readOnly: read('read-only'), requestId: read('x-request-id') };
  } catch (error) {
    return { error: String(error) };
  }
}
const tell = (told) => fetch('/told', { method: 'POST', body: JSON.stringify(told) });
`;

const ANSWERS = `
(async () => {
  const write = (headers) => ({ method: 'POST', body: '{}', headers: { 'content-type': 'application/json', ...headers } });
  const known = await ask('/.well-known/maintenance');
  const refused = await ask('/other', write({}));
  const missing = await ask('/notes', write({}));
  const kept = await ask('/notes', write({ 'idempotency-key': '"k-1"' }));
  const receipt = await ask(kept.location);
  await tell({ known, refused, missing, kept, receipt });
})();
`;

/** A page that is logged in, and shows the banner. */
const BANNER = `
(async () => {
  const credentials = 'include';
  const known = await ask('/.well-known/maintenance', { credentials });
  const refused = await ask('/items', { method: 'PUT', body: '{}', credentials, headers: { 'content-type': 'application/json' } });
  const read = await ask('/items', { credentials });
  const banner = document.body.appendChild(document.createElement('p'));
  const [holder] = known.body?.holders ?? [];
  banner.hidden = !known.body?.read_only;
  banner.textContent = 'Read-only until ' + holder?.until + ': ' + holder?.reason;
  await tell({ known, refused, read, banner: banner.innerText, height: banner.offsetHeight });
})();
`;

describeWith('chromium', 'a page of another origin', () => {
  let folder: string;
  let browser: ChildProcess | undefined;
  let guard: Guard | undefined;
  const servers: Server[] = [];

  async function listen(listener: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
    const server = createServer(listener);
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'maint-browser-'));
  });

  afterEach(async () => {
    if (browser && browser.exitCode === null && browser.signalCode === null) {
      browser.kill();
      await once(browser, 'exit');
    }
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
    await guard?.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  });

  function openGuard(surfaces: Surface[]): Guard {
    let sink: FlagSink | undefined;
    const source = { start: (s: FlagSink) => void (sink = s), close() {} };
    guard = createGuard({ source, surfaces, queue: memoryQueue(), authorize: 'elsewhere', log: () => {} });
    sink?.document(holders());
    return guard;
  }

  /** Opens a page with the script, and resolves with what that tells. */
  async function inBrowser(api: string, script: string): Promise<any> {
    let tell: (text: string) => void = () => {};
    const told = new Promise<string>((resolve) => (tell = resolve));
    const page = await listen((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        response.writeHead(200, { 'content-type': 'text/html' });
        if (request.url === '/told') {
          response.end();
          return tell(Buffer.concat(chunks).toString());
        }
        return response.end(`<body><script>const API = '${api}';${SCRIPT}${script}</script></body>`);
      });
    });
    browser = spawn(
      programOf('chromium') as string,
      [
        ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'],
        ...['--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-pings'],
        // nothing but the loopback
        ...['--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', '--remote-debugging-port=0'],
        ...['--disable-quic', `--user-data-dir=${folder}`, `${page}/`],
      ],
      { stdio: 'ignore' },
    );
    const ended = once(browser, 'exit').then(([code]) => {
      throw new Error(`the browser has ended with ${code}`);
    });
    ended.catch(() => {});
    return JSON.parse(await Promise.race([told, ended]));
  }

  test('reads refusals, receipts, and when to come back', async () => {
    const own = openGuard([{ name: 'notes', match: { methods: ['POST'], path: '/notes' }, disposition: 'buffer' }]);
    const app = express();
    // the least that a service of another origin does
    app.use((request: IncomingMessage, response: ServerResponse, next: () => void) => {
      response.setHeader('Access-Control-Allow-Origin', '*');
      if (request.method !== 'OPTIONS') return next();
      response.setHeader('Access-Control-Allow-Headers', 'content-type, idempotency-key');
      response.writeHead(204).end();
    });
    app.use(own.express());
    const { known, refused, missing, kept, receipt } = await inBrowser(await listen(app), ANSWERS);

    expect(known).toMatchObject({ status: 200, body: { read_only: true, holders: [{ window: 'w-1' }] } });
    expect(refused).toMatchObject({ status: 503, body: { code: 'read_only', window: 'w-1' } });
    expect(Number(refused.retryAfter)).toBeGreaterThan(590);
    expect(refused.readOnly).toMatch(/^\?1/);
    expect(missing).toMatchObject({ status: 400, body: { code: 'idempotency_key_missing' } });
    expect(kept).toMatchObject({ status: 202, location: kept.body.url });
    expect(Number(kept.retryAfter)).toBeGreaterThan(590);
    expect(receipt).toMatchObject({ status: 200, body: { receipt: kept.body.receipt, state: 'queued' } });
    expect(Number(receipt.retryAfter)).toBeGreaterThan(590);
  }, 60_000);

  test('shows the banner from the document, with the cookies of a service that names its origin', async () => {
    const own = openGuard([]);
    const app = express();
    app.use((request: IncomingMessage, response: ServerResponse, next: () => void) => {
      response.setHeader('Access-Control-Allow-Origin', request.headers.origin ?? 'null');
      response.setHeader('Access-Control-Allow-Credentials', 'true');
      response.setHeader('Access-Control-Expose-Headers', 'X-Request-Id, Read-Only');
      response.setHeader('X-Request-Id', 'r-1');
      if (request.method !== 'OPTIONS') return next();
      response.setHeader('Access-Control-Allow-Headers', 'content-type');
      response.setHeader('Access-Control-Allow-Methods', 'PUT');
      response.writeHead(204).end();
    });
    app.use(own.express());
    app.get('/items', (_: IncomingMessage, response: ServerResponse) => response.end('[]'));
    const { known, refused, read, banner, height } = await inBrowser(await listen(app), BANNER);

    expect(refused).toMatchObject({ status: 503, body: { code: 'read_only' }, requestId: 'r-1' });
    expect(Number(refused.retryAfter)).toBeGreaterThan(590);
    expect(read).toMatchObject({ status: 200, readOnly: expect.stringMatching(/^\?1/), requestId: 'r-1' });
    expect(known).toMatchObject({ status: 200, body: { read_only: true } });
    expect(banner).toBe(`Read-only until ${known.body.holders[0].until}: null`);
    expect(height).toBeGreaterThan(0);
  }, 60_000);
});
