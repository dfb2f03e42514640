import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createBudget, sharedBudget } from '../../../packages/client/src/index.ts';

test('a share of the requests, and a few to begin with', async () => {
  const budget = createBudget({ share: 0.1, minPerSecond: 0, burst: 2, now: () => 0 });
  expect([await budget.take(1e9), await budget.take(1e9), await budget.take(1e9)]).toEqual([true, true, false]);
  for (let n = 0; n < 10; n++) budget.request();
  expect([await budget.take(1e9), await budget.take(1e9)]).toEqual([true, false]);
  expect(budget.counts()).toMatchObject({ requests: 10, retries: 3, denied: 2, waiting: 0 });
});

test('where none is left a retry waits for its turn, in order, as long as its deadline allows', async () => {
  let at = 0;
  const budget = createBudget({ share: 0.1, minPerSecond: 50, burst: 1, now: () => at });
  expect(await budget.take(0)).toBe(true);
  const order: number[] = [];
  const turns = [1, 2, 3].map((n) => budget.take(1000).finally(() => order.push(n)));
  expect(budget.counts().waiting).toBe(3);
  // The fourth would have its turn after 80 ms.
  expect(await budget.take(70)).toBe(false);
  for (const [n, turn] of turns.entries()) {
    at += 20;
    expect(await turn).toBe(true);
    expect(order).toEqual([1, 2, 3].slice(0, n + 1));
  }
});

test('requests bring a waiting retry forward', async () => {
  const budget = createBudget({ share: 0.5, minPerSecond: 0.01, burst: 1 });
  await budget.take(0);
  const turn = budget.take(1e9);
  budget.request();
  budget.request();
  expect(await turn).toBe(true);
});

test('who leaves the queue gives up the place, not a retry', async () => {
  let at = 0;
  const budget = createBudget({ share: 0, minPerSecond: 50, burst: 1, now: () => at });
  await budget.take(0);
  const leaver = new AbortController();
  const left = budget.take(1000, leaver.signal);
  const stays = budget.take(1000);
  leaver.abort(new Error('no longer wanted'));
  await expect(left).rejects.toThrow('no longer wanted');
  // enough for one
  at = 20;
  expect(await stays).toBe(true);
  expect(budget.counts()).toMatchObject({ retries: 2, waiting: 0 });
});

test('no sequence of calls gets more than burst + share × requests + minPerSecond × seconds', async () => {
  const steps = fc.array(fc.oneof(fc.constant('request'), fc.constant('take'), fc.integer({ min: 1, max: 5000 })));
  await fc.assert(
    fc.asyncProperty(steps, fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(10), async (all, share, burst) => {
      let clock = 0;
      const budget = createBudget({ share, minPerSecond: 1, burst, now: () => clock });
      for (const step of all) {
        if (step === 'request') budget.request();
        else if (step === 'take') await budget.take(0);
        else clock += step as number;
        const { requests, retries } = budget.counts();
        expect(retries).toBeLessThanOrEqual(burst + share * requests + clock / 1000 + 1e-6);
      }
    }),
  );
});

test('one per process, whatever loads it', () => {
  expect(sharedBudget()).toBe(sharedBudget());
  expect((globalThis as Record<symbol, unknown>)[Symbol.for('@maint/client/budget')]).toBe(sharedBudget());
});

test('what cannot be is refused', () => {
  expect(() => createBudget({ share: -1 })).toThrow('share: -1, allowed are numbers from 0');
  expect(() => createBudget({ burst: Number.NaN })).toThrow('burst: NaN');
});
