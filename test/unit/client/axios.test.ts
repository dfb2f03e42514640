// Against a real axios; only what sends is made up.
import { beforeEach, describe, expect, test } from '@jest/globals';
import axios, { AxiosError, type AxiosInstance, type InternalAxiosRequestConfig } from 'axios';
import { type ClientOptions, createBudget, installOn, type RetryError } from '../../../packages/client/src/index.ts';

interface Sent {
  key: string | undefined;
  type: string | undefined;
  data: unknown;
  url: string | undefined;
  timeout: number | undefined;
}
interface Reply {
  status: number;
  headers?: Record<string, string>;
  data?: unknown;
}

let sent: Sent[];
beforeEach(() => {
  sent = [];
});

function client(replies: (Reply | Error)[], options: ClientOptions = {}, settings = {}): AxiosInstance {
  const instance = axios.create({
    baseURL: 'http://user:secret@api.example/v1/',
    ...settings,
    adapter: async (config: InternalAxiosRequestConfig) => {
      sent.push({
        key: config.headers.get('idempotency-key') as string | undefined,
        type: config.headers.get('content-type') as string | undefined,
        data: config.data,
        url: axios.getUri(config),
        timeout: config.timeout,
      });
      const reply = replies[Math.min(sent.length, replies.length) - 1] as Reply | Error;
      if (reply instanceof Error) throw new AxiosError(reply.message, (reply as { code?: string }).code, config);
      const response = { statusText: '', headers: {}, data: '', ...reply, config, request: {} };
      if (config.validateStatus?.(reply.status) ?? true) return response;
      throw new AxiosError('bad status', 'ERR_BAD_RESPONSE', config, {}, response);
    },
  });
  installOn(instance, { budget: createBudget({ burst: 100 }), maxJitterMs: 5, baseMs: 5, ...options });
  return instance;
}

const done = { status: 200, data: 'done' };
const refused = {
  status: 503,
  headers: { 'retry-after': '0.02' },
  data: '{"code":"read_only","until":"2100-01-01T00:00:00Z"}',
};
const reset = Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' });

async function failureOf(call: Promise<unknown>): Promise<RetryError & AxiosError> {
  return (await call.then(
    () => new Error('it was answered'),
    (reason) => reason,
  )) as RetryError & AxiosError;
}

test('a write is tried again as it was, with one key', async () => {
  const answer = await client([refused, refused, done]).post('notes', { a: 1 }, { params: { q: 'x' } });
  expect(answer.data).toBe('done');
  expect(sent).toHaveLength(3);
  expect(new Set(sent.map(({ key, data, type, url }) => JSON.stringify([key, data, type, url]))).size).toBe(1);
  expect(sent[0]).toMatchObject({
    data: '{"a":1}',
    type: 'application/json',
    url: 'http://user:secret@api.example/v1/notes?q=x',
  });
  expect(sent[0]?.key).toMatch(/^"[0-9a-f]{32}"$/);
});

test.each([
  ['text', '{"code":"read_only"}'],
  ['parsed', { code: 'read_only' }],
  ['bytes', new TextEncoder().encode('{"code":"read_only"}')],
])('423 is tried again where the problem says read_only: %s', async (_what, data) => {
  const locked = { status: 423, headers: { 'retry-after': '0.01' }, data };
  expect((await client([locked, done]).post('notes')).status).toBe(200);
  expect(sent).toHaveLength(2);
});

test.each([
  ['422', { status: 422, data: { code: 'idempotency_key_reused' } }],
  ['423 of a lock', { status: 423, headers: { 'retry-after': '0' } }],
  ['502 of a write', { status: 502 }],
])('final, and rejected as axios does: %s', async (_what, reply) => {
  expect(await failureOf(client([reply]).post('notes'))).toMatchObject({
    name: 'AxiosError',
    response: { status: reply.status },
  });
  expect(sent).toHaveLength(1);
});

test('a caller who takes every status for good is served too', async () => {
  const all = { validateStatus: () => true };
  expect((await client([refused, done], {}, all).post('notes')).status).toBe(200);
  expect((await client([{ status: 422 }], {}, all).post('notes')).status).toBe(422);
});

test('a lost connection: reads go again, writes only where keys are honoured', async () => {
  expect((await client([reset, done]).get('notes')).status).toBe(200);
  const error = await failureOf(client([reset]).post('notes'));
  expect(error).toMatchObject({
    name: 'RetryError',
    code: 'outcome_unknown',
    place: 'POST http://api.example/v1/notes',
  });
  expect(error.cause).toMatchObject({ name: 'AxiosError', code: 'ECONNRESET' });
  sent = [];
  expect((await client([reset, done], { honoursKeys: true }).post('notes')).status).toBe(200);
  expect(sent).toHaveLength(2);
});

describe('the deadline', () => {
  test('Retry-After past it fails at once; a call may bring its own', async () => {
    const later = { ...refused, headers: { 'retry-after': '600' } };
    const error = await failureOf(client([later]).post('notes', {}, { deadlineMs: 2000 } as object));
    expect(error).toMatchObject({ code: 'past_deadline', until: '2100-01-01T00:00:00Z', status: 503 });
    expect((error.response as { status: number } | undefined)?.status).toBe(503);
    expect(error.message).toContain('past the deadline of 2 s');
  });

  test('it is each try’s timeout, where the caller’s is not shorter', async () => {
    await client([refused, done], { deadlineMs: 5000 }).post('notes');
    await client([done], { deadlineMs: 5000 }).post('notes', {}, { timeout: 70 });
    expect(sent[0]?.timeout).toBeLessThanOrEqual(5000);
    expect(sent[1]?.timeout).toBeLessThan(sent[0]?.timeout as number);
    expect(sent[2]?.timeout).toBe(70);
  });
});

test('a stream is sent once; a form is encoded once', async () => {
  const stream = new Blob(['x']).stream();
  expect(await failureOf(client([refused]).post('notes', stream))).toMatchObject({ code: 'body_not_replayable' });
  sent = [];
  const form = new FormData();
  form.set('a', '1');
  await client([refused, done]).post('notes', form);
  const bodies = sent.map(({ data, type }) => `${new TextDecoder().decode(data as ArrayBuffer)} ${type}`);
  expect(bodies[1]).toBe(bodies[0]);
  expect(bodies[0]).toMatch(/^--(\S+)\r\n.*name="a".* multipart\/form-data; boundary=\1?/s);
});

test('an aborted call is not tried again', async () => {
  const aborter = new AbortController();
  const call = client([{ ...refused, headers: { 'retry-after': '10' } }]).post('notes', {}, { signal: aborter.signal });
  setTimeout(() => aborter.abort(new Error('the user left')), 20);
  expect((await failureOf(call)).message).toBe('the user left');
  expect(sent).toHaveLength(1);
});

test('it can be taken off', async () => {
  const instance = axios.create({ adapter: async (config) => ({ ...refused, statusText: '', headers: {}, config }) });
  const off = installOn(instance);
  off();
  expect((await instance.post('http://api.example/')).config.headers.get('idempotency-key')).toBeUndefined();
});
