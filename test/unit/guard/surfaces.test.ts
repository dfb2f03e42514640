import { posix } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { compileSurfaces, judge, passesAsSeen, surfaceSeen } from '../../../packages/guard/src/surfaces.ts';

const rules = compileSurfaces(
  {
    version: 1,
    surfaces: [
      { name: 'run', kind: 'http', match: { methods: ['GET'], path: '/jobs/:id/run' }, disposition: 'refuse' },
      { name: 'admin', kind: 'http', match: { methods: ['GET', 'POST'], path: '/admin/*' } },
      { name: 'café', kind: 'http', match: { methods: ['GET'], path: '/café/order' } },
      { name: 'search', kind: 'http', match: { methods: ['POST'], path: '/search' }, disposition: 'pass' },
      { name: 'embed', kind: 'http', match: { methods: ['POST'], path: '/models/:id/Embed' }, disposition: 'pass' },
      { name: 'send_mail', kind: 'tool' },
    ],
  },
  ['/healthz'],
);

function write(method: string, url: string, headers: Record<string, string> = {}): boolean {
  return judge(rules, { method, url, headers }).write;
}

test('what no surface names: safe methods pass, all others are writes', () => {
  for (const method of ['GET', 'HEAD', 'OPTIONS', 'TRACE']) expect(write(method, '/items')).toBe(false);
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND', 'QUERY', 'get', ''])
    expect(write(method, '/items')).toBe(true);
});

describe('a GET that writes is refused however it is spelled', () => {
  test.each([
    '/jobs/7/run',
    '/jobs/7/run/',
    '/jobs/7/run?x=/a',
    '//jobs/7/run',
    '/jobs//7/run',
    '/jobs/./7/run',
    '/x/../jobs/7/run',
    '/x/%2e%2e/jobs/7/run',
    '/x/%252e%252e/jobs/7/run',
    '/jobs%2f7%2Frun',
    '/jobs\\7\\run',
    '/jobs%5c7/run',
    '/JOBS/7/Run',
    '/jobs/7/%72un',
    '/jobs/7/run;v=1',
    '/jobs;a/7;b/run',
    '/jobs/7/run%3bv=1',
    '/jobs/x%2fy/run',
    '/x/%2e%2e/jobs/a%2fb/run',
    '/x/..;/jobs/7/run',
    '/jobs/7/run.',
    '/jobs/7/run%20',
    '/jobs/7/run%00.txt',
    '/jobs/7/run#x',
    '/jobs/7/run%3fx',
    '/public#/../jobs/7/run',
    'http://host/jobs/7/run',
    '//host/jobs/7/run',
    '/\\host/jobs/7/run',
    '/jobs%c0%af7/run',
    '/admin',
    '/admin/',
    '/admin/a/b/c',
    '/ADMIN/%2e',
    '/caf%C3%A9/order',
    '/caf\xc3\xa9/order',
    '/CAF%C3%89/order',
    // Fastify takes any first character for the slash.
    '*jobs/7/run',
    'xjobs/7/run',
    // `new URL(target, base)` skips any number of slashes and backslashes before a host, and drops tabs.
    '///host/jobs/7/run',
    '/\\/\\//host/jobs/7/run',
    '/jo\tbs/7/ru\tn',
    // Fastify with useSemicolonDelimiter: the path ends here.
    '/jobs/7/run;/x/y',
    '/jobs/7/run%3b/x/y',
    // `url.parse` puts back what is not a host.
    'http://a!jobs/7/run',
    'http:/jobs/7/run',
    '/jobs/%e0%80%af7/run',
  ])('%s', (url) => {
    expect(write('GET', url)).toBe(true);
    expect(write('HEAD', url)).toBe(true);
  });
});

test.each([
  '/jobs/7',
  '/jobs/7/runs',
  '/jobs/7/8/run',
  '/administration',
  '/a%20b',
  '/files/c%2B%2B',
  '/x;y=1',
  '/healthz',
])('a read stays a read: %s', (url) => {
  expect(write('GET', url)).toBe(false);
});

test('what is not a host may be the first segment', () => {
  const own = compileSurfaces([{ name: 'a', match: { methods: ['GET'], path: '/:tenant/export' } }], []);
  for (const url of ['http://!a/export', 'http://h!a/export', 'http://!/export', '//!/export'])
    expect([url, judge(own, { method: 'GET', url }).write]).toEqual([url, true]);
});

