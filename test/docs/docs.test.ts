// The documents say what is so: the backend in writing-a-step.md is the one that is tested.
import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

test('docs/writing-a-step.md shows the backend that is tested, in at most 80 lines', () => {
  const code = read('test/docs/pause-switch.test.ts');
  expect(code.split('\n').length).toBeLessThanOrEqual(81);
  expect(read('docs/writing-a-step.md')).toContain(`\`\`\`ts\n${code}\`\`\`\n`);
});
