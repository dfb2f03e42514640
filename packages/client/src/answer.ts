// What an answer says about trying again.
import type { Problem } from './errors.ts';
import { retryAfterMs } from './retry-after.ts';

export interface Answer {
  readonly status: number;
  header(name: string): string | null;
  /** The body where it is JSON; null where it is not, or too large. Read only for statuses where it decides. */
  body(): Promise<unknown>;
  readonly response: unknown;
}

export interface Advice {
  /**
   * `no`: final. `refused`: said to be not done, so any write may be sent again. `unknown`: something in between may
   * have sent it on (502, 504, or a 503 that does not say when to come back).
   */
  readonly retry: 'no' | 'refused' | 'unknown';
  /** What Retry-After says, in milliseconds; null where it says nothing. */
  readonly afterMs: number | null;
  readonly until: string | null;
  readonly problem: Problem | null;
}

const FINAL: Advice = Object.freeze({ retry: 'no', afterMs: null, until: null, problem: null });
const LOOK_INTO = new Set([409, 413, 423, 429, 502, 503, 504]);

export async function advice(answer: Answer, now: number): Promise<Advice> {
  const { status } = answer;
  if (!LOOK_INTO.has(status)) return FINAL;
  const problem = problemOf(await answer.body());
  const afterMs = retryAfterMs(answer.header('retry-after'), answer.header('date'), now);
  const until = untilOf(problem, afterMs, now);
  const told = { afterMs, until, problem };
  switch (status) {
    case 409:
      return { ...told, retry: problem?.code === 'idempotency_in_flight' ? 'refused' : 'no' };
    case 413:
      // Too large for now (RFC 9110, 15.5.14): while a queue stands in for the service, for example.
      return { ...told, retry: afterMs === null ? 'no' : 'refused' };
    case 423:
      // WebDAV's 423 is a lock that somebody holds, and no promise that it ends.
      return { ...told, retry: problem?.code === 'read_only' ? 'refused' : 'no' };
    case 429:
      return { ...told, retry: 'refused' };
    case 503:
      return { ...told, retry: afterMs === null && problem?.code !== 'read_only' ? 'unknown' : 'refused' };
    default:
      return { ...told, retry: 'unknown' };
  }
}

function problemOf(body: unknown): Problem | null {
  return typeof body === 'object' && body !== null && !Array.isArray(body) ? (body as Problem) : null;
}

function untilOf(problem: Problem | null, afterMs: number | null, now: number): string | null {
  if (typeof problem?.until === 'string' && problem['overdue'] !== true && !Number.isNaN(Date.parse(problem.until)))
    return problem.until;
  if (afterMs === null || afterMs > 8e14) return null;
  return new Date(now + afterMs).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** At most this much of an answer is read to find its code. */
const MOST_BYTES = 65_536;

/** The JSON of a body that is not trusted to be small; null where it is not JSON. The response can still be read. */
export async function smallJson(response: Response): Promise<unknown> {
  if (!/\bjson\b/i.test(response.headers.get('content-type') ?? '')) return null;
  const reader = response.clone().body?.getReader();
  if (!reader) return null;
  const decoder = new TextDecoder();
  let text = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
      if (text.length > MOST_BYTES) return null;
    }
    return parseJson(text + decoder.decode());
  } catch {
    return null;
  } finally {
    reader.cancel().catch(() => {});
  }
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Nothing had been sent yet when these came, so that any write may be tried again. */
const NEVER_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  'ConnectionRefused',
]);

/** What a call without an answer is: `refused` = never sent, `unknown` = perhaps applied, null = wrong in itself. */
export function adviceOnFailure(error: unknown): 'refused' | 'unknown' | null {
  // Not instanceof: an error of another realm (a frame, a VM) is one too.
  if (typeof error !== 'object' || error === null || !('message' in error)) return null;
  const { name, message, cause } = error as Error;
  if (name === 'AbortError') return null;
  const code = codeOf(error) ?? codeOf(cause);
  if (code !== null) {
    if (NEVER_SENT.has(code)) return 'refused';
    return /^ERR_(?!NETWORK|HTTP2|STREAM|SOCKET)/.test(code) ? null : 'unknown';
  }
  if (cause !== undefined) return 'unknown';
  // Browsers tell no more than a sentence; a call that is wrong in itself is a TypeError too.
  const network = /fail|network|load|terminated|socket|connect|sending request/i.test(message);
  return network && !/execute|parse|invalid|unsupported/i.test(message) ? 'unknown' : null;
}

function codeOf(error: unknown): string | null {
  const found = error as { code?: unknown; errors?: unknown[] } | null | undefined;
  if (typeof found?.code === 'string') return found.code;
  // Several addresses were tried; one of them may have been reached, then that is what counts.
  const codes = Array.isArray(found?.errors) ? found.errors.map(codeOf) : [];
  return codes.find((code) => code === null || !NEVER_SENT.has(code)) ?? codes[0] ?? null;
}
