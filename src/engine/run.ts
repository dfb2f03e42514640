// One process acting on one environment: the run lease, its heartbeat, what happens when the laptop slept or somebody
// took over, and the durable append that everything else goes through.
import { performance } from 'node:perf_hooks';
import { MaintError, OuterError } from '../errors/catalogue.ts';
import { EXIT } from '../errors/exit-codes.ts';
import { advice, maint } from '../errors/next.ts';
import type { Acting } from './acting.ts';
import { monotonicNow } from './clock.ts';
import type { Step } from './contract.ts';
import type { JournalEvent, Progress, Recorded } from './events.ts';
import { type Clients, WRITE_DEADLINE_MS } from './io.ts';
import { type Journal, LEASE_MS, LEASE_RENEW_MS, type Lease, type Owner, StaleToken, WindowExists } from './journal.ts';
import { point } from './points.ts';
import { apply, type WindowState } from './window.ts';

export { monotonicNow } from './clock.ts';

export interface Machine {
  /** host and boot, as journalled with a command's pid */
  readonly name: string;
  owner(verb: string): Owner;
  /** it was a process of this machine, and has ended */
  dead(owner: Owner): boolean;
  /** undefined: on another machine, nobody here can tell */
  running(process: { pid: number; startTime: string; host: string }): boolean | undefined;
}
/** `signal`: begin nothing new. `hard`: give up what is under way. Both abort with the MaintError to end with. */
export interface Interrupt {
  readonly signal: AbortSignal;
  readonly hard: AbortSignal;
}
export interface Host {
  journal: Journal;
  machine: Machine;
  clients: Clients;
  interrupt: Interrupt;
  emit(progress: Progress): void;
  version: string;
}
export interface LeaseOptions {
  /** Take it from another run; asked first where that one is alive. Throws to refuse. */
  takeover?: ((existing: Lease) => Promise<void>) | undefined;
  /** how long to wait for a run that is alive; default: not at all */
  waitMs?: number;
  /** where this machine's clock is far from a shared state's: the way back is not refused for it. Default: refuse */
  skew?: 'refuse' | 'say';
}

/** Renewed less than this ago: alive. */
const ALIVE_MS = 6_000;
/** More between two ticks of either clock: the laptop slept. */
const SLEPT_MS = 2_000;
const TICK_MS = 500;
/** in a row, before a write, of a state that answers too slowly */
const RENEWALS = 3;
/** Largest allowed difference between this machine's clock and the shared state's. Beyond it people would be promised times that nobody else reads. */
export const SKEW_MS = 60_000;

type Adopted = Parameters<Journal['adopt']> extends [Lease, ...infer Rest] ? Rest : never;

export class Run {
  lease: Lease;
  private readonly host: Host;
  private readonly lost = new AbortController();
  private readonly timer: NodeJS.Timeout;
  private ticked = { wall: Date.now(), mono: performance.now() };
  /** how often this machine woke, and how often it had when the lease was asked for that is held now */
  private woke = 0;
  private heldSince = 0;
  private renewed: number;
  private renewing: Promise<void> | undefined;
  private appending: Promise<void> = Promise.resolve();
  readonly signal: AbortSignal;
  readonly hard: AbortSignal;

  /** `asked`: by performance.now(), before the lease was */
  constructor(host: Host, lease: Lease, asked: number) {
    this.host = host;
    this.lease = lease;
    this.renewed = asked;
    this.signal = AbortSignal.any([host.interrupt.signal, this.lost.signal]);
    this.hard = AbortSignal.any([host.interrupt.hard, this.lost.signal]);
    this.timer = setInterval(() => this.tick(), TICK_MS);
    this.timer.unref();
  }

  private tick(): void {
    this.lookAtClocks();
    if (this.slept || performance.now() - this.renewed >= LEASE_RENEW_MS) void this.renew().catch(() => undefined);
  }

  private lookAtClocks(): void {
    const now = { wall: Date.now(), mono: performance.now() };
    if (now.wall - this.ticked.wall > SLEPT_MS + TICK_MS || now.mono - this.ticked.mono > SLEPT_MS + TICK_MS)
      this.woke++;
    this.ticked = now;
  }

  /** Since the lease was asked for that is held now: an answer may be as old as the sleep was long. */
  private get slept(): boolean {
    return this.woke > this.heldSince;
  }

