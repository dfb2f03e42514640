// What is answered to a write that is kept, or is not: the queue's words as HTTP.
import type { OwnAnswer } from './adapters/exchange.ts';
import type { BufferingOptions } from './buffer.ts';
import { EXPOSED, problem, refusalOf } from './decide.ts';
import type { QueueAnswer } from './queue.ts';
import type { Settling } from './settling.ts';
import { isHeld } from './state.ts';
import type { Rule } from './surfaces.ts';

/** What keeps the writes of one guard. */
export interface Keeping extends BufferingOptions {
  readonly settling: Settling;
}

export function answerOf(keeping: Keeping, answer: QueueAnswer, rule: Rule): OwnAnswer {
  switch (answer.is) {
    case 'accepted':
      if (!answer.replayed) keeping.tally.count('queued', rule.name);
      return accepted(keeping, answer.receipt);
    case 'reused': {
      const detail = 'This key was used for another request. A new write needs a new key.';
      return problem(keeping.state(), 422, 'idempotency_key_reused', detail, null, about(keeping));
    }
    case 'in_flight': {
      const detail = 'The first request with this key is being stored. Send it again with the same key.';
      return problem(keeping.state(), 409, 'idempotency_in_flight', detail, 1, about(keeping));
    }
    case 'full': {
      keeping.tally.error('queue');
      keeping.log('warn', 'the queue is full, writes are refused', { surface: rule.name, why: answer.why });
      const detail = 'No more writes can be kept. Nothing was stored.';
      return problem(keeping.state(), 503, 'queue_full', detail, untilOpen(keeping), about(keeping));
    }
    default: {
      keeping.tally.error('queue');
      keeping.log('warn', 'the queue did not answer, a write may be stored or not', {
        surface: rule.name,
        why: answer.why,
      });
      const detail = 'The write may have been kept. Send it again with the same key.';
      return problem(keeping.state(), 503, 'queue_unknown', detail, soon(keeping), about(keeping));
    }
  }
}

export function refused(keeping: Keeping, detail: string): OwnAnswer {
  const current = keeping.state();
  const { window, until, retryAfter } = refusalOf(current, keeping.clock(), keeping.random);
  const more = { ...(window === null ? {} : { window }), ...(until === null ? {} : { until }) };
  return problem(current, 503, 'read_only', `Writes are refused for maintenance. ${detail}`, retryAfter, more);
}

export function unsure(keeping: Keeping, error: unknown): OwnAnswer {
  keeping.tally.error('queue');
  keeping.log('warn', 'the queue does not say whether earlier writes wait', { error: textOf(error) });
  const detail = 'Whether earlier writes are waiting cannot be found out. Nothing was stored.';
  return problem(keeping.state(), 503, 'queue_unknown', detail, soon(keeping));
}

export function about(keeping: Keeping): Record<string, string> {
  const { window, until } = refusalOf(keeping.state(), keeping.clock(), keeping.random);
  return { ...(window === null ? {} : { window }), ...(until === null ? {} : { until }) };
}

export function untilOpen(keeping: Keeping): number {
  const current = keeping.state();
  return isHeld(current, keeping.clock())
    ? refusalOf(current, keeping.clock(), keeping.random).retryAfter
    : soon(keeping);
}

/** Seconds: some, and not the same for everybody. */
export function soon(keeping: Keeping): number {
  return 2 + Math.floor(keeping.random() * 6);
}

function accepted(keeping: Keeping, receipt: string): OwnAnswer {
  const url = `${keeping.receiptsPath}/${receipt}`;
  const body = JSON.stringify({ receipt, status: 'queued', url });
  const current = keeping.state();
  return {
    status: 202,
    headers: {
      'Content-Type': 'application/json',
      'Content-Length': String(Buffer.byteLength(body)),
      'Cache-Control': 'no-store',
      'Access-Control-Expose-Headers': EXPOSED,
      Location: url,
      'Retry-After': String(untilOpen(keeping)),
      ...(current.known && current.holders.length > 0 ? { 'Read-Only': current.header } : {}),
    },
    body,
  };
}

/** Rejects where `work` takes longer. */
export async function inTime<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer in time')), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
