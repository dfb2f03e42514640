// What every plugin owes, whatever it talks to: one suite, driven by a fixture per plugin that knows how its world
// begins, looks from outside and is changed by others. See plugins.test.ts for the list.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { runCheck } from '../../src/engine/checks.ts';
import {
  type Action,
  type AnyPlugin,
  type Check,
  type Edge,
  type Moment,
  Refusal,
  type Resource,
  type Step,
  type Surface,
} from '../../src/engine/contract.ts';
import { marksOf } from '../../src/engine/verbs/marks.ts';
import { stillOurs } from '../../src/engine/window.ts';
import { mapLeaves } from '../../src/runbook/params.ts';
import { type Machine, type MachineOptions, machine, readOnly, type Stage, windowOf } from '../support/machine.ts';
import { describeWith, type ServerName } from '../support/servers.ts';

export interface Fault {
  /** in place of some params, e.g. the address of a port where nobody listens */
  params?: Record<string, unknown>;
  on?(): Promise<void> | void;
  off?(): Promise<void> | void;
}

interface World {
  /** as a runbook gives them, resolved, with a planted value in each secret and in each URL that may carry one */
  params(): Record<string, unknown>;
  /** what must come out nowhere */
  readonly secrets: readonly string[];
  /** why no password can be planted in its URLs */
  readonly noUserinfo?: string;
  /** as it is before any window */
  reset(): Promise<void>;
  /** another text after every write, whoever made it, as seen from outside: a server's own log or counters, a file's times */
  trace(): Promise<string>;
  readonly faults: Readonly<Record<string, Fault>>;
  stop(): Promise<void>;
}

export interface ResourceWorld extends World {
  /** what must be exactly the same afterwards */
  essence(): Promise<string>;
  /** whether the world shows it held by this window */
  held(window: string): Promise<boolean>;
  /** what should not be there: duplicates, leftovers, forbidden calls */
  wrong?(window: string, over: boolean): Promise<string[]> | string[];
  /** notices: there is something to do when a window is announced */
  readonly announces?: boolean;
  /** carries `until` (RFC 3339), plus a grace of so many milliseconds */
  readonly until?: { read(window: string): Promise<string | undefined>; graceMs?: number; precisionMs?: number };
  /** what others may do to what is ours, by name */
  readonly meddling?: Readonly<Record<string, Meddling>>;
  /** what they may do between our look and our write; `there`: it was not overwritten */
  readonly overtaking?: { by(): Promise<void>; there(): Promise<boolean> };
  readonly newcomer?: { add(): Promise<void>; frozen(window: string): Promise<boolean>; restored(): Promise<boolean> };
  /** another party's reason in the same place */
  readonly otherHolder?: { add(id: string): Promise<void>; there(id: string): Promise<boolean> };
}
export interface Meddling {
  change(window: string): Promise<void>;
  /** after the end: what they did is still there; of a thing that bears our mark: it is gone */
  left(window: string): Promise<boolean>;
  /** among the step's notes, where it is no drift */
  said?: RegExp;
}

export interface ActionWorld extends World {
  /** gives it something to do, e.g. fills a cache */
  ready(edge: Edge): Promise<void>;
  /** whether it was done */
  done(edge: Edge, window: string): Promise<boolean>;
}

export interface CheckWorld extends World {
  readonly surfaces?: readonly Surface[];
  /** as the engine would have made it by this moment */
  good(moment: Moment, window: string): Promise<void>;
  bad(moment: Moment, window: string): Promise<void>;
  /** somebody goes on writing: called at each wait of a bad run */
  meanwhile?(): Promise<void> | void;
  /** default: all of the plugin's */
  readonly badAt?: readonly Moment[];
  /** nobody answers */
  away(): Promise<void>;
  back(): Promise<void>;
  /** default: all of the plugin's */
  readonly awayAt?: readonly Moment[];
  /** everything that was sent and is no read, as the other side saw it */
  sent(): readonly { method: string; url: string }[];
}

