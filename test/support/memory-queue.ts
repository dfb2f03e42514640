// A WriteQueue in memory, for tests of the guard alone: what a durable one promises, without the durability.
import { randomBytes } from 'node:crypto';
import type { BufferedWrite, QueueAnswer, Receipt, ReceiptState, WriteQueue } from '../../packages/guard/src/queue.ts';

interface Kept {
  readonly write: BufferedWrite;
  readonly receipt: string;
  state: ReceiptState;
}

export interface MemoryQueue extends WriteQueue {
  readonly kept: readonly Kept[];
  /** as a backfill would */
  settle(receipt: string, state: ReceiptState): void;
  /** what the next calls of accept give, whatever they are asked */
  next: (QueueAnswer | 'reject' | 'hang')[];
  /** busy and receipt reject, depth and pending throw */
  down: boolean;
  asked: number;
}

export function memoryQueue(): MemoryQueue {
  const kept: Kept[] = [];
  const open = (each: Kept) => each.state === 'queued' || each.state === 'applying';
  const queue: MemoryQueue = {
    kept,
    next: [],
    down: false,
    asked: 0,
    settleMs: 0,
    async accept(write) {
      const next = queue.next.shift();
      if (next === 'reject') throw new Error('it must not');
      if (next === 'hang') return new Promise(() => {});
      if (next) return next;
      const same = kept.find(
        ({ write: w }) => w.surface === write.surface && w.tenant === write.tenant && w.key === write.key,
      );
      if (same) {
        if (print(same.write) !== print(write)) return { is: 'reused' };
        return { is: 'accepted', receipt: same.receipt, replayed: true };
      }
      const receipt = randomBytes(16).toString('base64url');
      kept.push({ write, receipt, state: 'queued' });
      return { is: 'accepted', receipt, replayed: false };
    },
    async receipt(id): Promise<Receipt | null> {
      if (queue.down) throw new Error('down');
      const found = kept.find(({ receipt }) => receipt === id);
      if (!found) return null;
      const settled = open(found) ? null : new Date().toISOString();
      const acceptedAt = new Date(found.write.receivedAt).toISOString();
      return {
        receipt: id,
        state: found.state,
        acceptedAt,
        settledAt: settled,
        status: settled === null ? null : 201,
        reason: null,
      };
    },
    depth() {
      if (queue.down) throw new Error('down');
      const waiting = kept.filter(open);
      const oldest = waiting[0];
      const bytes = waiting.reduce((sum, { write }) => sum + write.body.byteLength, 0);
      return { queued: waiting.length, bytes, oldestMs: oldest ? Date.now() - oldest.write.receivedAt : null };
    },
    pending(surface) {
      if (queue.down) throw new Error('down');
      return kept.some((each) => each.write.surface === surface && open(each));
    },
    async busy(surface, tenant, order) {
      queue.asked += 1;
      if (queue.down) throw new Error('down');
      return kept.some(
        (each) =>
          each.write.surface === surface && each.write.tenant === tenant && each.write.order === order && open(each),
      );
    },
    settle(receipt, state) {
      const found = kept.find((each) => each.receipt === receipt);
      if (!found) throw new Error(`no receipt ${receipt}`);
      found.state = state;
    },
  };
  return queue;
}

function print({ method, target, headers, body }: BufferedWrite): string {
  return JSON.stringify([method, target, headers['content-type'], Buffer.from(body).toString('hex')]);
}
