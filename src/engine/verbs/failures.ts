// What a verb could not do, and what somebody should look at, one line each.
import type { StepFailure } from '../acting.ts';
import type { WindowState } from '../window.ts';

export function leftCount(failures: readonly StepFailure[]): number {
  return failures.reduce((sum, failure) => sum + Math.max(1, failure.ids.length), 0);
}

export function failureLines(failures: readonly StepFailure[]): string[] {
  return failures.map(
    (failure) =>
      `${failure.step}${failure.ids.length > 0 ? ` ${failure.ids.slice(0, 3).join(', ')}${failure.ids.length > 3 ? ` and ${failure.ids.length - 3} more` : ''}` : ''}  ${failure.message}`,
  );
}

/** Everything that somebody should look at, one line each. */
export function lookLines(state: WindowState): string[] {
  const lines = state.drifts.map(
    ({ step, id, gone, taken }) =>
      `${step} ${id}  ${gone ? 'somebody else removed it' : `changed by somebody else; ${taken ? 'removed, for it was ours' : 'left as it is'}`}`,
  );
  lines.push(...state.looks.map(({ step, text }) => `${step}  ${text}`));
  for (const [step, moments] of state.checked) {
    for (const [moment, { outcome, summary }] of moments) {
      // What failed at `open` stopped the start, and is told there. The audit tells all that the last look has seen.
      if (outcome === 'pass' || (outcome === 'fail' && moment === 'open')) continue;
      if (moment === 'reopen' && moments.has('audit')) continue;
      const words = { fail: '', inconclusive: 'inconclusive: ', unknown: 'cannot tell: ' }[outcome];
      lines.push(`${step}  ${moment}: ${words}${summary}`);
    }
  }
  return lines;
}
