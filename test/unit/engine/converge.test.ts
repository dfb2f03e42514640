// The engine alone, over a world in memory: killed at every boundary, resumed, ended, aborted; what other people do
// meanwhile; faults; and the gaps that a simpler engine had.
import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import type { Acting } from '../../../src/engine/acting.ts';
import { defineResource, type Order, type Step, type Window } from '../../../src/engine/contract.ts';
import { type Converged, converge } from '../../../src/engine/converge.ts';
import type { JournalEvent } from '../../../src/engine/events.ts';
import type { Clients } from '../../../src/engine/io.ts';
import type { Lease } from '../../../src/engine/journal.ts';
import { readOnlyPeriods } from '../../../src/engine/periods.ts';
import { plan } from '../../../src/engine/plan.ts';
import { rehearse } from '../../../src/engine/rehearse.ts';
import { see } from '../../../src/engine/see.ts';
import { apply, fold, label, stillOurs, type WindowState } from '../../../src/engine/window.ts';
import { MaintError, OuterError } from '../../../src/errors/catalogue.ts';
import {
  brokenConnection,
  essence,
  type FakeWorld,
  fakeSteps,
  fakeWorld,
  Killed,
  refusedConnection,
} from '../../support/fake-world.ts';
import { memoryJournal } from '../../support/memory-journal.ts';

const noClients = {
  reader: () => ({}),
  writer: () => ({}),
  prober: () => ({}),
  close: async () => undefined,
} as unknown as Clients;
const opened: JournalEvent = {
  type: 'opened',
  environment: 'prod',
  until: '2026-12-01T02:30:00.000Z',
  reason: 'reindex',
  by: 'ana@lapis',
  contact: '#ops',
  onExpiry: 'hold',
  soakMs: 1000,
  budgetMs: 60_000,
  version: '0.0.0',
  runbook: { name: 'x', path: '/x.yaml', folder: '/', text: 'x' },
  only: [],
  skip: [],
};

/** A laptop: its processes come and go, the journal and the world stay. */
function laptop(world: FakeWorld = fakeWorld(), storeAhead = 0, order?: Order) {
  let clock = Date.parse('2026-12-01T02:00:00.000Z');
  const journal = memoryJournal(() => clock + storeAhead);
  const waits: number[] = [];
  let lease: Lease | undefined;
  const steps = fakeSteps(world);
  async function boot(stepsNow: Step[] = steps): Promise<Acting | undefined> {
    const answer = await journal.take(
      'prod',
      { name: 'ana@lapis', host: 'lapis', bootId: 'b', pidNamespace: 'n', pid: 1, startTime: '1', verb: 'test' },
      lease?.token,
    );
    if (!('taken' in answer)) throw new Error('held');
    lease = answer.taken;
    const mine = lease;
    let state = fold('w-1', await journal.read('w-1')) as WindowState;
    const recordNow = async (events: JournalEvent[]) => {
      world.tick(`before append ${events.map((event) => event.type).join()}`);
      const recorded = state ? await journal.append(mine, 'w-1', events) : await journal.open(mine, 'w-1', events);
      world.tick(`after append ${events.map((event) => event.type).join()}`);
      if (!state) state = fold('w-1', recorded)!;
      else for (const one of recorded) apply(state, one);
    };
    // one after the other, as a run does
    let recording: Promise<void> = Promise.resolve();
    const record = (events: JournalEvent[]) => {
      const mine = recording.then(() => recordNow(events));
      recording = mine.catch(() => undefined);
      return mine;
    };
    if (!state) await record([{ ...opened, order } as JournalEvent]);
    const signal = new AbortController().signal;
    return {
      steps: stepsNow,
      state,
      token: mine.token,
      clients: noClients,
      signal,
      hard: signal,
      record,
      mayWrite: async () => undefined,
      now: () => clock,
      storeNow: () => journal.now(),
      wait: async (until) => {
        waits.push(until - clock);
        clock = Math.max(clock, until);
      },
      emit: () => undefined,
      running: () => false,
      machine: 'lapis',
      random: () => 0.5,
    };
  }
  return {
    world,
    journal,
    steps,
    waits,
    now: () => clock,
    boot,
    advance: (ms: number) => {
      clock += ms;
    },
    state: async () => fold('w-1', await journal.read('w-1'))!,
  };
}
type Laptop = ReturnType<typeof laptop>;

