// What a closing phase leaves as it is, and says so: the window is not over while something of it is left.
import type { Acting, StepFailure } from './acting.ts';
import { mayStay, type Phase, type Step } from './contract.ts';
import { ended, recordFailure } from './take.ts';
import { ofStep } from './window.ts';

/** One phase on its way, as its stages hand it on. */
export interface Passage {
  acting: Acting;
  phase: Phase;
  order: readonly Step[];
  skip: ReadonlySet<string>;
  failures: StepFailure[];
  stopped?: StepFailure;
}
/** Asked of the whole list, since a step whose secrets are missing is in no order. */
export async function tellSkipped({ acting, phase, skip, failures }: Passage): Promise<void> {
  for (const step of acting.steps)
    if (skip.has(step.id) && ofStep(acting.state, step.id).size > 0)
      failures.push(await leaveStep(acting, step, phase, 'skipped, still as in the window'));
}

/** The end must equal the beginning, `leaves` aside: nothing may be forgotten because a step is not in the list any more. */
export async function tellForgotten({ acting, phase, failures }: Passage): Promise<void> {
  if (phase === 'soaking') return;
  for (const [id, mine] of acting.state.owned) {
    const plugin = acting.steps.find((step) => step.id === id)?.plugin;
    const leaves = plugin?.kind === 'resource' && mayStay(plugin);
    if (mine.size === 0 || leaves || failures.some((failure) => failure.step === id)) continue;
    failures.push(await leftBehind(acting, id, phase, `${mine.size} still ours after the end`, [...mine.keys()]));
  }
}

/** What an end leaves as it is for now: the window is not over. */
export async function leaveStep(acting: Acting, step: Step, phase: Phase, text: string): Promise<StepFailure> {
  const ids = [...ofStep(acting.state, step.id).keys()];
  ended(acting, step, 'skipped', text, acting.now(), 0);
  return leftBehind(acting, step.id, phase, text, ids);
}

async function leftBehind(
  acting: Acting,
  step: string,
  phase: Phase,
  message: string,
  ids: string[],
): Promise<StepFailure> {
  const failure: StepFailure = { step, code: 'E_LEFT_BEHIND', message, ids, policy: 'continue' };
  await recordFailure(acting, failure, phase);
  return failure;
}
