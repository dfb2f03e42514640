// A window goes to another state: this one closes it and says where it went, the other one takes it in. At no time do
// two states act on it. Nothing of the outer world is touched.
import { isDeepStrictEqual } from 'node:util';
import { MaintError } from '../../errors/catalogue.ts';
import { EXIT } from '../../errors/exit-codes.ts';
import type { Recorded } from '../events.ts';
import { WindowExists } from '../journal.ts';
import { type LeaseOptions, withLease } from '../run.ts';
import { fold, type WindowState } from '../window.ts';
import { utc } from '../words.ts';
import type { VerbHost, VerbResult } from './result.ts';
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

export async function takeIn(host: VerbHost, file: TakeIn, options: LeaseOptions): Promise<VerbResult> {
  const { journal } = host;
  const { window: id, environment, from } = file;
  const carried = fold(id, file.events)!;
  if (file.live && (file.copy || carried.handed === undefined))
    throw new MaintError(
      'E_REFUSED',
      `${from} is a copy of ${id}, and the state that it comes from still acts on it: two must not. Nothing changed.`,
      { next: [`to hand it over, there: maint window export ${id}`] },
    );
  return await withLease(host, environment, 'window import', options, async (run) => {
    await refuseTwice(host, file);
    if (file.live) {
      const [other] = await journal.windows({ environment, live: true });
      const live = other && fold(other.id, await journal.read(other.id));
      if (live) throw openAlready(live, `has a window in ${journal.address} already`);
    }
    const by = run.lease.owner.name;
    try {
      run.lease = await journal.adopt(
        run.lease,
        id,
        file.events,
        file.live ? [{ type: 'received', from, by }] : [],
        file.live,
      );
    } catch (error) {
      if (error instanceof WindowExists) throw here(id, journal.address);
      throw error;
    }
    const state = fold(id, await journal.read(id))!;
    const { window } = state;
    return {
      verb: 'window import',
      exit: EXIT.DONE,
      environment,
      window: id,
      headline: file.live
        ? `${environment}: ${id} is in ${journal.address} now, opened ${utc(state.openedAt, { today: run.now() })} by ${window.by}, until ${utc(window.until, { seconds: false, today: run.now() })}, "${window.reason}"; the state that it comes from does not act on it any more.`
        : `${environment}: ${id} is in ${journal.address} now, for reading: it is over.`,
      details: [],
      look: 0,
      next: file.live ? [{ command: 'maint status' }, { command: 'maint end' }] : [{ command: `maint report ${id}` }],
      state,
    };
  });
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
    next: [`maint report ${id}`, 'another state: --state'],
  });
}

export function unknownWindow(id: string): MaintError {
  return new MaintError('E_NO_WINDOW', `No window is called ${id} in this state. Nothing changed.`, {
    next: ['maint history', 'another state: --state'],
  });
}
