// Writes that are kept for later: looked at, stripped, put into the queue, and answered with a receipt.
import type { BodyRead, BodyReader } from './adapters/body.ts';
import type { IncomingRequest, OwnAnswer } from './adapters/exchange.ts';
import type { Tally } from './counts.ts';
import { credentialInTarget } from './credentials.ts';
import { EXPOSED, problem, refusalOf } from './decide.ts';
import { contentKey, headersKept, keyOf } from './idempotency.ts';
import type { GuardLog } from './keeper.ts';
import { about, answerOf, inTime, type Keeping, refused, soon, textOf, unsure, untilOpen } from './keeping.ts';
import type { BufferedWrite, QueueAnswer, WriteQueue } from './queue.ts';
import { createSettling } from './settling.ts';
import { isHeld, type State } from './state.ts';
import { type Rule, type Verdict, valueAt } from './surfaces.ts';

/** What `authorize` is asked about. */
export interface BufferRequest {
  readonly surface: string;
  readonly method: string;
  /** Path and query as they came. */
  readonly url: string;
  /** By name in lower case. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly params: Readonly<Record<string, string>>;
}

/** 401 and 403 are answered as they are; a tenant replaces what the surface says about it. */
export type Authorized = boolean | 401 | 403 | { readonly tenant: string };

/**
 * Who may have a write kept: its own credentials are not stored, and the replay brings the service's. `elsewhere`: what
 * stands before the guard has authenticated the request, or anybody may write.
 */
export type Authorize = 'elsewhere' | ((request: BufferRequest) => Authorized | Promise<Authorized>);

export interface Buffering {
  /** Keeps the write. `bytes`: its body where it has been read already. */
  keep(request: IncomingRequest, verdict: Verdict, body: BodyReader, bytes?: Uint8Array): Promise<OwnAnswer>;
  /** Off the window: whether earlier writes of the same partition still wait. An answer: it cannot be known, or not done. */
  waits(request: IncomingRequest, verdict: Verdict): Promise<boolean | OwnAnswer>;
  /** What `<receiptsPath>/<id>` says. */
  receipt(id: string): Promise<OwnAnswer>;
}

export interface BufferingOptions {
  readonly queue: WriteQueue;
  readonly authorize: Authorize;
  readonly receiptsPath: string;
  readonly bodyTimeoutMs: number;
  readonly queueTimeoutMs: number;
  readonly state: () => State;
  readonly clock: () => number;
  readonly random: () => number;
  readonly tally: Tally;
  readonly log: GuardLog;
}

const RECEIPT = /^[A-Za-z0-9_-]{16,128}$/;

export function createBuffering(options: BufferingOptions): Buffering {
  const keeping: Keeping = { ...options, settling: createSettling(options.queue) };
  return {
    keep: (request, verdict, body, bytes) => keep(keeping, request, verdict, body, bytes),
    waits: (request, verdict) => waits(keeping, request, verdict),
    receipt: (id) => receipt(keeping, id),
  };
}

async function keep(
  keeping: Keeping,
  request: IncomingRequest,
  verdict: Verdict,
  body: BodyReader,
  given?: Uint8Array,
): Promise<OwnAnswer> {
  const rule = verdict.surface as Rule;
  const arrived = keeping.clock();
  const key = keyOf(request, rule);
  if (typeof key === 'object' && key !== null)
    return problem(keeping.state(), 400, key.code, key.detail, null, about(keeping));
  const unfit = unfitToKeep(keeping, request, rule);
  if (unfit) return unfit;
  const allowed = await authorized(keeping, request, verdict);
  if ('answer' in allowed) return allowed.answer;

  const read = given
    ? { is: 'body' as const, bytes: given }
    : await body.read(rule.maxBytes, keeping.bodyTimeoutMs, false);
  if (read.is !== 'body') return unread(keeping, rule, read);

  const order = rule.order ? valueAt(rule.order, verdict.params, request.headers) : null;
  // The window may have ended while the body came: what is kept now might never be replayed.
  if (!isHeld(keeping.state(), keeping.clock()) && !(await stillBusy(keeping, rule, allowed.tenant, order))) {
    return problem(keeping.state(), 503, 'queue_closed', 'The maintenance has just ended. Send it again.', 1);
  }
  const headers = headersKept(request, rule);
  const write: BufferedWrite = {
    surface: rule.name,
    tenant: allowed.tenant,
    key: key ?? contentKey(allowed.tenant, rule.name, request, headers, read.bytes),
    order,
    method: request.method,
    target: request.url,
    headers,
    body: read.bytes,
    receivedAt: arrived,
    window: refusalOf(keeping.state(), keeping.clock(), keeping.random).window,
  };
  if (order !== null) keeping.settling.begin(rule.name);
  const answer = await accept(keeping, write);
  if (order !== null && answer.is === 'accepted') await keeping.settling.known(rule.name);
  return answerOf(keeping, answer, rule);
}

function unfitToKeep(keeping: Keeping, request: IncomingRequest, rule: Rule): OwnAnswer | null {
  if (credentialInTarget(request.url, rule.notCredentials) !== null)
    return refused(keeping, 'Its address carries a credential, so it cannot be kept.');
  const coding = request.headers['transfer-encoding'];
  if (coding !== undefined && String(coding).toLowerCase() !== 'chunked')
    return refused(keeping, 'Its transfer coding is not kept.');
  return null;
}

/** The answer to a write whose body is not there as a whole. */
function unread(keeping: Keeping, rule: Rule, read: Exclude<BodyRead, { readonly is: 'body' }>): OwnAnswer {
  switch (read.is) {
    case 'too_large': {
      const detail = `At most ${rule.maxBytes} bytes are kept for later. Nothing was stored.`;
      const more = { max_bytes: rule.maxBytes, ...about(keeping) };
      return problem(keeping.state(), 413, 'body_too_large', detail, untilOpen(keeping), more);
    }
    case 'late': {
      const late = problem(keeping.state(), 408, 'body_late', 'The body did not arrive in time. Nothing was stored.');
      return { ...late, headers: { ...late.headers, ...read.headers } };
    }
    case 'crowded': {
      const detail = 'Too many bodies are being read. Nothing was stored.';
      return problem(keeping.state(), 503, 'queue_full', detail, soon(keeping), about(keeping));
    }
    case 'gone':
      return refused(keeping, 'The client has left.');
    default:
      keeping.tally.error('internal');
      keeping.log('error', 'a body was read before the guard: it must stand before whatever parses bodies', {
        surface: rule.name,
      });
      return refused(keeping, 'It cannot be kept.');
  }
}

async function stillBusy(keeping: Keeping, rule: Rule, tenant: string, order: string | null): Promise<boolean> {
  if (order === null) return false;
  try {
    return await inTime(keeping.queueTimeoutMs, keeping.queue.busy(rule.name, tenant, order));
  } catch {
    // Kept in order is right in either case.
    return true;
  }
}

async function authorized(
  keeping: Keeping,
  request: IncomingRequest,
  verdict: Verdict,
): Promise<{ readonly tenant: string } | { readonly answer: OwnAnswer }> {
  const { authorize } = keeping;
  const rule = verdict.surface as Rule;
  const tenant = valueAt(rule.tenant, verdict.params, request.headers);
  if (authorize === 'elsewhere') return { tenant };
  const { method, url, headers } = request;
  let word: Authorized;
  try {
    word = await inTime(
      keeping.queueTimeoutMs,
      Promise.resolve(authorize({ surface: rule.name, method, url, headers, params: verdict.params })),
    );
  } catch (error) {
    keeping.tally.error('internal');
    keeping.log('error', 'authorize failed, the write is refused', { surface: rule.name, error: textOf(error) });
    return { answer: refused(keeping, 'Whether it may be kept could not be found out.') };
  }
  if (word === true) return { tenant };
  if (typeof word === 'object' && word !== null && typeof word.tenant === 'string') return { tenant: word.tenant };
  const status = word === 403 ? 403 : 401;
  return { answer: problem(keeping.state(), status, 'not_authorized', 'The write was not accepted.') };
}

async function accept(keeping: Keeping, write: BufferedWrite): Promise<QueueAnswer> {
  const giveUp = new AbortController();
  try {
    return await inTime(keeping.queueTimeoutMs, keeping.queue.accept(write, giveUp.signal));
  } catch (error) {
    giveUp.abort();
    return { is: 'unknown', why: textOf(error) };
  }
}

async function waits(keeping: Keeping, request: IncomingRequest, verdict: Verdict): Promise<boolean | OwnAnswer> {
  const rule = verdict.surface as Rule;
  const replay = request.headers['maint-replay'];
  if (replay !== undefined) {
    const id = String(replay);
    try {
      const found = RECEIPT.test(id) ? await inTime(keeping.queueTimeoutMs, keeping.queue.receipt(id)) : null;
      if (found?.state === 'applying') return false;
    } catch (error) {
      return unsure(keeping, error);
    }
    return problem(
      keeping.state(),
      503,
      'replay_not_applying',
      'Maint-Replay names no write that is being applied.',
      soon(keeping),
    );
  }
  if (verdict.ifWrite !== 'buffer') {
    return problem(keeping.state(), 503, 'queue_busy', 'Earlier writes are being applied.', soon(keeping));
  }
  const allowed = await authorized(keeping, request, verdict);
  if ('answer' in allowed) return allowed.answer;
  try {
    const order = valueAt(rule.order, verdict.params, request.headers);
    return (await inTime(keeping.queueTimeoutMs, keeping.queue.busy(rule.name, allowed.tenant, order))) !== false;
  } catch (error) {
    return unsure(keeping, error);
  }
}

async function receipt(keeping: Keeping, id: string): Promise<OwnAnswer> {
  try {
    const found = RECEIPT.test(id) ? await inTime(keeping.queueTimeoutMs, keeping.queue.receipt(id)) : null;
    if (found === null)
      return problem(keeping.state(), 404, 'receipt_unknown', 'There is no such receipt, or no longer.');
    const { receipt: own, state: is, acceptedAt, settledAt, status, reason } = found;
    const body = JSON.stringify({ receipt: own, state: is, acceptedAt, settledAt, status, reason });
    const open = is === 'queued' || is === 'applying';
    const headers = {
      'Content-Type': 'application/json',
      'Content-Length': String(Buffer.byteLength(body)),
      'Cache-Control': 'no-store',
      'Access-Control-Expose-Headers': EXPOSED,
      'Referrer-Policy': 'no-referrer',
      ...(open ? { 'Retry-After': String(untilOpen(keeping)) } : {}),
    };
    return { status: 200, headers, body };
  } catch (error) {
    return unsure(keeping, error);
  }
}
