// A run whose machine slept: what it says when it wakes.
import { expect, test } from '@jest/globals';
import type { JournalEvent } from '../../../src/engine/events.ts';
import type { Journal, Owner } from '../../../src/engine/journal.ts';
import { type Host, type Run, withLease } from '../../../src/engine/run.ts';
import { fold } from '../../../src/engine/window.ts';
import { MaintError } from '../../../src/errors/catalogue.ts';
import { memoryJournal } from '../../support/memory-journal.ts';
import { VirtualTime } from '../../support/virtual-time.ts';

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

type Hold = (of: { time: VirtualTime; store: Journal; sleep(ms: number): void }, nth: number) => Promise<void>;

/** A run in virtual time, over a state whose answers may be held up, each by its number. */
async function over(
  holds: Partial<Record<'take' | 'renew' | 'adopt', Hold>>,
  work: (run: Run, journal: Journal, left: () => Promise<number>) => Promise<void>,
): Promise<void> {
  using time = new VirtualTime();
  const clocks = { wall: 0, mono: 0, asleep: false };
  const sleep = (ms: number) => {
    time.now += ms;
    clocks.mono -= ms;
  };
  const store = memoryJournal(() => time.now);
  const asked = new Map<string, number>();
  const journal = new Proxy(store, {
    get: (_, key: keyof typeof holds) => {
      if (typeof store[key] !== 'function') return store[key];
      return async (...args: unknown[]) => {
        const answer = await (store[key] as (...args: unknown[]) => Promise<unknown>)(...args);
        const nth = (asked.get(key) ?? 0) + 1;
        asked.set(key, nth);
        await holds[key]?.({ time, store, sleep }, nth);
        return answer;
      };
    },
  });
  const never = new AbortController().signal;
  const host = {
    journal,
    machine: { name: 'lapis', owner: () => OWNER, dead: () => false },
    interrupt: { signal: never, hard: never },
    emit: () => undefined,
  } as unknown as Host;
  const left = async () => (await store.lease('prod'))!.expiresAt - time.now;
  const whole = () => withLease(host, 'prod', 'start', {}, async (run) => await work(run, journal, left));
  await time.until(time.as({ clocks, dead: false }, whole));
}
const later = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

test('asleep while the lease was being renewed: an answer from before says nothing of now', async () => {
  const hold: Hold = async ({ store, sleep }, nth) => {
    if (nth > 1) return;
    sleep(3_600_000);
    await takenOver(store);
    // timers that are due fire before what was answered is read
    await later(1);
  };
  await over({ renew: hold }, async (run) => {
    await run.wait(run.now() + 3_400);
    await expect(run.mayWrite(10_000)).rejects.toMatchObject({ code: 'E_TAKEN_OVER' });
  });
});
test('no write goes out with less lease left than it may take, however late the state answers', async () => {
  await over({ take: () => later(6_000) }, async (run, _journal, left) => {
    await run.mayWrite(10_000);
    expect(await left()).toBeGreaterThanOrEqual(10_000);
  });
  await over({ renew: (_of, nth) => later(nth === 1 ? 7_000 : 0) }, async (run, _journal, left) => {
    await run.wait(run.now() + 4_500);
    await run.mayWrite(10_000);
    expect(await left()).toBeGreaterThanOrEqual(10_000);
  });
  await over({ renew: () => later(7_000) }, async (run) => {
    await run.wait(run.now() + 4_500);
    await expect(run.mayWrite(10_000)).rejects.toMatchObject({ code: 'E_STATE' });
  });
});
test('a state that is gone before a write, with things of ours in place: a human is needed', async () => {
  const gone: Hold = async () => {
    throw new MaintError('E_STATE', 'the state did not answer within 7s', { next: [] });
  };
  await over({ renew: gone }, async (run, journal) => {
    const intent: JournalEvent = { type: 'intent', step: 'flag', changes: [{ id: 'w-1', from: null, to: {} }] };
    const state = fold('w-1', await journal.open(run.lease, 'w-1', [OPENED, intent]))!;
    await run.wait(run.now() + 5_000);
    await expect(run.acting(state, []).mayWrite(10_000)).rejects.toMatchObject({ code: 'E_STATE', exit: 68 });
  });
});
test('taking a window in while the lease is renewed: the run goes on with the grown token', async () => {
  const grown = { seq: 1, at: '2026-12-01T02:00:00.000Z', token: 7, event: OPENED };
  const slowly: Hold = async () => await later(100);
  for (const ms of [2_950, 3_050, 3_500]) {
    await over({ renew: slowly, adopt: slowly }, async (run) => {
      await run.wait(run.now() + ms);
      await run.adopt('w-1', [grown], [], true);
      await run.wait(run.now() + 4_000);
      const state = fold('w-1', [grown])!;
      await run.append(state, [{ type: 'overdue' }]);
      expect(run.lease.token).toBe(8);
    });
  }
});
