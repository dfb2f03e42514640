// What is published says under which licence it stands, and whose code it holds.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const run = promisify(execFile);
const LIBRARIES = ['guard', 'intents', 'client'];
const read = (path: string) => readFileSync(`${ROOT}${path}`, 'utf8');

/** What `npm pack` would put in. Without the scripts: a build belongs to no test of a list. */
async function packed(folder: string): Promise<string[]> {
  const { stdout } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: `${ROOT}${folder}`,
  });
  const [{ files }] = JSON.parse(stdout) as [{ files: { path: string }[] }];
  return files.map(({ path }) => path);
}

test('NOTICE is current (else: npm run generate), and names each bundled package with its licence', async () => {
  const { stdout: text } = await run(process.execPath, ['tools/notice.ts'], { cwd: ROOT });
  expect(read('NOTICE')).toBe(text);
  const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> };
  for (const name of Object.keys(dependencies))
    expect(text).toMatch(new RegExp(`^${name} \\d+\\.\\d+\\.\\d+ \\(`, 'm'));
  expect(text).not.toContain('(not named)');
  expect(text).not.toContain('bring no text');
});

test('the licence is the whole text of Apache-2.0, also in each library', () => {
  const licence = read('LICENSE');
  expect(licence).toMatch(/^\s+Apache License\n\s+Version 2\.0, January 2004\n/);
  for (const part of [
    '1. Definitions.',
    '9. Accepting Warranty',
    'END OF TERMS AND CONDITIONS',
    'APPENDIX: How to apply',
  ])
    expect(licence).toContain(part);
  for (const name of LIBRARIES) {
    expect(read(`packages/${name}/LICENSE`)).toBe(licence);
    expect(JSON.parse(read(`packages/${name}/package.json`)).license).toBe('Apache-2.0');
  }
});

test.each(['', ...LIBRARIES.map((name) => `packages/${name}`)])(
  'the tarball of ./%s holds its licence',
  async (folder) => {
    const files = await packed(folder);
    expect(files).toContain('LICENSE');
    if (folder === '') expect(files).toEqual(expect.arrayContaining(['NOTICE', 'package.json', 'bin/run.js']));
  },
);
