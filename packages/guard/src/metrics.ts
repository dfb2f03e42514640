// The counts in the Prometheus text exposition format, version 0.0.4.
import type { GuardCounts, SurfaceCounts } from './counts.ts';

/** What an answer with `guard.metrics()` says about itself. */
export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

export function prometheusText(counts: GuardCounts): string {
  const { surfaces, inFlight, errors, queue, flagAgeMs } = counts;
  const bySurface = (fate: keyof SurfaceCounts): Sample[] =>
    Object.entries(surfaces).map(([surface, of]) => [{ surface }, of[fate]]);
  const kinds = Object.entries(inFlight).filter(([kind]) => kind !== 'total');
  const lines = [
    ...family('refused_total', 'counter', 'Writes that were refused.', bySurface('refused')),
    ...family('queued_total', 'counter', 'Writes that were accepted into the queue.', bySurface('queued')),
    ...family('dropped_total', 'counter', 'Writes that were dropped, and answered as if done.', bySurface('dropped')),
    ...family('passed_total', 'counter', 'Writes that were let through.', bySurface('passed')),
    ...family(
      'passed_unknown_total',
      'counter',
      'Writes that were let through because nothing was known about the flag.',
      bySurface('passedUnknown'),
    ),
    ...family(
      'in_flight',
      'gauge',
      'Writes that were admitted and are not finished.',
      kinds.map(([kind, value]) => [{ kind }, value]),
    ),
    ...family('abandoned', 'gauge', 'Writes in flight whose client has left, and whose end may not be seen.', [
      [{}, counts.abandoned],
    ]),
    ...(counts.source === null
      ? []
      : family('source_info', 'gauge', 'What the flag is read from.', [[{ source: counts.source }, 1]])),
    ...family('read_only', 'gauge', '1 while writes are refused.', [[{}, counts.readOnly ? 1 : 0]]),
    ...family('flag_age_seconds', 'gauge', 'Since the source last confirmed the flag; +Inf: it never has.', [
      [{}, flagAgeMs === null ? Number.POSITIVE_INFINITY : flagAgeMs / 1000],
    ]),
    ...family('flag_stale', 'gauge', '1 while the flag is older than staleAfterMs.', [[{}, counts.stale ? 1 : 0]]),
    ...(queue
      ? [
          ...family('queue_depth', 'gauge', 'Writes that wait in the queue.', [[{}, queue.queued]]),
          ...family('queue_bytes', 'gauge', 'Bytes of the writes that wait in the queue.', [[{}, queue.bytes]]),
          ...family('queue_oldest_age_seconds', 'gauge', 'Age of the oldest write that waits; 0: none waits.', [
            [{}, (queue.oldestMs ?? 0) / 1000],
          ]),
        ]
      : []),
    ...family(
      'errors_total',
      'counter',
      'Faults that the guard survived.',
      Object.entries(errors)
        .filter(([kind]) => kind !== 'total')
        .map(([kind, value]) => [{ kind: kind.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`) }, value]),
    ),
  ];
  return `${lines.join('\n')}\n`;
}

function family(name: string, type: 'counter' | 'gauge', help: string, samples: readonly Sample[]): string[] {
  const full = `maint_guard_${name}`;
  return [
    `# HELP ${full} ${help}`,
    `# TYPE ${full} ${type}`,
    ...samples.map(([labels, value]) => `${full}${labelText(labels)} ${valueText(value)}`),
  ];
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function valueText(value: number): string {
  return value === Number.POSITIVE_INFINITY ? '+Inf' : String(value);
}
