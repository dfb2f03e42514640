// Writes that are kept for later: looked at, stripped, put into the queue, and answered with a receipt.
import { createHash } from 'node:crypto';
import type { BodyReader } from './adapters/body.ts';
import type { IncomingRequest, OwnAnswer } from './adapters/exchange.ts';
import type { Tally } from './counts.ts';
import { credentialInTarget } from './credentials.ts';
import { EXPOSED, problem, refusalOf } from './decide.ts';
import type { GuardLog } from './keeper.ts';
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

/** They say what the body is and what is asked of it; nobody's identity is in them. */
const KEPT_HEADERS = [
  ...['content-type', 'content-encoding', 'content-language', 'accept', 'prefer', 'if-match', 'if-none-match'],
  // as it came, quoted or bare: the replay must be the same key to a service that compares the field's text
  'idempotency-key',
];
const MOST_KEY = 255;
const RECEIPT = /^[A-Za-z0-9_-]{16,128}$/;

export function createBuffering(options: BufferingOptions): Buffering {
  const { queue, receiptsPath, state, clock, random, tally, log } = options;
  const settling = createSettling(queue);

  async function keep(
    request: IncomingRequest,
    verdict: Verdict,
    body: BodyReader,
    given?: Uint8Array,
  ): Promise<OwnAnswer> {
    const rule = verdict.surface as Rule;
    const arrived = clock();
    const key = keyOf(request, rule);
    if (typeof key === 'object' && key !== null) return problem(state(), 400, key.code, key.detail, null, about());
    if (credentialInTarget(request.url, rule.notCredentials) !== null) {
      return refused('Its address carries a credential, so it cannot be kept.');
    }
    const coding = request.headers['transfer-encoding'];
    if (coding !== undefined && String(coding).toLowerCase() !== 'chunked') {
      return refused('Its transfer coding is not kept.');
    }
    const allowed = await authorized(request, verdict);
    if ('answer' in allowed) return allowed.answer;

    const read = given
      ? { is: 'body' as const, bytes: given }
      : await body.read(rule.maxBytes, options.bodyTimeoutMs, false);
    if (read.is === 'too_large') {
      const detail = `At most ${rule.maxBytes} bytes are kept for later. Nothing was stored.`;
      return problem(state(), 413, 'body_too_large', detail, untilOpen(), { max_bytes: rule.maxBytes, ...about() });
    }
    if (read.is === 'late') {
      const late = problem(state(), 408, 'body_late', 'The body did not arrive in time. Nothing was stored.');
      return { ...late, headers: { ...late.headers, ...read.headers } };
    }
    if (read.is === 'crowded') {
      const detail = 'Too many bodies are being read. Nothing was stored.';
      return problem(state(), 503, 'queue_full', detail, soon(), about());
    }
    if (read.is === 'gone') return refused('The client has left.');
    if (read.is === 'taken') {
      tally.error('internal');
      log('error', 'a body was read before the guard: it must stand before whatever parses bodies', {
        surface: rule.name,
      });
      return refused('It cannot be kept.');
    }

    const order = rule.order ? valueAt(rule.order, verdict.params, request.headers) : null;
    // The window may have ended while the body came: what is kept now might never be replayed.
    if (!isHeld(state(), clock()) && !(await stillBusy(rule, allowed.tenant, order))) {
      return problem(state(), 503, 'queue_closed', 'The maintenance has just ended. Send it again.', 1);
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
      window: refusalOf(state(), clock(), random).window,
    };
    if (order !== null) settling.begin(rule.name);
    const answer = await accept(write);
    if (order !== null && answer.is === 'accepted') await settling.known(rule.name);
    return answerOf(answer, rule);
  }

  async function stillBusy(rule: Rule, tenant: string, order: string | null): Promise<boolean> {
    if (order === null) return false;
    try {
      return await inTime(queue.busy(rule.name, tenant, order));
    } catch {
      // Kept in order is right in either case.
      return true;
    }
  }

  async function authorized(
    request: IncomingRequest,
    verdict: Verdict,
  ): Promise<{ readonly tenant: string } | { readonly answer: OwnAnswer }> {
    const { authorize } = options;
    const rule = verdict.surface as Rule;
    const tenant = valueAt(rule.tenant, verdict.params, request.headers);
    if (authorize === 'elsewhere') return { tenant };
    const { method, url, headers } = request;
    let word: Authorized;
    try {
      word = await inTime(
        Promise.resolve(authorize({ surface: rule.name, method, url, headers, params: verdict.params })),
      );
    } catch (error) {
      tally.error('internal');
      log('error', 'authorize failed, the write is refused', { surface: rule.name, error: textOf(error) });
      return { answer: refused('Whether it may be kept could not be found out.') };
    }
    if (word === true) return { tenant };
    if (typeof word === 'object' && word !== null && typeof word.tenant === 'string') return { tenant: word.tenant };
    const status = word === 403 ? 403 : 401;
    return { answer: problem(state(), status, 'not_authorized', 'The write was not accepted.') };
  }

  async function accept(write: BufferedWrite): Promise<QueueAnswer> {
    const giveUp = new AbortController();
    try {
      return await inTime(queue.accept(write, giveUp.signal));
    } catch (error) {
      giveUp.abort();
      return { is: 'unknown', why: textOf(error) };
    }
  }

  function answerOf(answer: QueueAnswer, rule: Rule): OwnAnswer {
    switch (answer.is) {
      case 'accepted':
        if (!answer.replayed) tally.count('queued', rule.name);
        return accepted(answer.receipt);
      case 'reused': {
        const detail = 'This key was used for another request. A new write needs a new key.';
        return problem(state(), 422, 'idempotency_key_reused', detail, null, about());
      }
      case 'in_flight': {
        const detail = 'The first request with this key is being stored. Send it again with the same key.';
        return problem(state(), 409, 'idempotency_in_flight', detail, 1, about());
      }
      case 'full': {
        tally.error('queue');
        log('warn', 'the queue is full, writes are refused', { surface: rule.name, why: answer.why });
        const detail = 'No more writes can be kept. Nothing was stored.';
        return problem(state(), 503, 'queue_full', detail, untilOpen(), about());
      }
      default: {
        tally.error('queue');
        log('warn', 'the queue did not answer, a write may be stored or not', { surface: rule.name, why: answer.why });
        const detail = 'The write may have been kept. Send it again with the same key.';
        return problem(state(), 503, 'queue_unknown', detail, soon(), about());
      }
    }
  }

  function accepted(receipt: string): OwnAnswer {
    const url = `${receiptsPath}/${receipt}`;
    const body = JSON.stringify({ receipt, status: 'queued', url });
    const current = state();
    return {
      status: 202,
      headers: {
        'Content-Type': 'application/json',
        'Content-Length': String(Buffer.byteLength(body)),
        'Cache-Control': 'no-store',
        'Access-Control-Expose-Headers': EXPOSED,
        Location: url,
        'Retry-After': String(untilOpen()),
        ...(current.known && current.holders.length > 0 ? { 'Read-Only': current.header } : {}),
      },
      body,
    };
  }

  async function waits(request: IncomingRequest, verdict: Verdict): Promise<boolean | OwnAnswer> {
    const rule = verdict.surface as Rule;
    const replay = request.headers['maint-replay'];
    if (replay !== undefined) {
      const id = String(replay);
      try {
        const found = RECEIPT.test(id) ? await inTime(queue.receipt(id)) : null;
        if (found?.state === 'applying') return false;
      } catch (error) {
        return unsure(error);
      }
      return problem(state(), 503, 'replay_not_applying', 'Maint-Replay names no write that is being applied.', soon());
    }
    if (verdict.ifWrite !== 'buffer') {
      return problem(state(), 503, 'queue_busy', 'Earlier writes are being applied.', soon());
    }
    const allowed = await authorized(request, verdict);
    if ('answer' in allowed) return allowed.answer;
    try {
      const order = valueAt(rule.order, verdict.params, request.headers);
      return (await inTime(queue.busy(rule.name, allowed.tenant, order))) !== false;
    } catch (error) {
      return unsure(error);
    }
  }

  function unsure(error: unknown): OwnAnswer {
    tally.error('queue');
    log('warn', 'the queue does not say whether earlier writes wait', { error: textOf(error) });
    const detail = 'Whether earlier writes are waiting cannot be found out. Nothing was stored.';
    return problem(state(), 503, 'queue_unknown', detail, soon());
  }

  async function receipt(id: string): Promise<OwnAnswer> {
    try {
      const found = RECEIPT.test(id) ? await inTime(queue.receipt(id)) : null;
      if (found === null) return problem(state(), 404, 'receipt_unknown', 'There is no such receipt, or no longer.');
      const { receipt: own, state: is, acceptedAt, settledAt, status, reason } = found;
      const body = JSON.stringify({ receipt: own, state: is, acceptedAt, settledAt, status, reason });
      const open = is === 'queued' || is === 'applying';
      const headers = {
        'Content-Type': 'application/json',
        'Content-Length': String(Buffer.byteLength(body)),
        'Cache-Control': 'no-store',
        'Access-Control-Expose-Headers': EXPOSED,
        'Referrer-Policy': 'no-referrer',
        ...(open ? { 'Retry-After': String(untilOpen()) } : {}),
      };
      return { status: 200, headers, body };
    } catch (error) {
      return unsure(error);
    }
  }

  function refused(detail: string): OwnAnswer {
    const current = state();
    const { window, until, retryAfter } = refusalOf(current, clock(), random);
    const more = { ...(window === null ? {} : { window }), ...(until === null ? {} : { until }) };
    return problem(current, 503, 'read_only', `Writes are refused for maintenance. ${detail}`, retryAfter, more);
  }

  function about(): Record<string, string> {
    const { window, until } = refusalOf(state(), clock(), random);
    return { ...(window === null ? {} : { window }), ...(until === null ? {} : { until }) };
  }

  function untilOpen(): number {
    const current = state();
    return isHeld(current, clock()) ? refusalOf(current, clock(), random).retryAfter : soon();
  }

  /** Seconds: some, and not the same for everybody. */
  function soon(): number {
    return 2 + Math.floor(random() * 6);
  }

  async function inTime<T>(work: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('no answer in time')), options.queueTimeoutMs);
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  return { keep, waits, receipt };
}

