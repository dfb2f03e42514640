// The five promises of a read-only window, each with its verdict: the first page of the report. Pure.
import type { WindowState } from '../engine/window.ts';
import { count, lasting, utc } from '../engine/words.ts';
import type { Notice } from './notices.ts';
import type { Report, ReportedCheck } from './report.ts';

export type Verdict = 'kept' | 'broken' | 'not measured';

export interface Promised {
  promise: (typeof PROMISES)[number];
  verdict: Verdict;
  /** it holds for a part of the window only: "soak only", "so far"; null: for all of it */
  only: string | null;
  /** what was seen, in words and numbers */
  seen: string;
  /** RFC 3339: the last moment that there is evidence for; null: none */
  until: string | null;
  /** what that evidence is; null: none */
  evidence: string | null;
}

export const PROMISES = [
  'writes are refused',
  'nothing is written',
  'reads are fine',
  'people are told',
  'retrieval is as before',
] as const;

/** What the report must know of a step of the runbook: the window stores its text. */
export interface ReportedStep {
  id: string;
  uses: string;
  /** what its checks show; people: it tells them */
  shows?: 'refused' | 'unwritten' | 'reads' | 'people' | undefined;
  skipped?: string | undefined;
}

type Evidence = Pick<Report, 'checks' | 'readOnly' | 'breaches' | 'notices'> & { steps: readonly ReportedStep[] };

const UNREAD = 'this release cannot read the runbook of this window: which check shows what is not known';
type Told = Omit<Promised, 'promise'>;

/** `steps` undefined: the runbook that the window was opened with cannot be read. */
export function promisesOf(
  state: WindowState,
  seen: Omit<Evidence, 'steps'> & { steps: readonly ReportedStep[] | undefined },
): Promised[] {
  const { steps } = seen;
  const unread = notMeasured(UNREAD);
  const told = steps ? toldOf(state, { ...seen, steps }) : [unread, unread, unread, unread, unread];
  return PROMISES.map((promise, at) => ({ promise, ...told[at]! }));
}

/** In the order of PROMISES. */
function toldOf(state: WindowState, report: Evidence): Told[] {
  return [
    refused(state, report),
    unwritten(state, report),
    reads(state, report),
    people(state, report),
    notMeasured('nothing measures it yet'),
  ];
}

function notMeasured(seen: string): Told {
  return { verdict: 'not measured', only: null, seen, until: null, evidence: null };
}

function over(state: WindowState): boolean {
  return state.phase === 'closed' || state.phase === 'aborted';
}

function showing(report: Evidence, shows: ReportedStep['shows']): string[] {
  return report.steps.filter((step) => step.shows === shows && step.skipped === undefined).map(({ id }) => id);
}

/** Within a time in which writes were refused. */
function whileClosed({ readOnly }: Evidence, at: string): boolean {
  return readOnly?.periods.some(({ from, to }) => at >= from && (to === null || at <= to)) ?? false;
}

function latest(checks: readonly ReportedCheck[], step: string, moments: readonly string[]): ReportedCheck | undefined {
  return checks.findLast((one) => one.step === step && moments.includes(one.moment));
}

/** Canaries that the service took: a write went through. */
function accepted({ checks }: Evidence): string[] {
  const names = checks.flatMap(({ evidence }) => {
    const { surfaces } = (evidence ?? {}) as { surfaces?: unknown };
    if (typeof surfaces !== 'object' || surfaces === null) return [];
    return Object.entries(surfaces as Record<string, { wrote?: unknown }>)
      .filter(([, seen]) => seen?.wrote === true)
      .map(([name]) => name);
  });
  return [...new Set(names)];
}

