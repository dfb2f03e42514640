import { describe, expect, test } from '@jest/globals';
import { RunbookError } from '../../../src/runbook/problems.ts';
import { matchesPath, parseSurfaces } from '../../../src/runbook/surfaces.ts';

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

describe('bad ones', () => {
  const one = (line: string) => `version: 1\nsurfaces:\n  - { ${line} }\n`;
  const http = 'name: a, kind: http, disposition: refuse';
  test.each<[string, string[]]>([
    ['', ['1:1  is empty  found nothing  allowed a map that begins with version: 1']],
    ['version: 1\nsurfaces: []\n', ['2:11  surfaces  is out of range  found an empty list  allowed at least 1 entry']],
    [
      one('name: a, kind: vector, disposition: buffer, match: { methods: [POST], path: /a }'),
      [
        '3:22  surfaces[0].kind  is not there yet in this release  found "vector"  allowed http',
        '3:43  surfaces[0].disposition  is not there yet in this release  found "buffer"  allowed refuse, pass',
      ],
    ],
    [
      one('name: a, kind: http, disposition: pass, match: { methods: [POST], path: /a }, status: 423'),
      [
        '3:85  surfaces[0].status  means nothing here: this surface is not refused  found status  allowed with disposition: refuse',
      ],
    ],
    [
      one('name: a, kind: htp, disposition: block, match: { methods: [POST], path: /a }'),
      [
        '3:22  surfaces[0].kind  is not one of the values  found "htp"  allowed http  did you mean http?',
        '3:40  surfaces[0].disposition  is not one of the values  found "block"  allowed refuse, pass',
      ],
    ],
    [
      one(`${http}, match: { methods: [psot, post], path: a }, status: 500`),
      [
        '3:68  surfaces[0].match.methods[0]  is not one of the values  found "psot"  allowed POST, PUT, PATCH, DELETE, GET, HEAD, OPTIONS  did you mean POST?',
        '3:74  surfaces[0].match.methods[1]  is not one of the values  found "post"  allowed POST, PUT, PATCH, DELETE, GET, HEAD, OPTIONS  did you mean POST?',
        '3:87  surfaces[0].match.path  has the wrong form  found "a"  allowed a path that begins with /',
        '3:100  surfaces[0].status  is none of the forms  found 500  allowed 503, or 423',
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