interface Of<K extends AnyPlugin['kind'], W> {
  kind: K;
  plugin: string;
  /** where one plugin has several kinds of place, e.g. a file or a user's table */
  variant?: string;
  needs?: readonly ServerName[];
  /** Its world makes each death cost a tenth of a second: between two writes one verb by turns, unless MAINT_CONFORM=all. */
  slow?: boolean;
  start(): Promise<W>;
}
type OfResource = Of<'resource', ResourceWorld> & {
  /** where others may add to what is frozen */
  newcomers?: boolean;
  /** where a write can be made to depend on what was seen */
  compareAndSet?: boolean;
};
export type Fixture = OfResource | Of<'action', ActionWorld> | Of<'check', CheckWorld>;

/** Of all fixtures together, for the last line of the suite. */
export const tally = { plugins: 0, points: 0, runs: 0 };

const VERBS = ['resume', 'end', 'abort'] as const;
type Verb = (typeof VERBS)[number];
const CRASH_MS = 180_000;
/** By the machine's own clock; more than the 11 s that no-writes watches. */
const CHECK_MS = 20_000;

export function conforms(plugin: AnyPlugin, fixture: Fixture): void {
  const title = `${plugin.name}${fixture.variant ? ` (${fixture.variant})` : ''}`;
  const body = () => {
    tally.plugins++;
    if (fixture.kind === 'resource') resource(plugin as Resource, title, fixture);
    else if (fixture.kind === 'action') action(plugin as Action, title, fixture);
    else check(plugin as Check, fixture.start);
  };
  if (fixture.needs) describeWith(fixture.needs, title, body);
  else describe(title, body);
}

/** The world of one fixture and the machines that acted on it. */
function harness<W extends World>(plugin: AnyPlugin, start: () => Promise<W>) {
  const machines: Machine[] = [];
  let world: W | undefined;
  beforeAll(async () => {
    world = await start();
  }, 60_000);
  beforeEach(() => world?.reset());
  afterAll(async () => {
    for (const one of machines) await one.close();
    await world?.stop();
  });
  test('a secret is planted wherever its params may hold one', () => {
    const { secrets, noUserinfo } = get();
    const bare: string[] = [];
    let planted = 0;
    mapLeaves(plugin.Params, get().params(), (value, path, marks) => {
      if (marks.secret) planted++;
      if (marks.secret && !secrets.includes(String(value))) bare.push(path.join('.'));
      if (marks.url && !noUserinfo && !secrets.includes(decodeURIComponent(new URL(String(value)).password)))
        bare.push(path.join('.'));
      return value;
    });
    expect(bare).toEqual([]);
    const schema = JSON.stringify(z.toJSONSchema(plugin.Params, { io: 'input', unrepresentable: 'any' }));
    expect(planted).toBeGreaterThanOrEqual(schema.split('"secret":true').length - 1);
  });
  test('its world has faults to try', () => expect(Object.keys(get().faults)).not.toEqual([]));
  const get = (): W => {
    if (!world) throw new Error('the fixture did not start');
    return world;
  };
  const steps = (more: Record<string, unknown> = {}, deadlineMs = 300_000): Step[] => [
    { id: 'step', plugin, params: plugin.Params.parse({ ...get().params(), ...more }), deadlineMs },
  ];
  return {
    get world(): W {
      return get();
    },
    steps,
    machine(options: MachineOptions = {}, of: Step[] = steps()): Machine {
      const made = machine(of, { secrets: get().secrets, ...options });
      machines.push(made);
      return made;
    },
    /** Nothing was written from here to there. */
    async untouched<T>(work: () => Promise<T>): Promise<T> {
      const before = await get().trace();
      const result = await work();
      expect(await get().trace()).toBe(before);
      return result;
    },
    leaks: (texts: readonly string[]) => leaks(texts, get().secrets),
  };
}
type Harness<W extends World> = ReturnType<typeof harness<W>>;

// ── Resources ─────────────────────────────────────────────────────────────────────────────────────────────────────

