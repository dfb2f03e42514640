import { describe, expect, test } from '@jest/globals';
import { Problems, RunbookError } from '../../../src/runbook/problems.ts';
import { checkSurfaces, matchesPath, parseSurfaces } from '../../../src/runbook/surfaces.ts';
import { EVERYTHING } from './every-surface.ts';

const GOOD = `version: 1
surfaces:
  - name: documents
    kind: http
    match: { methods: [POST, PUT, PATCH, DELETE], path: "/documents/:id?" }
    disposition: refuse
    status: 423
    canary: { method: POST, path: /documents, body: {}, headers: { x-canary: "1" } }
  - { name: rest, kind: http, match: { methods: [POST], path: "/*" }, disposition: refuse }
  - { name: search, kind: http, match: { methods: [POST], path: /search }, disposition: pass }
`;

test('a good file', () => {
  const surfaces = parseSurfaces(GOOD, 's.yaml');
  expect(surfaces[0]).toEqual({
    name: 'documents',
    kind: 'http',
    match: { methods: ['POST', 'PUT', 'PATCH', 'DELETE'], path: '/documents/:id?' },
    disposition: 'refuse',
    status: 423,
    canary: { method: 'POST', path: '/documents', body: {}, headers: { 'x-canary': '1' } },
  });
  expect(surfaces[1]).toMatchObject({ status: 503 });
  expect(surfaces[2]).toMatchObject({ name: 'search', disposition: 'pass' });
});

test('everything that can be said', () => {
  const surfaces = parseSurfaces(EVERYTHING, 's.yaml');
  expect(surfaces[0]).toEqual({
    name: 'notes',
    kind: 'http',
    match: { methods: ['POST'], path: '/tenants/:tenant/notes' },
    disposition: 'buffer',
    status: 503,
    order: { param: 'tenant' },
    tenant: { header: 'X-Account' },
    key: 'header',
    credential: 'service',
    keep_headers: ['x-trace-id'],
    not_credentials: ['x-session-kind'],
    max_bytes: 65536,
    owner: 'search-team',
    canary: { method: 'POST', path: '/tenants/canary/notes', body: {} },
  });
  expect(surfaces[1]).toMatchObject({ key: 'content', credential: 'service' });
  expect(surfaces[2]).toEqual({
    name: 'graphql',
    kind: 'graphql',
    match: { methods: ['POST', 'GET'], path: '/graphql', operations: ['mutation'] },
    disposition: 'refuse',
    status: 503,
  });
  expect(surfaces[4]!.match).toEqual({ methods: ['POST', 'GET'], path: '/schema' });
  expect(surfaces[5]).toEqual({
    name: 'mail',
    kind: 'tool',
    match: { names: ['send_mail', 'crm.*'] },
    disposition: 'refuse',
    status: 503,
  });
  expect(surfaces[9]).toMatchObject({ disposition: 'drop', status: 204 });
  expect(surfaces[10]).toMatchObject({ disposition: 'pass', purpose: 'token_refresh' });
});

test('what a window has stored is read as it was taken then, a passing pattern too', () => {
  const text =
    'version: 1\nsurfaces:\n  - { name: a, kind: http, match: { methods: [POST], path: "/search/*" }, disposition: pass }\n';
  const fresh = new Problems();
  checkSurfaces(text, 's.yaml', fresh);
  expect(fresh.list.map(({ message }) => message)).toEqual(['passes, and what passes is exact']);
  const stored = new Problems();
  expect(checkSurfaces(text, 's.yaml', stored, true).surfaces).toHaveLength(1);
  expect(stored.list).toEqual([]);
});

