// A part of `npm run sweep:guard`: each router's own reading of a target, and every way to give a method.
import { expect, test } from '@jest/globals';
import { sweepPaths } from './guard-paths.ts';
import { ROUTERS } from './guard-routers.ts';

test.each(Object.keys(ROUTERS))(
  '%s: what writes there does not write behind the guard',
  async (router) => {
    const seed = 1 + (Date.now() % 1_000_000);
    const { wrote, through, differing, lost } = await sweepPaths(router, seed, 100, 50);
    expect({ seed, through, differing, lost }).toEqual({ seed, through: [], differing: [], lost: [] });
    // Otherwise it would hold for nothing.
    expect(wrote).toBeGreaterThan(20);
  },
  60_000,
);