function resource(plugin: Resource, title: string, fixture: OfResource): void {
  const h = harness(plugin, fixture.start);
  const first: Stage[] = [];
  beforeAll(() => {
    if (h.world.announces) first.push('announced');
  });
  /** A whole window, with the end moved once. */
  const whole = (): Stage[] => [...first, 'open', 'extend', 'soaking', 'closed'];

  test('a whole window comes out as it went in, and a second converge of each phase writes nothing', async () => {
    const before = await h.world.essence();
    const m = h.machine();
    for (const stage of whole()) {
      await succeeds(m, [stage]);
      if (stage === 'open') expect(await h.world.held(m.id)).toBe(true);
      await h.untouched(() => succeeds(m, [stage]));
    }
    expect(await h.world.held(m.id)).toBe(false);
    expect(await h.world.essence()).toBe(before);
    expect((await h.world.wrong?.(m.id, true)) ?? []).toEqual([]);
    await over(m);
    expect(h.leaks(m.said)).toEqual([]);
  });

  if (plugin.markedBefore)
    test('its marks tell without a journal what was there before, and none is left afterwards', async () => {
      const m = h.machine();
      const marks = async () => {
        const looking = { steps: h.steps(), clients: readOnly(m.clients), signal: m.signal, now: m.now };
        return await h.untouched(async () => await marksOf(looking, (await m.state())!.window));
      };
      await succeeds(m, ['open']);
      const owned = (await m.state())!.owned.get('step')!;
      const { found, notAsked } = await marks();
      expect(notAsked).toEqual([]);
      expect(found[0]?.changes.length).toBeGreaterThan(0);
      for (const { id, from, to } of found[0]!.changes)
        expect({ id, from, to }).toEqual({ id, from: owned.get(id)!.before, to: owned.get(id)!.after });
      await succeeds(m, ['soaking', 'closed']);
      expect((await marks()).found).toEqual([]);
      await over(m);
    });

  test('trouble in the soak: held again, and the end still equals the beginning', async () => {
    const before = await h.world.essence();
    const m = h.machine();
    await succeeds(m, ['open', 'soaking', 'open']);
    expect(await h.world.held(m.id)).toBe(true);
    await succeeds(m, ['soaking', 'closed']);
    expect(await h.world.essence()).toBe(before);
    expect((await h.world.wrong?.(m.id, true)) ?? []).toEqual([]);
    await over(m);
  });

  test('looking writes nothing: plans before, during and towards every end', async () => {
    const m = h.machine();
    const planned = await h.untouched(async () => await m.plan(['open']));
    expect(planned.steps[0]).toMatchObject({ verdict: 'change', missing: [], unknown: [] });
    expect(planned.steps[0]!.refusal).toBeUndefined();
    await h.untouched(() => m.plan(['open', 'soaking', 'closed']));
    await succeeds(m, ['open']);
    await h.untouched(async () => {
      expect((await m.plan(['open'])).changes).toBe(0);
      expect((await m.plan(['soaking', 'closed'])).changes).toBeGreaterThan(0);
      expect((await m.plan(['aborted'])).changes).toBeGreaterThan(0);
    });
    await succeeds(m, ['aborted']);
    await h.untouched(() => m.plan(['closed']));
    expect(h.leaks([...m.said, plugin.address(h.steps()[0]!.params)])).toEqual([]);
  });

  test('extend changes what carries the end, and only that', async () => {
    const m = h.machine();
    await succeeds(m, ['open']);
    if (!h.world.until) {
      await h.untouched(() => succeeds(m, ['extend']));
      return;
    }
    const { read, graceMs = 0, precisionMs = 1000 } = h.world.until;
    const carried = async () => Date.parse((await read(m.id)) ?? '') - graceMs;
    expect(Math.abs((await carried()) - Date.parse(m.until))).toBeLessThan(precisionMs);
    const before = await h.world.essence();
    await succeeds(m, ['extend']);
    expect(Math.abs((await carried()) - Date.parse(m.extendedUntil))).toBeLessThan(precisionMs);
    const ends = [m.until, m.extendedUntil].flatMap((end) => [end, new Date(Date.parse(end) + graceMs).toISOString()]);
    const masked = (text: string) => ends.reduce((all, end) => all.replaceAll(end, '…'), text);
    expect(masked(await h.world.essence())).toBe(masked(before));
  });

  describe('what others do meanwhile', () => {
    test('to what is ours: reported and left alone; a wall that they opened is closed again', async () => {
      const meddling = Object.entries(h.world.meddling ?? {});
      expect(meddling.length).toBeGreaterThan(0);
      for (const [name, { change, left, said }] of meddling) {
        await h.world.reset();
        const before = await h.world.essence();
        const m = h.machine();
        await succeeds(m, ['open']);
        await change(m.id);
        const opened = (await m.plan(['open'])).steps[0]!.breached.length > 0;
        if (opened) await succeeds(m, ['open']);
        if (!said) await h.untouched(() => succeeds(m, ['open']));
        if (opened) expect({ name, held: await h.world.held(m.id) }).toEqual({ name, held: true });
        await succeeds(m, ['soaking', 'closed']);
        const state = (await m.state())!;
        const drifted = state.drifts.length > 0 && state.drifts.every((drift) => drift.step === 'step');
        const told = said ? m.said.some((text) => said.test(text)) : drifted;
        const reported = opened ? state.breaches.length === 1 && state.drifts.length === 0 : told;
        const as = opened ? (await h.world.essence()) === before : await left(m.id);
        expect({ name, reported, left: as }).toEqual({ name, reported: true, left: true });
        expect(stillOurs(state)).toEqual([]);
        expect(state.reached).toBe(true);
        expect(h.leaks(m.said)).toEqual([]);
      }
    });

    if (fixture.newcomers)
      test('a newcomer is frozen by the next converge of the phase, and restored', async () => {
        const newcomer = h.world.newcomer!;
        const m = h.machine();
        await succeeds(m, ['open']);
        await newcomer.add();
        expect(await newcomer.frozen(m.id)).toBe(false);
        await succeeds(m, ['open']);
        expect(await newcomer.frozen(m.id)).toBe(true);
        await succeeds(m, ['soaking', 'closed']);
        expect(await newcomer.restored()).toBe(true);
        await over(m);
      });

    if (fixture.compareAndSet)
      test('somebody is faster, between our look and our write: nothing of theirs is overwritten', async () => {
        const { by, there } = h.world.overtaking!;
        for (const at of ['open', 'soaking'] as const) {
          await h.world.reset();
          const m = h.machine();
          if (at === 'open') m.overtakenBy(by);
          await succeeds(m, ['open']);
          expect(await h.world.held(m.id)).toBe(true);
          if (at === 'soaking') m.overtakenBy(by);
          await succeeds(m, ['soaking', 'closed']);
          expect({ at, there: await there() }).toEqual({ at, there: true });
          expect(await h.world.held(m.id)).toBe(false);
        }
      });

    if (plugin.holders)
      test('two holders: each takes away its own only', async () => {
        const otherHolder = h.world.otherHolder!;
        const before = await h.world.essence();
        await otherHolder.add('w-earlier');
        const m = h.machine();
        await succeeds(m, ['open']);
        await otherHolder.add('w-later');
        const reader = m.clients.reader({ signal: m.signal, deadline: Date.now() + 5000 });
        const holders = await plugin.holders!(reader, h.steps()[0]!.params);
        expect(holders.map(({ id }) => id)).toEqual(expect.arrayContaining(['w-earlier', m.id, 'w-later']));
        await succeeds(m, ['soaking', 'closed']);
        expect(await otherHolder.there('w-earlier')).toBe(true);
        expect(await otherHolder.there('w-later')).toBe(true);
        expect(await h.world.held(m.id)).toBe(false);
        expect(await h.world.essence()).not.toBe(before);
        await over(m);
      });
  });

  test(
    'killed before and after every write and every journal entry, then resumed, ended or aborted: exactly as it was',
    async () => {
      const before = await h.world.essence();
      const rehearsal = h.machine();
      await succeeds(rehearsal, whole());
      const points = rehearsal.passed;
      await h.world.reset();
      const undone = h.machine();
      await succeeds(undone, ['open', 'aborted']);
      const more = undone.passed.filter(({ stage }) => stage === 'aborted');
      const wrong: string[] = [];
      for (const [at, { name }] of chosen(points, fixture.slow).entries()) {
        for (const verb of verbsAt(at, name, fixture.slow)) {
          wrong.push(...(await kill(h, whole(), name, verb, before)).map((what) => replay(title, name, verb, what)));
        }
      }
      for (const { name } of chosen(more, fixture.slow)) {
        wrong.push(
          ...(await kill(h, ['open', 'aborted'], name, 'abort', before)).map((what) =>
            replay(title, name, 'abort', `(while aborting) ${what}`),
          ),
        );
      }
      expect(wrong).toEqual([]);
      expect(points.filter(({ name }) => name.startsWith('write ')).length).toBeGreaterThan(3);
    },
    CRASH_MS,
  );

  test('a fault at the first write is a failure that can be undone, and tells no secret', async () => {
    for (const [name, fault] of Object.entries(h.world.faults)) {
      await h.world.reset();
      const before = await h.world.essence();
      const m = h.machine({}, h.steps(fault.params, 5_000));
      await fault.on?.();
      const { failures } = await m.run(['open']);
      expect({ name, failures: failures.length }).toEqual({ name, failures: 1 });
      expect(failures[0]!.code).not.toBe('E_BUG');
      await m.plan(['open']).catch((error) => {
        if (!(error instanceof Refusal)) throw error;
        m.said.push(error.message, error.next ?? '');
      });
      await fault.off?.();
      const healed = await m.run(['aborted'], h.steps());
      expect({ name, failures: healed.failures }).toEqual({ name, failures: [] });
      expect(await h.world.essence()).toBe(before);
      expect((await h.world.wrong?.(m.id, true)) ?? []).toEqual([]);
      expect(h.leaks(m.said)).toEqual([]);
    }
  });
}

