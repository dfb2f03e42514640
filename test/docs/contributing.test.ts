// CONTRIBUTING.md and CHANGELOG.md say what is so: scripts, folders and files that are there.
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';

const ROOT = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, ROOT), 'utf8');
const { scripts, version } = JSON.parse(read('package.json')) as { scripts: Record<string, string>; version: string };

test.each(['README.md', 'CONTRIBUTING.md', 'docs/evidence.md'])('%s names npm scripts that are there', (path) => {
  const named = [...read(path).matchAll(/npm run ([a-z:]+)/g)].map(([, name]) => name!);
  expect(named.length).toBeGreaterThan(0);
  expect(named.filter((name) => !scripts[name])).toEqual([]);
});

test('CONTRIBUTING.md names every sweep', () => {
  for (const name of Object.keys(scripts).filter((each) => each.startsWith('sweep')))
    expect(read('CONTRIBUTING.md')).toMatch(new RegExp(`npm run ${name}(?![:a-z])`));
});

test('CONTRIBUTING.md names files and folders that are there', () => {
  const spans = [...read('CONTRIBUTING.md').matchAll(/`((?:test|src|docs|tools|runbooks|packages|\.ci)\/[\w./-]*)`/g)];
  expect(spans.length).toBeGreaterThan(10);
  expect(spans.map(([, path]) => path!).filter((path) => !existsSync(new URL(path, ROOT)))).toEqual([]);
});

test('CHANGELOG.md has what is not released yet, and this version', () => {
  const heads = [...read('CHANGELOG.md').matchAll(/^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?$/gm)];
  expect(heads.map(([, name]) => name)).toEqual(expect.arrayContaining(['Unreleased', version]));
  for (const [, name, date] of heads) expect([name, date === undefined]).toEqual([name, name === 'Unreleased']);
});
