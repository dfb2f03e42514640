// status in words and as JSON: what the eye saw, again and again where somebody follows.
import type { App } from '../app/app.ts';
import { Eye, type SeenNone, type SeenWindow } from '../app/eye.ts';
import type { Recorded } from '../engine/events.ts';
import { monotonicNow, waitUntil } from '../engine/run.ts';
import { didYouMean } from '../engine/verbs/result.ts';
import { span, utc } from '../engine/words.ts';
import { EXIT, type ExitCode } from '../errors/exit-codes.ts';
import { because, blank, maint, type Next, there } from '../errors/next.ts';
import { progressOf } from './follow.ts';
import { guardsLine, writtenLine } from './guards.ts';
import { dress } from './layout.ts';
import { type Line, nextLine, rendered } from './next.ts';

export interface StatusView {
  exit: ExitCode;
  /** nobody needs to watch it any longer */
  over: boolean;
  lines: Line[];
  json: Record<string, unknown>;
}
export interface StatusOptions {
  environment?: string | undefined;
  follow: boolean;
  all: boolean;
  /** `overdue`: a window within its time is no reason for a monitor to call somebody; `unknown`: what cannot be told is one */
  failOn: 'open' | 'overdue' | 'unknown';
}

const TICK_MS = 1_000;
/** Nothing new in the journal: the times in the text grow old all the same. */
const LOOK_MS = 5_000;
/** What a monitor must hear of first. */
const GRAVEST: readonly ExitCode[] = [EXIT.HUMAN, EXIT.BUSY, EXIT.OPEN];

export async function* statusView(app: App, options: StatusOptions): AsyncGenerator<StatusView> {
  const eye = new Eye(app, options.environment);
  let shown = '';
  for (let looked = Number.NEGATIVE_INFINITY; ; ) {
    // First what is true now, then what happens.
    const news = shown === '' ? [] : await eye.news();
    tell(app, news);
    if (news.length > 0 || monotonicNow() - looked >= LOOK_MS) {
      looked = monotonicNow();
      const view = options.all ? allView(await eye.all(), options) : oneView(await eye.one(), options);
      const { over } = view;
      if (over && shown !== '') {
        // The window is over before its run has said its last word.
        const giveUp = monotonicNow() + LOOK_MS;
        while ((await eye.isActedOn()) && monotonicNow() < giveUp)
          await waitUntil(monotonicNow() + TICK_MS / 10, app.options.interrupt.signal);
        tell(app, await eye.news());
      }
      const text = steady(view.lines);
      if (text !== shown) yield view;
      const first = shown === '';
      shown = text;
      if (!options.follow || over) return;
      if (first) continue;
    }
    await waitUntil(monotonicNow() + TICK_MS, app.options.interrupt.signal);
  }
}

/** Without what changes by itself from one look to the next. */
function steady(lines: readonly Line[]): string {
  return dress(rendered(lines), { colours: false })
    .join('\n')
    .replace(/\(\S+( \S+)? left\)|OVERDUE by \S+( \S+)? ·|last seen \S+|(refused|queued|still in flight) [\d,]+/g, '');
}

function tell(app: App, news: readonly Recorded[]): void {
  for (const recorded of news) for (const progress of progressOf(recorded)) app.options.emit(progress);
}

function oneView(seen: SeenWindow | SeenNone, { failOn }: StatusOptions): StatusView {
  return 'status' in seen ? windowView(seen, failOn) : noneView(seen, failOn);
}

function allView(seen: SeenWindow[] | SeenNone, { failOn }: StatusOptions): StatusView {
  const views = Array.isArray(seen) ? seen.map((one) => windowView(one, failOn)) : [noneView(seen, failOn)];
  const exit = GRAVEST.find((code) => views.some((view) => view.exit === code)) ?? EXIT.DONE;
  return {
    exit,
    over: views.every((view) => view.over),
    lines: views.flatMap(({ lines }) => lines),
    json: { ok: exit === EXIT.DONE, exit, windows: Array.isArray(seen) ? views.map(({ json }) => json) : [] },
  };
}

