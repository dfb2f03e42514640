// A family knows nothing of another one: what several need stands in the engine or the clients.
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';

const STEPS = new URL('../../../src/steps/', import.meta.url);

test('no step folder imports another family', () => {
  const wrong: string[] = [];
  let read = 0;
  for (const family of readdirSync(STEPS, { withFileTypes: true }).filter((entry) => entry.isDirectory()))
    for (const file of readdirSync(new URL(`${family.name}/`, STEPS))) {
      const text = readFileSync(new URL(`${family.name}/${file}`, STEPS), 'utf8');
      for (const [, path = ''] of text.matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)) {
        read++;
        if (!path.startsWith('./') && !path.startsWith('../../')) wrong.push(`${family.name}/${file}: ${path}`);
        if (path.startsWith('../../steps/')) wrong.push(`${family.name}/${file}: ${path}`);
      }
    }
  expect(wrong).toEqual([]);
  expect(read).toBeGreaterThan(50);
});
