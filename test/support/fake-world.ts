// A world in memory with the traps of the real ones: a flag with several holders, crons of which one is new, a status
// page that makes a new incident with each POST, a silence that expires. And a process that can be killed anywhere in it.
import { z } from 'zod';
import {
  defineAction,
  defineCheck,
  defineResource,
  LEAVE,
  type Phase,
  Stale,
  type Step,
  whileHeld,
} from '../../src/engine/contract.ts';
import { OuterError } from '../../src/errors/catalogue.ts';

export class Killed extends Error {}

export interface FakeWorld {
  holders: Record<string, { until: string; environment: string }>;
  crons: Record<string, { active: boolean; edited?: string }>;
  incidents: { id: string; window: string; status: string; until: string }[];
  silences: { id: string; window: string; endsAt: string; expired: boolean }[];
  namespace: string;
  purges: string[];
  /** outer writes so far */
  writes: number;
  running: string[];
  /** thrown instead of the next write, before (nothing happens) or after its effect */
  fault?: { at: 'before' | 'after'; error: Error; times: number } | undefined;
  /** what the check finds in its audit, and how long it reads; default: nothing, at once */
  audit?: { outcome: 'pass' | 'fail'; ms: number } | undefined;
  /** the check fails during the soak */
  soakIsBad?: boolean | undefined;
  tick(name: string): void;
}

export function fakeWorld(): FakeWorld {
  return {
    holders: { 'w-other': { until: '2026-12-01T09:00:00.000Z', environment: 'other' } },
    crons: { reindex: { active: true }, report: { active: true }, old: { active: false } },
    incidents: [],
    silences: [],
    namespace: 'v41',
    purges: [],
    writes: 0,
    running: [],
    tick: () => undefined,
  };
}

/** What must be the same afterwards: everything but what is left by design. */
export function essence(world: FakeWorld): string {
  return JSON.stringify({
    holders: world.holders,
    crons: world.crons,
    silences: world.silences.filter((silence) => !silence.expired),
  });
}

const STATUS: Record<Phase, string> = {
  announced: 'scheduled',
  open: 'in_progress',
  soaking: 'verifying',
  closed: 'completed',
  aborted: 'completed',
};

