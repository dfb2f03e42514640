import { expect, test } from '@jest/globals';
import { type Decision, decide, type HttpRefusal } from '../../../packages/guard/src/decide.ts';
import { parseDocument } from '../../../packages/guard/src/document.ts';
import { type State, stateOf, unknownState } from '../../../packages/guard/src/state.ts';
import { compileSurfaces, type WriteRequest } from '../../../packages/guard/src/surfaces.ts';

const NOW = Date.parse('2026-11-23T02:00:00Z');
const rules = compileSurfaces(
  [
    { name: 'documents', match: { methods: ['POST', 'PUT'], path: '/documents/:id?' }, status: 423 },
    { name: 'search', match: { methods: ['POST'], path: '/search' }, disposition: 'pass' },
  ],
  ['/healthz'],
);
const options = { rules, status: 503 as const, random: () => 0 };
const post: WriteRequest = { method: 'POST', url: '/items' };

function state(document: unknown): State {
  const parsed = parseDocument(typeof document === 'string' ? document : JSON.stringify(document));
  if ('problem' in parsed) throw new Error(parsed.problem);
  return stateOf(parsed.flag);
}

function refused(decision: Decision): HttpRefusal {
  if (decision.action !== 'refuse') throw new Error('it passed');
  return decision.refusal;
}

const window = {
  'w-7k2p': {
    environment: 'prod',
    since: '2026-11-23T02:00:00Z',
    until: '2026-11-23T02:30:00Z',
    reason: 'reindex documents',
    contact: '#ops',
    status_page: 'https://status.example.com',
    on_expiry: 'hold',
  },
};

test('a refusal is a problem with everything that a client and a person need', () => {
  const { status, headers, body, surface } = refused(
    decide(state({ version: 1, holders: window }), post, NOW, options),
  );
  expect(status).toBe(503);
  expect(surface).toBe('unnamed');
  expect(headers).toEqual({
    'Content-Type': 'application/problem+json',
    'Content-Length': String(Buffer.byteLength(body)),
    'Cache-Control': 'no-store',
    'Access-Control-Expose-Headers': 'Location, Read-Only, Retry-After',
    'Retry-After': '1800',
    'Read-Only': '?1;until=@1795401000;window="w-7k2p"',
  });
  expect(JSON.parse(body)).toEqual({
    type: 'urn:problem-type:maint:read_only',
    title: 'Read-only for maintenance',
    status: 503,
    detail: 'Writes are refused for maintenance until 2026-11-23T02:30:00Z (reindex documents). Reads work.',
    code: 'read_only',
    window: 'w-7k2p',
    until: '2026-11-23T02:30:00Z',
    retry_after: 1800,
    contact: '#ops',
    status_page: 'https://status.example.com',
  });
});

test('a surface has its own status', () => {
  const decision = decide(
    state({ version: 1, holders: window }),
    { method: 'PUT', url: '/documents/7?x=1' },
    NOW,
    options,
  );
  expect(refused(decision)).toMatchObject({ status: 423, surface: 'documents' });
});

test('with several holders the latest end counts', () => {
  const holders = { a: { until: '2026-11-23T02:10:00Z' }, b: { until: '2026-11-23T02:40:00Z' }, c: {} };
  expect(refused(decide(state({ version: 1, holders }), post, NOW, options))).toMatchObject({
    window: 'b',
    retryAfter: 2400,
  });
});

test('jitter comes after until, never before: 5 s at least, 60 s at most, a tenth in between', () => {
  const after = (left: number, random: number) => {
    const until = new Date(NOW + left * 1000).toISOString();
    const held = state({ version: 1, holders: { a: { until } } });
    return refused(decide(held, post, NOW, { ...options, random: () => random })).retryAfter - left;
  };
  expect(after(10, 0)).toBe(0);
  expect(after(10, 0.999)).toBe(5);
  expect(after(300, 0.999)).toBe(30);
  expect(after(7200, 0.999)).toBe(60);
});

test('past until the answer is short, constant and says overdue', () => {
  const late = decide(state({ version: 1, holders: window }), post, NOW + 3_600_000, { ...options, random: () => 0.9 });
  expect(refused(late)).toMatchObject({ retryAfter: 30, overdue: true });
  expect(JSON.parse(refused(late).body)).toMatchObject({ overdue: true, until: '2026-11-23T02:30:00Z' });
});

test('past until with on_expiry open writes pass', () => {
  const open = state({ version: 1, holders: { a: { until: '2026-11-23T02:30:00Z', on_expiry: 'open' } } });
  expect(decide(open, post, NOW, options).action).toBe('refuse');
  expect(decide(open, post, NOW + 1_800_000, options)).toEqual({ action: 'pass', write: true, readOnlyHeader: null });
});

test('a plain flag refuses with a constant Retry-After', () => {
  const { headers, body } = refused(decide(state('true'), post, NOW, options));
  expect(headers['Retry-After']).toBe('30');
  expect(headers['Read-Only']).toBe('?1');
  expect(JSON.parse(body)).not.toHaveProperty('until');
});

test('reads and what is declared to pass carry the header, health probes pass', () => {
  const held = state({ version: 1, holders: window });
  const header = '?1;until=@1795401000;window="w-7k2p"';
  expect(decide(held, { method: 'GET', url: '/items' }, NOW, options)).toEqual({
    action: 'pass',
    write: false,
    readOnlyHeader: header,
  });
  expect(decide(held, { method: 'POST', url: '/search?q=1' }, NOW, options)).toMatchObject({ action: 'pass' });
  expect(decide(held, { method: 'HEAD', url: '/healthz' }, NOW, options).action).toBe('pass');
  expect(decide(held, { method: 'POST', url: '/healthz' }, NOW, options).action).toBe('refuse');
});

test('off the window the same two objects answer everybody', () => {
  const off = state({ version: 1, holders: {} });
  expect(decide(off, post, NOW, options)).toBe(decide(off, { method: 'DELETE', url: '/x' }, NOW, options));
  expect(decide(off, { method: 'GET', url: '/a' }, NOW, options)).toBe(
    decide(off, { method: 'GET', url: '/b' }, NOW, options),
  );
});

test('nothing known: pass, or refuse without a header that would claim a window', () => {
  expect(decide(unknownState('pass'), post, NOW, options).action).toBe('pass');
  const { headers, body } = refused(decide(unknownState('refuse'), post, NOW, options));
  expect(headers['Read-Only']).toBeUndefined();
  expect(JSON.parse(body).detail).toContain('cannot be read');
  expect(decide(unknownState('refuse'), { method: 'GET', url: '/' }, NOW, options)).toMatchObject({
    readOnlyHeader: null,
  });
});
