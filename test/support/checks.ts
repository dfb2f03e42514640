// Runs one check as converge does, moment by moment, and keeps its evidence as the journal would: as JSON.
import { setTimeout as delay } from 'node:timers/promises';
import { createClients } from '../../src/clients/index.ts';
import { runCheck } from '../../src/engine/checks.ts';
import type { Check, CheckResult, Moment, Step, Window } from '../../src/engine/contract.ts';
import type { Reader } from '../../src/engine/io.ts';

export interface CheckRun {
  /** one moment; with `deadlineMs` for itself */
  at(moment: Moment, deadlineMs?: number): Promise<CheckResult<any>>;
  /** what stood behind the spinner */
  progress: string[];
  evidence: Map<Moment, any>;
  close(): Promise<void>;
}

/** `world`: what stands in for the readers that are named, where a real server would take too long. */
export function checkRun(
  plugin: Check,
  params: Record<string, unknown>,
  options: { window?: Partial<Window>; world?: Partial<Reader> } = {},
): CheckRun {
  const real = createClients();
  const clients = {
    ...real,
    reader: (bounds: Parameters<typeof real.reader>[0]) => ({ ...real.reader(bounds), ...options.world }),
  };
  const progress: string[] = [];
  const evidence = new Map<Moment, any>();
  const step: Step = { id: 'check', plugin, params: plugin.Params.parse(params), deadlineMs: 60_000 };
  const { signal } = new AbortController();
  const acting = {
    clients,
    signal,
    now: Date.now,
    wait: (until: number) => delay(Math.max(0, until - Date.now())),
    emit: (event: any) => {
      if (event.type === 'step-doing') progress.push(event.text);
    },
  };
  return {
    progress,
    evidence,
    async at(moment, deadlineMs = 20_000) {
      const checked = new Map([[step.id, new Map([...evidence].map(([at, is]) => [at, { evidence: is }]))]]);
      const state = { window: windowOf(options.window ?? {}), checked } as any;
      const result = await runCheck(acting, step, moment, state, Date.now() + deadlineMs);
      evidence.set(moment, JSON.parse(JSON.stringify(result.evidence)));
      return result;
    },
    close: () => clients.close(),
  };
}

function windowOf(more: Partial<Window>): Window {
  return {
    id: 'w-test',
    environment: 'test',
    since: '2026-01-01T02:00:00.000Z',
    until: '2026-01-01T02:30:00.000Z',
    plannedUntil: '2026-01-01T02:30:00.000Z',
    reason: 'a test',
    contact: '#test',
    onExpiry: 'hold',
    overdue: false,
    by: 'ana@lapis',
    surfaces: [],
    ...more,
  };
}
