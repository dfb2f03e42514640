// HTTP through axios. One connection per call: a kept one that the server has just closed would turn a write into an
// unknown outcome, and a fresh one tells for certain whether anything was sent.

import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { cutText } from '../engine/cut.ts';
import { HEADER_NAME, HEADER_VALUE } from '../engine/headers.ts';
import type { HttpReader, HttpRequest, HttpResponse, HttpWriter } from '../engine/io.ts';
import { OuterError } from '../errors/catalogue.ts';
import {
  after,
  before,
  errorCode,
  interrupted,
  type Limit,
  limit,
  MAX_ANSWER_BYTES,
  NEVER_CONNECTED,
  outerError,
  type Scope,
  timedOut,
} from './call.ts';
import { retryAfterMs } from './retry-after.ts';

export function httpReader(scope: Scope): HttpReader {
  return {
    get: (request) => call(scope, { kind: 'read', method: 'GET', request }),
    query: (request) => call(scope, { kind: 'read', method: 'POST', request }),
  };
}

export function httpWriter(scope: Scope): HttpWriter {
  return {
    ...httpReader(scope),
    send: (method, request) => call(scope, { kind: 'write', method: method.toUpperCase(), request }),
  };
}

/** What a check's canary sends: any status is an answer, no redirect is followed. */
export function httpProbe(scope: Scope, method: string, request: Omit<HttpRequest, 'expect'>): Promise<HttpResponse> {
  return call(scope, { kind: 'probe', method, request, any: true });
}

/** For a library that speaks HTTP itself: any status is an answer, its hooks are told by the caller. */
export function httpExchange(scope: Scope, request: HttpRequest, writes: boolean): Promise<HttpResponse> {
  return call(scope, { kind: writes ? 'probe' : 'read', method: 'POST', request, any: true });
}

interface Call {
  kind: 'read' | 'write' | 'probe';
  method: string;
  request: HttpRequest;
  /** any status is an answer */
  any?: boolean;
}

/** The absolute address with its query, without userinfo; a hash never goes out. */
export function target(request: Pick<HttpRequest, 'url' | 'query'>): {
  url: URL;
  auth: { username: string; password: string } | undefined;
} {
  let url: URL;
  try {
    url = new URL(request.url);
  } catch {
    throw new TypeError('not an absolute http or https address');
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new TypeError(`${url.protocol}// is not spoken here, only http:// and https://`);
  }
  const auth =
    url.username === '' && url.password === ''
      ? undefined
      : { username: decode(url.username), password: decode(url.password) };
  url.username = '';
  url.password = '';
  url.hash = '';
  for (const [key, value] of Object.entries(request.query ?? {})) {
    if (value !== undefined) url.searchParams.append(key, String(value));
  }
  return { url, auth };
}

async function call(scope: Scope, { kind, method, request, any = false }: Call): Promise<HttpResponse> {
  let place: ReturnType<typeof target>;
  try {
    place = target(request);
  } catch (error) {
    throw outerError(scope, `HTTP ${method}: ${(error as Error).message}`, { effect: 'none', retryable: false });
  }
  const { url, auth } = place;
  for (const [name, value] of Object.entries(request.headers ?? {})) {
    // axios would quietly drop the character, and a key with one less is another key
    if (HEADER_NAME.test(name) && HEADER_VALUE.test(value)) continue;
    throw outerError(scope, `HTTP ${method}: the header ${name} holds a character that HTTP does not allow`, {
      effect: 'none',
      retryable: false,
      code: 'ERR_INVALID_CHAR',
    });
  }
  const write = kind === 'write';
  // what a probe sends may change the service if nothing refuses it, so its outcome is as open as a write's
  const effect = kind === 'read' ? 'none' : 'unknown';
  const where = `${url.host} (${method} ${url.pathname})`;
  const { default: axios } = await import('axios');
  using bound = limit(scope, where, request.timeoutMs);
  const track: Track = { state: 'unused', slept: undefined };
  const what = `http ${method}`;
  if (write) before(scope, what);
  const begun = performance.now();
  let status: number;
  let headers: Record<string, string>;
  let body: Body;
  try {
    const answer = await axios.request<Readable>({
      url: url.href,
      method,
      ...(auth && { auth }),
      ...payload(request),
      ...agents(track, scope.hooks?.awake),
      signal: bound.signal,
      timeout: 0,
      responseType: 'stream',
      maxRedirects: kind === 'read' && method === 'GET' ? 5 : 0,
      // a redirect to another host takes no header of ours along: any of them may be a credential
      beforeRedirect: (options: Record<string, any>) => dropHeaders(options, url, Object.keys(request.headers ?? {})),
      maxBodyLength: MAX_ANSWER_BYTES,
      validateStatus: () => true,
      transitional: { clarifyTimeoutError: true },
    });
    status = answer.status;
    headers = flatten(answer.headers as Record<string, unknown>);
    body = await read(answer.data, bound);
  } catch (error) {
    throw failed(scope, error, { where, host: url.host, bound, track, effect });
  }
  if (write) after(scope, what);
  const ms = performance.now() - begun;
  const answeredBy = `${url.host} answered ${status} for ${method} ${url.pathname}`;
  if (body.end === 'too-long') {
    throw outerError(scope, `${answeredBy} with more than ${MAX_ANSWER_BYTES / 1e6} MB`, {
      effect: write ? 'answered' : effect,
      retryable: false,
      status,
    });
  }
  const text = body.bytes.toString('utf8');
  const good = any || (request.expect ? request.expect.includes(status) : status >= 200 && status < 300);
  if (!good) {
    const judged = judge(status, headers);
    const location = status >= 300 && status < 400 ? redirected(headers, url) : '';
    throw outerError(scope, `${answeredBy}${location}${said(text, scope.redact)}`, {
      ...judged,
      effect: kind === 'read' ? 'none' : judged.effect,
      status,
    });
  }
  // half an answer must never be taken for one that says less; what a probe wants to know is in the head
  if (kind !== 'probe' && body.end === 'broken') {
    const broken = write ? 'answered' : effect;
    throw outerError(scope, `${answeredBy}, but the answer broke off`, { effect: broken, retryable: true, status });
  }
  if (body.end === 'broken') return { status, headers, text, json: undefined, brokeOff: true, ms };
  return { status, headers, text, json: parse(text), ms };
}

