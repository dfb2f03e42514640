// What cannot work is found before anything is written: a wall, a check or a script that cannot be reached, is not
// allowed or cannot be used is a problem of a rehearsal and refuses a start, with exit 66 and nothing changed.
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { maint } from '../support/cli.ts';
import { traceOf } from '../support/outside.ts';
import { describeWith, type Postgres, type Server, startPostgres, startRedis } from '../support/servers.ts';

const FLAG = '{ uses: flag/file, with: { path: flag.json } }';
const RUNBOOK = ['-r', 'runbook.yaml'];
const START = ['start', ...RUNBOOK, '--window', '30m'];
/** Nothing listens there: it is reserved for that. */
const DEAD = '127.0.0.1:1';

let cwd = '';
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'maint-unusable-'));
  for (const [name, mode] of [
    ['state.sh', 0o755],
    ['plain.sh', 0o644],
  ] as const) {
    writeFileSync(join(cwd, name), '#!/bin/sh\necho rw\n');
    chmodSync(join(cwd, name), mode);
  }
  writeFileSync(join(cwd, 'not-a.db'), 'this is text');
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

function runbook(...steps: string[]): void {
  const lines = ['version: 1', 'environment: prod', 'contact: "#ops"', 'soak: 1s', 'steps:'];
  writeFileSync(join(cwd, 'runbook.yaml'), [...lines, ...steps.map((step) => `  - ${step}`), ''].join('\n'));
}

