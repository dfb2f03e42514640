// What the guard says of itself: the banner's document, receipts, and its counts.
import type { Admission, IncomingRequest, OwnAnswer } from './adapters/exchange.ts';
import { ADMITTED, type Core, depth } from './core.ts';
import type { GuardCounts } from './counts.ts';
import { problem } from './decide.ts';
import { isHeld } from './state.ts';
import { type MaintenanceDocument, maintenanceDocument, WELL_KNOWN_HEADERS, WELL_KNOWN_PATH } from './well-known.ts';

/** What the guard serves itself: the banner's document, and receipts. */
export function ownAnswer(core: Core, request: IncomingRequest): Admission | null {
  if (core.wellKnown && isWellKnown(request)) return { ...ADMITTED, answer: serveWellKnown(core) };
  const { buffering } = core;
  if (!buffering || !request.url.startsWith(core.receiptsPath)) return null;
  if (request.method !== 'GET' && request.method !== 'HEAD') return null;
  const [, id] = /^\/([^/?]+)(?:\?|$)/.exec(request.url.slice(core.receiptsPath.length)) ?? [];
  if (id === undefined) return null;
  const wait = async () => ({ ...ADMITTED, answer: await buffering.receipt(id) });
  return { ...ADMITTED, answer: problem(core.keeper.current, 503, 'queue_unknown', 'Ask again.', 5), wait };
}

function serveWellKnown(core: Core): OwnAnswer {
  return { status: 200, headers: WELL_KNOWN_HEADERS, body: JSON.stringify(maintenance(core)) };
}

export function maintenance(core: Core): MaintenanceDocument {
  return maintenanceDocument(
    core.keeper,
    core.tally,
    depth(core),
    core.options.source.shown ?? null,
    core.rules.digest,
    core.clock(),
  );
}

export function counts(core: Core): GuardCounts {
  const flagAgeMs = core.keeper.ageMs();
  const stale = flagAgeMs === null || flagAgeMs > (core.options.staleAfterMs ?? 10_000);
  const source = core.options.source.address ?? null;
  const readOnly = isHeld(core.keeper.current, core.clock());
  return { ...core.tally.snapshot(), source, readOnly, flagAgeMs, stale, queue: depth(core) };
}

function isWellKnown({ method, url }: IncomingRequest): boolean {
  if (!url.startsWith(WELL_KNOWN_PATH) || (method !== 'GET' && method !== 'HEAD')) return false;
  return url.length === WELL_KNOWN_PATH.length || url[WELL_KNOWN_PATH.length] === '?';
}