/** One death and what follows. Returns what is wrong afterwards. */
async function kill(
  h: Harness<ResourceWorld>,
  stages: readonly Stage[],
  at: string,
  verb: Verb,
  before: string,
): Promise<string[]> {
  tally.runs++;
  await h.world.reset();
  const untouched = await h.world.trace();
  const m = h.machine({ killAt: at });
  try {
    if (await m.live(stages)) return ['the point was not passed'];
    const left = await m.state();
    if (!left) {
      // It died before there was a window: nothing may have happened.
      if ((await h.world.trace()) !== untouched) return ['something was written before the window was in the journal'];
      if (verb !== 'resume') return [];
    }
    await m.run(
      verb === 'resume'
        ? stages.slice(stages.indexOf(m.stage()))
        : verb === 'abort'
          ? ['aborted']
          : left?.phase === 'closed'
            ? ['closed']
            : ['soaking', 'closed'],
    );
  } catch (error) {
    return [String(error instanceof Error ? (error.stack ?? error.message) : error)];
  }
  const state = (await m.state())!;
  const wrong: string[] = [];
  const after = await h.world.essence();
  if (after !== before) wrong.push(`it is ${after}\nand was ${before}`);
  if (!state.reached) wrong.push(`${state.phase} was not reached`);
  if (m.failures.length > 0) wrong.push(`failures: ${JSON.stringify(m.failures)}`);
  if (stillOurs(state).length > 0) wrong.push(`still ours: ${JSON.stringify(stillOurs(state))}`);
  if (state.drifts.length > 0) wrong.push(`drift though nobody else did anything: ${JSON.stringify(state.drifts)}`);
  wrong.push(...((await h.world.wrong?.(m.id, true)) ?? []));
  const told = h.leaks(m.said);
  if (told.length > 0) wrong.push(`a secret came out: ${told[0]}`);
  return wrong;
}

