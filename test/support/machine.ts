// A laptop for tests of plugins: the real converge over real clients, with a clock of its own that is moved on instead
// of waited for, and a process that can be killed at every named point. What is dead does nothing more: its journal and
// its writers throw for ever.
import { setTimeout as delay } from 'node:timers/promises';
import { createClients, createRedactor } from '../../src/clients/index.ts';
import type { Acting } from '../../src/engine/acting.ts';
import type { Phase, Step, Surface, Window } from '../../src/engine/contract.ts';
import { type Converged, converge } from '../../src/engine/converge.ts';
import type { JournalEvent, Progress } from '../../src/engine/events.ts';
import type { Clients, Writer } from '../../src/engine/io.ts';
import type { Lease } from '../../src/engine/journal.ts';
import { type Looking, type Plan, plan } from '../../src/engine/plan.ts';
import { apply, fold, type WindowState } from '../../src/engine/window.ts';
import { memoryJournal } from './memory-journal.ts';

export class Killed extends Error {}

/** `extend` moves the end and converges the same phase. */
export type Stage = Phase | 'extend';
export interface Passed {
  /** "write http POST/1/after": kind, how many of them so far, side */
  name: string;
  stage: Stage;
}

const HOUR_MS = 3_600_000;
/** In real time: what others do by themselves (a server, a script) gets a moment with each wait. */
const NAP_MS = 2;

let windows = 0;

export interface MachineOptions {
  surfaces?: readonly Surface[];
  /** the clients' own errors are redacted by these, as in the program; nothing else is */
  secrets?: readonly string[];
  /** dies there */
  killAt?: string;
  /** called at each wait */
  meanwhile?: (() => Promise<void> | void) | undefined;
}

export type Machine = ReturnType<typeof machine>;

