// What a bad soak leads to, through the command line, with a real service that goes bad once its writes work again.
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import { CRONTAB, files, type LocalWorld } from '../crash/worlds.ts';
import { maint } from '../support/cli.ts';

let world: LocalWorld | undefined;
let server: Server | undefined;
afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  await world?.stop();
});

/** A window that is open; `well` decides how the service answers from now on. */
async function openWindow(onBad: string) {
  world = await files();
  const service = { well: true };
  server = createServer((_request, response) => response.writeHead(service.well ? 200 : 500).end('x')).listen(
    0,
    '127.0.0.1',
  );
  await once(server, 'listening');
  const probe = `http://127.0.0.1:${(server.address() as AddressInfo).port}/search`;
  writeFileSync(
    world.runbook,
    `version: 1
environment: crash
contact: "#ops"
soak: 3s
steps:
  - { uses: flag/file, with: { path: flag.json } }
  - { uses: crons/crontab, with: { file: app.cron, keep: [heartbeat.sh] } }
  - { id: reads, uses: soak/http, with: { probes: ["${probe}"] }, on_bad: ${onBad} }
`,
  );
  const at = { cwd: world.folder };
  const before = world.essence();
  const start = await maint(['start', '-r', 'runbook.yaml', '--window', '30m', '--yes'], at);
  // the baseline is done before the plan is shown, and says so
  expect([start.code, start.stderr]).toEqual([
    0,
    expect.stringMatching(/^ {2}✔ reads +baseline: .* reads[\s\S]*\ncrash · /m),
  ]);
  return { at, before, service, world };
}

test('hold: 68, writes work, what was stopped stays stopped; the next end soaks afresh and closes', async () => {
  const { at, before, service, world: made } = await openWindow('hold');
  service.well = false;
  const bad = await maint(['end'], at);
  expect([bad.code, bad.output]).toEqual([68, expect.stringMatching(/E_SOAK_BAD[\s\S]*reads/)]);
  expect(made.essence()).toContain('no flag');
  expect(made.essence()).toContain('#maint:');
  const status = await maint(['status'], at);
  expect([status.code, status.stdout]).toEqual([68, expect.stringContaining('the soak found trouble')]);
  service.well = true;
  const good = await maint(['end', '--soak', '1s'], at);
  expect(good.code).toBe(0);
  expect(made.essence()).toBe(before);
});

test('hold, and closed in spite of it by --skip', async () => {
  const { at, before, service, world: made } = await openWindow('hold');
  service.well = false;
  expect((await maint(['end'], at)).code).toBe(68);
  const closed = await maint(['end', '--skip', 'reads'], at);
  expect([closed.code, closed.output]).toEqual([0, expect.not.stringContaining('soak goes on')]);
  expect(made.essence()).toBe(before);
});

test('hold, and read-only again by start: the crontab is still ours, the flag is back', async () => {
  const { at, before, service, world: made } = await openWindow('hold');
  service.well = false;
  expect((await maint(['end'], at)).code).toBe(68);
  const again = await maint(['start', '-r', 'runbook.yaml', '--window', '30m', '--yes'], at);
  expect(again.code).toBe(0);
  expect(made.essence()).not.toContain('no flag');
  service.well = true;
  expect((await maint(['end', '--soak', '1s'], at)).code).toBe(0);
  expect(made.essence()).toBe(before);
});

test('refreeze: 68, read-only again by itself; continue: 0, and it is said', async () => {
  const frozen = await openWindow('refreeze');
  frozen.service.well = false;
  const bad = await maint(['end'], frozen.at);
  expect([bad.code, bad.output]).toEqual([68, expect.stringContaining('read-only again')]);
  expect(frozen.world.essence()).not.toContain('no flag');
  expect((await maint(['abort'], frozen.at)).code).toBe(0);
  expect(frozen.world.essence()).toBe(frozen.before);
  server!.closeAllConnections();
  server!.close();
  await frozen.world.stop();

  const went = await openWindow('continue');
  went.service.well = false;
  const ended = await maint(['end'], went.at);
  expect([ended.code, ended.stdout]).toEqual([0, expect.stringMatching(/thing to look at[\s\S]*reads/)]);
  expect(went.world.essence()).toContain(CRONTAB);
});
