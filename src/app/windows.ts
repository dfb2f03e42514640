// What the state knows of windows: the open one, all of them, those that were.

import type { Recorded } from '../engine/events.ts';
import type { Lease } from '../engine/journal.ts';
import { fold, type WindowState } from '../engine/window.ts';
import { MaintError } from '../errors/catalogue.ts';
import { advice, maint, there } from '../errors/next.ts';
import type { Past, PastWindow } from '../report/history.ts';
import { nearestNames } from '../runbook/nearest.ts';
import type { App } from './app.ts';
import { thisMachine } from './machine.ts';

/**
 * The window that is not over. Without --env the only one; several are listed (64). Where the last one was handed
 * over: refused (66), for "nothing is open" would not be true.
 */
export async function liveWindow(app: App, environment: string | undefined): Promise<WindowState | undefined> {
  const live = await liveHere(app, environment);
  const last = live ? undefined : await lastWindow(app, environment);
  if (!last?.handed) return live;
  throw new MaintError('E_NO_WINDOW', `${handedLine(last, last.handed)} Nothing changed.`, {
    next: [
      there(maint('status', {}, 'where it is now:')),
      maint(['window import', last.handed.to], {}, 'back to this state:'),
    ],
  });
}

/** The same, whatever became of the last one. */
export async function liveHere(app: App, environment: string | undefined): Promise<WindowState | undefined> {
  const journal = await app.journal();
  const rows = await journal.windows({ live: true, ...(environment === undefined ? {} : { environment }) });
  if (rows.length > 1) {
    throw new MaintError('E_WHICH_WINDOW', `${rows.length} windows are open; --env says which one is meant.`, {
      details: rows.map((row) => `${row.environment}  ${row.id}  since ${row.createdAt}`),
      next: [advice(`--env ${rows[0]!.environment}`)],
    });
  }
  return rows[0] && fold(rows[0].id, await journal.read(rows[0].id));
}

/** The known environment that is meant, where this state has never had a window of `environment`. */
export async function meantEnvironment(app: App, environment: string | undefined): Promise<string | undefined> {
  if (environment === undefined) return undefined;
  const known = new Set((await (await app.journal()).windows({})).map((row) => row.environment));
  return known.has(environment) ? undefined : nearestNames(environment, known)[0];
}

/** Every window that is not over. */
export async function allLive(app: App, environment: string | undefined): Promise<WindowState[]> {
  const journal = await app.journal();
  const rows = await journal.windows({ live: true, ...(environment === undefined ? {} : { environment }) });
  const states = await Promise.all(rows.map(async ({ id }) => fold(id, await journal.read(id))));
  return states
    .filter((state) => state !== undefined)
    .sort((a, b) => (a.window.environment < b.window.environment ? -1 : 1));
}

/** The newest window, over or not. */
export async function lastWindow(app: App, environment: string | undefined): Promise<WindowState | undefined> {
  const journal = await app.journal();
  const [row] = await journal.windows(environment === undefined ? {} : { environment });
  return row && fold(row.id, await journal.read(row.id));
}

/** Newest first; `since`: RFC 3339, recorded then or later. */
export async function history(
  app: App,
  filter: {
    environment?: string | undefined;
    since?: string | undefined;
    limit: number;
    /** in who, why, ticket or id */
    matching?: string | undefined;
    /** only those with something to look at */
    trouble?: boolean | undefined;
  },
): Promise<Past> {
  const { fits, pastOf } = await import('../report/history.ts');
  const journal = await app.journal();
  const { environment, since = '' } = filter;
  const rows = (await journal.windows(environment === undefined ? {} : { environment })).filter(
    (row) => row.createdAt >= since,
  );
  const now = await journal.now();
  const windows: PastWindow[] = [];
  let more = 0;
  const every = filter.matching === undefined && filter.trouble !== true;
  for (const [n, row] of rows.entries()) {
    // how many more there are is known without reading them, unless they must be looked into
    if (every && n >= filter.limit) {
      more = rows.length - filter.limit;
      break;
    }
    const lease = row.live ? await actingOn(app, row.environment) : undefined;
    const alive = lease !== undefined && lease.expiresAt > now;
    const past = pastOf(row.id, await journal.read(row.id), { alive, now });
    if (!past || !fits(past, filter)) continue;
    if (windows.length < filter.limit) windows.push(past);
    else more++;
  }
  return { windows, more, address: journal.address };
}

/** The window that is named, else the newest one. E_NO_WINDOW with those that are known. */
export async function recordedWindow(
  app: App,
  id: string | undefined,
  environment: string | undefined,
): Promise<{ id: string; events: Recorded[] }> {
  const journal = await app.journal();
  const rows = await journal.windows(environment === undefined ? {} : { environment });
  const row = id === undefined ? rows[0] : rows.find((one) => one.id === id);
  if (row) return { id: row.id, events: await journal.read(row.id) };
  const where = environment === undefined ? journal.address : `${environment} in ${journal.address}`;
  throw new MaintError(
    'E_NO_WINDOW',
    id === undefined ? `No window has been in ${where}.` : `No window is called ${id} in ${where}.`,
    {
      details: rows.slice(0, 20).map((one) => `${one.id}  ${one.environment}  since ${one.createdAt}`),
      next: rows[0]
        ? [maint(['report', rows[0].id])]
        : [maint('start', { window: '30m' }), advice('or another state: --state')],
    },
  );
}

/** The run that acts on the environment; one that died on this machine does not. */
export async function actingOn(app: App, environment: string): Promise<Lease | undefined> {
  const lease = await (await app.journal()).lease(environment);
  return lease && (await thisMachine()).dead(lease.owner) ? undefined : lease;
}

/** The last things that the journal knows of an environment's live window, for who takes over. */
export async function lastDone(app: App, environment: string): Promise<string[]> {
  const journal = await app.journal();
  const [row] = await journal.windows({ environment, live: true });
  const events = row ? await journal.read(row.id) : [];
  return events
    .filter(({ event }) => 'step' in event)
    .slice(-3)
    .map(({ at, event }) => `  ${at.slice(11, 19)}Z  ${'step' in event ? event.step : ''}  ${event.type}`);
}

export function handedLine({ id, window }: WindowState, { to, by, at }: NonNullable<WindowState['handed']>): string {
  return `${window.environment}: ${id} was handed over to ${to} by ${by} at ${at}; this state does not act on it any more.`;
}
