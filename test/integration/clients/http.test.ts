import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createNetServer } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { failure, type TestClients, testClients } from '../../support/clients.ts';

interface Seen {
  method: string;
  url: string;
  headers: IncomingMessage['headers'];
  body: string;
}

/** Misbehaves as its path says. */
function misbehaving(seen: Seen[], other: () => string): Server {
  const answers: Record<string, (request: IncomingMessage, response: ServerResponse) => void> = {
    '/hang': () => {},
    '/reset': (request) => request.socket.destroy(),
    '/half': (request, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('12');
      setTimeout(() => request.socket.destroy(), 20);
    },
    '/slow-body': (_request, response) => {
      response.writeHead(200);
      response.write('{');
    },
    '/endless': (_request, response) => {
      const block = 'x'.repeat(1_000_000);
      const more = () => {
        while (!response.destroyed && response.write(block));
        if (!response.destroyed) response.once('drain', more);
      };
      more();
    },
    '/no-json': (_request, response) => response.end('<html>'),
    '/gzip': (_request, response) => {
      response.setHeader('content-encoding', 'gzip');
      response.end(gzipSync('{"a":1}'));
    },
    '/redirect': (_request, response) => response.writeHead(307, { location: `${other()}/there` }).end(),
    '/loop': (_request, response) => response.writeHead(302, { location: '/loop' }).end(),
    '/429': (_request, response) => response.writeHead(429, { 'retry-after': '7' }).end(),
    '/420': (_request, response) => response.writeHead(420, { 'retry-after': '60' }).end('{"error":"slow down"}'),
    '/long': (_request, response) =>
      response.writeHead(400).end(JSON.stringify({ detail: `${'x '.repeat(97)}hunter22pass ${'y'.repeat(90)}` })),
    '/503': (_request, response) => {
      const at = new Date(Date.now() + 30_000).toUTCString();
      response.writeHead(503, { 'retry-after': at }).end('{"detail":"read only, key=hunter22pass"}');
    },
  };
  return createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      seen.push({ method, url, headers, body });
      const path = url.split('?')[0]!;
      const answer = answers[path];
      if (answer) return answer(request, response);
      if (/^\/\d{3}$/.test(path)) return response.writeHead(Number(path.slice(1))).end();
      response.setHeader('set-cookie', ['a=1', 'b=2']);
      return response.end(JSON.stringify({ hello: path }));
    });
  });
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe('the HTTP client', () => {
  const seen: Seen[] = [];
  const elsewhere: Seen[] = [];
  const other = misbehaving(elsewhere, () => '');
  let otherHost = '';
  const server = misbehaving(seen, () => `http://${otherHost}`);
  let host: string;
  let io: TestClients;
  let base: string;
  beforeAll(async () => {
    host = await listen(server);
    otherHost = await listen(other);
    base = `http://${host}`;
    io = testClients(['hunter22pass']);
  });
  afterEach(() => {
    for (const list of [seen, elsewhere, io.calls]) list.length = 0;
  });
  afterAll(() => {
    for (const each of [server, other]) {
      each.closeAllConnections();
      each.close();
    }
  });

  test('sends what it is given; userinfo becomes Basic auth and is in no address', async () => {
    const answer = await io.writer().http.send('patch', {
      url: `http://us%40er:p%2Fw@${host}/v1/x?a=1#part`,
      query: { b: 2, c: undefined, d: true },
      json: { ü: 1 },
      headers: { 'X-Key': 'k' },
    });
    expect(answer).toMatchObject({ status: 200, json: { hello: '/v1/x' }, headers: { 'set-cookie': 'a=1, b=2' } });
    expect(answer.ms).toBeGreaterThan(0);
    expect(seen).toMatchObject([
      {
        method: 'PATCH',
        url: '/v1/x?a=1&b=2&d=true',
        body: '{"ü":1}',
        headers: {
          'content-type': 'application/json',
          'x-key': 'k',
          authorization: `Basic ${Buffer.from('us@er:p/w').toString('base64')}`,
        },
      },
    ]);
    expect(io.calls).toEqual(['before http PATCH', 'after http PATCH']);
  });

  test('reading tells no hook', async () => {
    const { http } = io.writer();
    expect((await http.get({ url: `${base}/x` })).json).toEqual({ hello: '/x' });
    expect((await http.query({ url: `${base}/x`, json: { q: 1 }, because: 'a search' })).status).toBe(200);
    expect((await http.get({ url: `${base}/gzip` })).json).toEqual({ a: 1 });
    expect((await http.get({ url: `${base}/404`, expect: [200, 404] })).status).toBe(404);
    expect(seen.map((each) => each.method)).toEqual(['GET', 'POST', 'GET', 'GET']);
    expect(io.calls).toEqual([]);
  });

  test.each([
    ['/500', { effect: 'answered', retryable: true, status: 500 }],
    ['/501', { effect: 'answered', retryable: false, status: 501 }],
    ['/502', { effect: 'unknown', retryable: true, status: 502 }],
    ['/504', { effect: 'unknown', retryable: true, status: 504 }],
    ['/400', { effect: 'answered', retryable: false, status: 400 }],
    ['/404', { effect: 'answered', retryable: false, status: 404 }],
    ['/408', { effect: 'answered', retryable: true, status: 408 }],
    ['/425', { effect: 'answered', retryable: true, status: 425 }],
    ['/420', { effect: 'answered', retryable: true, status: 420, retryAfterMs: 60_000 }],
    ['/429', { effect: 'answered', retryable: true, status: 429, retryAfterMs: 7000 }],
  ])('a write answered %s', async (path, expected) => {
    const error = await failure(io.writer().http.send('POST', { url: `${base}${path}?token=abc` }));
    expect(error).toMatchObject(expected);
    expect(error['message']).toMatch(`${host} answered ${expected.status} for POST ${path}`);
    expect(error['message']).not.toContain('abc');
    expect(io.calls).toEqual(['before http POST', 'after http POST']);
    // nobody tries again here
    expect(seen).toHaveLength(1);
    expect(await failure(io.reader().http.get({ url: `${base}${path}` }))).toMatchObject({ effect: 'none' });
  });

  test('Retry-After as a date; the service’s own words, redacted', async () => {
    const error = await failure(io.writer().http.send('POST', { url: `${base}/503` }));
    expect(error).toMatchObject({ status: 503, retryable: true });
    expect(error['message']).toBe(`${host} answered 503 for POST /503: read only, key=[redacted]`);
    expect(Number(error['retryAfterMs'])).toBeGreaterThan(25_000);
    expect(Number(error['retryAfterMs'])).toBeLessThanOrEqual(30_000);
  });

  test('a secret at the place where the words are cut is not shown by half', async () => {
    const error = await failure(io.reader().http.get({ url: `${base}/long` }));
    expect(error['message']).toBe(`${host} answered 400 for GET /long: ${'x '.repeat(97)}[reda…`);
  });

  test('a hang, a reset: unknown', async () => {
    expect(await failure(io.writer().http.send('PUT', { url: `${base}/hang`, timeoutMs: 100 }))).toEqual({
      message: `${host} (PUT /hang) did not answer within 100ms`,
      effect: 'unknown',
      retryable: true,
      code: 'ETIMEDOUT',
    });
    expect(await failure(io.writer({ ms: 100 }).http.send('PUT', { url: `${base}/hang` }))).toMatchObject({
      effect: 'unknown',
    });
    expect(await failure(io.writer().http.send('PUT', { url: `${base}/slow-body`, timeoutMs: 100 }))).toMatchObject({
      effect: 'unknown',
      code: 'ETIMEDOUT',
    });
    expect(await failure(io.writer().http.send('PUT', { url: `${base}/reset` }))).toMatchObject({
      message: `${host} (PUT /reset) broke the connection before it answered`,
      effect: 'unknown',
      retryable: true,
    });
    expect(io.calls.filter((call) => call.startsWith('after'))).toEqual([]);
  });

  test('interrupted, before and while', async () => {
    const controller = new AbortController();
    const { http } = io.writer({ signal: controller.signal });
    const hanging = failure(http.send('POST', { url: `${base}/hang` }));
    while (seen.length === 0) await new Promise((done) => setTimeout(done, 5));
    controller.abort();
    expect(await hanging).toMatchObject({ effect: 'unknown', retryable: false, code: 'ABORTED' });
    expect(await failure(http.send('POST', { url: `${base}/x` }))).toMatchObject({ code: 'ABORTED' });
    expect(await failure(io.writer({ ms: -1 }).http.send('POST', { url: `${base}/x` }))).toMatchObject({
      effect: 'none',
      code: 'DEADLINE',
    });
    expect(seen).toHaveLength(1);
  });

  test('nothing was sent: none', async () => {
    const { http } = io.writer();
    expect(await failure(http.send('POST', { url: 'http://127.0.0.1:1/x' }))).toEqual({
      message: '127.0.0.1:1 refused the connection',
      effect: 'none',
      retryable: true,
      code: 'ECONNREFUSED',
    });
    expect(await failure(http.send('POST', { url: 'http://name.invalid/x' }))).toMatchObject({ effect: 'none' });
    expect(await failure(http.send('POST', { url: `https://${host}/x` }))).toMatchObject({
      effect: 'none',
      retryable: false,
      message: expect.stringContaining('TLS handshake'),
    });
    expect(await failure(http.send('POST', { url: 'ftp://h/' }))).toMatchObject({ effect: 'none', retryable: false });
    expect(await failure(http.send('POST', { url: `${base}/x`, headers: { a: 'key\n' } }))).toMatchObject({
      effect: 'none',
      retryable: false,
    });
    expect(seen).toEqual([]);
  });

  test('a connection that never comes about: none', async () => {
    // TLS against a server that accepts and stays silent: connected, but nothing of ours was sent
    const silent = createNetServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as AddressInfo;
    expect(await failure(io.writer().http.send('POST', { url: `https://127.0.0.1:${port}/`, timeoutMs: 100 }))).toEqual(
      {
        message: `127.0.0.1:${port} accepts no connection within 0.1s`,
        effect: 'none',
        retryable: true,
        code: 'ETIMEDOUT',
      },
    );
    silent.close();
  });

  test('an answer that breaks off is none for a reader, and is answered for a writer', async () => {
    // "12" of a longer answer would parse as a number
    expect(await failure(io.reader().http.get({ url: `${base}/half` }))).toMatchObject({
      message: expect.stringContaining('the answer broke off'),
      effect: 'none',
      retryable: true,
    });
    expect(await failure(io.writer().http.send('POST', { url: `${base}/half` }))).toMatchObject({
      effect: 'answered',
      status: 200,
    });
    expect((await io.reader().http.get({ url: `${base}/no-json` })).json).toBeUndefined();
  });

  test('an answer without end', async () => {
    expect(await failure(io.reader().http.get({ url: `${base}/endless` }))).toMatchObject({
      retryable: false,
      message: expect.stringContaining('more than 20 MB'),
    });
  });

  test('redirects: not for writes; for reads without our headers', async () => {
    const headers = { Authorization: 'Bearer hunter22pass', 'X-Api-Key': 'k' };
    const error = await failure(io.writer().http.send('POST', { url: `${base}/redirect`, headers }));
    expect(error).toMatchObject({ effect: 'answered', retryable: false, status: 307 });
    expect(error['message']).toContain(`a redirect to http://${otherHost}`);
    expect(elsewhere).toEqual([]);
    const answer = await io.reader().http.get({ url: `${base.replace('://', '://u:p@')}/redirect`, headers });
    expect(answer.json).toEqual({ hello: '/there' });
    expect(Object.keys(elsewhere[0]!.headers)).not.toContain('x-api-key');
    expect(Object.keys(elsewhere[0]!.headers)).not.toContain('authorization');
    expect(await failure(io.reader().http.get({ url: `${base}/loop` }))).toMatchObject({ retryable: false });
  });

  test('a prober sends what was declared, and takes any status', async () => {
    const prober = io.prober([
      { method: 'post', url: `${base}/503` },
      { method: 'POST', url: `${base}/redirect` },
    ]);
    expect(await prober.send('POST', { url: `${base}/503`, json: {} })).toMatchObject({ status: 503 });
    expect((await prober.send('POST', { url: `${base}/redirect` })).status).toBe(307);
    for (const [method, url] of [
      ['PUT', `${base}/503`],
      ['POST', `${base}/503?x`],
      ['POST', `${base}/x`],
    ] as const) {
      expect(await failure(prober.send(method, { url }))).toMatchObject({ code: 'UNDECLARED', effect: 'none' });
    }
    expect(seen).toHaveLength(2);
    expect(elsewhere).toEqual([]);
    expect(io.calls).toEqual([]);
  });

  test('a proxy from the environment is used, and passed by for what no_proxy names', async () => {
    process.env['http_proxy'] = `http://${otherHost}`;
    try {
      await io.reader().http.get({ url: 'http://somewhere.invalid/page' });
      expect(elsewhere).toMatchObject([{ url: 'http://somewhere.invalid/page' }]);
      process.env['no_proxy'] = '127.0.0.1';
      await io.reader().http.get({ url: `${base}/direct` });
      expect(seen).toMatchObject([{ url: '/direct' }]);
    } finally {
      delete process.env['http_proxy'];
      delete process.env['no_proxy'];
    }
  });
});
