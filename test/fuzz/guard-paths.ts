// Targets in every spelling, and methods in every way to give one, against the routers that have to read them. The same
// application without a guard says what a request does: what writes there must not write behind a guard that refuses, and
// behind an open guard no answer may differ. Reads in honest spellings are not lost.
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { HELD, numbers } from './guard-requests.ts';
import { openPair, type Serving } from './guard-routers.ts';

interface Spelled {
  readonly id: string;
  readonly method: string;
  readonly target: string;
  /** Names and values. */
  readonly headers: readonly (readonly [string, string])[];
}

const BASES = [
  ...[
    '/jobs/7/run',
    '/jobs/7/run',
    '/acme/export',
    '/admin/users',
    '/admin',
    '/search',
    '/search',
    '/items',
    '/health',
  ],
  ...['/graphql?query=mutation{a}', '/graphql?query=mutation{a}', '/graphql?query={a}'],
  ...['/items?_method=DELETE', '/search?_method=PUT'],
];
const FRONTS = [
  ...[
    '*',
    'x',
    '',
    ':',
    '.',
    '@',
    '//',
    '///',
    '////',
    '/\\',
    '/\\/',
    '\\',
    '\\\\',
    '/./',
    '/../',
    '/;/',
    '/%2f',
    '/%00',
  ],
  ...[
    '//h',
    '///h',
    '////h',
    '//h//',
    '/\\h',
    '/\\/\\h',
    '\\\\h',
    '//a@h',
    '//h:80',
    '//!',
    '//[',
    '//%',
    '//h\\',
    '/\t/h',
  ],
  ...[
    'http://h',
    'http://h/',
    'https://h',
    'HTTP://H',
    'ws://h',
    'ftp://h',
    'foo://h',
    'foo:',
    'http:',
    'http:/',
    'http:///',
  ],
  ...[
    'http://!',
    'http://h!',
    'http://h;',
    'http://[',
    'http://h^x',
    'http://a@b@',
    'http://h:bad',
    'http://h%',
    'http:\\\\h',
  ],
  ...['http://*', 'http://h*', '/http://h', '/x/../', '/x/..;/', '/x;y/../', '/%2e/', '/x/%2e%2e/', '/x/%252e%252e/'],
];
const ENDS = [
  ...[
    '/',
    '//',
    '/.',
    '/./',
    '/x/..',
    '/..',
    '.',
    '..',
    ' ',
    '%20',
    '%09',
    '\t',
    ';',
    ';a',
    ';a=b',
    ';/x/y',
    ';;',
    '%3b',
  ],
  ...[
    '#',
    '#x',
    '%23',
    '%3f',
    '?',
    '??',
    '%00',
    '%00x',
    '\\',
    '%5c',
    '%2f',
    '\xa0',
    '%c2%a0',
    '%zz',
    '%',
    '*',
    '~',
    '.json',
  ],
];
const SLASHES = [
  '//',
  '%2f',
  '%2F',
  '%252f',
  '\\',
  '%5c',
  '/./',
  '/x/../',
  '/;/',
  ';a/',
  '/\t/',
  '%c0%af',
  '/%2e/',
  '///',
];
const QUESTIONS = [';', '#', '%3f', '%3b', '%253f', '#?', ';?', '/?', '??', '?&', '?x;', '\\?'];
const PIECES = [
  ...[
    '/',
    '\\',
    ';',
    '.',
    '%',
    '*',
    '#',
    '?',
    ':',
    '@',
    '!',
    '^',
    '|',
    '&',
    '=',
    '%2e',
    '%2f',
    '%5c',
    '%25',
    '\t',
    '\x80',
  ],
];
const METHODS = ['GET', 'GET', 'GET', 'GET', 'HEAD', 'OPTIONS', 'OPTIONS', 'TRACE', 'POST', 'POST', 'PUT', 'DELETE'];
const OVERRIDES = ['X-HTTP-Method-Override', 'X-Method-Override'];
const PREFLIGHT = [
  ['Origin', 'https://page.example'],
  ['Access-Control-Request-Method', 'GET'],
] as const;

/** Got through once. */
const KNOWN = [
  ...[
    '*graphql?query=mutation{a}',
    'xgraphql?query=mutation{a}',
    '*jobs/7/run',
    '///h/jobs/7/run',
    '/\\/\\h/jobs/7/run',
  ],
  ...[
    '/jobs/7/run;/x/y',
    '/graphql;query=mutation{a}',
    '/graphql;?query=mutation{a}',
    'http://!/export',
    'http://h!/export',
  ],
  ...['http://h/x', '//!/export', '/jo\tbs/7/run', '\\\\h/jobs/7/run', 'http:/jobs/7/run', '/items;_method=DELETE'],
];