test('a query that only some servers see', () => {
  const own = compileSurfaces([{ name: 'api', kind: 'graphql', match: { path: '/graphql' } }], []);
  const hit = (url: string) => judge(own, { method: 'GET', url }).write;
  for (const url of [
    '*graphql?query=mutation{a}',
    '///h/graphql?query=mutation{a}',
    '/graphql;query=mutation{a}',
    '/graphql%3fquery=mutation{a}',
    '/graphql%253fquery=mutation{a}',
    '/graphql;?query={a}',
    '/graphql#?query=mutation{a}',
  ])
    expect([url, hit(url)]).toEqual([url, true]);
  for (const url of ['/graphql', '/graphql/', '/graphql/?query={a}', '//graphql?query={a}'])
    expect([url, hit(url)]).toEqual([url, false]);
  expect(write('GET', '/items;_method=DELETE')).toBe(true);
  expect(write('GET', '/items;a=1?_method=DELETE')).toBe(true);
  expect(write('GET', '/docs/http_method')).toBe(false);
});

test('a preflight is judged like its path, unless a CORS layer is known to answer it', () => {
  const surfaces = [
    { name: 'run', match: { methods: ['GET'], path: '/jobs/:id/run' } },
    { name: 'api', kind: 'graphql', match: { path: '/graphql' } },
  ];
  const headers = { origin: 'https://page.example', 'access-control-request-method': 'GET' };
  const hits = (passes: boolean, url: string, more: Record<string, string | undefined> = {}) =>
    judge(compileSurfaces(surfaces, [], passes), { method: 'OPTIONS', url, headers: { ...headers, ...more } }).write;
  expect(hits(false, '/jobs/7/run')).toBe(true);
  expect(hits(false, '/graphql?query=mutation{a}')).toBe(true);
  expect(hits(false, '/graphql')).toBe(false);
  expect(hits(false, '/items')).toBe(false);
  expect(hits(true, '/jobs/7/run')).toBe(false);
  expect(hits(true, '/jobs/7/run', { origin: undefined })).toBe(true);
  expect(hits(true, '/jobs/7/run', { 'access-control-request-method': undefined })).toBe(true);
  expect(hits(true, '/jobs/7/run', { 'x-http-method-override': 'GET' })).toBe(true);
});

test('a health path that is rewritten to a write is a write', () => {
  expect(judge(rules, { method: 'GET', url: '/healthz', routedUrl: '/jobs/7/run' }).write).toBe(true);
  expect(judge(rules, { method: 'GET', url: '/healthz', routedUrl: '/internal/health' }).write).toBe(false);
});

test('a long path with letters of any language is a read', () => {
  expect(write('GET', `/wiki/${'%E3%81%82'.repeat(900)}`)).toBe(false);
  expect(write('GET', `/wiki/${'%E3%81%82'.repeat(900)};x=1`)).toBe(false);
  expect(write('GET', `/jobs/${'%E3%81%82'.repeat(900)}/run`)).toBe(true);
});

test('a short surface without a fixed text is not every path that is spelled oddly', () => {
  const own = compileSurfaces([{ name: 'a', match: { methods: ['GET'], path: '/:slug' } }], []);
  const hit = (url: string) => judge(own, { method: 'GET', url }).write;
  expect(['/files/a%2Fb', '/x/100%25/y'].map(hit)).toEqual([false, false]);
  expect(['/a%2Fb', '/files/..%2fx', '/files;/x', '//files/x', '/\\files/x', '/files/%2e'].map(hit)).toEqual(
    Array(6).fill(true),
  );
});

test('a path that is encoded too often is no read', () => {
  expect(write('GET', '/%25252525256aobs/7/run')).toBe(true);
  expect(write('GET', `/x/${'%25'.repeat(40)}`)).toBe(false);
});

test('time grows with the length of a path, and no faster', () => {
  const pieces = [
    ...['/', '//', '/../', '/x/..', '%2e', '%252e', '%25', '%2525', ';', ';a', '\\', '%5c', '. ', ' .', '\t', '%zz'],
    ...['jobs', 'jobs/', 'jobs;', '/run', 'run', '%c0%af', '%e0%80%af', '\xc3\xa9', '%E3%81%82', ':', '*', '_method&'],
  ];
  // Characters that are handed to functions that look at each of them once.
  let looked = 0;
  const { prototype } = String;
  const { replace, search, match, split, indexOf } = prototype;
  const { test: matches } = RegExp.prototype;
  const counting = (original: any) =>
    function (this: string, ...args: any[]) {
      looked += this.length;
      return original.apply(this, args);
    };
  try {
    for (const [name, original] of Object.entries({ replace, search, match, split }))
      Object.assign(prototype, { [name]: counting(original) });
    prototype.indexOf = function (word, from = 0) {
      const at = indexOf.call(this, word, from);
      looked += (at < 0 ? this.length : at + 1) - from;
      return at;
    };
    RegExp.prototype.test = function (text) {
      looked += text.length;
      return matches.call(this, text);
    };
    for (const one of pieces) {
      for (const two of pieces) {
        const url = `/${(one + two).repeat(8192 / (one + two).length)}`;
        looked = 0;
        judge(rules, { method: 'GET', url });
        const each = looked / url.length;
        if (each > 150) throw new Error(`${one}${two}: each character was looked at ${each} times`);
      }
    }
  } finally {
    Object.assign(prototype, { replace, search, match, split, indexOf });
    RegExp.prototype.test = matches;
  }
});

