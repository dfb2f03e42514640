// The example: the service alone, guarded and not, and the demo as a new user runs it.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { cosine, DIMENSIONS, embed } from '../../examples/search-service/embed.ts';
import { type Service, startService } from '../../examples/search-service/service.ts';
import { openQueue } from '../../packages/intents/src/index.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const EXAMPLE = join(ROOT, 'examples/search-service');

interface Canary {
  name: string;
  disposition: string;
  canary?: { method: string; path: string; body: unknown };
}
const { surfaces } = parse(readFileSync(join(EXAMPLE, 'surfaces.yaml'), 'utf8')) as { surfaces: Canary[] };

let folder: string;
let flag: string;
let service: Service;

async function start(more: { guarded?: boolean; ingestEveryMs?: number } = {}): Promise<void> {
  service = await startService({
    database: join(folder, 'search.db'),
    queue: join(folder, 'queue.db'),
    survives: 'process',
    flag,
    ingestEveryMs: 3_600_000,
    ...more,
  });
}
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'maint-example-'));
  mkdirSync(join(folder, 'flag'));
  flag = join(folder, 'flag', 'read-only.json');
});
async function stop(): Promise<void> {
  const running = service as Service | undefined;
  service = undefined as never;
  await running?.stop();
}
afterEach(async () => {
  await stop();
  rmSync(folder, { recursive: true, force: true });
});

async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const init = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) };
  const response = await fetch(service.url + path, { method, headers, ...init });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text) };
}
async function until(holds: () => boolean, ms = 10_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`it did not come to pass within ${ms} ms`);
    await sleep(10);
  }
}
function hold(): void {
  const holder = {
    environment: 'demo',
    since: new Date().toISOString(),
    until: new Date(Date.now() + 600_000).toISOString(),
    reason: 'test',
    on_expiry: 'hold',
  };
  writeFileSync(flag, JSON.stringify({ version: 1, holders: { 'w-test': holder } }));
}
/** Everything that the service keeps, the heartbeat aside. */
function contents(): string {
  const { store } = service;
  return JSON.stringify([
    store.documents(),
    store.nearest('anything at all', 1000),
    store.search('the a note window', 1000),
  ]);
}

