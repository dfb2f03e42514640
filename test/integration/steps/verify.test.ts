// Read back from real services, guarded by the real guard, and from some that do it wrong.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createGuard, type FlagSink, type Guard, type WriteQueue } from '../../../packages/guard/src/index.ts';
import type { Surface } from '../../../src/engine/contract.ts';
import { holderOf } from '../../../src/steps/flag/flag.ts';
import { verifyEndpoints } from '../../../src/steps/verify/endpoints.ts';
import { verifyFlag } from '../../../src/steps/verify/flag.ts';
import { type TestClients, testClients } from '../../support/clients.ts';
import { type CheckRun, runOneCheck, windowOf } from '../../support/one-check.ts';
import { freePort } from '../../support/ports.ts';

const SURFACES: Surface[] = [
  {
    name: 'documents',
    kind: 'http',
    match: { methods: ['POST'], path: '/documents/:id?' },
    disposition: 'refuse',
    status: 503,
    canary: { method: 'POST', path: '/documents', body: {} },
  },
  {
    name: 'vectors',
    kind: 'http',
    match: { methods: ['PUT'], path: '/vectors/*' },
    disposition: 'refuse',
    status: 423,
    canary: { method: 'PUT', path: '/vectors/x?dry=1', headers: { 'X-Canary': 'maint' } },
  },
  { name: 'telemetry', kind: 'http', match: { methods: ['POST'], path: '/t' }, disposition: 'refuse', status: 503 },
];
const A = windowOf({ surfaces: SURFACES });
const OPENED = { reopened: new Date().toISOString() };

let tools: TestClients;
const cleanup: (() => Promise<unknown>)[] = [];
beforeEach(() => {
  tools = testClients();
});
afterEach(async () => {
  await tools[Symbol.asyncDispose]();
  for (const end of cleanup.splice(0)) await end();
});

