// maint doctor: a table of everything that a window needs, each thing asked; nothing is made, not even the state.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { maint } from '../support/cli.ts';
import { DoctorShape } from '../support/json-shapes.ts';
import { traceOf } from '../support/outside.ts';
import { describeWith, type Postgres, startPostgres } from '../support/servers.ts';

const DEAD = '127.0.0.1:1';
const FLAG = '{ uses: flag/file, with: { path: flag.json } }';
const CRONS = '{ uses: crons/crontab, with: { file: app.cron } }';

let cwd = '';
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'maint-doctor-'));
  writeFileSync(join(cwd, 'app.cron'), '*/5 * * * * /opt/reindex.sh\n');
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

function runbook(...steps: string[]): void {
  const lines = ['version: 1', 'environment: prod', 'contact: "#ops"', 'steps:'];
  writeFileSync(join(cwd, 'runbook.yaml'), [...lines, ...steps.map((step) => `  - ${step}`), ''].join('\n'));
}

/** Whenever root opens a database, SQLite gives its journal to the database's owner: that sets the ctime, and no more. */
function trace(): string {
  return traceOf(cwd).replace(/(state\.db-journal .*) \d+$/m, '$1');
}

async function doctor(env: Record<string, string> = {}) {
  const before = trace();
  const words = ['doctor', '-r', 'runbook.yaml'];
  const text = await maint(words, { cwd, env });
  const json = await maint([...words, '--json'], { cwd, env });
  expect(trace()).toBe(before);
  const value = DoctorShape.parse(JSON.parse(json.stdout));
  expect([json.code, value.exit, value.ok]).toEqual([text.code, text.code, text.code === 0]);
  const row = (name: string) => value.rows.find((one) => one.name === name)!;
  return { ...text, rows: value.rows, row };
}

test('all is well: one row for each step, the variables and the state; exit 0', async () => {
  runbook(FLAG, CRONS);
  const told = await doctor();
  expect([told.code, told.output]).toEqual([0, expect.stringContaining('0 problems, 0 things to look at.')]);
  expect(told.rows.map(({ name, verdict }) => [name, verdict])).toEqual([
    ['variables', 'ok'],
    ['flag', 'ok'],
    ['crons', 'ok'],
    ['state', 'ok'],
  ]);
  expect(told.output).toMatch(/^ {2}✔ flag .*can be used {2}\(read, access\(2\), mountinfo, \d+ ms\)$/m);
  expect(told.output).toMatch(/^ {2}✔ state .*writable · \d+ [MG]B free · the clock is this machine's own/m);
  expect(told.output).toMatch(/^Next: maint rehearse /m);
});

test('everything that is wrong is told at once, with how it was asked and what to do', async () => {
  runbook(
    FLAG,
    `{ id: db, uses: no-writes/postgres, with: { url: "postgres://app:\${DB_PASSWORD}@${DEAD}/app" } }`,
    `{ uses: cache/http, with: { url: "http://${DEAD}/purge" } }`,
    `{ id: reads, uses: soak/http, with: { probes: ["http://${DEAD}/search"] } }`,
    '{ uses: command, with: { observe: [cat, app.cron], write: [./gone.sh], frozen: ro, role: work, cwd: . } }',
    '{ uses: notice/slack, with: { channel: "#ops", token: "${SLACK_TOKEN}" } }',
  );
  const told = await doctor({ DB_PASSWORD: 'quite-secret' });
  expect([told.code, told.output]).toEqual([
    66,
    expect.stringContaining('E_UNUSABLE  5 problems, 1 thing to look at.'),
  ]);
  expect(told.output).not.toContain('quite-secret');
  expect(told.row('variables').found).toEqual(['1 of 2 is not set: SLACK_TOKEN']);
  expect(told.row('slack')).toMatchObject({ verdict: 'problem', found: ['SLACK_TOKEN is not set'], how: 'not asked' });
  expect(told.row('db')).toMatchObject({
    verdict: 'problem',
    found: [`postgres ${DEAD}/app refused the connection`],
    effect: 'a start would be refused',
    todo: 'fix it, or correct DB_PASSWORD, runbook.yaml:6',
  });
  expect(told.row('cache')).toMatchObject({ verdict: 'warning', effect: 'a start goes on without it' });
  expect(told.row('reads')).toMatchObject({ verdict: 'problem', effect: 'a start would only say so' });
  expect(told.row('reads').found[0]).toMatch(/20 of 20 reads failed/);
  expect(told.row('command').found).toContainEqual(expect.stringContaining('gone.sh is not there'));
  expect(told.output).toMatch(/^Next: maint doctor /m);
});

test('a state that cannot be used is a row', async () => {
  runbook(FLAG);
  writeFileSync(join(cwd, 'file'), '');
  mkdirSync(join(cwd, 'folder'));
  for (const state of ['file/state.db', 'folder', 'app.cron']) {
    const told = await doctor({ MAINT_STATE: join(cwd, state) });
    expect([state, told.code, told.row('state').verdict]).toEqual([state, 66, 'problem']);
    expect(told.row('state').found[0]).toContain('the state file');
  }
  const nowhere = await doctor({ MAINT_STATE: `postgres://postgres@${DEAD}/postgres` });
  expect([nowhere.code, nowhere.row('state').found[0], nowhere.row('flag').verdict]).toEqual([
    66,
    expect.stringContaining('nothing listens at that address'),
    'ok',
  ]);
});

test('while a window is open it asks the same', async () => {
  runbook(FLAG, CRONS);
  expect((await maint(['start', '-r', 'runbook.yaml', '--window', '30m', '--yes'], { cwd })).code).toBe(0);
  const told = await doctor();
  expect([told.code, told.row('flag').verdict, told.row('crons').verdict]).toEqual([0, 'ok', 'ok']);
  expect((await maint(['abort'], { cwd })).code).toBe(0);
});

test('no runbook: 64; one that is not valid: 65', async () => {
  expect((await maint(['doctor'], { cwd })).code).toBe(64);
  writeFileSync(join(cwd, 'bad.yaml'), 'version: 1\nstpes: []\n');
  expect((await maint(['doctor', '-r', 'bad.yaml'], { cwd })).code).toBe(65);
});

describeWith('postgres', 'a shared state', () => {
  let server: Postgres;
  beforeAll(async () => {
    server = await startPostgres();
  }, 60_000);
  afterAll(async () => {
    await server.stop();
  });

  test('is asked for its privileges and its clock, and gets no table', async () => {
    runbook(FLAG);
    const state = (schema: string) => `postgres://postgres@127.0.0.1:${server.port}/postgres?schema=${schema}`;
    const told = await doctor({ MAINT_STATE: state('teamstate') });
    expect([told.code, told.row('state')]).toEqual([
      0,
      expect.objectContaining({
        how: 'privileges, and its clock',
        found: [expect.stringMatching(/^writable · clock within/)],
      }),
    ]);
    const status = await maint(['status'], { cwd, env: { MAINT_STATE: state('teamstate') } });
    expect(status.code).toBe(0);
    const again = await doctor({ MAINT_STATE: state('teamstate') });
    expect(again.code).toBe(0);
  });
});
