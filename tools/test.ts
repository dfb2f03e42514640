// npm test: what the tests need is installed or named as missing, the bundle is built, then everything runs.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

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
const result = JSON.parse(readFileSync(summary, 'utf8')) as {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numFailedTestSuites: number;
  testResults: {
    name: string;
    startTime: number;
    endTime: number;
    assertionResults: { status: string; fullName: string }[];
  }[];
};
rmSync(folder, { recursive: true, force: true });

console.log('\nseconds per test file');
for (const file of result.testResults.toSorted((a, b) => b.endTime - b.startTime - (a.endTime - a.startTime)))
  console.log(
    `${((file.endTime - file.startTime) / 1000).toFixed(1).padStart(7)}  ${file.name.replace(`${process.cwd()}/`, '')}`,
  );
const skipped = result.testResults.flatMap((file) => file.assertionResults.filter((one) => one.status === 'pending'));
if (skipped.length > 0) {
  console.log('\nskipped, and why');
  for (const one of skipped) console.log(`  ${one.fullName}`);
}
if (process.env['CI'] && skipped.length > 0) console.log('\nnothing may be skipped on CI');
console.log(`\n${result.numPassedTests} passed, ${result.numFailedTests} failed, ${result.numPendingTests} skipped`);
process.exit(jest.status !== 0 || (process.env['CI'] && skipped.length > 0) ? 1 : 0);
