// maint scope: what surfaces.yaml names, held against what a real guard has counted.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { z } from 'zod';
import { createGuard, type FlagSink, fileSource, type Guard } from '../../packages/guard/src/index.ts';
import { parseSurfaces } from '../../src/runbook/surfaces.ts';
import { maint } from '../support/cli.ts';
import * as shapes from '../support/json-shapes.ts';
import { freePort } from '../support/ports.ts';

const PASSWORD = 'planted-guard-secret';
const SURFACES = `version: 1
shortest_token_life: 15m
surfaces:
  - { name: notes, kind: http, match: { methods: [POST], path: /notes }, owner: search, canary: { method: POST, path: /notes } }
  - { name: vectors, kind: http, match: { methods: [PUT], path: "/vectors/*" }, status: 423 }
  - { name: mail, kind: tool, match: { names: [send_mail, "crm.*"] } }
  - { name: search, kind: http, match: { methods: [POST], path: /search }, disposition: pass }
  - { name: refresh, kind: http, match: { methods: [POST], path: /token }, purpose: token_refresh }
`;

let folder: string;
let server: Server;
let guard: Guard;
let url: string;
const run = (...argv: string[]) => maint(argv, { cwd: folder, env: { GUARD_PASSWORD: PASSWORD, SILENT: silent } });
let silent: string;

async function json<T extends z.ZodType>(shape: T, ...argv: string[]): Promise<z.infer<T>> {
  const { stdout } = await run(...argv, '--json');
  const value = JSON.parse(stdout);
  expect(shape.safeParse(value)).toMatchObject({ success: true });
  return value;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'maint-scope-'));
  mkdirSync(join(folder, 'runbooks'));
  let sink!: FlagSink;
  guard = createGuard({
    source: { start: (given) => void (sink = given), close() {} },
    surfaces: parseSurfaces(SURFACES, 's.yaml'),
    log: () => {},
  });
  server = createServer(guard.http((_request, response) => void response.writeHead(422).end()));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  silent = `http://127.0.0.1:${await freePort()}`;
  sink.document(
    JSON.stringify({
      version: 1,
      holders: { 'w-a': { environment: 'prod', since: new Date().toISOString(), until: '2099-01-01T00:00:00Z' } },
    }),
  );
  writeFileSync(join(folder, 'runbooks', 'surfaces.yaml'), SURFACES);
  const guards = `"http://ana:\${GUARD_PASSWORD}@${new URL(url).host}"`;
  writeFileSync(
    join(folder, 'runbooks', 'prod.yaml'),
    `version: 1
environment: prod
contact: "\${NOT_SET_HERE}"
surfaces: ./surfaces.yaml
steps:
  - { uses: flag/redis, with: { url: "\${NOR_THIS}" } }
  - { uses: drain/inflight, with: { guards: [${guards}] } }
  - { id: read-back, uses: verify/flag, with: { guards: [${guards}, "\${SILENT}"] } }
`,
  );
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
  await guard.close();
  rmSync(folder, { recursive: true, force: true });
});

test('scope list shows every way to write, without secrets', async () => {
  const { code, stdout } = await run('scope', 'list');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^runbooks\/surfaces\.yaml: 5 surfaces; what none names is refused/);
  expect(stdout).toMatch(/notes +http +POST \/notes +refuse 503 +search/);
  expect(stdout).toMatch(/mail +tool +send_mail, crm\.\* +refuse 503 +no canary/);
  const listed = await json(shapes.ScopeListShape, 'scope', 'list');
  expect(listed).toMatchObject({ path: 'runbooks/surfaces.yaml', shortestTokenLifeMs: 900_000 });
  expect(listed.surfaces.map(({ name }) => name)).toEqual(['notes', 'vectors', 'mail', 'search', 'refresh']);
});

test('scope check says that a guard runs another list than the file', async () => {
  const same = await json(shapes.ScopeCheckShape, 'scope', 'check');
  expect(same.guards.map(({ list }) => list)).toEqual(['same', null]);
  writeFileSync(
    join(folder, 'runbooks', 'surfaces.yaml'),
    `${SURFACES}  - { name: tags, kind: http, match: { methods: [POST], path: /tags } }\n`,
  );
  const { code, stdout } = await run('scope', 'check');
  writeFileSync(join(folder, 'runbooks', 'surfaces.yaml'), SURFACES.replace('/token', '/tokens'));
  const renamed = await run('scope', 'check');
  writeFileSync(join(folder, 'runbooks', 'surfaces.yaml'), SURFACES);
  const { host } = new URL(url);
  expect(code).toBe(0);
  expect(stdout).toContain(`  ! ${host}  runs another list than surfaces.yaml: it lacks tags`);
  expect(stdout).toContain(`Next: deploy ${host} with surfaces.yaml, and start it again`);
  expect(renamed.stdout).toContain(
    `  ! ${host}  runs another list than surfaces.yaml: the names are the same, and what they match or do is not`,
  );
});