function refused(state: WindowState, report: Evidence): Told {
  const { readOnly, checks } = report;
  if (!readOnly) return notMeasured(unwalled(state));
  const steps = showing(report, 'refused');
  const asked = steps.map((step) => latest(checks, step, ['open'])).filter((one) => one !== undefined);
  const later = checks.filter(
    ({ step, moment, at }) => steps.includes(step) && moment === 'now' && whileClosed(report, at),
  );
  const end = lastRefusal(report, [...asked, ...later]);
  const opened = report.breaches.filter(({ expired }) => !expired);
  const possible = opened.reduce((sum, { ms }) => sum + ms, 0);
  const wrong = [
    ...opened.slice(0, 1).map(() => `writes were possible for up to ${lasting(possible)}: somebody opened a wall`),
    ...accepted(report).map((name) => `the service took a write of ${name}`),
    ...[...asked, ...later]
      .filter(({ outcome }) => outcome === 'fail')
      .map(({ step, summary }) => `${step}: ${summary}`),
  ];
  if (wrong.length > 0) return { verdict: 'broken', only: null, seen: wrong.join(' · '), ...end };
  const passed = asked.filter(({ outcome }) => outcome === 'pass');
  const refusedFor = `refused for ${lasting(readOnly.ms)}`;
  if (steps.length === 0)
    return notMeasured(`the walls were closed for ${lasting(readOnly.ms)}, but nobody tried to write`);
  if (passed.length === 0) {
    const why = asked[0] ? `${asked[0].step}: ${asked[0].summary}` : 'nobody has tried to write yet';
    return notMeasured(`the walls were closed for ${lasting(readOnly.ms)}; ${why}`);
  }
  const seen = [refusedFor, ...passed.map(({ summary }) => summary)].join(' · ');
  return { verdict: 'kept', only: readOnly.periods.at(-1)!.to === null ? 'so far' : null, seen, ...end };
}

function unwalled(state: WindowState): string {
  if (state.phase === 'announced') return 'the window has not begun';
  return 'no wall was closed: writes were not refused';
}

/** What a guard counted last, else the last question. */
function lastRefusal(report: Evidence, asked: readonly ReportedCheck[]): Pick<Told, 'until' | 'evidence'> {
  const counted = report.checks
    .flatMap(({ evidence }) => {
      const { lastRefusedAt } = (evidence ?? {}) as { lastRefusedAt?: unknown };
      return typeof lastRefusedAt === 'string' ? [lastRefusedAt] : [];
    })
    .filter((at) => whileClosed(report, at))
    .sort()
    .at(-1);
  const last = asked
    .map(({ at }) => at)
    .sort()
    .at(-1);
  if (counted !== undefined && (last === undefined || counted > last))
    return { until: counted, evidence: 'the last write that a guard refused' };
  return last === undefined ? { until: null, evidence: null } : { until: last, evidence: 'the last try to write' };
}

function unwritten(state: WindowState, report: Evidence): Told {
  const steps = showing(report, 'unwritten');
  const { checks } = report;
  const all = steps.map((step) => latest(checks, step, ['audit']) ?? latest(checks, step, ['reopen']));
  const opened = steps.map((step) => latest(checks, step, ['open'])).filter((one) => one !== undefined);
  const now = checks.filter(
    ({ step, moment, at }) => steps.includes(step) && moment === 'now' && whileClosed(report, at),
  );
  const seen = all.filter((one) => one !== undefined);
  const end = endOf([...seen, ...now, ...opened]);
  const wrong = [
    ...accepted(report).map((name) => `the service took a write of ${name}`),
    ...opened.flatMap(({ step, looks }) => (looks ?? []).map((look) => `${step}: ${look}`)),
    ...[...seen, ...now].filter(({ outcome }) => outcome === 'fail').map(({ step, summary }) => `${step}: ${summary}`),
  ];
  if (wrong.length > 0) return { verdict: 'broken', only: null, seen: wrong.join(' · '), ...end };
  if (steps.length === 0) return notMeasured('nothing watches a store (add no-writes/postgres, redis or sqlite)');
  const doubt = [...seen, ...opened].find(({ outcome }) => outcome !== 'pass');
  if (doubt) return { ...notMeasured(`${doubt.step}: ${doubt.summary}`), ...end };
  const told = (seen.length > 0 ? seen : opened).map(({ step, summary }) => `${step}: ${summary}`).join(' · ');
  if (all.every((one) => one !== undefined)) return { verdict: 'kept', only: null, seen: told, ...end };
  if (opened.length === 0) return notMeasured('nobody has looked yet');
  if (over(state)) return { ...notMeasured(`watched at the beginning only: ${told}`), ...end };
  return { verdict: 'kept', only: 'so far', seen: told, ...end };
}