/** In a slow world what lies between two journal entries with no write in between is one point: nothing has changed. */
function chosen<T extends { name: string }>(points: readonly T[], slow = false): T[] {
  const { MAINT_CONFORM: all, MAINT_CONFORM_POINT: only } = process.env;
  const append = (at: number, side: string) => points[at]?.name.match(`^append .*/${side}$`) != null;
  const these = points.filter(({ name }, at) => {
    if (only !== undefined) return only === name;
    return !slow || all === 'all' || !append(at, 'before') || !append(at - 1, 'after');
  });
  tally.points += these.length;
  return these;
}

function verbsAt(at: number, name: string, slow = false): readonly Verb[] {
  const { MAINT_CONFORM: all, MAINT_CONFORM_VERB: only } = process.env;
  if (only !== undefined) return VERBS.filter((verb) => verb === only);
  if (!slow || all === 'all' || name.startsWith('write ')) return VERBS;
  return [VERBS[at % VERBS.length]!];
}

function replay(title: string, point: string, verb: string, what: string): string {
  return `${title} killed at "${point}", then ${verb}: ${what}\n  again: MAINT_CONFORM_POINT='${point}' MAINT_CONFORM_VERB=${verb} npx jest test/contract/plugins.test.ts -t '${title.replace(/[()]/g, '.')} killed'`;
}

