// announce: people are told beforehand; nothing else is touched. Again: moves it. start adopts it, abort cancels it.
import { MaintError } from '../../errors/catalogue.ts';
import { EXIT } from '../../errors/exit-codes.ts';
import { advice, maint } from '../../errors/next.ts';
import { converge } from '../converge.ts';
import type { JournalEvent } from '../events.ts';
import { type Looking, plan } from '../plan.ts';
import { roleOf } from '../roles.ts';
import { type LeaseOptions, monotonicNow, withLease } from '../run.ts';
import { fold, type WindowState } from '../window.ts';
import { count, span } from '../words.ts';
import { failureLines, lookLines, thingsToLookAt } from './failures.ts';
import { adoptOrCancel, type Prepared, type VerbHost, type VerbResult } from './result.ts';
import { type Told, toldBy } from './told.ts';
import { endedMeanwhile, liveWindow, newWindowId, openAlready, openedEvent, refuseOther } from './windows.ts';

export interface AnnounceOptions extends LeaseOptions {
  /** RFC 3339 */
  startsAt: string;
  windowMs: number;
  reason: string;
  ticket?: string | undefined;
  dryRun: boolean;
}

export async function announce(host: VerbHost, prepared: Prepared, options: AnnounceOptions): Promise<VerbResult> {
  const { environment } = prepared;
  const { startsAt } = options;
  const until = new Date(Date.parse(startsAt) + options.windowMs).toISOString();
  if (Date.parse(startsAt) <= (await host.journal.now()))
    throw new MaintError('E_USAGE', `--at ${startsAt} is in the past. Nothing changed.`, {
      next: [maint('announce', { at: '2026-12-01T02:00Z', window: '30m' }), maint('start', { window: '30m' }, 'now?')],
    });
  const before = await liveWindow(host, environment, prepared);
  if (before) mustBeAhead(before);
  if (before) refuseOther(before, prepared);
  const by = host.machine.owner('announce').name;
  const { reason, ticket } = options;
  const opened = openedEvent(host, prepared, { startsAt, until, reason, ticket, by });
  const id = before?.id ?? newWindowId();
  if (options.dryRun) {
    const imagined = fold(id, [{ seq: 1, at: startsAt, token: 0, event: opened }], prepared.surfaces)!;
    const looking: Looking = {
      steps: prepared.steps,
      clients: host.clients,
      signal: host.interrupt.signal,
      now: monotonicNow,
    };
    const planned = await plan(looking, imagined.window, before, ['announced']);
    return {
      verb: 'announce',
      exit: EXIT.DONE,
      environment,
      headline: `${count(planned.changes, 'change')} planned for ${environment}, nothing written.`,
      details: [],
      look: 0,
      next: [advice('the same without --dry-run (do it)')],
      plan: planned,
    };
  }
  return await withLease(host, environment, 'announce', options, async (run) => {
    let state = await liveWindow(host, environment, prepared);
    if (state && state.id !== before?.id) throw openAlready(state, 'was opened by somebody else meanwhile');
    if (before && !state) throw endedMeanwhile(before.id, maint('status'));
    if (state) mustBeAhead(state);
    const began: JournalEvent = { type: 'run', state: 'began', verb: 'announce', owner: run.lease.owner.name };
    const moved = state !== undefined;
    if (state) await run.append(state, [began, { type: 'moved', startsAt, until, by: run.lease.owner.name }]);
    else state = fold(id, await run.openWindow(id, [opened, began]), prepared.surfaces)!;
    const result = await converge(run.acting(state, prepared.steps), 'announced', { verb: 'announce' });
    const exit = result.stopped ? EXIT.HUMAN : EXIT.DONE;
    await run.append(state, [{ type: 'run', state: 'ended', verb: 'announce', owner: run.lease.owner.name, exit }]);
    const failed = result.failures.length;
    const notices = prepared.steps.filter((step) => roleOf(step) === 'notice');
    const told = toldBy(prepared.steps, notices, result.failures);
    const when = `${span(startsAt, until)} on ${startsAt.slice(0, 10)}`;
    return {
      verb: 'announce',
      exit,
      code: result.stopped ? 'E_HELD' : undefined,
      environment,
      window: state.id,
      headline: `${environment} is ${moved ? 'now ' : ''}${told.nobody ? 'planned' : 'announced'} to be read-only ${when}.${missing(told, failed)}`,
      details: [...failureLines(result.failures), ...lookLines(state)],
      look: thingsToLookAt(state).length,
      next: [
        ...adoptOrCancel(options.windowMs),
        ...(notices.length === 0 ? [maint(['steps', 'notice'], {}, 'what can tell people')] : []),
      ],
      state,
    };
  });
}

/** What was not told, in a sentence of its own. */
function missing({ nobody, by, gap }: Told, failures: number): string {
  if (gap === undefined) return failures > 0 ? ` ${count(failures, 'step')} could not follow:` : '';
  const colon = failures > 0 ? ':' : '.';
  return nobody ? ` Nobody was told: ${gap}${colon}` : ` Told by ${by.join(', ')} only: ${gap}${colon}`;
}

function mustBeAhead(state: WindowState): void {
  if (state.phase !== 'announced') throw openAlready(state, 'is not to be announced: a window is under way');
}
