import { expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { listDigest } from '../../../packages/guard/src/list.ts';
import { compileSurfaces } from '../../../packages/guard/src/surfaces.ts';
import { scopeOf } from '../../../src/report/scope.ts';
import { parseSurfaces } from '../../../src/runbook/surfaces.ts';

const FILE = `version: 1
surfaces:
  - name: chat
    kind: http
    match: { methods: [PUT, POST], path: /chat/:room }
    disposition: buffer
    order: { param: room }
    tenant: { header: X-Tenant }
    keep_headers: [X-Trace, Content-Language]
    not_credentials: [X-Session-Kind]
    owner: chat team
  - { name: api, kind: graphql, match: { path: /graphql } }
  - { name: mail, kind: tool, match: { names: [send_mail, "crm.*"] } }
  - { name: search, kind: http, match: { methods: [POST], path: /search }, disposition: pass }
`;
const ofFile = listDigest(parseSurfaces(FILE, 's.yaml'));
const ofText = (text: string) => listDigest(parse(text).surfaces);

test('the file as a service hands it in and as maint reads it are one list', () => {
  expect(ofText(FILE)).toBe(ofFile);
  expect(compileSurfaces(parse(FILE), []).digest).toBe(ofFile);
  expect(ofFile).toMatch(/^[0-9a-f]{16}$/);
});

test.each([
  ['an owner', 'owner: chat team', 'owner: somebody else'],
  ['the order of methods', '[PUT, POST]', '[POST, PUT]'],
  ['a default that is written out', '/graphql } }', '/graphql, operations: [mutation] } }'],
  ['the capitals of a header', 'X-Tenant', 'x-tenant'],
])('%s does not make another list', (_what, from, to) => {
  expect(FILE).toContain(from);
  expect(ofText(FILE.replace(from, to))).toBe(ofFile);
});

test.each([
  ['a path', '/chat/:room', '/chats/:room'],
  ['a method', '[PUT, POST]', '[PUT]'],
  ['a disposition', 'disposition: pass', 'disposition: drop'],
  ['the name of a call', 'send_mail', 'send_letter'],
  ['an order', '{ param: room }', '{ header: X-Room }'],
  ['a tenant', 'tenant: { header: X-Tenant }', 'key: content'],
  ['an operation', '/graphql }', '/graphql, operations: [mutation, "query:Export"] }'],
  ['a size', 'owner: chat team', 'max_bytes: 10'],
])('%s does', (_what, from, to) => {
  expect(FILE).toContain(from);
  expect(ofText(FILE.replace(from, to))).not.toBe(ofFile);
});

test('and the order of the list, which decides who is first', () => {
  const { surfaces } = parse(FILE);
  expect(listDigest(surfaces.toReversed())).not.toBe(ofFile);
});

const none = { refused: 0, queued: 0, dropped: 0, passed: 0 };
const seen = (surfaces: Record<string, typeof none>, digest?: string) => [
  { guard: 'api', silent: false, seen: { surfaces, digest, unnamed: [] } as never },
];
const all = { chat: none, api: none, mail: none, search: none };

test.each([
  ['the same', all, ofFile, { list: 'same', lacks: [], extra: [] }],
  ['other rules under the same names', all, 'ffffffffffffffff', { list: 'other', lacks: [], extra: [] }],
  ['an earlier guard with the same names', all, undefined, { list: null, lacks: [], extra: [] }],
  [
    'an earlier guard without one of them',
    { chat: none, api: none, mail: none },
    undefined,
    { list: 'other', lacks: ['search'], extra: [] },
  ],
  [
    'a surface that the file has no more',
    { ...all, import: none },
    'x',
    { list: 'other', lacks: [], extra: ['import'] },
  ],
  [
    'a call of the service that no list has',
    { ...all, cron_mail: { ...none, refused: 2 }, unnamed: none },
    ofFile,
    { list: 'same', lacks: [], extra: [] },
  ],
  [
    'so many names that the last are counted as one',
    { chat: none, other: none },
    ofFile,
    { list: 'same', lacks: [], extra: [] },
  ],
])('a guard with %s', (_what, surfaces, digest, is) => {
  const { guards } = scopeOf(parseSurfaces(FILE, 's.yaml'), seen(surfaces, digest), undefined);
  expect(guards).toEqual([{ guard: 'api', problem: null, counts: true, ...is }]);
});
