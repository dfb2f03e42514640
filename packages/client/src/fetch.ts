import { smallJson } from './answer.ts';
import { type ClientOptions, Exchange } from './exchange.ts';

export interface FetchOptions extends ClientOptions {
  /** What sends. Default: the global `fetch`, looked up at each call. */
  readonly fetch?: (input: any, init?: any) => Promise<Response>;
  /** A Request's body is kept up to this many bytes, to be sent again. Default 1 MiB; larger ones are sent once. */
  readonly maxReplayBytes?: number;
}

export interface FetchInit extends RequestInit {
  /** For this call, instead of the option. */
  readonly deadlineMs?: number;
}

/** Assignable to the type of the global `fetch`. */
export type Fetch = (input: string | URL | Request, init?: FetchInit) => Promise<Response>;

/** What of a Request goes into an init as it is. */
const KEPT = [
  'cache',
  'credentials',
  'integrity',
  'keepalive',
  'mode',
  'redirect',
  'referrer',
  'referrerPolicy',
] as const;

/**
 * `fetch`, and what is refused for a while is tried again: 503, 413, 429, 423 (with the problem code `read_only`) and 409
 * (`idempotency_in_flight`), after `Retry-After` and a random time on top, within the deadline and the retry budget.
 * Every other answer is returned as it is.
 *
 * The deadline ends with the answer's headers; its body is the caller's to bound, with a signal.
 *
 * @throws RetryError where another try was due and could not be made; the signal's reason when the caller aborts
 */
export function createFetch(options: FetchOptions = {}): Fetch {
  const { maxReplayBytes = 1_048_576 } = options;

  return async function fetchAgain(input, init = {}) {
    const { deadlineMs, ...given } = init;
    const request = typeof input === 'object' && 'headers' in input ? input : null;
    const url = request ? request.url : String(input);
    const headers = new Headers(given.headers ?? request?.headers);
    const signal = given.signal ?? request?.signal ?? null;
    const exchange = new Exchange(options, {
      method: given.method ?? request?.method ?? 'GET',
      url,
      key: headers.get('idempotency-key'),
      signal,
      deadlineMs,
    });
    if (exchange.key !== null) headers.set('idempotency-key', exchange.key);
    const kept = request ? Object.fromEntries(KEPT.map((name) => [name, request[name]])) : {};
    const body =
      given.body !== undefined ? await replayable(given.body, headers) : await bodyOf(request, maxReplayBytes);
    exchange.replayable = body.again;
    const once = body.again ? {} : { duplex: 'half' as const };
    const send = options.fetch ?? globalThis.fetch;

    for (;;) {
      const late = new AbortController();
      // One more: a timer may come a little early, and then the deadline would not have passed yet.
      const timer = setTimeout(() => late.abort(), Math.min(Math.max(0, Math.ceil(exchange.left())) + 1, 2 ** 31 - 1));
      const either = signal ? AbortSignal.any([signal, late.signal]) : late.signal;
      try {
        exchange.begin();
        let response: Response;
        try {
          response = await send(url, {
            ...kept,
            ...given,
            ...once,
            method: exchange.method,
            headers,
            body: body.value,
            signal: either,
          });
        } catch (error) {
          await exchange.failed(error);
          continue;
        }
        const answer = {
          status: response.status,
          header: (name: string) => response.headers.get(name),
          body: () => smallJson(response),
          response,
        };
        if (!(await exchange.answered(answer))) return response;
        // The connection is free for others only when the body is gone.
        response.body?.cancel().catch(() => {});
      } finally {
        clearTimeout(timer);
      }
    }
  };
}

type Payload = NonNullable<RequestInit['body']> | null;

interface Body {
  readonly value: Payload;
  /** Can it be sent a second time, with the same bytes? */
  readonly again: boolean;
}

async function replayable(body: Payload, headers: Headers): Promise<Body> {
  if (isFormData(body)) {
    // Each encoding has a boundary of its own: under one Idempotency-Key that would be another payload.
    const encoded = new Response(body);
    if (!headers.has('content-type')) headers.set('content-type', encoded.headers.get('content-type') as string);
    return { value: await encoded.arrayBuffer(), again: true };
  }
  const again =
    body === null ||
    typeof body === 'string' ||
    body instanceof ArrayBuffer ||
    ArrayBuffer.isView(body) ||
    body instanceof Blob ||
    body instanceof URLSearchParams;
  return { value: body, again };
}

export function isFormData(body: unknown): body is FormData {
  return typeof FormData === 'function' && body instanceof FormData;
}

/** A Request does not tell what its body was made of: it is read as far as it is kept. */
async function bodyOf(request: Request | null, most: number): Promise<Body> {
  if (!request?.body) return { value: null, again: true };
  const copy = request.clone().body as ReadableStream<Uint8Array>;
  const reader = copy.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    size += value.byteLength;
    if (size <= most) continue;
    reader.cancel().catch(() => {});
    return { value: request.body, again: false };
  }
  return { value: new Blob(chunks as Uint8Array<ArrayBuffer>[]), again: true };
}
