// Telling people beforehand and meanwhile, and a second person: announce, note, overdue, takeover.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, expect, test } from '@jest/globals';
import { files, type LocalWorld, notices } from '../crash/worlds.ts';
import { begin, maint } from '../support/cli.ts';
import { until } from '../support/until.ts';

const worlds: LocalWorld[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.stop();
});
async function world(make = notices): Promise<LocalWorld & { cwd: string }> {
  const made = await make();
  worlds.push(made);
  return { ...made, cwd: made.folder };
}
const at = (ms: number) => new Date(Date.now() + ms).toISOString();
const announce = (when: string) => ['announce', '-r', 'runbook.yaml', '--at', when, '--window', '30m', '--yes'];
const START = ['start', '-r', 'runbook.yaml', '--window', '30m', '--yes'];

test('announced, moved, adopted by start, told about, ended: one maintenance, one message', async () => {
  const of = await world();
  const before = of.essence();
  expect((await maint(announce(at(3_600_000)), of)).code).toBe(0);
  expect(of.essence()).toBe(before);
  const scheduled = await maint(['status', '--json'], of);
  expect([scheduled.code, JSON.parse(scheduled.stdout).label]).toEqual([0, 'scheduled']);
  const moved = await maint(announce(at(7_200_000)), of);
  expect([moved.code, moved.stdout]).toEqual([0, expect.stringContaining('now announced')]);
  expect((await maint(START, of)).code).toBe(0);
  expect((await maint(announce(at(7_200_000)), of)).code).toBe(69);
  expect((await maint(['note', 'reindex 60 %, next update 02:40Z'], of)).code).toBe(0);
  expect((await maint(['end', '--soak', '1s'], of)).code).toBe(0);
  expect([of.essence(), of.faults()]).toEqual([before, []]);
});

test('announced and cancelled, in words; a time that has passed is refused', async () => {
  const of = await world();
  const before = of.essence();
  expect((await maint(announce(at(-60_000)), of)).code).toBe(64);
  expect((await maint(announce(at(3_600_000)), of)).code).toBe(0);
  expect((await maint(['abort'], of)).code).toBe(0);
  expect([of.essence(), of.faults()]).toEqual([before, []]);
  expect((await maint(['status'], of)).code).toBe(0);
});

test('past its end: whoever looks marks it once, and the notices say so', async () => {
  const of = await world();
  expect((await maint(START, of)).code).toBe(0);
  // The end is moved into the past where it stands: nobody waits for half an hour.
  const state = new DatabaseSync(join(of.folder, 'state', 'state.db'));
  for (const { seq, at: began, body } of state.prepare('select seq, at, body from events').all() as {
    seq: number;
    at: string;
    body: string;
  }[]) {
    const event = JSON.parse(body);
    if (event.type !== 'opened') continue;
    state
      .prepare('update events set body = ? where seq = ?')
      .run(JSON.stringify({ ...event, until: new Date(Date.parse(began) + 500).toISOString() }), seq);
  }
  state.close();
  const first = await maint(['status'], of);
  expect([first.code, first.stdout]).toEqual([69, expect.stringContaining('OVERDUE')]);
  expect((await maint(['status', '--fail-on', 'overdue'], of)).code).toBe(69);
  const timeline = (await maint(['report'], of)).stdout;
  expect(timeline.match(/^\| \d\d:.*overdue.*$/gim)).toHaveLength(1);
  expect((await maint(['end', '--soak', '1s'], of)).code).toBe(0);
  expect(of.faults()).toEqual([]);
}, 90_000);

test('a takeover from a living run: it is told what that was doing, and the other stops before its next write', async () => {
  const of = await world(files);
  const script = (name: string, text: string) =>
    writeFileSync(join(of.folder, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  script('state.sh', 'cat mode');
  script('slow.sh', 'echo $$ > began; while [ ! -f go ]; do sleep 0.05; done; echo $MAINT_TO > mode');
  writeFileSync(join(of.folder, 'mode'), 'rw\n');
  writeFileSync(
    of.runbook,
    'version: 1\nenvironment: crash\ncontact: "#ops"\nsoak: 1s\nsteps:\n  - { uses: flag/file, with: { path: flag.json } }\n  - { id: slow, uses: command, with: { observe: [./state.sh], write: [./slow.sh], frozen: ro, role: work, cwd: . }, deadline: 60s }\n  - { uses: crons/crontab, with: { file: app.cron } }\n',
  );
  const before = of.essence();
  const first = begin(START, of);
  const { existsSync } = await import('node:fs');
  await until(() => existsSync(join(of.folder, 'began')), 15_000);
  expect((await maint(['abort', '--takeover'], of)).code).toBe(64);
  const second = begin(['abort', '--takeover', '--yes'], of);
  await until(() => second.said().includes('is acting on crash'), 15_000);
  await until(() => second.said().includes('taken over'), 15_000);
  writeFileSync(join(of.folder, 'go'), '');
  const lost = await first.ended;
  expect([lost.code, lost.stderr]).toEqual([75, expect.stringContaining('E_TAKEN_OVER')]);
  const undone = await second.ended;
  expect(undone.code).toBe(0);
  expect(of.essence()).toBe(before);
}, 90_000);
