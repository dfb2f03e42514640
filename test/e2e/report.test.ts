// A window that did not go by the book: the terminal, the report and the history tell the same numbers.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { type LocalWorld, notices } from '../crash/worlds.ts';
import { maint } from '../support/cli.ts';
import * as shapes from '../support/json-shapes.ts';

const worlds: LocalWorld[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.stop();
});
async function world(): Promise<LocalWorld & { cwd: string }> {
  const made = await notices();
  worlds.push(made);
  return { ...made, cwd: made.folder };
}

test('somebody opened the wall, and somebody edited a job: one number everywhere, and a row for each', async () => {
  const of = await world();
  const at = (name: string) => join(of.folder, name);
  expect(
    (await maint(['start', '-r', 'runbook.yaml', '--window', '30m', '--reason', 'reindex', '--yes'], of)).code,
  ).toBe(0);
  // seen closed once more: the read-only time until then is certain
  expect((await maint(['start', '-r', 'runbook.yaml', '--window', '30m', '--yes'], of)).code).toBe(0);
  rmSync(at('flag.json'));
  expect((await maint(['extend', '--by', '5m', '--yes'], of)).code).toBe(0);
  writeFileSync(
    at('app.cron'),
    readFileSync(at('app.cron'), 'utf8').replace(/^#maint:\S*reindex\S*# .*$/m, '9 * * * * /opt/reindex.sh'),
  );
  const ended = await maint(['end', '--soak', '1s', '--json'], of);
  expect(ended.code).toBe(0);
  const end = shapes.VerbShape.parse(JSON.parse(ended.stdout));
  expect(end.look).toBeGreaterThan(1);
  expect(end.details).toHaveLength(end.look);

  const report = shapes.ReportShape.parse(JSON.parse((await maint(['report', '--json'], of)).stdout));
  expect(report.look).toEqual(end.details);
  const past = shapes.HistoryShape.parse(JSON.parse((await maint(['history', '--trouble', '--json'], of)).stdout));
  expect(past.windows).toMatchObject([{ look: end.look, readOnlyMs: report.readOnly!.ms, trouble: true }]);

  expect(report.breaches).toMatchObject([{ step: 'flag', expired: false }]);
  expect(report.readOnly!.periods).toHaveLength(2);
  expect(report.promises.map(({ promise, verdict }) => [promise, verdict])).toEqual([
    ['writes are refused', 'broken'],
    ['nothing is written', 'kept'],
    ['reads are fine', 'not measured'],
    ['people are told', 'kept'],
    ['retrieval is as before', 'not measured'],
  ]);
  expect(report.notices.map(({ what, told }) => [what, told !== null])).toEqual([
    ...[1, 2].map(() => ['read-only begins', true]),
    ...[1, 2].map(() => ['new end', true]),
    ...[1, 2].map(() => ['writes work again', true]),
    ...[1, 2].map(() => ['over', true]),
  ]);

  const page = (await maint(['report'], of)).stdout;
  const text = (await maint(['history'], of)).stdout;
  const readOnly = /read-only for (\S+(?: \d+s)?) \(planned/.exec(page)![1]!;
  expect(end.headline).toContain(`was read-only for at least ${readOnly} in 2 periods (planned`);
  expect(text).toContain(`read-only ${readOnly} `);
  for (const said of [page, text]) expect(said).toContain(`${end.look} things to look at`);
  expect(page).toMatch(/\*\*Writes were possible for up to .*somebody opened flag after .*, closed again at /);
  expect(page).toContain('report.sh (2 of this name)');
  expect(page).not.toMatch(/\{"|#1\b/);
  const full = (await maint(['report', '--full'], of)).stdout;
  expect(full).toMatch(/^\| \S+ \| crons \| reindex\.sh \| active: yes → no \|$/m);
  for (const secret of of.secrets) expect(page + full).not.toContain(secret);
}, 90_000);