async function run(machine: Laptop, phases: string[]): Promise<Converged[]> {
  const results: Converged[] = [];
  for (const phase of phases) {
    const acting = (await machine.boot())!;
    const same = acting.state.phase;
    if (phase === 'extend') await acting.record([{ type: 'extended', until: '2026-12-01T04:00:00.000Z', by: 'ana' }]);
    results.push(await converge(acting, phase === 'extend' ? same : (phase as 'open'), { verb: phase }));
  }
  return results;
}

describe('a whole window', () => {
  test('comes out as it went in; a second converge of each phase writes nothing', async () => {
    const machine = laptop();
    const before = essence(machine.world);
    for (const phase of ['open', 'soaking', 'closed']) {
      const [result] = await run(machine, [phase]);
      expect(result!.failures).toEqual([]);
      const { writes } = machine.world;
      await run(machine, [phase]);
      expect(machine.world.writes).toBe(writes);
    }
    expect(essence(machine.world)).toBe(before);
    expect(machine.world.incidents.map((incident) => incident.status)).toEqual(['completed']);
    expect(stillOurs(await machine.state())).toEqual([]);
    expect(label(await machine.state(), false, 0)).toBe('closed');
  });

  test('extend changes only what carries the end', async () => {
    const machine = laptop();
    await run(machine, ['open']);
    const crons = JSON.stringify(machine.world.crons);
    const { writes } = machine.world;
    await run(machine, ['extend']);
    expect(machine.world.writes - writes).toBe(3);
    expect(JSON.stringify(machine.world.crons)).toBe(crons);
    expect(machine.world.holders['w-1']!.until).toBe('2026-12-01T04:00:00.000Z');
  });

  test('extend during the soak moves the silence, which outlives the soak, and nothing else', async () => {
    const machine = laptop();
    await run(machine, ['open', 'soaking']);
    const was = { ...machine.world.silences.find((silence) => !silence.expired) };
    const crons = JSON.stringify(machine.world.crons);
    await run(machine, ['extend']);
    const now = machine.world.silences.find((silence) => !silence.expired);
    expect(Date.parse(now!.endsAt)).toBeGreaterThan(Date.parse(was.endsAt!));
    expect(JSON.stringify(machine.world.crons)).toBe(crons);
    expect(machine.world.holders['w-1']).toBeUndefined();
  });

  test('a dry run of the end lists the purge that failed while the walls opened, and nothing once it is done', async () => {
    const machine = laptop();
    await run(machine, ['open', 'soaking']);
    const acting = (await machine.boot())!;
    await acting.record([{ type: 'action', step: 'purge', edge: 'reopen', state: 'failed', summary: ['refused'] }]);
    const planned = async () => {
      const state = await machine.state();
      const looking = { ...acting, steps: machine.steps, clients: noClients };
      const { steps } = await plan(looking, state.window, state, ['closed'], { rights: false });
      return steps.find((step) => step.id === 'purge')?.verdict;
    };
    expect(await planned()).toBe('runs');
    await acting.record([{ type: 'action', step: 'purge', edge: 'reopen', state: 'done', summary: [] }]);
    expect(await planned()).not.toBe('runs');
  });

  test('a newcomer is stopped by the next converge of the phase, and restored', async () => {
    const machine = laptop();
    await run(machine, ['open']);
    machine.world.crons['late'] = { active: true };
    await run(machine, ['open']);
    expect(machine.world.crons['late']).toEqual({ active: false });
    await run(machine, ['soaking', 'closed']);
    expect(machine.world.crons['late']).toEqual({ active: true });
  });

  test('refreeze: what was changed between release and refreeze is the new before', async () => {
    const machine = laptop();
    await run(machine, ['open', 'soaking']);
    machine.world.crons['report']!.active = true;
    await run(machine, ['open']);
    expect(machine.world.holders['w-1']).toBeDefined();
    expect(machine.world.incidents.map((incident) => incident.status)).toEqual(['in_progress']);
    await run(machine, ['soaking', 'closed']);
    expect(machine.world.holders['w-1']).toBeUndefined();
    expect(machine.world.incidents).toHaveLength(1);
  });
});

