import { expect, test } from '@jest/globals';
import type { Step } from '../../../src/engine/contract.ts';
import { toldBy } from '../../../src/engine/verbs/told.ts';

const step = (id: string, role: string, skipped?: string) =>
  ({ id, skipped, plugin: { kind: 'resource', name: `${id}/x`, role } }) as unknown as Step;
const page = step('page', 'notice');
const chat = step('chat', 'notice');
const flag = step('flag', 'wall');
const failed = (...ids: string[]) => ids.map((id) => ({ step: id }) as never);

test.each([
  ['both notices', [flag, page, chat], [page, chat], [], { by: ['page', 'chat'], gap: undefined, nobody: false }],
  ['one of two', [page, chat], [page, chat], ['page'], { by: ['chat'], gap: '1 of 2 notices failed', nobody: false }],
  ['none of two', [page, chat], [page, chat], ['page', 'chat'], { by: [], gap: '2 notices failed', nobody: true }],
  ['no notice', [flag], [], [], { by: [], gap: 'this runbook has no notice step', nobody: true }],
  ['the flag alone', [flag], [flag], [], { by: ['flag'], gap: 'this runbook has no notice step', nobody: false }],
  [
    'a flag beside a page that is down',
    [flag, page],
    [flag, page],
    ['page'],
    { by: ['flag'], gap: '1 notice failed', nobody: false },
  ],
  [
    'a failed wall is nothing that tells',
    [flag, page],
    [page],
    ['flag'],
    { by: ['page'], gap: undefined, nobody: false },
  ],
  [
    'skipped notices',
    [step('page', 'notice', 'no page in test'), step('chat', 'notice', '--skip')],
    [step('page', 'notice', 'no page in test'), step('chat', 'notice', '--skip')],
    [],
    { by: [], gap: '2 notices of this runbook are skipped', nobody: true },
  ],
])('%s', (_what, all, asked, fails, told) => {
  expect(toldBy(all, asked, failed(...fails))).toEqual(told);
});