interface Track {
  state: 'unused' | 'connecting' | 'connected';
  /** while the connection was being made */
  slept: unknown;
}

/**
 * `awake`: a lid that was closed while the connection was being made would let the write out when somebody else has long
 * taken over. What is waiting for the connection goes out in the same turn as these events, so they are the last moment.
 */
function agents(track: Track, awake: (() => void) | undefined) {
  const httpAgent = new HttpAgent({ keepAlive: false });
  const httpsAgent = new HttpsAgent({ keepAlive: false });
  for (const [agent, event] of [
    [httpAgent, 'connect'],
    [httpsAgent, 'secureConnect'],
  ] as const) {
    const make = agent.createConnection.bind(agent) as (...args: any[]) => Socket | null | undefined;
    agent.createConnection = ((...args: any[]) => {
      const socket = make(...args);
      // a redirect's second connection does not take back that the first one was there
      if (track.state === 'unused') track.state = 'connecting';
      for (const each of new Set(['connect', event]))
        socket?.once(each, () => {
          try {
            awake?.();
          } catch (error) {
            track.slept = error;
            socket.destroy(error as Error);
            return;
          }
          if (each === event && track.slept === undefined) track.state = 'connected';
        });
      return socket;
    }) as any;
  }
  return { httpAgent, httpsAgent };
}

function payload(request: HttpRequest): { data?: string; headers?: Record<string, string> } {
  const data = request.json === undefined ? request.body : JSON.stringify(request.json);
  const type = request.json === undefined ? 'text/plain; charset=utf-8' : 'application/json';
  const given = Object.keys(request.headers ?? {}).some((name) => name.toLowerCase() === 'content-type');
  const headers: Record<string, string> = { Accept: 'application/json, */*;q=0.5', 'User-Agent': 'maint' };
  if (data !== undefined && !given) headers['Content-Type'] = type;
  return { headers: { ...headers, ...request.headers }, ...(data !== undefined && { data }) };
}

function dropHeaders(options: Record<string, any>, from: URL, names: readonly string[]): void {
  const host = String(options.host ?? options.hostname ?? '');
  if (host === from.host || host === from.hostname) return;
  const drop = new Set([...names.map((name) => name.toLowerCase()), 'authorization', 'cookie']);
  for (const name of Object.keys(options.headers ?? {})) {
    if (drop.has(name.toLowerCase())) delete options.headers[name];
  }
  options.auth = undefined;
}

interface Body {
  bytes: Buffer;
  end: 'whole' | 'broken' | 'too-long';
}

async function read(stream: Readable, bound: Limit): Promise<Body> {
  const chunks: Buffer[] = [];
  let size = 0;
  const stop = () => stream.destroy(new Error('ended by its limit'));
  bound.signal.addEventListener('abort', stop, { once: true });
  try {
    if (bound.signal.aborted) stop();
    for await (const chunk of stream) {
      size += chunk.length;
      if (size > MAX_ANSWER_BYTES) return { bytes: Buffer.alloc(0), end: 'too-long' };
      chunks.push(chunk);
    }
    return { bytes: Buffer.concat(chunks), end: 'whole' };
  } catch (error) {
    if (bound.reason() !== undefined) throw error;
    return { bytes: Buffer.concat(chunks), end: 'broken' };
  } finally {
    bound.signal.removeEventListener('abort', stop);
    stream.destroy();
  }
}

