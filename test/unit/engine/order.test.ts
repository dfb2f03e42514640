// The order of the end where something is applied after it, and what that waits for.
import { expect, test } from '@jest/globals';
import { z } from 'zod';
import { defineAction, defineResource, type Role, type Step } from '../../../src/engine/contract.ts';
import { endOrder } from '../../../src/engine/order.ts';

const Params = z.strictObject({});
const resource = (name: string, role: Role, release?: Step['release']): Step => ({
  id: name,
  plugin: defineResource({
    name,
    role,
    summary: '',
    Params,
    State: z.strictObject({}),
    example: {},
    address: () => name,
    compare: 'server',
    observe: async () => new Map(),
    desired: () => null,
    write: async () => [],
  }),
  params: {},
  deadlineMs: 1000,
  ...(release ? { release } : {}),
});
const backfill: Step = {
  id: 'backfill',
  plugin: defineAction({
    name: 'backfill',
    role: 'work',
    ahead: true,
    on: ['open', 'closed'],
    summary: '',
    Params,
    example: {},
    address: () => '',
    run: async () => [],
  }),
  params: {},
  deadlineMs: 1000,
};

test('notices, then what need not wait, then the backfill, then work, mutes and locks', () => {
  const steps = [
    resource('flag', 'wall'),
    resource('page', 'notice'),
    resource('lock', 'lock'),
    resource('alerts', 'mute'),
    resource('warm', 'cache', 'after-backfill'),
    backfill,
    resource('crons', 'work', 'after-backfill'),
    resource('compaction', 'work', 'after-soak'),
    resource('reindex', 'work'),
  ];
  expect(endOrder(steps).map(({ id }) => id)).toEqual([
    'flag',
    'page',
    'compaction',
    'backfill',
    'reindex',
    'crons',
    'warm',
    'alerts',
    'lock',
  ]);
});