/** null: to be derived from the content. */
function keyOf(
  request: IncomingRequest,
  rule: Rule,
): string | null | { readonly code: string; readonly detail: string } {
  const value = request.headers['idempotency-key'];
  if (value === undefined) {
    if (rule.key === 'content') return null;
    const detail = 'While the system is read-only this write is kept for later, and needs an Idempotency-Key.';
    return { code: 'idempotency_key_missing', detail };
  }
  const key = parseIdempotencyKey(String(value));
  if (key !== null) return key;
  const detail = `Idempotency-Key is one String (RFC 9651) of 1 to ${MOST_KEY} characters: Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324"`;
  return { code: 'idempotency_key_invalid', detail };
}

/**
 * The key of an `Idempotency-Key` field: an RFC 9651 String, parameters allowed and ignored; or, as many clients send it,
 * bare, of the characters of a Token and of Base64.
 *
 * @returns null where it is neither, or is longer than 255 characters
 */
export function parseIdempotencyKey(field: string): string | null {
  const text = field.trim();
  const quoted =
    /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"(?:\s*;\s*[a-z*][a-z0-9_.*-]*(?:=[^\s;,"]+|="[^"\\]*")?)*$/.exec(
      text,
    );
  const key = quoted
    ? (quoted[1] as string).replace(/\\(["\\])/g, '$1')
    : /^[\w.~:+/=@!$&'*^`|%#-]+$/.test(text)
      ? text
      : '';
  return key.length >= 1 && key.length <= MOST_KEY ? key : null;
}

function headersKept(request: IncomingRequest, rule: Rule): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name of [...KEPT_HEADERS, ...rule.keepHeaders]) {
    const value = request.headers[name];
    if (value !== undefined) kept[name] = String(value);
  }
  return kept;
}

function contentKey(
  tenant: string,
  surface: string,
  { method, url }: IncomingRequest,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
): string {
  const head = JSON.stringify([tenant, surface, method, url, headers['content-type'] ?? '']);
  return `content:${createHash('sha256').update(head).update('\n').update(body).digest('hex')}`;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
