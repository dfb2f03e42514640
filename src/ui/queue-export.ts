// What was accepted, line by line: a queue may hold a million writes, and none of them is kept in memory.
import { once } from 'node:events';
import type { IntentDetail } from '../../packages/intents/src/index.ts';
import type { App } from '../app/app.ts';
import { lostLine, put } from './output.ts';
import { detailJson } from './queue.ts';
import { reserveFile } from './window.ts';

const BATCH = 200;

/** How many were written. A body goes into the file as it is; everything else is redacted as everywhere. */
export async function exportTo(
  app: App,
  intents: AsyncIterable<IntentDetail>,
  output: string | undefined,
): Promise<number> {
  const file = output === undefined ? undefined : reserveFile(output, output);
  let count = 0;
  let batch: string[] = [];
  const flush = async () => {
    const text = batch.join('');
    batch = [];
    if (text === '') return;
    if (file) file.write(text);
    else if (!put(process.stdout, text)) await drained();
  };
  try {
    for await (const intent of intents) {
      if (app.options.interrupt.signal.aborted) throw app.options.interrupt.signal.reason;
      const { body, ...rest } = detailJson(intent);
      batch.push(`${JSON.stringify(body === undefined ? app.redact(rest) : { ...app.redact(rest), body })}\n`);
      count++;
      if (batch.length >= BATCH) await flush();
      if (!file && (process.stdout.destroyed || lostLine(process.stdout) !== undefined)) break;
    }
    await flush();
    return count;
  } finally {
    file?.close();
  }
}

/** Or nobody takes anything any more: then no 'drain' ever comes. */
async function drained(): Promise<void> {
  const over = new AbortController();
  const { signal } = over;
  await Promise.race([once(process.stdout, 'drain', { signal }), once(process.stdout, 'close', { signal })]).finally(
    () => over.abort(),
  );
}
