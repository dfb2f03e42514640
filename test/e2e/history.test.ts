// Looking at more than one window: every environment, somebody else's run, the windows of the past; and one that moves
// to another laptop.
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { type CrashWorld, files } from '../crash/worlds.ts';
import { begin, maint } from '../support/cli.ts';
import * as shapes from '../support/json-shapes.ts';
import { until } from '../support/until.ts';

const worlds: CrashWorld[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.stop();
});
async function world(): Promise<CrashWorld & { cwd: string }> {
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
  expect([followed.code, followed.stdout]).toEqual([0, expect.stringMatching(/No window is open\.\nNext: .*\n$/)]);
  expect(followed.stderr).toMatch(/writes work again[^]*closed: reached[^]*maint end has ended, exit 0/);
}, 90_000);
