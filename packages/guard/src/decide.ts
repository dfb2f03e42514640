// The decision: a pure function of what is known, what is asked and the time.
import type { OwnAnswer } from './adapters/exchange.ts';
import { UNNAMED } from './counts.ts';
import { holding, isHeld, lastHolder, type State } from './state.ts';
import { judge, type Rules, type Verdict, type WriteRequest, writes } from './surfaces.ts';

/** Why a write is refused, for whoever has to tell it to a person or a program. */
export interface Refusal {
  readonly code: 'read_only';
  readonly message: string;
  readonly window: string | null;
  /** The latest planned end of all who hold. */
  readonly until: string | null;
  /** True past `until`, while writes are still refused. */
  readonly overdue: boolean;
  /** Whole seconds, jitter included. */
  readonly retryAfter: number;
  readonly contact: string | null;
  readonly statusPage: string | null;
}

export interface HttpRefusal extends Refusal {
  readonly status: 503 | 423 | 204;
  readonly headers: Readonly<Record<string, string>>;
  /** An RFC 9457 problem; empty with 204. */
  readonly body: string;
  /** The surface's name, or `unnamed`. */
  readonly surface: string;
}

/**
 * What becomes of a request. Whoever knows `pass` only, and gives the refusal for everything else, lets no write through.
 */
export type Decision =
  | { readonly action: 'pass'; readonly write: boolean; readonly readOnlyHeader: string | null }
  | { readonly action: 'refuse'; readonly refusal: HttpRefusal }
  /** Answered as if it were done, and not done: `refusal` has the status 204 and no body. */
  | { readonly action: 'drop'; readonly refusal: HttpRefusal }
  /** To be kept in the queue (`admit` does that); where that fails, refused. */
  | { readonly action: 'buffer'; readonly refusal: HttpRefusal }
  /** Its body says whether it writes (`admit` looks at it); if it does, refused. */
  | { readonly action: 'ask'; readonly refusal: HttpRefusal };

/** Where no end is known, or it has passed: short. A constant is enough: clients are already spread out. */
export const SHORT_RETRY_SECONDS = 30;
const PROBLEM_TYPE = 'urn:problem-type:maint:read_only';

const TITLES: Readonly<Record<string, string>> = {
  idempotency_key_missing: 'Idempotency-Key is missing',
  idempotency_key_invalid: 'Idempotency-Key cannot be understood',
  idempotency_key_reused: 'Idempotency-Key was used for another request',
  idempotency_in_flight: 'A request with this Idempotency-Key is being stored',
  body_too_large: 'The body is too large to be kept',
  body_late: 'The body did not arrive in time',
  not_authorized: 'Not authorized',
  queue_full: 'The queue is full',
  queue_unknown: 'The queue did not answer',
  queue_busy: 'Earlier writes are being applied',
  queue_closed: 'The maintenance is over',
  replay_not_applying: 'Not a replay that is under way',
  receipt_unknown: 'No such receipt',
};

const PASS_READ: Decision = Object.freeze({ action: 'pass', write: false, readOnlyHeader: null });
const PASS_WRITE: Decision = Object.freeze({ action: 'pass', write: true, readOnlyHeader: null });

export interface DecideOptions {
  readonly rules: Rules;
  readonly status: 503 | 423;
  /** 0 up to, not including, 1. */
  readonly random: () => number;
}

/** What a page of another origin may read of the guard's own answers, where the service lets it read them at all. */
export const EXPOSED = 'Location, Read-Only, Retry-After';

/** Lets a request through or refuses it. Does no I/O and keeps nothing. */
export function decide(state: State, request: WriteRequest, now: number, options: DecideOptions): Decision {
  if (!isHeld(state, now)) return writes(options.rules, request) ? PASS_WRITE : PASS_READ;
  return decideHeld(state, judge(options.rules, request), now, options);
}

/** The decision while somebody holds. */
export function decideHeld(state: State, verdict: Verdict, now: number, options: DecideOptions): Decision {
  if (!verdict.write) return { action: 'pass', write: false, readOnlyHeader: state.known ? state.header : null };
  const refusal = httpRefusal(state, verdict, now, options);
  if (verdict.how === 'drop' && verdict.surface?.status === 204) {
    const { 'Cache-Control': noStore = 'no-store', 'Read-Only': header } = refusal.headers;
    const headers = { 'Cache-Control': noStore, ...(header === undefined ? {} : { 'Read-Only': header }) };
    return { action: 'drop', refusal: { ...refusal, status: 204, headers, body: '' } };
  }
  const action = verdict.how === 'buffer' || verdict.how === 'ask' ? verdict.how : 'refuse';
  return { action, refusal };
}

function httpRefusal(state: State, verdict: Verdict, now: number, options: DecideOptions): HttpRefusal {
  const said = saidOf(state, now);
  const own = verdict.surface?.status;
  const status = own === undefined || own === null || own === 204 ? options.status : own;
  const { head, tail, bytes } = said.bodies.get(status) ?? bodyOf(said, status);
  const { window, until, overdue, contact, statusPage, message } = said;
  const retryAfter = retryAfterOf(said, now, options.random);
  const seconds = String(retryAfter);
  const headers: Record<string, string> = {
    'Content-Type': 'application/problem+json',
    'Content-Length': String(bytes + seconds.length),
    'Cache-Control': 'no-store',
    'Access-Control-Expose-Headers': EXPOSED,
    'Retry-After': seconds,
  };
  if (state.known) headers['Read-Only'] = state.header;
  return {
    code: 'read_only',
    message,
    window,
    until,
    overdue,
    retryAfter,
    contact,
    statusPage,
    status,
    headers,
    body: head + seconds + tail,
    surface: verdict.surface?.name ?? UNNAMED,
  };
}

