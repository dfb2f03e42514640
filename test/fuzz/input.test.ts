// Fifteen hundred damaged inputs; `npm run sweep:input` tries ten thousand. In a process of its own: main() is called in
// it as if each call were the only one, which a test runner's process is not made for.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';

const SWEEP = fileURLToPath(new URL('sweep.ts', import.meta.url));
const RUNS = 1_500;

test('whatever comes in: an exit code, in words, soon, and nothing is written', async () => {
  const child = spawn(
    process.execPath,
    ['-C', 'maint-source', '--disable-warning=ExperimentalWarning', SWEEP, '--runs', String(RUNS)],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NODE_OPTIONS: '' } },
  );
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      said += String(chunk);
    });
  const code = await new Promise((resolve) => child.once('close', resolve));
  expect(code === 0 ? '' : said).toBe('');
  expect(said).toContain(`${RUNS} inputs, 0 wrong`);
}, 180_000);
