// The plan as people read it before they type the environment's name.
import { type Plan, type PlannedStep, unasked } from '../engine/plan.ts';
import type { Asking, Prepared } from '../engine/verbs/result.ts';
import { count, lasting, span } from '../engine/words.ts';
import { clean, near, pad, width } from './layout.ts';
import { idWidth } from './lines.ts';

/** One long path must not push the changes of all steps off the screen. */
const WHAT_MAX = 36;

/** More are not read before a prompt. */
const ITEMS_MAX = 10;
const ITEMS_FIRST = 5;

/** `full`: every thing that would change, however many there are. */
export function planLines(plan: Plan, more: { full?: boolean } = {}): string[] {
  const ids = idWidth(
    0,
    plan.steps.map((step) => step.id),
  );
  const whats = Math.max(0, ...plan.steps.map((step) => Math.min(WHAT_MAX, width(what(step)))));
  return plan.steps.flatMap((step) => [
    `  ${pad(step.id, ids)}  ${pad(what(step), whats)}   ${sign(step)} ${text(step, plan.phases)}`,
    ...items(step.items ?? [], more.full === true).map((item) => `  ${pad('', ids)}    ${item}`),
  ]);
}

function items(all: readonly string[], full: boolean): string[] {
  const few = full || all.length <= ITEMS_MAX;
  const shown = all.slice(0, few ? all.length : ITEMS_FIRST).map(clean);
  return few ? shown : [...shown, `… and ${all.length - ITEMS_FIRST} more (--full lists all)`];
}

/** `flag/file read-only.json`: the plugin, and the thing itself without saying the backend twice. */
function what(step: PlannedStep): string {
  const { uses, address } = step;
  const backend = `${uses.slice(uses.lastIndexOf('/') + 1)} `;
  const thing = address.startsWith(uses) ? address.slice(uses.length) : address;
  return near(clean(`${uses} ${(thing.startsWith(backend) ? thing.slice(backend.length) : thing).trim()}`.trim()));
}

function sign(step: PlannedStep): string {
  if (step.verdict === 'skipped') return '-';
  if (step.refusal || step.missing.length > 0 || step.unusable) return '✘';
  if (step.verdict === 'cannot tell' || step.verdict === 'later') return '?';
  if (step.verdict === 'runs') return '!';
  if (step.verdict === 'in sync') return '=';
  if (step.changes.some((change) => change.from === null)) return '+';
  return step.changes.every((change) => change.to === null) ? '-' : '~';
}

function text(step: PlannedStep, phases: Plan['phases']): string {
  if (step.skipped) return `skipped: ${clean(step.skipped)}`;
  const edges = step.kind === 'action' && step.notes.length === 0 && phases[0] === 'open' ? ['now and at the end'] : [];
  const notes = [...edges, ...step.notes];
  const words = [
    ...notes,
    ...step.missing.map((right) => `permission missing: ${right}`),
    ...(step.unusable ?? []).filter((one) => !notes.includes(one)),
  ]
    .map(clean)
    .filter((note) => note !== '');
  return words.join(' · ') || step.verdict;
}

/** The header, the plan, and what can be said of it, before the question. `local`: on a terminal, with its own time zone. */
export function askingLines(prepared: Prepared, asking: Asking, local: boolean, full = false): string[] {
  const { window, plan } = asking;
  const leaves = new Set(
    prepared.steps.flatMap((step) =>
      step.plugin.kind === 'check' || !step.plugin.leaves || step.skipped ? [] : [step.plugin.leaves],
    ),
  );
  const head = [prepared.environment, prepared.name, prepared.path]
    .filter((word) => word !== '')
    .map((word) => near(clean(word)));
  const address = near(asking.address);
  return [
    `${head.join(' · ')} · read-only ${span(window.since, window.until)}${local ? here(window.since, window.until) : ''}`,
    asking.shared
      ? `State: ${address}; everybody with access to it can end this window.`
      : `State: this laptop only (${address}); nobody else can end this window.`,
    ...(asking.changed ? ['The plan has changed since it was shown:'] : []),
    ...planLines(plan, { full }),
    ...(asking.startMs > prepared.budgetMs
      ? [`The checklist takes about ${lasting(asking.startMs)}: more than its budget of ${lasting(prepared.budgetMs)}.`]
      : []),
    ...asking.warnings,
    [
      count(plan.changes, 'change'),
      ...(plan.changes > 0
        ? [`all reversible${leaves.size > 0 ? ` (leaves behind: ${[...leaves].join(', ')})` : ''}`]
        : []),
      ...permissions(plan),
      `way back about ${lasting(asking.backMs)}. Nothing changed yet.`,
    ].join(', '),
  ];
}

/** What nobody could be asked is not ok. */
function permissions(plan: Plan): string[] {
  const lacking = plan.steps.filter((step) => step.missing.length > 0).length;
  const deaf = unasked(plan);
  const asked = lacking === 0 ? 'permissions ok' : `this account lacks permissions for ${count(lacking, 'step')}`;
  const not = `not asked of ${deaf.join(', ')}`;
  if (deaf.length === 0) return [asked];
  return lacking === 0 ? [`permissions ${not}`] : [asked, not];
}

/** The same in the time zone of this terminal, where it is another one. */
function here(from: string, to: string): string {
  const format = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
  const local = `${format.format(new Date(from))}–${format.format(new Date(to))}`;
  const utc = `${from.slice(11, 16)}–${to.slice(11, 16)}`;
  return local === utc ? '' : ` (${local} here)`;
}
