// The audit: what happened while writes were refused is told once they work again, and never holds the walls.
import { expect, test } from '@jest/globals';
import { Team } from '../../support/team.ts';

async function ended(audit: Team['world']['audit'], more: { soakIsBad?: boolean } = {}) {
  const team = new Team();
  expect((await team.run(0, 'start')).exit).toBe(0);
  Object.assign(team.world, { audit, ...more });
  const before = team.time.now;
  const ran = await team.run(0, 'end');
  const events = await team.events();
  const told = events.flatMap(({ event }) =>
    event.type === 'walls'
      ? [`walls ${event.state}`]
      : event.type === 'checked'
        ? [`${event.moment} ${event.outcome}`]
        : [],
  );
  expect(team.wrong).toEqual([]);
  return { team, ran, told, tookMs: team.time.now - before, state: (await team.state())! };
}

test('the walls open first, then it reads, beside the soak', async () => {
  const { team, ran, told, tookMs, state } = await ended({ outcome: 'pass', ms: 15_000 });
  using _ = team;
  expect(ran.exit).toBe(0);
  expect(told).toEqual(
    ['open pass', 'walls closed', 'reopen pass', 'walls open', 'soaking pass', 'audit pass'].sort(byOrderOf(told)),
  );
  expect(told.indexOf('audit pass')).toBeGreaterThan(told.indexOf('walls open'));
  // the soak is 20 s
  expect(tookMs).toBeLessThan(25_000);
  expect(state.reached).toBe(true);
});

test('a write that it finds undoes nothing: the window is closed, and a human is told', async () => {
  const { team, ran, state } = await ended({ outcome: 'fail', ms: 5_000 });
  using _ = team;
  expect([ran.exit, ran.code, state.phase, state.reached]).toEqual([68, 'E_WRITTEN', 'closed', true]);
  expect(await team.run(0, 'end')).toMatchObject({ exit: 0 });
});

test('not done when the soak is over: the window closes, and until when it was audited is told', async () => {
  const { team, ran, told, tookMs, state } = await ended({ outcome: 'fail', ms: 600_000 });
  using _ = team;
  expect([ran.exit, state.phase, told.at(-1)]).toEqual([0, 'closed', 'audit inconclusive']);
  expect(tookMs).toBeLessThan(25_000);
});

test('a bad soak does not wait for it, and the next end audits again', async () => {
  const { team, ran, told, tookMs } = await ended({ outcome: 'pass', ms: 600_000 }, { soakIsBad: true });
  using _ = team;
  expect([ran.exit, ran.code]).toEqual([68, 'E_SOAK_BAD']);
  expect(tookMs).toBeLessThan(5_000);
  expect(told.filter((one) => one.startsWith('audit'))).toEqual([]);
  Object.assign(team.world, { audit: { outcome: 'pass', ms: 0 }, soakIsBad: false });
  expect((await team.run(0, 'end')).exit).toBe(0);
  expect((await team.state())!.checked.get('check')!.get('audit')).toMatchObject({ outcome: 'pass' });
});

test('where an end was tried before and every wall stayed closed, the last look is taken anew', async () => {
  using team = new Team();
  expect((await team.run(0, 'start')).exit).toBe(0);
  expect((await team.run(0, 'end', { kind: 'crash', at: 6 })).cut).toBe(true);
  const looks = async () =>
    (await team.events()).filter(({ event }) => event.type === 'checked' && event.moment === 'reopen').length;
  const before = await looks();
  team.time.now += 60_000;
  expect((await team.run(0, 'end')).exit).toBe(0);
  expect([before, await looks()]).toEqual([1, 2]);
});

function byOrderOf(all: readonly string[]) {
  return (a: string, b: string) => all.indexOf(a) - all.indexOf(b);
}
