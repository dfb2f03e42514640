// Only the first answers of a surface wait until every process knows that something of it is kept.
import { expect, test } from '@jest/globals';
import { createSettling } from '../../../packages/guard/src/settling.ts';
import { memoryQueue } from '../../support/memory-queue.ts';
import { VirtualTime } from '../../support/virtual-time.ts';

test('the first waits for the rest of the time, the later ones do not; and again once nothing is kept', async () => {
  using time = new VirtualTime();
  let pending = false;
  const settling = createSettling({ ...memoryQueue(), settleMs: 1500, pending: () => pending });
  const took = async (surface = 'a') => {
    const began = time.now;
    settling.begin(surface);
    pending = true;
    await time.until(settling.known(surface));
    return time.now - began;
  };
  expect(await took()).toBe(1500);
  expect(await took()).toBe(0);
  expect(await took('b')).toBe(1500);
  pending = false;
  expect(await took()).toBe(1500);
  pending = false;
  settling.begin('a');
  pending = true;
  const first = settling.known('a');
  time.now += 1000;
  // one that comes while the first still waits
  expect(await took()).toBe(500);
  await first;
});
