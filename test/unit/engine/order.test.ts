// The order of the end where something is applied after it, what waits for what, and what goes side by side.
import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import type { StepFailure } from '../../../src/engine/acting.ts';
import { defineAction, defineResource, type Phase, type Role, type Step } from '../../../src/engine/contract.ts';
import { endOrder, mayOverlap } from '../../../src/engine/order.ts';
import { sideBySide } from '../../../src/engine/side-by-side.ts';

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

describe('what need not wait', () => {
  const alone: Step = { ...resource('script', 'work') };
  alone.plugin = { ...alone.plugin, alone: true } as Step['plugin'];
  const at = (step: Step, address: string): Step => ({
    ...step,
    plugin: { ...step.plugin, address: () => address } as Step['plugin'],
  });
  const [flag, page, chat, alerts, crons, lock] = [
    resource('flag', 'wall'),
    resource('page', 'notice'),
    resource('chat', 'notice'),
    resource('alerts', 'mute'),
    resource('crons', 'work'),
    resource('lock', 'lock'),
  ] as [Step, Step, Step, Step, Step, Step];

  test.each<[string, Step, Step, Phase, boolean]>([
    ['two notices', page, chat, 'open', true],
    ['crons after a silence, at start', alerts, crons, 'open', true],
    ['anything after a wall', flag, page, 'open', false],
    ['a wall after anything', page, flag, 'open', false],
    ['what stands after an action', backfill, crons, 'open', false],
    ['a script, of which nobody knows what it needs', page, alone, 'open', false],
    ['what stands after a script', alone, page, 'open', false],
    ['two things at one address', at(page, 'there'), at(chat, 'there'), 'open', false],
    ['crons after a notice, at the end', page, crons, 'closed', true],
    ['alerts after a notice, at the end', page, alerts, 'closed', true],
    ['alerts after crons, at the end: they would fire', crons, alerts, 'closed', false],
    ['a lock after crons, at the end', crons, lock, 'aborted', false],
    ['a lock after a silence, at the end', alerts, lock, 'closed', true],
  ])('%s', (_what, earlier, later, phase, overlaps) => {
    expect(mayOverlap(earlier, later, phase, 'roles')).toBe(overlaps);
    expect(mayOverlap(earlier, later, phase, 'strict')).toBe(false);
  });

  test('what stands in one `parallel:` begins together, in either order', () => {
    const [one, other] = [
      { ...page, group: 1 },
      { ...alone, group: 1 },
    ];
    for (const order of ['roles', 'strict'] as const) expect(mayOverlap(one, other, 'open', order)).toBe(true);
    expect(mayOverlap(one, { ...other, group: 2 }, 'open', 'strict')).toBe(false);
  });

  test('one `parallel:` at the end: side by side, but never before what the end has them wait for', () => {
    const grouped = (step: Step) => ({ ...step, group: 1 });
    for (const order of ['roles', 'strict'] as const) {
      const overlap = (earlier: Step, later: Step) => mayOverlap(grouped(earlier), grouped(later), 'closed', order);
      expect(overlap(page, crons)).toBe(true);
      expect(overlap(at(page, 'there'), at(crons, 'there'))).toBe(true);
      expect(overlap(backfill, { ...crons, release: 'after-backfill' })).toBe(false);
      expect(overlap(alone, crons)).toBe(false);
      expect(overlap(crons, alerts)).toBe(false);
    }
  });
});

describe('side by side', () => {
  const steps = ['a', 'b', 'c', 'd'].map((name) => resource(name, 'work'));
  const failed = (step: string, policy: StepFailure['policy']): StepFailure => ({
    ...{ step, policy, code: 'E_FAILED', message: '', ids: [] },
  });
  /** c waits for a, d for everything */
  const overlaps = (earlier: Step, later: Step) => later.id !== 'd' && !(earlier.id === 'a' && later.id === 'c');

  async function go(take: (id: string, log: string[]) => Promise<StepFailure | undefined>) {
    const log: string[] = [];
    const failures = await sideBySide(
      steps,
      overlaps,
      async ({ id }) => {
        log.push(`${id} begins`);
        const failure = await take(id, log);
        log.push(`${id} ends`);
        return failure;
      },
      ({ policy }) => policy !== 'continue',
    ).catch((error: Error) => error.message);
    return { log, failures };
  }

  test('each begins as soon as those are done that it waits for', async () => {
    let release = () => undefined as void;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { log } = await go(async (id) => {
      if (id === 'b') await held;
      if (id === 'c') release();
      return undefined;
    });
    expect(log).toEqual(['a begins', 'b begins', 'a ends', 'c begins', 'c ends', 'b ends', 'd begins', 'd ends']);
  });

  test('after a failure that stops, what is under way ends, and nothing begins', async () => {
    const { log, failures } = await go(async (id) => (id === 'a' ? failed('a', 'undo') : undefined));
    expect(log).toEqual(['a begins', 'b begins', 'a ends', 'b ends']);
    expect(failures).toEqual([failed('a', 'undo')]);
  });

  test('a failure that does not stop is reported in the order of the list', async () => {
    const { failures } = await go(async (id) => (id === 'a' || id === 'b' ? failed(id, 'continue') : undefined));
    expect(failures).toEqual([failed('a', 'continue'), failed('b', 'continue')]);
  });

  test('interrupted: what waits for it does not begin, and the others end first', async () => {
    const { log, failures } = await go(async (id) => {
      if (id === 'a') throw new Error('interrupted');
      await new Promise((resolve) => setImmediate(resolve));
      return undefined;
    });
    expect(log).toEqual(['a begins', 'b begins', 'b ends']);
    expect(failures).toBe('interrupted');
  });
});
