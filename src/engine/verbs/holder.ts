// end --holder: what still holds an environment although its window is over, or is no window of this state.
import { MaintError } from '../../errors/catalogue.ts';
import type { JournalEvent } from '../events.ts';
import { type LeaseOptions, monotonicNow, type Run, withLease } from '../run.ts';
import { fold, type WindowState } from '../window.ts';
import { finish } from './end.ts';
import type { Prepared, VerbHost, VerbResult } from './result.ts';
import { openedEvent } from './windows.ts';

/** Removes the holder through the same converge. */
export async function removeHolder(
  host: VerbHost,
  prepared: Prepared,
  id: string,
  reason: string,
  options: LeaseOptions,
): Promise<VerbResult> {
  const { environment } = prepared;
  const reader = () => host.clients.reader({ signal: host.interrupt.signal, deadline: monotonicNow() + 10_000 });
  const owners: { step: string; state: Record<string, unknown>; since: string; until: string; reason: string }[] = [];
  const seen: string[] = [];
  for (const step of prepared.steps) {
    if (step.skipped || step.plugin.kind !== 'resource' || !step.plugin.holders) continue;
    for (const holder of await step.plugin.holders(reader(), step.params)) {
      seen.push(holder.id);
      if (holder.id === id)
        owners.push({
          step: step.id,
          state: holder.state,
          since: holder.since,
          until: holder.until,
          reason: holder.reason,
        });
    }
  }
  const first = owners[0];
  if (!first)
    throw new MaintError('E_NO_WINDOW', `No flag of this runbook has a holder ${id}. Nothing changed.`, {
      details: seen.length > 0 ? [`there are: ${seen.join(', ')}`] : ['there is none at all'],
      next: ['maint status'],
    });
  return await withLease(
    host,
    environment,
    'end --holder',
    { ...options, skew: 'say' },
    async (run): Promise<VerbResult> => {
      // Adopted: journalled as if we had put it there, so that removing it is an ordinary undo of a window.
      const adopted: JournalEvent[] = [
        { type: 'note', text: `adopted to be removed: ${reason}`, by: run.lease.owner.name },
        ...owners.flatMap((owner): JournalEvent[] => [
          { type: 'intent', step: owner.step, changes: [{ id, from: null, to: owner.state }] },
          { type: 'outcome', step: owner.step, results: [{ id, is: owner.state }] },
        ]),
        { type: 'walls', state: 'closed' },
      ];
      const again = await reopened(host, run, prepared, id, adopted);
      if (again)
        return await finish(host, run, prepared, again, 'end', again.phase === 'closed' ? 'closed' : 'aborted', {
          ...{ skip: [], dryRun: false },
        });
      const { until } = first;
      const opened = openedEvent(host, prepared, {
        ...{ until, reason: `orphan: ${first.reason}`, by: run.lease.owner.name },
      });
      const state = fold(id, await run.openWindow(id, [opened, ...adopted]), prepared.surfaces)!;
      return await finish(host, run, prepared, state, 'abort', 'aborted', { skip: [], dryRun: false });
    },
  );
}

/** A window that this state knows, and that is over: its holder was left behind, or came back. It goes on where it ended. */
async function reopened(
  host: VerbHost,
  run: Run,
  { environment, surfaces }: Prepared,
  id: string,
  adopted: readonly JournalEvent[],
): Promise<WindowState | undefined> {
  const { journal } = host;
  const [row] = await journal.windows({ id });
  // one that is live has an end of its own, and one that was handed over has it elsewhere
  if (!row || row.live || row.environment !== environment) return undefined;
  const events = await journal.read(id);
  const was = fold(id, events);
  if (!was || was.handed) return undefined;
  const [live] = await journal.windows({ environment, live: true });
  if (live)
    throw new MaintError('E_WINDOW_OPEN', `${environment} has a window already: ${live.id}. Nothing changed.`, {
      next: ['maint end', `then maint end --holder ${id} --reason …`],
    });
  await run.adopt(id, events, [{ type: 'phase', phase: was.phase, verb: 'end --holder' }, ...adopted], true);
  return fold(id, await journal.read(id), surfaces);
}
