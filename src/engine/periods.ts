// How long writes were refused: one number for the terminal, the report and the list of windows. Each end of a period
// names where it comes from: what a guard or a canary saw is nearer to the truth than what the journal says.
import type { WindowState } from './window.ts';

export interface Period {
  /** RFC 3339 */
  from: string;
  /** null: not yet */
  to: string | null;
  ms: number;
  fromIs: string;
  toIs: string;
}
export interface ReadOnly {
  ms: number;
  /** both ends of each period were seen from outside */
  measured: boolean;
  periods: Period[];
}

const GUARD = "a guard's first refusal";
const ANSWER = 'the first canary that the service itself answered again';
const CLOSED = 'the walls had closed (journal)';
const AGAIN = 'the wall was closed again (journal)';
const OPEN = 'the walls had opened (journal)';
const SEEN = 'the last time that the wall was seen closed (journal)';
const EXPIRED = 'the end of the window (on_expiry: open)';
const STILL = 'not over';

/** null: never. `now`: epoch milliseconds, for a period that is not over. */
export function readOnlyPeriods(state: WindowState, now: number): ReadOnly | null {
  if (state.walled.length === 0) return null;
  const periods = state.walled.flatMap((wall, at) => {
    // The flag is read before the journal says that the wall stands: a refusal may be older than its event.
    const since = at === 0 ? state.openedAt : (state.walled[at - 1]?.open ?? wall.closed);
    const next = state.walled[at + 1]?.closed ?? '9999';
    const from = state.refusedAt.find((time) => time >= since && time < (wall.open ?? '9999'));
    const to =
      wall.open === null ? undefined : state.answeredAt.find((time) => time >= (from ?? wall.closed) && time < next);
    const end = to ?? wall.open;
    return split(
      {
        ...{ from: from ?? wall.closed, to: end, ms: 0 },
        ...{ fromIs: from ? GUARD : CLOSED, toIs: to ? ANSWER : end ? OPEN : STILL },
      },
      state,
      now,
    );
  });
  for (const period of periods)
    period.ms = Math.max(0, Date.parse(period.to ?? new Date(now).toISOString()) - Date.parse(period.from));
  return {
    ms: periods.reduce((sum, { ms }) => sum + ms, 0),
    measured: periods.every(({ fromIs, toIs }) => fromIs === GUARD && toIs === ANSWER),
    periods,
  };
}

/** A wall that somebody opened meanwhile ends a period, at the last time that it was seen closed. */
function split(whole: Period, state: WindowState, now: number): Period[] {
  const parts: Period[] = [];
  let rest: Period | undefined = whole;
  const within = (time: string) => time >= whole.from && (whole.to === null || time <= whole.to);
  const gaps = state.breaches
    .filter(({ found }) => within(found))
    .map(({ from, closedAgain, expired }) => ({ from, closedAgain, expired: expired === true }));
  const { until, onExpiry } = state.window;
  if (onExpiry === 'open' && Date.parse(until) < now && (whole.to === null || whole.to > until) && whole.from < until)
    gaps.push({ from: until, closedAgain: undefined, expired: true });
  for (const gap of gaps.sort((a, b) => Date.parse(a.from) - Date.parse(b.from))) {
    if (rest === undefined) break;
    if (gap.from > rest.from) parts.push({ ...rest, to: gap.from, toIs: gap.expired ? EXPIRED : SEEN });
    rest =
      gap.closedAgain === undefined
        ? undefined
        : { ...whole, from: [gap.closedAgain, rest.from].sort()[1]!, fromIs: AGAIN };
  }
  if (rest !== undefined) parts.push(rest);
  return parts;
}
