// One process of the sweep of the queue, to be killed at any moment: a guard that accepts, or a worker that replays.
// What it says on stdout is written at once (a pipe), so that what it said before it was killed is known.
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { type BufferedWrite, type IntentQueue, type OpenOptions, openQueue } from '../../packages/intents/src/index.ts';

export interface ChildOrder {
  role: 'guard' | 'worker';
  queue: OpenOptions;
  id: string;
  /** guard: the next number of each lane */
  lanes: Record<string, number>;
  /** of the queue, so that "full" is met too */
  cap: number;
  /** worker: where the service is */
  url: string;
  rate: number;
}

const BODY_MAX = 4_096;
const order = JSON.parse(process.argv[2] ?? '{}') as ChildOrder;
const say = (...words: (string | number)[]) => process.stdout.write(`${words.join(' ')}\n`);
let stopping = false;
const stop = new AbortController();
createInterface({ input: process.stdin }).on('line', () => {
  stopping = true;
  stop.abort();
});

const queue = await opened();
say('UP');
if (order.role === 'guard') await guard(queue);
else await worker(queue);
await queue.close();
say('END');
process.exit(0);

/** its engine may be down at this moment */
async function opened(): Promise<IntentQueue> {
  for (;;) {
    try {
      return await openQueue(order.queue, { count: order.cap, bodyBytes: BODY_MAX, freeBytes: 0 });
    } catch (error) {
      if (stopping) process.exit(0);
      await delay(100);
      if (!/not there|starting|down|broke|crashed|locked|written to/.test(String(error))) throw error;
    }
  }
}

async function guard(into: IntentQueue): Promise<void> {
  await Promise.all(Object.entries(order.lanes).map(([lane, from]) => send(into, lane, from)));
}

function made(lane: string, n: number, change: Partial<BufferedWrite> = {}): BufferedWrite {
  return {
    surface: 'notes',
    tenant: order.id,
    key: `${order.id}-${lane}-${n}`,
    order: lane.startsWith('u') ? null : lane,
    method: 'POST',
    target: `/notes/${lane}`,
    headers: { 'content-type': 'application/json' },
    body: Buffer.from(JSON.stringify({ guard: order.id, lane, n, pad: 'x'.repeat((n * 37) % 700) })),
    receivedAt: Date.now(),
    window: 'w-sweep',
    ...change,
  };
}

/** One client: its next write goes out when the last one is acknowledged, and what is not acknowledged comes again. */
async function send(into: IntentQueue, lane: string, from: number): Promise<void> {
  for (let n = from; !stopping; n++) {
    for (let tries = 0; ; tries++) {
      const answer = await into.accept(made(lane, n));
      if (answer.is === 'accepted') {
        say('A', lane, n, answer.receipt, answer.replayed ? 1 : 0);
        break;
      }
      say('N', answer.is);
      if (answer.is === 'reused') throw new Error(`the same write is not the same: ${lane} ${n}`);
      if (answer.is === 'full' && tries === 0) await refusedFull(into, lane, n);
      // a client that comes back
      await delay(5 + Math.random() * 20);
      if (stopping) return;
    }
    if (n % 40 === 7) await refusedAlways(into, lane, n);
  }
}

/** A client that gives up after "full": its write must never be applied. */
async function refusedFull(into: IntentQueue, lane: string, n: number): Promise<void> {
  const key = `${order.id}-${lane}-${n}-once-${Math.random()}`;
  const body = Buffer.from(JSON.stringify({ once: key }));
  const answer = await into.accept(made(lane, n, { key, order: null, body }));
  if (answer.is === 'full') say('R', key);
  else if (answer.is === 'accepted') say('O', key, answer.receipt);
}

async function refusedAlways(into: IntentQueue, lane: string, n: number): Promise<void> {
  const body = Buffer.from(JSON.stringify({ refused: true }));
  const reused = await into.accept(made(lane, n, { body }));
  if (reused.is === 'accepted') throw new Error('another payload was accepted under a used key');
  const large = Buffer.alloc(BODY_MAX + 1, 'x');
  const tooLarge = await into.accept(made(lane, n, { key: `${order.id}-${lane}-${n}-large`, body: large }));
  if (tooLarge.is === 'accepted') throw new Error('a body above the limit was accepted');
  say('X', reused.is, tooLarge.is);
}

async function worker(from: IntentQueue): Promise<void> {
  while (!stopping) {
    const report = await from.backfill({
      url: order.url,
      rate: order.rate,
      rampMs: 0,
      honoursKeys: true,
      concurrency: 8,
      // above the deadline of a request to the loopback; after a kill its partitions wait for it
      leaseMs: 1_500,
      budget: 1,
      signal: stop.signal,
    });
    say('B', report.applied, report.alreadyApplied, report.dead, report.stopped?.why ?? 'done');
    if (!stopping) await delay(50);
  }
}
