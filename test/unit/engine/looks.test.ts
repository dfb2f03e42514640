// How often a thing is looked at around its write, and that somebody else's change in between is never written over.
import { expect, test } from '@jest/globals';
import { z } from 'zod';
import type { Acting } from '../../../src/engine/acting.ts';
import { defineResource, type Step } from '../../../src/engine/contract.ts';
import { converge } from '../../../src/engine/converge.ts';
import type { JournalEvent } from '../../../src/engine/events.ts';
import { apply, fold } from '../../../src/engine/window.ts';

const State = z.strictObject({ is: z.string() });
type State = z.infer<typeof State>;
const OPENED: JournalEvent = {
  ...{
    type: 'opened',
    environment: 'prod',
    until: '2026-12-01T02:30:00.000Z',
    reason: 'x',
    by: 'ana',
    contact: '#ops',
  },
  ...{ onExpiry: 'hold', soakMs: 1, budgetMs: 1, version: '0', order: 'roles', only: [], skip: [] },
  runbook: { name: 'x', path: '/x', folder: '/', text: '' },
};

/** One thing, or two that are written one after the other, at a service that does not compare. */
function world(
  ids: readonly string[],
  more: { order?: (change: { id: string }) => number; concurrency?: number } = {},
) {
  let clock = Date.parse('2026-12-01T02:00:00.000Z');
  const at = () => new Date(clock).toISOString();
  const there = new Map(ids.map((id) => [id, 'theirs']));
  const log: string[] = [];
  const on: { append?: (kind: string) => void } = {};
  const plugin = defineResource<object, State>({
    ...{ name: 'test/thing', role: 'work', summary: '', example: {}, Params: z.strictObject({}), State },
    address: () => 'thing',
    compare: 'look',
    ...more,
    observe: async () => {
      log.push('look');
      return new Map([...there].map(([id, is]) => [id, { state: { is } }]));
    },
    desired: () => ({ is: 'ours' }),
    write: async (_io, _params, changes) => {
      for (const { id, to } of changes) {
        log.push(`write ${id} over ${there.get(id)}`);
        there.set(id, to!.is);
      }
      return changes.map(({ to }) => to);
    },
  });
  let seq = 1;
  const state = fold('w-1', [{ seq, at: at(), token: 1, event: OPENED }])!;
  const step: Step = { id: 'thing', plugin, params: {}, deadlineMs: 30_000 };
  const { signal } = new AbortController();
  const acting: Acting = {
    ...{ steps: [step], state, token: 1, signal, hard: signal, machine: 'm', emit: () => undefined },
    clients: { reader: () => ({}), writer: () => ({}), prober: () => ({}), close: async () => undefined } as never,
    record: async (events) => {
      for (const event of events) {
        on.append?.(event.type);
        apply(state, { seq: ++seq, at: at(), token: 1, event });
      }
    },
    mayWrite: async () => undefined,
    now: () => clock,
    storeNow: async () => clock,
    wait: async (until) => {
      clock = Math.max(clock, until);
    },
    running: () => false,
    random: () => 0.5,
  };
  return { log, on, there, later: (ms: number) => (clock += ms), open: () => converge(acting, 'open') };
}

test('one look before its write, one after', async () => {
  const { log, open } = world(['a']);
  expect((await open()).failures).toEqual([]);
  expect(log).toEqual(['look', 'write a over theirs', 'look']);
});

test('a journal that takes its time: looked at again right before the write, and what changed meanwhile is decided anew', async () => {
  const one = world(['a']);
  one.on.append = (kind) => {
    if (kind !== 'intent' || one.log.length > 1) return;
    one.later(300);
    one.there.set('a', 'somebody else’s');
  };
  expect((await one.open()).failures).toEqual([]);
  expect(one.log).toEqual(['look', 'look', 'look', 'write a over somebody else’s', 'look']);
});

test('of two that are written one after the other the second is looked at again: our own write lies in between', async () => {
  const two = world(['a', 'b'], { order: ({ id }) => (id === 'a' ? 0 : 1) });
  const edit = () => {
    if (two.log.at(-1) === 'write a over theirs') two.there.set('b', 'somebody else’s');
  };
  two.on.append = edit;
  expect((await two.open()).failures).toEqual([]);
  expect(two.log.filter((line) => line.startsWith('write'))).toEqual([
    'write a over theirs',
    'write b over somebody else’s',
  ]);
  expect(two.log.slice(0, 3)).toEqual(['look', 'write a over theirs', 'look']);
});

test('the same of two of one rank that are not written at once', async () => {
  const { log, open } = world(['a', 'b'], { concurrency: 1 });
  expect((await open()).failures).toEqual([]);
  expect(log).toEqual(['look', 'write a over theirs', 'look', 'write b over theirs', 'look']);
});
