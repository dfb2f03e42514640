// One step to its phase, whatever its kind: begun, taken, journalled as settled or failed, and said.
import { type Acting, describe, isFatal, type StepFailure } from './acting.ts';
import { takeAction } from './actions.ts';
import { takeCheck } from './checks.ts';
import type { NoteContext, Phase, Step } from './contract.ts';
import { notesOf } from './notes.ts';
import { isClosing } from './roles.ts';
import { ownedView } from './see.ts';
import { settle } from './settle.ts';
import { type Settling, settling } from './settling.ts';
import { waitForSpawned, waitInFlight } from './wait.ts';
import { ofStep } from './window.ts';

interface Taken {
  notes: string[];
  /** of the notes, what somebody should look at */
  looks: string[];
  drifted: boolean;
  changes: number;
}

/** A failure is journalled and returned; being interrupted or taken over is thrown. */
export async function takeStep(acting: Acting, step: Step, phase: Phase): Promise<StepFailure | undefined> {
  const began = acting.now();
  acting.emit({ type: 'step-began', step: step.id, label: step.plugin.name });
  let taken: Taken;
  try {
    taken = await take(acting, step, phase, began);
  } catch (error) {
    if (isFatal(acting, error)) throw error;
    const failure = describe(step, error);
    await recordFailure(acting, failure, phase);
    ended(acting, step, 'failed', failure.message, began);
    return failure;
  }
  const ms = acting.now() - began;
  const { notes, looks, changes } = taken;
  const more = looks.length > 0 ? { looks } : {};
  await acting.record([{ type: 'settled', step: step.id, phase, ms, changes, notes, ...more }]);
  ended(acting, step, taken.drifted || looks.length > 0 ? 'look' : 'ok', notes.join(' · '), began, ms);
  return undefined;
}

async function take(acting: Acting, step: Step, phase: Phase, began: number): Promise<Taken> {
  if (step.plugin.kind === 'resource') return takeResource(acting, step, phase, began);
  if (step.plugin.kind === 'action') {
    const { text, looks } = await takeAction(acting, step, phase, began);
    return { notes: text, looks, drifted: false, changes: 0 };
  }
  const { text, look } = await takeCheck(acting, step, 'open', began + step.deadlineMs);
  return { notes: [text], looks: [], drifted: look, changes: 0 };
}

async function takeResource(acting: Acting, step: Step, phase: Phase, began: number): Promise<Taken> {
  const before = ownedView(ofStep(acting.state, step.id));
  const turn = settling(acting, step, phase, began);
  await waitForSpawned(acting, step, turn.deadline);
  await settle(turn);
  await waitInFlight(acting, step, phase, turn.deadline);
  const { notes, looks } = wordsOf(turn, isClosing(phase) ? before : ownedView(ofStep(acting.state, step.id)));
  return { notes: [...notes, ...looks], looks, drifted: turn.drifted.length > 0, changes: turn.done.length };
}

function wordsOf(turn: Settling, owned: NoteContext<any, any>['owned']): { notes: string[]; looks: string[] } {
  const { acting, step, resource, phase, sight, done } = turn;
  const { window } = acting.state;
  const context = {
    params: step.params,
    phase,
    window,
    seen: sight.states,
    changes: done,
    owned,
    when: 'done' as const,
  };
  const notes = [...notesOf(resource, context)];
  for (const drift of turn.drifted) {
    const so = drift.released ? ', left as it is' : drift.taken ? ', removed: it was ours' : '';
    notes.push(
      drift.gone
        ? `${drift.id} is gone already: somebody else removed it`
        : `${drift.id} was changed by somebody else${so}`,
    );
  }
  return { notes, looks: resource.look?.(context) ?? [] };
}

export async function recordFailure(acting: Acting, failure: StepFailure, phase: Phase): Promise<void> {
  const { step, code, message, ids, next } = failure;
  await acting.record([{ type: 'failed', step, phase, code, message, ids, next }]);
}

type Result = 'ok' | 'look' | 'failed' | 'skipped';

export function ended(
  acting: Acting,
  step: Step,
  result: Result,
  text: string,
  began: number,
  ms = acting.now() - began,
): void {
  acting.emit({ type: 'step-ended', step: step.id, label: step.plugin.name, result, text, ms });
}
