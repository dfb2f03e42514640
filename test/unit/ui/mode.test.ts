import { expect, test } from '@jest/globals';
import { modeOf } from '../../../src/ui/mode.ts';

test.each([
  [true, {}, 'terminal'],
  [false, {}, 'plain'],
  [true, { CI: 'true' }, 'plain'],
  [true, { CI: '1' }, 'plain'],
  [true, { CI: 'false' }, 'terminal'],
  [true, { CI: '' }, 'terminal'],
  [true, { NO_COLOR: '1' }, 'plain'],
  [true, { NO_COLOR: '' }, 'terminal'],
  [true, { TERM: 'dumb' }, 'plain'],
] as const)('a terminal: %s, %j: %s', (isTTY, env, mode) => {
  expect(modeOf({ json: false, stderr: { isTTY }, env })).toBe(mode);
  expect(modeOf({ json: true, stderr: { isTTY }, env })).toBe('json');
});