test('scope check: unnamed, never seen, silent; exit 68 only for what is written and not named', async () => {
  const quiet = await json(shapes.ScopeCheckShape, 'scope', 'check');
  expect(quiet).toMatchObject({
    ok: true,
    exit: 0,
    unnamed: [],
    window: null,
    neverSeen: ['notes', 'vectors', 'mail', 'search', 'refresh'],
  });

  for (const [method, path] of [
    ['POST', '/notes'],
    ['POST', '/notes'],
    ['DELETE', '/accounts/12'],
    ['DELETE', '/accounts/13'],
  ] as const)
    await fetch(`${url}${path}`, { method });
  const done = await run('scope', 'check');
  expect(done.code).toBe(68);
  expect(done.stdout).toMatch(/^5 surfaces · 1 of 2 guards answered · \d things to look at:/);
  expect(done.stdout).toMatch(/✔ {2}notes +refused 2/);
  expect(done.stdout).toMatch(/✘ DELETE \/accounts\/:id {2}written 2 times, and no surface names it/);
  expect(done.stdout).toMatch(/\? never seen by a guard: vectors, mail, search, refresh/);
  expect(done.stdout).toContain(`? ${new URL(silent).host}`);
  expect(done.stdout).toContain(
    'Next: name it: a surface with match: { methods: [DELETE], path: "/accounts/:id" } · maint scope list',
  );
  expect(done.output).not.toContain(PASSWORD);
  const checked = await json(shapes.ScopeCheckShape, 'scope', 'check');
  expect(checked).toMatchObject({
    ok: false,
    exit: 68,
    unnamed: [{ method: 'DELETE', path: '/accounts/:id', count: 2 }],
  });
  expect(JSON.stringify(checked)).not.toContain(PASSWORD);
});

test('what cannot be asked says what to type', async () => {
  const nobody = await run('scope', 'check', '--guard', silent);
  expect(nobody).toMatchObject({ code: 66, stdout: '' });
  expect(nobody.stderr).toMatch(/E_REFUSED {2}The guard does not answer[\s\S]*Next: maint scope list/);
  const odd = await run('scope', 'check', '--guard', 'redis://x');
  expect(odd.code).toBe(64);
  expect(odd.stderr).toMatch(/--guard "redis:\/\/x" is no address/);
  writeFileSync(
    join(folder, 'bare.yaml'),
    'version: 1\nenvironment: x\ncontact: y\nsteps: [{ uses: flag/file, with: { path: f } }]\n',
  );
  expect((await run('scope', 'list', '--runbook', 'bare.yaml')).stdout).toMatch(/bare\.yaml names no surfaces/);
  const bare = await run('scope', 'check', '--runbook', 'bare.yaml');
  expect(bare.code).toBe(64);
  expect(bare.stderr).toMatch(
    /has no step that names guards[\s\S]*Next: maint scope check --runbook bare\.yaml --guard/,
  );
  const misspelt = await run('scope', 'chekc');
  expect(misspelt.code).toBe(64);
  expect(misspelt.stderr).toMatch(/maint scope check/);
});

test('runbook check warns of tokens that a window outlives', async () => {
  const { stdout } = await run('runbook', 'check');
  expect(stdout).toMatch(/! refresh is refused, and the shortest token lives 15m: a window longer than 15m locks/);
});

test('status says what the guards refused, what was written even so, and who does not answer', async () => {
  const watching = createGuard({ source: fileSource(join(folder, 'flag.json'), { pollMs: 50 }), log: () => {} });
  const guarded = createServer(watching.http((_request, response) => void response.writeHead(201).end()));
  await new Promise<void>((done) => guarded.listen(0, '127.0.0.1', done));
  const address = `http://127.0.0.1:${(guarded.address() as AddressInfo).port}`;
  const database = new DatabaseSync(join(folder, 'app.db'));
  database.exec('create table orders (id integer primary key); create table heartbeat (at text)');
  writeFileSync(
    join(folder, 'open.yaml'),
    `version: 1
environment: watched
contact: x
steps:
  - { uses: flag/file, with: { path: flag.json } }
  - { uses: drain/inflight, with: { guards: ["${address}"] } }
  - { uses: no-writes/sqlite, with: { path: app.db, for: 1s, allow: [{ table: heartbeat, because: lag probe }] } }
`,
  );
  try {
    const started = await run('start', '--window', '10m', '--yes', '--runbook', 'open.yaml');
    expect(started.output).toMatch(/drain +none in flight/);
    expect(started.code).toBe(0);
    for (let i = 0; i < 3; i++) expect((await fetch(`${address}/notes`, { method: 'POST' })).status).toBe(503);
    expect((await run('status', '--env', 'watched')).stdout).toMatch(/\n {2}refused 3 · written 0\n/);
    const seen = await json(shapes.StatusShape, 'status', '--env', 'watched');
    expect(seen).toMatchObject({
      guards: [{ refused: 3, inFlight: 0, problem: null }],
      writes: [{ step: 'no-writes', outcome: 'pass', summary: 'written 0' }],
    });
    database.exec("insert into heartbeat values ('now')");
    expect((await run('status', '--env', 'watched')).stdout).toMatch(/\n {2}refused 3 · written 0\n/);
    database.exec('insert into orders values (1), (2)');
    expect((await run('status', '--env', 'watched')).stdout).toMatch(
      /\n {2}refused 3 · written orders: .+ \(no-writes\)\n/,
    );
    database.close();
    rmSync(join(folder, 'app.db'));
    expect((await run('status', '--env', 'watched')).stdout).toMatch(/\n {2}refused 3 · not seen: .+ \(no-writes\)\n/);
  } finally {
    guarded.closeAllConnections();
    await new Promise((done) => guarded.close(done));
    await watching.close();
  }
  expect((await run('status', '--env', 'watched')).stdout).toContain(
    `\n  no answer from ${new URL(address).host} · not seen: `,
  );
  expect((await run('abort', '--env', 'watched')).code).toBe(0);
});