/** What all refusals of one state say alike, until a holder runs out. Only the seconds differ from one to the next. */
interface Said extends Omit<Refusal, 'retryAfter'> {
  readonly untilMs: number | null;
  /** It holds from this time up to that one: ms. */
  readonly from: number;
  readonly to: number;
  /** By status: the body before and behind the seconds, and how long both are. */
  readonly bodies: Map<number, { readonly head: string; readonly tail: string; readonly bytes: number }>;
}

const SAID = new WeakMap<State, Said>();

function saidOf(state: State, now: number): Said {
  const known = SAID.get(state);
  if (known && now >= known.from && now < known.to) return known;
  const last = lastHolder(holding(state, now));
  const untilMs = last?.untilMs ?? null;
  const overdue = untilMs !== null && untilMs <= now;
  const ends = state.holders.map((holder) => holder.untilMs ?? Number.POSITIVE_INFINITY).filter((end) => end > now);
  const said: Said = {
    code: 'read_only',
    message: messageOf(state, last?.until ?? null, last?.reason ?? null, overdue),
    window: last?.window ?? null,
    until: last?.until ?? null,
    untilMs,
    overdue,
    contact: last?.contact ?? null,
    statusPage: last?.statusPage ?? null,
    from: now,
    to: Math.min(Number.POSITIVE_INFINITY, ...ends),
    bodies: new Map(),
  };
  SAID.set(state, said);
  return said;
}

function bodyOf(said: Said, status: number) {
  // Quotes inside of texts are escaped, so this name is found at its own place only.
  const text = JSON.stringify({
    type: PROBLEM_TYPE,
    title: 'Read-only for maintenance',
    status,
    detail: said.message,
    ...plainRefusal({ ...said, retryAfter: 0 }),
  });
  const place = text.indexOf('"retry_after":0') + '"retry_after":'.length;
  const [head, tail] = [text.slice(0, place), text.slice(place + 1)];
  const body = { head, tail, bytes: Buffer.byteLength(head) + Buffer.byteLength(tail) };
  said.bodies.set(status, body);
  return body;
}

function retryAfterOf(said: Said, now: number, random: () => number): number {
  if (said.untilMs === null || said.overdue) return SHORT_RETRY_SECONDS;
  const left = said.untilMs - now;
  return Math.ceil(left / 1000) + jitter(left, random);
}

/** An answer of the guard's own that is not about the window alone. */
export function problem(
  state: State,
  status: number,
  code: string,
  detail: string,
  retryAfter: number | null = null,
  more: Readonly<Record<string, string | number>> = {},
): OwnAnswer {
  const body = JSON.stringify({
    type: `urn:problem-type:maint:${code}`,
    title: TITLES[code] ?? 'Maintenance',
    status,
    detail,
    code,
    ...more,
    ...(retryAfter === null ? {} : { retry_after: retryAfter }),
  });
  return {
    status,
    headers: {
      'Content-Type': 'application/problem+json',
      'Content-Length': String(Buffer.byteLength(body)),
      'Cache-Control': 'no-store',
      'Access-Control-Expose-Headers': EXPOSED,
      ...(retryAfter === null ? {} : { 'Retry-After': String(retryAfter) }),
      ...(state.known && state.holders.length > 0 ? { 'Read-Only': state.header } : {}),
    },
    body,
  };
}

/** What a refusal says now. */
export function refusalOf(state: State, now: number, random: () => number): Refusal {
  const said = saidOf(state, now);
  const { code, message, window, until, overdue, contact, statusPage } = said;
  return { code, message, window, until, overdue, retryAfter: retryAfterOf(said, now, random), contact, statusPage };
}

/** The refusal in the words of the wire: snake_case, what is not known left out. */
export function plainRefusal(refusal: Refusal): Record<string, string | number | boolean> {
  return {
    code: refusal.code,
    ...(refusal.window === null ? {} : { window: refusal.window }),
    ...(refusal.until === null ? {} : { until: refusal.until }),
    ...(refusal.overdue ? { overdue: true } : {}),
    retry_after: refusal.retryAfter,
    ...(refusal.contact === null ? {} : { contact: refusal.contact }),
    ...(refusal.statusPage === null ? {} : { status_page: refusal.statusPage }),
  };
}

/** `until` is one moment for all clients: a tenth of what is left, at least 5 s and at most 60 s, spreads them after it. */
function jitter(leftMs: number, random: () => number): number {
  const spread = Math.min(60, Math.max(5, Math.floor(leftMs / 10_000)));
  return Math.floor(random() * (spread + 1));
}

function messageOf(state: State, until: string | null, reason: string | null, overdue: boolean): string {
  if (!state.known) return 'Writes are refused because the maintenance flag cannot be read. Reads work.';
  const why = reason === null ? '' : ` (${reason})`;
  if (until === null) return `Writes are refused for maintenance${why}. Reads work.`;
  if (overdue) return `Writes are still refused: the maintenance planned until ${until} is not over${why}. Reads work.`;
  return `Writes are refused for maintenance until ${until}${why}. Reads work.`;
}
