// docs/clients.md says what clients do: measured anew, and compared. After a change, or a new version of a client:
// node -C maint-source test/docs/clients-table.ts --write
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { CURVE, plot, waitOut } from './clients-return.ts';
import type { Row } from './clients-table.ts';

const script = fileURLToPath(new URL('./clients-table.ts', import.meta.url));
const text = readFileSync(new URL('../../docs/clients.md', import.meta.url), 'utf8');
const table = /<!-- table -->\n(.*?)\n<!-- \/table -->/s.exec(text)?.[1]?.split('\n') ?? [];

function run(flag: string): Row[] {
  const output = execFileSync(
    process.execPath,
    ['-C', 'maint-source', '--disable-warning=ExperimentalWarning', script, flag],
    { env: { ...process.env, NODE_OPTIONS: '' }, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  return JSON.parse(output.toString()) as Row[];
}

const clients = run('--names');
let rows: Row[];
beforeAll(() => {
  rows = run('--json');
}, 120_000);

test('the table names the clients that are measured, in their versions', () => {
  const names = table.slice(2).map((line) => (line.split(' | ')[0] as string).replace(/^\| /, ''));
  expect(names).toEqual(clients.map(({ name }) => name));
});

test('the curve of everybody coming back is current: node -C maint-source test/docs/clients-return.ts --write', async () => {
  expect(CURVE.exec(text)?.[2]).toBe(plot(await waitOut(), 200));
});

describe('docs/clients.md is right about', () => {
  for (const { name, missing } of clients) {
    const compared = missing === undefined ? test : test.skip;
    compared(missing === undefined ? name : `${name}: ${missing}`, () => {
      const row = rows.find((each) => each.name === name) as Row;
      expect(table).toContain(`| ${[name, ...row.cells].join(' | ')} |`);
    });
  }
});
