// npm test: what the tests need is installed or named as missing, the bundle is built, then everything runs.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

const folder = mkdtempSync(join(tmpdir(), 'maint-test-'));
const summary = join(folder, 'summary.json');
const chosen = process.argv.slice(2);

function step(title: string, argv: string[], env: Record<string, string> = {}): void {
  const began = performance.now();
  const { status } = spawnSync(process.execPath, argv, { stdio: 'inherit', env: { ...process.env, ...env } });
  console.log(`${title}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
  if (status !== 0) {
    rmSync(folder, { recursive: true, force: true });
    process.exit(status ?? 1);
  }
}

step('servers', ['tools/install-servers.ts']);
step('build', ['tools/build.ts']);
const jest = spawnSync(
  process.execPath,
  [
    '--experimental-vm-modules',
    '--disable-warning=ExperimentalWarning',
    'node_modules/jest/bin/jest.js',
    '--json',
    `--outputFile=${summary}`,
    ...chosen,
  ],
  { stdio: ['ignore', 'ignore', 'inherit'] },
);
if (!existsSync(summary)) {
  rmSync(folder, { recursive: true, force: true });
  console.log(`\nfailed\n  the test runner ended with ${jest.signal ?? jest.status} and left no results`);
  console.log('\n0 passed, 1 failed, 0 skipped');
  process.exit(1);
}
const result = JSON.parse(readFileSync(summary, 'utf8')) as {
  numPassedTests: number;
  numPendingTests: number;
  testResults: {
    name: string;
    startTime: number;
    endTime: number;
    /** passed, or failed: also where the file itself could not be run */
    status: string;
    message: string;
    assertionResults: { status: string; fullName: string; failureMessages: string[] }[];
  }[];
};
rmSync(folder, { recursive: true, force: true });

console.log('\nseconds per test file');
for (const file of result.testResults.toSorted((a, b) => b.endTime - b.startTime - (a.endTime - a.startTime)))
  console.log(
    `${((file.endTime - file.startTime) / 1000).toFixed(1).padStart(7)}  ${file.name.replace(`${process.cwd()}/`, '')}`,
  );
const pending = result.testResults.flatMap((file) =>
  file.assertionResults
    .filter((one) => one.status === 'pending')
    .map((one) => ({ file: file.name, name: one.fullName })),
);
if (pending.length > 0) {
  console.log('\nskipped, and why');
  for (const { name } of pending) console.log(`  ${name}`);
}
// The services' own descriptions are not ours to ship: what compares with them runs where they lie beside the checkout.
const owed = pending.filter(({ file }) => !file.endsWith('test/contract/strict-servers.test.ts'));
// A long log is cut in its middle: what failed stands where it is read first.
const failed = result.testResults
  .filter(({ status }) => status === 'failed')
  .flatMap(({ name: file, message, assertionResults }) => {
    const tests = assertionResults.filter((one) => one.status === 'failed');
    const told = tests.map((one) => ({ name: one.fullName, why: one.failureMessages.join('\n') }));
    return told.length > 0 ? told : [{ name: file.replace(`${process.cwd()}/`, ''), why: message }];
  });
if (failed.length > 0) console.log('\nfailed');
for (const { name, why } of failed)
  console.log(
    `  ${name}\n${firstLines(stripVTControlCharacters(why))
      .map((line) => `      ${line}`)
      .join('\n')}`,
  );
if (process.env['CI'] && owed.length > 0) console.log('\non CI a missing server is a failure');
console.log(`\n${result.numPassedTests} passed, ${failed.length} failed, ${result.numPendingTests} skipped`);
process.exit(jest.status !== 0 || (process.env['CI'] && owed.length > 0) ? 1 : 0);

function firstLines(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '' && !/^\s+at .*node_modules/.test(line))
    .slice(0, 12)
    .map((line) => line.slice(0, 300));
}
