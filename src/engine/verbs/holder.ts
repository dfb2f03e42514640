// end --holder: what still holds an environment although its window is over, or is not a window of this state.
import { MaintError } from '../../errors/catalogue.ts';
import { EXIT } from '../../errors/exit-codes.ts';
import { blank, maint } from '../../errors/next.ts';
import type { JournalEvent, Recorded } from '../events.ts';
import { plan } from '../plan.ts';
import { type LeaseOptions, monotonicNow, type Run, withLease } from '../run.ts';
import { fold, type WindowState } from '../window.ts';
import { count } from '../words.ts';
import { finish } from './end.ts';
import { adoptedEvents, type Marks, marksOf } from './marks.ts';
import type { Prepared, VerbHost, VerbResult } from './result.ts';
import { lookingOf } from './walls.ts';
import { openedEvent } from './windows.ts';

export interface HolderOptions extends LeaseOptions {
  reason: string;
  dryRun: boolean;
}

interface Lost {
  /** as if this state had opened it */
  opened: JournalEvent;
  /** flags by our own holder, and what else bears the window's mark */
  found: Marks['found'];
  notAsked: string[];
  /** folded from the above, for the plan that is shown */
  state: WindowState;
}

/** Restores what bears the mark of the window `id`, by the runbook and the world alone. */
export async function removeHolder(
  host: VerbHost,
  prepared: Prepared,
  id: string,
  { reason, dryRun, ...options }: HolderOptions,
): Promise<VerbResult> {
  const { environment } = prepared;
  const lost = await lookFor(host, prepared, id);
  const shown = await plan(lookingOf(host, prepared), lost.state.window, lost.state, ['aborted']);
  const things = lost.found.reduce((sum, { changes }) => sum + changes.length, 0);
  if (dryRun)
    return {
      ...{ verb: 'end --holder', exit: EXIT.DONE, environment, window: id },
      headline: `${count(things, 'thing bears', 'things bear')} the mark of ${id}, nothing written.`,
      details: lost.notAsked,
      look: lost.notAsked.length,
      next: [maint('end', { holder: id, reason: blank('…') }, 'restores them')],
      ...{ plan: shown, state: lost.state },
    };
  if (host.asks && things > 1)
    await host.confirm({
      plan: shown,
      window: lost.state.window,
      ...{ backMs: 0, startMs: 0, changed: false },
      warnings: [`the journal of ${id} is not here: only what bears its mark can be restored`, ...lost.notAsked],
      shared: host.journal.shared,
      address: host.journal.address,
    });
  return await withLease(
    host,
    environment,
    'end --holder',
    { ...options, skew: 'say' },
    async (run): Promise<VerbResult> => {
      const unseen = lost.notAsked.map((line) => `; ${line}`).join('');
      const adopted: JournalEvent[] = [
        { type: 'note', text: `adopted to be removed: ${reason}${unseen}`, by: run.lease.owner.name },
        ...adoptedEvents(lost.found),
        { type: 'walls', state: 'closed' },
      ];
      const again = await reopened(host, run, prepared, id, adopted);
      if (again)
        return await finish(host, run, prepared, again, 'end', again.phase === 'closed' ? 'closed' : 'aborted', {
          ...{ skip: [], dryRun: false },
        });
      const opened = { ...lost.opened, by: run.lease.owner.name } as JournalEvent;
      const state = fold(id, await run.openWindow(id, [opened, ...adopted]), prepared.surfaces)!;
      return await finish(host, run, prepared, state, 'abort', 'aborted', { skip: [], dryRun: false });
    },
  );
}

/** Throws where nothing of this runbook bears the window's mark (66). */
async function lookFor(host: VerbHost, prepared: Prepared, id: string): Promise<Lost> {
  const reader = () => host.clients.reader({ signal: host.interrupt.signal, deadline: monotonicNow() + 10_000 });
  const found: Marks['found'] = [];
  const seen: string[] = [];
  let first: { since: string; until: string; reason: string } | undefined;
  for (const step of prepared.steps) {
    if (step.skipped || step.plugin.kind !== 'resource' || !step.plugin.holders) continue;
    for (const holder of await step.plugin.holders(reader(), step.params)) {
      seen.push(holder.id);
      if (holder.id !== id) continue;
      first ??= holder;
      found.push({ step: step.id, changes: [{ id, from: null, to: holder.state }] });
    }
  }
  const now = new Date().toISOString();
  const opened = openedEvent(host, prepared, {
    ...{ until: first?.until ?? now, reason: `orphan: ${first?.reason ?? 'its flag is gone'}`, by: 'unknown' },
  });
  const folded = (events: JournalEvent[]) =>
    fold(
      id,
      events.map((event, at): Recorded => ({ seq: at + 1, at: first?.since ?? now, token: 0, event })),
      prepared.surfaces,
    )!;
  const marks = await marksOf(lookingOf(host, prepared), folded([opened]).window);
  found.push(...marks.found);
  if (found.length === 0)
    throw new MaintError('E_NO_WINDOW', `Nothing of this runbook bears the mark of ${id}. Nothing changed.`, {
      details: [seen.length > 0 ? `holders there are: ${seen.join(', ')}` : 'no flag has a holder', ...marks.notAsked],
      next: [maint('status')],
    });
  return { opened, found, notAsked: marks.notAsked, state: folded([opened, ...adoptedEvents(found)]) };
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
      next: [maint('end'), maint('end', { holder: id, reason: blank('…') }, 'then:')],
    });
  await run.adopt(id, events, [{ type: 'phase', phase: was.phase, verb: 'end --holder' }, ...adopted], true);
  return fold(id, await journal.read(id), surfaces);
}
