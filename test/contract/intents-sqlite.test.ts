// The queue on SQLite: the suite of every engine, then what only a file can do.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type IntentQueue, openQueue } from '../../packages/intents/src/index.ts';
import { intentsSuite } from './intents.ts';

/** so that a test machine's disk may be nearly full, and /tmp in memory */
const ANYWHERE = { survives: 'process' } as const;

intentsSuite('SQLite', async (limits = {}) => {
  const folder = mkdtempSync(join(tmpdir(), 'maint-queue-'));
  const path = join(folder, 'queue.db');
  const queues: IntentQueue[] = [];
  const reopen = async (more = limits) => {
    const queue = await openQueue({ path, ...ANYWHERE }, { freeBytes: 0, ...more });
    queues.push(queue);
    return queue;
  };
  return {
    queue: await reopen(),
    reopen,
    async cleanup() {
      for (const queue of queues) await queue.close();
      rmSync(folder, { recursive: true });
    },
  };
});
