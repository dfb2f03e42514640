import { beforeEach, describe, expect, test } from '@jest/globals';
import {
  createBudget,
  createFetch,
  type FetchOptions,
  type Retry,
  type RetryError,
} from '../../../packages/client/src/index.ts';

interface Sent {
  url: string;
  method: string;
  key: string | null;
  type: string | null;
  body: string;
}

let sent: Sent[];
let retries: Retry[];
beforeEach(() => {
  sent = [];
  retries = [];
});

type Reply = Response | Error | (() => Promise<Response>);

/** A fetch that gives these, one after the other, the last one again and again. */
function client(replies: Reply[], options: FetchOptions = {}) {
  return createFetch({
    budget: createBudget({ burst: 100 }),
    maxJitterMs: 5,
    baseMs: 5,
    onRetry: (retry) => retries.push(retry),
    fetch: async (url: string, init: RequestInit) => {
      const request = new Request(url, init);
      const body = await request.text();
      const { method, headers } = request;
      sent.push({ url, method, key: headers.get('idempotency-key'), type: headers.get('content-type'), body });
      const reply = replies[Math.min(sent.length, replies.length) - 1] as Reply;
      init.signal?.throwIfAborted();
      if (reply instanceof Error) throw reply;
      if (typeof reply !== 'function') return reply.clone();
      return await new Promise<Response>((resolve, reject) => {
        init.signal?.addEventListener('abort', () => reject(init.signal?.reason));
        reply().then(resolve, reject);
      });
    },
    ...options,
  });
}

function problem(status: number, code: string, headers: Record<string, string> = {}, more = {}): Response {
  return new Response(JSON.stringify({ code, ...more }), {
    status,
    headers: { 'content-type': 'application/problem+json', ...headers },
  });
}
const done = new Response('done');
const refused = problem(503, 'read_only', { 'retry-after': '0.02' });
const reset = new TypeError('fetch failed', { cause: Object.assign(new Error('reset'), { code: 'ECONNRESET' }) });
const never = new TypeError('fetch failed', { cause: Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }) });
const post = { method: 'POST', body: '{"a":1}' };
const WITH_SECRET = 'http://api.example/notes?token=secret';

async function failureOf(call: Promise<unknown>): Promise<RetryError> {
  const error = await call.then(
    () => new Error('it was answered'),
    (reason) => reason,
  );
  expect(error).toMatchObject({ name: 'RetryError' });
  return error as RetryError;
}

describe('tried again', () => {
  test.each([
    ['503', refused],
    ['503 without a code', new Response('', { status: 503, headers: { 'retry-after': '0' } })],
    ['429', new Response('', { status: 429 })],
    ['423 read_only', problem(423, 'read_only', { 'retry-after': '0.01' })],
    ['409 in flight', problem(409, 'idempotency_in_flight')],
    ['a connection that was never made', never],
  ])('POST: %s', async (_what, reply) => {
    const answer = await client([reply, reply, done])('http://api.example/notes', post);
    expect(await answer.text()).toBe('done');
    expect(sent).toHaveLength(3);
    expect(sent.map(({ body }) => body)).toEqual([post.body, post.body, post.body]);
  });

  test.each([
    ['502', new Response('', { status: 502 })],
    ['503 that does not say when', new Response('', { status: 503 })],
    ['a lost connection', reset],
  ])('GET, PUT, and POST where keys are honoured: %s', async (_what, reply) => {
    expect((await client([reply, done])('http://api.example/notes')).status).toBe(200);
    expect((await client([reply, done])('http://api.example/notes/7', { method: 'PUT', body: 'x' })).status).toBe(200);
    sent = [];
    expect((await client([reply, done], { honoursKeys: true })('http://api.example/notes', post)).status).toBe(200);
    expect(sent).toHaveLength(2);
  });
});

describe('final', () => {
  test.each([200, 202, 400, 404, 422, 500])('%d is returned as it is', async (status) => {
    const answer = await client([problem(status, 'idempotency_key_reused', { 'retry-after': '0' })])(
      'http://api.example/notes',
      post,
    );
    expect(answer.status).toBe(status);
    expect(await answer.json()).toEqual({ code: 'idempotency_key_reused' });
    expect(sent).toHaveLength(1);
  });

  test.each([
    ['423 of a lock', problem(423, 'locked', { 'retry-after': '0' })],
    ['502 for a POST', new Response('', { status: 502 })],
    ['503 for a POST that does not say when', new Response('', { status: 503 })],
  ])('%s', async (_what, reply) => {
    expect((await client([reply])('http://api.example/notes', post)).status).toBe(reply.status);
    expect(sent).toHaveLength(1);
  });
});

