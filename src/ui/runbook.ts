// runbook check and runbook show, as people read them.
import { count, lasting } from '../engine/words.ts';
import { maint } from '../errors/next.ts';
import type { Runbook } from '../runbook/load.ts';
import type { ShownRunbook, ShownStep } from '../runbook/show.ts';
import { warningsOf } from '../runbook/warnings.ts';
import { type Line, nextLine } from './next.ts';

interface Checked {
  runbook: Runbook;
  path: string;
  /** how many variables it names, all of them set; undefined: not asked */
  variables: number | undefined;
}

export function checkedLines({ runbook, path, variables }: Checked): Line[] {
  const { steps, surfaces, surfacesPath, environments } = runbook;
  const parts = [
    count(steps.length, 'step'),
    ...(surfacesPath === undefined ? [] : [count(surfaces.length, 'surface')]),
    environments.length === 1 ? environments[0]! : `${environments.length} environments: ${environments.join(', ')}`,
    ...(variables === undefined ? [] : [`${variables} of ${variables} variables set`]),
  ];
  return [
    `${path}: 0 problems (${parts.join(' · ')}).`,
    ...warningsOf(runbook).map((warning) => `  ! ${warning}`),
    nextLine(...(variables === undefined ? [maint('runbook check', { secrets: true })] : []), maint('rehearse')),
  ];
}

export function checkedJson({ runbook, path, variables }: Checked): Record<string, unknown> {
  return {
    ok: true,
    exit: 0,
    path,
    name: runbook.name,
    environments: runbook.environments,
    steps: runbook.steps.map(({ id, uses, line, skipped }) => ({ id, uses, line, ...(skipped ? { skipped } : {}) })),
    surfaces: runbook.surfaces.map((surface) => surface.name),
    variablesSet: variables ?? null,
    problems: [],
    warnings: warningsOf(runbook),
  };
}

export function shownLines(shown: ShownRunbook): string[] {
  return [
    `${shown.name} · ${shown.path} · ${shown.environment}${shown.environments.length > 1 ? ` (knows ${shown.environments.join(', ')})` : ''}`,
    `  budget ${lasting(shown.budgetMs)} · soak ${lasting(shown.soakMs)} · on_expiry ${shown.onExpiry} · contact ${shown.contact}`,
    ...(shown.statusPage ? [`  status page ${shown.statusPage}`] : []),
    ...(shown.overdueNotice ? [`  overdue notice ${shown.overdueNotice}`] : []),
    ...(shown.rollbackPlan ? [`  rollback plan ${shown.rollbackPlan}`] : []),
    ...(shown.surfaces ? [`  surfaces ${shown.surfaces.names.join(', ')}`] : []),
    'start',
    ...rows(shown.start, (step) => [
      policy(step),
      `deadline ${lasting(step.deadlineMs)}`,
      ...(step.variables.length > 0 ? [`needs ${step.variables.join(', ')}`] : []),
    ]),
    'end',
    ...rows(shown.end, (step) => [
      ...(step.onBad ? [`a bad soak: ${step.onBad}`] : []),
      ...(step.pacePerMinute ? [`at most ${step.pacePerMinute} a minute`] : []),
    ]),
  ];
}

function policy(step: ShownStep): string {
  if (step.onFailure === 'continue') return 'a failure does not stop the start';
  return step.onFailure === 'hold' ? 'a failure holds' : 'a failure undoes the start';
}

function rows(steps: readonly ShownStep[], more: (step: ShownStep) => string[]): string[] {
  const ids = Math.max(4, ...steps.map((step) => step.id.length));
  const uses = Math.max(4, ...steps.map((step) => step.uses.length));
  const roles = Math.max(4, ...steps.map((step) => step.role.length));
  return steps.map((step, i) => {
    const when = `${step.kind === 'resource' ? 'held ' : step.kind === 'action' ? 'runs ' : 'looks '}${step.when.join(', ')}`;
    const text = step.skipped ? [`skipped: ${step.skipped}`] : [when, ...more(step)];
    const together = step.group === undefined ? '  ' : '∥ ';
    return `  ${String(i + 1).padStart(2)} ${together}${step.id.padEnd(ids)}  ${step.uses.padEnd(uses)}  ${step.role.padEnd(roles)}  ${text.join(' · ')}`;
  });
}
