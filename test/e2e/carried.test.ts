// The same file taken in on two laptops: the flag says who carries the window, and the second one does not act.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { files, type LocalWorld } from '../crash/worlds.ts';
import { maint } from '../support/cli.ts';

let of: LocalWorld & { cwd: string };
afterEach(() => of.stop());

const START = ['start', '-r', 'runbook.yaml', '--window', '30m', '--yes'];

/** A window that its first laptop has handed over to w.json, and two others. */
async function handedOver(runbook?: (text: string) => string) {
  const world = await files();
  const flag = { FLAG: join(world.folder, 'flag.json') };
  of = { ...world, cwd: world.folder, env: flag };
  if (runbook) writeFileSync(of.runbook, runbook(readFileSync(of.runbook, 'utf8')));
  const before = of.essence();
  const laptop = (name: string) => ({ ...of, env: { ...flag, MAINT_STATE: join(of.folder, name, 'state.db') } });
  expect((await maint(START, of)).code).toBe(0);
  const { window } = JSON.parse((await maint(['status', '--json'], of)).stdout) as { window: string };
  const exported = await maint(['window', 'export', window, '-o', 'w.json'], of);
  expect(exported.code).toBe(0);
  return { window, before, exported, b: laptop('b'), c: laptop('c') };
}
const take = ['window', 'import', 'w.json'];
const carrier = () => Object.values(JSON.parse(readFileSync(join(of.folder, 'flag.json'), 'utf8')).holders)[0] as any;

test('the second laptop is refused, by name of what says so; the first one goes on and ends it', async () => {
  const { before, b, c, exported } = await handedOver();
  expect(exported.stdout).not.toContain('no flag step');
  const first = await maint(take, b);
  expect([first.code, first.output]).toEqual([0, expect.not.stringContaining('to look at')]);
  expect(carrier().carried_by).toMatch(/^c-[0-9a-f]{16}$/);
  const second = await maint(take, c);
  expect([second.code, second.stderr]).toEqual([66, expect.stringMatching(/carried by another state: flag says so/)]);
  expect((await maint(['status'], c)).code).toBe(0);
  // nor the one that it comes from
  expect((await maint(take, of)).code).toBe(66);
  expect((await maint(['extend', '--by', '5m'], b)).code).toBe(0);
  expect((await maint(['end', '--soak', '1s'], b)).code).toBe(0);
  expect(of.essence()).toBe(before);
}, 120_000);

test('both took it in where the flag could not be asked: whoever writes it first goes on, the other one is refused', async () => {
  const { before, b, c } = await handedOver((text) => text.replace('path: flag.json', 'path: "${FLAG}"'));
  for (const laptop of [b, c]) {
    // the variable that the flag needs is not set there yet
    const taken = await maint(take, { ...laptop, env: { MAINT_STATE: laptop.env['MAINT_STATE']! } });
    expect([taken.code, taken.output]).toEqual([0, expect.stringContaining('the flag could not be asked')]);
  }
  expect(carrier().carried_by).toBeUndefined();
  expect((await maint(['extend', '--by', '5m'], c)).code).toBe(0);
  const refused = await maint(['end'], b);
  expect([refused.code, refused.stderr]).toEqual([66, expect.stringMatching(/carried by another state: flag/)]);
  expect((await maint(['end', '--soak', '1s'], c)).code).toBe(0);
  expect(of.essence()).toBe(before);
}, 120_000);

test('two at the same moment: one carries it, the other one has handed it back', async () => {
  const { before, b, c } = await handedOver();
  const both = await Promise.all([maint(take, b), maint(take, c)]);
  const [won, lost] = both[0]!.code === 0 ? [b, c] : [c, b];
  expect(both.map(({ code }) => code).sort()).toEqual([0, 66]);
  // The one that was refused before it took anything in has neither a window nor a runbook, and so no flag to ask.
  const { windows } = JSON.parse((await maint(['history', '--json'], lost)).stdout);
  expect((await maint(['status'], lost)).code).toBe(windows.length > 0 ? 69 : 0);
  expect((await maint(['end', '--soak', '1s'], won)).code).toBe(0);
  expect((await maint(['status'], lost)).code).toBe(0);
  expect(of.essence()).toBe(before);
}, 120_000);

test('the laptop that carries it is lost: --takeover', async () => {
  const { before, b, c } = await handedOver();
  expect((await maint(take, b)).code).toBe(0);
  const lost = carrier().carried_by;
  expect((await maint([...take, '--takeover'], c)).code).toBe(0);
  expect(carrier().carried_by).not.toBe(lost);
  // it was not lost after all
  for (const argv of [['extend', '--by', '5m'], ['note', 'x'], ['end'], ['abort'], [...START]]) {
    const refused = await maint(argv, b);
    expect([argv[0], refused.code, refused.stderr]).toEqual([
      argv[0],
      66,
      expect.stringMatching(/carried by another state/),
    ]);
  }
  const shown = await maint(['status'], b);
  expect([shown.code, shown.stdout]).toEqual([69, expect.stringContaining('changed by somebody else')]);
  expect((await maint(['end', '--soak', '1s'], c)).code).toBe(0);
  expect(of.essence()).toBe(before);
}, 120_000);

test('without a flag step: said when it is handed over, and when it is taken in', async () => {
  const { before, b, exported } = await handedOver((text) => text.replace(/ {2}- \{ uses: flag\/file.*\n/, ''));
  expect(exported.stdout).toContain('no flag step');
  const taken = await maint(take, b);
  expect([taken.code, taken.output]).toEqual([0, expect.stringContaining('nothing tells another laptop')]);
  expect((await maint(['end', '--soak', '1s'], b)).code).toBe(0);
  expect(of.essence()).toBe(before);
}, 120_000);