test('reads with much that is encoded, as image proxies and package registries have them, stay reads', () => {
  expect(write('GET', '/img/https%3A%2F%2Fcdn.example.com%2Fa.png%3Fw%3D1%23top/100%25.')).toBe(false);
  expect(write('GET', '/@scope%2fpkg/-/pkg-1.0.0.tgz')).toBe(false);
  expect(write('GET', '/a;b=1;c=2/d%5Ce%2Ff%20')).toBe(false);
});

test('what passes does so to the letter', () => {
  expect(write('POST', '/search')).toBe(false);
  expect(write('POST', '/search?q=a/../b')).toBe(false);
  expect(write('POST', '/models/m-1/Embed')).toBe(false);
  for (const url of [
    '/search/',
    '/Search',
    '//search',
    '/search;a',
    '/search%20',
    '/search.',
    '/%73earch',
    '/search/../items',
  ]) {
    expect(write('POST', url)).toBe(true);
  }
  expect(write('POST', '/models/m-1/embed')).toBe(true);
  expect(write('PUT', '/search')).toBe(true);
});

test('a method in a header or in the query is looked at too', () => {
  expect(write('GET', '/items', { 'x-http-method-override': 'delete' })).toBe(true);
  expect(write('GET', '/items?_method=PUT')).toBe(true);
  expect(write('GET', '/items?a=1&%5Fmethod=PUT')).toBe(true);
  expect(write('GET', '/items?_method=GET&_method=PUT')).toBe(true);
  expect(write('GET', '/items?a=b?_method=GET&_method=PUT')).toBe(true);
  expect(write('GET', '/items?_method[]=PUT')).toBe(true);
  expect(write('GET', '/items?_method=GET')).toBe(false);
  expect(write('POST', '/search', { 'x-http-method-override': 'GET' })).toBe(true);
  expect(write('POST', '/items', { 'x-http-method-override': 'GET' })).toBe(true);
  expect(write('GET', '/healthz', { 'x-method-override': 'POST' })).toBe(true);
});

test('a target that the framework rewrote is looked at beside the one that came', () => {
  expect(judge(rules, { method: 'GET', url: '/v1/start', routedUrl: '/jobs/7/run' }).surface?.name).toBe('run');
  expect(judge(rules, { method: 'POST', url: '/search', routedUrl: '/items' }).write).toBe(true);
});

test('optional parts in the middle and at the end', () => {
  const own = compileSurfaces([{ name: 'a', match: { methods: ['GET'], path: '/a/:x?/b/:y?' } }], []);
  const hit = (url: string) => judge(own, { method: 'GET', url }).write;
  expect(['/a/b', '/a/1/b', '/a/b/2', '/a/1/b/2', '/a/b/b', '/a', '/a/1/c'].map(hit)).toEqual([
    true,
    true,
    true,
    true,
    true,
    false,
    false,
  ]);
});

test.each([
  [{ surfaces: 'x' }, 'surfaces: a list'],
  [[7], 'surfaces[0]'],
  [[{ match: { path: '/' } }], 'surfaces[0].name'],
  [[{ name: 'a' }], 'surfaces[0].match (a)'],
  [[{ name: 'a', match: { path: 'items' } }], 'begins with /'],
  [[{ name: 'a', match: { path: '/i*/x' } }], 'i* in /i*/x'],
  [[{ name: 'a', match: { path: '/*/x' } }], '* stands only at the end'],
  [[{ name: 'a', match: { path: '/a/../b' } }], '.. in /a/../b'],
  [[{ name: 'a', match: { path: '/a', methods: 'POST' } }], 'methods (a)'],
  [[{ name: 'a', match: { path: '/a' }, status: 500 }], '500, allowed are 503 and 423'],
  [[{ name: 'a', match: { path: '/a/*' }, disposition: 'pass' }], 'what passes is exact'],
])('a surface that cannot be understood is an error at the start: %j', (input, message) => {
  expect(() => compileSurfaces(input, [])).toThrow(message);
});

