// After a window: a write that is to be applied in order goes behind the earlier ones that still wait.
import type { BodyReader } from './adapters/body.ts';
import type { Admission, IncomingRequest, OwnAnswer } from './adapters/exchange.ts';
import type { Buffering } from './buffer.ts';
import { ADMITTED, admitWrite, type Core } from './core.ts';
import { problem } from './decide.ts';
import { bodyWrites } from './graphql.ts';
import { admitHeld } from './held.ts';
import { isHeld } from './state.ts';
import { judge, type Rule, type Verdict } from './surfaces.ts';

/** For so long after a window the queue is asked for each write that has an order, whatever its memory says. */
const FRESH_MS = 60_000;

/** The verdict on a write that is to be applied in order, where anything of its surface may still wait. */
export function orderedAndWaiting(core: Core, request: IncomingRequest, now: number): Verdict | null {
  const fresh = now - Math.max(core.keeper.lastHeldAt(now), core.createdAt) < FRESH_MS;
  if (!fresh && !core.rules.ordered.some((rule) => pending(core, rule.name))) return null;
  const verdict = judge(core.rules, request);
  const rule = verdict.surface;
  if (rule?.disposition !== 'buffer' || rule.order === null) return null;
  return fresh || pending(core, rule.name) ? verdict : null;
}

/** After the window: a write whose earlier ones still wait goes behind them. */
export async function afterEarlierOnes(
  core: Core,
  request: IncomingRequest,
  verdict: Verdict,
  body: BodyReader,
): Promise<OwnAnswer | Admission> {
  const rule = verdict.surface as Rule;
  let bytes: Uint8Array | undefined;
  if (verdict.how === 'ask' && rule.operations) {
    const read = await body.read(rule.maxBytes, core.bodyTimeoutMs, true);
    if (read.is !== 'body') return busyAnswer(core);
    if (!bodyWrites(rule.operations, request.headers, read.bytes)) return ADMITTED;
    bytes = read.bytes;
  }
  const { waits, keep } = core.buffering as Buffering;
  const behind = await waits(request, verdict);
  if (typeof behind === 'object') return behind;
  if (behind) return keep(request, verdict, body, bytes);
  // Somebody may have begun to hold meanwhile.
  const now = core.clock();
  if (!isHeld(core.keeper.current, now)) return admitWrite(core, request, rule);
  const held = admitHeld(core, request, core.keeper.current, now);
  if (held.wait === null) return held;
  return bytes ? keep(request, { ...verdict, how: 'buffer' }, body, bytes) : held.wait(body);
}

function pending(core: Core, surface: string): boolean {
  try {
    return core.queue?.pending(surface) !== false;
  } catch {
    return true;
  }
}

export function busyAnswer(core: Core): OwnAnswer {
  return problem(core.keeper.current, 503, 'queue_busy', 'Earlier writes are being applied.', 5);
}
