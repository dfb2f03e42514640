// What still bears the mark of a window whose journal is lost: looked for with the runbook alone.
import type { Resource, Step, Window } from '../contract.ts';
import { Unknown } from '../contract.ts';
import type { JournalEvent, StateJson } from '../events.ts';
import type { Looking } from '../plan.ts';
import { see } from '../see.ts';

export interface Marks {
  /** one for each step that has something, ready to be journalled as if this state had written it */
  found: { step: string; changes: { id: string; from: StateJson; to: StateJson }[] }[];
  /** steps that may have marks and could not be asked */
  notAsked: string[];
}

const LOOK_MS = 10_000;

/** Asks every step that can tell its own marks; holders of a flag are asked for by their ids elsewhere. */
export async function marksOf(looking: Looking, window: Window): Promise<Marks> {
  const marks: Marks = { found: [], notAsked: [] };
  const able = looking.steps.filter(
    ({ skipped, plugin }) => !skipped && plugin.kind === 'resource' && plugin.markedBefore !== undefined,
  );
  const seen = await Promise.all(able.map(async (step) => ({ step, ...(await changesOf(step)) })));
  for (const { step, changes, why } of seen) {
    if (changes.length > 0) marks.found.push({ step: step.id, changes });
    if (why !== undefined) marks.notAsked.push(`${step.id}  cannot be asked: ${why}`);
  }
  return marks;

  async function changesOf(step: Step): Promise<{ changes: Marks['found'][0]['changes']; why?: string }> {
    const resource = step.plugin as Resource;
    const changes: Marks['found'][0]['changes'] = [];
    let why: string | undefined;
    try {
      const reader = looking.clients.reader({ signal: looking.signal, deadline: looking.now() + LOOK_MS });
      const { states } = await see(step, reader, { phase: 'open', window, owned: new Map() });
      for (const [id, now] of states) {
        if (now instanceof Unknown) why ??= now.why;
        else if (now !== null) {
          const before = resource.markedBefore!(id, now);
          if (before !== undefined) changes.push({ id, from: before, to: now });
        }
      }
    } catch (error) {
      // An interrupted look has not seen that nothing is there.
      if (looking.signal.aborted) throw looking.signal.reason;
      why = error instanceof Error ? error.message : String(error);
    }
    return why === undefined ? { changes } : { changes, why };
  }
}

/** Journalled as if this state had written it, so that taking it back is an ordinary undo. */
export function adoptedEvents(found: Marks['found']): JournalEvent[] {
  return found.flatMap(({ step, changes }): JournalEvent[] => [
    { type: 'intent', step, changes },
    { type: 'outcome', step, results: changes.map(({ id, to }) => ({ id, is: to })) },
  ]);
}
