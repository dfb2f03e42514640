// Every label in every state that the journal can be in: words, an exit code that says what they say, and what to type
// next. The gap between the last write and the last entry is one of them.
import { describe, expect, test } from '@jest/globals';
import type { Phase } from '../../../src/engine/contract.ts';
import type { Lease } from '../../../src/engine/journal.ts';
import type { Look } from '../../../src/engine/truth.ts';
import { refuseClosing } from '../../../src/engine/verbs/extend.ts';
import { statusOf } from '../../../src/engine/verbs/status.ts';
import { openAlready } from '../../../src/engine/verbs/windows.ts';
import { apply, fold, type Label, label, type WindowState } from '../../../src/engine/window.ts';
import { EXIT, EXIT_MEANS } from '../../../src/errors/exit-codes.ts';
import { maint } from '../../../src/errors/next.ts';

const NOW = Date.parse('2026-11-24T02:10:00Z');
const SINCE = '2026-11-24T02:00:00.000Z';
const OPENED = {
  type: 'opened',
  environment: 'prod',
  until: '2026-11-24T02:30:00.000Z',
  reason: 'reindex',
  contact: '#ops',
  onExpiry: 'hold',
  soakMs: 1000,
  by: 'ana@lapis',
  runbook: { text: '', path: '/w/p.yaml', folder: '/w' },
  only: [],
  skip: [],
} as never;
const OWNER = { name: 'ana@lapis', verb: 'end', host: 'lapis', bootId: '', pidNamespace: '', pid: 1, startTime: '' };
const LEASE: Lease = { environment: 'prod', token: 1, owner: OWNER, renewedAt: NOW, expiresAt: NOW + 15_000 };
const FAILURE = {
  type: 'failed',
  step: 'crons',
  phase: 'closed',
  code: 'E_FAILED',
  message: 'no',
  ids: ['a'],
} as never;
const journal = {
  now: async () => NOW,
  windows: async () => [],
  read: async () => [],
} as never;

const LOOKS: Record<string, Look | undefined> = {
  'not looked': undefined,
  'walls open': { walls: [{ step: 'flag', is: 'open', why: 'no holder' }], guards: [] },
  'walls held': { walls: [{ step: 'flag', is: 'held', why: 'our holder' }], guards: [] },
  'walls unknown': { walls: [{ step: 'flag', is: 'unknown', why: 'refused' }], guards: [] },
};

/** Every combination of what a label is derived from. */
function* states(): Generator<{ name: string; state: WindowState; alive: boolean }> {
  for (const phase of ['announced', 'open', 'soaking', 'closed', 'aborted'] as Phase[])
    for (const reached of [false, true])
      for (const running of [false, true])
        for (const failed of [false, true])
          for (const behind of [false, true])
            for (const past of [false, true])
              for (const soak of ['none', 'good', 'bad'] as const)
                for (const alive of [false, true]) {
                  // a lease is held by a run, and its first entry says that it began
                  if (alive && !running) continue;
                  const state = fold('w-1', [{ seq: 1, at: SINCE, token: 1, event: OPENED }])!;
                  Object.assign(state, { phase, reached, running, behind });
                  state.window = { ...state.window, until: past ? '2026-11-24T02:05:00.000Z' : state.window.until };
                  if (failed) state.failures.set('crons', FAILURE);
                  if (soak !== 'none') {
                    state.soakUntil = SINCE;
                    const outcome = soak === 'bad' ? ('fail' as const) : ('pass' as const);
                    const checked = {
                      outcome,
                      summary: 'p95 +40%',
                      findings: [],
                      looks: [],
                      evidence: null,
                      at: SINCE,
                      seq: 9,
                    };
                    state.checked.set('reads', new Map([['soaking', checked]]));
                  }
                  const parts = { reached, running, failed, behind, past, alive };
                  const set = Object.entries(parts).flatMap(([key, is]) => (is ? [key] : []));
                  yield { name: [phase, ...set, `soak ${soak}`].join(' '), state, alive };
                }
}

const OVER: readonly Label[] = ['closed', 'aborted', 'handed over'];

describe.each(Object.entries(LOOKS))('%s', (_name, look) => {
  test('every label has words, an exit code and what to type next', async () => {
    const seen = new Set<Label>();
    for (const { name, state, alive } of states()) {
      const status = await statusOf({ journal }, state, alive ? LEASE : undefined, [], { look });
      const is = status.label;
      seen.add(is);
      const where = `${name}: ${is}`;
      expect({ where, exit: Object.keys(EXIT_MEANS).includes(String(status.exit)) }).toEqual({ where, exit: true });
      expect({ where, exit: status.exit === EXIT.USAGE || status.exit === EXIT.BUG }).toEqual({ where, exit: false });
      expect({
        where,
        said: status.lines[0]?.startsWith('prod') === true && !/undefined|null| {2}/.test(status.lines[0]),
      }).toEqual({ where, said: true });
      const next = status.next.every((one) => 'run' in one) && (status.next.length > 0 || OVER.includes(is));
      expect({ where, next }).toEqual({ where, next: true });
      // 0 is for what is over, or has not begun
      if (status.exit === EXIT.DONE)
        expect({ where, over: OVER.includes(is) || is === 'scheduled' }).toEqual({ where, over: true });
    }
    expect([...seen].sort()).toEqual(
      [
        'aborted',
        'aborting',
        'closed',
        'closing',
        'held',
        'interrupted',
        'needs a human',
        'open',
        'opening',
        'overdue',
        'scheduled',
        'soak bad',
        'soak unattended',
        'soaking',
      ].sort(),
    );
  });
});

describe('the gap between the last write and the last entry', () => {
  const at = (seq: number, event: unknown) => ({ seq, at: SINCE, token: 1, event: event as never });
  const until = (...events: unknown[]) => {
    const state = fold('w-1', [at(1, OPENED)])!;
    for (const [n, event] of events.entries()) apply(state, at(n + 2, event));
    return state;
  };
  test.each([
    ['closed', 'end'],
    ['aborted', 'abort'],
  ] as const)('%s: not over before it is recorded', async (phase, verb) => {
    const began = { type: 'run', state: 'began', verb, owner: 'ana@lapis' };
    const done = [began, { type: 'phase', phase }, { type: 'reached', phase }];
    const state = until(...done);
    expect(label(state, true, NOW)).toBe(phase === 'closed' ? 'closing' : 'aborting');
    expect(label(state, false, NOW)).toBe('interrupted');
    const status = await statusOf({ journal }, state, undefined, [], { look: LOOKS['walls open'] });
    expect(status).toMatchObject({ exit: EXIT.HUMAN, next: [{ run: { command: verb } }] });
    expect(status.lines.slice(0, 2)).toEqual([
      `prod is read-write: maint ${verb} was interrupted · w-1 · by ana@lapis, last seen 02:00:00Z · nobody is acting`,
      'all of it is done; only the last entry of the journal is missing',
    ]);
    expect(openAlready(state, 'is on its way out')).toMatchObject({
      exit: EXIT.OPEN,
      message: expect.stringContaining('(interrupted)'),
      next: [maint('status'), maint(verb, {}, 'goes on with it')],
    });
    expect(() => refuseClosing('prod', state)).toThrow(
      expect.objectContaining({
        message: 'prod’s window w-1 is on its way out. Nothing changed.',
        next: [maint(verb, {}, 'goes on with it'), maint('status')],
      }),
    );
    const over = until(...done, { type: 'run', state: 'ended', verb, owner: 'ana@lapis', exit: 0 });
    expect(label(over, false, NOW)).toBe(phase);
  });
});
