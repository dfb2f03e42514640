// announce and note say whom they reached: a notice that nobody got must not read like one that everybody has.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { maint } from '../support/cli.ts';
import { type Listening, listen } from '../support/outside.ts';

let cwd: string;
let page: Listening;

beforeAll(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'maint-told-'));
  mkdirSync(join(cwd, 'runbooks'));
  // a status page that knows the token no longer: an answer, so nothing is tried for long
  page = await listen((request, response) => {
    request.resume();
    response.writeHead(401, { 'content-type': 'application/json' }).end('{"error":"Could not authenticate"}');
  });
});
afterAll(async () => {
  await page.stop();
  rmSync(cwd, { recursive: true, force: true });
});
afterEach(async () => {
  await maint(['abort', '--yes'], { cwd });
});

function runbook(...steps: string[]): void {
  const text = ['version: 1', 'environment: prod', 'contact: "#ops"', 'soak: 1s', 'steps:', ...steps];
  writeFileSync(join(cwd, 'runbooks', 'prod.yaml'), `${text.join('\n')}\n`);
}
const FLAG = '  - { uses: flag/file, with: { path: ../flag.json } }';
const announce = () => maint(['announce', '--at', '2036-12-01T02:00Z', '--window', '30m', '--json'], { cwd });

test('without a notice step nobody was told of a window that was announced', async () => {
  runbook(FLAG);
  const { code, stdout } = await announce();
  expect(code).toBe(0);
  const said = JSON.parse(stdout);
  expect(said.headline).toBe(
    'prod is planned to be read-only 02:00–02:30 UTC on 2036-12-01. Nobody was told: this runbook has no notice step.',
  );
  expect(said.next).toContainEqual({
    command: 'maint steps notice',
    argv: ['maint', 'steps', 'notice'],
    why: 'what can tell people',
  });
});

test('a note in a runbook without a notice reaches who is refused, and nobody else', async () => {
  runbook(FLAG);
  expect((await maint(['start', '--window', '10m', '--yes'], { cwd })).code).toBe(0);
  const { code, stdout } = await maint(['note', 'half way'], { cwd });
  expect(code).toBe(0);
  expect(stdout).toContain('Told by flag only: "half way". This runbook has no notice step.');
});

test('a status page that refuses the token has told nobody', async () => {
  runbook(FLAG, `  - { uses: notice/statuspage, with: { page: abc123, token: "\${TOKEN}", url: "${page.url}" } }`);
  const env = { TOKEN: 'x'.repeat(20) };
  const { code, stdout } = await maint(['announce', '--at', '2036-12-01T02:00Z', '--window', '30m'], { cwd, env });
  expect(code).toBe(0);
  expect(stdout).toMatch(/Nobody was told: 1 notice failed:\n {2}statuspage .*401/);
  expect((await maint(['abort', '--yes'], { cwd, env })).code).not.toBe(1);
});