  /** of the lease, in milliseconds, at least */
  private get left(): number {
    return this.lease.expiresAt - this.lease.renewedAt - (performance.now() - this.renewed);
  }

  private renew(): Promise<void> {
    this.renewing ??= this.renewNow().finally(() => {
      this.renewing = undefined;
    });
    return this.renewing;
  }

  private async renewNow(): Promise<void> {
    const began = performance.now();
    const { woke } = this;
    try {
      this.lease = await this.host.journal.renew(this.lease);
      this.renewed = began;
      this.heldSince = woke;
    } catch (error) {
      if (error instanceof StaleToken) await this.takenOver();
      throw error;
    }
  }

  private async takenOver(): Promise<never> {
    const by = await this.host.journal.lease(this.lease.environment).catch(() => undefined);
    const error = new MaintError(
      'E_TAKEN_OVER',
      `${this.lease.environment} was taken over${by ? ` by ${by.owner.name} (${by.owner.verb})` : ''} while this run was away; it stopped before its next write`,
      { next: [maint('status')] },
    );
    this.lost.abort(error);
    throw error;
  }

  /** Before each outer write: proves the lease where the laptop may have slept, and leaves enough of it for the write. */
  async mayWrite(deadlineMs: number): Promise<void> {
    for (let renewals = 0; ; renewals++) {
      this.lookAtClocks();
      if (this.signal.aborted) throw this.signal.reason;
      if (!this.slept && this.left >= deadlineMs + 1000) return;
      if (renewals === RENEWALS)
        throw new MaintError(
          'E_STATE',
          `the state at ${this.host.journal.address} answers too slowly: of a lease of ${LEASE_MS / 1000}s too little is left for a write`,
          { next: [advice('run the same command again: it goes on from what is recorded')] },
        );
      await this.renew();
    }
  }

  /** Between mayWrite and the write itself the lid may have been closed: then it does not go out. */
  private awake(): void {
    this.lookAtClocks();
    if (this.slept)
      throw new OuterError('this machine has slept; not sent before the window is looked at again', {
        effect: 'none',
        retryable: true,
      });
  }

  /** By the store's clock: what is promised to people must not follow a clock of this machine that steps. */
  storeNow(): Promise<number> {
    return this.host.journal.now();
  }

  /** One after the other: steps of a `parallel` group append at once, and the fold must see the journal's own order. */
  append(state: WindowState, events: readonly JournalEvent[], how: 'append' | 'close' = 'append'): Promise<void> {
    if (events.length === 0) return Promise.resolve();
    const mine = this.appending.then(() => this.appendNow(state, events, how));
    this.appending = mine.catch(() => undefined);
    return mine;
  }

  /** The window and its first events in one commit. */
  async openWindow(id: string, events: readonly JournalEvent[]): Promise<Recorded[]> {
    point('window', 'append opened', 'before');
    const recorded = await this.host.journal.open(this.lease, id, events).catch(async (error: unknown) => {
      if (error instanceof StaleToken) await this.takenOver();
      if (!(error instanceof WindowExists)) throw error;
      throw new MaintError(
        'E_WINDOW_OPEN',
        `${this.lease.environment} has a window already: ${error.id}. Nothing changed.`,
        {
          next: [maint('status')],
        },
      );
    });
    point('window', 'append opened', 'after');
    return recorded;
  }

  /**
   * A window of another state (Journal.adopt). The token grows with it: a renewal that names the old one would find
   * itself overtaken, so none is under way meanwhile.
   */
  async adopt(...what: Adopted): Promise<void> {
    while (this.renewing) await this.renewing.catch(() => undefined);
    this.renewing = this.adoptNow(what).finally(() => {
      this.renewing = undefined;
    });
    await this.renewing;
  }

  private async adoptNow(what: Adopted): Promise<void> {
    try {
      this.lease = await this.host.journal.adopt(this.lease, ...what);
    } catch (error) {
      if (error instanceof StaleToken) await this.takenOver();
      throw error;
    }
  }

  private async appendNow(state: WindowState, events: readonly JournalEvent[], how: 'append' | 'close'): Promise<void> {
    const kinds = `append ${[...new Set(events.map((event) => event.type))].join('+')}`;
    const step = stepOf(events[0]!);
    point(step, kinds, 'before');
    try {
      for (const recorded of await this.host.journal[how](this.lease, state.id, events)) apply(state, recorded);
    } catch (error) {
      if (error instanceof StaleToken) await this.takenOver();
      throw this.withoutState(state, error);
    }
    point(step, kinds, 'after');
  }

