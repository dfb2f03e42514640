// One person's process, for the races: does the verbs that it is told, with the engine's own code on a real state, over
// a world of files that all racers share. Every write is named in one log, with the run's token.
import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { isAlive, thisProcess } from '../../src/clients/process.ts';
import { defineResource, LEAVE, Stale, type Step, whileHeld } from '../../src/engine/contract.ts';
import { type Clients, WRITE_DEADLINE_MS, type WriteHooks } from '../../src/engine/io.ts';
import type { Journal } from '../../src/engine/journal.ts';
import { abort, end } from '../../src/engine/verbs/end.ts';
import { extend } from '../../src/engine/verbs/extend.ts';
import type { Prepared, VerbHost, VerbResult } from '../../src/engine/verbs/result.ts';
import { start } from '../../src/engine/verbs/start.ts';
import { liveWindow } from '../../src/engine/verbs/windows.ts';
import { MaintError } from '../../src/errors/catalogue.ts';
import { maint } from '../../src/errors/next.ts';
import { openJournal } from '../../src/store/index.ts';

export type RaceVerb = 'start' | 'end' | 'extend' | 'abort';
/** To a racer. `at`: of performance.timeOrigin + performance.now(), so that all begin in the same instant. */
export type Order =
  | { do: 'race'; verb: RaceVerb; environment: string; world: string; at: number; gated: boolean; takeover: boolean }
  /** the others have ended: the write that waits may go out */
  | { do: 'go on' };
/** From a racer. */
export type Report =
  | { said: 'ready' }
  /** it has overtaken somebody, and waits until nothing of that can arrive any more */
  | { said: 'overtook' }
  /** its first write is about to go out, and waits */
  | { said: 'writing' }
  | { said: 'ended'; exit: number | undefined; code: string | undefined; message: string; writes: number };

const [, , state] = process.argv;
const journal = await openJournal({ state: state!, env: {}, write: true, version: '0.1.0' });
/** instead of 25 s */
const QUIET_MS = 500;
let goOn: (() => void) | undefined;
let race: Extract<Order, { do: 'race' }> | undefined;
let token = 0;
let writes = 0;
let waited = false;
const tell = (report: Report) => process.send!(report);

process.on('message', (order: Order) => {
  if (order.do === 'go on') {
    goOn?.();
    return;
  }
  race = order;
  void run(order).then(tell);
});
process.on('disconnect', () => process.exit(0));
await journal.windows();
tell({ said: 'ready' });

async function run(order: Extract<Order, { do: 'race' }>): Promise<Report> {
  [token, writes, waited, goOn] = [0, 0, false, undefined];
  const ended = new Promise<Report>((resolve) => {
    const begin = () => {
      const left = order.at - (performance.timeOrigin + performance.now());
      // the last millisecond is spun away: a timer comes late by as much
      if (left > 2) return void setTimeout(begin, left - 1);
      while (performance.timeOrigin + performance.now() < order.at);
      verb(order).then(
        (result) => resolve({ said: 'ended', exit: result.exit, code: result.code, message: result.headline, writes }),
        (error: unknown) =>
          resolve({
            said: 'ended',
            exit: error instanceof MaintError ? error.exit : undefined,
            code: error instanceof MaintError ? error.code : undefined,
            message: error instanceof MaintError ? error.message : String((error as Error).stack),
            writes,
          }),
      );
    };
    begin();
  });
  return await ended;
}

async function verb(order: Extract<Order, { do: 'race' }>): Promise<VerbResult> {
  const { environment } = order;
  const steps = stepsOf(order.world);
  const prepared: Prepared = {
    ...{ environment, name: 'race', path: '/r.yaml', folder: '/', contact: '#ops', onExpiry: 'hold', text: 'race' },
    ...{
      soakMs: 1,
      budgetMs: 60_000,
      order: 'roles',
      steps,
      surfaces: [],
      only: [],
      skip: [],
      refuseSame: () => undefined,
    },
  };
  const never = new AbortController().signal;
  const host: VerbHost = {
    journal: watched(order.takeover),
    machine: {
      name: `racer ${process.pid}`,
      owner: (name) => ({ name: `racer ${process.pid}`, ...thisProcess(), verb: name }),
      dead: (owner) => isAlive(owner) === false,
      running: () => false,
    },
    clients: {
      reader: () => ({}),
      writer: (options: unknown) => options,
      prober: () => ({}),
      close: async () => undefined,
    } as unknown as Clients,
    interrupt: { signal: never, hard: never },
    emit: () => undefined,
    confirm: async () => undefined,
    asks: true,
    version: '0.1.0',
  };
  const lease = order.takeover ? { takeover: async () => undefined } : {};
  if (order.verb === 'start')
    return await start(host, prepared, {
      ...{
        windowMs: 1_800_000,
        reason: 'race',
        dryRun: false,
        again: maint('start'),
        longer: () => maint('start'),
        ...lease,
      },
    });
  const live = await liveWindow(host, environment, prepared);
  if (!live) throw new MaintError('E_NO_WINDOW', 'over before it began');
  if (order.verb === 'extend') return await extend(host, prepared, live, { byMs: 900_000, ...lease });
  return await (order.verb === 'end' ? end : abort)(host, prepared, live, { skip: [], dryRun: false, ...lease });
}

