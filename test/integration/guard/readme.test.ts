// The README's examples, as they stand there, and the built package on the oldest Node.js that this machine has.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { freePort } from '../../support/ports.ts';
import { describeWith, startPostgres } from '../../support/servers.ts';
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

/** Also if it ended by itself: what failed is then said, instead of a wait for an end that has been. */
async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill();
  await once(child, 'exit');
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
  test.each(['// node:http', 'guard.express', 'guard.fastify', 'guard.hono', 'guard.fetch'])('%s', async (word) => {
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
      await stop(child);
    }
  });
});

test('the surfaces of the README say what its comment says', async () => {
  const flag = join(folder, 'surfaces.json');
  put(flag, ON);
  expect(await outputOf(example("name: 'reindex'"), flag)).toBe('pass refuse refuse pass refuse drop pass refuse');
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

test('the kept writes of the README: passed, kept, the receipt, and who may not', async () => {
  const flag = join(folder, 'kept.json');
  const port = await freePort();
  const child = start(example('openQueue'), {
    MAINT_FLAG: flag,
    MAINT_QUEUE: join(folder, 'intents.db'),
    PORT: String(port),
  });
  const url = `http://localhost:${port}`;
  const post = (token: string) =>
    fetch(`${url}/tenants/a/notes`, {
      method: 'POST',
      body: '{}',
      headers: { authorization: token, 'idempotency-key': '"k-1"', 'content-type': 'application/json' },
    });
  try {
    await until(async () => (await post('Bearer demo').catch(() => null))?.status === 201);
    put(flag, ON);
    await until(async () => (await post('Bearer demo')).status === 202);
    const answer = (await (await post('Bearer demo')).json()) as { receipt: string; url: string };
    expect(await (await fetch(url + answer.url)).json()).toMatchObject({ receipt: answer.receipt, state: 'queued' });
    expect((await post('Bearer other')).status).toBe(401);
    put(flag, 'false');
    // Its own earlier one still waits, so the next goes behind it.
    await until(async () => !((await (await fetch(`${url}/.well-known/maintenance`)).json()) as any).read_only);
    expect((await post('Bearer demo')).status).toBe(202);
  } finally {
    await stop(child);
  }
});

test('the scheduler of the README', async () => {
  const flag = join(folder, 'scheduler.json');
  const file = example('guard.scheduler');
  expect(await outputOf(file, flag)).toBe('cleaned up\ndigests sent');
  put(flag, ON);
  const child = start(file, { MAINT_FLAG: flag });
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const closed = once(child, 'close');
  await until(() => text.includes('digests'));
  put(flag, 'false');
  await closed;
  expect(text.trim()).toMatch(/^worker paused\ncleanup skipped\ndigests skipped(\nworker resumed)?$/);
});

test('the metrics of the README, and what it shows for OpenTelemetry', async () => {
  const port = await freePort();
  const child = start(example('METRICS_CONTENT_TYPE'), {
    MAINT_FLAG: join(folder, 'metrics.json'),
    PORT: String(port),
  });
  try {
    let answer: Response | undefined;
    await until(async () => {
      answer = await fetch(`http://localhost:${port}/`).catch(() => undefined);
      return answer !== undefined;
    });
    expect(answer?.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(await answer?.text()).toContain('maint_guard_read_only 0\n');
  } finally {
    await stop(child);
  }
  const code = `
    import { observe } from ${JSON.stringify(example('createObservableCounter'))};
    const seen = [];
    const instrument = (name) => ({ addCallback: (fn) => fn({ observe: (...told) => seen.push([name, ...told]) }) });
    observe({ createObservableCounter: instrument, createObservableGauge: instrument });
    console.log(JSON.stringify(seen));
    process.exit();`;
  const file = join(folder, 'observe.mjs');
  writeFileSync(file, code);
  expect(await outputOf(file, join(folder, 'metrics.json'))).toBe('[["maint.guard.in_flight",0]]');
});

test("the README's fence on SQLite", async () => {
  expect(await outputOf(example('DatabaseSync'), 'none')).toBe('201, 201 again, 422 again\n1');
});

describeWith('postgres', "the README's fence on Postgres", () => {
  test('one effect', async () => {
    const server = await startPostgres();
    try {
      const child = start(example('new pg.Pool'), { DATABASE_URL: server.url });
      let text = '';
      child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
      child.stderr?.on('data', (chunk: Buffer) => (text += chunk.toString()));
      await once(child, 'close');
      expect(text.trim()).toBe('201 201 201\n1');
    } finally {
      await server.stop();
    }
  });
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
