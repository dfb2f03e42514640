// What the guards say while a window is open: the one line of status that nobody else can tell.
import { askGuard } from '../clients/guards.ts';
import type { Step } from '../engine/contract.ts';
import { monotonicNow } from '../engine/run.ts';
import type { VerbHost } from '../engine/verbs/result.ts';
import { guardsOf } from '../runbook/guards.ts';

export interface GuardLine {
  guard: string;
  refused: number | null;
  inFlight: number | null;
  queued: number | null;
  /** why there is no answer to read */
  problem: string | null;
}

/** Whoever looks at a window does not wait for a guard that is gone. */
const ASK_MS = 1_000;

/** Every guard that a step of the runbook names, asked once. */
export async function lookAtGuards(host: VerbHost, steps: readonly Step[]): Promise<GuardLine[]> {
  const guards = [...new Set(steps.filter((step) => !step.skipped).flatMap((step) => guardsOf(step.params)))];
  if (guards.length === 0) return [];
  const reader = host.clients.reader({ signal: host.interrupt.signal, deadline: monotonicNow() + ASK_MS });
  const asked = await Promise.all(guards.map((guard) => askGuard(reader.http, guard, ASK_MS)));
  return asked.map(({ guard, seen, problem }) => ({
    guard,
    refused: seen?.refused ?? null,
    inFlight: seen?.inFlight ?? null,
    queued: seen?.queue?.queued ?? null,
    problem: problem ?? null,
  }));
}

/** "refused 1,204 · queued 12", and who does not answer. undefined: there is nobody to ask. */
export function guardsLine(guards: readonly GuardLine[]): string | undefined {
  if (guards.length === 0) return undefined;
  const sum = (key: 'refused' | 'inFlight' | 'queued') => {
    const known = guards.map((guard) => guard[key]).filter((n) => n !== null);
    return known.length === 0 ? undefined : known.reduce((a, b) => a + b, 0);
  };
  const [refused, inFlight, queued] = [sum('refused'), sum('inFlight'), sum('queued')];
  const mute = guards.filter(({ problem }) => problem !== null).map(({ guard }) => guard);
  return [
    ...(refused === undefined ? [] : [`refused ${grouped(refused)}`]),
    ...(queued ? [`queued ${grouped(queued)}`] : []),
    ...(inFlight ? [`still in flight ${grouped(inFlight)}`] : []),
    ...(mute.length > 0 ? [`no answer from ${mute.join(', ')}`] : []),
  ].join(' · ');
}

function grouped(n: number): string {
  return String(n).replace(/\B(?=(?:\d{3})+$)/g, ',');
}