async function succeeds(m: Machine, stages: readonly Stage[]): Promise<void> {
  for (const stage of stages) {
    const { failures } = await m.run([stage]);
    expect({ stage, failures }).toEqual({ stage, failures: [] });
  }
}

/** The window is over, nothing is ours any more, and nobody else was blamed for anything. */
async function over(m: Machine): Promise<void> {
  const state = (await m.state())!;
  expect({ reached: state.reached, ours: stillOurs(state), drifts: state.drifts }).toEqual({
    reached: true,
    ours: [],
    drifts: [],
  });
}

// ── Actions ───────────────────────────────────────────────────────────────────────────────────────────────────────

const STAGE_OF: Readonly<Record<Edge, Stage>> = { open: 'open', reopen: 'soaking', closed: 'closed' };

function action(plugin: Action, title: string, fixture: Of<'action', ActionWorld>): void {
  const h = harness(plugin, fixture.start);
  const stages: Stage[] = ['open', 'soaking', 'closed'];
  const edgeOf = (stage: Stage) => plugin.on.find((edge) => STAGE_OF[edge] === stage);
  const doneEdges = async (m: Machine) =>
    [...((await m.state())?.actions ?? [])].filter(([, { state }]) => state === 'done').map(([key]) => key);

  test('is done at each of its edges, once, and journalled', async () => {
    const m = h.machine();
    const journalled: string[] = [];
    for (const stage of stages) {
      const edge = edgeOf(stage);
      if (edge) await h.world.ready(edge);
      if (!edge) {
        await h.untouched(() => succeeds(m, [stage]));
        continue;
      }
      await succeeds(m, [stage]);
      expect({ edge, done: await h.world.done(edge, m.id) }).toEqual({ edge, done: true });
      journalled.push(`step ${edge}`);
      expect(await doneEdges(m)).toEqual(journalled);
      await h.untouched(() => succeeds(m, [stage]));
    }
    expect(h.leaks(m.said)).toEqual([]);
  });

  test('looking writes nothing', async () => {
    const m = h.machine();
    await h.untouched(async () => {
      expect((await m.plan(['open', 'soaking', 'closed'])).steps[0]).toMatchObject({ verdict: 'runs', missing: [] });
    });
    await succeeds(m, ['open']);
    await h.untouched(() => m.plan(['soaking', 'closed']));
    await h.untouched(() => m.plan(['aborted']));
    expect(h.leaks([...m.said, plugin.address(h.steps()[0]!.params)])).toEqual([]);
  });

  test('runs again without harm, for what is unknown is done again', async () => {
    for (const edge of plugin.on) {
      await h.world.reset();
      await h.world.ready(edge);
      const m = h.machine();
      const acting = await m.boot();
      for (let turn = 0; turn < 2; turn++) {
        const hooks = { before() {}, after() {}, spawned: async () => {} };
        const deadline = m.now() + 10_000;
        const io = m.clients.writer({ signal: m.signal, deadline, hooks });
        const poll = async <T>(_every: number, attempt: () => Promise<T | undefined>) => await attempt();
        const params = h.steps()[0]!.params;
        await plugin.run(io, { params, edge, window: acting.state.window, deadline, poll });
        expect(await h.world.done(edge, m.id)).toBe(true);
      }
    }
  });

  test(
    'killed before and after every write and every journal entry, then resumed, ended or aborted: done, and said so',
    async () => {
      const rehearsal = h.machine();
      await succeeds(rehearsal, stages);
      const points = rehearsal.passed;
      const wrong: string[] = [];
      for (const [at, { name, stage: where }] of chosen(points, fixture.slow).entries()) {
        for (const verb of verbsAt(at, name, fixture.slow)) {
          tally.runs++;
          await h.world.reset();
          for (const edge of plugin.on) await h.world.ready(edge);
          const m = h.machine({ killAt: name });
          const say = (what: string) => wrong.push(replay(title, name, verb, what));
          if (await m.live(stages)) say('the point was not passed');
          const left = await m.state();
          if (!left && verb !== 'resume') continue;
          const ran = new Set(left?.actions.keys());
          const rest: Stage[] =
            verb === 'resume'
              ? stages.slice(stages.indexOf(where))
              : verb === 'abort'
                ? ['aborted']
                : left?.phase === 'closed'
                  ? ['closed']
                  : ['soaking', 'closed'];
          for (const stage of rest) {
            const edge = edgeOf(stage);
            if (edge && !(await doneEdges(m)).includes(`step ${edge}`)) await h.world.ready(edge);
            await m.run([stage]);
          }
          const due = plugin.on.filter(
            (edge) => rest.includes(STAGE_OF[edge]) || (verb === 'abort' && edge !== 'open' && ran.has('step open')),
          );
          const done = await doneEdges(m);
          for (const edge of due) {
            if (!done.includes(`step ${edge}`)) say(`${edge} is not journalled as done`);
            if (!(await h.world.done(edge, m.id))) say(`${edge} was not done`);
          }
          if (m.failures.length > 0) say(`failures: ${JSON.stringify(m.failures)}`);
          if (!(await m.state())!.reached) say('not reached');
          if (h.leaks(m.said).length > 0) say('a secret came out');
        }
      }
      expect(wrong).toEqual([]);
    },
    CRASH_MS,
  );

  test('a fault is reported, is tried again by the same verb, and tells no secret', async () => {
    for (const [name, fault] of Object.entries(h.world.faults)) {
      await h.world.reset();
      const edge = plugin.on[0]!;
      const stage = STAGE_OF[edge];
      const m = h.machine({}, h.steps(fault.params, 5_000));
      await fault.on?.();
      const { failures } = await m.run([...stages.slice(0, stages.indexOf(stage)), stage]);
      expect({ name, failures: failures.length }).toEqual({ name, failures: 1 });
      expect(failures[0]!.code).not.toBe('E_BUG');
      await fault.off?.();
      await h.world.ready(edge);
      const healed = await m.run([stage], h.steps());
      expect({ name, failures: healed.failures }).toEqual({ name, failures: [] });
      expect(await h.world.done(edge, m.id)).toBe(true);
      expect(h.leaks(m.said)).toEqual([]);
    }
  });
}

