import { expect, test } from '@jest/globals';
import { parseRunbook } from '../../../src/runbook/load.ts';
import { showRunbook } from '../../../src/runbook/show.ts';
import { FULL, registry } from './registry.ts';

test('the start as written, the end as derived', () => {
  const shown = showRunbook(
    parseRunbook({ text: FULL, path: '/w/p.yaml', folder: '/w' }, registry, { skip: ['files'] }),
  );
  expect(shown.start.map(({ id, role, onFailure }) => `${id} ${role} ${onFailure}`)).toEqual([
    'flag wall undo',
    'statuspage notice continue',
    'files work undo',
    'crons work undo',
    'cache cache continue',
    'no-writes check undo',
    'reads check undo',
  ]);
  expect(shown.end.map(({ id, when }) => `${id} ${when.join()}`)).toEqual([
    'reads before,soaking',
    'no-writes open,reopen',
    'flag open',
    'cache open,reopen',
    'statuspage announced,open,soaking',
    'crons open,soaking',
    'files open,soaking',
  ]);
  expect(shown.start[2]).toMatchObject({ skipped: '--skip', group: 0 });
  expect(shown.start[0]!.variables).toEqual(['REDIS_URL']);
  expect(shown.start[6]!.onBad).toBe('refreeze');
});