type Random = () => number;
const one = <T>(random: Random, list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;

function encoded(random: Random, text: string): string {
  const at = Math.floor(random() * text.length);
  const hex = text.charCodeAt(at).toString(16).padStart(2, '0');
  const written = one(random, [`%${hex}`, `%${hex.toUpperCase()}`, `%25${hex}`, `%u00${hex}`]);
  return text.slice(0, at) + written + text.slice(at + 1);
}

/** Some ways to spell a target; each keeps it near what it was. */
const SPELLINGS: readonly ((target: string, random: Random) => string)[] = [
  (target, random) => one(random, FRONTS) + target,
  (target, random) => one(random, FRONTS) + target.slice(1),
  (target, random) => {
    const [path = '', ...query] = target.split('?');
    return [path + one(random, ENDS), ...query].join('?');
  },
  (target, random) => {
    const slashes = target.split('/');
    const at = 1 + Math.floor(random() * (slashes.length - 1));
    return slashes.slice(0, at).join('/') + one(random, SLASHES) + slashes.slice(at).join('/');
  },
  (target, random) => (target.includes('?') ? target.replace('?', () => one(random, QUESTIONS)) : target),
  (target, random) => encoded(random, target),
  (target, random) => {
    const at = Math.floor(random() * (target.length + 1));
    return target.slice(0, at) + one(random, PIECES) + target.slice(at);
  },
  (target, random) => {
    const at = Math.floor(random() * target.length);
    return target.slice(0, at) + (target[at] ?? '').toUpperCase() + target.slice(at + 1);
  },
];

/** Requests that may write: those that are known, and as many more. */
function spelledRequests(random: Random, seed: number, count: number): Spelled[] {
  const known = KNOWN.flatMap((target) => [
    { method: 'GET', target, headers: [] },
    { method: 'OPTIONS', target, headers: PREFLIGHT },
  ]);
  return [
    ...known.map((request, index) => ({ ...request, id: `known-${index}` })),
    ...Array.from({ length: count }, (_, index) => spelled(random, `${seed}-${index}`)),
  ];
}

function spelled(random: Random, id: string): Spelled {
  let target = one(random, BASES);
  for (let edits = Math.floor(random() * 4); edits > 0; edits -= 1) target = one(random, SPELLINGS)(target, random);
  const method = one(random, METHODS);
  const headers: (readonly [string, string])[] = [];
  if (random() < 0.1) headers.push([one(random, OVERRIDES), one(random, ['DELETE', 'put', 'GET', 'PATCH'])]);
  if (method === 'OPTIONS' && random() < 0.6) headers.push(...PREFLIGHT.slice(random() < 0.3 ? 1 : 0));
  return { id, method, target, headers };
}

const NAMES = [
  ...[
    'items',
    'a.b',
    'v1...v2',
    'files',
    '.well-known',
    '~ana',
    'x-run',
    'jobs',
    'exports',
    'administrators',
    '100%25',
  ],
  ...[
    'a%20b',
    'caf%C3%A9',
    '%E3%81%82%E3%81%84',
    '%F0%9F%98%80',
    'c%2B%2B',
    'a%40b.example',
    '@scope%2Fpkg',
    'a,b',
    'x;y=1',
  ],
  ...[
    "it's",
    '(1)',
    'a+b',
    'a=b&c',
    'https%3A%2F%2Fcdn.example%2Fa.png%3Fw%3D1',
    '$metadata',
    'k:v',
    'a%3Bb',
    '%2e',
    '..',
  ],
  ...['%E3%81%82'.repeat(400), 'x'.repeat(3000), '%7Bid%7D', 'a%5Cb', '%E9', '-', '_', '!', '*', ''],
];
const ASKED = [
  '',
  '',
  '?',
  '?q=a/../b',
  '?q=a;b#c',
  '?next=//host/x',
  '?u=http%3A%2F%2Fh',
  '?method=x',
  '?q=%zz',
  '?a[]=1',
];

/** A read that somebody could send in good faith: no surface of the application, in no reading. */
function honestRead(random: Random, id: string): Spelled {
  const segments = Array.from({ length: 1 + Math.floor(random() * 4) }, () => one(random, NAMES));
  const slash = random() < 0.2 ? '/' : '';
  const front = random() < 0.1 ? 'http://service.example' : '';
  const target = `${front}/${segments.join('/')}${slash}${one(random, ASKED)}`;
  return { id, method: one(random, ['GET', 'GET', 'HEAD', 'OPTIONS']), target, headers: [] };
}

/** Whoever answers: the status, and all of it that does not depend on the time. '' where there is none. */
type Ask = (request: Spelled) => Promise<string>;

function overHttp1(port: number): Ask {
  return ({ id, method, target, headers }) =>
    new Promise((resolve) => {
      const lines = [
        `${method} ${target} HTTP/1.1`,
        'Host: h',
        `X-Fuzz: ${id}`,
        'Connection: close',
        'Content-Length: 0',
      ];
      for (const [name, value] of headers) lines.push(`${name}: ${value}`);
      const chunks: Buffer[] = [];
      const socket = connect(port, '127.0.0.1', () => socket.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'));
      const longest = setTimeout(() => socket.destroy(), 10_000);
      socket.on('data', (chunk: Buffer) => chunks.push(chunk));
      socket.on('error', () => {});
      socket.on('close', () => {
        clearTimeout(longest);
        const answer = Buffer.concat(chunks).toString('latin1');
        resolve(answer.replace(/^HTTP\/1.1 /, '').replace(/\r\ndate: [^\r]*/i, ''));
      });
    });
}

function overHttp2(port: number): Ask & { close(): void } {
  let session = connectHttp2(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  const ask: Ask = ({ id, method, target, headers }) =>
    new Promise((resolve) => {
      if (session.closed || session.destroyed) {
        session = connectHttp2(`http://127.0.0.1:${port}`);
        session.on('error', () => {});
      }
      // Of a scheme of its own the path may be anything.
      const stream = session.request({
        ':method': method,
        ':path': target,
        ':scheme': /^\/[\x21-\x7e]*$/.test(target) ? 'http' : 'foo',
        'x-fuzz': id,
        ...Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value])),
      });
      let answer = '';
      stream.on('response', ({ date: _, ...given }) => {
        answer = `${given[':status']} ${JSON.stringify(given)}`;
      });
      stream.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')));
      stream.on('error', () => {});
      stream.on('close', () => resolve(answer));
      stream.end();
    });
  return Object.assign(ask, { close: () => session.destroy() });
}

