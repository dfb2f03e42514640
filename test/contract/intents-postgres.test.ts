// The queue on a real Postgres: the suite of every engine, then what only a server can do.
import { afterAll, beforeAll } from '@jest/globals';
import { type IntentQueue, type Limits, openQueue } from '../../packages/intents/src/index.ts';
import { describeWith, type Postgres, startPostgres } from '../support/servers.ts';
import { intentsSuite } from './intents.ts';

let server: Postgres;
let made = 0;

const fixtureAt =
  (url: () => string) =>
  async (limits: Partial<Limits> = {}) => {
    const schema = `q${process.pid}_${++made}`;
    const queues: IntentQueue[] = [];
    const reopen = async (more = limits) => {
      const queue = await openQueue({ url: url(), schema }, more);
      queues.push(queue);
      return queue;
    };
    return {
      queue: await reopen(),
      reopen,
      async cleanup() {
        for (const queue of queues) await queue.close();
        await server.sql(`set client_min_messages = error; drop schema ${schema} cascade`);
      },
    };
  };

describeWith('postgres', 'Postgres', () => {
  beforeAll(async () => {
    server = await startPostgres({ settings: { fsync: 'on', full_page_writes: 'on' } });
  });
  afterAll(() => server?.stop());

  intentsSuite(
    'Postgres',
    fixtureAt(() => server.url),
  );
});
