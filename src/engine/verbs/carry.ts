// A window goes to another state: this one closes it and says where it went, the other one takes it in. At no time do
// two states act on it. Of the outer world only the flag is touched, which says from then on which state carries the
// window: a file can be taken in twice, and the second one finds that out there (docs/adr/0006).
import { isDeepStrictEqual } from 'node:util';
import { MaintError } from '../../errors/catalogue.ts';
import { EXIT } from '../../errors/exit-codes.ts';
import { advice, blank, maint, there } from '../../errors/next.ts';
import type { Holder, Resource, Step } from '../contract.ts';
import { converge } from '../converge.ts';
import type { Recorded } from '../events.ts';
import { WindowExists } from '../journal.ts';
import { type LeaseOptions, monotonicNow, type Run, withLease } from '../run.ts';
import { fold, type WindowState } from '../window.ts';
import { utc } from '../words.ts';
import { failureLines } from './failures.ts';
import type { Prepared, VerbHost, VerbResult } from './result.ts';
import { openAlready } from './windows.ts';

/** What this state had of it: its events, and whether it is handed over and not only read. */
export interface Carried {
  events: Recorded[];
  live: boolean;
}

/**
 * Closes the window here. `to` is where its file will be. Handed over before: its events once more, for a file that was
 * not written. One that is over has nothing to hand over: it is only read.
 */
export async function handOver(host: VerbHost, id: string, to: string, options: LeaseOptions): Promise<Carried> {
  const { journal } = host;
  const [row] = await journal.windows({ id });
  if (!row) throw unknownWindow(id);
  if (!row.live) {
    const events = await journal.read(id);
    return { events, live: fold(id, events)?.handed !== undefined };
  }
  return await withLease(host, row.environment, 'window export', options, async (run) => {
    const state = fold(id, await journal.read(id))!;
    const by = run.lease.owner.name;
    const [now] = await journal.windows({ id });
    if (now?.live) await run.append(state, [{ type: 'handed', to, by }], 'close');
    return { events: await journal.read(id), live: state.handed !== undefined };
  });
}

export interface TakeIn {
  window: string;
  environment: string;
  events: readonly Recorded[];
  /** not over when it was exported */
  live: boolean;
  /** the state that it comes from goes on acting on it */
  copy: boolean;
  /** the file */
  from: string;
}

/** `prepared`: where this laptop has what its steps need; without it nobody can ask the flag. */
export async function takeIn(
  host: VerbHost,
  file: TakeIn,
  options: LeaseOptions,
  prepared?: Prepared,
): Promise<VerbResult> {
  const { journal } = host;
  const { window: id, environment, from } = file;
  const carried = fold(id, file.events)!;
  if (file.live && (file.copy || carried.handed === undefined))
    throw new MaintError(
      'E_REFUSED',
      `${from} is a copy of ${id}, and the state that it comes from still acts on it: two must not. Nothing changed.`,
      { next: [there(maint(['window export', id], {}, 'to hand it over, there:'))] },
    );
  return await withLease(host, environment, 'window import', options, async (run) => {
    await refuseTwice(host, file);
    if (file.live) {
      const [other] = await journal.windows({ environment, live: true });
      const live = other && fold(other.id, await journal.read(other.id));
      if (live) throw openAlready(live, `has a window in ${journal.address} already`);
    }
    const by = run.lease.owner.name;
    // the global one: an import of node:crypto loads all of it with every command
    const carrier = `c-${Buffer.from(crypto.getRandomValues(new Uint8Array(8))).toString('hex')}`;
    const steps = file.live ? flagSteps(prepared?.steps ?? []) : [];
    const other = await carriedElsewhere(host, steps, id, carried.carriers);
    if (other && !options.takeover) throw elsewhere(id, other);
    try {
      await run.adopt(id, file.events, file.live ? [{ type: 'received', from, by, carrier }] : [], file.live);
    } catch (error) {
      if (error instanceof WindowExists) throw here(id, journal.address);
      throw error;
    }
    const state = fold(id, await journal.read(id))!;
    const { window } = state;
    const marked = file.live ? await claim(host, run, state, steps, other, prepared !== undefined) : [];
    return {
      verb: 'window import',
      exit: EXIT.DONE,
      environment,
      window: id,
      headline: file.live
        ? `${environment}: ${id} is in ${journal.address} now, opened ${utc(state.openedAt, { today: run.now() })} by ${window.by}, until ${utc(window.until, { seconds: false, today: run.now() })}, "${window.reason}"; the state that it comes from does not act on it any more.`
        : `${environment}: ${id} is in ${journal.address} now, for reading: it is over.`,
      details: marked,
      look: marked.length,
      next: file.live ? [maint('status'), maint('end')] : [maint(['report', id])],
      state,
    };
  });
}

