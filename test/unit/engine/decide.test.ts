// The table in decide.ts is what decide does: read from its comment, and held against every combination.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { defineResource, LEAVE, type Phase, type Role, type Step, Unknown } from '../../../src/engine/contract.ts';
import { type Decision, decide, isOpened, sameState } from '../../../src/engine/decide.ts';
import type { Owned } from '../../../src/engine/window.ts';
import { WINDOW } from '../../support/drive.ts';

const OWN = ['none', 'known', 'unknown'] as const;
const NOW = [
  'unseen',
  'gone',
  'before',
  'after',
  'both',
  'from',
  'from=before',
  'from=after',
  'half',
  'other',
] as const;
/** `soaking` holds what the runbook lets go after the soak only, and it is a phase of the way back. */
const PHASES = {
  held: ['open', 'soaking'],
  'let go': ['closed', 'aborted'],
  neither: ['announced'],
} as const satisfies Record<string, readonly Phase[]>;
const YES = ['yes', 'no'] as const;
interface Case {
  own: (typeof OWN)[number];
  now: (typeof NOW)[number];
  wanted: 'yes' | 'no';
  phase: keyof typeof PHASES;
  opens: 'yes' | 'no';
  marked: 'yes' | 'no';
}
const COLUMNS = ['own', 'now', 'wanted', 'phase', 'opens', 'marked'] as const;

const source = readFileSync(new URL('../../../src/engine/decide.ts', import.meta.url), 'utf8');
const rows = [...source.matchAll(/^ \* \|(.*)\|$/gm)].map(([, row]) => row!.split('|').map((cell) => cell.trim()));
const [head, , ...table] = rows;

/** Of a thing that is not ours only whether it can be seen counts; `from` and `half` are words of an unknown outcome. */
function isPossible({ own, now, wanted }: Case): boolean {
  if (own === 'none') return now === 'unseen' || now === 'other' || now === 'gone';
  if (own === 'known') return !now.startsWith('from') && now !== 'half';
  return now !== 'half' || wanted === 'no';
}

const cases: Case[] = OWN.flatMap((own) =>
  NOW.flatMap((now) =>
    YES.flatMap((wanted) =>
      (Object.keys(PHASES) as Case['phase'][]).flatMap((phase) =>
        YES.flatMap((opens) => YES.map((marked) => ({ own, now, wanted, phase, opens, marked }))),
      ),
    ),
  ),
).filter(isPossible);

function fits(row: readonly string[], one: Case): boolean {
  return COLUMNS.every((column, at) => row[at] === 'any' || row[at]!.split(', ').includes(one[column]));
}

const STATES: Readonly<Record<string, string>> = {
  ...{ before: 'B', after: 'A', both: 'B', from: 'F', 'from=before': 'B', 'from=after': 'A', half: 'H', other: 'O' },
};

function stepOf(one: Case): Step {
  const plugin = defineResource<object, { is: string }>({
    ...{ name: 'test/thing', role: 'wall', summary: '', example: {}, compare: 'server' },
    Params: z.strictObject({}),
    State: z.strictObject({ is: z.string() }),
    address: () => '',
    observe: async () => new Map(),
    desired: ({ now }) => (one.wanted === 'no' ? { is: 'new' } : one.opens === 'yes' ? now : LEAVE),
    write: async () => [],
    closed: () => one.opens === 'no',
    // one that cannot tell says yes to what was there before, too
    halfway: (from, _to, now) => now?.is === 'H' || now?.is === from?.is,
    ...(one.marked === 'yes' && { marked: true }),
  });
  return { id: 'step', plugin, params: {}, deadlineMs: 1000, release: 'after-soak' };
}

function ownedOf({ own, now }: Case): Owned | undefined {
  if (own === 'none') return undefined;
  const known = { before: { is: 'B' }, after: { is: now === 'both' ? 'B' : 'A' } };
  if (own === 'known') return known;
  const from = { is: now === 'from=before' ? 'B' : now === 'from=after' ? 'A' : 'F' };
  return { ...known, unknown: { from, at: WINDOW.since, token: 7 } };
}

function said({ changes, release, settled, breached, drift, unknown, pending }: Decision): string {
  const words = [
    ...unknown.map(() => 'unknown'),
    ...release.map(() => 'release'),
    ...settled.map(() => 'settled'),
    ...pending.map(({ half }) => (half === undefined ? 'pending' : 'pending half')),
    ...breached.map(() => 'breach'),
    ...drift.map(({ released, taken }) =>
      taken && released ? 'both' : taken ? 'drift taken' : released ? 'drift let go' : 'drift',
    ),
    ...changes.map(() => 'change'),
  ];
  return words.join(', ') || '-';
}

