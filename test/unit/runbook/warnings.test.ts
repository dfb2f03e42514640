import { expect, test } from '@jest/globals';
import type { Surface } from '../../../src/engine/contract.ts';
import { outlivesTokens, warningsOf } from '../../../src/runbook/warnings.ts';

const MINUTE = 60_000;
const surface = (name: string, more: Partial<Surface>): Surface => ({
  name,
  kind: 'http',
  match: { methods: ['POST'], path: `/${name}` },
  disposition: 'refuse',
  status: 503,
  ...more,
});
const backfill = { uses: 'backfill', plugin: { kind: 'action' } } as never;

test('a refused refresh is warned about once the life of a token is known', () => {
  const surfaces = [
    surface('refresh', { purpose: 'token_refresh' }),
    surface('login', { purpose: 'login' }),
    surface('notes', {}),
  ];
  expect(warningsOf({ surfaces, steps: [] })).toEqual([]);
  expect(warningsOf({ surfaces, steps: [], shortestTokenLifeMs: 15 * MINUTE })).toEqual([
    'refresh, login are refused, and the shortest token lives 15m: a window longer than 15m locks readers out. disposition: pass where the session store stands outside the walls',
  ]);
  expect(outlivesTokens({ surfaces, shortestTokenLifeMs: 15 * MINUTE }, 15 * MINUTE)).toBeUndefined();
  expect(outlivesTokens({ surfaces, shortestTokenLifeMs: 15 * MINUTE }, 16 * MINUTE)).toBe(
    'Readers are locked out 15m into the window: that is how long the shortest token lives, and refresh, login are refused.',
  );
});

test('what passes keeps readers in', () => {
  const surfaces = [surface('refresh', { purpose: 'token_refresh', disposition: 'pass' })];
  expect(warningsOf({ surfaces, steps: [], shortestTokenLifeMs: MINUTE })).toEqual([]);
  expect(outlivesTokens({ surfaces, shortestTokenLifeMs: MINUTE }, 60 * MINUTE)).toBeUndefined();
});

test('a session that cannot be ended, a password that is written, a queue that nobody empties', () => {
  const surfaces = [
    surface('logout', { purpose: 'logout' }),
    surface('reset', { purpose: 'password_reset', disposition: 'pass' }),
    surface('notes', { disposition: 'buffer' }),
  ];
  expect(warningsOf({ surfaces, steps: [] }).map((text) => text.split(':')[0])).toEqual([
    'logout is refused',
    'reset passes',
    'notes is buffered, and no step applies what was accepted',
  ]);
  expect(warningsOf({ surfaces, steps: [backfill] })).toHaveLength(2);
});

test('an edge that closes after a service', () => {
  const wall = (id: string, layer: string, skipped?: string) => ({
    ...{ id, uses: 'command', with: {}, skipped },
    plugin: { kind: 'resource', role: 'wall', layer },
  });
  const check = { id: 'refused', uses: 'x', with: {}, plugin: { kind: 'check', proves: 'refused' } };
  const said = (...steps: object[]) => warningsOf({ surfaces: [], steps: [...steps, check] as never });
  expect(said(wall('gateway', 'edge'), wall('flag', 'service'))).toEqual([]);
  expect(said(wall('flag', 'service', 'not here'), wall('gateway', 'edge'))).toEqual([]);
  expect(said(wall('flag', 'service'), wall('gateway', 'edge'))).toEqual([
    expect.stringMatching(/^gateway closes at the edge, after flag: .* Put it before flag$/),
  ]);
});

test('a wall of which nothing shows that it refuses writes', () => {
  const wall = (id: string, skipped?: string) => ({
    ...{ id, uses: 'command', with: {}, skipped },
    plugin: { kind: 'resource', role: 'wall' },
  });
  const check = (proves: string | undefined, skipped?: string) => ({
    ...{ id: 'check', uses: 'x', with: {}, skipped },
    plugin: { kind: 'check', proves },
  });
  const said = (...steps: object[]) => warningsOf({ surfaces: [], steps: steps as never });
  expect(said(wall('flag'), wall('gateway'))).toEqual([
    'nothing shows that flag and gateway refuse writes: add uses: verify/endpoints (a canary for each surface), verify/flag (what the guards say) or no-writes/… (what the store counts)',
  ]);
  expect(said(wall('flag'), check(undefined))).toHaveLength(1);
  expect(said(wall('flag'), check('refused', 'not here'))).toEqual([
    expect.stringMatching(/^nothing shows that flag refuses writes/),
  ]);
  for (const proves of ['refused', 'unwritten']) expect(said(wall('flag'), check(proves))).toEqual([]);
  expect(said(wall('flag', 'not here'))).toEqual([]);
});
