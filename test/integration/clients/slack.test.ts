import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { failure, type TestClients, testClients } from '../../support/clients.ts';

describe('the Slack client', () => {
  const seen: { url: string; body: string; authorization: string | undefined }[] = [];
  let answer: (request: IncomingMessage, response: ServerResponse) => void = () => {};
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      seen.push({ url: request.url ?? '', body, authorization: request.headers.authorization });
      answer(request, response);
    });
  });
  const json = (value: unknown) => (_request: IncomingMessage, response: ServerResponse) =>
    response.setHeader('content-type', 'application/json').end(JSON.stringify(value));
  let io: TestClients;
  let host: string;
  let api: { url: string; token: string };
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    api = { url: `http://${host}`, token: 'xoxb-planted-token' };
    io = testClients([api.token]);
  });
  afterEach(() => {
    seen.length = 0;
    io.calls.length = 0;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  test('sends and reads', async () => {
    answer = json({ ok: true, ts: '1.2' });
    expect(await io.writer().slack.send(api, 'chat.postMessage', { channel: 'C1', text: 'hello' })).toMatchObject({
      ok: true,
      ts: '1.2',
    });
    expect(seen[0]).toMatchObject({
      url: '/api/chat.postMessage',
      body: 'channel=C1&text=hello',
      authorization: `Bearer ${api.token}`,
    });
    expect(io.calls).toEqual(['before slack chat.postMessage', 'after slack chat.postMessage']);
    await io.reader().slack.read(api, 'conversations.history', { channel: 'C1' });
    await io.reader().slack.read(api, 'auth.test', {});
    expect(seen).toHaveLength(3);
    expect(io.calls).toHaveLength(2);
  });

  test.each([
    'chat.postMessage',
    'chat.update',
    'conversations.invite',
    'users.profile.set',
    '../x.list',
    'http://h/x.list',
  ])('a reader refuses %s', async (method) => {
    expect(await failure(io.reader().slack.read(api, method, {}))).toMatchObject({
      effect: 'none',
      code: 'NOT_A_READ',
    });
    expect(seen).toEqual([]);
  });

  test('its own errors', async () => {
    const { slack } = io.writer();
    const post = () => failure(slack.send(api, 'chat.postMessage', { channel: 'C1' }));
    answer = json({ ok: false, error: 'channel_not_found' });
    expect(await post()).toEqual({
      message: `${host} answered channel_not_found for chat.postMessage`,
      effect: 'answered',
      retryable: false,
      code: 'channel_not_found',
    });
    answer = json({ ok: false, error: 'internal_error' });
    expect(await post()).toMatchObject({ effect: 'answered', retryable: true, code: 'internal_error' });
    answer = (_request, response) => response.writeHead(429, { 'retry-after': '9' }).end();
    expect(await post()).toMatchObject({
      effect: 'answered',
      retryable: true,
      retryAfterMs: 9000,
      code: 'ratelimited',
    });
    answer = (_request, response) => response.writeHead(429, { 'retry-after': '2.5' }).end();
    expect(await post()).toMatchObject({ status: 429, retryAfterMs: 2500 });
    answer = (_request, response) => response.writeHead(429, { 'retry-after': '-5' }).end();
    expect(await post()).not.toHaveProperty('retryAfterMs');
    answer = (_request, response) => response.writeHead(503).end('down');
    expect(await post()).toMatchObject({ effect: 'answered', retryable: true, status: 503 });
    answer = (_request, response) => response.writeHead(502).end('down');
    expect(await post()).toMatchObject({ effect: 'unknown', retryable: true, status: 502 });
    answer = (_request, response) => response.end('no json');
    expect(await post()).toMatchObject({ effect: 'unknown', retryable: true });
    answer = (_request, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end();
    expect(await post()).toMatchObject({ effect: 'answered', retryable: false, status: 302 });
    answer = (request) => request.socket.destroy();
    expect(await post()).toMatchObject({ effect: 'unknown', retryable: true });
    // once each: nothing is tried again
    expect(seen).toHaveLength(10);
    const gone = { url: 'http://127.0.0.1:1', token: api.token };
    expect(await failure(io.writer().slack.send(gone, 'chat.postMessage', {}))).toEqual({
      message: '127.0.0.1:1 refused the connection',
      effect: 'none',
      retryable: true,
      code: 'ECONNREFUSED',
    });
  });

  test('a hang, and an interruption', async () => {
    answer = () => {};
    expect(await failure(io.writer({ ms: 150 }).slack.send(api, 'chat.update', {}))).toMatchObject({
      effect: 'unknown',
      retryable: true,
      code: 'ETIMEDOUT',
    });
    const controller = new AbortController();
    const hanging = failure(io.writer({ signal: controller.signal }).slack.send(api, 'chat.update', {}));
    while (seen.length < 2) await new Promise((done) => setTimeout(done, 5));
    controller.abort();
    expect(await hanging).toMatchObject({ effect: 'unknown', code: 'ABORTED' });
  });
});
