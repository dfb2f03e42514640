import { expect, test } from '@jest/globals';
import { sweepCredentials } from './guard-credentials.ts';

test('no credential is stored with a write, and honest names are', async () => {
  const { stored, lost, honest } = await sweepCredentials(1, 1000);
  expect([stored, lost]).toEqual([[], []]);
  expect(honest).toBeGreaterThan(200);
});
