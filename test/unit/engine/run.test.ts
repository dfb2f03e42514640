// A run whose machine slept: what it says when it wakes.
import { expect, test } from '@jest/globals';
import type { JournalEvent } from '../../../src/engine/events.ts';
import type { Journal, Owner } from '../../../src/engine/journal.ts';
import { type Host, withLease } from '../../../src/engine/run.ts';
import { fold } from '../../../src/engine/window.ts';
import { MaintError } from '../../../src/errors/catalogue.ts';
import { memoryJournal } from '../../support/memory-journal.ts';

const OWNER: Owner = {
  ...{ name: 'ana@lapis', host: 'lapis', bootId: 'b', pidNamespace: 'n', pid: 1, startTime: '1', verb: 'start' },
};
const OPENED: JournalEvent = {
  ...{ type: 'opened', environment: 'prod', until: '2026-12-01T03:00:00Z', reason: 'reindex', by: 'ana@lapis' },
  ...{ contact: '#ops', onExpiry: 'hold', soakMs: 1000, budgetMs: 60_000, version: '0', only: [], skip: [] },
  runbook: { name: 'x', path: '/x.yaml', folder: '/', text: 'x' },
};

/** A run whose connections died while the machine slept: whatever it asks next, the state seems not to answer. */
async function woken(slept: boolean, asks: 'append' | 'now', meanwhile: (journal: Journal) => Promise<unknown>) {
  const journal = memoryJournal(Date.now);
  const never = new AbortController().signal;
  let dead = false;
  const ifAlive =
    <A extends unknown[], R>(ask: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (dead) throw new MaintError('E_STATE', 'the state did not answer within 7s', { next: [] });
      return await ask(...args);
    };
  const host = {
    journal: { ...journal, append: ifAlive(journal.append), now: ifAlive(journal.now) },
    machine: { name: 'lapis', owner: () => OWNER, dead: () => false },
    interrupt: { signal: never, hard: never },
  } as unknown as Host;
  const work = withLease(host, 'prod', 'start', {}, async (run) => {
    const state = fold('w-1', await journal.open(run.lease, 'w-1', [OPENED]))!;
    await meanwhile(journal);
    dead = true;
    if (slept) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2_600);
    if (asks === 'append') await run.append(state, [{ type: 'overdue' }]);
    else await run.storeNow();
  });
  return await work.then(
    () => 'done',
    (error: MaintError) => error.code,
  );
}

async function takenOver(journal: Journal): Promise<void> {
  const lease = await journal.lease('prod');
  await journal.take('prod', { ...OWNER, name: 'ben@basalt' }, lease?.token);
}

test.each(['append', 'now'] as const)(
  'woken after a takeover with dead connections, at its next %s: it says so',
  async (asks) => {
    expect(await woken(true, asks, takenOver)).toBe('E_TAKEN_OVER');
  },
);
test('woken, and nobody took over: the state did not answer', async () => {
  expect(await woken(true, 'append', async () => undefined)).toBe('E_STATE');
});
test('it did not sleep: nobody can have taken over, and nothing more is asked', async () => {
  expect(await woken(false, 'append', takenOver)).toBe('E_STATE');
});
