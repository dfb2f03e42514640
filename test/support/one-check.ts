// Runs one check at one moment with real clients, as the engine does.

import { pollOf } from '../../src/engine/acting.ts';
import type { Check, CheckResult, Moment, Window } from '../../src/engine/contract.ts';
import type { Clients } from '../../src/engine/io.ts';
import { monotonicNow, waitUntil } from '../../src/engine/run.ts';

export interface CheckRun {
  params: Record<string, unknown>;
  moment: Moment;
  window: Window;
  evidence?: Partial<Record<Moment, unknown>>;
  ms?: number;
  signal?: AbortSignal;
  /** in a dry run there is no prober */
  dry?: boolean;
  progress?: (text: string) => void;
}

export async function runOneCheck(clients: Clients, check: Check, run: CheckRun): Promise<CheckResult<any>> {
  const signal = run.signal ?? new AbortController().signal;
  const deadline = monotonicNow() + (run.ms ?? 5000);
  const params = check.Params.parse(run.params);
  const declared = check.declares?.(params, run.window) ?? [];
  const prober = run.dry || declared.length === 0 ? undefined : clients.prober({ signal, deadline, declared });
  return await check.check(
    clients.reader({ signal, deadline }),
    {
      params,
      moment: run.moment,
      window: run.window,
      evidence: run.evidence ?? {},
      deadline,
      now: monotonicNow,
      poll: pollOf({ now: monotonicNow, wait: (until) => waitUntil(until, signal), signal }),
      progress: run.progress ?? (() => {}),
    },
    prober,
  );
}

export function windowOf(more: Partial<Window> = {}): Window {
  return {
    id: 'w-aaaa',
    environment: 'prod',
    since: new Date(Date.now() - 60_000).toISOString(),
    until: new Date(Date.now() + 1_800_000).toISOString(),
    plannedUntil: new Date(Date.now() + 1_800_000).toISOString(),
    reason: 'reindex',
    contact: '#ops-oncall',
    onExpiry: 'hold',
    overdue: false,
    by: 'ana@lapis',
    surfaces: [],
    ...more,
  };
}
