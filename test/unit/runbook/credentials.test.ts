// One rule of names for `runbook check`, for the guard at its start, and for each request that it keeps.
import { describe, expect, test } from '@jest/globals';
import { createGuard } from '../../../packages/guard/src/index.ts';
import { newIntent } from '../../../packages/intents/src/identity.ts';
import { ALWAYS_CREDENTIALS, credentialInTarget, isCredential } from '../../../src/runbook/credentials.ts';
import { Problems } from '../../../src/runbook/problems.ts';
import { checkSurfaces } from '../../../src/runbook/surfaces.ts';
import { memoryQueue } from '../../support/memory-queue.ts';

const CREDENTIALS = [
  ...[
    'authorization',
    'Cookie',
    'x-amz-signature',
    'X-Amz-Credential',
    'access_token',
    'sessionId',
    'SESSIONID',
    'sid',
  ],
  ...['api-key', 'apikey', 'APIKey', 'AWSAccessKeyId', 'key', 'sig', 'sign', 'x-hub-signature-256', 'jsessionid'],
  ...['PHPSESSID', 'user[password]', 'Ocp-Apim-Subscription-Key', 'clientSecret', 'csrf_token', 'token2', 'db_pass'],
  ...[
    'id_token',
    'SAMLResponse',
    'x-goog-iap-jwt-assertion',
    'x-acme-session',
    'authtoken',
    'X-Forwarded-Access-Token',
  ],
];
const PLAIN = [
  ...['x-trace-id', 'traceparent', 'x-tenant', 'x-account', 'sort_key', 'routing-key', 'idempotency-key', 'author'],
  ...['max_tokens', 'passThrough', 'compass', 'design', 'signal', 'assignee', 'x-request-id', 'monkey', 'x-amz-date'],
  ...['keyboard', 'authority', 'if-match', 'content-type', 'considered'],
];

test('by the parts of a name, however they are joined', () => {
  expect(CREDENTIALS.filter((name) => !isCredential(name))).toEqual([]);
  expect(PLAIN.filter((name) => isCredential(name))).toEqual([]);
});

test('a surface may name exceptions, but never of what is always a credential', () => {
  expect(isCredential('X-Session-Kind', new Set(['x-session-kind']))).toBe(false);
  expect(isCredential('X-Session-Id', new Set(['x-session-kind']))).toBe(true);
  expect(isCredential('Authorization', new Set(['authorization']))).toBe(true);
});

test('the queue strips what is always one, whoever hands it in', () => {
  const headers = Object.fromEntries([...ALWAYS_CREDENTIALS, 'x-trace-id'].map((name) => [name, 'x']));
  const write = {
    surface: 'a',
    tenant: '',
    key: 'k',
    order: null,
    method: 'POST',
    target: '/a',
    receivedAt: 0,
    window: null,
  };
  expect(newIntent({ ...write, headers, body: new Uint8Array() }).headers).toEqual({ 'x-trace-id': 'x' });
});

test.each([
  ['/a?x=1&access_token=q', 'access_token'],
  ['/a?x=1;%61ccess_token=q', 'access_token'],
  ['/a?next=/b?token=q', 'token'],
  ['/a;jsessionid=1/b', 'jsessionid'],
  ['http://ann:secret@host/a', 'user'],
  ['/a?q=token&n=1', null],
  ['/a@b?n=1', null],
  ['/token/1', null],
  ['/a?token', null],
])('in the target %s', (target, found) => {
  expect(credentialInTarget(target)).toBe(found);
});

describe('what is refused as a surface', () => {
  function problems(more: string, path = '/a'): string[] {
    const text = `version: 1\nsurfaces:\n  - { name: a, kind: http, match: { methods: [POST], path: "${path}" }, disposition: buffer, ${more} }\n`;
    const found = new Problems();
    checkSurfaces(text, 's.yaml', found);
    return found.list.map((each) => `${each.path} ${each.message}`);
  }
  function guardSays(surface: object, path = '/a'): string | null {
    const all = [{ name: 'a', match: { methods: ['POST'], path }, disposition: 'buffer', ...surface }];
    try {
      const source = { start() {}, close() {} };
      void createGuard({ source, surfaces: all, queue: memoryQueue(), authorize: 'elsewhere' }).close();
      return null;
    } catch (error) {
      return (error as Error).message;
    }
  }

  test.each([
    ['tenant: { header: x-acme-session }', { tenant: { header: 'X-Acme-Session' } }, 'tenant.header'],
    ['order: { header: authorization }', { order: { header: 'authorization' } }, 'order.header'],
    ['keep_headers: [x-hub-signature]', { keep_headers: ['x-hub-signature'] }, 'keep_headers'],
  ])('%s', (text, surface, at) => {
    expect(problems(text)).toEqual([expect.stringContaining(at)]);
    expect(guardSays(surface)).toMatch(/is a credential|is never stored/);
  });

  test('a path with a credential in it, for the path is stored', () => {
    expect(problems('key: header', '/reset/:token')).toEqual([expect.stringContaining('match.path')]);
    expect(guardSays({}, '/reset/:token')).toMatch(/token is a credential/);
  });

  test('not where the surface says that it is none', () => {
    const text = 'tenant: { header: x-session-kind }, not_credentials: [X-Session-Kind]';
    expect(problems(text)).toEqual([]);
    expect(guardSays({ tenant: { header: 'x-session-kind' }, not_credentials: ['X-Session-Kind'] })).toBeNull();
    expect(problems('not_credentials: [cookie]')).toEqual([expect.stringContaining('not_credentials')]);
    expect(guardSays({ not_credentials: ['cookie'] })).toMatch(/cookie is always a credential/);
  });
});
