// What `runbook show` tells: the order of the start as written, the order of the end as derived.
import type { Edge, Moment, Phase, Role, Step } from '../engine/contract.ts';
import { endOrder } from '../engine/order.ts';
import { failurePolicy, isHeld } from '../engine/roles.ts';
import type { Runbook, RunbookStep } from './load.ts';
import { roleInText } from './rules.ts';
import { variablesIn } from './variables-text.ts';

export interface ShownStep {
  id: string;
  uses: string;
  summary: string;
  kind: 'resource' | 'action' | 'check';
  role: Role | 'check';
  /** steps of one `parallel:` share a number */
  group?: number | undefined;
  deadlineMs: number;
  /** what a failure at start means */
  onFailure: 'undo' | 'hold' | 'continue';
  onBad?: 'hold' | 'refreeze' | 'continue' | undefined;
  pacePerMinute?: number | undefined;
  /** resources: the phases in which the thing is held; actions: their edges; checks: their moments */
  when: (Phase | Edge | Moment)[];
  variables: string[];
  skipped?: string | undefined;
}

export interface ShownRunbook {
  name: string;
  path: string;
  environment: string;
  environments: string[];
  budgetMs: number;
  soakMs: number;
  onExpiry: 'hold' | 'open';
  contact: string;
  statusPage?: string | undefined;
  rollbackPlan?: string | undefined;
  overdueNotice?: string | undefined;
  surfaces: { path: string; names: string[] } | undefined;
  start: ShownStep[];
  end: ShownStep[];
}

const PHASES: readonly Phase[] = ['announced', 'open', 'soaking'];

export function showRunbook(runbook: Runbook): ShownRunbook {
  const steps = runbook.steps.map((step): Step => ({ ...step, params: step.with }));
  const shown = new Map(runbook.steps.map((step, i) => [step.id, showStep(step, steps[i]!)]));
  const end = endOrder(steps).filter(({ plugin }) => {
    if (plugin.kind === 'check') return plugin.on.includes('reopen') || plugin.on.includes('soaking');
    if (plugin.kind === 'action') return plugin.on.includes('reopen') || plugin.on.includes('closed');
    return true;
  });
  return {
    name: runbook.name,
    path: runbook.path,
    environment: runbook.environment,
    environments: runbook.environments,
    budgetMs: runbook.budgetMs,
    soakMs: runbook.soakMs,
    onExpiry: runbook.onExpiry,
    contact: runbook.contact,
    statusPage: runbook.statusPage,
    rollbackPlan: runbook.rollbackPlan,
    overdueNotice: runbook.overdueNotice,
    surfaces:
      runbook.surfacesPath === undefined
        ? undefined
        : { path: runbook.surfacesPath, names: runbook.surfaces.map(({ name }) => name) },
    start: [...shown.values()],
    end: end.map((step) => shown.get(step.id)!),
  };
}

function showStep(step: RunbookStep, asStep: Step): ShownStep {
  const { plugin } = step;
  const isSoak = plugin.kind === 'check' && plugin.on.includes('soaking');
  return {
    id: step.id,
    uses: step.uses,
    summary: plugin.summary,
    kind: plugin.kind,
    role: roleInText(plugin, step.with),
    group: step.group,
    deadlineMs: step.deadlineMs,
    onFailure: failurePolicy(asStep),
    onBad: isSoak ? (step.onBad ?? 'hold') : undefined,
    pacePerMinute: step.pacePerMinute,
    when: plugin.kind === 'resource' ? PHASES.filter((phase) => isHeld(asStep, phase)) : [...plugin.on],
    variables: [...new Set(textsIn(step.with).flatMap((text) => variablesIn(text).map(({ name }) => name)))],
    skipped: step.skipped,
  };
}

function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (value !== null && typeof value === 'object') return Object.values(value).flatMap(textsIn);
  return [];
}