const LOOKED: Readonly<Record<string, string>> = {
  open: 'the watch after the walls closed',
  now: 'the last look of maint verify',
  reopen: 'the last look before the walls opened',
  audit: 'the audit',
};

/** The look with the newest evidence; a look says itself until when it could tell. */
function endOf(checks: readonly ReportedCheck[]): Pick<Told, 'until' | 'evidence'> {
  const times = checks.map(({ at, moment, evidence }) => {
    const said = (evidence as { at?: unknown } | null)?.at;
    return { until: typeof said === 'string' ? said : at, evidence: LOOKED[moment] ?? moment };
  });
  return times.sort((a, b) => (a.until < b.until ? -1 : 1)).at(-1) ?? { until: null, evidence: null };
}

function reads(state: WindowState, report: Evidence): Told {
  const steps = showing(report, 'reads');
  if (steps.length === 0) return notMeasured('nothing watched reads (add soak/http)');
  const soaked = steps.map((step) => latest(report.checks, step, ['soaking'])).filter((one) => one !== undefined);
  if (soaked.length === 0)
    return notMeasured(over(state) ? 'there was no soak' : 'the soak after the window will watch them');
  const seen = soaked.map(({ step, summary }) => `${step}: ${summary}`).join(' · ');
  const end = {
    until: soaked
      .map(({ at }) => at)
      .sort()
      .at(-1)!,
    evidence: 'the soak',
  };
  if (soaked.some(({ outcome }) => outcome === 'fail')) return { verdict: 'broken', only: 'soak only', seen, ...end };
  if (soaked.some(({ outcome }) => outcome !== 'pass')) return { ...notMeasured(seen), ...end };
  return { verdict: 'kept', only: 'soak only', seen, ...end };
}

function people(state: WindowState, { notices, ...report }: Evidence): Told {
  const steps = showing({ notices, ...report }, 'people');
  if (steps.length === 0) return notMeasured('this window tells nobody (add a notice)');
  const sent = notices.filter(({ told }) => told !== null);
  const last = sent
    .map(({ told }) => told!)
    .sort()
    .at(-1);
  const end = { until: last ?? null, evidence: last ? 'the last notice that was out' : null };
  const failed = notices.filter(({ told, failed: why }) => told === null && why !== null);
  // a start that was undone before any wall closed had nothing to tell
  const due = report.readOnly !== null || state.phase === 'announced';
  const silent = steps.filter((step) => due && !sent.some((one) => one.step === step));
  const unended = state.phase === 'closed' && state.reached ? steps.filter((step) => !ended(sent, step)) : [];
  const wrong = [
    ...failed.map(({ step, what, failed: why }) => `${step} did not tell "${what}": ${why}`),
    ...silent.filter((step) => !failed.some((one) => one.step === step)).map((step) => `${step} told nobody`),
    ...unended.filter((step) => !silent.includes(step)).map((step) => `${step} did not tell that it is over`),
  ];
  if (wrong.length > 0) return { verdict: 'broken', only: null, seen: wrong.join(' · '), ...end };
  if (sent.length === 0) return notMeasured('there was nothing to tell');
  const slowest = Math.max(...sent.map(({ happened, told }) => Date.parse(told!) - Date.parse(happened)));
  return {
    verdict: 'kept',
    only: over(state) ? null : 'so far',
    seen: `${count(sent.length, 'notice')} out, the first at ${utc(sent[0]!.told!)}, each within ${lasting(slowest)}`,
    ...end,
  };
}

function ended(sent: readonly Notice[], step: string): boolean {
  return sent.some((one) => one.step === step && one.what === 'over');
}