// ── Checks ────────────────────────────────────────────────────────────────────────────────────────────────────────

const MOMENTS: readonly Moment[] = ['before', 'open', 'now', 'glance', 'reopen', 'audit', 'soaking'];

function check(plugin: Check, start: () => Promise<CheckWorld>): void {
  const h = harness(plugin, start);
  const moments = MOMENTS.filter((moment) => plugin.on.includes(moment));

  /** The moments of one window, one after the other; evidence goes through JSON, as in the journal. */
  function watcher(more: Record<string, unknown> = {}, meanwhile?: () => Promise<void> | void) {
    const m = h.machine({ surfaces: h.world.surfaces ?? [], ...(meanwhile && { meanwhile }) });
    const [step] = h.steps(more, CHECK_MS);
    const checked = new Map<Moment, any>();
    const since = new Date().toISOString();
    return {
      m,
      async at(moment: Moment, dry = false) {
        const window = {
          ...windowOf(m.id, m.until, h.world.surfaces),
          since,
          reopened: moment === 'soaking' || moment === 'audit' ? new Date(m.now()).toISOString() : undefined,
        };
        const acting = {
          clients: dry ? readOnly(m.clients) : m.clients,
          signal: m.signal,
          now: m.now,
          wait: m.wait,
          emit: (progress: unknown) => void m.said.push(JSON.stringify(progress)),
        };
        const state = { window, checked: new Map([['step', checked]]) };
        const result = await runCheck(acting, step!, moment, state, m.now() + CHECK_MS, dry);
        m.said.push(JSON.stringify(result));
        expect(JSON.parse(JSON.stringify(result.evidence))).toEqual(result.evidence);
        if (!dry) checked.set(moment, { evidence: JSON.parse(JSON.stringify(result.evidence)) });
        return result;
      },
    };
  }
  type Watcher = ReturnType<typeof watcher>;
  async function upTo(watch: Watcher, last: Moment): Promise<void> {
    for (const moment of moments) {
      if (moment === last) return;
      await h.world.good(moment, watch.m.id);
      await watch.at(moment);
    }
  }

  test('passes in a good world at each of its moments, sending only what it declared', async () => {
    const watch = watcher();
    for (const moment of moments) {
      await h.world.good(moment, watch.m.id);
      const { outcome, summary, findings } = await watch.at(moment);
      expect({ moment, outcome, findings, summary }).toMatchObject({ moment, outcome: 'pass' });
    }
    const window = windowOf(watch.m.id, watch.m.until, h.world.surfaces);
    const declared: string[] = (plugin.declares?.(h.steps()[0]!.params, window) ?? []).map(bare);
    for (const sent of h.world.sent()) expect(declared.includes(bare(sent)) ? '' : bare(sent)).toBe('');
    if (declared.length > 0) expect(h.world.sent().length).toBeGreaterThan(0);
    expect(h.leaks(watch.m.said)).toEqual([]);
  });

  test('fails in a bad one', async () => {
    for (const moment of h.world.badAt ?? moments) {
      await h.world.reset();
      let bad = false;
      const watch = watcher({}, () => (bad ? h.world.meanwhile?.() : undefined));
      // An audit tells what happened before its last look, which was taken with closed walls.
      const last = moment === 'audit' ? 'reopen' : moment;
      await upTo(watch, last);
      await h.world.good(last, watch.m.id);
      await h.world.bad(last, watch.m.id);
      bad = true;
      if (last !== moment) await watch.at(last);
      const { outcome, summary } = await watch.at(moment);
      expect({ moment, outcome, summary }).toMatchObject({ moment, outcome: 'fail' });
      expect(h.leaks(watch.m.said)).toEqual([]);
    }
  }, 60_000);

  test('cannot tell where nobody answers, and tells no secret', async () => {
    // An audit may know everything from its last look.
    for (const moment of h.world.awayAt ?? moments.filter((one) => one !== 'audit')) {
      await h.world.reset();
      const watch = watcher();
      await upTo(watch, moment);
      await h.world.good(moment, watch.m.id);
      await h.world.away();
      const { outcome, summary } = await watch.at(moment);
      await h.world.back();
      expect({ moment, outcome, summary }).toMatchObject({ moment, outcome: 'unknown' });
      expect(h.leaks(watch.m.said)).toEqual([]);
    }
    for (const [name, fault] of Object.entries(h.world.faults)) {
      await h.world.reset();
      const watch = watcher(fault.params);
      await h.world.good(moments[0]!, watch.m.id);
      await fault.on?.();
      const { outcome } = await watch.at(moments[0]!);
      await fault.off?.();
      expect({ name, outcome }).not.toEqual({ name, outcome: 'pass' });
      expect(h.leaks(watch.m.said)).toEqual([]);
    }
  }, 60_000);

  test('a dry run has no prober, and changes nothing', async () => {
    const watch = watcher();
    for (const moment of moments) {
      await h.world.good(moment, watch.m.id);
      const before = h.world.sent().length;
      await h.untouched(() => watch.at(moment, true));
      expect(h.world.sent()).toHaveLength(before);
      // the plan of a start and its evidence
      await h.untouched(() => watch.m.plan(['open']));
    }
    expect(h.leaks([...watch.m.said, plugin.address(h.steps()[0]!.params)])).toEqual([]);
  });
}

function bare({ method, url }: { method: string; url: string }): string {
  const place = new URL(url);
  place.username = '';
  place.password = '';
  return `${method.toUpperCase()} ${place.href}`;
}

// ── Secrets ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** Texts in which a secret stands, as it is, encoded for a URL, or within base64. */
export function leaks(texts: readonly string[], secrets: readonly string[]): string[] {
  return texts.filter((text) => {
    const decoded = (text.match(/[A-Za-z0-9+/_-]{12,}={0,2}/g) ?? []).map((run) =>
      Buffer.from(run, 'base64').toString('latin1'),
    );
    return secrets.some((secret) =>
      [text, ...decoded].some((one) => one.includes(secret) || one.includes(encodeURIComponent(secret))),
    );
  });
}