async function refused(why: RegExp): Promise<void> {
  const before = traceOf(cwd);
  const told = await maint(['rehearse', ...RUNBOOK], { cwd });
  expect([told.code, told.output]).toEqual([66, expect.stringMatching(why)]);
  expect(told.output).toMatch(/[12] problems?, nothing written/);
  const junit = await maint(['rehearse', ...RUNBOOK, '--format', 'junit'], { cwd });
  expect([junit.code, junit.stdout]).toEqual([66, expect.stringMatching(/<error message="/)]);
  expect(junit.stdout).toMatch(/ errors="1"/);
  const github = await maint(['rehearse', ...RUNBOOK, '--format', 'github'], { cwd });
  expect([github.code, github.stdout]).toEqual([66, expect.stringMatching(/^::error file=runbook\.yaml,line=\d+,/)]);
  for (const how of ['--dry-run', '--yes']) {
    const start = await maint([...START, how], { cwd });
    expect([start.code, start.output]).toEqual([66, expect.stringMatching(why)]);
    expect(start.output).toMatch(/^E_(UNUSABLE|NOT_ALLOWED|REFUSED) .*Nothing changed\.$/m);
    expect(start.output).toMatch(/^Next: .*--skip/m);
  }
  expect(traceOf(cwd)).toBe(before);
}

async function notRecorded(why: RegExp): Promise<void> {
  const observed = await maint(['observe', ...RUNBOOK, '--output', 'world.json'], { cwd });
  expect([observed.code, observed.output]).toEqual([66, expect.stringMatching(why)]);
  expect(existsSync(join(cwd, 'world.json'))).toBe(false);
}

describe('refused before anything is written', () => {
  const walls: [string, string, RegExp][] = [
    ['a dead address', `{ uses: flag/redis, with: { url: "redis://${DEAD}" } }`, /flag +redis 127\.0\.0\.1:1 refused/],
    ['a folder that is not there', '{ uses: flag/file, with: { path: no/flag.json } }', /flag +file .* is not there/],
    ['a crontab that is a folder', '{ uses: crons/crontab, with: { file: . } }', /crons/],
    [
      'a script that is not there',
      '{ uses: command, with: { observe: [./gone.sh], write: [./state.sh], frozen: ro, role: wall, cwd: . } }',
      /command +.*gone\.sh is not there/,
    ],
  ];
  test.each(walls)('%s', async (_name, step, why) => {
    runbook(step);
    await refused(why);
    await notRecorded(why);
  });

  const others: [string, string, RegExp][] = [
    [
      'a script that writes and cannot be started',
      '{ uses: command, with: { observe: [./state.sh], write: [./plain.sh], frozen: ro, role: work, cwd: . } }',
      /command +.*plain\.sh is not executable/,
    ],
    [
      'a guard that is down',
      `{ uses: verify/flag, with: { guards: ["http://${DEAD}"] } }`,
      /flag +127\.0\.0\.1:1 .*refused/,
    ],
    [
      'a guard whose writes are waited for',
      `{ uses: drain/inflight, with: { guards: ["http://${DEAD}"] } }`,
      /drain +127\.0\.0\.1:1 .*refused/,
    ],
    [
      'a database that is down',
      `{ uses: no-writes/postgres, with: { url: "postgres://app@${DEAD}/app" } }`,
      /no-writes +postgres 127\.0\.0\.1:1\/app refused/,
    ],
    [
      'a Redis that is down',
      `{ uses: no-writes/redis, with: { url: "redis://${DEAD}" } }`,
      /no-writes +redis .*refused/,
    ],
    ['a file that is not a database', '{ uses: no-writes/sqlite, with: { path: not-a.db } }', /no-writes +.*not-a\.db/],
  ];
  test.each(others)('%s', async (_name, step, why) => {
    runbook(FLAG, step.replace('{ uses: verify/flag', '{ id: flag-read, uses: verify/flag'));
    await refused(new RegExp(why.source.replace(/^flag \+/, 'flag-read +')));
  });

  test('the base address of canaries', async () => {
    writeFileSync(
      join(cwd, 'surfaces.yaml'),
      'version: 1\nsurfaces:\n  - { name: notes, kind: http, match: { methods: [POST], path: /notes }, disposition: refuse, canary: { method: POST, path: /notes, body: {} } }\n',
    );
    writeFileSync(
      join(cwd, 'runbook.yaml'),
      `version: 1\nenvironment: prod\ncontact: "#ops"\nsurfaces: ./surfaces.yaml\nsteps:\n  - ${FLAG}\n  - { id: refused, uses: verify/endpoints, with: { url: "http://${DEAD}" } }\n`,
    );
    await refused(/refused +127\.0\.0\.1:1 .*refused/);
  });
});

describe('what a start goes on without is named', () => {
  test('a cache that is down', async () => {
    runbook(FLAG, `{ uses: cache/http, with: { url: "http://${DEAD}/purge" } }`);
    const told = await maint(['rehearse', ...RUNBOOK], { cwd });
    expect([told.code, told.output]).toEqual([0, expect.stringMatching(/^note +cache +127\.0\.0\.1:1 .*refused/m)]);
    const planned = await maint([...START, '--dry-run'], { cwd });
    expect([planned.code, planned.output]).toEqual([
      0,
      expect.stringMatching(/1 thing to look at:\n +cache +127\.0\.0\.1:1 .*refused.*; the start goes on without it/),
    ]);
    expect(readdirSync(cwd)).not.toContain('flag.json');
  });

  test('a wall, where the runbook says so', async () => {
    runbook(FLAG, `{ id: second, uses: flag/redis, with: { url: "redis://${DEAD}" }, on_failure: continue }`);
    expect((await maint(['rehearse', ...RUNBOOK], { cwd })).code).toBe(0);
    expect((await maint(['observe', ...RUNBOOK, '--output', 'world.json'], { cwd })).code).toBe(0);
    expect((await maint(['rehearse', ...RUNBOOK, '--world', 'world.json'], { cwd })).code).toBe(0);
  });
});

test('a recorded world without a step that is needed rehearses nothing', async () => {
  runbook(FLAG);
  expect((await maint(['observe', ...RUNBOOK, '--output', 'world.json'], { cwd })).code).toBe(0);
  runbook(FLAG, '{ uses: crons/crontab, with: { file: app.cron } }');
  const told = await maint(['rehearse', ...RUNBOOK, '--world', 'world.json', '--format', 'junit'], { cwd });
  expect([told.code, told.stdout]).toEqual([66, expect.stringMatching(/name="crons".*<error message="not in the/)]);
});

describe('reads that fail already', () => {
  let service: HttpServer;
  beforeAll(async () => {
    service = createServer((_request, response) => response.writeHead(502).end()).listen(0, '127.0.0.1');
    await new Promise((resolve) => service.once('listening', resolve));
  });
  afterAll(() => {
    service.closeAllConnections();
    service.close();
  });

  test('are a problem of a rehearsal, and a thing to look at in a start', async () => {
    const probe = `http://127.0.0.1:${(service.address() as AddressInfo).port}/search`;
    runbook(FLAG, `{ id: reads, uses: soak/http, with: { probes: ["${probe}"] } }`);
    const told = await maint(['rehearse', ...RUNBOOK], { cwd });
    expect([told.code, told.output]).toEqual([66, expect.stringMatching(/reads +.*20 of 20 reads failed.*502/)]);
    const planned = await maint([...START, '--dry-run'], { cwd });
    expect([planned.code, planned.output]).toEqual([0, expect.stringMatching(/1 thing to look at:\n +reads .*502/)]);
    const started = await maint([...START, '--yes'], { cwd });
    expect([started.code, started.output]).toEqual([
      0,
      expect.stringMatching(/1 thing to look at:[\s\S]*reads +before: /),
    ]);
    expect(existsSync(join(cwd, 'flag.json'))).toBe(true);
    expect((await maint(['abort'], { cwd })).code).toBe(0);
  });
});

describeWith(['redis', 'postgres'], 'refused by a server that is there', () => {
  let redis: Server;
  let postgres: Postgres;
  beforeAll(async () => {
    [redis, postgres] = await Promise.all([startRedis({ args: ['--requirepass', 'right-password'] }), startPostgres()]);
  }, 60_000);
  afterAll(async () => {
    await Promise.all([redis.stop(), postgres.stop()]);
  });

  test('a wrong password of a flag', async () => {
    runbook(`{ uses: flag/redis, with: { url: "redis://:\${WRONG}@127.0.0.1:${redis.port}" } }`);
    const told = await maint(['rehearse', ...RUNBOOK], { cwd, env: { WRONG: 'wrong-password' } });
    expect([told.code, told.output]).toEqual([66, expect.stringMatching(/flag .*WRONGPASS/)]);
    const start = await maint([...START, '--yes'], { cwd, env: { WRONG: 'wrong-password' } });
    expect([start.code, start.output]).toEqual([66, expect.stringMatching(/WRONGPASS[\s\S]*Next: .*--skip flag/)]);
    expect(readdirSync(cwd)).not.toContain('state');
  });

  test('a database that is not there', async () => {
    runbook(FLAG, `{ uses: no-writes/postgres, with: { url: "postgres://postgres@127.0.0.1:${postgres.port}/nope" } }`);
    await refused(/no-writes +postgres .*3D000/);
  });
});
