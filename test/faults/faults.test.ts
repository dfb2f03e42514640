// Some of the faults, by turns of the day; `npm run sweep:faults` takes all of them. In processes of their own, because
// their clock runs faster.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';

const SWEEP = fileURLToPath(new URL('sweep.ts', import.meta.url));
const DAY = Math.floor(Date.now() / 86_400_000);
/** The state in a file, and on the next day on a server. */
const STORE = DAY % 2 === 0 ? 'sqlite' : 'postgres';

function sweep(...argv: string[]): Promise<{ code: number | null; output: string }> {
  const { NODE_OPTIONS: _jest, ...env } = process.env;
  const child = spawn(
    process.execPath,
    ['-C', 'maint-source', '--disable-warning=ExperimentalWarning', SWEEP, ...argv],
    { env, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, output })));
}

/** What is missing here is left out, and said; on CI nothing is. */
function leftOut(output: string): string[] {
  const lines = output.split('\n').filter((line) => line.startsWith('left out: '));
  for (const line of lines) process.stderr.write(`${line}\n`);
  return process.env['CI'] ? lines : [];
}

test('a call that goes wrong: nothing twice, the journal true, the error clear, and the world comes back', async () => {
  const { code, output } = await sweep('--cases', '16', '--turn', String(DAY), '--store', STORE);
  process.stderr.write(`fault sweep, turn ${DAY}, ${STORE}: ${output.trimEnd().split('\n').at(-1)}\n`);
  expect([code, leftOut(output), code === 0 ? '' : output]).toEqual([0, [], '']);
}, 600_000);

test('one thing dead: the walls open within 60 s on a laptop that has only the state, and the same command ends it later', async () => {
  const { code, output } = await sweep('--dead', 'some', '--turn', String(Math.floor(DAY / 2)), '--store', STORE);
  process.stderr.write(`end with one thing dead, turn ${DAY}, ${STORE}: ${output.trimEnd().split('\n').at(-1)}\n`);
  expect([code, leftOut(output), code === 0 ? '' : output]).toEqual([0, [], '']);
}, 600_000);

test('no secret is in what anybody gets to see', async () => {
  const { code, output } = await sweep('--secrets', '--store', STORE);
  process.stderr.write(`secrets, ${STORE}: ${output.trimEnd().split('\n').at(-1)}\n`);
  expect([code, leftOut(output), code === 0 ? '' : output]).toEqual([0, [], '']);
}, 600_000);