describe('Idempotency-Key', () => {
  test('one per write, kept over its retries, a structured-field string', async () => {
    const send = client([refused, refused, done]);
    await send('http://api.example/notes', post);
    await send('http://api.example/notes', post);
    const keys = sent.map(({ key }) => key);
    expect(keys[0]).toMatch(/^"[0-9a-f]{32}"$/);
    expect(new Set(keys.slice(0, 3)).size).toBe(1);
    expect(keys[3]).not.toBe(keys[0]);
  });

  test('the caller’s own stays; reads get none; it can be switched off', async () => {
    await client([refused, done])('http://api.example/', { ...post, headers: { 'Idempotency-Key': '"mine"' } });
    await client([done])('http://api.example/');
    await client([done], { idempotencyKeys: false })('http://api.example/', post);
    expect(sent.map(({ key }) => key)).toEqual(['"mine"', '"mine"', null, null]);
  });
});

describe('waits', () => {
  test('never less than Retry-After, and a random time on top that differs', async () => {
    const send = client([problem(503, 'read_only', { 'retry-after': '0.03' }), done], { maxJitterMs: 40 });
    const waits: number[] = [];
    for (let n = 0; n < 8; n++) {
      sent = [];
      const began = performance.now();
      await send('http://api.example/', post);
      waits.push(retries.at(-1)?.waitMs ?? 0);
      expect(performance.now() - began).toBeGreaterThan(29);
    }
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(30);
    expect(Math.max(...waits)).toBeLessThan(70);
    expect(new Set(waits).size).toBe(8);
  });

  test.each([
    ['1', 1000, 2000],
    ['30', 30_000, 45_000],
    ['3600', 3_600_000, 3_660_000],
  ])('Retry-After: %s waits from %d to %d ms', async (after, least, most) => {
    for (const random of [0, 0.999999]) {
      const aborted = new AbortController();
      const send = client([problem(503, 'read_only', { 'retry-after': after })], {
        maxJitterMs: 60_000,
        deadlineMs: 1e9,
        random: () => random,
        onRetry: (retry) => {
          retries.push(retry);
          aborted.abort();
        },
      });
      await expect(send('http://api.example/', { signal: aborted.signal })).rejects.toThrow('abort');
    }
    expect(retries.map(({ waitMs }) => Math.round(waitMs))).toEqual([least, most]);
  });

  test('without it: full jitter under a doubling cap', async () => {
    const send = client([new Response('', { status: 429 })], {
      random: () => 0.999999,
      baseMs: 2,
      maxBackoffMs: 10,
      maxAttempts: 6,
    });
    await failureOf(send('http://api.example/'));
    expect(retries.map(({ waitMs }) => Math.round(waitMs))).toEqual([2, 4, 8, 10, 10]);
  });
});

describe('the deadline', () => {
  test('Retry-After past it: fails at once, and says until when', async () => {
    const until = '2100-01-01T00:00:00Z';
    const began = performance.now();
    const error = await failureOf(
      client([problem(503, 'read_only', { 'retry-after': '1800' }, { until, contact: '#ops' })])(WITH_SECRET, {
        ...post,
        deadlineMs: 5000,
      }),
    );
    expect(performance.now() - began).toBeLessThan(5000);
    expect(error).toMatchObject({
      code: 'past_deadline',
      until,
      status: 503,
      attempts: 1,
      place: 'POST http://api.example/notes',
    });
    expect(error.message).toBe(
      `POST http://api.example/notes: 503 read_only until ${until}; that is past the deadline of 5 s. Try again after ${until}, with the same Idempotency-Key. Or wait for it: a larger deadlineMs.`,
    );
    expect(error.problem).toMatchObject({ contact: '#ops' });
    expect(error.idempotencyKey).toBe(sent[0]?.key);
    expect(await (error.response as Response).json()).toMatchObject({ code: 'read_only' });
    expect(JSON.stringify(error) + error.stack).not.toContain('secret');
  });

  test('retries never exceed it, jitter included', async () => {
    const error = await failureOf(
      client([problem(503, 'read_only', { 'retry-after': '0.02' })], { maxJitterMs: 1000, deadlineMs: 150 })(
        'http://api.example/',
        post,
      ),
    );
    // as planned: when a timer fires on a busy machine is not the client's
    expect(retries.reduce((sum, { waitMs }) => sum + waitMs, 0)).toBeLessThan(155);
    expect(error.code).toBe('past_deadline');
  });

  test('a try under way is cut', async () => {
    const hangs = () => new Promise<Response>(() => {});
    const error = await failureOf(client([hangs])('http://api.example/', { ...post, deadlineMs: 30 }));
    expect(error).toMatchObject({ code: 'past_deadline', status: null });
    expect(error.message).toContain('the write may have been applied');
  });

  test('the caller’s signal ends a wait at once, with its own reason', async () => {
    const aborter = new AbortController();
    const call = client([problem(503, 'read_only', { 'retry-after': '10' })])('http://api.example/', {
      ...post,
      signal: aborter.signal,
    });
    setTimeout(() => aborter.abort(new Error('the user left')), 20);
    await expect(call).rejects.toThrow('the user left');
    await expect(client([done])('http://api.example/', { signal: aborter.signal })).rejects.toThrow('the user left');
  });
});

