// What is said, by what was seen: the table of walls, guards and other holders, for an open window and one that is over.
import { expect, test } from '@jest/globals';
import type { Phase } from '../../../src/engine/contract.ts';
import type { JournalEvent } from '../../../src/engine/events.ts';
import { type GuardLook, type Look, truth, type WallLook } from '../../../src/engine/truth.ts';
import { fold } from '../../../src/engine/window.ts';

const SINCE = '2026-12-01T02:00:00.000Z';
const UNTIL = '2026-12-01T02:30:00.000Z';
const opened: JournalEvent = {
  ...{ type: 'opened', environment: 'prod', until: UNTIL, reason: 'x', by: 'ana', contact: '#ops', onExpiry: 'hold' },
  ...{
    soakMs: 0,
    budgetMs: 0,
    version: '0',
    runbook: { name: 'x', path: '/x', folder: '/', text: '' },
    only: [],
    skip: [],
  },
} as JournalEvent;

function stateAt(phase: Phase) {
  const events: JournalEvent[] = [
    opened,
    { type: 'settled', step: 'flag', phase: 'open', ms: 1, changes: 1, notes: [] },
    { type: 'walls', state: 'closed' },
    ...(phase === 'open' ? [] : [{ type: 'phase', phase, verb: 'end' } as const]),
  ];
  return fold(
    'w-1',
    events.map((event, at) => ({ seq: at + 1, at: SINCE, token: 1, event })),
  )!;
}
const wall = (is: WallLook['is'], step = 'flag'): WallLook => ({ step, is, why: 'seen' });
const guard = (refuses: GuardLook['refuses']): GuardLook => ({ guard: 'api', refuses, why: '' });
const look = (walls: WallLook[], guards: GuardLook[] = [], others?: string[]): Look => ({ walls, guards, others });

test.each<[Phase, Look | undefined, string, string]>([
  ['open', undefined, 'unknown', 'not looked'],
  ['open', look([]), 'open', 'no wall'],
  ['open', look([wall('held')]), 'refused', 'held'],
  ['open', look([wall('held')], [guard(true)]), 'refused', 'held'],
  ['open', look([wall('held')], [guard(null)]), 'refused', 'held'],
  ['open', look([wall('held')], [guard(true), guard(false)]), 'open', 'guard passes'],
  ['open', look([wall('open')]), 'open', 'wall open'],
  ['open', look([wall('open')], [guard(true)]), 'refused', 'guards hold alone'],
  ['open', look([wall('open')], [guard(null)]), 'open', 'wall open'],
  ['open', look([wall('open'), wall('held', 'b')]), 'open', 'part'],
  ['open', look([wall('open')], [], ['theirs']), 'refused', 'others hold alone'],
  ['open', look([wall('open')], [guard(false)], ['theirs']), 'open', 'wall open'],
  ['open', look([wall('unknown')]), 'unknown', 'cannot be asked'],
  ['open', look([wall('unknown'), wall('open', 'b')]), 'open', 'part'],
  ['open', look([wall('unknown')], [guard(false)]), 'open', 'guard passes'],
  ['soaking', look([wall('open')]), 'open', 'released'],
  ['soaking', look([wall('held')]), 'refused', 'still held'],
  ['closed', look([wall('unknown')]), 'unknown', 'cannot be asked'],
  ['closed', look([wall('open')], [], ['theirs']), 'refused', 'others hold alone'],
  ['aborted', look([wall('open')]), 'open', 'released'],
])('%s, %j: %s, %s', (phase, seen, writes, reason) => {
  expect(truth(stateAt(phase), seen, Date.parse(SINCE) + 1000)).toMatchObject({ writes, reason });
});

test('past its end a window that opens by itself is open, unless a guard refuses still', () => {
  const state = stateAt('open');
  state.window = { ...state.window, onExpiry: 'open' };
  const after = Date.parse(UNTIL) + 1;
  expect(truth(state, look([wall('held')]), after)).toMatchObject({ writes: 'open', reason: 'expired', since: UNTIL });
  expect(truth(state, look([wall('held')], [guard(true)]), after).writes).toBe('refused');
});