describe('what somebody else does meanwhile', () => {
  test('is reported and left: drift is not undone, and the window closes all the same', async () => {
    const machine = laptop();
    await run(machine, ['open']);
    machine.world.silences[0]!.endsAt = '2027-01-01T00:00:00.000Z';
    await run(machine, ['soaking']);
    const [closed] = await run(machine, ['closed']);
    expect(closed!.failures).toEqual([]);
    const state = await machine.state();
    expect(state.reached).toBe(true);
    expect(state.drifts.map((drift) => [drift.step, drift.id, drift.released])).toEqual([['mute', 'silence', true]]);
    expect(machine.world.silences[0]).toMatchObject({ endsAt: '2027-01-01T00:00:00.000Z', expired: false });
  });

  test('what we own and is gone already is released, and said', async () => {
    const machine = laptop();
    await run(machine, ['open']);
    delete machine.world.crons['report'];
    machine.world.silences[0]!.expired = true;
    await run(machine, ['soaking', 'closed']);
    const state = await machine.state();
    expect(state.reached).toBe(true);
    expect(state.drifts.map((drift) => `${drift.step} ${drift.id} ${drift.gone}`).sort()).toEqual([
      'crons report true',
      'mute silence true',
    ]);
  });

  test('the end touches only our holder', async () => {
    const machine = laptop();
    await run(machine, ['open']);
    machine.world.holders['w-late'] = { until: 'x', environment: 'prod' };
    await run(machine, ['soaking', 'closed']);
    expect(Object.keys(machine.world.holders)).toEqual(['w-other', 'w-late']);
  });
});

describe('killed', () => {
  const wrong: string[] = [];
  let points = 0;
  const ways = (['strict', 'roles'] as const).flatMap((order) =>
    (['resume', 'end', 'abort', 'abort twice'] as const).map((then) => ({ order, then })),
  );
  for (const { order, then } of ways) {
    test(`at every append, observation and write (order: ${order}), then ${then}: the world is as it was`, async () => {
      for (let at = 1; ; at++) {
        const machine = laptop(fakeWorld(), 0, order);
        const { world } = machine;
        const before = essence(world);
        let left = at;
        let dead = false;
        let where = '';
        world.tick = (name) => {
          // A dead process does nothing more, whatever it had started.
          if (dead) throw new Killed();
          if (--left === 0) {
            dead = true;
            where = name;
            throw new Killed();
          }
        };
        const alive = await run(machine, ['open', 'extend', 'soaking', 'closed']).then(
          () => true,
          () => false,
        );
        if (alive) break;
        points++;
        world.tick = () => undefined;
        const opened = (await machine.state()) !== undefined;
        if (opened) {
          const { phase } = await machine.state();
          if (then === 'resume')
            await run(
              machine,
              phase === 'open'
                ? ['open', 'soaking', 'closed']
                : phase === 'soaking'
                  ? ['soaking', 'closed']
                  : ['closed'],
            );
          else if (then === 'end') await run(machine, phase === 'closed' ? ['closed'] : ['soaking', 'closed']);
          else if (then === 'abort') await run(machine, ['aborted']);
          else {
            left = 7 + (at % 13);
            dead = false;
            const first = world.tick;
            world.tick = (name) => {
              if (dead || --left === 0) {
                dead = true;
                throw new Killed(name);
              }
            };
            await run(machine, ['aborted']).catch(() => undefined);
            world.tick = first;
            await run(machine, ['aborted']);
          }
        }
        const state = await machine.state();
        const ours = state ? stillOurs(state).length : 0;
        if (
          essence(world) !== before ||
          world.incidents.length > 1 ||
          world.incidents.some((incident) => incident.status !== 'completed') ||
          ours > 0 ||
          (state && !state.reached)
        ) {
          wrong.push(
            `${order}, ${then} after point ${at} (${where}): ${essence(world)} ${JSON.stringify(world.incidents)} ours ${ours} reached ${state?.reached}`,
          );
        }
      }
      expect(wrong).toEqual([]);
    });
  }
  test('the number of points is no accident', () => {
    expect(points).toBeGreaterThan(400);
  });
});

