// Looking at more than one window: every environment, somebody else's run, the windows of the past; and one that moves
// to another laptop.
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { files, type LocalWorld } from '../crash/worlds.ts';
import { begin, maint } from '../support/cli.ts';
import * as shapes from '../support/json-shapes.ts';
import { owner } from '../support/store-fixture.ts';
import { until } from '../support/until.ts';

const worlds: LocalWorld[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.stop();
});
async function world(): Promise<LocalWorld & { cwd: string }> {
  const made = await files();
  worlds.push(made);
  return { ...made, cwd: made.folder };
}
const start = (runbook = 'runbook.yaml') => ['start', '-r', runbook, '--window', '30m', '--yes'];
const SECOND =
  'version: 1\nenvironment: second\ncontact: "#ops"\nsoak: 1s\nsteps:\n  - { uses: flag/file, with: { path: second.json } }\n';

test('every environment that has a window, the gravest exit code; the list of the past', async () => {
  const of = await world();
  writeFileSync(join(of.folder, 'second.yaml'), SECOND);
  const nothing = await maint(['status', '--all', '--json'], of);
  expect([nothing.code, shapes.StatusAllShape.parse(JSON.parse(nothing.stdout))]).toEqual([
    0,
    { ok: true, exit: 0, windows: [] },
  ]);
  expect((await maint(['history', '--json'], of)).code).toBe(0);
  expect((await maint(start(), of)).code).toBe(0);
  expect((await maint(start('second.yaml'), of)).code).toBe(0);
  expect((await maint(['status'], of)).code).toBe(64);
  const note = await maint(['note', '60 %', '--env', 'crash', '--json'], of);
  expect([note.code, shapes.VerbShape.parse(JSON.parse(note.stdout)).verb]).toEqual([0, 'note']);
  const all = await maint(['status', '--all'], of);
  expect([all.code, all.stdout.match(/^\S+ is READ-ONLY/gm)]).toEqual([
    69,
    ['crash is READ-ONLY', 'second is READ-ONLY'],
  ]);
  const json = shapes.StatusAllShape.parse(JSON.parse((await maint(['status', '--all', '--json'], of)).stdout));
  expect(json.windows.map(({ environment, label }) => [environment, label])).toEqual([
    ['crash', 'open'],
    ['second', 'open'],
  ]);
  const inTime = await maint(['status', '--all', '--fail-on', 'overdue', '--json'], of);
  expect([inTime.code, shapes.StatusAllShape.parse(JSON.parse(inTime.stdout)).exit]).toEqual([0, 0]);
  const only = await maint(['status', '--all', '--env', 'second', '--json'], of);
  expect(JSON.parse(only.stdout).windows).toHaveLength(1);

  expect((await maint(['end', '--env', 'second', '--soak', '1s'], of)).code).toBe(0);
  const past = shapes.HistoryShape.parse(JSON.parse((await maint(['history', '--json'], of)).stdout));
  expect(past.windows.map(({ environment, label, look }) => [environment, label, look])).toEqual([
    ['second', 'closed', 0],
    ['crash', 'open', 0],
  ]);
  expect(past.windows[0]!.readOnlyMs).toBeGreaterThan(0);
  const lines = await maint(['history', '--limit', '1'], of);
  expect(lines.stdout).toMatch(
    /^w-\S+ {2}second .* closed .* read-only .*\n… and 1 older one .*\nNext: maint report w-/,
  );
  const matching = async (...flags: string[]) =>
    JSON.parse((await maint(['history', '--json', ...flags], of)).stdout).windows.map((one: any) => one.environment);
  expect(await matching('--matching', past.windows[1]!.window.toUpperCase())).toEqual(['crash']);
  expect(await matching('--matching', 'MAINTENANCE')).toEqual(['second', 'crash']);
  expect(await matching('--matching', 'nobody')).toEqual([]);
  expect(await matching('--trouble')).toEqual([]);
  expect((await maint(['history', '--env', 'crash'], of)).stdout).not.toContain('second');
  expect((await maint(['history', '--since', '2999-01-01'], of)).stdout).toMatch(/^No window in/);
  expect((await maint(['history', '--since', '2026-02-30'], of)).code).toBe(64);
}, 90_000);

