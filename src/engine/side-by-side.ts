// Steps in their order, each as soon as those are done that it waits for.
import type { StepFailure } from './acting.ts';
import type { Step } from './contract.ts';

/**
 * `overlaps`: the later one need not wait for the earlier one. What has begun is finished, whatever happens to the others:
 * the undo must know what was done. After a failure that `stops` nothing more begins. Returns the failures in the order of
 * the steps; what `take` throws is thrown once nothing is under way any more.
 */
export async function sideBySide(
  steps: readonly Step[],
  overlaps: (earlier: Step, later: Step) => boolean,
  take: (step: Step) => Promise<StepFailure | undefined>,
  stops: (failure: StepFailure) => boolean = () => false,
): Promise<StepFailure[]> {
  const failures: (StepFailure | undefined)[] = steps.map(() => undefined);
  const under: Promise<void>[] = [];
  let stopped = false;
  for (const [at, step] of steps.entries()) {
    const waitsFor = under.filter((_, before) => !overlaps(steps[before]!, step));
    under.push(
      Promise.all(waitsFor).then(async () => {
        if (stopped) return;
        const failure = await take(step);
        failures[at] = failure;
        if (failure && stops(failure)) stopped = true;
      }),
    );
  }
  for (const result of await Promise.allSettled(under)) if (result.status === 'rejected') throw result.reason;
  return failures.filter((failure) => failure !== undefined);
}