async function listen(handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(handler);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  cleanup.push(async () => {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

interface Service {
  url: string;
  guard: Guard;
  /** what reached the service itself */
  requests: string[];
  hold(...ids: string[]): void;
}
/** A guarded service whose validation refuses every canary. */
async function service(answer = 422): Promise<Service> {
  let sink!: FlagSink;
  const requests: string[] = [];
  const guard = createGuard({
    source: { start: (s) => void (sink = s), close() {} },
    surfaces: SURFACES,
    log: () => {},
  });
  cleanup.push(() => guard.close());
  const url = await listen(
    guard.http((request, response) => {
      requests.push(`${request.method} ${request.url}`);
      response.writeHead(answer, { 'Content-Type': 'application/json' }).end('{"error":"invalid"}');
    }),
  );
  const hold = (...ids: string[]) =>
    sink.document(
      ids.length === 0
        ? null
        : JSON.stringify({
            version: 1,
            holders: Object.fromEntries(
              ids.map((id, i) => [
                id,
                { ...holderOf(A), until: new Date(Date.now() + (i + 1) * 600_000).toISOString() },
              ]),
            ),
          }),
    );
  hold();
  return { url, guard, requests, hold };
}

const flag = (run: Omit<CheckRun, 'window'> & Partial<CheckRun>) =>
  runOneCheck(tools.clients, verifyFlag, { window: A, ...run });
const endpoints = (run: Omit<CheckRun, 'window'> & Partial<CheckRun>) =>
  runOneCheck(tools.clients, verifyEndpoints, { window: A, ...run });

describe('verify/flag', () => {
  test('a guard that reads another key is told by its key', async () => {
    let sink!: FlagSink;
    const source = { shown: 'redis key app:read_only', start: (given: FlagSink) => void (sink = given), close() {} };
    const guard = createGuard({ source, log: () => {} });
    cleanup.push(() => guard.close());
    const url = await listen(guard.http((_request, response) => response.end()));
    sink.missing();
    const result = await flag({ params: { guards: [url], samples: 2 }, moment: 'now' });
    expect(result.findings).toEqual([
      `${new URL(url).host}: 0 of 2 samples show our window; it reads redis key app:read_only`,
    ]);
  });

  test('waits until every guard knows, and until none does any more', async () => {
    const one = await service();
    const two = await service();
    const guards = [one.url, `${two.url}/`];
    const progress: string[] = [];
    one.hold(A.id);
    const opened = await flag({
      params: { guards, samples: 3 },
      moment: 'open',
      progress: (text) => {
        if (progress.push(text) === 2) two.hold('w-other', A.id);
      },
    });
    expect(opened).toMatchObject({
      outcome: 'pass',
      summary: expect.stringMatching(/^6 of 6 samples show our window, after \d\.\ds$/),
      findings: [],
    });
    expect(progress[0]).toBe('3 of 6 samples show our window');
    expect(opened.evidence.latencyMs).toBeGreaterThan(100);

    await fetch(`${one.url}/documents`, { method: 'POST' });
    one.hold();
    setTimeout(() => two.hold('w-other'), 200);
    const soaking = await flag({ params: { guards }, moment: 'soaking', window: { ...A, ...OPENED } });
    expect(soaking).toMatchObject({
      outcome: 'pass',
      summary: expect.stringContaining('10 of 10 samples do not show our window any more'),
      findings: [expect.stringContaining('still read-only, held by w-other')],
    });
    expect(soaking.evidence).toMatchObject({
      firstRefusedAt: expect.any(String),
      guards: { [new URL(one.url).host]: { refused: 1 } },
    });
  });

  test('a guard that never hears of it fails, and is named', async () => {
    const one = await service();
    const two = await service();
    one.hold(A.id);
    const result = await flag({ params: { guards: [one.url, two.url], samples: 2 }, moment: 'open', ms: 1500 });
    expect(result.outcome).toBe('fail');
    expect(result.summary).toMatch(/^2 of 4 samples show our window after/);
    expect(result.findings).toEqual([`${new URL(two.url).host}: 0 of 2 samples show our window`]);
  });

  test('one of several services behind one address is enough to fail', async () => {
    const one = await service();
    const two = await service();
    one.hold(A.id);
    let turn = 0;
    const balanced = await listen(async (request, response) => {
      const answer = await fetch(`${[one, two][turn++ % 2]!.url}${request.url}`);
      response.end(await answer.text());
    });
    const result = await flag({ params: { guards: [balanced] }, moment: 'now' });
    expect(result).toMatchObject({
      outcome: 'fail',
      findings: [expect.stringMatching(/: [23] of 5 samples show our window$/)],
    });
  });

  test('nobody there: cannot tell. A service without a guard: fails', async () => {
    const gone = `http://127.0.0.1:${await freePort()}`;
    const nobody = await flag({ params: { guards: [gone] }, moment: 'open', ms: 300 });
    expect(nobody).toMatchObject({ outcome: 'unknown', summary: expect.stringContaining('refused the connection') });
    const plain = await listen((_request, response) => response.writeHead(404).end());
    expect(await flag({ params: { guards: [plain] }, moment: 'now' })).toMatchObject({
      outcome: 'fail',
      findings: [expect.stringContaining('answers 404 for /.well-known/maintenance')],
    });
    const page = await listen((_request, response) => response.end('<html>'));
    expect(await flag({ params: { guards: [page] }, moment: 'now' })).toMatchObject({
      outcome: 'fail',
      findings: [expect.stringContaining('no guard says')],
    });
  });

  test('a hanging guard ends with the deadline', async () => {
    const hanging = await listen(() => {});
    const began = Date.now();
    expect(await flag({ params: { guards: [hanging] }, moment: 'open', ms: 300 })).toMatchObject({
      outcome: 'unknown',
    });
    expect(Date.now() - began).toBeLessThan(1500);
  });

  test('passwords of guards appear nowhere', async () => {
    const one = await service();
    one.hold(A.id);
    const params = { guards: [one.url.replace('//', '//user:geheim@')] };
    const result = await flag({ params, moment: 'now' });
    expect(result.outcome).toBe('pass');
    expect(JSON.stringify(result) + verifyFlag.address(verifyFlag.Params.parse(params))).not.toContain('geheim');
  });
});

describe('verify/endpoints', () => {
  test('answers that break off: said, instead of what their half does not say', async () => {
    const url = await listen((request, response) => {
      response.writeHead(503, { 'content-type': 'application/problem+json', 'content-length': '100' });
      response.write('{"code":"read_o', () => request.socket.destroy());
    });
    const result = await endpoints({ params: { url }, moment: 'now' });
    expect(result.outcome).toBe('fail');
    expect(result.findings[0]).toBe(
      'documents: POST /documents answers 503, and the answer broke off before it was whole',
    );
  });

  test('canaries are refused while the walls are up, and answered by the service afterwards', async () => {
    const { url, hold, requests } = await service();
    setTimeout(() => hold(A.id), 200);
    const opened = await endpoints({ params: { url }, moment: 'open' });
    expect(opened).toMatchObject({
      outcome: 'pass',
      summary: expect.stringMatching(/^2 of 2 surfaces answer 423 or 503 read_only, after 0\.\ds$/),
      findings: ['telemetry has no canary: nobody looks whether it is refused'],
      evidence: {
        without: ['telemetry'],
        surfaces: { documents: { status: 503, wrote: false }, vectors: { status: 423 } },
      },
    });
    // the second one was sent when the first one was refused
    expect(new Set(requests)).toEqual(new Set(['POST /documents']));
    expect(await endpoints({ params: { url }, moment: 'now' })).toMatchObject({
      outcome: 'pass',
      summary: '2 of 2 surfaces answer 423 or 503 read_only',
    });

    const before = Date.now();
    setTimeout(() => hold(), 250);
    const soaking = await endpoints({ params: { url }, moment: 'soaking', window: { ...A, ...OPENED } });
    expect(soaking).toMatchObject({
      outcome: 'pass',
      summary: expect.stringMatching(/^2 of 2 surfaces are answered by the service itself, after/),
    });
    expect(Date.parse(soaking.evidence.firstAnsweredAt) - before).toBeGreaterThan(200);
    expect(Date.parse(soaking.evidence.firstAnsweredAt)).toBeGreaterThan(Date.parse(opened.evidence.firstRefusedAt));
    expect(await endpoints({ params: { url }, moment: 'now', window: { ...A, ...OPENED } })).toMatchObject({
      outcome: 'pass',
    });
  });

  test('a canary that is taken fails at once and is not sent again', async () => {
    const { url, requests } = await service(201);
    const began = Date.now();
    const result = await endpoints({ params: { url }, moment: 'open' });
    expect(Date.now() - began).toBeLessThan(1000);
    expect(result).toMatchObject({ outcome: 'fail', summary: '0 of 2 surfaces answer 423 or 503 read_only' });
    expect(result.findings[0]).toMatch(
      /^documents: POST \/documents was answered 201: the canary was taken and may have written/,
    );
    expect(requests).toEqual(['POST /documents']);
    expect(result.findings[1]).toBe(
      'vectors: PUT /vectors/x?dry=1 was not sent, because the first canary was not refused',
    );

    requests.length = 0;
    const soaking = await endpoints({ params: { url }, moment: 'soaking', window: { ...A, ...OPENED } });
    expect(soaking).toMatchObject({
      outcome: 'pass',
      summary: expect.stringContaining('the canary of documents, vectors was taken and wrote'),
    });
    expect(requests).toHaveLength(2);
  });

  test('the canary that goes first is one that a schema would refuse; the others are named', async () => {
    const canaries: [string, unknown][] = [
      ['gone', undefined],
      ['filled', { title: 'x', tags: [] }],
      ['nothing', { title: null, tags: [], more: {} }],
      ['text', 'x'],
      ['no-text', ''],
    ];
    const surfaces = canaries.map(([name, body]): Surface => {
      const path = `/${name}`;
      const { match: _, canary: __, ...rest } = SURFACES[0]!;
      return { ...rest, name, match: { methods: ['POST'], path }, canary: { method: 'POST', path, body } };
    });
    const { url, requests } = await service(201);
    const params = verifyEndpoints.Params.parse({ url });
    expect(verifyEndpoints.doubts!(params, { ...A, surfaces }).map((doubt) => doubt.split(':')[0])).toEqual([
      'gone',
      'filled',
      'text',
    ]);
    await endpoints({ params: { url }, moment: 'open', window: { ...A, surfaces } });
    expect(requests).toEqual(['POST /nothing']);
  });

  test('an unguarded service that validates fails at the deadline, unharmed', async () => {
    const { url } = await service(400);
    const result = await endpoints({ params: { url }, moment: 'open', ms: 350 });
    expect(result).toMatchObject({
      outcome: 'fail',
      findings: expect.arrayContaining(['documents: POST /documents answers 400, not 503 read_only']),
    });
  });

  test.each([
    [
      'another status',
      423,
      { 'Content-Type': 'application/problem+json', 'Retry-After': '30' },
      'the status 503 (it is 423)',
    ],
    ['no Retry-After', 503, { 'Content-Type': 'application/problem+json' }, 'Retry-After'],
    [
      'a Retry-After that is none',
      503,
      { 'Content-Type': 'application/problem+json', 'Retry-After': 'soon' },
      'it is "soon"',
    ],
    [
      'plain JSON',
      503,
      { 'Content-Type': 'application/json', 'Retry-After': '30' },
      'application/problem+json (it is application/json)',
    ],
  ])(
    'a refusal with %s is none of ours, and no answer of the service either',
    async (_name, status, headers, words) => {
      const window = { ...A, surfaces: SURFACES.slice(0, 1) };
      const url = await listen((_request, response) =>
        response.writeHead(status, headers as any).end('{"code":"read_only","window":"w-aaaa"}'),
      );
      expect(await endpoints({ params: { url }, moment: 'now', window })).toMatchObject({
        outcome: 'fail',
        findings: [expect.stringContaining(words)],
      });
      expect(await endpoints({ params: { url }, moment: 'now', window: { ...window, ...OPENED } })).toMatchObject({
        outcome: 'fail',
      });
    },
  );

  describe('surfaces that are buffered or dropped', () => {
    const buffered: Surface = {
      name: 'notes',
      kind: 'http',
      match: { methods: ['POST'], path: '/notes' },
      disposition: 'buffer',
      key: 'header',
      credential: 'service',
      status: 503,
      canary: {
        method: 'POST',
        path: '/notes',
        body: {},
        headers: { 'Idempotency-Key': 'by mistake', 'X-Canary': '1' },
      },
    };
    const dropped: Surface = {
      name: 'seen',
      kind: 'http',
      match: { methods: ['POST'], path: '/seen' },
      disposition: 'drop',
      status: 204,
      canary: { method: 'POST', path: '/seen', body: {} },
    };
    const problem = { 'Content-Type': 'application/problem+json', 'Read-Only': 'w-aaaa' };
    const keyless = '{"code":"idempotency_key_missing","window":"w-aaaa"}';
    const once = async (surface: Surface, status: number, headers: Record<string, string>, body?: string) => {
      const seen: IncomingMessage['headers'][] = [];
      const url = await listen((request, response) => {
        seen.push(request.headers);
        response.writeHead(status, headers).end(body);
      });
      const result = await endpoints({ params: { url }, moment: 'now', window: { ...A, surfaces: [surface] } });
      return { ...result, seen };
    };

    test('the guard asks for the key that the canary does not have, and nothing is stored', async () => {
      const { outcome, summary, findings, seen } = await once(buffered, 400, problem, keyless);
      expect({ outcome, summary, findings }).toEqual({
        outcome: 'pass',
        summary: '1 of 1 surfaces answer 400 idempotency_key_missing',
        findings: [],
      });
      expect(seen[0]).toMatchObject({ 'x-canary': '1' });
      expect(seen[0]).not.toHaveProperty('idempotency-key');
    });

    test.each([
      ['refused where it cannot be stored', 503, { ...problem, 'Retry-After': '9' }, '{"code":"queue_full"}'],
      ['refused with the other status', 423, { ...problem, 'Retry-After': '9' }, '{"code":"read_only"}'],
    ])('%s: passes', async (_name, status, headers, body) => {
      expect(await once(buffered, status, headers, body)).toMatchObject({ outcome: 'pass' });
    });

    test.each([
      [
        'the service itself wants a key',
        400,
        { 'Content-Type': 'application/problem+json' },
        '{"code":"idempotency_key_missing"}',
        'by itself',
      ],
      ['no window', 400, problem, '{"code":"idempotency_key_missing"}', 'lacks the window'],
      ['no header', 400, { 'Content-Type': 'application/problem+json' }, keyless, 'lacks the Read-Only header'],
      ['plain JSON', 400, { ...problem, 'Content-Type': 'application/json' }, keyless, 'application/problem+json'],
      ['it was stored', 202, problem, '{"receipt":"x"}', 'was taken and may have written'],
      ['the service answers', 422, {}, '{}', 'answers 422, not 400 idempotency_key_missing of the guard'],
    ])('%s: fails', async (_name, status, headers, body, words) => {
      expect(await once(buffered, status, headers as Record<string, string>, body)).toMatchObject({
        outcome: 'fail',
        findings: [expect.stringContaining(words)],
      });
    });

    test('a guard that asks who may before it asks for the key keeps the canary out, too', async () => {
      const body = '{"code":"not_authorized","window":"w-aaaa"}';
      expect(await once(buffered, 401, problem, body)).toMatchObject({
        outcome: 'pass',
        summary: '1 of 1 surfaces answer 401 not_authorized',
      });
      expect(
        await once(buffered, 401, { 'Content-Type': 'application/problem+json' }, '{"code":"not_authorized"}'),
      ).toMatchObject({
        outcome: 'fail',
      });
    });

    test('204 is the guard with its header, and the service without it', async () => {
      expect(await once(dropped, 204, { 'Read-Only': 'w-aaaa' })).toMatchObject({
        outcome: 'pass',
        summary: '1 of 1 surfaces answer 204 of the guard',
      });
      expect(await once(dropped, 204, {})).toMatchObject({
        outcome: 'fail',
        findings: [expect.stringContaining('may have written')],
      });
      expect(await once({ ...dropped, status: 503 }, 204, { 'Read-Only': 'w-aaaa' })).toMatchObject({
        outcome: 'fail',
      });
    });

    test('the real guard: buffered and dropped surfaces pass, and the queue has got nothing', async () => {
      const accepted: unknown[] = [];
      const queue: WriteQueue = {
        async accept(write) {
          accepted.push(write);
          return { is: 'accepted', receipt: 'r', replayed: false };
        },
        receipt: async () => null,
        depth: () => ({ queued: 0, bytes: 0, oldestMs: null }),
        pending: () => false,
        busy: async () => false,
      };
      let sink!: FlagSink;
      const surfaces = [buffered, dropped];
      const guard = createGuard({
        source: { start: (given) => void (sink = given), close() {} },
        ...{ surfaces, queue, authorize: 'elsewhere', log: () => {} },
      });
      cleanup.push(() => guard.close());
      const url = await listen(guard.http((_request, response) => void response.writeHead(422).end('{}')));
      const until = new Date(Date.now() + 600_000).toISOString();
      sink.document(JSON.stringify({ version: 1, holders: { [A.id]: { ...holderOf(A), until } } }));
      const window = { ...A, surfaces };
      expect(await endpoints({ params: { url }, moment: 'open', window })).toMatchObject({
        outcome: 'pass',
        summary: expect.stringMatching(/^2 of 2 surfaces answer 400 idempotency_key_missing, 204 of the guard, after/),
        findings: [],
      });
      sink.document(null);
      expect(await endpoints({ params: { url }, moment: 'soaking', window: { ...window, ...OPENED } })).toMatchObject({
        outcome: 'pass',
        summary: expect.stringMatching(/^2 of 2 surfaces are answered by the service itself, after/),
      });
      expect(accepted).toEqual([]);
    });

    test('who makes keys, and who is called by name, is not knocked at', async () => {
      const content: Surface = { ...buffered, key: 'content' };
      const tool: Surface = {
        name: 'mail',
        kind: 'tool',
        match: { names: ['send'] },
        disposition: 'refuse',
        status: 503,
      };
      const result = await endpoints({
        params: { url: 'http://127.0.0.1:9' },
        moment: 'now',
        window: { ...A, surfaces: [content, tool] },
      });
      expect(result).toMatchObject({
        outcome: 'inconclusive',
        findings: [
          'notes makes a key for every write, so a canary would be stored: nobody looks whether it is buffered',
          'mail (tool) is called by name, so nobody knocks: maint scope check',
        ],
      });
    });
  });

  test('a Retry-After as a date is one', async () => {
    const url = await listen((_request, response) =>
      response
        .writeHead(503, {
          'Content-Type': 'application/problem+json; charset=utf-8',
          'Retry-After': new Date().toUTCString(),
        })
        .end('{"code":"read_only"}'),
    );
    expect(
      await endpoints({ params: { url }, moment: 'now', window: { ...A, surfaces: SURFACES.slice(0, 1) } }),
    ).toMatchObject({ outcome: 'pass' });
  });

  test('another window that still holds is said, and is no failure of ours', async () => {
    const { url, hold } = await service();
    hold('w-other');
    const result = await endpoints({ params: { url }, moment: 'soaking', window: { ...A, ...OPENED }, ms: 300 });
    expect(result).toMatchObject({
      outcome: 'inconclusive',
      findings: expect.arrayContaining(['documents: POST /documents is still refused for w-other']),
    });
  });

  test('still refused for us after the end: fails. A gateway with nothing behind it is no answer', async () => {
    const { url, hold } = await service();
    hold(A.id);
    const window = { ...A, ...OPENED };
    expect(await endpoints({ params: { url }, moment: 'soaking', window, ms: 300 })).toMatchObject({ outcome: 'fail' });
    const gateway = await listen((_request, response) => response.writeHead(502).end());
    expect(await endpoints({ params: { url: gateway }, moment: 'soaking', window, ms: 300 })).toMatchObject({
      outcome: 'fail',
      summary: '0 of 2 surfaces are answered by the service itself',
    });
    const gone = `http://127.0.0.1:${await freePort()}`;
    expect(await endpoints({ params: { url: gone }, moment: 'open', ms: 300 })).toMatchObject({
      outcome: 'unknown',
      summary: expect.stringContaining('refused the connection'),
    });
  });

  test('nothing to knock at: inconclusive. A dry run sends nothing', async () => {
    const { url, requests } = await service();
    expect(await endpoints({ params: { url }, moment: 'open', window: { ...A, surfaces: [] } })).toMatchObject({
      outcome: 'inconclusive',
      summary: 'the runbook names no surfaces, so nothing was sent',
    });
    expect(
      await endpoints({ params: { url }, moment: 'open', window: { ...A, surfaces: SURFACES.slice(2) } }),
    ).toMatchObject({ outcome: 'inconclusive', summary: 'no surface has a canary, so nothing was sent' });
    expect(await endpoints({ params: { url }, moment: 'now', dry: true })).toMatchObject({ outcome: 'unknown' });
    expect(requests).toEqual([]);
  });

  test('the base may have a path of its own', async () => {
    const seen: string[] = [];
    const url = await listen((request, response) => {
      seen.push(request.url!);
      response.writeHead(404).end();
    });
    await endpoints({ params: { url: `${url}/api/` }, moment: 'now', window: { ...A, ...OPENED } });
    expect(seen.sort()).toEqual(['/api/documents', '/api/vectors/x?dry=1']);
  });

  test('an interruption ends the wait', async () => {
    const { url } = await service();
    const controller = new AbortController();
    const running = endpoints({ params: { url }, moment: 'open', signal: controller.signal });
    await delay(150);
    controller.abort(new Error('Ctrl-C'));
    await expect(running).rejects.toThrow('Ctrl-C');
  });
});
