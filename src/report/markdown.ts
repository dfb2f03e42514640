// The report as Markdown: for the ticket, the wiki, the review of the night. The first page is for who was not there;
// details follow. Tables are narrow, and no cell holds JSON.
import { count, lasting, utc } from '../engine/words.ts';
import { fenced, list, type Row, section, table, text } from './markup.ts';
import type { Promised } from './promises.ts';
import type { Report, ReportedBreach, ReportedChange } from './report.ts';
import { changeWords, namesOf, stateWords } from './state-words.ts';

/** `full`: every change with its fields, every line of the timeline, the evidence of every check. */
export function markdown(report: Report, options: { full?: boolean } = {}): string {
  const full = options.full === true;
  const clock = clockOf(report);
  return [
    ...head(report),
    ...list(report.promises.map((promised) => promiseLine(promised, clock))),
    ...when(report, clock),
    ...who(report, clock),
    ...lookAt(report),
    '',
    '---',
    ...notices(report, full, clock),
    ...changed(report, full, clock),
    ...wrong(report, full, clock),
    ...done(report, full, clock),
    ...checks(report, full, clock),
    ...timeline(report, full, clock),
    ...(full
      ? []
      : ['', `Every change, every line of the timeline and the evidence: \`maint report ${report.window} --full\`.`]),
    '',
  ].join('\n');
}

type Clock = (time: string) => string;

/** The first page stays one page. */
const LOOK_MAX = 20;

/** Only the clock on the day of the window; the day stands above. */
function clockOf({ times }: Report): Clock {
  const today = Date.parse(times.actual.opened);
  return (time) => utc(time, { today });
}

function head(report: Report): string[] {
  const { environment, window, reason, ticket, readOnly, times, outcome, handed } = report;
  const readOnlyFor = readOnly
    ? `read-only for ${lasting(readOnly.ms)} (planned ${lasting(times.planned.ms)})`
    : 'never read-only';
  const things = report.look.length > 0 ? `**${count(report.look.length, 'thing')} to look at.**` : restored(report);
  return [
    `# ${text(environment)}: read-only window ${window}`,
    '',
    `**${text(reason)}**${ticket ? ` (${text(ticket)})` : ''}, ${times.actual.opened.slice(0, 10)} UTC: ${outcome}, ${readOnlyFor}. ${things}`,
    ...(handed
      ? [
          '',
          `${text(handed.by)} handed it over to ${text(handed.to)} at ${handed.at}: what happened since then is known there.`,
        ]
      : []),
    '',
  ];
}

function restored({ times, leftovers }: Report): string {
  if (!times.actual.ended) return 'Not over yet.';
  return leftovers.length > 0 ? 'Not everything is restored.' : 'Everything is restored.';
}

const TITLES: Readonly<Record<Promised['promise'], string>> = {
  'writes are refused': 'Writes are refused',
  'nothing is written': 'Nothing is written',
  'reads are fine': 'Reads are fine',
  'people are told': 'People are told',
  'retrieval is as before': 'Retrieval is as before',
};

function promiseLine({ promise, verdict, only, seen, until, evidence }: Promised, clock: Clock): string {
  const parts = [
    `${TITLES[promise]}: **${verdict}${only === null ? '' : `, ${only}`}**`,
    text(seen),
    ...(until === null ? [] : [`*evidence until ${clock(until)} (${evidence})*`]),
  ];
  return parts.join(' · ');
}