describe('faults', () => {
  test('a connection that is refused is tried again and leaves no trace', async () => {
    const machine = laptop();
    machine.world.fault = { at: 'before', error: refusedConnection(), times: 2 };
    const [result] = await run(machine, ['open']);
    expect(result!.failures).toEqual([]);
    expect(machine.waits.every((ms) => ms < 10_000)).toBe(true);
  });

  test('an unknown outcome is observed: what arrived is ours at once, what did not is decided 10 s after its intent', async () => {
    const arrived = laptop();
    arrived.world.fault = { at: 'after', error: brokenConnection(), times: 5 };
    expect((await run(arrived, ['open']))[0]!.failures).toEqual([]);
    expect(arrived.world.incidents).toHaveLength(1);
    expect(Math.max(0, ...arrived.waits)).toBeLessThan(5000);

    const lost = laptop();
    lost.world.fault = { at: 'before', error: brokenConnection(), times: 1 };
    expect((await run(lost, ['open']))[0]!.failures).toEqual([]);
    expect(Math.max(...lost.waits)).toBeGreaterThan(9_000);
  });

  test.each([-45_000, 45_000])(
    'a state whose clock is %d ms from ours changes nothing of these 10 s',
    async (ahead) => {
      const lost = laptop(fakeWorld(), ahead);
      lost.world.fault = { at: 'before', error: brokenConnection(), times: 1 };
      expect((await run(lost, ['open']))[0]!.failures).toEqual([]);
      expect(lost.waits.filter((ms) => ms > 9_000 && ms < 11_000)).toHaveLength(1);

      // nor of what is left of them for who comes later
      const dead = laptop(fakeWorld(), ahead);
      let killed = false;
      dead.world.tick = (name) => {
        killed ||= name === 'before write';
        if (killed) throw new Killed();
      };
      await expect(run(dead, ['open'])).rejects.toThrow(Killed);
      dead.world.tick = () => undefined;
      dead.advance(6_000);
      expect((await run(dead, ['open']))[0]!.failures).toEqual([]);
      expect(Math.max(...dead.waits)).toBeGreaterThan(3_000);
      expect(Math.max(...dead.waits)).toBeLessThan(5_000);
    },
  );

  test('each attempt whose outcome is unknown gets its own 10 s, also after one that was answered', async () => {
    const twice = laptop();
    twice.world.fault = { at: 'before', error: brokenConnection(), times: 2 };
    expect((await run(twice, ['open']))[0]!.failures).toEqual([]);
    expect(twice.waits.filter((ms) => ms > 9_000)).toHaveLength(2);

    const mixed = laptop();
    const answered = new OuterError('fake:1 answered 500', { effect: 'answered', retryable: true });
    const fault = { at: 'before' as const, error: answered, times: 2 };
    mixed.world.fault = fault;
    mixed.world.tick = () => {
      if (fault.times === 1) fault.error = brokenConnection();
    };
    expect((await run(mixed, ['open']))[0]!.failures).toEqual([]);
    expect(mixed.waits.filter((ms) => ms > 9_000)).toHaveLength(1);
  });

  test.each(['refused', 'interrupted'])('of a batch that is %s half-way, what went out is ours', async (how) => {
    const posted: Record<string, string> = {};
    const refusal = new OuterError('fake:1 answered 403', { effect: 'answered', retryable: false });
    let refuses = true;
    const interrupt = new AbortController();
    const two = defineResource<object, { phase: string }>({
      ...{ name: 'notice/two', role: 'notice', summary: '', example: {}, leaves: 'both', batch: 2 },
      ...{ Params: z.strictObject({}), State: z.strictObject({ phase: z.string() }), address: () => 'two' },
      compare: 'server',
      observe: async () => new Map(['a', 'b'].map((id) => [id, { state: posted[id] ? { phase: posted[id] } : null }])),
      desired: ({ phase }) => ({ phase }),
      write: async (_io, _params, changes) => {
        for (const [n, { id, to }] of changes.entries()) {
          if (n === 1 && refuses) {
            if (how === 'interrupted') interrupt.abort(new MaintError('E_INTERRUPTED', 'interrupted'));
            throw refusal;
          }
          posted[id] = to!.phase;
        }
        return changes.map(({ to }) => to);
      },
    });
    const machine = laptop();
    const steps: Step[] = [{ id: 'two', plugin: two, params: {}, deadlineMs: 30_000 }];
    const acting = (await machine.boot(steps))!;
    const { signal } = interrupt;
    const first = converge({ ...acting, signal, hard: signal }, 'open', { verb: 'start' });
    if (how === 'interrupted') await expect(first).rejects.toMatchObject({ code: 'E_INTERRUPTED' });
    else
      expect((await first).failures.map(({ code, message }) => [code, message])).toEqual([
        ['E_FAILED', 'fake:1 answered 403'],
      ]);
    expect(posted).toEqual({ a: 'open' });
    refuses = false;
    machine.advance(60_000);
    for (const phase of ['soaking', 'closed'] as const) {
      const result = await converge((await machine.boot(steps))!, phase, { verb: 'end' });
      expect(result.failures).toEqual([]);
    }
    expect(posted['a']).toBe('closed');
  });

  test('where every write breaks the step ends by its deadline, the last 10 s aside', async () => {
    const machine = laptop();
    machine.world.fault = { at: 'before', error: brokenConnection(), times: 1000 };
    const [result] = await run(machine, ['open']);
    expect(result!.stopped?.step).toBe('flag');
    expect(machine.waits.reduce((sum, ms) => sum + ms, 0)).toBeLessThan(45_000);
    expect(machine.world.fault.times).toBeLessThan(1000);
    machine.world.fault = undefined;
    expect((await run(machine, ['aborted']))[0]!.failures).toEqual([]);
    expect((await machine.state()).reached).toBe(true);
  });

  test('a wall that fails at start stops it; a notice does not', async () => {
    const machine = laptop();
    machine.world.fault = { at: 'before', error: refusedConnection(), times: 1000 };
    const [result] = await run(machine, ['open']);
    expect(result!.stopped?.step).toBe('flag');
    machine.world.fault = undefined;
    expect((await run(machine, ['aborted']))[0]!.failures).toEqual([]);
    expect((await machine.state()).reached).toBe(true);
  });

  test('the end goes past what is down, keeps what it owns, and the same verb tries just that', async () => {
    const machine = laptop();
    await run(machine, ['open', 'soaking']);
    machine.world.fault = { at: 'before', error: refusedConnection(), times: 100_000 };
    const [result] = await run(machine, ['closed']);
    expect(result!.failures.map((failure) => failure.step).sort()).toEqual(['crons', 'mute', 'page']);
    const state = await machine.state();
    expect(state.reached).toBe(false);
    expect(label(state, false, 0)).toBe('needs a human');
    expect(
      stillOurs(state)
        .map((one) => one.id)
        .sort(),
    ).toEqual(['incident', 'reindex', 'report', 'silence']);
    machine.world.fault = undefined;
    await run(machine, ['closed']);
    expect((await machine.state()).reached).toBe(true);
  });
});