// ---- The property. Servers as they are, written without looking at the guard: each is one way to arrive at a path.
const SERVERS: Record<string, (path: string) => string> = {
  nothing: (path) => path,
  whatwg: (path) => (URL.canParse(path, 'http://h') ? new URL(path, 'http://h').pathname : path),
  nginx: (path) => posix.normalize(tryDecode(path)),
  decodes: tryDecode,
  normalises: (path) => posix.normalize(path),
  unreserved: (path) => path.replace(/%(2e|2d|5f|7e|[46][1-9a-f]|[57][0-9a]|3[0-9])/gi, (x) => tryDecode(x)),
  tomcat: (path) => posix.normalize(tryDecode(path.replace(/;[^/]*/g, ''))),
  windows: (path) => path.replace(/\\/g, '/'),
  merges: (path) => path.replace(/\/+/g, '/'),
  trims: (path) => path.replace(/[. ]+$/, ''),
};

function tryDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** As Express routes: case ignored, one slash at the end allowed. */
const ROUTE = /^\/jobs\/[^/]+\/run\/?$/i;

const piece = fc.constantFrom(
  ...[
    '/',
    '//',
    '/./',
    '/../',
    '/x/../',
    '%2e',
    '%2e%2e',
    '..',
    '.',
    '%2f',
    '%2F',
    '%5c',
    '\\',
    ';',
    ';v=1',
    '..;',
    '%3b',
    '%25',
    '%252e',
    '%252f',
  ],
  ...['%00', '?', '#', '%3f', '%20', ' ', 'jobs', 'JOBS', 'j%6fbs', '7', 'run', 'r%75n', 'Run', 'search', 'x', 'items'],
);

const mutated = fc
  .tuple(fc.constantFrom('/jobs/7/run', '/search', '/items'), fc.array(fc.tuple(fc.nat(30), piece), { maxLength: 5 }))
  .map(([start, edits]) => {
    let path = start;
    for (const [at, text] of edits)
      path = path.slice(0, at % (path.length + 1)) + text + path.slice(at % (path.length + 1));
    return path.startsWith('/') ? path : `/${path}`;
  });
const built = fc.array(piece, { minLength: 1, maxLength: 8 }).map((pieces) => `/${pieces.join('')}`);
const chain = fc.array(fc.constantFrom(...Object.values(SERVERS)), { minLength: 1, maxLength: 3 });

test('no chain of servers reads a path as a refused surface that the guard lets through', () => {
  let reached = 0;
  fc.assert(
    fc.property(fc.oneof(mutated, built), chain, (path, servers) => {
      const routed = servers.reduce((seen, server) => server(seen), path.split('?')[0] as string);
      if (!ROUTE.test(routed)) return;
      reached += 1;
      expect({ path, routed, write: write('GET', path) }).toEqual({ path, routed, write: true });
    }),
    { numRuns: 20_000 },
  );
  // The property would hold for nothing if hardly a path arrived.
  expect(reached).toBeGreaterThan(500);
});

test('what passes is read as itself by every chain of servers', () => {
  fc.assert(
    fc.property(fc.oneof(mutated, built), chain, (path, servers) => {
      if (write('POST', path)) return;
      const raw = path.split('?')[0] as string;
      expect(servers.reduce((seen, server) => server(seen), raw)).toBe('/search');
    }),
    { numRuns: 5_000 },
  );
});

test('the cheap answer that a POST passes is never another one than the whole look gives', () => {
  const surfaces = [
    { name: 'jobs', match: { methods: ['GET', 'DELETE'], path: '/jobs/:id/run' } },
    { name: 'runs', match: { methods: ['POST'], path: '/jobs/:id/:verb' }, disposition: 'pass' },
    { name: 'search', match: { methods: ['POST'], path: '/search' }, disposition: 'pass' },
    { name: 'searches', match: { methods: ['PUT'], path: '/:any' } },
  ];
  const both = compileSurfaces(surfaces, []);
  const headers = fc.constantFrom({}, {}, { 'x-http-method-override': 'DELETE' }, { 'x-http-method-override': 'POST' });
  const query = fc.constantFrom('', '', '?q=1', '?_method=PUT', '?q=1&%5Fmethod=DELETE');
  let cheap = 0;
  fc.assert(
    fc.property(
      fc.constantFrom('POST', 'POST', 'PUT', 'DELETE'),
      fc.oneof(fc.constantFrom('/search', '/SEARCH', '/jobs/7/run', '/jobs/a.b/stop'), mutated, built),
      query,
      headers,
      fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: built }),
      (method, path, asked, given, routedUrl) => {
        const request = { method, url: path + asked, routedUrl, headers: given };
        const rule = surfaceSeen(both, request);
        if (rule?.disposition !== 'pass' || !passesAsSeen(rule, request)) return;
        cheap += 1;
        expect({ request, write: judge(both, request).write }).toEqual({ request, write: false });
      },
    ),
    { numRuns: 20_000 },
  );
  expect(cheap).toBeGreaterThan(500);
});
