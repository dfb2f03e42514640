// Two laptops, one shared state and one world in memory, in virtual time: the engine's real verbs, of which a process
// may die, sleep, lose its clock or be overtaken at any journal call, observation or write.
import type { Action, Change, Resource, Step } from '../../src/engine/contract.ts';
import type { Recorded } from '../../src/engine/events.ts';
import type { Clients } from '../../src/engine/io.ts';
import type { Journal, Owner } from '../../src/engine/journal.ts';
import { announce } from '../../src/engine/verbs/announce.ts';
import { abort, end, leave } from '../../src/engine/verbs/end.ts';
import { extend, markOverdue, note } from '../../src/engine/verbs/extend.ts';
import type { Prepared, VerbHost, VerbResult } from '../../src/engine/verbs/result.ts';
import { start } from '../../src/engine/verbs/start.ts';
import { liveWindow } from '../../src/engine/verbs/windows.ts';
import { fold, type WindowState } from '../../src/engine/window.ts';
import { MaintError, OuterError } from '../../src/errors/catalogue.ts';
import { maint } from '../../src/errors/next.ts';
import { brokenConnection, type FakeWorld, fakeSteps, fakeWorld } from './fake-world.ts';
import { memoryJournal } from './memory-journal.ts';
import { type Clocks, type Timed, VirtualTime } from './virtual-time.ts';

export class Killed extends Error {}

export type Verb = 'announce' | 'start' | 'extend' | 'note' | 'end' | 'abort' | 'leave' | 'look';
/** What happens to a process at its n-th point. `sleep`: milliseconds, and whether the monotonic clock goes on meanwhile. */
export type Fault =
  | { kind: 'crash'; at: number }
  | { kind: 'sleep'; at: number; ms: number; mono: boolean }
  | { kind: 'taken over'; at: number; by: Verb; mono: boolean }
  | { kind: 'jump'; at: number; ms: number }
  /** the other laptop's verb is quicker: it comes and goes after this one has looked, and before it has the lease */
  | { kind: 'late'; after: Verb; fault?: Fault }
  /** the n-th write arrives, and its connection breaks */
  | { kind: 'broken'; at: number }
  /** the crons' server refuses every write */
  | { kind: 'down' };

interface Process extends Timed {
  laptop: number;
  pid: number;
  fault: Fault | undefined;
  points: number;
  writes: number;
  token: number;
  die: () => void;
  /** outer writes when it woke after somebody took over */
  woke: number | undefined;
}

export interface Ran {
  exit: number | undefined;
  code: string | undefined;
  /** it died, or it was taken over */
  cut: boolean;
  /** what the other laptop's verb came to, where that was overtaking */
  other?: { verb: Verb; ran: Ran } | undefined;
  error?: unknown;
}

export const ENVIRONMENT = 'prod';
export const WINDOW_MS = 30 * 60_000;
export const AHEAD_MS = 60 * 60_000;
export const EXTEND_MS = 15 * 60_000;

export class Team {
  readonly time = new VirtualTime<Process>();
  readonly world: FakeWorld = fakeWorld();
  readonly laptops: Clocks[] = [0, 1].map(() => ({ wall: 0, mono: 0, asleep: false }));
  readonly wrong: string[] = [];
  readonly #store = memoryJournal(() => this.time.now + this.storeClock);
  readonly #alive = new Map<number, boolean>();
  readonly #steps: Step[];
  #pids = 0;
  #newestToken = 0;
  #overtake: ((verb: Verb) => Promise<void>) | undefined;
  #quicker: (() => Promise<void>) | undefined;
  /** sleeps and overtakings that did happen */
  fired = 0;
  /** of the shared state's clock from true time */
  storeClock = 0;
  /** somebody is asked before a start, and takes this time for the answer */
  thinks: (() => void) | undefined;
  /** what the verbs said in passing */
  readonly said: string[] = [];

  constructor() {
    this.#steps = fakeSteps(this.world).map((step) => this.#watched(step));
  }

  [Symbol.dispose](): void {
    this.time[Symbol.dispose]();
  }

