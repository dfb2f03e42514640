import { expect, test } from '@jest/globals';
import { parseDocument } from '../../../packages/guard/src/document.ts';
import { holding, isHeld, stateOf } from '../../../packages/guard/src/state.ts';

function flagOf(value: unknown) {
  const parsed = parseDocument(typeof value === 'string' || value === null ? value : JSON.stringify(value));
  if ('problem' in parsed) throw new Error(parsed.problem);
  return parsed.flag;
}

const NOON = Date.parse('2026-11-23T12:00:00Z');
const past = '2026-11-23T11:00:00Z';
const later = '2026-11-23T13:00:00Z';

test('no document and no holder mean read-write, a holder means read-only', () => {
  expect(isHeld(stateOf(flagOf(null)), NOON)).toBe(false);
  expect(isHeld(stateOf(flagOf({ version: 1, holders: {} })), NOON)).toBe(false);
  expect(isHeld(stateOf(flagOf({ version: 1, holders: { 'w-1': {} } })), NOON)).toBe(true);
});

test('unknown fields, a later version and a holder without details still hold', () => {
  const flag = flagOf({
    version: 7,
    extra: [1],
    holders: { 'w-1': null, 'w-2': { until: 'soon', on_expiry: 'maybe', x: 1 } },
  });
  expect(flag.holders.map((h) => [h.window, h.until, h.onExpiry])).toEqual([
    ['w-1', null, 'hold'],
    ['w-2', null, 'hold'],
  ]);
});

test.each([
  ['true', true],
  ['1', true],
  [' on\n', true],
  ['false', false],
  ['0', false],
  ['OFF', false],
])('the plain flag %j means read-only: %p', (text, held) => {
  expect(isHeld(stateOf(flagOf(text)), NOON)).toBe(held);
});

test('a later version that names nobody is not believed', () => {
  expect(parseDocument('{"version":99,"holders":{}}')).toHaveProperty('problem');
  expect(parseDocument('{"version":"1","holders":{}}')).toHaveProperty('problem');
  expect(flagOf({ version: 99, holders: { a: { on_expiry: 'open' } } }).holders[0]?.onExpiry).toBe('hold');
});

test.each(['', '  \n', '{"version":1,"holders":{', '[]', 'null', '{"version":1}', '{"holders":[]}', 'yes please', '7'])(
  'what cannot be read is said: %j',
  (text) => {
    expect(parseDocument(text)).toHaveProperty('problem');
  },
);

test('past until, hold goes on and open ends, each holder by itself', () => {
  const state = (holders: object) => stateOf(flagOf({ version: 1, holders }));
  expect(isHeld(state({ a: { until: past, on_expiry: 'hold' } }), NOON)).toBe(true);
  expect(isHeld(state({ a: { until: past, on_expiry: 'open' } }), NOON)).toBe(false);
  expect(isHeld(state({ a: { until: past, on_expiry: 'open' }, b: { until: later, on_expiry: 'open' } }), NOON)).toBe(
    true,
  );
  const mixed = state({ a: { until: past, on_expiry: 'open' }, b: { until: past, on_expiry: 'hold' } });
  expect(holding(mixed, NOON).map((h) => h.window)).toEqual(['b']);
  // Nobody knows when it would expire, so it does not.
  expect(isHeld(state({ a: { on_expiry: 'open' } }), NOON)).toBe(true);
});

test('holders of another environment do not count where the guard knows its own', () => {
  const flag = flagOf({ version: 1, holders: { a: { environment: 'staging' }, b: { environment: 'prod' }, c: {} } });
  expect(stateOf(flag, 'prod').holders.map((h) => h.window)).toEqual(['b', 'c']);
  expect(stateOf(flag).holders).toHaveLength(3);
});

test('the header is an RFC 9651 item whatever the window is called', () => {
  const header = (id: string) => stateOf(flagOf({ version: 1, holders: { [id]: { until: later } } })).header;
  expect(header('w-7k2p')).toBe(`?1;until=@${Date.parse(later) / 1000};window="w-7k2p"`);
  expect(header('a"\\b')).toContain('window="a\\"\\\\b"');
  expect(header('w\r\nSet-Cookie: x')).not.toMatch(/[\r\n]/);
});