  /**
   * A laptop that slept wakes with connections that are dead, and the state seems not to answer. Where the lease may have
   * been taken meanwhile that is what a person has to hear, so it is asked once more, by a connection of its own.
   */
  async lookAgain(error: unknown): Promise<void> {
    if (!(error instanceof MaintError) || error.code !== 'E_STATE') return;
    this.lookAtClocks();
    if (this.slept || performance.now() - this.renewed > LEASE_MS) await this.renew().catch(onlyTakenOver);
  }

  private async orWithoutState<T>(state: WindowState, work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw this.withoutState(state, error);
    }
  }

  /** The journal cannot be written any more while things are ours: nothing further goes out, and a person must know. */
  private withoutState(state: WindowState, error: unknown): unknown {
    if (!(error instanceof MaintError) || error.code !== 'E_STATE') return error;
    const ours = [...state.owned.values()].reduce((sum, mine) => sum + mine.size, 0);
    if (ours === 0) return error;
    return new MaintError('E_STATE', `${error.message} This run stops here; ${ours} of its changes are in place.`, {
      details: error.details,
      next: error.next,
      exit: EXIT.HUMAN,
      cause: error,
    });
  }

  /** Milliseconds of the epoch that a step of the wall clock does not move. */
  now(): number {
    return monotonicNow();
  }

  async wait(until: number): Promise<void> {
    await waitUntil(until, this.signal);
  }

  acting(state: WindowState, steps: readonly Step[]): Acting {
    return {
      steps,
      state,
      token: this.lease.token,
      clients: this.host.clients,
      signal: this.signal,
      hard: this.hard,
      record: (events) => this.append(state, events),
      mayWrite: (deadlineMs) => this.orWithoutState(state, this.mayWrite(deadlineMs)),
      awake: () => this.awake(),
      now: () => this.now(),
      storeNow: () => this.orWithoutState(state, this.storeNow()),
      wait: (until) => this.wait(until),
      emit: (progress) => this.host.emit(progress),
      running: (process) => this.host.machine.running(process),
      machine: this.host.machine.name,
      random: Math.random,
    };
  }

  async end(): Promise<void> {
    clearInterval(this.timer);
    await this.renewing?.catch(() => undefined);
    await this.host.journal.release(this.lease).catch(() => undefined);
  }
}

function onlyTakenOver(error: unknown): void {
  if (error instanceof MaintError && error.code === 'E_TAKEN_OVER') throw error;
}

function stepOf(event: JournalEvent): string {
  return 'step' in event ? event.step : 'window';
}

/** Resolves at `until` (of monotonicNow), rejects with the signal's reason as soon as it is aborted. */
export function waitUntil(until: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const timer = setTimeout(done, Math.max(0, Math.min(until - monotonicNow(), 2 ** 31 - 1)));
    signal.addEventListener('abort', stop, { once: true });
    function done(): void {
      signal.removeEventListener('abort', stop);
      resolve();
    }
    function stop(): void {
      clearTimeout(timer);
      reject(signal.reason);
    }
  });
}

/** Runs `work` under the environment's lease. A living run is in the way (75); a dead one of this machine is not. */
export async function withLease<T>(
  host: Host,
  environment: string,
  verb: string,
  options: LeaseOptions,
  work: (run: Run) => Promise<T>,
): Promise<T> {
  const { lease, asked, quietAt } = await takeLease(host, environment, verb, options);
  const run = new Run(host, lease, asked);
  point('lease', 'take', 'after');
  try {
    if (quietAt > run.now()) {
      host.emit({
        type: 'waiting',
        text: `taken over; what the other run was writing may still arrive`,
        until: quietAt,
      });
      await run.wait(quietAt);
    }
    return await work(run);
  } catch (error) {
    await run.lookAgain(error);
    throw error;
  } finally {
    await run.end();
  }
}

