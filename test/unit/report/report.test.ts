import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import type { JournalEvent, Recorded } from '../../../src/engine/events.ts';
import { fold, stillOurs } from '../../../src/engine/window.ts';
import { markdown } from '../../../src/report/markdown.ts';
import type { ReportedStep } from '../../../src/report/promises.ts';
import { reportOf } from '../../../src/report/report.ts';
import { reportedSteps } from '../../../src/report/steps.ts';
import { parseRunbook } from '../../../src/runbook/load.ts';
import { registry } from '../../../src/steps/index.ts';
import { ReportShape } from '../../support/json-shapes.ts';

const FOLDER = new URL('../../support/journals/', import.meta.url);
const LATER = Date.parse('2026-12-01T00:00:00Z');

function golden(name: string): { window: string; events: Recorded[] } {
  return JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8'));
}

/** As the program reads them from the text that the window has stored. */
function stepsOf(events: readonly Recorded[]): ReportedStep[] {
  const { event } = events[0]!;
  if (event.type !== 'opened') throw new Error('a window begins with opened');
  const { text, path, folder, surfaces } = event.runbook;
  const { environment, only, skip } = event;
  const source = { text, path, folder, surfacesText: surfaces?.text ?? '' };
  return reportedSteps(parseRunbook(source, registry, { environment, only, skip }).steps);
}

const GOLDEN = readdirSync(FOLDER).filter((name) => name.endsWith('.json'));

test('there is a golden journal of this release', () => {
  const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  expect(GOLDEN).toContain(`${version}.json`);
});

test.each(GOLDEN)('the journal is for ever: %s folds and is told as it was', (name) => {
  const { window, events } = golden(name);
  const state = fold(window, events)!;
  expect(state.phase).toBe('closed');
  expect(state.reached).toBe(true);
  expect(stillOurs(state)).toEqual([]);
  const report = reportOf(window, events, LATER, stepsOf(events))!;
  expect(ReportShape.parse(JSON.parse(JSON.stringify(report)))).toEqual(JSON.parse(JSON.stringify(report)));
  expect(markdown(report)).toBe(readFileSync(new URL(name.replace('.json', '.md'), FOLDER), 'utf8'));
});

test('read-only time is measured from the first refusal to the first answer', () => {
  const { window, events } = golden('0.1.0.json');
  const { readOnly } = reportOf(window, events, LATER)!;
  expect(readOnly).toMatchObject({ measured: true, periods: [{ fromIs: "a guard's first refusal" }] });
  const [period] = readOnly!.periods;
  expect(Date.parse(period!.to!) - Date.parse(period!.from)).toBe(readOnly!.ms);
});

const opened: JournalEvent = {
  type: 'opened',
  environment: 'prod',
  until: '2026-11-24T02:30:00.000Z',
  reason: 'reindex',
  by: 'ana@lapis',
  contact: '#ops',
  onExpiry: 'hold',
  soakMs: 1000,
  budgetMs: 10_000,
  version: '0.1.0',
  runbook: { name: 'prod', path: '/srv/prod.yaml', folder: '/srv', text: '' },
  only: [],
  skip: [],
};

/** Events at seconds after 02:00. */
function journal(...events: [seconds: number, event: JournalEvent][]): Recorded[] {
  const base = Date.parse('2026-11-24T02:00:00.000Z');
  return [[0, opened] as [number, JournalEvent], ...events].map(([seconds, event], i) => ({
    seq: i + 1,
    at: new Date(base + seconds * 1000).toISOString(),
    token: 1,
    event,
  }));
}
const report = (...events: [number, JournalEvent][]) => reportOf('w-1', journal(...events), LATER)!;
const closed: JournalEvent = { type: 'walls', state: 'closed' };
const open: JournalEvent = { type: 'walls', state: 'open' };

test('without evidence the walls stand in, and that is said', () => {
  const told = report([2, closed], [100, open]);
  expect(told.readOnly).toMatchObject({ ms: 98_000, measured: false });
  expect(told.readOnly!.periods[0]!.fromIs).toContain('journal');
  expect(markdown(told)).toMatch(/Begin: the walls had closed \(journal\)\. End: the walls had opened \(journal\)\./);
});

