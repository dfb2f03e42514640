// A run whose machine slept: what it says when it wakes.
import { expect, test } from '@jest/globals';
import type { JournalEvent } from '../../../src/engine/events.ts';
import type { Journal, Owner } from '../../../src/engine/journal.ts';
import { type Host, Run } from '../../../src/engine/run.ts';
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

/** A run with a window whose connections died while the machine slept: the state seems not to answer. */
async function woken(slept: boolean, meanwhile: (journal: Journal, token: number) => Promise<unknown>) {
  const journal = memoryJournal(Date.now);
  const answer = await journal.take('prod', OWNER);
  if (!('taken' in answer)) throw new Error('the lease is held');
  const never = new AbortController().signal;
  const host = {
    journal: {
      ...journal,
      address: 'memory',
      append: async () => {
        throw new MaintError('E_STATE', 'the state did not answer within 7s', { next: [] });
      },
    } as Journal,
    interrupt: { signal: never, hard: never },
  } as Host;
  const run = new Run(host, answer.taken);
  const state = fold('w-1', await journal.open(answer.taken, 'w-1', [OPENED]))!;
  await meanwhile(journal, answer.taken.token);
  if (slept) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2_600);
  try {
    await run.append(state, [{ type: 'overdue' }]);
    return 'appended';
  } catch (error) {
    return (error as MaintError).code;
  } finally {
    await run.end();
  }
}

const takenOver = (journal: Journal, token: number) => journal.take('prod', { ...OWNER, name: 'ben@basalt' }, token);

test('woken after a takeover, with connections that are dead: it says that it was taken over', async () => {
  expect(await woken(true, takenOver)).toBe('E_TAKEN_OVER');
});
test('woken, and nobody took over: the state did not answer', async () => {
  expect(await woken(true, async () => undefined)).toBe('E_STATE');
});
test('it did not sleep: nobody can have taken over, and nothing more is asked', async () => {
  expect(await woken(false, takenOver)).toBe('E_STATE');
});