async function takeLease(
  host: Host,
  environment: string,
  verb: string,
  options: LeaseOptions,
): Promise<{ lease: Lease; asked: number; quietAt: number }> {
  const { journal, machine, interrupt } = host;
  const owner = machine.owner(verb);
  const giveUp = monotonicNow() + (options.waitMs ?? 0);
  if (journal.shared) await compareClocks(host, options.skew ?? 'refuse');
  /** when this process saw the lease first as it is now */
  let seen = { of: '', at: 0 };
  for (;;) {
    const existing = await journal.lease(environment);
    let instead: number | undefined;
    let quietAt = 0;
    if (existing) {
      const now = await journal.now();
      // What it was writing may still arrive until its lease and the longest deadline of a write are over.
      // Use the shorter of the two estimates: a store's clock that was set back must not make anybody wait for an hour.
      const of = `${existing.token} ${existing.renewedAt}`;
      const renewedMeanwhile = seen.of !== '' && seen.of !== of;
      if (seen.of !== of) seen = { of, at: monotonicNow() };
      const unchanged = monotonicNow() - seen.at;
      const left = Math.min(existing.expiresAt + WRITE_DEADLINE_MS - now, LEASE_MS + WRITE_DEADLINE_MS - unchanged);
      const sinceRenewed = Math.max(now - existing.renewedAt, unchanged);
      const alive = renewedMeanwhile || (sinceRenewed < ALIVE_MS && existing.renewedAt <= now + SLEPT_MS);
      if (machine.dead(existing.owner)) instead = existing.token;
      else if (options.takeover) {
        if (alive) await options.takeover(existing);
        instead = existing.token;
        quietAt = monotonicNow() + left;
      } else if (alive) {
        if (monotonicNow() >= giveUp) throw busy(existing, now);
        host.emit({
          type: 'waiting',
          text: `${existing.owner.name} is acting on ${environment} (${existing.owner.verb})`,
          until: giveUp,
        });
        await waitUntil(Math.min(monotonicNow() + 500, giveUp), interrupt.signal);
        continue;
      } else if (left > 0) {
        host.emit({
          type: 'waiting',
          text: `the run of ${existing.owner.name} (${existing.owner.verb}) was last seen ${Math.round(sinceRenewed / 1000)}s ago; this one goes on by itself`,
          until: monotonicNow() + left,
        });
        await waitUntil(monotonicNow() + Math.min(left, 1000), interrupt.signal);
        continue;
      } else instead = existing.token;
    }
    const asked = performance.now();
    const answer = await journal.take(environment, owner, instead);
    if ('taken' in answer) return { lease: answer.taken, asked, quietAt };
    // Somebody was faster: look again, and say so if it is alive.
    if (monotonicNow() >= giveUp) throw busy(answer.held, await journal.now());
  }
}

/** How far this machine's clock is ahead of the state's, give or take `withinMs`. */
export async function clockOff(
  journal: Pick<Journal, 'now'>,
): Promise<{ aheadMs: number; withinMs: number; theirs: number }> {
  const asked = performance.now();
  const theirs = await journal.now();
  const took = performance.now() - asked;
  return { aheadMs: Date.now() - took / 2 - theirs, withinMs: took / 2, theirs };
}

/** What is promised and what is read are times: with a clock that is far off this machine would say others than it means. */
async function compareClocks({ journal, emit }: Host, beyond: 'refuse' | 'say'): Promise<void> {
  const { aheadMs: ahead, withinMs, theirs } = await clockOff(journal);
  if (Math.abs(ahead) - withinMs <= SKEW_MS) return;
  const text = `the clock of this machine is ${Math.round(Math.abs(ahead) / 1000)}s ${ahead > 0 ? 'ahead of' : 'behind'} that of the shared state (${new Date(theirs).toISOString().slice(0, 19)}Z there); up to ${SKEW_MS / 1000}s is allowed`;
  if (beyond === 'say') return emit({ type: 'said', text });
  throw new MaintError('E_REFUSED', `${text}. Nothing changed.`, {
    next: [
      advice('set the clock: sudo timedatectl set-ntp true, or sudo chronyc makestep'),
      advice('end and abort work all the same'),
    ],
  });
}

function busy(lease: Lease, now: number): MaintError {
  return new MaintError(
    'E_BUSY',
    `${lease.owner.name} is acting on ${lease.environment} right now: maint ${lease.owner.verb} (pid ${lease.owner.pid} on ${lease.owner.host}), last seen ${Math.max(0, Math.round((now - lease.renewedAt) / 1000))}s ago. Nothing changed.`,
    {
      next: [maint('status'), advice('or wait for it: --wait 30s')],
    },
  );
}