test('a refrozen window has two periods, and the evidence of each counts for its own', () => {
  const seen = (step: string, evidence: unknown): JournalEvent => ({
    type: 'checked',
    step,
    moment: 'soaking',
    outcome: 'pass',
    summary: 'seen',
    findings: [],
    evidence,
  });
  const told = report(
    [2, closed],
    [3, seen('guards', { firstRefusedAt: '2026-11-24T02:00:01.500Z' })],
    [100, open],
    [101, seen('refused', { firstAnsweredAt: '2026-11-24T02:01:40.500Z' })],
    [200, closed],
    [300, open],
  );
  expect(told.readOnly!.periods.map((period) => [period.ms, period.fromIs.startsWith('a guard')])).toEqual([
    [99_000, true],
    [100_000, false],
  ]);
  expect(told.readOnly).toMatchObject({ ms: 199_000, measured: false });
});

test('a window that is still closed counts until now, and never closed walls are said', () => {
  expect(report([2, closed]).readOnly!.periods[0]).toMatchObject({ to: null, toIs: 'not over' });
  expect(report().readOnly).toBeNull();
  expect(markdown(report())).toContain('No wall was closed');
});

test('what was written, what was not, and what nobody knows', () => {
  const told = report(
    [1, { type: 'intent', step: 'a', changes: [{ id: 'x', from: null, to: { on: true } }] }],
    [2, { type: 'outcome', step: 'a', results: [{ id: 'x', is: { on: true, server: 7 } }] }],
    [3, { type: 'intent', step: 'a', changes: [{ id: 'y', from: null, to: { on: true } }] }],
    [4, { type: 'missed', step: 'a', ids: ['y'], why: 'refused' }],
    [5, { type: 'intent', step: 'a', changes: [{ id: 'z', from: null, to: { on: true } }] }],
  );
  expect(told.changes.map(({ id, outcome }) => [id, outcome])).toEqual([
    ['x', 'written'],
    ['y', 'not written'],
    ['z', 'unknown'],
  ]);
  expect(told.changes[0]!.after).toEqual({ on: true, server: 7 });
});

test('an overrun of the budget names the slowest steps', () => {
  const settled = (step: string, ms: number): JournalEvent => ({
    type: 'settled',
    step,
    phase: 'open',
    ms,
    changes: 1,
    notes: [],
  });
  const told = report(
    [1, settled('fast', 1000)],
    [13, settled('slow', 12_000)],
    [13, { type: 'reached', phase: 'open' }],
  );
  expect(told.budget).toEqual({
    budgetMs: 10_000,
    tookMs: 13_000,
    overMs: 3000,
    steps: [
      { step: 'slow', ms: 12_000 },
      { step: 'fast', ms: 1000 },
    ],
  });
  expect(markdown(told)).toContain('3s over its budget of 10s: slow 12s, fast 1s');
});

test('what is left and what was given up is named with its reason', () => {
  const told = report(
    [1, { type: 'intent', step: 'a', changes: [{ id: 'x', from: { on: false }, to: { on: true } }] }],
    [2, { type: 'outcome', step: 'a', results: [{ id: 'x', is: { on: true } }] }],
    [3, { type: 'phase', phase: 'closed', verb: 'end' }],
    [4, { type: 'failed', step: 'a', phase: 'closed', code: 'E_X', message: 'is down', ids: ['x'] }],
    [5, { type: 'left', step: 'b', ids: ['y'], reason: 'the host is gone', by: 'bo@jade' }],
  );
  expect(told.outcome).toBe('needs a human');
  expect(told.leftovers).toEqual([
    { step: 'a', id: 'x', before: { on: false }, why: 'is down' },
    { step: 'b', id: 'y', before: null, why: 'given up by bo@jade: the host is gone' },
  ]);
});

test('words of people become no markup, and no table breaks', () => {
  const nasty = '# x | y\n<img src=x> `a` **b** [c](d)';
  const told = report([1, { type: 'note', text: nasty, by: '`x | y`' }]);
  const row = markdown(told)
    .split('\n')
    .find((line) => line.includes('note:'))!;
  expect(row.replaceAll('\\|', '').match(/\|/g)).toHaveLength(4);
  expect(row).toContain('\\<img src=x\\>');
  expect(row).toContain('\\[c\\](d)');
});

test('evidence with a fence of its own stays inside of its fence', () => {
  const told = report([
    1,
    {
      type: 'checked',
      step: 'c',
      moment: 'open',
      outcome: 'pass',
      summary: 's',
      findings: [],
      evidence: '````\n# out',
    },
  ]);
  expect(markdown(told)).not.toContain('````');
  expect(markdown(told, { full: true })).toContain('`````json');
});
