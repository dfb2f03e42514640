// The queue's shape stands in two packages, because each is installed without the other: here the compiler holds them to
// one text. What differs in either is an error of `npm run check`.
import { expect, test } from '@jest/globals';
import type * as guard from '../../../packages/guard/src/queue.ts';
import type * as intents from '../../../packages/intents/src/port.ts';

/** Identical, not only assignable: an optional or a wider member would be. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

const SAME: {
  WriteQueue: Same<guard.WriteQueue, intents.WriteQueue>;
  BufferedWrite: Same<guard.BufferedWrite, intents.BufferedWrite>;
  QueueAnswer: Same<guard.QueueAnswer, intents.QueueAnswer>;
  Receipt: Same<guard.Receipt, intents.Receipt>;
} = { WriteQueue: true, BufferedWrite: true, QueueAnswer: true, Receipt: true };

const OTHER: {
  more: Same<guard.Receipt, intents.Receipt & { more?: string }>;
  wider: Same<guard.ReceiptState, string>;
} = { more: false, wider: false };

test('the guard and the queue mean the same', () => {
  expect(Object.values(SAME)).toEqual([true, true, true, true]);
  expect(Object.values(OTHER)).toEqual([false, false]);
});