function windowView({ status, notes, guards, writes }: SeenWindow, failOn: StatusOptions['failOn']): StatusView {
  const { state, truth, ...rest } = status;
  const seen = [guardsLine(guards), writtenLine(writes)].filter((line) => line !== undefined).join(' · ');
  const inTime = failOn === 'overdue' && status.exit === EXIT.OPEN && status.overdueMs === 0;
  const doubt = failOn === 'unknown' && status.exit === EXIT.OPEN && truth.writes === 'unknown';
  const exit = inTime ? EXIT.DONE : doubt ? EXIT.HUMAN : status.exit;
  const { writes: are, reason, what, since, lastHeld, readOnly, looks } = truth;
  return {
    exit,
    over: status.exit === EXIT.DONE,
    lines: [
      ...status.lines.slice(0, 1),
      ...[...status.lines.slice(1), ...(seen === '' ? [] : [seen]), ...notes].map((line) => `  ${line}`),
      nextLine(...status.next),
    ],
    json: {
      ok: exit === EXIT.DONE,
      ...rest,
      exit,
      notes,
      truth: { writes: are, reason, what, since, lastHeld, readOnlyMs: readOnly?.ms ?? null, walls: looks },
      ...(guards.length > 0 ? { guards } : {}),
      ...(writes.length > 0 ? { writes } : {}),
      phase: state.phase,
      reached: state.reached,
      since: state.window.since,
      until: state.window.until,
      by: state.window.by,
      reason: state.window.reason,
      failures: [...state.failures.values()],
    },
  };
}

/** No window in this state. That writes are possible is said only where the flag was asked. */
function noneView(seen: SeenNone, failOn: StatusOptions['failOn']): StatusView {
  const { exit, first, next } = withoutWindow(seen, failOn);
  const more = seen.holders
    .slice(1)
    .map(({ step, id, until }) => `${step} also holds ${id} until ${utc(until, { seconds: false })}`);
  const details = [...more, ...seen.elsewhere];
  return {
    exit,
    over: true,
    lines: [first, ...details.map((line) => `  ${line}`), nextLine(...next)],
    json: {
      ok: exit === EXIT.DONE,
      exit,
      environment: seen.environment ?? null,
      window: null,
      label: 'none',
      lines: [first, ...details],
      next,
      asked: seen.asked,
      holders: seen.holders.map(({ step, id, since, until, reason }) => ({ step, id, since, until, reason })),
      notAsked: seen.notAsked,
    },
  };
}

function withoutWindow(
  { environment, meant, holders, notAsked, left, last }: SeenNone,
  failOn: StatusOptions['failOn'],
): { exit: ExitCode; first: string; next: Next[] } {
  const start = maint('start', { window: '30m' });
  const again = maint('status', {}, 'looks again');
  const env = environment ?? 'this environment';
  const mine = holders.find(({ id }) => id === last);
  const holder = mine ?? holders[0];
  if (holder) {
    const { id, step, since, until, reason } = holder;
    const which = `${step} still holds ${id}, ${span(since, until)}, "${reason}"`;
    const remove = maint('end', { holder: id, reason: blank('…') }, 'takes it out');
    if (mine)
      return { exit: EXIT.HUMAN, first: `${env} is STILL READ-ONLY: its window is over, but ${which}`, next: [remove] };
    const ask = there(maint('end', {}, 'where it was started'));
    const first = `${env} has no window in this state, but ${which}: writes are refused, and this state does not know that window`;
    return { exit: EXIT.OPEN, first, next: [ask, because(remove, 'nobody will ever end it?')] };
  }
  if (left) {
    const is = left.writes === 'refused' ? `is STILL READ-ONLY: ${left.what}` : `may still be read-only: ${left.what}`;
    const first = `${env} ${is} · a wall of ${left.window} was given up`;
    return { exit: EXIT.HUMAN, first, next: [again, maint('end', { holder: left.window, reason: blank('…') })] };
  }
  const none = environment ? `${environment} has no open window` : 'No window is open';
  const [unasked] = notAsked;
  if (!unasked) return { exit: EXIT.DONE, first: `${none}.`, next: [...didYouMean('status', meant), start] };
  const exit = failOn === 'unknown' ? EXIT.HUMAN : EXIT.DONE;
  const first = `${none}; whether somebody else refuses writes was not asked: ${unasked.step}: ${unasked.why}`;
  return { exit, first, next: [...didYouMean('status', meant), again, start] };
}
