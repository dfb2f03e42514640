// A service's process with a guard per source. Tells over IPC when a guard begins to refuse, by the machine's monotonic
// clock, which all processes share.

import { Redis } from 'ioredis';
import { createGuard, type FlagSource, fileSource, httpSource, redisSource } from '../packages/guard/src/index.ts';

const [file, redisUrl, httpUrl] = process.argv.slice(2) as [string, string, string];

/** The source as it is, and a look at the guard after each of its words. */
function watched(name: string, source: FlagSource): void {
  let refusing = false;
  const guard = createGuard({
    source: {
      start(sink) {
        source.start({
          ...sink,
          document(text) {
            sink.document(text);
            // The first document comes while the guard is being made.
            queueMicrotask(() => look());
          },
        });
      },
      close: () => source.close(),
    },
    log: () => {},
  });
  function look(): void {
    if (guard.readOnly() === refusing) return;
    refusing = !refusing;
    process.send?.({ name, refusing, at: String(process.hrtime.bigint()) });
  }
  void guard.ready().then(() => process.send?.({ name, ready: true }));
}

watched('file', fileSource(file));
if (redisUrl !== '') watched('redis', redisSource(new Redis(redisUrl)));
watched('http', httpSource(httpUrl, { sse: true }));
process.on('disconnect', () => process.exit());
