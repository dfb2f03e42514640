// The audit: what happened while writes were refused, told once the walls are open and beside the soak, so that it never
// holds the walls. What it finds undoes nothing.
import type { Acting } from './acting.ts';
import { runChecks } from './checks.ts';
import type { Step } from './contract.ts';
import { waitUntil } from './run.ts';
import type { WindowState } from './window.ts';

/** A soak of a second is too short to read anything. */
const LEAST_MS = 3_000;

export interface Auditing {
  done: Promise<void>;
  /** the soak has ended badly, and nobody waits for the rest: the next end audits again */
  stop(): Promise<void>;
}

export function beginAudit(acting: Acting, soakUntil: number, only: (step: Step) => boolean): Auditing {
  const stopped = new AbortController();
  const signal = AbortSignal.any([acting.signal, stopped.signal]);
  const mine: Acting = { ...acting, signal, wait: (until) => waitUntil(until, signal) };
  const until = Math.max(soakUntil, acting.now() + LEAST_MS);
  const done = runChecks(mine, 'audit', until, only).then(
    () => undefined,
    (error: unknown) => {
      if (acting.signal.aborted || !stopped.signal.aborted) throw error;
    },
  );
  // Whoever awaits it hears of it; until then a soak may still be going on.
  done.catch(() => undefined);
  return {
    done,
    stop: () => {
      stopped.abort(new Error('the soak has ended'));
      return done;
    },
  };
}

/** One line for each check that found a write in the time in which writes were refused. */
export function writesFound(state: WindowState): string[] {
  return [...state.checked].flatMap(([step, moments]) => {
    const told = moments.get('audit') ?? moments.get('reopen');
    return told?.outcome === 'fail' ? [`${step}  ${told.summary}`] : [];
  });
}