describe("decide's table", () => {
  test('has its columns, and every row is needed', () => {
    expect(head).toEqual([...COLUMNS, 'then']);
    const needed = new Set(cases.map((one) => table.findIndex((row) => fits(row, one))));
    expect([...needed].sort((a, b) => a - b)).toEqual(table.map((_, at) => at));
  });

  test('is what decide does, in every combination', () => {
    const wrong: string[] = [];
    for (const [one, phase] of cases.flatMap((each) => PHASES[each.phase].map((is) => [each, is] as const))) {
      const row = table.find((candidate) => fits(candidate, one));
      const own = ownedOf(one);
      const is = STATES[one.now];
      const now = one.now === 'unseen' ? new Unknown('down', true) : is === undefined ? null : { is };
      const decision = decide(stepOf(one), phase, WINDOW, new Map(own ? [['x', own]] : []), new Map([['x', now]]));
      if (said(decision) !== row?.at(-1)) wrong.push(`${JSON.stringify(one)}: ${said(decision)}, not ${row?.at(-1)}`);
      for (const drift of decision.drift)
        expect(drift).toMatchObject({ id: 'x', ours: own!.after, now, gone: now === null });
      for (const change of decision.changes) expect(change).toEqual({ id: 'x', from: now, to: { is: 'new' } });
      for (const settled of decision.settled) expect(settled).toEqual({ id: 'x', is: now });
      for (const pending of decision.pending)
        expect(pending).toEqual({
          ...{ id: 'x', since: WINDOW.since, token: 7 },
          ...(one.now === 'half' && { half: now }),
        });
      for (const unknown of decision.unknown) expect(unknown).toEqual({ id: 'x', why: 'down', refused: true });
    }
    expect(wrong).toEqual([]);
    expect(cases.length).toBeGreaterThan(300);
  });

  test('what is ours and was not seen at all is gone', () => {
    const one: Case = { own: 'known', now: 'gone', wanted: 'yes', phase: 'held', opens: 'no', marked: 'no' };
    const decision = decide(
      stepOf({ ...one, wanted: 'no' }),
      'closed',
      WINDOW,
      new Map([['x', ownedOf(one)!]]),
      new Map(),
    );
    expect(decision.drift).toEqual([{ id: 'x', ours: { is: 'A' }, now: null, released: true, gone: true }]);
  });

  test('what desired() is told', () => {
    const one: Case = { own: 'known', now: 'after', wanted: 'no', phase: 'held', opens: 'no', marked: 'no' };
    const step = stepOf(one);
    const told: unknown[] = [];
    const desired = (situation: unknown) => {
      told.push(situation);
      return LEAVE;
    };
    const plugin = { ...step.plugin, desired } as never;
    const own = new Map([['x', ownedOf(one)!]]);
    for (const [phase, held] of [
      ['open', true],
      ['soaking', false],
    ] as const) {
      decide(
        { ...step, plugin, params: { p: 1 }, release: undefined },
        phase,
        WINDOW,
        own,
        new Map([['x', { is: 'A' }]]),
      );
      expect(told.shift()).toEqual({
        ...{ phase, held, window: WINDOW, params: { p: 1 }, id: 'x', now: { is: 'A' }, before: { is: 'B' } },
      });
    }
  });
});

test('a wall without closed() is closed in the state that it wants, and no other role is ever opened', () => {
  const of = (role: Role, desired: (situation: { held: boolean }) => unknown) => {
    const step = stepOf({ own: 'none', now: 'other', wanted: 'no', phase: 'held', opens: 'no', marked: 'no' });
    const { closed: _, ...plugin } = { ...step.plugin, role, desired } as never as Record<string, unknown>;
    return { ...step, plugin } as never as Step;
  };
  const opened = (step: Step, is: string | null) => isOpened(step, WINDOW, 'x', is === null ? null : { is });
  const frozen = of('wall', ({ held }) => (held ? { is: 'new' } : LEAVE));
  expect([opened(frozen, 'new'), opened(frozen, 'O'), opened(frozen, null)]).toEqual([false, true, true]);
  expect(
    opened(
      of('wall', () => LEAVE),
      'O',
    ),
  ).toBe(false);
  expect(
    opened(
      of('work', () => ({ is: 'new' })),
      'O',
    ),
  ).toBe(false);
});

test('states are compared without what the server sets, and what is undefined is not there', () => {
  const { plugin } = stepOf({ own: 'none', now: 'other', wanted: 'no', phase: 'held', opens: 'no', marked: 'no' });
  const resource = { ...plugin, computed: ['v'] } as never;
  const same = (a: unknown, b: unknown) => sameState(resource, a as never, b as never);
  expect(same(null, null)).toBe(true);
  expect(same(null, { a: 1 })).toBe(false);
  expect(same({ a: 1 }, null)).toBe(false);
  expect(same({ a: 1, v: 1 }, { a: 1, v: 2 })).toBe(true);
  expect(same({ a: 1, v: 1 }, { a: 1 })).toBe(true);
  expect(same({ a: 1 }, { a: 1, b: undefined })).toBe(true);
  expect(same({ a: 1 }, { a: 1, b: 2 })).toBe(false);
  expect(same({ a: 1, b: 2 }, { a: 1 })).toBe(false);
  expect(same({ a: { v: 1 } }, { a: { v: 2 } })).toBe(false);
  expect(same({ a: { b: [1, { c: 2 }] } }, { a: { b: [1, { c: 2 }] } })).toBe(true);
  expect(same({ a: [1, 2] }, { a: [1] })).toBe(false);
  expect(same({ a: [1] }, { a: { 0: 1 } })).toBe(false);
  expect(same({ a: null }, { a: {} })).toBe(false);
});

test('a wall whose end must be found is written also where ours has vanished, and stays ours until that is known', () => {
  const one: Case = { own: 'known', now: 'gone', wanted: 'yes', phase: 'let go', opens: 'yes', marked: 'yes' };
  const step = stepOf(one);
  const mine = new Map([['a', { before: null, after: { is: 'A' } }]]);
  const plain = decide(step, 'closed', WINDOW, mine, new Map([['a', null]]));
  expect(plain.changes).toEqual([]);
  expect(plain.drift).toMatchObject([{ id: 'a', released: true, gone: true }]);
  const saying = { ...step, plugin: { ...step.plugin, saysEnded: true } } as Step;
  const told = decide(saying, 'closed', WINDOW, mine, new Map([['a', null]]));
  expect(told.changes).toEqual([{ id: 'a', from: null, to: null }]);
  expect(told.drift).toMatchObject([{ id: 'a', released: false, gone: true, taken: true }]);
});