test('a second terminal sees the steps of a run that goes on', async () => {
  const of = await world();
  const script = (name: string, text: string) =>
    writeFileSync(join(of.folder, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  script('state.sh', 'cat mode');
  script('slow.sh', 'echo $$ > began; while [ ! -f go ]; do sleep 0.05; done; echo $MAINT_TO > mode');
  writeFileSync(join(of.folder, 'mode'), 'rw\n');
  writeFileSync(
    of.runbook,
    'version: 1\nenvironment: crash\ncontact: "#ops"\nsoak: 1s\nsteps:\n  - { uses: flag/file, with: { path: flag.json } }\n  - { id: slow, uses: command, with: { observe: [./state.sh], write: [./slow.sh], frozen: ro, role: work, cwd: . }, deadline: 60s }\n',
  );
  const run = begin(start(), of);
  await until(() => existsSync(join(of.folder, 'began')), 15_000);
  const seen = begin(['status', '--follow'], of);
  await until(() => /slow +1 change under way/.test(seen.said()), 15_000);
  expect(seen.said()).toMatch(/crash is opening .* is acting \(maint start/);
  expect(seen.said()).toMatch(/✔ flag/);
  writeFileSync(join(of.folder, 'go'), '');
  expect((await run.ended).code).toBe(0);
  await until(() => seen.said().includes('crash is READ-ONLY'), 15_000);
  expect(seen.said()).toMatch(/✔ slow/);
  expect((await maint(['end', '--soak', '1s'], of)).code).toBe(0);
  const followed = await seen.ended;
  expect([followed.code, followed.stdout]).toEqual([
    0,
    expect.stringMatching(/crash has no open window\.\n {2}state: sqlite .*\nNext: .*\n$/),
  ]);
  expect(followed.stderr).toMatch(/writes work again[\s\S]*closed: reached[\s\S]*maint end has ended, exit 0/);
}, 90_000);

test('a window goes to another laptop, and comes back: only one of them acts, and the end is exact', async () => {
  const of = await world();
  const before = of.essence();
  const there = { ...of, env: { MAINT_STATE: join(of.folder, 'there', 'state.db') } };
  expect((await maint(start(), of)).code).toBe(0);
  const { window } = JSON.parse((await maint(['status', '--json'], of)).stdout);

  const copied = await maint(['window', 'export', window, '--copy', '-o', 'copy.json'], of);
  expect([copied.code, copied.stdout]).toEqual([0, expect.stringContaining('goes on acting')]);
  const copy = await maint(['window', 'import', 'copy.json'], there);
  expect([copy.code, copy.stderr]).toEqual([66, expect.stringContaining('two must not')]);
  // a place that takes no file: nothing is handed over
  expect((await maint(['window', 'export', window, '-o', 'no/where.json'], of)).code).toBe(64);
  expect((await maint(['window', 'export', window, '-o', 'copy.json'], of)).code).toBe(64);
  expect((await maint(['status'], of)).code).toBe(69);

  const exported = await maint(['window', 'export', window, '--json'], of);
  expect([exported.code, shapes.ExportedShape.parse(JSON.parse(exported.stdout))]).toMatchObject([
    0,
    { window, output: `${window}.json`, handedOver: true },
  ]);
  const file = join(of.folder, `${window}.json`);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const here = await maint(['status'], of);
  // the flag still holds it: nobody is told that nothing is open
  expect([here.code, here.stdout]).toEqual([69, expect.stringContaining(`${window} was handed over to ${file}`)]);
  expect(here.stdout).toMatch(/flag still holds .*: writes are refused/);
  const end = await maint(['end'], of);
  expect([end.code, end.stderr]).toEqual([66, expect.stringContaining('was handed over to')]);
  expect((await maint(['extend', '--by', '5m'], of)).code).toBe(66);

  for (const [what, edit, code] of [
    ['a state', (text: string) => text.replace('reindex.sh', 'reindez.sh'), 65],
    ['a sequence number', (text: string) => text.replace('"seq": 3,', '"seq": 4,'), 65],
    ['half of it', (text: string) => text.slice(0, text.length / 2), 65],
    ['an unknown event', (text: string) => text.replace('"type": "reached"', '"type": "reacked"'), 65],
    ['a newer release', (text: string) => text.replace('"version": 1,', '"version": 2,'), 64],
  ] as const) {
    writeFileSync(join(of.folder, 'broken.json'), edit(readFileSync(file, 'utf8')));
    const broken = await maint(['window', 'import', 'broken.json', '--json'], there);
    expect([what, broken.code, shapes.ErrorShape.parse(JSON.parse(broken.stdout)).exit]).toEqual([what, code, code]);
  }
  expect(existsSync(join(of.folder, 'there'))).toBe(false);

  const taken = await maint(['window', 'import', file, '--json'], there);
  expect([taken.code, shapes.VerbShape.parse(JSON.parse(taken.stdout)).window]).toEqual([0, window]);
  expect((await maint(['window', 'import', file], there)).code).toBe(66);
  expect((await maint(['extend', '--by', '5m'], there)).code).toBe(0);

  expect((await maint(['window', 'export', window, '-o', 'back.json'], there)).code).toBe(0);
  expect((await maint(['window', 'import', 'back.json'], of)).code).toBe(0);
  expect((await maint(['end', '--soak', '1s'], of)).code).toBe(0);
  expect(of.essence()).toBe(before);
  const report = (await maint(['report', window], of)).stdout;
  expect(report).toMatch(/handed over to .*taken in from .*Extended at|Extended at .*handed over to .*taken in from/s);
  // what is over is only read
  expect((await maint(['window', 'export', window, '-o', 'over.json'], of)).code).toBe(0);
  const third = { ...of, env: { MAINT_STATE: join(of.folder, 'third', 'state.db') } };
  expect((await maint(['window', 'import', 'over.json'], third)).code).toBe(0);
  expect((await maint(['report', window], third)).stdout).toBe(report);
  const past = JSON.parse((await maint(['history', '--json'], there)).stdout).windows;
  expect(past).toMatchObject([{ window, label: 'handed over', handedTo: join(of.folder, 'back.json') }]);
  expect(past[0].handedAt).toMatch(/^\d{4}-.*Z$/);
  expect((await maint(['history'], there)).stdout).toMatch(
    /handed over \d\d:\d\dZ, is now with \S+back\.json +read-only \S+( \d+s)? until then/,
  );
  expect((await maint(['report'], there)).stdout).toMatch(/handed it over to \S+back\.json at .*: what happened since/);
}, 120_000);

test('a window is not handed over while a run is alive, nor taken in where another one is open', async () => {
  const of = await world();
  const there = { ...of, env: { MAINT_STATE: join(of.folder, 'there', 'state.db') } };
  expect((await maint(start(), of)).code).toBe(0);
  const { window } = JSON.parse((await maint(['status', '--json'], of)).stdout);
  const { openJournal } = await import('../../src/store/index.ts');
  const journal = await openJournal({
    state: join(of.folder, 'state', 'state.db'),
    env: {},
    write: true,
    version: '0.1.0',
  });
  const lease = await journal.take('crash', { ...owner('bea@onyx'), host: 'onyx' });
  const busy = await maint(['window', 'export', window], of);
  expect([busy.code, busy.stderr]).toEqual([75, expect.stringContaining('bea@onyx')]);
  expect(existsSync(join(of.folder, `${window}.json`))).toBe(false);
  if ('taken' in lease) await journal.release(lease.taken);
  await journal.end();
  expect((await maint(['window', 'export', window], of)).code).toBe(0);
  writeFileSync(join(of.folder, 'other.yaml'), SECOND.replace('environment: second', 'environment: crash'));
  expect((await maint(start('other.yaml'), there)).code).toBe(0);
  const second = await maint(['window', 'import', `${window}.json`], there);
  expect([second.code, second.stderr]).toEqual([69, expect.stringContaining('already')]);
  expect((await maint(['window', 'export', 'w-nobody'], of)).code).toBe(66);
}, 90_000);
