// The plan as people read it before they type the environment's name.
import type { Plan, PlannedStep } from '../engine/plan.ts';
import type { Asking, Prepared } from '../engine/verbs/result.ts';
import { count, lasting, span } from '../engine/words.ts';

export function planLines(plan: Plan): string[] {
  const ids = Math.max(4, ...plan.steps.map((step) => step.id.length));
  const names = Math.max(4, ...plan.steps.map((step) => what(step).length));
  return plan.steps.map((step) => `  ${step.id.padEnd(ids)}  ${what(step).padEnd(names)}  ${sign(step)} ${text(step)}`);
}

function what(step: PlannedStep): string {
  return step.address.startsWith(step.uses) ? step.address : `${step.uses} ${step.address}`;
}

function sign(step: PlannedStep): string {
  if (step.verdict === 'skipped') return '-';
  if (step.refusal || step.missing.length > 0) return '✘';
  if (step.verdict === 'cannot tell') return '?';
  if (step.verdict === 'runs') return '!';
  if (step.verdict === 'in sync') return '=';
  if (step.changes.every((change) => change.from === null)) return '+';
  return step.changes.every((change) => change.to === null) ? '-' : '~';
}

function text(step: PlannedStep): string {
  if (step.skipped) return `skipped: ${step.skipped}`;
  const notes = step.kind === 'action' && step.notes.length === 0 ? ['now and at the end'] : step.notes;
  return [...notes, ...step.missing.map((right) => `missing: ${right}`)].join(' · ') || step.verdict;
}

/** The header, the plan, and what can be said of it, before the question. */
export function askingLines(prepared: Prepared, asking: Asking, local: boolean): string[] {
  const { window, plan } = asking;
  const here = local ? ` (${localSpan(window.since, window.until)} here)` : '';
  const missing = plan.steps.flatMap((step) => step.missing);
  const lines = [
    `${prepared.environment} · ${prepared.name} · ${prepared.path} · read-only ${span(window.since, window.until)}${here}`,
    asking.shared
      ? `State: ${asking.address}; everybody who has it can end this window.`
      : `State: this laptop only (${asking.address}); nobody else can end this window.`,
    ...(asking.changed ? ['The plan has changed since it was shown:'] : []),
    ...planLines(plan),
  ];
  const irreversible = prepared.steps.flatMap((step) =>
    step.plugin.kind === 'check' || !step.plugin.leaves || step.skipped ? [] : [step.plugin.leaves],
  );
  lines.push(
    `${count(plan.changes, 'change')}, all reversible${irreversible.length > 0 ? ` (leaves behind: ${[...new Set(irreversible)].join(', ')})` : ''}, ${missing.length === 0 ? 'permissions ok' : `${missing.length} missing`}, way back about ${lasting(asking.backMs)}. Nothing changed yet.`,
  );
  return lines;
}

function localSpan(from: string, to: string): string {
  const format = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
  return `${format.format(new Date(from))}–${format.format(new Date(to))}`;
}
