// Two people at once: what was looked at before the lease may be another window, or another phase of it, once it is held.
import { expect, test } from '@jest/globals';
import { type Fault, Team, type Verb } from '../../support/team.ts';

async function after(verbs: readonly Verb[], passMs: number, verb: Verb, fault: Extract<Fault, { kind: 'late' }>) {
  using team = new Team();
  for (const before of verbs) expect((await team.run(0, before)).exit).toBe(0);
  team.time.now += passMs;
  const ran = await team.run(0, verb, fault);
  expect(team.wrong).toEqual([]);
  return { ran, state: (await team.state())!, held: Object.keys(team.world.holders), world: team.world };
}

test('made read-only from another state while a person thinks: there is one window, and it is theirs', async () => {
  using team = new Team();
  const until = new Date(team.time.now + 3_600_000).toISOString();
  team.thinks = () => {
    team.world.holders['w-theirs'] = { until, environment: 'prod' };
  };
  const ran = await team.run(0, 'start');
  expect([ran.code, ran.exit, await team.rows()]).toEqual(['E_WINDOW_OPEN', 69, []]);
  expect(Object.keys(team.world.holders)).toEqual(['w-other', 'w-theirs']);
});

test('announced anew while somebody starts it: it is open, and stays so', async () => {
  const { ran, state, held } = await after(['announce'], 0, 'announce', { kind: 'late', after: 'start' });
  expect([ran.code, ran.exit]).toEqual(['E_WINDOW_OPEN', 69]);
  expect([state.phase, state.reached, held.length]).toEqual(['open', true, 2]);
});

test('announced anew while somebody cancels it: nothing is written, and that is said', async () => {
  const { ran, state } = await after(['announce'], 0, 'announce', { kind: 'late', after: 'abort' });
  expect([ran.code, state.phase, state.reached]).toEqual(['E_NO_WINDOW', 'aborted', true]);
});

test('past its end, and extended by somebody else while it is looked at: it is not overdue', async () => {
  const { state } = await after(['start'], 31 * 60_000, 'look', { kind: 'late', after: 'extend' });
  expect(state.window.overdue).toBe(false);
  const { state: untouched } = await after(['start'], 31 * 60_000, 'look', { kind: 'late', after: 'look' });
  expect(untouched.window.overdue).toBe(true);
});

test('past its end, while somebody’s laptop may still be writing: who only looks neither waits nor overtakes it', async () => {
  using team = new Team();
  expect((await team.run(0, 'start')).exit).toBe(0);
  team.time.now += 30 * 60_000;
  expect((await team.run(1, 'note', { kind: 'crash', at: 4 })).cut).toBe(true);
  team.time.now += 10_000;
  const before = team.time.now;
  await team.run(0, 'look');
  expect([team.time.now - before, (await team.state())!.window.overdue]).toEqual([0, false]);
  // gone for good: nothing of it can arrive any more
  team.time.now += 20_000;
  await team.run(0, 'look');
  expect((await team.state())!.window.overdue).toBe(true);
});

test.each(['end', 'abort'] as const)(
  'started again while an %s goes half of its way: that one is not turned round',
  async (way) => {
    const { ran, state, held } = await after(['start'], 0, 'start', {
      kind: 'late',
      after: way,
      fault: { kind: 'down' },
    });
    expect(ran.other?.ran.exit).toBe(68);
    expect([ran.code, ran.exit]).toEqual(['E_WINDOW_OPEN', 69]);
    expect([state.phase, state.reached, held.length]).toEqual([way === 'end' ? 'closed' : 'aborted', false, 1]);
  },
);
