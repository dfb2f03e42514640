import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { CATALOGUE } from '../../../src/errors/catalogue.ts';
import { EXIT_MEANS } from '../../../src/errors/exit-codes.ts';
import { generated } from '../../../tools/generate.ts';

const files = generated();

test.each([...files.keys()])('%s is current (else: npm run generate)', (path) => {
  expect(readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')).toBe(files.get(path));
});

test('every code and every exit code is told once', () => {
  const text = files.get('docs/errors.md')!;
  for (const code of Object.keys(CATALOGUE)) expect(text.split(`\`${code}\``)).toHaveLength(2);
  for (const { exit } of Object.values(CATALOGUE)) expect(Object.keys(EXIT_MEANS).map(Number)).toContain(exit);
});