export function fakeSteps(world: FakeWorld): Step[] {
  async function write<T>(effect: () => T): Promise<T> {
    world.tick('before write');
    const { fault } = world;
    if (fault && fault.times > 0 && fault.at === 'before') {
      fault.times--;
      throw fault.error;
    }
    world.writes++;
    const result = effect();
    world.tick('after write');
    if (fault && fault.times > 0 && fault.at === 'after') {
      fault.times--;
      throw fault.error;
    }
    return result;
  }
  const flag = defineResource<object, { until: string; environment: string }>({
    name: 'flag/fake',
    layer: 'service',
    tells: true,
    role: 'wall',
    summary: '',
    example: {},
    Params: z.strictObject({}),
    State: z.strictObject({ until: z.string(), environment: z.string() }),
    address: () => 'fake flag',
    compare: 'server',
    observe: async (_io, _params, { window }) => {
      world.tick('observe');
      return new Map([[window.id, { state: world.holders[window.id] ?? null }]]);
    },
    desired: whileHeld(({ window }) => ({ until: window.until, environment: window.environment })),
    closed: (state) => state !== null,
    holders: async () =>
      Object.entries(world.holders).map(([id, state]) => ({
        ...{ id, environment: state.environment, since: state.until, until: state.until, reason: 'theirs', state },
      })),
    write: async (_io, _params, [change]) =>
      await write(() => {
        if (change!.to) world.holders[change!.id] = change!.to;
        else delete world.holders[change!.id];
        return [change!.to];
      }),
  });
  const crons = defineResource<object, { active: boolean }>({
    name: 'crons/fake',
    role: 'work',
    summary: '',
    example: {},
    Params: z.strictObject({}),
    State: z.strictObject({ active: z.boolean() }),
    address: () => 'fake crons',
    compare: 'server',
    observe: async () => {
      world.tick('observe');
      return new Map(Object.entries(world.crons).map(([id, cron]) => [id, { state: { active: cron.active } }]));
    },
    desired: whileHeld(({ now }) => (now ? { active: false } : LEAVE)),
    write: async (_io, _params, [change]) =>
      await write(() => {
        const cron = world.crons[change!.id];
        if (!cron || cron.active !== change!.from!.active) throw new Stale();
        cron.active = change!.to!.active;
        return [change!.to];
      }),
    inFlight: async () => world.running.splice(0, 1),
  });
  const notice = defineResource<object, { id: string; status: string; until: string }>({
    name: 'notice/fake',
    role: 'notice',
    summary: '',
    example: {},
    leaves: 'a completed incident',
    Params: z.strictObject({}),
    State: z.strictObject({ id: z.string(), status: z.string(), until: z.string() }),
    computed: ['id'],
    address: () => 'fake page',
    compare: 'server',
    observe: async (_io, _params, { window }) => {
      world.tick('observe');
      const found = world.incidents.find((incident) => incident.window === window.id);
      const state = found ? { id: found.id, status: found.status, until: found.until } : null;
      return new Map([['incident', { state }]]);
    },
    desired: ({ phase, window, now }) => ({ id: now?.id ?? '', status: STATUS[phase], until: window.until }),
    write: async (_io, _params, [change], window) =>
      await write(() => {
        const to = change!.to!;
        const found = world.incidents.find((incident) => incident.id === change!.from?.id);
        if (found) Object.assign(found, { status: to.status, until: to.until });
        else
          world.incidents.push({
            id: `inc-${world.incidents.length}`,
            window: window.id,
            status: to.status,
            until: to.until,
          });
        return [{ ...to, id: found?.id ?? `inc-${world.incidents.length - 1}` }];
      }),
  });
  const silence = defineResource<object, { id: string; endsAt: string }>({
    name: 'silence/fake',
    role: 'mute',
    summary: '',
    example: {},
    Params: z.strictObject({}),
    State: z.strictObject({ id: z.string(), endsAt: z.string() }),
    computed: ['id'],
    address: () => 'fake silences',
    compare: 'server',
    observe: async (_io, _params, { window }) => {
      world.tick('observe');
      const found = world.silences.find((one) => one.window === window.id && !one.expired);
      return new Map([['silence', { state: found ? { id: found.id, endsAt: found.endsAt } : null }]]);
    },
    desired: whileHeld(({ window, now }) => ({ id: now?.id ?? '', endsAt: window.until })),
    write: async (_io, _params, [change], window) =>
      await write(() => {
        const found = world.silences.find((one) => one.id === change!.from?.id);
        if (!change!.to) {
          if (found) found.expired = true;
          return [null];
        }
        if (found) found.endsAt = change!.to.endsAt;
        else
          world.silences.push({
            id: `s-${world.silences.length}`,
            window: window.id,
            endsAt: change!.to.endsAt,
            expired: false,
          });
        return [{ id: found?.id ?? `s-${world.silences.length - 1}`, endsAt: change!.to.endsAt }];
      }),
  });
  const purge = defineAction<object>({
    name: 'cache/fake',
    role: 'cache',
    summary: '',
    example: {},
    Params: z.strictObject({}),
    on: ['open', 'reopen'],
    address: () => 'fake cache',
    run: async (_io, { edge }) => await write(() => [`purged (${edge})`, ...world.purges.splice(0, 0, edge)]),
  });
  const check = defineCheck<object, { at: string }>({
    name: 'verify/fake',
    summary: '',
    example: {},
    Params: z.strictObject({}),
    on: ['open', 'now', 'reopen', 'audit', 'soaking'],
    address: () => 'fake check',
    check: async (_io, { moment, window, poll, now, deadline }) => {
      if (moment === 'audit' && world.audit) {
        const { outcome, ms } = world.audit;
        const began = now();
        const done = await poll(100, async () => (now() - began >= ms ? true : undefined), deadline);
        const evidence = { at: moment };
        if (!done) return { outcome: 'inconclusive', summary: 'audited until 02:20:58Z', findings: [], evidence };
        return { outcome, summary: outcome === 'pass' ? '0 rows' : 'orders: 1', findings: [], evidence };
      }
      if (moment === 'soaking' && world.soakIsBad)
        return { outcome: 'fail', summary: 'errors', findings: [], evidence: { at: moment } };
      const held = world.holders[window.id] !== undefined;
      const wanted = moment === 'open' || moment === 'reopen' || moment === 'now';
      return {
        outcome: held === wanted ? 'pass' : 'fail',
        summary: `the flag is ${held ? 'held' : 'free'}`,
        findings: [],
        evidence: { at: moment },
      };
    },
  });
  const base = { params: {}, deadlineMs: 30_000 };
  return [
    { id: 'flag', plugin: flag, ...base },
    { id: 'page', plugin: notice, ...base, group: 1 },
    { id: 'mute', plugin: silence, ...base, group: 1 },
    { id: 'crons', plugin: crons, ...base },
    { id: 'purge', plugin: purge, ...base },
    { id: 'check', plugin: check, ...base },
  ];
}

export const refusedConnection = () =>
  new OuterError('fake:1 refused the connection', { effect: 'none', retryable: true });
export const brokenConnection = () =>
  new OuterError('fake:1 broke the connection', { effect: 'unknown', retryable: true });
