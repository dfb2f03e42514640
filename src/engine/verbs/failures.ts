// What a verb could not do, and what somebody should look at, one line each.
import type { StepFailure } from '../acting.ts';
import type { Breach, WindowState } from '../window.ts';
import { lasting, utc } from '../words.ts';

export function leftCount(failures: readonly StepFailure[]): number {
  return failures.reduce((sum, failure) => sum + Math.max(1, failure.ids.length), 0);
}

export function failureLines(failures: readonly StepFailure[]): string[] {
  return failures.map(
    (failure) =>
      `${failure.step}${failure.ids.length > 0 ? ` ${failure.ids.slice(0, 3).join(', ')}${failure.ids.length > 3 ? ` and ${failure.ids.length - 3} more` : ''}` : ''}  ${failure.message}`,
  );
}

/** "somebody opened it after 02:11:40Z, closed again at 02:14:07Z: writes were possible for up to 2m 27s" */
export function breachText({ from, found, closedAgain }: Breach, over: boolean): string {
  const seen = `somebody opened it after ${utc(from)}`;
  const upTo = (until: string) => `writes were possible for up to ${lasting(Date.parse(until) - Date.parse(from))}`;
  if (closedAgain !== undefined) return `${seen}, closed again at ${utc(closedAgain)}: ${upTo(closedAgain)}`;
  if (over) return `${seen}, seen at ${utc(found)}: ${upTo(found)} before the end`;
  return `${seen}, seen at ${utc(found)}: writes have been possible since then at the earliest`;
}

/**
 * Everything that somebody should look at, one line each: what failed and was not done since, what was given up, and what
 * was seen. The one source of every count: terminal, report, history.
 */
export function thingsToLookAt(state: WindowState): string[] {
  const each = ({ step, ids }: { step: string; ids: string[] }, text: string) =>
    (ids.length > 0 ? ids : [undefined]).map((id) => `${step}${id === undefined ? '' : ` ${id}`}  ${text}`);
  return [
    ...[...state.failures.values()].flatMap((failure) => each(failure, failure.message)),
    ...state.left.flatMap((left) => each(left, `left behind by ${left.by}: ${left.reason}`)),
    ...lookLines(state),
  ];
}

/** What was seen in the window that somebody should look at, one line each. */
export function lookLines(state: WindowState): string[] {
  const lines = state.breaches
    .filter(({ expired }) => !expired)
    .map((breach) => `${breach.step}  ${breachText(breach, state.walls === 'open')}`);
  const told = new Set(state.breaches.flatMap(({ step, ids }) => ids.map((id) => `${step} ${id}`)));
  for (const { step, id, gone, taken } of state.drifts) {
    if (told.has(`${step} ${id}`)) continue;
    lines.push(
      `${step} ${id}  ${gone ? 'somebody else removed it' : `changed by somebody else; ${taken ? 'removed, for it was ours' : 'left as it is'}`}`,
    );
  }
  lines.push(...state.looks.map(({ step, text }) => `${step}  ${text}`));
  for (const [step, moments] of state.checked) {
    for (const [moment, { outcome, summary, looks }] of moments) {
      if (outcome === 'pass') lines.push(...looks.map((look) => `${step}  ${moment}: ${look}`));
      // What failed at `open` stopped the start, and is told there. The audit tells all that the last look has seen.
      if (outcome === 'pass' || (outcome === 'fail' && moment === 'open')) continue;
      if (moment === 'reopen' && moments.has('audit')) continue;
      const words = { fail: '', inconclusive: 'inconclusive: ', unknown: 'cannot tell: ' }[outcome];
      lines.push(`${step}  ${moment}: ${words}${summary}`);
    }
  }
  return lines;
}