interface PathsSwept {
  readonly router: string;
  readonly sent: number;
  /** How many wrote without a guard. */
  readonly wrote: number;
  readonly through: readonly string[];
  readonly differing: readonly string[];
  readonly honest: number;
  readonly lost: readonly string[];
}

/** Sends requests of a seed to one router: bare, behind an open guard, behind one that refuses. */
export async function sweepPaths(router: string, seed: number, count: number, honest: number): Promise<PathsSwept> {
  const pair = await openPair(router);
  const random = numbers(seed);
  const requests = spelledRequests(random, seed, count);
  const reads = Array.from({ length: honest }, (_, index) => honestRead(random, `${seed}-r${index}`));
  try {
    const all = [...requests, ...reads];
    const bare = await askAll(pair.bare, all);
    pair.sink.document(null);
    const open = await askAll(pair.guarded, all);
    const openWrote = new Set(pair.guarded.wrote);
    pair.guarded.wrote.clear();
    pair.sink.document(HELD);
    const held = await askAll(pair.guarded, all);
    const told = ({ method, target, headers }: Spelled) =>
      `${method} ${JSON.stringify(target.slice(0, 200))} ${headers.map((header) => header.join(': ')).join(', ')}`;
    const differs = (request: Spelled, index: number) =>
      bare[index] !== open[index] || pair.bare.wrote.has(request.id) !== openWrote.has(request.id);
    const isLost = ({ id }: Spelled, index: number) => {
      const [before, after] = [bare, held].map((answers) => answers[requests.length + index]?.slice(0, 3));
      return !pair.bare.wrote.has(id) && before !== after;
    };
    return {
      router,
      sent: all.length,
      wrote: all.filter(({ id }) => pair.bare.wrote.has(id)).length,
      through: all.filter(({ id }) => pair.guarded.wrote.has(id)).map(told),
      differing: all.filter(differs).map(told),
      honest,
      lost: reads.filter(isLost).map(told),
    };
  } finally {
    await pair.close();
  }
}

async function askAll({ port, http2 }: Serving, requests: readonly Spelled[]): Promise<string[]> {
  const answers: string[] = [];
  const client = http2 ? overHttp2(port) : null;
  const ask = client ?? overHttp1(port);
  let next = 0;
  async function sender(): Promise<void> {
    while (next < requests.length) {
      const index = next;
      next += 1;
      answers[index] = await ask(requests[index] as Spelled);
    }
  }
  await Promise.all(Array.from({ length: 8 }, sender));
  client?.close();
  return answers;
}