function when(report: Report, clock: Clock): string[] {
  const { planned, actual, extended, overrunMs } = report.times;
  const [first, last] = [report.readOnly?.periods[0], report.readOnly?.periods.at(-1)];
  const promised = extended.at(-1)?.until ?? planned.until;
  return [
    '',
    '## When',
    '',
    ...table(
      ['', 'planned', 'actual'],
      [
        ['opens', clock(planned.since), report.outcome === 'scheduled' ? 'not yet' : clock(actual.opened)],
        ['writes refused', '', first ? clock(first.from) : 'never'],
        [
          'writes work again',
          promised === planned.until ? clock(planned.until) : `${clock(planned.until)}, then ${clock(promised)}`,
          last ? (last.to === null ? 'not yet' : clock(last.to)) : '',
        ],
        ['over', '', actual.ended ? clock(actual.ended) : 'not yet'],
        ['read-only for', lasting(planned.ms), report.readOnly ? lasting(report.readOnly.ms) : 'not at all'],
      ],
    ),
    '',
    ...list([
      ...periods(report, clock),
      ...report.breaches.map((breach) => breachLine(breach, clock)),
      ...extended.map(({ at, until, by }) => `Extended at ${clock(at)} until ${clock(until)} by ${text(by)}.`),
      ...(overrunMs > 0 ? [`Past the promised end by ${lasting(overrunMs)}.`] : []),
      ...budget(report),
    ]),
  ];
}

function periods({ readOnly }: Report, clock: Clock): string[] {
  if (!readOnly) return ['No wall was closed: writes were never refused.'];
  return readOnly.periods.map(
    ({ from, to, ms, fromIs, toIs }) =>
      `Read-only ${clock(from)} to ${to === null ? 'now' : clock(to)}, ${lasting(ms)}. Begin: ${fromIs}. End: ${toIs}.`,
  );
}

function breachLine({ step, from, found, closedAgain, ms, expired }: ReportedBreach, clock: Clock): string {
  const possible = `**Writes were possible for up to ${lasting(ms)}**`;
  if (expired)
    return `${possible}: past the end of the window the guards opened (on_expiry: open), from ${clock(from)}.`;
  const seen = `somebody opened ${text(step)} after ${clock(from)}, seen at ${clock(found)}`;
  return `${possible}: ${seen}${closedAgain === null ? ', not closed again' : `, closed again at ${clock(closedAgain)}`}.`;
}

function budget({ budget: { budgetMs, tookMs, overMs, steps } }: Report): string[] {
  if (tookMs === null) return [];
  const slowest = steps.slice(0, 3).map((one) => `${one.step} ${lasting(one.ms)}`);
  return [
    overMs === 0
      ? `The start took ${lasting(tookMs)} of ${lasting(budgetMs)}.`
      : `The start took ${lasting(tookMs)}, ${lasting(overMs)} over its budget of ${lasting(budgetMs)}: ${slowest.join(', ')}.`,
  ];
}

function who(report: Report, clock: Clock): string[] {
  const { contact, statusPage, rollbackPlan, runbook, maint } = report;
  const acts = (runs: Report['runs']) =>
    runs.map(
      ({ verb, began, exit }) =>
        `${verb} ${clock(began)}${exit === null ? ' (was cut off)' : exit === 0 ? '' : ` (exit ${exit})`}`,
    );
  return [
    '',
    '## Who',
    '',
    ...list([
      ...[...Map.groupBy(report.runs, ({ by }) => by)].map(([by, runs]) => `${text(by)}: ${acts(runs).join(', ')}`),
      `Contact: ${text(contact)}${statusPage ? `, status page ${text(statusPage)}` : ''}${rollbackPlan ? `, rollback plan ${text(rollbackPlan)}` : ''}`,
      `Runbook: ${text(runbook.name)} (${text(runbook.path)}), maint ${maint}`,
    ]),
  ];
}

function lookAt({ look }: Report): string[] {
  return ['', '## Things to look at', '', ...(look.length === 0 ? ['Nothing.'] : list(lookLines(look)))];
}

/** "step thing  what": two spaces stand between the columns of a terminal. */
function lookLines(look: readonly string[]): string[] {
  const lines = look.slice(0, LOOK_MAX).map((line) => text(line.replace(/ {2,}/, ': ')));
  const more = look.length - lines.length;
  return more > 0 ? [...lines, `and ${count(more, 'more', 'more')} (--format json has them all)`] : lines;
}

function notices({ notices: all }: Report, full: boolean, clock: Clock): string[] {
  return section('Notices', ['what', 'step', 'planned', 'told'], all, full, (one) => [
    one.what,
    one.step,
    one.planned === null ? '' : clock(one.planned),
    one.told === null ? `not told: ${one.failed ?? 'not yet'}` : clock(one.told),
  ]);
}