/** Those that say who holds: a flag. */
export function flagSteps<S extends Pick<Step, 'plugin' | 'skipped'>>(steps: readonly S[]): S[] {
  return steps.filter((step) => !step.skipped && step.plugin.kind === 'resource' && step.plugin.holders !== undefined);
}

interface Other {
  step: string;
  carrier: string;
  holder: Holder;
}

const ASK_MS = 5_000;

/** A state that is none of `known` carries the window, as a flag says. One that cannot be asked says nothing. */
async function carriedElsewhere(
  host: VerbHost,
  steps: readonly Step[],
  id: string,
  known: readonly string[],
): Promise<Other | undefined> {
  const asked = await Promise.all(
    steps.map(async (step): Promise<Other | undefined> => {
      const reader = host.clients.reader({ signal: host.interrupt.signal, deadline: monotonicNow() + ASK_MS });
      const holders = await (step.plugin as Resource).holders!(reader, step.params).catch(() => []);
      const holder = holders.find((one) => one.id === id);
      const carrier = holder?.state['carried_by'];
      if (holder === undefined || typeof carrier !== 'string' || known.includes(carrier)) return undefined;
      return { step: step.id, carrier, holder };
    }),
  );
  return asked.find((other) => other !== undefined);
}

/**
 * The flag says from now on that this state carries the window, by an ordinary write that compares. Returns what a
 * person has to look at where it cannot. Where another state was faster, this one hands the window back: throws.
 */
async function claim(
  host: VerbHost,
  run: Run,
  state: WindowState,
  steps: readonly Step[],
  taken: Other | undefined,
  asked: boolean,
): Promise<string[]> {
  const once = `nothing tells another laptop that imports the same file: let nobody do that`;
  const held = steps.filter((step) => (state.owned.get(step.id)?.size ?? 0) > 0);
  if (!asked) return [`the flag could not be asked, and ${once}`];
  if (state.phase !== 'open' || held.length === 0)
    return [`no flag of it is held ${steps.length === 0 ? '' : 'now '}that could say who carries ${state.id}: ${once}`];
  // Somebody has said that the other one is not there any more: what stands in the flag is ours from here on.
  if (taken)
    await run.append(state, [
      { type: 'outcome', step: taken.step, results: [{ id: state.id, is: taken.holder.state as never }] },
    ]);
  const { failures } = await converge(run.acting(state, held), 'open', { verb: 'import', partial: true });
  const other = await carriedElsewhere(host, held, state.id, state.carriers);
  if (other) {
    await run.append(
      state,
      [{ type: 'handed', to: `the state that ${other.step} names`, by: run.lease.owner.name }],
      'close',
    );
    throw elsewhere(state.id, other);
  }
  return failures.length === 0 ? [] : [...failureLines(failures), once];
}

/**
 * Before anything is written: this state took the window in, and so did another one, which was there first. Where the
 * flag cannot be asked it goes on: the end must work with half the world down.
 */
export async function mustCarry(host: VerbHost, prepared: Prepared, state: WindowState): Promise<void> {
  if (state.window.carrier === undefined) return;
  const other = await carriedElsewhere(host, flagSteps(prepared.steps), state.id, state.carriers);
  if (other) throw elsewhere(state.id, other);
}

function elsewhere(id: string, { step, carrier, holder }: Other): MaintError {
  return new MaintError(
    'E_REFUSED',
    `${id} is carried by another state: ${step} says so (${carrier}, until ${utc(holder.until, { seconds: false })}). The same file was taken in there, and two must not act on it. Nothing changed.`,
    {
      next: [
        advice('end it there'),
        maint(['window import', blank('FILE')], { takeover: true }, 'is that laptop lost?'),
        there(maint(['window export', id], {}, 'a state that has it already makes the FILE:')),
      ],
    },
  );
}

/** One that was handed over from here may come back, with everything that this state knows of it. */
async function refuseTwice(host: VerbHost, file: TakeIn): Promise<void> {
  const { journal } = host;
  const { window: id } = file;
  const [row] = await journal.windows({ id });
  if (!row) return;
  const known = await journal.read(id);
  const handed: WindowState['handed'] = fold(id, known)?.handed;
  const continues = known.length <= file.events.length && isDeepStrictEqual(known, file.events.slice(0, known.length));
  if (row.live || !handed || !file.live || !continues) throw here(id, journal.address);
}

function here(id: string, address: string): MaintError {
  return new MaintError('E_REFUSED', `${id} is in ${address} already. Nothing changed.`, {
    next: [maint(['report', id]), advice('another state: --state')],
  });
}

export function unknownWindow(id: string): MaintError {
  return new MaintError('E_NO_WINDOW', `No window is called ${id} in this state. Nothing changed.`, {
    next: [maint('history'), advice('another state: --state')],
  });
}
