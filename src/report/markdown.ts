// The report as Markdown: for the ticket, the wiki, the review of the night.
import { count, lasting, utc } from '../engine/words.ts';
import { type Report, thingsToLookAt } from './report.ts';

export function markdown(report: Report): string {
  const { times } = report;
  const today = Date.parse(times.actual.opened);
  const clock = (time: string) => utc(time, { today });
  return [
    `# Read-only window ${report.window}: ${report.environment}`,
    '',
    `**${plain(report.reason)}**${report.ticket ? ` (${plain(report.ticket)})` : ''}: ${report.outcome}. ${attention(report)}`,
    '',
    ...table(
      ['', 'planned', 'actual'],
      [
        ['opened', times.planned.since, times.actual.opened],
        ['writes refused', '', times.actual.wallsClosed ?? 'never'],
        ['writes work again', times.planned.until, times.actual.wallsOpen ?? (report.readOnly ? 'not yet' : '')],
        ['over', '', times.actual.ended ?? 'not yet'],
        ['read-only for', lasting(times.planned.ms), report.readOnly ? lasting(report.readOnly.ms) : 'not at all'],
      ],
    ),
    '',
    ...readOnly(report),
    ...times.extended.map(({ at, until, by }) => `- Extended at ${clock(at)} until ${clock(until)} by ${plain(by)}.`),
    ...(times.overrunMs > 0 ? [`- Past the promised end by ${lasting(times.overrunMs)}.`] : []),
    ...budget(report),
    `- Runbook ${plain(report.runbook.name)} (\`${report.runbook.path}\`), maint ${report.maint}. Contact ${plain(report.contact)}${report.statusPage ? `, status page ${report.statusPage}` : ''}${report.rollbackPlan ? `, rollback plan ${report.rollbackPlan}` : ''}.`,
    ...section('Who did what', ['run', 'by', 'from', 'to', 'exit'], report.runs, (run) => [
      `maint ${run.verb}`,
      run.by,
      clock(run.began),
      run.ended ? clock(run.ended) : 'did not say',
      run.exit === null ? '' : String(run.exit),
    ]),
    ...section('Not as it was', ['step', 'what', 'before', 'why'], report.leftovers, (one) => [
      one.step,
      one.id,
      json(one.before),
      one.why,
    ]),
    ...section('Changed by somebody else', ['at', 'step', 'what', 'ours', 'found'], report.drift, (one) => [
      clock(one.at),
      one.step,
      one.id,
      json(one.ours),
      one.gone ? 'gone' : json(one.now),
    ]),
    ...section('Failures', ['at', 'step', 'on the way to', 'what'], report.failures, (one) => [
      clock(one.at),
      one.step,
      one.phase,
      `${one.code} ${one.message}${one.ids.length > 0 ? ` (${one.ids.join(', ')})` : ''}`,
    ]),
    ...section('Timeline', ['at', 'step', 'what', 'by'], report.timeline, (one) => [
      clock(one.at),
      one.step ?? '',
      one.what,
      one.by ?? '',
    ]),
    ...section('Changes', ['at', 'step', 'what', 'on the way to', 'before', 'after', ''], report.changes, (one) => [
      clock(one.at),
      one.step,
      one.id,
      one.phase,
      json(one.before),
      json(one.after),
      one.outcome === 'written' ? '' : one.outcome,
    ]),
    ...section(
      'Backfill',
      ['at', 'step', 'applied', 'already applied', 'dead', 'left', 'stopped'],
      report.backfills,
      (one) => [
        clock(one.at),
        one.step,
        String(one.applied),
        String(one.alreadyApplied),
        String(one.dead),
        one.left < 0 ? 'unknown' : String(one.left),
        one.stopped ?? '',
      ],
    ),
    ...section('Actions', ['at', 'step', 'edge', 'outcome', 'what'], report.actions, (one) => [
      clock(one.at),
      one.step,
      one.edge,
      one.state,
      one.summary.join(' · '),
    ]),
    ...checks(report, clock),
    '',
  ].join('\n');
}

function attention(report: Report): string {
  const things = thingsToLookAt(report);
  if (things > 0) return `${count(things, 'thing')} to look at.`;
  return report.times.actual.ended ? 'Everything is as it was before.' : 'Not over yet.';
}

function readOnly(report: Report): string[] {
  if (!report.readOnly) return ['- No wall was closed: writes were never refused.'];
  return report.readOnly.periods.map((period) => {
    const to = period.to === null ? 'now' : period.to;
    return `- Read-only time ${lasting(period.ms)}: from ${period.from} (${period.fromIs}) to ${to} (${period.toIs}).${
      report.readOnly!.measured || period.to === null ? '' : ' Not measured at the service on both ends.'
    }`;
  });
}

function budget({ budget: { budgetMs, tookMs, overMs, steps } }: Report): string[] {
  if (tookMs === null) return [];
  const slowest = steps.slice(0, 3).map((one) => `${one.step} ${lasting(one.ms)}`);
  return [
    overMs === 0
      ? `- The start took ${lasting(tookMs)} of ${lasting(budgetMs)}.`
      : `- The start took ${lasting(tookMs)}, ${lasting(overMs)} over its budget of ${lasting(budgetMs)}: ${slowest.join(', ')}.`,
  ];
}

function checks(report: Report, clock: (time: string) => string): string[] {
  if (report.checks.length === 0) return [];
  const lines = ['', '## Checks and their evidence'];
  for (const one of report.checks) {
    lines.push('', `### ${one.step}, ${one.moment}: ${one.outcome}`, '', `${clock(one.at)} ${plain(one.summary)}`);
    if (one.findings.length > 0) lines.push('', ...one.findings.map((finding) => `- ${plain(finding)}`));
    const evidence = JSON.stringify(one.evidence, null, 2);
    if (evidence !== undefined && evidence !== 'null') lines.push('', ...fenced(evidence));
  }
  return lines;
}

const LONG = 4000;

/** A fence that the text cannot close. */
function fenced(text: string): string[] {
  const shown =
    text.length > LONG ? `${text.slice(0, LONG)}\n… (${text.length} characters; all of it with --format json)` : text;
  const longest = Math.max(2, ...[...shown.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const fence = '`'.repeat(longest + 1);
  return [`${fence}json`, shown, fence];
}

function section<T>(title: string, head: string[], rows: readonly T[], row: (one: T) => Cell[]): string[] {
  return rows.length === 0 ? [] : ['', `## ${title}`, '', ...table(head, rows.map(row))];
}

function table(head: readonly string[], rows: readonly (readonly Cell[])[]): string[] {
  const line = (cells: readonly Cell[]) => `| ${cells.map(cell).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)];
}

/** Words, or Markdown that is made here. */
type Cell = string | { code: string };

function cell(text: Cell): string {
  return typeof text === 'string' ? plain(text) || ' ' : text.code;
}

function json(state: unknown): Cell {
  if (state === null) return 'not there';
  const text = JSON.stringify(state);
  const longest = Math.max(0, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const fence = '`'.repeat(longest + 1);
  const space = longest > 0 ? ' ' : '';
  return { code: `${fence}${space}${text.replaceAll('|', '\\|')}${space}${fence}` };
}

/** Words of people and of services: nothing in them may become markup. */
function plain(text: string): string {
  return text
    .replace(/[\\`*[\]<>|]|~(?=~)|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])/g, '\\$&')
    .replace(/\s+/g, ' ')
    .trim();
}
