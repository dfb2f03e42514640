// A queue by its address.
import { resolve } from 'node:path';
import { QueueError } from './error.ts';
import { DEFAULT_LIMITS, type IntentStore, type Limits } from './port.ts';
import { type IntentQueue, makeQueue } from './queue.ts';

export type OpenOptions = (
  | { /** of a SQLite file; made where it is missing */ readonly path: string }
  | {
      /** postgres://USER@HOST:PORT/DATABASE; may carry ?schema= */
      readonly url: string;
      /** default `maint_queue` */
      readonly schema?: string;
    }
) & {
  /** What an accepted write has to survive at least. Default: power. `process` is for tests, on tmpfs or fsync=off. */
  readonly survives?: 'process' | 'power' | 'machine';
  /** milliseconds since the epoch; for tests */
  readonly clock?: () => number;
};

const ORDER = ['process', 'power', 'machine'] as const;

/**
 * Opens a queue, and refuses one whose engine is not set up to keep what it accepts.
 *
 * Throws {@link QueueError}: QUEUE_OPTIONS, QUEUE_UNAVAILABLE, QUEUE_FOREIGN, QUEUE_NOT_DURABLE.
 */
export async function openQueue(options: OpenOptions, limits: Partial<Limits> = {}): Promise<IntentQueue> {
  const all = limitsOf(limits);
  const clock = options.clock ?? Date.now;
  const store = await openStore(options, all, clock);
  try {
    const { survives, proof } = store.durability;
    const wanted = options.survives ?? 'power';
    if (ORDER.indexOf(survives) < ORDER.indexOf(wanted))
      throw new QueueError(
        'QUEUE_NOT_DURABLE',
        `the queue ${store.address} would not survive the loss of ${lost(wanted)}`,
        {
          details: [proof],
          next: ['set the engine up to sync what it commits, or use another one'],
        },
      );
    return await makeQueue(store, { limits: all, clock });
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function openStore(options: OpenOptions, limits: Limits, clock: () => number): Promise<IntentStore> {
  if ('path' in options) {
    const { openSqliteStore } = await import('./sqlite.ts');
    return await openSqliteStore(resolve(options.path), { limits, clock });
  }
  const { openPostgresStore } = await import('./postgres.ts');
  return await openPostgresStore(options.url, {
    limits,
    ...(options.schema === undefined ? {} : { schema: options.schema }),
  });
}

function lost(survives: 'process' | 'power' | 'machine'): string {
  return survives === 'machine' ? 'its machine' : survives;
}

function limitsOf(given: Partial<Limits>): Limits {
  const limits: Limits = { ...DEFAULT_LIMITS, ...given };
  for (const [name, value] of Object.entries(limits)) {
    if (!(name in DEFAULT_LIMITS))
      throw new QueueError('QUEUE_OPTIONS', `there is no limit ${name}`, {
        details: [`allowed: ${Object.keys(DEFAULT_LIMITS).join(', ')}`],
      });
    if (typeof value !== 'number' || !(value >= 0))
      throw new QueueError('QUEUE_OPTIONS', `the limit ${name} is ${String(value)}`, {
        details: ['allowed: 0 or more'],
      });
  }
  return limits;
}
