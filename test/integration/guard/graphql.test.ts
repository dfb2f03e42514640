// GraphQL by operation, on each framework: the guard reads the body, and the service still gets it.
import { request } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { FRAMEWORKS, type Guarded, holders, openGuarded } from '../../support/guarded.ts';
import { memoryQueue } from '../../support/memory-queue.ts';

const surfaces = [
  { name: 'api', kind: 'graphql', match: { path: '/graphql', operations: ['mutation', 'query:recount'] } },
  {
    name: 'kept',
    kind: 'graphql',
    match: { path: '/kept' },
    disposition: 'buffer',
    max_bytes: 1000,
    order: { header: 'x-account' },
  },
];

let world: Guarded;
afterEach(() => world.close());

function post(body: string, headers: Record<string, string> = {}, path = '/graphql'): Promise<Response> {
  return fetch(world.url + path, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } });
}

const ask = (query: string, more: object = {}) => JSON.stringify({ query, ...more });

describe.each(FRAMEWORKS)('%s', (framework) => {
  const queue = memoryQueue();
  beforeEach(async () => {
    world = await openGuarded(framework, { surfaces, queue, authorize: 'elsewhere' });
    world.sink.document(holders());
  });

  test('queries and subscriptions pass with their body, mutations are refused', async () => {
    const big = `{ notes }${' '.repeat(300_000)}`;
    for (const query of ['{ notes }', 'query Notes { notes }', 'subscription { notes }', big]) {
      const body = ask(query);
      const answer = await post(body);
      expect([query.length, answer.status]).toEqual([query.length, 200]);
      expect(await answer.text()).toBe(body);
      expect(answer.headers.get('read-only')).toMatch(/^\?1/);
    }
    expect(world.seen.map(({ body }) => body.length)).toEqual([21, 33, 34, big.length + 12]);
    for (const query of ['mutation { add }', 'query A { a } mutation B { b }', '{ recount }', '{ x: reCount }', '{']) {
      const answer = await post(ask(query));
      expect([query, answer.status, await answer.json()]).toMatchObject([query, 503, { code: 'read_only' }]);
    }
    expect(world.seen).toHaveLength(4);
    expect(world.guard.counts()).toMatchObject({ refused: { bySurface: { api: 5 } }, inFlight: { total: 0 } });
  });

  test('sent in chunks, slowly, and on one connection', async () => {
    const statuses: number[] = [];
    for (const query of ['{ a }', 'mutation { a }', '{ b }']) {
      const answer = await new Promise<[number, string]>((resolve, reject) => {
        const headers = { 'content-type': 'application/json' };
        const sent = request(
          { port: world.port, host: '127.0.0.1', method: 'POST', path: '/graphql', headers },
          (res) => {
            let text = '';
            res.on('data', (chunk: Buffer) => (text += chunk.toString()));
            res.on('end', () => resolve([res.statusCode ?? 0, text]));
          },
        );
        sent.on('error', reject);
        const text = ask(query);
        sent.write(text.slice(0, 5));
        setTimeout(() => {
          sent.write(text.slice(5, 9));
          setTimeout(() => sent.end(text.slice(9)), 5);
        }, 5);
      });
      statuses.push(answer[0]);
      if (answer[0] === 200) expect(answer[1]).toBe(ask(query));
    }
    expect(statuses).toEqual([200, 503, 200]);
  });

  test('by GET: the query string decides', async () => {
    const get = async (query: string) => (await fetch(`${world.url}/graphql${query}`)).status;
    expect(await get('')).toBe(200);
    expect(await get(`?query=${encodeURIComponent('{ notes }')}`)).toBe(200);
    expect(await get(`?query=${encodeURIComponent('mutation { add }')}`)).toBe(503);
    expect(await get('?query={a}&query=mutation{b}')).toBe(503);
    expect(await get('?id=abc')).toBe(503);
    expect(await get(`?extensions=${encodeURIComponent('{"persistedQuery":{"sha256Hash":"x"}}')}`)).toBe(503);
  });

  test('batches of reads pass; what is not understood to the letter is a write', async () => {
    expect((await post(`[${ask('{ a }')},${ask('{ b }')}]`)).status).toBe(200);
    const writes: [string, Record<string, string>?, string?][] = [
      [`[${ask('{ a }')},${ask('mutation { b }')}]`],
      ['[]'],
      ['{"id":"abc"}'],
      [ask('{ a }', { id: 'abc' })],
      [ask('{ a }', { extensions: { persistedQuery: { sha256Hash: 'x' } } })],
      ['{"query":"{ a }","query":"mutation { b }"}'],
      ['{"query":"{ a }","Query":"mutation { b }"}'],
      [`\ufeff${ask('{ a }')}`],
      [ask('{ a }'), { 'content-type': 'text/plain' }],
      [ask('{ a }'), { 'content-type': 'application/json; charset=utf-16' }],
      [ask('{ a }'), { 'content-type': 'multipart/form-data; boundary=x' }],
      [ask('{ a }'), { 'content-encoding': 'gzip' }],
      [ask('{ a }'), {}, '/graphql?query=mutation%7Bb%7D'],
      [ask('{ a }'), {}, '/graphql/'],
      [ask('{ a }'), {}, '/GraphQL'],
      [ask('{ a }'), { 'x-http-method-override': 'DELETE' }],
      [''],
    ];
    for (const [body, headers, path] of writes) {
      expect([body, (await post(body, headers, path)).status]).toEqual([body, 503]);
    }
    expect(world.seen).toHaveLength(1);
  });

  test('with buffer: mutations are kept, queries pass; also behind earlier ones after the window', async () => {
    const key = { 'idempotency-key': '"m-1"', 'x-account': '7' };
    expect((await post(ask('{ a }'), {}, '/kept')).status).toBe(200);
    expect((await post(ask('mutation { a }'), {}, '/kept')).status).toBe(400);
    const kept = await post(ask('mutation { a }'), key, '/kept');
    expect(kept.status).toBe(202);
    const { receipt } = (await kept.json()) as { receipt: string };
    expect(Buffer.from(queue.kept.at(-1)?.write.body ?? '').toString()).toBe(ask('mutation { a }'));
    expect((await post(ask(`mutation { ${'a'.repeat(1000)} }`), key, '/kept')).status).toBe(503);
    world.sink.document(null);
    expect((await post(ask('mutation { b }'), { ...key, 'idempotency-key': '"m-2"' }, '/kept')).status).toBe(202);
    expect((await post(ask('{ b }'), key, '/kept')).status).toBe(200);
    expect((await post(ask('mutation { c }'), { ...key, 'x-account': '8' }, '/kept')).status).toBe(200);
    expect(world.seen.map(({ body }) => body)).toEqual([ask('{ a }'), ask('{ b }'), ask('mutation { c }')]);
    for (const each of queue.kept) queue.settle(each.receipt, 'applied');
    expect((await fetch(`${world.url}/.well-known/maintenance/receipts/${receipt}`)).status).toBe(200);
    expect(world.guard.counts().inFlight.total).toBe(0);
  });
});

test('application/graphql: the body is the document', async () => {
  world = await openGuarded('node:http', { surfaces: surfaces.slice(0, 1) });
  world.sink.document(holders());
  const type = { 'content-type': 'application/graphql' };
  expect((await post('{ a }', type)).status).toBe(200);
  expect((await post('mutation { a }', type)).status).toBe(503);
});
