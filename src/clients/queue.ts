// The durable queue of accepted writes, through @maint/intents, which is loaded where a queue is used.
import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import type { IntentQueue, QueueError } from '../../packages/intents/src/index.ts';
import { monotonicNow } from '../engine/clock.ts';
import {
  type QueueReader,
  type QueueReplayed,
  type QueueSeen,
  type QueueWriter,
  statement,
  WRITE_DEADLINE_MS,
} from '../engine/io.ts';
import { OuterError } from '../errors/catalogue.ts';
import { after, before, limit, outerError, race, type Scope } from './call.ts';
import { httpReader } from './http.ts';
import { type PostgresPool, postgresReader } from './postgres.ts';
import { isAlive, thisProcess } from './process.ts';
import { isPostgres, queuePlace } from './queue-place.ts';

/** What is under way when a replay is told to stop may take so long to end. */
const GRACE_MS = 3_000;
/** One slow read is no illness of the service. */
const BAD_READS = 3;
const DEFAULT_SCHEMA = 'maint_queue';
const SCHEMA_IS_THERE = statement('queue schema', 'select 1 as there from pg_namespace where nspname = $1');

const intents = () => import('../../packages/intents/src/index.ts');

/** Opens a queue; a file and its tables are made where they are missing. Throws QueueError. */
export async function openQueueAt(queue: string): Promise<IntentQueue> {
  const { openQueue } = await intents();
  // What people do with a queue asks nothing of its durability: the guards, who accept, do.
  return await openQueue({ ...(isPostgres(queue) ? { url: queue } : { path: queue }), survives: 'process' });
}

/** Whether anything was ever kept there. */
export async function queueIsThere(scope: Scope, pools: PostgresPool, queue: string): Promise<boolean> {
  // an empty file is no queue yet, and opening it would make one of it
  if (!isPostgres(queue)) return (statSync(queue, { throwIfNoEntry: false })?.size ?? 0) > 0;
  const url = new URL(queue);
  const schema = url.searchParams.get('schema') ?? DEFAULT_SCHEMA;
  url.searchParams.delete('schema');
  return (await postgresReader(scope, pools).rows(url.href, SCHEMA_IS_THERE, [schema])).length > 0;
}

export function queueReader(scope: Scope, pools: PostgresPool): QueueReader {
  return {
    async look(queue) {
      if (!(await queueIsThere(scope, pools, queue))) return null;
      return await opened(scope, queue, async (one): Promise<QueueSeen> => {
        const { queue: address, states, unknown, parked, holds } = await one.status();
        return {
          address,
          waiting: states.queued + states.applying,
          dead: states.dead,
          parked: parked.waiting,
          unknown,
          holds: holds.map(({ window, reason }) => ({ window, reason })),
        };
      });
    },
  };
}

export function queueWriter(scope: Scope, pools: PostgresPool): QueueWriter {
  return {
    ...queueReader(scope, pools),
    hold: (queue, window, reason) =>
      opened(scope, queue, (one) => written(scope, 'queue hold', () => one.hold(window, reason, scope.hooks?.awake))),
    release: (queue, window) =>
      opened(scope, queue, (one) => written(scope, 'queue release', () => one.unhold(window, scope.hooks?.awake))),
    async replay(queue, options) {
      const { httpSender, NotSent } = await intents();
      const { health, progress, signal, credential, ...plain } = options;
      const over = new AbortController();
      let late = false;
      let lost: unknown;
      const left = scope.deadline - monotonicNow() - GRACE_MS;
      const timer = setTimeout(
        () => {
          late = true;
          over.abort();
        },
        Math.max(0, left),
      );
      const awake = scope.hooks?.awake;
      const send = httpSender({ url: options.url, keepAlive: options.honoursKeys, ...(awake && { awake }) });
      try {
        const report = await opened(
          scope,
          queue,
          (one) =>
            one.backfill({
              ...plain,
              alone: { owner: thisRun(), gone: isGone },
              ...(credential ? { credential } : {}),
              signal: AbortSignal.any([over.signal, scope.signal, ...(signal ? [signal] : [])]),
              graceMs: GRACE_MS,
              ...(health ? { health: healthOf(scope, health) } : {}),
              ...(progress ? { progress } : {}),
              async sender(request, cut) {
                try {
                  await scope.hooks?.may?.(WRITE_DEADLINE_MS);
                  before(scope, 'queue replay');
                } catch (error) {
                  lost = error;
                  over.abort();
                  throw new NotSent('the run may not write any more');
                }
                const answer = await send(request, cut);
                try {
                  after(scope, 'queue replay');
                } catch (error) {
                  lost = error;
                  over.abort();
                  throw error;
                }
                return answer;
              },
            }),
          Number.POSITIVE_INFINITY,
        );
        if (lost !== undefined) throw lost;
        const { stopped, ...rest } = report;
        if (!stopped) return rest;
        const why = stopped.why === 'interrupted' && late ? 'deadline' : stopped.why;
        return { ...rest, stopped: { ...stopped, why } } satisfies QueueReplayed;
      } finally {
        clearTimeout(timer);
        send.close();
      }
    },
  };
}