test('without a writer nothing is journalled: a rehearsal is pure, and reversible', async () => {
  const machine = laptop();
  const window = {
    id: 'w-1',
    environment: 'prod',
    since: '2026-12-01T02:00:00.000Z',
    until: '2026-12-01T02:30:00.000Z',
    plannedUntil: '2026-12-01T02:30:00.000Z',
    reason: '',
    contact: '',
    onExpiry: 'hold',
    overdue: false,
    by: 'x',
    surfaces: [],
  } as Window;
  const world = new Map();
  for (const step of machine.steps)
    if (step.plugin.kind === 'resource')
      world.set(step.id, (await see(step, {} as never, { phase: 'open', window, owned: new Map() })).states);
  const rehearsal = rehearse(machine.steps, window, world);
  expect(rehearsal.problems).toEqual([]);
  expect(machine.world.writes).toBe(0);
  expect(rehearsal.steps.find((step) => step.id === 'crons')!.start).toEqual({ change: 2, inSync: 1, unknown: 0 });
});

describe('a wall that somebody opened', () => {
  test('is closed again by the next converge of the same phase, beside another holder; the gap is no read-only time', async () => {
    const machine = laptop();
    const before = essence(machine.world);
    await run(machine, ['open']);
    machine.advance(60_000);
    await run(machine, ['open']);
    delete machine.world.holders['w-1'];
    machine.advance(60_000);
    const [again] = await run(machine, ['open']);
    expect(again!.failures).toEqual([]);
    expect(Object.keys(machine.world.holders)).toEqual(['w-other', 'w-1']);
    const state = await machine.state();
    expect(state.breaches).toMatchObject([{ step: 'flag', ids: ['w-1'], closedAgain: expect.any(String) }]);
    machine.advance(60_000);
    await run(machine, ['soaking', 'closed']);
    expect(essence(machine.world)).toBe(before);
    const { ms, periods } = readOnlyPeriods(await machine.state(), 0)!;
    expect(periods).toHaveLength(2);
    expect([ms >= 120_000, ms < 130_000]).toEqual([true, true]);
  });

  test('and is found only at the end: the period ends when it was last seen closed', async () => {
    const machine = laptop();
    await run(machine, ['open']);
    machine.advance(60_000);
    delete machine.world.holders['w-1'];
    machine.advance(60_000);
    await run(machine, ['soaking', 'closed']);
    const state = await machine.state();
    expect(state.breaches).toHaveLength(1);
    expect(state.breaches[0]!.closedAgain).toBeUndefined();
    expect(readOnlyPeriods(state, 0)!.ms).toBeLessThan(10_000);
    expect(label(state, false, 0)).toBe('closed');
  });

  test('an edit that keeps it closed is drift: it is left, and no breach', async () => {
    const machine = laptop();
    await run(machine, ['open']);
    machine.world.holders['w-1']!.until = '2027-01-01T00:00:00.000Z';
    const { writes } = machine.world;
    await run(machine, ['open']);
    expect([machine.world.writes, (await machine.state()).breaches]).toEqual([writes, []]);
  });

  test('our own removal at the end, and a write that was cut off, are no breach', async () => {
    const machine = laptop();
    await run(machine, ['open', 'soaking', 'closed']);
    expect((await machine.state()).breaches).toEqual([]);
    const dead = laptop();
    dead.world.tick = (name) => {
      if (name === 'before write') throw new Killed();
    };
    await run(dead, ['open']).catch(() => undefined);
    dead.world.tick = () => undefined;
    await run(dead, ['open']);
    expect((await dead.state()).breaches).toEqual([]);
  });

  test('with on_expiry: open a window that is extended too late has a gap', async () => {
    const machine = laptop();
    await run(machine, ['open']);
    machine.advance(5 * 3_600_000);
    const acting = (await machine.boot())!;
    acting.state.window = { ...acting.state.window, onExpiry: 'open' };
    expect(readOnlyPeriods(acting.state, Date.parse('2026-12-01T07:00:00Z'))!.periods.at(-1)!.toIs).toMatch(
      /on_expiry/,
    );
  });
});