describe('the search service', () => {
  test('writes and finds documents, by words and by vectors', async () => {
    await start();
    const created = await call('POST', '/documents', {
      id: 'apples',
      title: 'Apples',
      body: 'Apples ripen in autumn.',
    });
    expect([created.status, created.headers.get('location')]).toEqual([201, '/documents/apples']);
    expect((await call('POST', '/documents', { title: 'No name', body: 'gets one' })).body.id).toMatch(
      /^[0-9a-f-]{36}$/,
    );
    expect((await call('PUT', '/documents/pears', { title: 'Pears', body: 'Pears are juicy.' })).status).toBe(201);
    expect((await call('PUT', '/documents/pears', { title: 'Pears', body: 'Pears are soft.' })).status).toBe(200);
    expect((await call('PATCH', '/documents/pears', { title: 'Old pears' })).body).toMatchObject({
      title: 'Old pears',
      body: 'Pears are soft.',
    });
    expect((await call('GET', '/search?q=ripen')).body.results).toEqual([
      { id: 'apples', title: 'Apples', snippet: 'Apples ripen in autumn.' },
    ]);
    expect((await call('GET', '/search?q=juicy')).body.results).toEqual([]);
    expect((await call('GET', '/vectors/nearest?q=apple')).body.results[0]).toMatchObject({ id: 'apples' });
    expect((await call('POST', '/vectors', { id: 'v', text: 'quinces and quinces' })).status).toBe(200);
    expect((await call('POST', '/vectors', { id: 'w', values: Array(DIMENSIONS).fill(1) })).status).toBe(200);
    expect((await call('GET', '/vectors/nearest?q=quinces')).body.results[0].id).toBe('v');
    expect((await call('DELETE', '/documents/pears')).status).toBe(204);
    expect((await call('GET', '/documents/pears')).status).toBe(404);
    expect((await call('GET', '/search?q=pears')).body.results).toEqual([]);
    const saved = await call('POST', '/tools/save_note', { title: 'Plums', body: 'Plums are blue.' });
    expect((await call('GET', `/documents/${saved.body.result}`)).body.title).toBe('Plums');
    expect((await call('POST', '/tools/forget', { id: saved.body.result })).body.result).toBe(true);
    expect((await call('GET', '/ask?q=plums')).body).toMatchObject({ remembered: true });
    expect((await call('GET', '/health')).body).toEqual({ ok: true, documents: 2 });
  });

  test('says what is wrong with a request, and survives it', async () => {
    await start();
    const wrong: [string, string, unknown, number][] = [
      ['GET', '/search', undefined, 422],
      ['GET', '/nothing', undefined, 404],
      ['GET', '/documents/%E0%A4%A', undefined, 400],
      ['POST', '/documents', '{', 400],
      ['POST', '/documents', [], 422],
      ['POST', '/documents', { title: 1, body: 'x' }, 422],
      ['POST', '/documents', { title: 'x', body: 'x'.repeat(200_000) }, 413],
      ['PATCH', '/documents/none', { title: 'x' }, 404],
      ['POST', '/vectors', { id: 'v', values: [1, 2] }, 422],
      ['POST', '/tools/toString', {}, 404],
    ];
    for (const [method, path, body, status] of wrong)
      expect([method, path, (await call(method, path, body)).status]).toEqual([method, path, status]);
    // what people type into a search box is no syntax
    for (const q of ['"', 'a OR', 'NEAR(', 'title:x*', '-', "'; drop table documents", '\0'])
      expect((await call('GET', `/search?q=${encodeURIComponent(q)}`)).status).toBeLessThan(500);
    expect((await call('GET', '/health')).status).toBe(200);
  });

  test('embeddings are the same everywhere, and near where the words are', () => {
    expect(embed('reindexing documents')).toEqual(embed('Reindexing  DOCUMENTS!'));
    const near = cosine(embed('reindex the documents'), embed('reindexing documents'));
    expect(near).toBeGreaterThan(cosine(embed('reindex the documents'), embed('lunch is at noon')) + 0.2);
    expect(cosine(embed('x'), embed(''))).toBe(0);
  });

  test('while somebody holds: reads and health pass, every write, tool and job is refused, nothing is written', async () => {
    await start({ ingestEveryMs: 20 });
    await call('POST', '/documents', { id: 'old', title: 'Old', body: 'note' });
    hold();
    await until(() => service.guard!.readOnly());
    const before = contents();
    const writes: [string, string][] = [
      ['POST', '/documents'],
      ['PUT', '/documents/old'],
      ['PATCH', '/documents/old'],
      ['DELETE', '/documents/old'],
      ['POST', '/vectors'],
      ['POST', '/tools/save_note'],
      ['POST', '/what-nobody-named'],
    ];
    for (const [method, path] of writes) {
      const { status, headers, body } = await call(method, path, { id: 'x', title: 'x', body: 'x', text: 'x' });
      expect([path, status, body.code, Number(headers.get('retry-after')) > 500]).toEqual([
        path,
        503,
        'read_only',
        true,
      ]);
    }
    expect((await call('GET', '/search?q=old')).headers.get('read-only')).toMatch(/^\?1;until=@\d+;window="w-test"$/);
    expect((await call('GET', '/health')).status).toBe(200);
    const asked = await call('GET', '/ask?q=old');
    expect([asked.status, asked.body.answer, asked.body.remembered]).toEqual([200, 'note', false]);
    expect(asked.body.because).toContain('remember_question did nothing');
    await until(() => service.guard!.counts().refused.job > 2);
    expect(contents()).toBe(before);

    rmSync(flag);
    await until(() => !service.guard!.readOnly());
    expect((await call('POST', '/documents', { id: 'new', title: 'New', body: 'note' })).status).toBe(201);
    await until(() => service.store.documents() > 2);
  });

  test('a note is kept while somebody holds, by its key, and applied once whoever sends it again', async () => {
    await start();
    for (const id of ['old', 'other']) await call('POST', '/documents', { id, title: id, body: 'note' });
    const note = async (words: string, key?: string) =>
      call('POST', '/documents/old/notes', { text: words }, key === undefined ? {} : { 'idempotency-key': key });
    expect((await note('before', '"k-0"')).status).toBe(201);
    expect((await note('before', '"k-0"')).status).toBe(201);
    expect((await note('no key')).status).toBe(201);
    hold();
    await until(() => service.guard!.readOnly());
    const kept = await note('during', '"k-1"');
    expect([kept.status, kept.body.status]).toEqual([202, 'queued']);
    expect((await note('during', 'k-1')).body.receipt).toBe(kept.body.receipt);
    expect((await note('something else', '"k-1"')).body.code).toBe('idempotency_key_reused');
    expect((await note('no key')).body.code).toBe('idempotency_key_missing');
    expect((await call('GET', kept.body.url)).body.state).toBe('queued');
    const notes = async () =>
      (await call('GET', '/documents/old/notes')).body.notes.map((one: { text: string }) => one.text);
    expect(await notes()).toEqual(['before', 'no key']);

    rmSync(flag);
    await until(() => !service.guard!.readOnly());
    // its turn is behind what waits: nothing overtakes the kept one, and nobody else waits for it
    const behind = await note('after', '"k-2"');
    expect(behind.status).toBe(202);
    const free = await call('POST', '/documents/other/notes', { text: 'free' });
    expect(free.status).toBe(201);
    const queue = await openQueue({ path: join(folder, 'queue.db'), survives: 'process' });
    try {
      const report = await queue.backfill({ url: service.url, rate: 100, rampMs: 0, honoursKeys: true });
      expect(report).toMatchObject({ applied: 2, dead: 0, left: 0 });
    } finally {
      await queue.close();
    }
    expect(await notes()).toEqual(['before', 'no key', 'during', 'after']);
    expect((await call('GET', kept.body.url)).body).toMatchObject({ state: 'applied', status: 201 });
    expect((await note('during', '"k-1"')).status).toBe(201);
    expect(await notes()).toHaveLength(4);
  });

  test.each(
    surfaces.flatMap(({ name, disposition, canary }) => (canary ? [[name, disposition, canary] as const] : [])),
  )(
    'the canary of %s (%s) never writes: guarded it is refused, unguarded it fails validation',
    async (_name, disposition, { method, path, body }) => {
      await start({ guarded: false });
      hold();
      const before = contents();
      const unguarded = await call(method, path, body);
      expect(unguarded.status).toBe(422);
      expect(contents()).toBe(before);
      await stop();
      await start();
      const refused = disposition === 'buffer' ? [400, 'idempotency_key_missing'] : [503, 'read_only'];
      const guarded = await call(method, path, body);
      expect([guarded.status, guarded.body.code]).toEqual(refused);
    },
  );
});

