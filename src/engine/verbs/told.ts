// Whom a verb has reached that is there to tell people. A window that nobody heard of must not read like one that
// everybody knows.
import type { StepFailure } from '../acting.ts';
import type { Step } from '../contract.ts';
import { roleOf } from '../roles.ts';
import { count } from '../words.ts';

export interface Told {
  /** the ids of the steps that were asked to tell, and did */
  by: string[];
  /** undefined: every notice did. Otherwise what is missing, as half a sentence */
  gap: string | undefined;
  /** not one of them */
  nobody: boolean;
}

/** `asked`: the steps that the verb converged, a flag that carries a banner among them. `all`: the runbook's. */
export function toldBy(all: readonly Step[], asked: readonly Step[], failures: readonly StepFailure[]): Told {
  const failed = new Set(failures.map((failure) => failure.step));
  const by = asked.filter((step) => !step.skipped && !failed.has(step.id)).map((step) => step.id);
  const notices = all.filter((step) => roleOf(step) === 'notice');
  const active = notices.filter((step) => !step.skipped);
  const silent = active.filter((step) => failed.has(step.id));
  return { by, gap: gapOf(notices.length, active.length, silent.length), nobody: by.length === 0 };
}

function gapOf(notices: number, active: number, silent: number): string | undefined {
  if (notices === 0) return 'this runbook has no notice step';
  if (active === 0) return `${count(notices, 'notice')} of this runbook ${notices === 1 ? 'is' : 'are'} skipped`;
  if (silent === 0) return undefined;
  return silent === active ? `${count(silent, 'notice')} failed` : `${silent} of ${count(active, 'notice')} failed`;
}
