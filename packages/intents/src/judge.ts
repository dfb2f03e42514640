// What an answer to a replayed write means.

import { cutText } from './cut.ts';
import { retryAfterMs } from './retry-after.ts';
import type { ReplayAnswer } from './send.ts';

export type StopWhy =
  /** a window is open again: the service refuses writes, or buffers them */
  | 'read_only_again'
  /** the queue is held: a window is being opened */
  | 'held'
  /** another run leads this queue */
  | 'running_elsewhere'
  /** `health` said so */
  | 'unhealthy'
  /** more retries than the budget allows: the service is not well */
  | 'retry_budget'
  /** at a service that does not honour keys, one outcome is not known: a person has to look */
  | 'unknown_outcome'
  /** the service refuses the credential */
  | 'credential_refused'
  /** one dead letter after the other, and nothing applied in between */
  | 'dead_letters'
  /** the caller's signal */
  | 'interrupted'
  /** the queue itself failed */
  | 'queue_failed';

export type Verdict =
  | { is: 'applied'; status: number; already: boolean }
  | {
      is: 'again';
      unknown: boolean;
      overloaded: boolean;
      retryAfterMs: number | null;
      status: number | null;
      reason: string;
    }
  | { is: 'dead'; status: number; reason: string }
  | { is: 'stop'; why: StopWhy; status: number; reason: string };

/** What was not processed, by its definition: also where the service does not honour keys. */
const NOT_PROCESSED = new Set([408, 420, 425, 429, 503]);
/** Longer than this nobody waits for one answer. */
const MAX_RETRY_AFTER_MS = 3_600_000;
const REASON_CHARS = 200;

export function judge(answer: ReplayAnswer, receipt: string, secrets: readonly string[], now = Date.now()): Verdict {
  const { status, headers } = answer;
  const json = jsonOf(answer);
  const code = typeof json?.['code'] === 'string' ? json['code'] : undefined;
  const reason = reasonOf(answer, secrets);

  if (status >= 200 && status < 300) {
    // a guard has buffered the replay again, under the key that it has had all along: it was not applied
    const again = status === 202 && (json?.['receipt'] === receipt || headers['location']?.endsWith(`/${receipt}`));
    if (again) return { is: 'stop', why: 'read_only_again', status, reason: 'the replay was buffered again' };
    return { is: 'applied', status, already: headers['idempotent-replayed'] === 'true' };
  }
  if (status === 409 && (code === 'already_applied' || headers['maint-code'] === 'already_applied'))
    return { is: 'applied', status, already: true };
  if (code === 'read_only' && (status === 503 || status === 423))
    return { is: 'stop', why: 'read_only_again', status, reason };
  if (status === 401 || status === 407) return { is: 'stop', why: 'credential_refused', status, reason };
  // the same key is being worked on: of an earlier attempt whose connection broke
  if (status === 409 && code === 'idempotency_in_flight')
    return { is: 'again', unknown: true, overloaded: false, retryAfterMs: retryAfter(headers, now), status, reason };
  if (status >= 500 || NOT_PROCESSED.has(status)) {
    const unknown = !NOT_PROCESSED.has(status);
    const overloaded = status === 429 || status === 503 || status === 420;
    return { is: 'again', unknown, overloaded, retryAfterMs: retryAfter(headers, now), status, reason };
  }
  return { is: 'dead', status, reason };
}

function jsonOf({ headers, body }: ReplayAnswer): Record<string, unknown> | undefined {
  if (!/[/+]json\b/i.test(headers['content-type'] ?? '')) return undefined;
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function retryAfter(headers: ReplayAnswer['headers'], now: number): number | null {
  const ms = retryAfterMs(headers['retry-after'], headers['date'], now);
  return ms === null ? null : Math.min(MAX_RETRY_AFTER_MS, ms);
}

function reasonOf({ status, body }: ReplayAnswer, secrets: readonly string[]): string {
  const text = redacted(body, secrets).trim();
  return text === '' ? `answered ${status}` : `answered ${status}: ${text}`;
}

const SECRETS: readonly RegExp[] = [
  /\b(bearer|basic|digest)\s+[\w.~+/=-]{6,}/gi,
  /\beyJ[\w-]+\.[\w-]+\.[\w-]*/g,
  /("?(?:password|passwd|secret|token|api[_-]?key|authorization|cookie)"?\s*[:=]\s*)("[^"]*"|[^\s,;&}]+)/gi,
];

/** One line of at most 200 characters, without what looks like a credential. */
export function redacted(text: string, secrets: readonly string[]): string {
  let clean = text;
  // an answer may quote what it was sent; a short value would tear words apart
  for (const secret of secrets) if (secret.length >= 4) clean = clean.replaceAll(secret, '[redacted]');
  for (const pattern of SECRETS)
    clean = clean.replace(pattern, (_all, name) => (/[:=]/.test(String(name)) ? `${name}[redacted]` : '[redacted]'));
  // what a terminal would obey; the joiners inside of a character stay
  clean = clean.replace(/[\p{Cc}\s\u061C\u200B\u200E\u200F\u2028-\u202E\u2060-\u2069\uFEFF]+/gu, ' ');
  return cutText(clean, REASON_CHARS);
}