  async state(): Promise<WindowState | undefined> {
    const [row] = await this.#store.windows({ environment: ENVIRONMENT });
    return row && fold(row.id, await this.#store.read(row.id));
  }

  /** the journal of the newest window, for who looks into a failure */
  async events(): Promise<Recorded[]> {
    const [row] = await this.rows();
    return row ? await this.#store.read(row.id) : [];
  }

  async rows(): Promise<{ id: string; live: boolean }[]> {
    return await this.#store.windows({});
  }

  /** One verb, by one person, to its end. */
  async run(laptop: number, verb: Verb, fault?: Fault): Promise<Ran> {
    return await this.time.until(this.#process(laptop, verb, fault, false));
  }

  async #process(laptop: number, verb: Verb, fault: Fault | undefined, takeover: boolean): Promise<Ran> {
    const pid = ++this.#pids;
    const clocks = this.laptops[laptop]!;
    const process: Process = {
      ...{ clocks, dead: false, laptop, pid, fault, points: 0, writes: 0, token: 0, woke: undefined },
      die: () => undefined,
    };
    this.#alive.set(pid, true);
    let other: Ran['other'];
    const mine = (by: Verb, its?: Fault) => async () => {
      other = { verb: by, ran: await this.#process(1 - laptop, by, its, true) };
    };
    if (fault?.kind === 'late') this.#quicker = mine(fault.after, fault.fault);
    if (fault?.kind === 'taken over') this.#overtake = async (by) => await mine(by)();
    const died = new Promise<never>((_, reject) => {
      process.die = () => reject(new Killed('killed'));
    });
    const work = this.time.as(process, () => this.#verb(process, verb, takeover));
    // its timers are dead too: nobody waits for what it was waiting for
    const ran: Ran = await Promise.race([work, died]).then(
      (result) => ({ exit: result?.exit ?? 0, code: result?.code, cut: false }),
      (error: unknown) => ({
        exit: error instanceof MaintError ? error.exit : undefined,
        code: error instanceof MaintError ? error.code : undefined,
        cut: process.dead || (error instanceof MaintError && error.code === 'E_TAKEN_OVER'),
        error,
      }),
    );
    process.dead = true;
    this.#alive.set(pid, false);
    if (process.woke !== undefined && process.writes > process.woke)
      this.wrong.push(`${verb} wrote ${process.writes - process.woke} times after it was taken over`);
    if (!ran.cut && ran.exit === undefined) this.wrong.push(`${verb} threw ${(ran.error as Error)?.stack}`);
    return { ...ran, other };
  }

  async #verb(process: Process, verb: Verb, takeover: boolean): Promise<VerbResult | undefined> {
    const host = this.#host(process);
    const prepared = this.#prepared();
    const lease = { waitMs: 60_000, ...(takeover ? { takeover: async () => undefined } : {}) };
    if (verb === 'start')
      return await start(host, prepared, {
        ...{
          windowMs: WINDOW_MS,
          reason: 'test',
          dryRun: false,
          again: maint('start'),
          longer: () => maint('start'),
          ...lease,
        },
      });
    if (verb === 'announce') {
      const startsAt = new Date(this.time.now + AHEAD_MS).toISOString();
      return await announce(host, prepared, { startsAt, windowMs: WINDOW_MS, reason: 'test', dryRun: false, ...lease });
    }
    const live = await liveWindow(host, ENVIRONMENT, prepared);
    // what the command line says before it asks for a verb
    if (!live) return undefined;
    if (verb === 'extend') return await extend(host, prepared, live, { byMs: EXTEND_MS, ...lease });
    if (verb === 'note') return await note(host, prepared, live, 'still at it', lease);
    if (verb === 'end') return await end(host, prepared, live, { skip: [], dryRun: false, ...lease });
    if (verb === 'abort') return await abort(host, prepared, live, { skip: [], dryRun: false, ...lease });
    if (verb === 'leave') return await leave(host, prepared, live, 'crons', 'never coming back', lease);
    await markOverdue(host, prepared, live);
    return undefined;
  }

  #prepared(): Prepared {
    return {
      ...{ environment: ENVIRONMENT, name: 'model', path: '/r.yaml', folder: '/', contact: '#ops', onExpiry: 'hold' },
      ...{
        soakMs: 20_000,
        budgetMs: 60_000,
        order: 'roles',
        steps: this.#steps,
        surfaces: [],
        text: 'model',
        only: [],
        skip: [],
      },
      refuseSame: () => undefined,
    };
  }

  #host(process: Process): VerbHost {
    const never = new AbortController().signal;
    const name = `laptop-${process.laptop}`;
    const owner = (verb: string): Owner => ({
      ...{ name: `ana@${name}`, host: name, bootId: 'b', pidNamespace: 'n', pid: process.pid, startTime: '1', verb },
    });
    return {
      journal: this.#journal(process),
      machine: {
        name,
        owner,
        dead: (other) => other.host === name && this.#alive.get(other.pid) === false,
        running: () => false,
      },
      clients: {
        reader: () => ({}),
        writer: (options: unknown) => options,
        prober: () => ({}),
        close: async () => undefined,
      } as unknown as Clients,
      interrupt: { signal: never, hard: never },
      emit: (progress) => {
        if (progress.type === 'said' || progress.type === 'waiting') this.said.push(progress.text);
      },
      confirm: async () => this.thinks?.(),
      asks: this.thinks !== undefined,
      version: '0.0.0',
    };
  }

