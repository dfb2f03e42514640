// Clocks that step, stand still, are off, or change to summer: windows are promised and kept in spite of them.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { label } from '../../../src/engine/window.ts';
import { parseUntil } from '../../../src/ui/times.ts';
import { essence } from '../../support/fake-world.ts';
import { EXTEND_MS, type Fault, Team, type Verb, WINDOW_MS } from '../../support/team.ts';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

/** A whole window in which one verb meets its fault; returns how often it fired, and throws what went wrong. */
async function wholeWindow(
  verb: Verb,
  fault: Fault,
): Promise<{ fired: number; exits: (number | undefined)[]; until: number }> {
  using team = new Team();
  const before = essence(team.world);
  const begun = team.time.now;
  const exits: (number | undefined)[] = [];
  let until = 0;
  for (const each of ['start', 'extend', 'end'] as const) {
    const { exit } = await team.run(0, each, each === verb ? fault : undefined);
    exits.push(exit);
    team.laptops[0]!.wall = 0;
    if (each === 'extend') until = Date.parse((await team.state())!.window.until) - begun;
  }
  // what it could not finish in time is finished by the same verb
  if (exits.at(-1) === 68) exits.push((await team.run(0, 'end')).exit);
  const state = (await team.state())!;
  const closed = label(state, false, team.time.now);
  const wrong = [...team.wrong];
  if (essence(team.world) !== before) wrong.push('the world is not as it was');
  if (team.world.incidents.length > 1) wrong.push(`${team.world.incidents.length} incidents`);
  if (closed !== 'closed' && closed !== 'aborted') wrong.push(`the window is ${closed}`);
  if (wrong.length > 0) throw new Error(`${verb}, ${JSON.stringify(fault)}: ${wrong.join('; ')}`);
  return { fired: team.fired, exits, until };
}

/** At every point that the verb passes. */
async function everywhere(
  verb: Verb,
  fault: (at: number) => Fault,
  then: (exits: (number | undefined)[], until: number) => void,
) {
  let at = 1;
  for (; ; at++) {
    const { fired, exits, until } = await wholeWindow(verb, fault(at));
    if (fired === 0) break;
    then(exits, until);
  }
  expect(at).toBeGreaterThan(verb === 'extend' ? 15 : 30);
}

describe.each<Verb>(['start', 'extend', 'end'])('%s, at each of its journal calls, looks and writes', (verb) => {
  const asPromised = (exits: (number | undefined)[], until: number) => {
    expect(exits).toEqual([0, 0, 0]);
    // a few seconds of the checklist, none of the step
    expect(Math.abs(until - WINDOW_MS - EXTEND_MS)).toBeLessThan(10_000);
  };
  test.each([-HOUR_MS, HOUR_MS])('the wall clock steps by %i ms', async (ms) => {
    await everywhere(verb, (at) => ({ kind: 'jump', at, ms }), asPromised);
  });
  test('the lid is closed for an hour, and the monotonic clock stands still', async () => {
    await everywhere(
      verb,
      (at) => ({ kind: 'sleep', at, ms: HOUR_MS, mono: false }),
      (exits) => expect(exits).toEqual([0, 0, 0]),
    );
  });
  test('the lid is closed for four seconds, and both clocks show it', async () => {
    await everywhere(
      verb,
      (at) => ({ kind: 'sleep', at, ms: 4000, mono: true }),
      (exits) => expect(exits).toEqual([0, 0, 0]),
    );
  });
  test('the lid is closed for an hour, and both clocks show it: done, or undone', async () => {
    await everywhere(
      verb,
      (at) => ({ kind: 'sleep', at, ms: HOUR_MS, mono: true }),
      (exits) => {
        expect([0, 67]).toContain(exits[0]);
        expect(exits.at(-1)).toBe(0);
      },
    );
  });
  test.each([true, false])(
    'somebody takes over meanwhile (monotonic clock goes on: %s): it writes nothing more',
    async (mono) => {
      await everywhere(
        verb,
        (at) => ({ kind: 'taken over', at, by: 'abort', mono }),
        () => undefined,
      );
    },
  );
});

test('a laptop that was overtaken says so with 75', async () => {
  using team = new Team();
  const { code, exit, other } = await team.run(0, 'start', { kind: 'taken over', at: 12, by: 'abort', mono: false });
  expect({ code, exit, other: other?.ran.exit }).toEqual({ code: 'E_TAKEN_OVER', exit: 75, other: 0 });
});