/** People see what stands before the first `;`. The last part tells two runs of one process apart. */
function thisRun(): string {
  const { host, pid, bootId, pidNamespace, startTime } = thisProcess();
  return [`${host}, process ${pid}`, host, bootId, pidNamespace, pid, startTime, randomUUID()].join(';');
}

function isGone(owner: string): boolean {
  const [, host = '', bootId = '', pidNamespace = '', pid, startTime = ''] = owner.split(';');
  return isAlive({ host, bootId, pidNamespace, pid: Number(pid), startTime }) === false;
}

function healthOf(scope: Scope, { url, ms }: { url: string; ms: number }) {
  const http = httpReader(scope);
  let bad = 0;
  let asked = false;
  return async (): Promise<'ok' | 'bad'> => {
    const first = !asked;
    asked = true;
    try {
      await http.get({ url, timeoutMs: ms });
      bad = 0;
      return 'ok';
    } catch {
      bad++;
      // before the first write one bad answer is enough
      return first || bad >= BAD_READS ? 'bad' : 'ok';
    }
  };
}

async function written<T>(scope: Scope, what: string, write: () => Promise<T>): Promise<T> {
  before(scope, what);
  const done = await write();
  after(scope, what);
  return done;
}

/** Opened for one question, and closed: nobody else may wait for us. */
async function opened<T>(
  scope: Scope,
  queue: string,
  work: (one: IntentQueue) => Promise<T>,
  capMs = WRITE_DEADLINE_MS,
): Promise<T> {
  const where = queuePlace(queue);
  const forever = capMs === Number.POSITIVE_INFINITY;
  using bound = limit(scope, where, undefined, forever ? Math.max(1, scope.deadline - monotonicNow()) : capMs);
  const opening = openQueueAt(queue);
  let one: IntentQueue | undefined;
  try {
    one = await race(bound, opening);
    return await (forever ? work(one) : race(bound, work(one)));
  } catch (error) {
    // Whoever opens late closes by itself.
    if (!one)
      opening.then(
        (late) => late.close(),
        () => undefined,
      );
    if (error instanceof OuterError) throw error;
    throw queueFailure(scope, where, error, bound.reason());
  } finally {
    await one?.close();
  }
}

function queueFailure(
  scope: Scope,
  where: string,
  error: unknown,
  ended: 'interrupted' | 'timeout' | undefined,
): Error {
  if (ended !== undefined)
    return outerError(
      scope,
      `the queue ${where} ${ended === 'timeout' ? 'did not answer in time' : 'was interrupted'}`,
      {
        effect: 'unknown',
        retryable: ended === 'timeout',
      },
    );
  if (!isQueueError(error)) return error as Error;
  const { code, message, details } = error;
  const text = [message, ...details].join('; ');
  return outerError(scope, text, {
    effect: code === 'QUEUE_BUSY' || code === 'QUEUE_UNAVAILABLE' ? 'unknown' : 'none',
    retryable: code === 'QUEUE_BUSY' || code === 'QUEUE_UNAVAILABLE',
    code,
  });
}

/** By its shape: the class is of a package that is loaded late. */
export function isQueueError(error: unknown): error is QueueError {
  return error instanceof Error && error.name === 'QueueError';
}
