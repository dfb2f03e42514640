// What a durable append of the journal costs, against the least that durable can cost: a write of as many bytes and fsync.
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JournalEvent } from '../src/engine/events.ts';
import { openJournal } from '../src/store/index.ts';
import { interleaved, ratios, type Spread, spread } from './measure.ts';

export interface Appends {
  events: number;
  bytes: number;
  append: Spread;
  raw: Spread;
  ratio: Spread;
}

export async function appends(rounds: number): Promise<Appends[]> {
  const folder = mkdtempSync(join(tmpdir(), 'maint-bench-store-'));
  const raw = openSync(join(folder, 'raw'), 'a');
  const journal = await openJournal({ state: join(folder, 'state.db'), env: {}, write: true, version: '0.0.0' });
  try {
    const owner = { name: 'bench', host: 'bench', bootId: '', pidNamespace: '', pid: 1, startTime: '', verb: 'start' };
    const answer = await journal.take('prod', owner);
    if (!('taken' in answer)) throw new Error('the lease is held');
    await journal.open(answer.taken, 'w-bench', [{ type: 'phase', phase: 'open', verb: 'start' }]);
    const results: Appends[] = [];
    for (const count of [1, 64]) {
      const events = Array.from({ length: count }, (_, n): JournalEvent => intent(n));
      const bytes = Buffer.from(events.map((event) => JSON.stringify(event)).join(''));
      const values = await interleaved(rounds, {
        append: () => timed(async () => void (await journal.append(answer.taken, 'w-bench', events))),
        raw: () =>
          timed(async () => {
            writeSync(raw, bytes);
            fsyncSync(raw);
          }),
      });
      results.push({
        events: count,
        bytes: bytes.length,
        append: spread(values.append),
        raw: spread(values.raw),
        ratio: spread(ratios(values.append, values.raw)),
      });
    }
    return results;
  } finally {
    await journal.end();
    closeSync(raw);
    rmSync(folder, { recursive: true });
  }
}

async function timed(work: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

function intent(n: number): JournalEvent {
  const id = `job-${n}.sh-0123456789#1`;
  const digest = '0123456789abcdef';
  return {
    type: 'intent',
    step: 'crons',
    changes: [{ id, from: { active: true, digest }, to: { active: false, digest } }],
  };
}