describe('a machine whose clock is off the shared state’s', () => {
  const verbs: Verb[] = ['announce', 'start', 'extend', 'note'];
  test.each([
    [-5 * MINUTE_MS, '300s behind'],
    [5 * MINUTE_MS, '300s ahead of'],
    [61_000, '61s ahead of'],
  ])('by %i ms promises nothing, and brings back what is open', async (off, words) => {
    using team = new Team();
    expect((await team.run(0, 'start')).exit).toBe(0);
    team.laptops[1]!.wall = off;
    const writes = team.world.writes;
    const events = (await team.events()).length;
    for (const verb of verbs) {
      const { exit, code, error } = await team.run(1, verb);
      const refused = verb === 'announce' ? [69, 'E_WINDOW_OPEN'] : [66, 'E_REFUSED'];
      expect([exit, code]).toEqual(refused);
      if (verb !== 'announce')
        expect((error as Error).message).toContain(`the clock of this machine is ${words} that of the shared state`);
    }
    expect([team.world.writes, (await team.events()).length]).toEqual([writes, events]);
    expect((await team.run(1, 'end')).exit).toBe(0);
    expect(team.said.join('\n')).toContain(words);
    expect((await team.run(1, 'announce')).code).toBe('E_REFUSED');
    expect((await team.rows()).length).toBe(1);
  });
  test('by less than a minute does as any other', async () => {
    using team = new Team();
    team.laptops[1]!.wall = -59_000;
    for (const verb of ['announce', 'start', 'extend', 'note', 'end'] as const)
      expect((await team.run(1, verb)).exit).toBe(0);
  });
});

test.each([-HOUR_MS, HOUR_MS])(
  'the state’s clock steps by %i ms after a crash: the other laptop goes on within half a minute',
  async (ms) => {
    using team = new Team();
    const before = essence(team.world);
    await team.run(0, 'start', { kind: 'crash', at: 12 });
    team.storeClock = ms;
    for (const clocks of team.laptops) clocks.wall = ms;
    const begun = team.time.now;
    expect((await team.run(1, 'abort')).exit).toBe(0);
    expect(team.time.now - begun).toBeLessThan(45_000);
    expect(essence(team.world)).toBe(before);
  },
);

describe('times that people type', () => {
  const at = (text: string) => Date.parse(text);
  test.each([
    ['00:10Z', '2026-12-31T23:50:00Z', '2027-01-01T00:10:00.000Z'],
    ['00:00Z', '2026-12-01T23:59:59.999Z', '2026-12-02T00:00:00.000Z'],
    ['23:59Z', '2026-12-01T23:58:59.999Z', '2026-12-01T23:59:00.000Z'],
    ['00:30Z', '2028-02-28T23:50:00Z', '2028-02-29T00:30:00.000Z'],
    ['00:30Z', '2028-02-29T23:50:00Z', '2028-03-01T00:30:00.000Z'],
    ['00:30Z', '2027-02-28T23:50:00Z', '2027-03-01T00:30:00.000Z'],
    ['2028-02-29T02:00Z', '2028-02-28T23:50:00Z', '2028-02-29T02:00:00.000Z'],
    ['2026-12-01T02:00+01:00', '2026-12-01T00:00:00Z', '2026-12-01T01:00:00.000Z'],
    ['2026-03-29T02:30+01:00', '2026-03-29T00:00:00Z', '2026-03-29T01:30:00.000Z'],
  ])('%s at %s is %s', (text, now, is) => {
    expect(parseUntil(text, at(now))).toBe(is);
  });
  test.each([
    ['00:00Z', '2026-12-01T00:00:00Z', 'has passed today'],
    ['23:55Z', '2026-12-01T23:55:00Z', 'has passed today'],
    ['23:55Z', '2026-12-02T00:05:00Z', 'is more than 12 hours away'],
    ['24:00Z', '2026-12-01T00:00:00Z', 'is no time'],
    ['03:30', '2026-12-01T00:00:00Z', 'is no time'],
    ['2027-02-29T02:00Z', '2026-12-01T00:00:00Z', 'is no time'],
    ['2026-04-31T02:00Z', '2026-12-01T00:00:00Z', 'is no time'],
    ['2026-12-01T23:59:60Z', '2026-12-01T00:00:00Z', 'is no time'],
    ['2026-12-01T02:00', '2026-12-01T00:00:00Z', 'is no time'],
  ])('%s at %s %s', (text, now, why) => {
    expect(() => parseUntil(text, at(now))).toThrow(why);
  });
});

describe('summer time', () => {
  const child = fileURLToPath(new URL('../../support/zone-child.ts', import.meta.url));
  const inZone = (TZ: string) =>
    JSON.parse(
      execFileSync(process.execPath, [child], { env: { ...process.env, TZ, NODE_OPTIONS: '' }, encoding: 'utf8' }),
    ) as {
      summer: number;
      said: string[];
    };
  const plain = inZone('UTC').said;
  test.each(['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe'])(
    '%s: each hour of the days of change, times and windows are as in UTC',
    (tz) => {
      const { summer, said } = inZone(tz);
      expect(summer).not.toBe(0);
      expect(said).toEqual(plain);
      expect(said.filter((line) => line.includes(` ${2 * HOUR_MS} `))).toHaveLength(6 * 24);
    },
  );
});
