// What the report must know of a runbook's steps, from their plugins.
import type { AnyPlugin } from '../engine/contract.ts';
import type { ReportedStep } from './promises.ts';

export function reportedSteps(
  steps: readonly { id: string; plugin: AnyPlugin; skipped?: string | undefined }[],
): ReportedStep[] {
  return steps.map(({ id, plugin, skipped }) => ({ id, uses: plugin.name, shows: shownBy(plugin), skipped }));
}

function shownBy(plugin: AnyPlugin): ReportedStep['shows'] {
  if (plugin.kind === 'check') return plugin.proves ?? (plugin.watches ? 'reads' : undefined);
  return plugin.role === 'notice' ? 'people' : undefined;
}
