// Decided by the head alone: an upgrade, which has no body, and a body that waits for our 100.
import type { IncomingMessage } from 'node:http';
import type { Weight } from './adapters/continue.ts';
import type { IncomingRequest, OwnAnswer } from './adapters/exchange.ts';
import { busyAnswer } from './behind.ts';
import { type Core, fault } from './core.ts';
import { decideHeld } from './decide.ts';
import { counted } from './held.ts';
import { isHeld } from './state.ts';
import { judge, upgradePasses, type Verdict } from './surfaces.ts';

export function upgradeRefusal(core: Core, request: IncomingMessage): OwnAnswer | null {
  try {
    const now = core.clock();
    const { method = '', url = '', headers } = request;
    const incoming = { method, url, headers };
    if (!isHeld(core.keeper.current, now) || upgradePasses(core.rules, incoming)) return null;
    const { surface } = judge(core.rules, incoming);
    const verdict: Verdict = { write: true, surface, how: 'refuse', ifWrite: 'refuse', params: {} };
    const decision = decideHeld(core.keeper.current, verdict, now, core.deciding);
    return decision.action === 'pass' ? null : counted(core, decision.refusal, verdict, incoming);
  } catch (error) {
    fault(core, error);
    return busyAnswer(core);
  }
}

/** By its head alone, and without a count: for who is decided in the next moment. */
export function weigh(core: Core, request: IncomingRequest): Weight {
  try {
    const now = core.clock();
    if (!isHeld(core.keeper.current, now)) return 'go';
    const verdict = judge(core.rules, request);
    const replay = verdict.write && request.headers['maint-replay'] !== undefined;
    const { action } = decideHeld(
      core.keeper.current,
      replay ? { ...verdict, how: 'refuse', ifWrite: 'refuse' } : verdict,
      now,
      core.deciding,
    );
    if (action === 'pass') return 'go';
    return action === 'ask' || (action === 'buffer' && core.buffering) ? 'perhaps' : 'refuse';
  } catch (error) {
    fault(core, error);
    return 'go';
  }
}
