import { smallJson } from './answer.ts';
import { type RetryBudget, sharedBudget } from './budget.ts';
import { Deadline } from './deadline.ts';
import { type GaveUp, RetryError } from './errors.ts';
import { asksToWait, publicUrl } from './exchange.ts';
import { retryAfterMs } from './retry-after.ts';
import { sleep } from './sleep.ts';

/** How a write that was accepted with 202 ended. */
export interface Receipt {
  readonly receipt: string;
  /** `applied`: done. `dead`: the service refused it when it was replayed. `dropped`: an operator took it out. */
  readonly state: 'applied' | 'dead' | 'dropped';
  readonly acceptedAt: string;
  readonly settledAt: string | null;
  /** The service's answer when it was replayed. */
  readonly status: number | null;
  readonly reason: string | null;
}

export interface ReceiptOptions {
  /** From the call to the end of the waiting, in milliseconds. Default: the last `Retry-After` plus 120,000, at most 900,000. */
  readonly deadlineMs?: number;
  /** For asking again after an error that does not say when. Default: what all wrapped clients of this process share. */
  readonly budget?: RetryBudget;
  /**
   * The first pause where the service does not say how long, or says less than this; doubles up to `maxPauseMs`.
   * Default 2000.
   */
  readonly minPauseMs?: number;
  /** Default 30,000. A longer `Retry-After` is honoured. */
  readonly maxPauseMs?: number;
  readonly signal?: AbortSignal;
  /** What asks. Default: the global `fetch`. The receipt's address is the only authority that is needed. */
  readonly fetch?: (input: string, init?: any) => Promise<Response>;
  readonly random?: () => number;
}

/** A fetch Response, axios' response, or the receipt's whole address. */
export type Accepted =
  | string
  | URL
  | { readonly status: number; readonly url: string; readonly headers: { get(name: string): string | null } }
  | {
      readonly status: number;
      readonly headers: any;
      readonly config: { readonly url?: string; readonly baseURL?: string };
    };

/**
 * Waits until a write that was accepted for later has ended, and says how. Asks after `Retry-After`, or in growing
 * pauses, each with a random part; a service that is gone for a while is asked again later.
 *
 * @throws RetryError `past_deadline` with the receipt's address in `place`; `no_receipt` where the answer was none, or
 * nobody knows it; the signal's reason when the caller aborts
 */
export async function waitForReceipt(accepted: Accepted, options: ReceiptOptions = {}): Promise<Receipt> {
  const { minPauseMs = 2000, maxPauseMs = 30_000, budget = sharedBudget(), signal, random = Math.random } = options;
  if (!(minPauseMs > 0)) throw new TypeError(`minPauseMs: ${minPauseMs}, allowed are numbers above 0`);
  const send = options.fetch ?? globalThis.fetch;
  const url = addressOf(accepted);
  const place = `GET ${publicUrl(url)}`;
  const deadline = new Deadline(options.deadlineMs);
  let attempts = 0;
  let pause = minPauseMs;
  const known = typeof accepted === 'string' || accepted instanceof URL;
  let told = known ? null : toldMs(headerOf(accepted, 'retry-after'), null);
  // An address alone: it may have ended long ago.
  let wait = known ? 0 : waitMs();

  for (;;) {
    deadline.told(told ?? 0);
    if (wait >= deadline.left()) throw gaveUp('past_deadline', `not settled within ${deadline.seconds} s.`);
    await sleep(wait, signal);
    attempts += 1;
    const answer = await ask();
    if (answer.receipt) return answer.receipt;
    told = answer.told;
    pause = Math.min(maxPauseMs, pause * 2);
    wait = waitMs();
    if (!answer.failed || asksToWait(told)) continue;
    if (!(await budget.take(Math.max(0, deadline.left()), signal)))
      throw gaveUp('budget_spent', 'not settled, and this process has used up its retries.');
  }

  /** Never less than was asked for, and not all at once. What asks for next to nothing says nothing. */
  function waitMs(): number {
    if (told !== null && told >= minPauseMs) return told + random() * Math.min(30_000, told / 2);
    return Math.max(told ?? 0, pause * (0.5 + random() / 2));
  }

  function gaveUp(code: GaveUp, message: string): RetryError {
    return new RetryError(message, {
      code,
      place,
      attempts,
      until: told === null ? null : new Date(Date.now() + told).toISOString(),
      next: 'The write is kept and will be applied; ask for the receipt again later.',
    });
  }

  async function ask(): Promise<{ receipt: Receipt | null; told: number | null; failed: boolean }> {
    const late = AbortSignal.timeout(Math.max(1, Math.min(30_000, Math.ceil(deadline.left()))));
    let response: Response;
    try {
      response = await send(url, { cache: 'no-store', signal: signal ? AbortSignal.any([signal, late]) : late });
    } catch (error) {
      if (signal?.aborted) throw error;
      // Gone for a while, as services are around a maintenance.
      return { receipt: null, told: null, failed: true };
    }
    if (response.status === 404 || response.status === 410) {
      throw new RetryError(`${response.status}, nobody knows this receipt.`, {
        code: 'no_receipt',
        place,
        attempts,
        status: response.status,
        response,
        next: 'Receipts are kept for a while only: see whether the write is there, before it is sent again.',
      });
    }
    const told = toldMs(response.headers.get('retry-after'), response.headers.get('date'));
    const body = response.ok ? ((await smallJson(response)) as Receipt | null) : null;
    if (!response.ok) response.body?.cancel().catch(() => {});
    const settled = body !== null && ['applied', 'dead', 'dropped'].includes(body.state);
    return { receipt: settled ? body : null, told, failed: !response.ok };
  }
}

function toldMs(value: string | null, date: string | null): number | null {
  return retryAfterMs(value, date, Date.now());
}

function addressOf(accepted: Accepted): string {
  if (typeof accepted === 'string' || accepted instanceof URL) return String(accepted);
  const base = 'url' in accepted ? accepted.url : new URL(accepted.config.url ?? '', accepted.config.baseURL).href;
  const location = headerOf(accepted, 'location');
  if (accepted.status === 202 && location !== null) return new URL(location, base).href;
  throw new RetryError(`${accepted.status}${location === null ? ' without a Location' : ''} is no receipt.`, {
    code: 'no_receipt',
    place: publicUrl(base),
    attempts: 0,
    status: accepted.status,
    response: accepted,
    next: 'Wait for receipts of answers with 202 only; the others have ended already.',
  });
}

function headerOf(accepted: Exclude<Accepted, string | URL>, name: string): string | null {
  const { headers } = accepted;
  const value = typeof headers.get === 'function' ? headers.get(name) : headers[name];
  return value === undefined || value === null ? null : String(value);
}