describe('bad ones', () => {
  const one = (line: string) => `version: 1\nsurfaces:\n  - { ${line} }\n`;
  const http = 'name: a, kind: http, disposition: refuse';
  test.each<[string, string[]]>([
    ['', ['1:1  is empty  found nothing  allowed a map that begins with version: 1']],
    ['version: 1\nsurfaces: []\n', ['2:11  surfaces  is out of range  found an empty list  allowed at least 1 entry']],
    [
      one('name: a, kind: http, disposition: pass, match: { methods: [POST], path: /a }, status: 423'),
      [
        '3:85  surfaces[0].status  means nothing here: this surface is not refused  found status  allowed with disposition: refuse',
      ],
    ],
    [
      one('name: a, kind: htp, disposition: block, match: { methods: [POST], path: /a }'),
      [
        '3:22  surfaces[0].kind  is not one of the values  found "htp"  allowed http, graphql, vector, kv, tool, job  did you mean http?',
        '3:40  surfaces[0].disposition  is not one of the values  found "block"  allowed refuse, buffer, drop, pass',
      ],
    ],
    [
      one(`${http}, match: { methods: [psot, post], path: a }, status: 500`),
      [
        '3:68  surfaces[0].match.methods[0]  is not one of the values  found "psot"  allowed POST, PUT, PATCH, DELETE, GET, HEAD, OPTIONS  did you mean POST?',
        '3:74  surfaces[0].match.methods[1]  is not one of the values  found "post"  allowed POST, PUT, PATCH, DELETE, GET, HEAD, OPTIONS  did you mean POST?',
        '3:87  surfaces[0].match.path  has the wrong form  found "a"  allowed a path that begins with /',
        '3:100  surfaces[0].status  is none of the forms  found 500  allowed 503, or 423, or 204',
      ],
    ],
    [one(`${http}`), ['3:5  surfaces[0].match  is missing  allowed a map']],
    [
      one(`${http}, match: { methods: [POST], path: "/a/*/b" }`),
      [
        '3:81  surfaces[0].match.path  has a * that is no segment at the end  found "/a/*/b"  allowed whole segments, :param, :param?, a final *',
      ],
    ],
    [
      one(`${http}, match: { methods: [POST], path: "/a/:x?/b" }`),
      [
        '3:81  surfaces[0].match.path  has an optional parameter before the end (:x?)  found "/a/:x?/b"  allowed whole segments, :param, :param?, a final *',
      ],
    ],
    [
      one(`${http}, match: { methods: [POST], path: /a }, canary: { method: PUT, path: /b }`),
      [
        '3:105  surfaces[0].canary.method  is no method of its own surface  found "PUT"  allowed POST',
        '3:116  surfaces[0].canary.path  is not matched by its own surface  found "/b"  allowed /a',
      ],
    ],
    [
      `version: 1\nsurfaces:\n  - { ${http}, match: { methods: [POST], path: /a } }\n  - { ${http}, match: { methods: [POST], path: /b } }\n`,
      ['4:13  surfaces[1].name  is the name of surfaces[0] already  found "a"  allowed a name of its own'],
    ],
    [
      one(
        'name: a, kind: http, disposition: buffer, match: { methods: [POST, GET], path: "/a/:id" }, credential: user, key: content, canary: { method: POST, path: /a/1 }',
      ),
      [
        '3:74  surfaces[0].match.methods[1]  cannot be buffered: who reads has no use for a receipt  found "GET"  allowed POST, PUT, PATCH, DELETE',
        '3:110  surfaces[0].credential  cannot be replayed: the credential of a user is never stored, and would have expired  found user  allowed service, or disposition: refuse',
        '3:130  surfaces[0].canary  would be stored and applied: this surface makes a key for every write that has none  found canary  allowed key: header, or no canary',
      ],
    ],
    [
      one('name: a, kind: tool, match: { methods: [POST], path: /a }, status: 423, canary: { method: POST, path: /a }'),
      [
        '3:35  surfaces[0].match.names  is missing  allowed a list, like [send_mail, "crm.*"]',
        '3:37  surfaces[0].match.methods  means nothing here: a tool is matched by the name of its call  found methods  allowed names: [send_mail]',
        '3:54  surfaces[0].match.path  means nothing here: a tool is matched by the name of its call  found path  allowed names: [send_mail]',
        '3:66  surfaces[0].status  means nothing here: a tool is not answered over HTTP  found status  allowed with kind: http',
        '3:79  surfaces[0].canary  means nothing here: a tool has no address to send one to  found canary  allowed with kind: http',
      ],
    ],
    [
      one('name: a, kind: tool, match: { names: [a] }, disposition: buffer'),
      [
        '3:64  surfaces[0].disposition  is for requests: the call of a function cannot be stored and sent again  found buffer  allowed refuse, drop, pass',
      ],
    ],
    [
      one('name: a, kind: kv, match: { methods: [PUT] }, disposition: refuse'),
      [
        '3:33  surfaces[0].match.path  is missing  allowed a path that begins with /, or names: a list of wrapped calls',
        '3:35  surfaces[0].match.methods  means nothing here: there is no path  found methods  allowed with match.path',
      ],
    ],
    [
      one('name: a, kind: http, match: { names: [a], operations: [mutation] }'),
      [
        '3:35  surfaces[0].match.path  is missing  allowed a path that begins with /',
        '3:37  surfaces[0].match.names  means nothing here: http is matched by its path  found names  allowed with kind: tool, job, vector or kv',
        '3:49  surfaces[0].match.operations  means nothing here: http has no operations  found operations  allowed with kind: graphql',
      ],
    ],
    [
      one('name: a, kind: vector, match: { names: [a, "b*c"], path: /v, methods: [PUT] }, disposition: buffer'),
      [
        '3:50  surfaces[0].match.names[1]  has the wrong form  found "b*c"  allowed a name, or the beginning of names with a final *',
      ],
    ],
    [
      one('name: a, kind: http, match: { methods: [POST], path: /a }, order: { param: x }, max_bytes: 1, status: 204'),
      [
        '3:66  surfaces[0].order  means nothing here: nothing of this surface is stored  found order  allowed with disposition: buffer',
        '3:87  surfaces[0].max_bytes  means nothing here: nothing of this surface is stored  found max_bytes  allowed with disposition: buffer',
        '3:109  surfaces[0].status  tells the client that the write was done  found 204  allowed 503, 423, or 204 with disposition: drop',
      ],
    ],
    [
      one('name: a, kind: http, match: { methods: [POST], path: "/a/:id" }, disposition: pass, status: 204'),
      [
        '3:91  surfaces[0].status  means nothing here: this surface is not refused  found status  allowed with disposition: refuse',
      ],
    ],
    [
      one(
        'name: a, kind: http, match: { methods: [POST], path: "/a/:id" }, disposition: buffer, order: { param: tenant }, tenant: { param: id, header: x }, max_bytes: 0',
      ),
      [
        '3:109  surfaces[0].order.param  is no parameter of its path  found "tenant"  allowed id',
        '3:127  surfaces[0].tenant  is two places of a request  found param and header  allowed { param: … } or { header: … }',
        '3:164  surfaces[0].max_bytes  is out of range  found 0  allowed a number, at least 1',
      ],
    ],
    [
      one(
        'name: a, kind: http, match: { methods: [POST], path: /a }, disposition: buffer, order: { param: id }, tenant: {}, keep_headers: [Authorization, idempotency-key, x-my-token, x-trace], status: 204',
      ),
      [
        '3:103  surfaces[0].order.param  is no parameter of its path  found "id"  allowed a path with a :param, or { header: … }',
        '3:117  surfaces[0].tenant  is no place of a request  found neither param nor header  allowed { param: … } or { header: … }',
        '3:136  surfaces[0].keep_headers[0]  is a credential, and would be stored  found "Authorization"  allowed a name that is not a credential, or not_credentials: [it] where it only looks like one',
        '3:151  surfaces[0].keep_headers[1]  is set anew when the write is applied  found "idempotency-key"  allowed other headers',
        '3:168  surfaces[0].keep_headers[2]  is a credential, and would be stored  found "x-my-token"  allowed a name that is not a credential, or not_credentials: [it] where it only looks like one',
        '3:198  surfaces[0].status  tells the client that the write was done  found 204  allowed 503, 423, or 204 with disposition: drop',
      ],
    ],
    [
      one(
        'name: a, kind: http, match: { methods: [POST], path: /a }, disposition: buffer, tenant: { header: Cookie }, purpose: login, canary: { method: POST, path: /a, headers: { Idempotency-Key: x } }',
      ),
      [
        '3:105  surfaces[0].tenant.header  is a credential, and would be stored  found "Cookie"  allowed a name that is not a credential, or not_credentials: [it] where it only looks like one',
        '3:124  surfaces[0].purpose  cannot be buffered: the client waits for its answer, and the credentials in it are not stored  found login  allowed disposition: pass or refuse',
        '3:176  surfaces[0].canary.headers.Idempotency-Key  would make the canary a write that is stored and applied  found Idempotency-Key  allowed a canary without it',
      ],
    ],
    [
      one('name: a, kind: http, match: { methods: [POST], path: /a }, disposition: drop, purpose: logout'),
      [
        '3:94  surfaces[0].purpose  cannot be dropped: somebody must be told that it was not done  found logout  allowed disposition: pass or refuse',
      ],
    ],
    [
      one('name: a, kind: graphql, match: { path: /g, operations: [queries, "mutation:a-b"] }, disposition: pass'),
      [
        '3:50  surfaces[0].match.operations  means nothing here: this surface passes whole  found operations  allowed with disposition: refuse',
        '3:63  surfaces[0].match.operations[0]  has the wrong form  found "queries"  allowed mutation, query or subscription, each also with :Name',
        '3:72  surfaces[0].match.operations[1]  has the wrong form  found "mutation:a-b"  allowed mutation, query or subscription, each also with :Name',
      ],
    ],
    [
      one('name: a, kind: http, match: { methods: [POST], path: "/a/%2e/:x/:x" }, disposition: refuse'),
      [
        '3:60  surfaces[0].match.path  has a segment that servers read in two ways  found "%2e"  allowed plain words, without %, ;, \\ and without . and ..',
        '3:60  surfaces[0].match.path  has a parameter twice  found ":x"  allowed each name once',
      ],
    ],
    [
      one('name: a, kind: job, match: { names: ["a.*"] }, disposition: pass'),
      ['3:44  surfaces[0].match.names[0]  passes, and what passes is exact  found "a.*"  allowed whole names'],
    ],
    [
      one('name: a, kind: kv, match: { names: [a] }, disposition: buffer'),
      [
        '3:62  surfaces[0].disposition  is for requests: the call of a function cannot be stored and sent again  found buffer  allowed refuse, drop, pass',
      ],
    ],
    [
      one('name: a, kind: http, match: { methods: [POST], path: "/a/:id?" }, disposition: pass'),
      [
        '3:60  surfaces[0].match.path  passes, and what passes is exact  found "/a/:id?"  allowed whole segments and :param',
      ],
    ],
    [
      `version: 1\nshortest_token_life: soon\nsurfaces:\n  - { name: a, kind: tool, match: { names: [x] } }\n  - { name: b, kind: tool, match: { names: [y, x] } }\n  - { name: c, kind: job, match: { names: [x] } }\n`,
      [
        '2:22  shortest_token_life  has the wrong form  found "soon"  allowed a duration like 30s, 5m, 1h30m, at most 30 days',
        '5:48  surfaces[1].match.names[1]  is named by surfaces[0] already  found "x"  allowed each name once',
      ],
    ],
  ])('%j', (text, says) => {
    let error: unknown;
    try {
      parseSurfaces(text, 's.yaml');
    } catch (e) {
      error = e;
    }
    expect(error).toBeInstanceOf(RunbookError);
    expect((error as RunbookError).details).toEqual(says.map((line) => `s.yaml:${line}`));
  });
});

test.each<[string, string, boolean]>([
  ['/docs', '/docs', true],
  ['/docs', '/docs/', true],
  ['/docs', '/docs/1', false],
  ['/docs', '/Docs', false],
  ['/docs/:id', '/docs', false],
  ['/docs/:id', '/docs/1', true],
  ['/docs/:id?', '/docs', true],
  ['/docs/:id?', '/docs/1/2', false],
  ['/docs/*', '/docs', true],
  ['/docs/*', '/docs/1/2', true],
  ['/*', '/', true],
  ['/', '/', true],
  ['/', '/a', false],
  ['/docs', '/%64ocs', true],
  ['/docs', '/%zz', false],
])('%s matches %s: %s', (pattern, path, is) => {
  expect(matchesPath(pattern, path)).toBe(is);
});
