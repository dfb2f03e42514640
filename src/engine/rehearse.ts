// A window there and back over a world in memory: it must come out as it went in, `leaves` aside. Nothing is written,
// and no credentials are needed where the world was recorded before.
import { mayStay, type Phase, Refusal, type Resource, type Step, Unknown, type Window } from './contract.ts';
import { sameState } from './decide.ts';
import { notesOf } from './notes.ts';
import { copyWorld, type OwnedWorld, phaseSteps, simulateStep, type World } from './plan.ts';
import { isHeld } from './roles.ts';

export interface RehearsedStep {
  id: string;
  uses: string;
  kind: string;
  start: { change: number; inSync: number; unknown: number };
  notes: string[];
  asBefore: number;
  leaves?: string | undefined;
  skipped?: string | undefined;
}
export interface RehearsalProblem {
  step: string;
  message: string;
  /** absent: the way there or back does not lead home */
  kind?: 'refused' | 'right' | 'unseen' | 'unusable' | undefined;
}
export interface Rehearsal {
  steps: RehearsedStep[];
  /** in words, one line each; none: reversible */
  problems: RehearsalProblem[];
}

export function rehearse(steps: readonly Step[], window: Window, recorded: World): Rehearsal {
  const problems: Rehearsal['problems'] = [];
  const results = new Map<string, RehearsedStep>();
  for (const step of steps) {
    const leaves = step.plugin.kind === 'check' ? undefined : step.plugin.leaves;
    results.set(step.id, {
      id: step.id,
      uses: step.plugin.name,
      kind: step.plugin.kind,
      start: { change: 0, inSync: 0, unknown: 0 },
      notes: [],
      asBefore: 0,
      leaves,
      skipped: step.skipped,
    });
  }
  const later = { ...window, until: new Date(Date.parse(window.until) + 15 * 60_000).toISOString() };
  const reopened = { ...later, reopened: later.since };
  // Both ways back are gone: the end of a window, and the undo of a failed start.
  for (const back of [['soaking', 'closed'], ['aborted']] as Phase[][]) {
    const world = copyWorld(recorded);
    const owned: OwnedWorld = new Map();
    const first = back[0] === 'soaking';
    go('open', window, (step, changes, seen, unknown, notes) => {
      if (!first) return;
      const result = results.get(step.id)!;
      result.start = { change: changes, inSync: Math.max(0, seen - changes - unknown), unknown };
      result.notes = notes;
    });
    go('open', window, (step, changes) => {
      if (changes > 0)
        problems.push({ step: step.id, message: `a second start would change ${changes} again: it is not idempotent` });
    });
    if (first) go('open', later, () => undefined);
    for (const phase of back) go(phase, reopened, () => undefined);
    compare(back.at(-1)!, world, owned, first);

    function go(
      phase: Phase,
      at: Window,
      tell: (step: Step, changes: number, seen: number, unknown: number, notes: string[]) => void,
    ): void {
      for (const step of phaseSteps(steps, phase, owned)) {
        const seen = world.get(step.id);
        if (step.plugin.kind !== 'resource' || seen === undefined) continue;
        if (seen instanceof Unknown) {
          tell(step, 0, 1, 1, [seen.why]);
          continue;
        }
        const mine = owned.get(step.id) ?? new Map();
        owned.set(step.id, mine);
        const before = new Map(seen);
        try {
          const decision = simulateStep(step, phase, at, mine, seen);
          const notes = notesOf(step.plugin, {
            params: step.params,
            phase,
            window: at,
            seen: before,
            changes: decision.changes,
            owned: new Map(),
            when: 'plan',
          });
          tell(step, decision.changes.length, before.size, decision.unknown.length, notes);
          for (const drift of decision.drift)
            problems.push({
              step: step.id,
              message: `${drift.id} would be taken for somebody else's change in ${phase}`,
            });
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          if (!problems.some((one) => one.step === step.id && one.message === error.message))
            problems.push({ step: step.id, message: error.message });
        }
      }
    }
  }
  return { steps: [...results.values()], problems };

  function compare(phase: Phase, world: World, owned: OwnedWorld, count: boolean): void {
    for (const step of steps) {
      const was = recorded.get(step.id);
      const is = world.get(step.id);
      if (step.skipped || step.plugin.kind !== 'resource' || !(was instanceof Map) || !(is instanceof Map)) continue;
      const resource = step.plugin as Resource;
      if (mayStay(resource)) continue;
      for (const id of new Set([...was.keys(), ...is.keys()])) {
        const a = was.get(id) ?? null;
        const b = is.get(id) ?? null;
        if (a instanceof Unknown || b instanceof Unknown) continue;
        if (sameState(resource, a, b)) {
          if (count) results.get(step.id)!.asBefore++;
        } else problems.push({ step: step.id, message: `${id} would not be restored after ${phase}` });
      }
      if (!isHeld(step, phase) && (owned.get(step.id)?.size ?? 0) > 0)
        problems.push({ step: step.id, message: `${owned.get(step.id)!.size} would still be ours after ${phase}` });
    }
  }
}
