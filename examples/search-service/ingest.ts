// The ingestion job: takes the next few documents of a feed. The service runs it at an interval; cron runs it as a
// script: `DATABASE=… READ_ONLY_FLAG=… node ingest.ts`. Either way the guard stands before it.
import { readFileSync } from 'node:fs';
import { createGuard, fileSource, isSkipped } from '../../packages/guard/src/index.ts';
import { openStore, type Store } from './store.ts';

interface Item {
  id: string;
  title: string;
  body: string;
}

/** @returns the job: each call takes the next `size` documents of the feed, from the beginning again after the last */
export function createIngest(store: Store, feed: readonly Item[] = readFeed()) {
  let next = 0;
  return async function ingest(size = 1): Promise<number> {
    for (let taken = 0; taken < size; taken++) {
      const item = feed[next++ % feed.length];
      if (item) store.putDocument(item.id, item.title, item.body);
    }
    return size;
  };
}

export function readFeed(): Item[] {
  return JSON.parse(readFileSync(new URL('feed.json', import.meta.url), 'utf8')) as Item[];
}

if (import.meta.main) {
  const { DATABASE = 'search.db', READ_ONLY_FLAG = 'flag/read-only.json' } = process.env;
  const guard = createGuard({ source: fileSource(READ_ONLY_FLAG), environment: 'demo' });
  await guard.ready();
  const store = openStore(DATABASE);
  const feed = readFeed();
  const run = await guard.job(createIngest(store, feed), { name: 'ingest' })(feed.length);
  console.log(isSkipped(run) ? `skipped: read-only until ${run.until}` : `${run} documents ingested`);
  await store.close();
  await guard.close();
}
