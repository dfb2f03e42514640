// What becomes of a request while somebody holds: let through, answered, kept, or waiting for what its body says.
import type { BodyReader } from './adapters/body.ts';
import type { Admission, IncomingRequest, OwnAnswer } from './adapters/exchange.ts';
import { ADMITTED, type Core, fault } from './core.ts';
import { UNNAMED } from './counts.ts';
import { decideHeld } from './decide.ts';
import { bodyWrites } from './graphql.ts';
import { isHeld, type State } from './state.ts';
import { judge, type Rule, type Verdict, type WriteRequest } from './surfaces.ts';

export function admitHeld(core: Core, request: IncomingRequest, state: State, now: number): Admission {
  const judged = judge(core.rules, request);
  // A replay that was kept or dropped again would count as applied.
  const replay = judged.write && request.headers['maint-replay'] !== undefined;
  const verdict: Verdict = replay ? { ...judged, how: 'refuse', ifWrite: 'refuse' } : judged;
  const decision = decideHeld(state, verdict, now, core.deciding);
  if (decision.action === 'pass') {
    if (verdict.surface) core.tally.count('passed', verdict.surface.name);
    return decision.readOnlyHeader === null ? ADMITTED : { ...ADMITTED, readOnlyHeader: decision.readOnlyHeader };
  }
  const { refusal } = decision;
  const { buffering } = core;
  if (decision.action === 'ask')
    return waiting(core, refusal, request, verdict, (body) => afterItsBody(core, request, verdict, body));
  if (decision.action === 'buffer' && buffering) {
    return waiting(core, refusal, request, verdict, async (body) => buffering.keep(request, verdict, body));
  }
  return { ...ADMITTED, answer: counted(core, refusal, verdict, request) };
}

/** An admission that waits; a fault on the way is a refusal. */
export function waiting(
  core: Core,
  fallback: OwnAnswer,
  request: IncomingRequest,
  verdict: Verdict,
  work: (body: BodyReader) => Promise<OwnAnswer | Admission>,
): Admission {
  const wait = async (body: BodyReader): Promise<Admission> => {
    const room = core.bodies.open(verdict.how === 'ask');
    try {
      const bounded: BodyReader = { ...body, read: (most, ms, keep) => body.read(most, ms, keep, room.grow) };
      const result = await work(bounded);
      if ('wait' in result && result.answer === null) body.goOn?.();
      return 'wait' in result ? result : { ...ADMITTED, answer: counted(core, result, verdict, request) };
    } catch (error) {
      fault(core, error);
      return { ...ADMITTED, answer: counted(core, fallback, verdict, request) };
    } finally {
      room.close();
    }
  };
  return { ...ADMITTED, answer: fallback, wait };
}

/** A GraphQL request while somebody holds: its document says what it is. */
async function afterItsBody(
  core: Core,
  request: IncomingRequest,
  verdict: Verdict,
  body: BodyReader,
): Promise<OwnAnswer | Admission> {
  const rule = verdict.surface as Rule;
  const read = await body.read(rule.maxBytes, core.bodyTimeoutMs, true);
  if (read.is === 'body' && rule.operations && !bodyWrites(rule.operations, request.headers, read.bytes)) {
    const { current } = core.keeper;
    return { ...ADMITTED, readOnlyHeader: isHeld(current, core.clock()) && current.known ? current.header : null };
  }
  if (read.is === 'taken')
    fault(core, new Error('a body was read before the guard, which must stand before all parsers'));
  if (read.is === 'body' && verdict.ifWrite === 'buffer' && core.buffering) {
    return core.buffering.keep(request, verdict, body, read.bytes);
  }
  const decision = decideHeld(core.keeper.current, { ...verdict, how: verdict.ifWrite }, core.clock(), core.deciding);
  if (decision.action === 'pass') throw new Error('a write cannot pass here');
  return decision.refusal;
}

export function counted(core: Core, answer: OwnAnswer, { surface }: Verdict, request: WriteRequest): OwnAnswer {
  if (answer.status === 204) core.tally.count('dropped', surface?.name ?? UNNAMED);
  else if (answer.status !== 202) {
    core.tally.refused('http', surface?.name ?? UNNAMED, core.clock());
    if (!surface) core.tally.unnamed(request.method, request.url);
  }
  return answer;
}