describe('bodies', () => {
  test('a stream is sent once, and says so', async () => {
    const stream = () => new Blob(['{"a":1}']).stream();
    expect((await client([done])('http://api.example/', { method: 'POST', body: stream() })).status).toBe(200);
    const error = await failureOf(client([refused])('http://api.example/', { method: 'POST', body: stream() }));
    expect(error.code).toBe('body_not_replayable');
    expect(error.message).toMatch(/the body was a stream and is used up\. Try again after .* FormData/);
    expect(sent.map(({ body }) => body)).toEqual(['{"a":1}', '{"a":1}']);
  });

  test('a form is encoded once: another boundary would be another payload under the same key', async () => {
    const form = new FormData();
    form.set('file', new Blob(['x']), 'x.txt');
    await client([refused, refused, done])('http://api.example/', { method: 'POST', body: form });
    expect(sent).toHaveLength(3);
    expect(new Set(sent.map(({ body, type }) => body + type)).size).toBe(1);
    expect(sent[0]?.type).toMatch(/^multipart\/form-data; boundary=/);
  });

  test.each([
    ['text', 'a=1', 'text/plain;charset=UTF-8'],
    ['bytes', new TextEncoder().encode('a=1'), null],
    ['a Blob', new Blob(['a=1'], { type: 'text/x' }), 'text/x'],
    ['parameters', new URLSearchParams({ a: '1' }), 'application/x-www-form-urlencoded;charset=UTF-8'],
  ])('%s is sent again as it was', async (_what, body, type) => {
    await client([refused, done])('http://api.example/', { method: 'POST', body });
    expect(sent.map((each) => each.body)).toEqual(['a=1', 'a=1']);
    expect(sent[1]?.type).toBe(type);
  });

  test('a Request is sent again with its own method, headers and body', async () => {
    const request = new Request('http://api.example/notes', {
      method: 'PATCH',
      body: 'x',
      headers: { 'content-type': 'a/b' },
    });
    await client([refused, done])(request);
    expect(sent[1]).toEqual(sent[0]);
    expect(sent[1]).toMatchObject({ method: 'PATCH', body: 'x', type: 'a/b', url: 'http://api.example/notes' });
  });

  test('a Request with a body too large to keep is sent once', async () => {
    const request = () => new Request('http://api.example/notes', { method: 'POST', body: 'x'.repeat(2000) });
    const options = { maxReplayBytes: 1000 };
    expect((await client([done], options)(request())).status).toBe(200);
    expect(sent[0]?.body).toHaveLength(2000);
    expect((await failureOf(client([refused], options)(request()))).code).toBe('body_not_replayable');
  });
});

describe('gives up', () => {
  test('when the process has used up its retries', async () => {
    const budget = createBudget({ burst: 1, minPerSecond: 0, share: 0 });
    const send = client([refused], { budget });
    expect(await failureOf(send('http://api.example/', post))).toMatchObject({ code: 'budget_spent', attempts: 2 });
    expect(await failureOf(send('http://api.example/', post))).toMatchObject({ code: 'budget_spent', attempts: 1 });
    expect(sent).toHaveLength(3);
  });

  test('after maxAttempts', async () => {
    const error = await failureOf(client([refused], { maxAttempts: 2 })('http://api.example/', post));
    expect(error).toMatchObject({ code: 'attempts_spent', attempts: 2 });
  });

  test('on a write without an answer, with the key to look for', async () => {
    const error = await failureOf(client([reset])('http://api.example/', post));
    expect(error).toMatchObject({ code: 'outcome_unknown', status: null, cause: reset, idempotencyKey: sent[0]?.key });
    expect(sent).toHaveLength(1);
  });

  test('mistakes of the caller come as they are', async () => {
    const mistake = new TypeError('Request with GET/HEAD method cannot have body.');
    await expect(client([mistake])('http://api.example/')).rejects.toBe(mistake);
    await expect(client([done])('http://api.example/', { deadlineMs: 0 })).rejects.toThrow('deadlineMs: 0');
    expect(sent).toHaveLength(1);
  });
});
