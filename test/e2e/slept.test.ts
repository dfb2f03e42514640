// A lid that is closed in the middle of the checklist: SIGSTOP, and SIGCONT later, of the real command line.
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, expect, test } from '@jest/globals';
import { files, type LocalWorld } from '../crash/worlds.ts';
import { begin, maint, type Running } from '../support/cli.ts';
import { until } from '../support/until.ts';

const START = ['start', '-r', 'runbook.yaml', '--window', '30m', '--yes'];
/** More than this between two ticks, and it slept. */
const SLEEP_MS = 3_500;
let of: LocalWorld & { cwd: string };
afterEach(() => of.stop());

/** A start that is in the middle of its second step, with a crontab still to come. */
async function halfWay(): Promise<{ before: string; running: Running }> {
  const world = await files();
  of = { ...world, cwd: world.folder };
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
  const running = begin(START, of);
  await until(() => existsSync(join(of.folder, 'began')), 20_000);
  return { before, running };
}

test('somebody took over meanwhile: it stops before its next write, and says who', async () => {
  const { before, running } = await halfWay();
  running.child.kill('SIGSTOP');
  const second = begin(['abort', '--takeover', '--yes'], of);
  await until(() => second.said().includes('taken over'), 20_000);
  writeFileSync(join(of.folder, 'go'), '');
  const undone = await second.ended;
  expect([undone.code, of.essence()]).toEqual([0, before]);
  running.child.kill('SIGCONT');
  const woken = await running.ended;
  expect([woken.code, woken.stderr]).toEqual([75, expect.stringMatching(/E_TAKEN_OVER {2}crash was taken over/)]);
  expect(of.essence()).toBe(before);
  expect((await maint(['status'], of)).code).toBe(0);
}, 120_000);

test('nobody took over: it goes on where it was', async () => {
  const { before, running } = await halfWay();
  running.child.kill('SIGSTOP');
  // the time that it must have slept for
  await delay(SLEEP_MS);
  writeFileSync(join(of.folder, 'go'), '');
  running.child.kill('SIGCONT');
  expect((await running.ended).code).toBe(0);
  expect((await maint(['end', '--soak', '1s'], of)).code).toBe(0);
  expect(of.essence()).toBe(before);
}, 120_000);
