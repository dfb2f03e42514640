// What the adapters do with a request.
import type { Admission, IncomingRequest } from './adapters/exchange.ts';
import { afterEarlierOnes, busyAnswer, orderedAndWaiting } from './behind.ts';
import { ADMITTED, admitWrite, type Core, countPassed, fault } from './core.ts';
import { type Decision, decide, SHORT_RETRY_SECONDS } from './decide.ts';
import { admitHeld, waiting } from './held.ts';
import { ownAnswer } from './own-answers.ts';
import { isHeld } from './state.ts';
import { judge, passesAsSeen, type Rule, SAFE, surfaceSeen, type WriteRequest } from './surfaces.ts';

export function admit(core: Core, request: IncomingRequest): Admission {
  try {
    const own = ownAnswer(core, request);
    if (own) return own;
    const now = core.clock();
    const state = core.keeper.current;
    return isHeld(state, now) ? admitHeld(core, request, state, now) : admitOpen(core, request, now);
  } catch (error) {
    return admitAfterFault(core, request, error);
  }
}

function admitOpen(core: Core, request: IncomingRequest, now: number): Admission {
  let rule: Rule | null;
  if (SAFE.has(request.method)) {
    if (!core.rules.safeWrites) return ADMITTED;
    const verdict = judge(core.rules, request);
    if (!verdict.write) return ADMITTED;
    rule = verdict.surface;
  } else {
    rule = surfaceSeen(core.rules, request);
    if (rule?.disposition === 'pass' && (passesAsSeen(rule, request) || !judge(core.rules, request).write)) {
      core.tally.count('passed', rule.name);
      return ADMITTED;
    }
  }
  if (core.rules.ordered.length > 0 && core.buffering) {
    const verdict = orderedAndWaiting(core, request, now);
    if (verdict)
      return waiting(core, busyAnswer(core), request, verdict, (body) =>
        afterEarlierOnes(core, request, verdict, body),
      );
  }
  return admitWrite(core, request, rule);
}

/** A fault of the guard itself: what is surely a write is refused while somebody holds, the rest goes on. */
function admitAfterFault(core: Core, request: IncomingRequest, error: unknown): Admission {
  fault(core, error);
  if (core.keeper.current.holdsUntil === Number.NEGATIVE_INFINITY || SAFE.has(request.method)) return ADMITTED;
  const headers = {
    'Content-Type': 'application/problem+json',
    'Cache-Control': 'no-store',
    'Retry-After': String(SHORT_RETRY_SECONDS),
  };
  return { ...ADMITTED, answer: { status: core.status, headers, body: '{"title":"Read-only","code":"read_only"}' } };
}

/** Decides by the head alone, and counts: for an adapter of somebody's own. */
export function decideAndCount(core: Core, request: WriteRequest): Decision {
  const now = core.clock();
  const decision = decide(core.keeper.current, request, now, core.deciding);
  if (decision.action === 'drop') core.tally.count('dropped', decision.refusal.surface);
  else if (decision.action !== 'pass') core.tally.refused('http', decision.refusal.surface, now);
  else if (decision.write) countPassed(core, request, surfaceSeen(core.rules, request));
  return decision;
}