export function machine(steps: readonly Step[], options: MachineOptions = {}) {
  const id = `w-${(++windows).toString(36)}${process.pid.toString(36)}`;
  const clients = createClients({ redact: createRedactor(options.secrets ?? []) });
  let offset = 0;
  const now = () => Date.now() + offset;
  const until = new Date(now() + HOUR_MS).toISOString();
  const extendedUntil = new Date(now() + 2 * HOUR_MS).toISOString();
  const journal = memoryJournal(now);
  const signal = new AbortController().signal;
  const passed: Passed[] = [];
  const counts = new Map<string, number>();
  /** everything that a person or a file may get to see */
  const said: string[] = [];
  const failures: Converged['failures'] = [];
  let lease: Lease | undefined;
  let stage: Stage = 'open';
  let { killAt } = options;
  let between: (() => Promise<void>) | undefined;
  let life = { dead: false };

  const wait = async (to: number) => {
    await options.meanwhile?.();
    const ms = to - now();
    await delay(Math.min(NAP_MS, Math.max(0, ms)));
    offset += Math.max(0, to - now());
  };

  /** One more process: what it does passes named points. */
  function born() {
    const mine = { dead: false };
    life = mine;
    const alive = () => {
      if (mine.dead) throw new Killed('it is dead already');
    };
    function pass(kind: string, side: 'before' | 'after'): void {
      alive();
      const key = `${kind}/${side}`;
      const n = (counts.get(key) ?? 0) + 1;
      counts.set(key, n);
      const name = `${kind}/${n}/${side}`;
      passed.push({ name, stage });
      if (name !== killAt) return;
      mine.dead = true;
      throw new Killed(name);
    }
    const watched: Clients = {
      ...clients,
      writer: (given) => {
        const io = clients.writer({
          ...given,
          hooks: {
            before(what) {
              pass(`write ${what}`, 'before');
              given.hooks.before(what);
            },
            after(what) {
              pass(`write ${what}`, 'after');
              given.hooks.after(what);
            },
            spawned: (process) => given.hooks.spawned(process),
          },
        });
        return between ? overtaken(io) : io;
      },
    };
    return { alive, pass, clients: watched };
  }

  function overtaken(io: Writer): Writer {
    const first =
      <A extends unknown[], R>(send: (...args: A) => Promise<R>) =>
      async (...args: A) => {
        const theirs = between;
        between = undefined;
        await theirs?.();
        return await send(...args);
      };
    return {
      ...io,
      files: { ...io.files, replace: first(io.files.replace) },
      redis: { ...io.redis, write: first(io.redis.write), script: first(io.redis.script) },
    };
  }

  const opened = (): JournalEvent => ({
    type: 'opened',
    environment: 'prod',
    until,
    reason: 'reindex documents',
    by: 'ana@lapis',
    contact: '#ops-oncall',
    statusPage: 'https://status.example.com',
    rollbackPlan: 'https://wiki.example.com/rollback',
    onExpiry: 'hold',
    soakMs: 1000,
    budgetMs: 60_000,
    version: '0.0.0',
    runbook: { name: 'x', path: '/x.yaml', folder: '/', text: 'x' },
    only: [],
    skip: [],
  });

  async function boot(stepsNow: readonly Step[] = steps): Promise<Acting> {
    const { alive, pass, clients: watched } = born();
    const answer = await journal.take(
      'prod',
      { name: 'ana@lapis', host: 'lapis', bootId: 'b', pidNamespace: 'n', pid: 1, startTime: '1', verb: 'test' },
      lease?.token,
    );
    if (!('taken' in answer)) throw new Error('the lease is held');
    lease = answer.taken;
    const mine = lease;
    let state = fold(id, await journal.read(id), options.surfaces) as WindowState;
    const record = async (events: JournalEvent[]) => {
      const kind = `append ${events.map((event) => event.type).join('+')}`;
      pass(kind, 'before');
      const recorded = state ? await journal.append(mine, id, events) : await journal.open(mine, id, events);
      said.push(JSON.stringify(events));
      pass(kind, 'after');
      if (!state) state = fold(id, recorded, options.surfaces)!;
      else for (const one of recorded) apply(state, one);
    };
    if (!state) await record([opened()]);
    return {
      steps: stepsNow,
      state,
      token: mine.token,
      clients: watched,
      signal,
      hard: signal,
      record,
      mayWrite: async () => alive(),
      now,
      storeNow: () => journal.now(),
      wait: async (to) => {
        alive();
        await wait(to);
      },
      emit: (progress: Progress) => void said.push(JSON.stringify(progress)),
      running: () => false,
      machine: 'lapis',
      random: () => 0.5,
    };
  }

  async function run(stages: readonly Stage[], stepsNow: readonly Step[] = steps): Promise<Converged> {
    let result: Converged = { failures: [] };
    for (const each of stages) {
      stage = each;
      const acting = await boot(stepsNow);
      if (each === 'extend') await acting.record([{ type: 'extended', until: extendedUntil, by: 'ana@lapis' }]);
      const { phase } = acting.state;
      result = await converge(acting, each === 'extend' ? phase : each, { verb: each });
      // A plugin that swallowed the kill would go on as if nothing had happened.
      if (life.dead) throw new Killed('it was killed, and went on');
      said.push(JSON.stringify(result));
      failures.push(...result.failures);
    }
    return result;
  }

  return {
    id,
    until,
    extendedUntil,
    journal,
    passed,
    said,
    failures,
    clients,
    now,
    wait,
    signal,
    boot,
    run,
    /** Runs until it is done (true) or killed (false). Anything else is thrown. */
    async live(stages: readonly Stage[]): Promise<boolean> {
      try {
        await run(stages);
        return true;
      } catch (error) {
        if (!life.dead) throw error;
        return false;
      } finally {
        killAt = undefined;
      }
    },
    stage: () => stage,
    state: async (): Promise<WindowState | undefined> => fold(id, await journal.read(id), options.surfaces),
    /** Somebody is faster: once, between what the plugin has seen and the next write that it sends. */
    overtakenBy(theirs: () => Promise<void>): void {
      between = theirs;
    },
    /** Looks as a dry run does: a writer or a prober is not to be had. */
    async plan(phases: readonly Phase[]): Promise<Plan> {
      const state = fold(id, await journal.read(id), options.surfaces);
      const looking: Looking = { steps, clients: readOnly(clients), signal, now };
      const planned = await plan(looking, state?.window ?? windowOf(id, until, options.surfaces), state, phases);
      said.push(JSON.stringify(planned));
      return planned;
    },
    close: () => clients.close(),
  };
}

export function readOnly(clients: Clients): Clients {
  const never = (what: string) => () => {
    throw new TypeError(`a ${what} was asked for in a dry run`);
  };
  return { ...clients, writer: never('writer'), prober: never('prober') };
}

export function windowOf(id: string, until: string, surfaces: readonly Surface[] = []): Window {
  return {
    id,
    environment: 'prod',
    since: new Date().toISOString(),
    until,
    plannedUntil: until,
    reason: 'reindex documents',
    contact: '#ops-oncall',
    statusPage: 'https://status.example.com',
    rollbackPlan: 'https://wiki.example.com/rollback',
    onExpiry: 'hold',
    overdue: false,
    by: 'ana@lapis',
    surfaces,
  };
}
