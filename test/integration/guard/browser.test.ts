// What a page of another origin gets to read, in a real browser: the banner's document, a refusal, a receipt.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createGuard, type FlagSink, type Guard } from '../../../packages/guard/src/index.ts';
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
    return { status: answer.status, body: await answer.json(), retryAfter: read('retry-after'), location: read('location'), readOnly: read('read-only') };
  } catch (error) {
    return { error: String(error) };
  }
}
(async () => {
  const write = (headers) => ({ method: 'POST', body: '{}', headers: { 'content-type': 'application/json', ...headers } });
  const known = await ask('/.well-known/maintenance');
  const refused = await ask('/other', write({}));
  const missing = await ask('/notes', write({}));
  const kept = await ask('/notes', write({ 'idempotency-key': '"k-1"' }));
  const receipt = await ask(kept.location);
  await fetch('/told', { method: 'POST', body: JSON.stringify({ known, refused, missing, kept, receipt }) });
})();
`;

describeWith('chromium', 'a page of another origin', () => {
  let folder: string;
  let browser: ChildProcess | undefined;
  let guard: Guard;
  const servers: Server[] = [];

  async function listen(listener: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
    const server = createServer(listener);
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'maint-browser-'));
  });

  afterAll(async () => {
    if (browser && browser.exitCode === null && browser.signalCode === null) {
      browser.kill();
      await once(browser, 'exit');
    }
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
    await guard.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  });

  test('reads refusals, receipts, and when to come back', async () => {
    let sink: FlagSink | undefined;
    guard = createGuard({
      source: { start: (s) => void (sink = s), close() {} },
      surfaces: [{ name: 'notes', match: { methods: ['POST'], path: '/notes' }, disposition: 'buffer' }],
      ...{ queue: memoryQueue(), authorize: 'elsewhere', log: () => {} },
    });
    sink?.document(holders());
    const app = express();
    // the least that a service of another origin does
    app.use((request: IncomingMessage, response: ServerResponse, next: () => void) => {
      response.setHeader('Access-Control-Allow-Origin', '*');
      if (request.method !== 'OPTIONS') return next();
      response.setHeader('Access-Control-Allow-Headers', 'content-type, idempotency-key');
      response.writeHead(204).end();
    });
    app.use(guard.express());
    const api = await listen(app);
    let tell: (text: string) => void = () => {};
    const told = new Promise<string>((resolve) => (tell = resolve));
    const page = await listen((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        response.writeHead(200, { 'content-type': 'text/html' });
        if (request.url !== '/told') return response.end(`<script>const API = '${api}';${SCRIPT}</script>`);
        response.end();
        return tell(Buffer.concat(chunks).toString());
      });
    });

    browser = spawn(
      programOf('chromium') as string,
      [
        ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'],
        ...['--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-pings'],
        // nothing but the loopback
        ...['--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', '--remote-debugging-port=0'],
        ...[`--user-data-dir=${folder}`, `${page}/`],
      ],
      { stdio: 'ignore' },
    );
    const ended = once(browser, 'exit').then(([code]) => {
      throw new Error(`the browser has ended with ${code}`);
    });
    const { known, refused, missing, kept, receipt } = JSON.parse(await Promise.race([told, ended]));

    expect(known).toMatchObject({ status: 200, body: { read_only: true, holders: [{ window: 'w-1' }] } });
    expect(refused).toMatchObject({ status: 503, body: { code: 'read_only', window: 'w-1' } });
    expect(Number(refused.retryAfter)).toBeGreaterThan(590);
    expect(refused.readOnly).toMatch(/^\?1/);
    expect(missing).toMatchObject({ status: 400, body: { code: 'idempotency_key_missing' } });
    expect(kept).toMatchObject({ status: 202, location: kept.body.url });
    expect(Number(kept.retryAfter)).toBeGreaterThan(590);
    expect(receipt).toMatchObject({ status: 200, body: { receipt: kept.body.receipt, state: 'queued' } });
    expect(Number(receipt.retryAfter)).toBeGreaterThan(590);
    ended.catch(() => {});
  }, 60_000);
});