describe('npm run demo', () => {
  function demo(...args: string[]) {
    const child = spawn(process.execPath, [join(EXAMPLE, 'demo.ts'), ...args], {
      cwd: folder,
      env: { ...process.env, NODE_OPTIONS: '', TMPDIR: folder, MAINT_STATE: '/nowhere/state.db' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (out += text));
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    return { child, ended, text: () => out };
  }
  const left = () => readdirSync(folder).filter((name) => name.startsWith('maint-demo-'));

  test('opens, extends and ends a window, and everything that it claims holds', async () => {
    const began = Date.now();
    const run = demo();
    const code = await run.ended;
    const text = run.text();
    for (const line of [
      /✔ a write is refused\s+POST \/documents → 503 read_only, Retry-After: \d+/,
      /✔ a note is accepted for later\s+POST \S+ → 202/,
      /✔ a read is served, and says so/,
      /\$ maint extend --by 10m/,
      /demo is READ-ONLY/,
      /✔ the note was applied, and once/,
      /✔ the crontab is as before\s+byte for byte/,
      /✔ the status page followed\s+in_progress, verifying, completed/,
      /All \d+ claims with a ✔ of this demo were checked/,
    ])
      expect(text).toMatch(line);
    expect(code).toBe(0);
    expect(Date.now() - began).toBeLessThan(60_000);
    expect(text).not.toContain('xoxb-');
    expect(left()).toEqual([]);
  }, 90_000);

  test('stops everything when it is told to, also in the middle of a window', async () => {
    const run = demo();
    const address = () => /search +(http:\S+)/.exec(run.text())?.[1];
    await until(() => run.text().includes('flag        written'), 30_000);
    run.child.kill('SIGTERM');
    expect([await run.ended, left()]).toEqual([143, []]);
    expect(run.text()).not.toContain('does not hold');
    await expect(fetch(address() ?? '')).rejects.toThrow('fetch failed');
  }, 60_000);

  test('an option that it does not have is named', async () => {
    const run = demo('--kepp');
    expect(await run.ended).toBe(1);
    expect(run.text()).toMatch(/--kepp.*npm run demo -- --keep/s);
  });
});
