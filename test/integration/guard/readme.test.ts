// The README's examples, as they stand there, and the built package on the oldest Node.js that this machine has.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { delimiter, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { until } from '../../support/until.ts';

const root = resolve(import.meta.dirname, '../../..');
const blocks = [...readFileSync(join(root, 'packages/guard/README.md'), 'utf8').matchAll(/```js\n(.*?)```/gs)].map(
  (m) => m[1] as string,
);
const ON = JSON.stringify({ version: 1, holders: { 'w-1': { until: '2100-01-01T00:00:00Z' } } });

let folder: string;

beforeAll(() => {
  // Inside the checkout, so that the examples find their packages.
  mkdirSync(join(root, '.tmp'), { recursive: true });
  folder = mkdtempSync(join(root, '.tmp', 'guard-readme-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function example(word: string): string {
  const found = blocks.filter((block) => block.includes(word));
  expect(found).toHaveLength(1);
  const file = join(folder, `example-${word.replace(/\W/g, '')}.mjs`);
  writeFileSync(file, found[0] as string);
  return file;
}

function put(flag: string, text: string): void {
  writeFileSync(`${flag}.new`, text);
  renameSync(`${flag}.new`, flag);
}

function start(file: string, env: Record<string, string>): ChildProcess {
  return spawn(process.execPath, ['--conditions=maint-source', file], {
    env: { ...process.env, NODE_OPTIONS: '', ...env },
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function outputOf(file: string, flag: string): Promise<string> {
  const child = start(file, { MAINT_FLAG: flag });
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await once(child, 'close');
  return text.trim();
}

describe('each server of the README refuses when the flag comes, and writes again when it goes', () => {
  test.each(['guard.http', 'guard.express', 'guard.fastify'])('%s', async (word) => {
    const flag = join(folder, `${word}.json`);
    const port = await freePort();
    const child = start(example(word), { MAINT_FLAG: flag, PORT: String(port) });
    const status = async () => {
      try {
        const answer = await fetch(`http://localhost:${port}/items`, { method: 'POST' });
        await answer.text();
        return answer.status;
      } catch {
        return 0;
      }
    };
    try {
      await until(async () => (await status()) === 200);
      put(flag, ON);
      await until(async () => (await status()) === 503);
      put(flag, 'false');
      await until(async () => (await status()) === 200);
    } finally {
      child.kill();
      await once(child, 'close');
    }
  });
});

test('the surfaces of the README say what its comment says', async () => {
  const flag = join(folder, 'surfaces.json');
  put(flag, ON);
  expect(await outputOf(example("name: 'reindex'"), flag)).toBe('pass refuse refuse pass refuse');
});

test('the job and the tool of the README', async () => {
  const flag = join(folder, 'jobs.json');
  const file = example('guard.job');
  expect(await outputOf(file, flag)).toBe('ingested 3\n"sent to ana"');
  put(flag, ON);
  const [job, tool] = (await outputOf(file, flag)).split('\n');
  expect(job).toBe('skipped until 2100-01-01T00:00:00Z');
  expect(JSON.parse(tool as string).error).toMatchObject({ code: 'read_only', until: '2100-01-01T00:00:00Z' });
});

test('the built package: plain JavaScript with types, loaded by import and by require on the oldest Node.js here', () => {
  const dist = join(folder, 'dist');
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  execFileSync(process.execPath, [tsc, '-p', join(root, 'packages/guard'), '--outDir', dist], { stdio: 'pipe' });
  expect(existsSync(join(dist, 'index.d.ts'))).toBe(true);
  writeFileSync(join(dist, 'package.json'), '{"type":"module"}');
  const code = `
    import { createRequire } from 'node:module';
    import { createGuard, fileSource } from ${JSON.stringify(join(dist, 'index.js'))};
    const same = createRequire(import.meta.url)(${JSON.stringify(join(dist, 'index.js'))}).createGuard === createGuard;
    const guard = createGuard({ source: fileSource(${JSON.stringify(join(folder, 'none.json'))}) });
    console.log(await guard.ready(), guard.readOnly(), same);
    await guard.close();`;
  const nodes = (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((path) => join(path, 'node'))
    .filter(existsSync);
  const env = { ...process.env, NODE_OPTIONS: '' };
  const versions = new Map(
    nodes.map((node) => [execFileSync(node, ['-p', 'process.version'], { env }).toString().trim(), node]),
  );
  const [version, node] = [...versions].sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))[0] as [
    string,
    string,
  ];
  console.log(`built guard loaded on ${version}`);
  const file = join(folder, 'built.mjs');
  writeFileSync(file, code);
  expect(execFileSync(node, [file], { env }).toString().trim()).toMatch(/source false true$/);
});