/** Remembers the token. A takeover's wait of 25 s is cut to what is left of half a second: everything else is as it is. */
function watched(hurried: boolean): Journal {
  return new Proxy(journal, {
    get: (target, key: keyof Journal) => {
      const value = target[key];
      if (typeof value !== 'function') return value;
      return async (...args: unknown[]) => {
        const answer = await (value as (...args: unknown[]) => Promise<unknown>).apply(target, args);
        if (key === 'take' && 'taken' in (answer as object))
          token = (answer as { taken: { token: number } }).taken.token;
        if (hurried && key === 'take' && 'taken' in (answer as object)) tell({ said: 'overtook' });
        if (hurried && key === 'lease' && answer !== undefined)
          return { ...(answer as object), expiresAt: Date.now() + QUIET_MS - WRITE_DEADLINE_MS };
        return answer;
      };
    },
  });
}

/** A flag, a page and jobs, each thing a file; what is written is logged in one line, in the order in which it happens. */
function stepsOf(world: string): Step[] {
  const base = { params: {}, deadlineMs: 30_000 };
  const path = (kind: string, id: string) => join(world, `${kind}.${id}`);
  const read = (kind: string, id: string) =>
    existsSync(path(kind, id)) ? (JSON.parse(readFileSync(path(kind, id), 'utf8')) as Record<string, unknown>) : null;
  async function write(io: unknown, kind: string, id: string, to: Record<string, unknown> | null): Promise<void> {
    if (race!.gated && !waited) {
      waited = true;
      tell({ said: 'writing' });
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
    }
    const { hooks } = io as { hooks: WriteHooks };
    hooks.before(kind);
    appendFileSync(join(world, 'log'), `${JSON.stringify({ pid: process.pid, token, kind, id, to })}\n`);
    writes++;
    if (to === null) rmSync(path(kind, id), { force: true });
    else writeFileSync(path(kind, id), JSON.stringify(to));
    // the answer takes a moment
    await new Promise((resolve) => setTimeout(resolve, 1));
    hooks.after(kind);
  }
  const flag = defineResource<object, { until: string }>({
    ...{ name: 'flag/race', role: 'wall', tells: true, summary: '', example: {}, local: true },
    Params: z.strictObject({}),
    State: z.strictObject({ until: z.string() }),
    address: () => 'flag',
    compare: 'server',
    observe: async (_io, _params, { window }) => new Map([[window.id, { state: read('flag', window.id) }]]),
    desired: whileHeld(({ window }) => ({ until: window.until })),
    write: async (io, _params, [change]) => {
      await write(io, 'flag', change!.id, change!.to);
      return [change!.to];
    },
  });
  const page = defineResource<object, { status: string; until: string }>({
    ...{ name: 'notice/race', role: 'notice', summary: '', example: {}, leaves: 'an incident', local: true },
    Params: z.strictObject({}),
    State: z.strictObject({ status: z.string(), until: z.string() }),
    address: () => 'page',
    compare: 'server',
    observe: async (_io, _params, { window }) => new Map([[window.id, { state: read('page', window.id) }]]),
    desired: ({ phase, window }) => ({ status: phase, until: window.until }),
    write: async (io, _params, [change]) => {
      await write(io, 'page', change!.id, change!.to);
      return [change!.to];
    },
  });
  const jobs = defineResource<object, { active: boolean }>({
    ...{ name: 'crons/race', role: 'work', summary: '', example: {}, local: true },
    Params: z.strictObject({}),
    State: z.strictObject({ active: z.boolean() }),
    address: () => 'jobs',
    compare: 'server',
    observe: async () =>
      new Map(
        readdirSync(world)
          .filter((name) => name.startsWith('job.'))
          .map((name) => [name.slice(4), { state: read('job', name.slice(4)) }]),
      ),
    desired: whileHeld(({ now }) => (now ? { active: false } : LEAVE)),
    write: async (io, _params, [change]) => {
      if (read('job', change!.id)?.['active'] !== change!.from!.active) throw new Stale();
      await write(io, 'job', change!.id, change!.to);
      return [change!.to];
    },
  });
  return [
    { id: 'flag', plugin: flag, ...base },
    { id: 'page', plugin: page, ...base },
    { id: 'jobs', plugin: jobs, ...base },
  ];
}