  #journal(process: Process): Journal {
    return new Proxy(this.#store, {
      get: (store, key: keyof Journal) => {
        if (key === 'shared') return true;
        const value = store[key];
        if (typeof value !== 'function') return value;
        return async (...args: unknown[]) => {
          const counts = key === 'append' || key === 'open' || key === 'close' || key === 'renew';
          if (counts) await this.#point(process);
          this.#mustLive(process);
          if (key === 'take') {
            const quicker = this.#quicker;
            this.#quicker = undefined;
            await quicker?.();
          }
          const answer = await (value as (...args: unknown[]) => Promise<unknown>).apply(store, args);
          if (key === 'take' && 'taken' in (answer as object))
            process.token = (answer as { taken: { token: number } }).taken.token;
          if (counts) await this.#point(process);
          return answer;
        };
      },
    });
  }

  #mustLive(process: Process): void {
    if (process.dead) throw new Killed('it is dead');
  }

  /** Where something may happen to a process. Only one that holds the lease is of interest. */
  async #point(process: Process): Promise<void> {
    this.#mustLive(process);
    const { fault } = process;
    if (process.token === 0 || !fault || fault.kind === 'down' || fault.kind === 'broken' || fault.kind === 'late')
      return;
    if (++process.points !== fault.at) return;
    this.fired++;
    const { clocks } = process;
    if (fault.kind === 'crash') {
      process.dead = true;
      this.#alive.set(process.pid, false);
      process.die();
      throw new Killed('killed');
    }
    if (fault.kind === 'jump') {
      clocks.wall += fault.ms;
      return;
    }
    const slept = this.time.now;
    clocks.asleep = true;
    if (fault.kind === 'sleep') this.time.now += fault.ms;
    else await this.#overtake!(fault.by);
    clocks.asleep = false;
    if (!fault.mono) clocks.mono -= this.time.now - slept;
    const lease = await this.#store.lease(ENVIRONMENT);
    if (fault.kind === 'taken over' && lease?.token !== process.token) process.woke = process.writes;
  }

  /** Every look and every write of a step passes points, and every write is held against the journal. */
  #watched(step: Step): Step {
    const { plugin } = step;
    if (plugin.kind === 'check') return step;
    if (plugin.kind === 'action') {
      const run: Action['run'] = async (io, context) =>
        await this.#write(io, `purge ${context.edge}`, () => plugin.run(io, context));
      return { ...step, plugin: { ...plugin, run } };
    }
    const observe: Resource['observe'] = async (...args) => {
      const { process } = this.time;
      if (process) await this.#point(process);
      return await plugin.observe(...args);
    };
    const write: Resource['write'] = async (io, params, changes, window) => {
      if (this.time.process?.fault?.kind === 'down' && step.id === 'crons')
        throw new OuterError('the crons’ server refuses', { effect: 'none', retryable: false });
      return await this.#write(io, step.id, () => {
        void this.#holdAgainstJournal(step, changes, window.id);
        return plugin.write(io, params, changes, window);
      });
    };
    return { ...step, plugin: { ...plugin, observe, write } };
  }

  async #write<T>(io: unknown, what: string, effect: () => Promise<T>): Promise<T> {
    const process = this.time.process!;
    await this.#point(process);
    const { hooks } = io as { hooks: { before(what: string): void; after(what: string): void } };
    hooks.before(what);
    this.#mustLive(process);
    if (process.token < this.#newestToken)
      this.wrong.push(`${what} was written with token ${process.token} after ${this.#newestToken}`);
    this.#newestToken = process.token;
    process.writes++;
    const result = await effect();
    hooks.after(what);
    await this.#point(process);
    if (process.fault?.kind === 'broken' && process.writes === process.fault.at) throw brokenConnection();
    return result;
  }

  async #holdAgainstJournal(step: Step, changes: readonly Change<any>[], id: string): Promise<void> {
    const process = this.time.process!;
    const events = this.#store.events.get(id) ?? [];
    for (const change of changes) {
      const last = events.findLast(
        ({ event }) =>
          (event.type === 'intent' && event.step === step.id && event.changes.some((one) => one.id === change.id)) ||
          (event.type === 'outcome' && event.step === step.id && event.results.some((one) => one.id === change.id)),
      );
      if (last?.event.type !== 'intent' || last.token !== process.token)
        this.wrong.push(`${step.id} ${change.id} was written without an intent of its own`);
    }
  }
}
