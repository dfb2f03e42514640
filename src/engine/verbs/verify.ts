// verify: every check and every wall, now. Nothing is written but what a check declares; no lease is taken.
import type { ErrorCode } from '../../errors/catalogue.ts';
import { EXIT } from '../../errors/exit-codes.ts';
import { maint } from '../../errors/next.ts';
import { runCheck } from '../checks.ts';
import type { Step } from '../contract.ts';
import { type Looking, look, type PlannedStep, plan } from '../plan.ts';
import { monotonicNow, waitUntil } from '../run.ts';
import { type Truth, truth, wallsIn } from '../truth.ts';
import type { WindowState } from '../window.ts';
import { count, utc } from '../words.ts';
import type { Prepared, VerbHost, VerbResult } from './result.ts';
import { otherHolders } from './windows.ts';

export interface Verified {
  step: string;
  uses: string;
  /** `fail` of a resource: a wall of ours that lets writes through */
  outcome: 'pass' | 'fail' | 'inconclusive' | 'unknown' | 'drift' | 'in sync' | 'change';
  summary: string;
  findings: string[];
}

/** All checks, all walls and all drift, now. */
export async function verify(
  host: VerbHost,
  prepared: Prepared,
  state: WindowState,
): Promise<VerbResult & { verified: Verified[] }> {
  const { clients, interrupt } = host;
  const { steps, environment } = prepared;
  const looking: Looking = { steps, clients, signal: interrupt.signal, now: monotonicNow };
  const checks = steps.filter(
    (step) => !step.skipped && step.plugin.kind === 'check' && step.plugin.on.includes('now'),
  );
  const [world, ...checked] = await Promise.all([
    look(looking, state.window, state.owned),
    ...checks.map((step) => checkNow(host, step, state)),
  ]);
  const planned = await plan(looking, state.window, state, [state.phase], { rights: false, world });
  const walls = wallsIn(steps, state.window, world);
  const seen = { walls, guards: [], others: await otherHolders(looking, walls, state.id) };
  const is = truth(state, seen, await host.journal.now());
  const resources = planned.steps.filter(({ kind, verdict }) => kind === 'resource' && verdict !== 'skipped');
  const verified = [...resources.map(verifiedStep), ...checked];
  const looks = verified.filter(({ outcome }) => outcome !== 'pass' && outcome !== 'in sync');
  const code = codeOf(state, is, verified);
  return {
    verb: 'verify',
    exit: code === undefined ? EXIT.DONE : EXIT.HUMAN,
    code,
    environment,
    window: state.id,
    headline: `${lead(environment, state, is)}${count(verified.length, 'step')} checked, ${looks.length === 0 ? 'nothing to look at.' : `${count(looks.length, 'thing')} to look at:`}`,
    details: looks.map((one) => `${one.step}  ${[one.summary, ...one.findings].join(' · ')}`),
    look: looks.length,
    next: [maint('status')],
    state,
    verified,
  };
}

async function checkNow(host: VerbHost, step: Step, state: WindowState): Promise<Verified> {
  const { clients, emit, interrupt } = host;
  const { signal } = interrupt;
  const acting = { clients, signal, now: monotonicNow, wait: (until: number) => waitUntil(until, signal), emit };
  emit({ type: 'step-began', step: step.id, label: step.plugin.name });
  const began = monotonicNow();
  const { outcome, summary, findings } = await runCheck(acting, step, 'now', state, began + step.deadlineMs);
  emit({
    type: 'step-ended',
    step: step.id,
    label: step.plugin.name,
    result: outcome === 'pass' ? 'ok' : outcome === 'fail' ? 'failed' : 'look',
    text: [summary, ...findings].join(' · '),
    ms: monotonicNow() - began,
    inResult: true,
  });
  return { step: step.id, uses: step.plugin.name, outcome, summary, findings };
}

function verifiedStep(step: PlannedStep): Verified {
  const outcome = outcomeOf(step);
  const names = step.changes.map(({ id }) => id).slice(0, 3);
  const appeared = `${count(step.changes.length, 'thing')} appeared since: ${names.join(', ')}`;
  return {
    step: step.id,
    uses: step.uses,
    outcome,
    summary:
      outcome === 'change'
        ? appeared
        : outcome === 'fail'
          ? 'it is open: writes are possible here'
          : step.notes.join(' · '),
    findings: step.drift.map((one) => `${one.id} ${one.gone ? 'is gone' : 'was changed by somebody else'}`),
  };
}

function outcomeOf({ breached, drift, unknown, changes }: PlannedStep): Verified['outcome'] {
  if (breached.length > 0) return 'fail';
  if (drift.length > 0) return 'drift';
  if (unknown.length > 0) return 'unknown';
  return changes.length > 0 ? 'change' : 'in sync';
}

/** Whoever asks for proof is not told that all is well where a wall could not be asked. */
function codeOf({ phase }: WindowState, is: Truth, verified: readonly Verified[]): ErrorCode | undefined {
  const promised = phase === 'open' && is.reason !== 'no wall';
  if (promised && (is.writes !== 'refused' || is.reason === 'others hold alone')) return 'E_NOT_READ_ONLY';
  if (is.reason === 'still held') return 'E_LEFT_BEHIND';
  return verified.some(({ outcome }) => outcome === 'fail') ? 'E_CHECK_FAILED' : undefined;
}

function lead(environment: string, { phase }: WindowState, is: Truth): string {
  if (phase === 'announced') return `${environment} is announced: `;
  if (is.reason === 'no wall') return `${environment} holds what is named, and writes are not refused (${is.what}): `;
  if (is.writes === 'unknown')
    return `${environment}: cannot tell whether writes are refused (${is.what}); last seen read-only ${is.lastHeld === null ? 'never' : utc(is.lastHeld)}: `;
  if (phase !== 'open')
    return `${environment} ${is.writes === 'open' ? 'takes writes' : `is STILL READ-ONLY (${is.what})`}: `;
  if (is.reason === 'others hold alone') return `${environment} is read-only, but not by us (${is.what}): `;
  return is.writes === 'refused' ? `${environment} is read-only: ` : `${environment} is NOT read-only (${is.what}): `;
}