interface Circumstances {
  where: string;
  host: string;
  bound: Limit;
  track: Track;
  effect: 'none' | 'unknown';
}

function failed(scope: Scope, error: unknown, { where, host, bound, track, effect }: Circumstances) {
  // our own agent was asked for a connection and none has come about: nothing can have been sent
  const unsent = track.state === 'connecting';
  const outcome = unsent ? 'none' : effect;
  if (bound.reason() === 'interrupted') return interrupted(scope, where, outcome);
  if (unsent && track.slept instanceof OuterError)
    return outerError(scope, `${where}: ${track.slept.message}`, { effect: 'none', retryable: track.slept.retryable });
  if (bound.reason() === 'timeout') {
    if (!unsent) return timedOut(scope, where, bound.ms, outcome);
    return outerError(scope, `${host} accepts no connection within ${bound.ms / 1000}s`, {
      effect: 'none',
      retryable: true,
      code: 'ETIMEDOUT',
      waitedMs: bound.ms,
    });
  }
  const code = errorCode(error) ?? errorCode((error as { cause?: unknown }).cause);
  const never = code === undefined ? undefined : NEVER_CONNECTED[code];
  if (never) return outerError(scope, `${host} ${never}`, { effect: 'none', retryable: true, code });
  if (code !== undefined && CERTIFICATE.test(code)) {
    const message = `${host} has a certificate that is not trusted (${code})`;
    return outerError(scope, message, { effect: outcome, retryable: false, code });
  }
  if (code !== undefined && TLS.test(code)) {
    return outerError(scope, `${host} does not complete the TLS handshake (${code})`, {
      effect: outcome,
      retryable: false,
      code,
    });
  }
  if (code === 'ERR_FR_TOO_MANY_REDIRECTS') {
    return outerError(scope, `${where} redirects more than 5 times`, { effect: outcome, retryable: false, code });
  }
  const words =
    code === 'ECONNRESET' || code === 'EPIPE' || code === 'ERR_BAD_RESPONSE'
      ? 'broke the connection before it answered'
      : `gave no answer (${code ?? 'no reason known'})`;
  return outerError(scope, `${where} ${words}`, { effect: outcome, retryable: true, code });
}

const CERTIFICATE =
  /^(CERT_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT|UNABLE_TO_|ERR_TLS_CERT_ALTNAME_INVALID|HOSTNAME_MISMATCH|INVALID_CA)/;
const TLS = /^(ERR_SSL_|ERR_TLS_|EPROTO)/;

/** undefined: it does not say for how long. */
export function askedToWait(headers: Record<string, string>): number | undefined {
  return retryAfterMs(headers['retry-after'], headers['date'], Date.now()) ?? undefined;
}

/** What an answer of this status means for whoever wants to try again. */
export function judge(
  status: number,
  headers: Record<string, string>,
): { effect: 'answered' | 'unknown'; retryable: boolean; retryAfterMs?: number | undefined } {
  // a gateway that gave up waiting says nothing about what is behind it
  if ([502, 504, 520, 522, 524, 598, 599].includes(status)) return { effect: 'unknown', retryable: true };
  if ([408, 420, 425, 429, 503].includes(status)) {
    return { effect: 'answered', retryable: true, retryAfterMs: askedToWait(headers) };
  }
  if (status === 501 || status === 505) return { effect: 'answered', retryable: false };
  return { effect: 'answered', retryable: status >= 500 };
}

/** The service's own words, where it has some: short, on one line. */
function said(text: string, redact: Scope['redact']): string {
  const json = parse(text);
  let words: unknown;
  if (typeof json === 'object' && json !== null) {
    words = json.detail ?? json.message ?? json.error ?? json.title ?? json.errors;
    if (typeof words === 'object' && words !== null) words = (words as any).message ?? JSON.stringify(words);
  } else if (!/^\s*</.test(text)) {
    words = text;
  }
  if (typeof words !== 'string') return '';
  const line = words.replace(/\s+/g, ' ').trim();
  // redacted before it is cut: half a secret would not be known as one
  return line === '' ? '' : `: ${cutText(redact(line), 200)}`;
}

function redirected(headers: Record<string, string>, from: URL): string {
  try {
    const to = new URL(headers.location ?? '', from);
    return ` with a redirect to ${to.protocol}//${to.host}, which is not followed`;
  } catch {
    return '';
  }
}

function flatten(headers: Record<string, unknown>): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && value !== null) {
      flat[name.toLowerCase()] = Array.isArray(value) ? value.join(', ') : String(value);
    }
  }
  return flat;
}

function parse(text: string): any {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