describe('a deadline below 10 s', () => {
  const short = (machine: Laptop, deadlineMs: number) => machine.steps.map((step) => ({ ...step, deadlineMs }));
  /** how long each call may take */
  function recorded(machine: Laptop) {
    const allowed: number[] = [];
    const note = (bound: { deadline: number }) => {
      allowed.push(bound.deadline - machine.now());
      return {};
    };
    return { allowed, clients: { ...noClients, reader: note, writer: note } as never };
  }

  test('bounds a single write, too', async () => {
    const machine = laptop();
    const { allowed, clients } = recorded(machine);
    const acting = { ...(await machine.boot(short(machine, 2_000)))!, clients };
    await converge(acting, 'open', { verb: 'open' });
    expect(machine.world.writes).toBeGreaterThan(0);
    expect(Math.max(...allowed)).toBeLessThanOrEqual(3_000);
  });

  test('a longer one leaves a write its 10 s', async () => {
    const machine = laptop();
    const { allowed, clients } = recorded(machine);
    const acting = { ...(await machine.boot(short(machine, 40_000)))!, clients };
    await converge(acting, 'open', { verb: 'open' });
    expect(allowed).toContain(10_000);
  });

  test('and the looks and questions of a plan', async () => {
    const machine = laptop();
    const { allowed, clients } = recorded(machine);
    const { state, signal, now } = (await machine.boot())!;
    const looking = { steps: short(machine, 1_500), clients, signal, now };
    await plan(looking, state.window, state, ['open']);
    expect(allowed.length).toBeGreaterThan(0);
    expect(Math.max(...allowed)).toBe(1_500);
  });
});
