// Checks: what only looks, at a moment of a window; its outcome and evidence are one journalled event.
import { type Acting, describe, isFatal, pollOf, type StepFailure, StepProblem } from './acting.ts';
import { type Moment, Refusal, type Step } from './contract.ts';
import { roleOf } from './roles.ts';
import { type Checked, checkedInPhase, evidenceOf, ofStep, type WindowState } from './window.ts';

/** Not asked again in the same phase. */
export function passed({ outcome }: Pick<Checked, 'outcome'>): boolean {
  return outcome === 'pass' || outcome === 'inconclusive';
}

/** One check at one moment; what passed already in this phase is not asked again. Throws where it failed. */
export async function takeCheck(
  acting: Acting,
  step: Step,
  moment: Moment,
  deadline: number,
): Promise<{ text: string; look: boolean }> {
  if (step.plugin.kind !== 'check' || !step.plugin.on.includes(moment))
    return { text: 'nothing to check now', look: false };
  // Where things stood when an end was tried before says nothing of now: as long as every wall is closed it is noted anew.
  const before = moment === 'reopen' && allClosed(acting) ? undefined : checkedInPhase(acting.state, step.id, moment);
  if (before && passed(before)) {
    const look = before.outcome !== 'pass' || before.looks.length > 0;
    return { text: `checked before: ${before.summary}`, look };
  }
  const result = await runCheck(acting, step, moment, acting.state, deadline);
  await acting.record([{ type: 'checked', step: step.id, moment, ...result }]);
  if (result.outcome === 'pass') return { text: result.summary, look: (result.looks ?? []).length > 0 };
  if (result.outcome === 'inconclusive') return { text: `inconclusive: ${result.summary}`, look: true };
  const text = [result.summary, ...result.findings.filter((finding) => !result.summary.includes(finding))].join(' · ');
  if (result.outcome === 'fail') throw new StepProblem('E_FAILED', text);
  // A wall we could not check does not count as closed.
  if (moment === 'open') throw new StepProblem('E_FAILED', `cannot tell: ${text}`);
  return { text: `cannot tell: ${text}`, look: true };
}

function allClosed({ steps, state }: Acting): boolean {
  return steps.every((step) => step.skipped || roleOf(step) !== 'wall' || ofStep(state, step.id).size > 0);
}

type CheckActing = Pick<Acting, 'clients' | 'signal' | 'now' | 'wait' | 'emit'>;

/** Runs a check and turns what it throws into an outcome: a check that cannot look cannot tell. */
export async function runCheck(
  acting: CheckActing,
  step: Step,
  moment: Moment,
  state: Pick<WindowState, 'window' | 'checked'>,
  deadline: number,
  dry = false,
) {
  if (step.plugin.kind !== 'check') throw new TypeError('not a check');
  const declared = step.plugin.declares?.(step.params, state.window) ?? [];
  const bound = { signal: acting.signal, deadline };
  const prober = dry || declared.length === 0 ? undefined : acting.clients.prober({ ...bound, declared });
  try {
    return await step.plugin.check(
      acting.clients.reader(bound),
      {
        params: step.params,
        moment,
        window: state.window,
        evidence: evidenceOf(state, step.id),
        deadline,
        now: acting.now,
        poll: pollOf(acting),
        progress: (text) =>
          acting.emit({
            type: 'step-doing',
            step: step.id,
            text,
            ...(moment === 'soaking' || moment === 'audit' ? { until: deadline } : { givesUp: deadline }),
          }),
      },
      prober,
    );
  } catch (error) {
    if (acting.signal.aborted) throw acting.signal.reason;
    if (error instanceof Refusal) throw error;
    const why = error instanceof Error ? error.message : String(error);
    return { outcome: 'unknown' as const, summary: why, findings: [], evidence: null };
  }
}

/** All checks of a moment, side by side; what they find is journalled and said, and stops nothing. */
export async function runChecks(
  acting: Acting,
  moment: Moment,
  deadline: number,
  only?: (step: Step) => boolean,
): Promise<StepFailure[]> {
  const steps = acting.steps.filter(
    (step) =>
      !step.skipped && step.plugin.kind === 'check' && step.plugin.on.includes(moment) && (only?.(step) ?? true),
  );
  const failures: StepFailure[] = [];
  await Promise.all(
    steps.map(async (step) => {
      const began = acting.now();
      acting.emit({ type: 'step-began', step: step.id, label: step.plugin.name });
      try {
        const { text, look } = await takeCheck(acting, step, moment, deadline);
        acting.emit({
          type: 'step-ended',
          step: step.id,
          label: step.plugin.name,
          result: look ? 'look' : 'ok',
          text,
          ms: acting.now() - began,
        });
      } catch (error) {
        if (isFatal(acting, error)) throw error;
        const failure = describe(step, error);
        failures.push(failure);
        acting.emit({
          type: 'step-ended',
          step: step.id,
          label: step.plugin.name,
          result: 'look',
          text: failure.message,
          ms: acting.now() - began,
        });
      }
    }),
  );
  return failures;
}
