import { expect, test } from '@jest/globals';
import { lowerBound } from '../../../bench/guard.ts';

test.each([
  // as tables of the binomial distribution have it: so few values of n lie below the median in at most 5 % of all cases
  [4, Number.NEGATIVE_INFINITY],
  [5, 1],
  [10, 2],
  [12, 3],
  [16, 5],
  [20, 6],
  [30, 11],
])('the lower 95 %% bound of the median of %d values', (n, rank) => {
  const values = Array.from({ length: n }, (_, index) => n - index);
  expect(lowerBound(values)).toBe(rank);
});
