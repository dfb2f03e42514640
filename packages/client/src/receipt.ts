import { smallJson } from './answer.ts';
import { RetryError } from './errors.ts';
import { publicUrl } from './exchange.ts';
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
  /** From the call to the end of the waiting, in milliseconds. Default 60,000. */
  readonly deadlineMs?: number;
  /** The first pause where the service does not say how long; doubles up to `maxPauseMs`. Default 2000. */
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
  const { deadlineMs = 60_000, minPauseMs = 2000, maxPauseMs = 30_000, signal, random = Math.random } = options;
  const send = options.fetch ?? globalThis.fetch;
  const url = addressOf(accepted);
  const place = `GET ${publicUrl(url)}`;
  const end = performance.now() + deadlineMs;
  let attempts = 0;
  let pause = minPauseMs;
  let told =
    typeof accepted === 'string' || accepted instanceof URL ? 0 : toldMs(headerOf(accepted, 'retry-after'), null);

  for (;;) {
    // Never less than was asked for, and not all at once: up to half of it on top.
    const wait = told === null ? pause * (0.5 + random() / 2) : told + random() * Math.min(30_000, told / 2);
    const left = end - performance.now();
    if (wait >= left) {
      throw new RetryError(`not settled within ${deadlineMs / 1000} s.`, {
        code: 'past_deadline',
        place,
        attempts,
        until: told === null ? null : new Date(Date.now() + told).toISOString(),
        next: 'The write is kept and will be applied; ask for the receipt again later.',
      });
    }
    await sleep(wait, signal);
    attempts += 1;
    const answer = await ask();
    if (answer.receipt) return answer.receipt;
    told = answer.told;
    pause = Math.min(maxPauseMs, pause * 2);
  }

  async function ask(): Promise<{ receipt: Receipt | null; told: number | null }> {
    const late = AbortSignal.timeout(Math.max(1, Math.min(30_000, Math.ceil(end - performance.now()))));
    let response: Response;
    try {
      response = await send(url, { cache: 'no-store', signal: signal ? AbortSignal.any([signal, late]) : late });
    } catch (error) {
      if (signal?.aborted) throw error;
      // Gone for a while, as services are around a maintenance.
      return { receipt: null, told: null };
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
    return { receipt: settled ? body : null, told };
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