function changed(report: Report, full: boolean, clock: Clock): string[] {
  if (full)
    return section('Every change', ['at', 'step', 'what', 'change'], report.changes, full, (one) => [
      clock(one.at),
      one.step,
      one.id,
      `${changeWords(one.before, one.after)}${one.outcome === 'written' ? '' : ` (${one.outcome})`}`,
    ]);
  const steps = [...Map.groupBy(report.changes, ({ step }) => step)];
  return section('What was changed', ['step', 'changes', 'what'], steps, full, ([step, all]) => [
    step,
    countOf(all),
    namesOf(all.map(({ id }) => id)),
  ]);
}

function countOf(all: readonly ReportedChange[]): string {
  const unknown = all.filter(({ outcome }) => outcome === 'unknown').length;
  const not = all.filter(({ outcome }) => outcome === 'not written').length;
  return [
    String(all.length - not - unknown),
    ...(not > 0 ? [`${not} not written`] : []),
    ...(unknown > 0 ? [`${unknown} unknown`] : []),
  ].join(', ');
}

function wrong(report: Report, full: boolean, clock: Clock): string[] {
  return [
    ...section('Not restored', ['step', 'what', 'before', 'why'], report.leftovers, full, (one) => [
      one.step,
      one.id,
      stateWords(one.before),
      one.why,
    ]),
    ...section('Changed by somebody else', ['at', 'step', 'what', 'how'], report.drift, full, (one) => [
      clock(one.at),
      one.step,
      one.id,
      one.gone ? 'removed' : changeWords(one.ours, one.now),
    ]),
    ...section('Failures', ['at', 'step', 'on the way to', 'what'], report.failures, full, (one) => [
      clock(one.at),
      one.step,
      one.phase,
      `${one.code} ${one.message}${one.ids.length > 0 ? ` (${namesOf(one.ids)})` : ''}`,
    ]),
  ];
}

function done(report: Report, full: boolean, clock: Clock): string[] {
  return [
    ...section('Backfill', ['at', 'applied', 'dead', 'left'], report.backfills, full, (one) => [
      `${clock(one.at)} ${one.step}`,
      `${one.applied}${one.alreadyApplied > 0 ? `, ${one.alreadyApplied} of them were there already` : ''}`,
      String(one.dead),
      `${one.left < 0 ? 'unknown' : one.left}${one.stopped ? `: ${one.stopped}` : ''}`,
    ]),
    ...section('Actions', ['at', 'step', 'edge', 'what'], report.actions, full, (one) => [
      clock(one.at),
      one.step,
      one.edge,
      [one.state, ...one.summary].join(' · '),
    ]),
  ];
}

function checks(report: Report, full: boolean, clock: Clock): string[] {
  const rows = section('Checks', ['at', 'step', 'moment', 'outcome'], report.checks, full, (one) => [
    clock(one.at),
    one.step,
    one.moment,
    [`${one.outcome}: ${one.summary}`, ...one.findings].join(' · '),
  ]);
  if (!full) return rows;
  return [
    ...rows,
    ...report.checks.flatMap((one) => {
      const evidence = JSON.stringify(one.evidence, null, 2);
      if (evidence === undefined || evidence === 'null') return [];
      return ['', `### Evidence of ${text(one.step)}, ${one.moment}, ${clock(one.at)}`, '', ...fenced(evidence)];
    }),
  ];
}

const TIME = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g;

function timeline(report: Report, full: boolean, clock: Clock): string[] {
  const shown = report.timeline.filter(({ minor }) => full || minor !== true);
  const row = ({ at, step, what, by }: Report['timeline'][number]): Row => [
    clock(at),
    step ?? '',
    `${what.replaceAll(TIME, clock)}${by === undefined ? '' : `, by ${by}`}`,
  ];
  return section('Timeline', ['at', 'step', 'what'], shown, full, row);
}
