import { describe, expect, test } from '@jest/globals';
import type { Step } from '../../../src/engine/contract.ts';
import { MaintError } from '../../../src/errors/catalogue.ts';
import { sameResource, storeOutsideWalls } from '../../../src/runbook/rules.ts';
import { registry } from './registry.ts';

function step(id: string, uses: string, params: object, more: Partial<Step> = {}): Step {
  return { id, plugin: registry.get(uses)!, params, deadlineMs: 1000, ...more };
}
function says(act: () => void): [string, readonly string[]] | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    if (!(error instanceof MaintError)) throw error;
    return [error.code, error.details];
  }
}

const flag = step('flag', 'flag/redis', { url: 'redis://localhost:6379', key: 'k' });
const wall = step('db', 'datastore/postgres', { url: 'postgres://db:5432/app' });

describe('the store and the flag stand outside the walls', () => {
  test.each<[string, Step[], string, [string, string[]] | undefined]>([
    ['elsewhere', [flag, wall], 'sqlite /home/a/state.db', undefined],
    ['another host', [wall], 'postgres db2:5432/app', undefined],
    ['a longer port', [wall], 'postgres db:54321/app', undefined],
    [
      'a database of the closed server',
      [wall],
      'postgres db:5432/maint',
      [
        'E_STORE_INSIDE',
        ['db (datastore/postgres) closes postgres db:5432, where the state is kept: postgres db:5432/maint'],
      ],
    ],
    [
      'the flag on the closed Redis, by another name of this machine',
      [flag, step('r', 'datastore/redis', { url: 'redis://127.0.0.1:6379' })],
      'sqlite x',
      [
        'E_STORE_INSIDE',
        ['r (datastore/redis) closes redis 127.0.0.1:6379, where flag is kept: redis localhost:6379 k'],
      ],
    ],
    [
      'a wall that is skipped',
      [step('db', 'datastore/postgres', wall.params, { skipped: 'x' })],
      'postgres db:5432/x',
      undefined,
    ],
  ])('%s', (_name, steps, address, error) => {
    expect(says(() => storeOutsideWalls(steps, address))).toEqual(error);
  });
});

describe('two steps on one thing', () => {
  const twin = step('twin', 'flag/redis', { url: 'redis://127.0.0.1:6379', key: 'k' });
  const both = 'flag and twin both act on redis 127.0.0.1:6379 k (flag/redis)';
  test('the same plugin and address', () => {
    expect(says(() => sameResource([flag, wall, twin]))).toEqual(['E_SAME_RESOURCE', [both]]);
  });
  test('another key, another plugin, a skipped one, checks', () => {
    const other = step('o', 'flag/redis', { ...flag.params, key: 'l' });
    const skipped = step('s', 'flag/redis', flag.params, { skipped: 'x' });
    const check = (id: string) => step(id, 'no-writes/postgres', { url: 'postgres://h/d' });
    expect(says(() => sameResource([flag, wall, other, skipped, check('a'), check('b')]))).toBeUndefined();
  });
  test('with what each sees, only common ids count', () => {
    expect(
      says(() =>
        sameResource(
          [flag, twin],
          new Map([
            ['flag', ['a']],
            ['twin', ['b']],
          ]),
        ),
      ),
    ).toBeUndefined();
    const ids = new Map([
      ['flag', ['a', 'b']],
      ['twin', ['b']],
    ]);
    expect(says(() => sameResource([flag, twin], ids))).toEqual(['E_SAME_RESOURCE', [`${both}: b`]]);
  });
});
