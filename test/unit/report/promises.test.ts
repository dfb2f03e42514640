// The first page: five promises, each with its verdict, its number and where its evidence ends.
import { expect, test } from '@jest/globals';
import type { JournalEvent, Recorded } from '../../../src/engine/events.ts';
import { thingsToLookAt } from '../../../src/engine/verbs/failures.ts';
import { fold } from '../../../src/engine/window.ts';
import { pastOf } from '../../../src/report/history.ts';
import { markdown } from '../../../src/report/markdown.ts';
import type { ReportedStep, Verdict } from '../../../src/report/promises.ts';
import { type Report, reportOf } from '../../../src/report/report.ts';

const BASE = Date.parse('2026-11-24T02:00:00.000Z');
const LATER = Date.parse('2026-12-01T00:00:00Z');
const at = (seconds: number) => new Date(BASE + seconds * 1000).toISOString();
type Timed = [seconds: number, event: JournalEvent];

const opened: JournalEvent = {
  type: 'opened',
  environment: 'prod',
  until: at(1800),
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
const STEPS: ReportedStep[] = [
  { id: 'flag', uses: 'flag/redis' },
  { id: 'page', uses: 'notice/statuspage', shows: 'people' },
  { id: 'refused', uses: 'verify/endpoints', shows: 'refused' },
  { id: 'no-writes', uses: 'no-writes/postgres', shows: 'unwritten' },
  { id: 'reads', uses: 'soak/http', shows: 'reads' },
];

const closed: JournalEvent = { type: 'walls', state: 'closed' };
const open: JournalEvent = { type: 'walls', state: 'open' };
const phase = (to: 'open' | 'soaking' | 'closed' | 'aborted'): JournalEvent => ({
  type: 'phase',
  phase: to,
  verb: 'end',
});
const told = (step = 'page'): JournalEvent => ({ type: 'outcome', step, results: [{ id: 'x', is: {} }] });
const failed = (step: string, message: string, ids: string[] = []): JournalEvent => ({
  type: 'failed',
  step,
  phase: 'open',
  code: 'E_X',
  message,
  ids,
});
function checked(
  step: string,
  moment: 'open' | 'now' | 'reopen' | 'soaking',
  outcome: 'pass' | 'fail' | 'inconclusive' | 'unknown',
  summary: string,
  evidence: unknown = null,
): JournalEvent {
  return { type: 'checked', step, moment, outcome, summary, findings: [], evidence };
}

/** A window that went well. */
const WELL: Timed[] = [
  [1, closed],
  [2, told()],
  [3, checked('refused', 'open', 'pass', '3 of 3 surfaces answer 503')],
  [14, checked('no-writes', 'open', 'pass', '0 rows in 11s')],
  [15, { type: 'reached', phase: 'open' }],
  [600, checked('no-writes', 'reopen', 'pass', '0 rows since 02:00:14Z', { at: at(599) })],
  [601, phase('soaking')],
  [602, open],
  [603, told()],
  [900, checked('reads', 'soaking', 'pass', '3,000 reads, errors 0 %')],
  [901, phase('closed')],
  [902, told()],
  [903, { type: 'reached', phase: 'closed' }],
];

function recorded(events: readonly Timed[], first: JournalEvent = opened): Recorded[] {
  return [[0, first] as Timed, ...events].map(([seconds, event], i) => ({
    ...{ seq: i + 1, at: at(seconds), token: 1 },
    event,
  }));
}
function report(events: readonly Timed[], steps: ReportedStep[] | undefined = STEPS): Report {
  return reportOf('w-1', recorded(events), LATER, steps)!;
}
const verdicts = (of: Report): Verdict[] => of.promises.map(({ verdict }) => verdict);
/** WELL with something in place of what came at that second. */
const but = (...others: Timed[]): Timed[] =>
  [...WELL.filter(([second]) => !others.some(([other]) => other === second)), ...others].sort(([a], [b]) => a - b);
const without = (second: number) => WELL.filter(([each]) => each !== second);

test('a window that went well: four promises kept, with their numbers and where the evidence ends', () => {
  const { promises } = report(WELL);
  expect(
    promises.map(({ promise, verdict, only, seen, until, evidence }) => [
      promise,
      verdict,
      only,
      seen,
      until,
      evidence,
    ]),
  ).toEqual([
    [
      'writes are refused',
      'kept',
      null,
      'refused for 10m 01s · 3 of 3 surfaces answer 503',
      at(3),
      'the last try to write',
    ],
    [
      'nothing is written',
      'kept',
      null,
      'no-writes: 0 rows since 02:00:14Z',
      at(599),
      'the last look before the walls opened',
    ],
    ['reads are fine', 'kept', 'soak only', 'reads: 3,000 reads, errors 0 %', at(900), 'the soak'],
    [
      'people are told',
      'kept',
      null,
      '3 notices out, the first at 02:00:02Z, each within 2s',
      at(902),
      'the last notice that was out',
    ],
    ['retrieval is as before', 'not measured', null, 'nothing measures it yet', null, null],
  ]);
  const page = markdown(report(WELL));
  expect(page).toContain('Reads are fine: **kept, soak only**');
  expect(page.split('\n').filter((line) => /^- (Writes|Nothing|Reads|People|Retrieval) /.test(line))).toHaveLength(5);
  expect(page.indexOf('Retrieval')).toBeLessThan(page.indexOf('## When'));
});

test('a wall that somebody opened breaks the first promise, says for how long, and is a row of its own', () => {
  const breach: JournalEvent = { type: 'breach', step: 'flag', ids: ['w-1'], heldUntil: at(100) };
  const again: JournalEvent = { type: 'outcome', step: 'flag', results: [{ id: 'w-1', is: {} }] };
  const of = report([...WELL.slice(0, 5), [160, breach], [161, again], ...WELL.slice(5)]);
  expect(of.promises[0]).toMatchObject({ verdict: 'broken', seen: expect.stringContaining('up to 1m 01s') });
  expect(of.breaches).toEqual([
    { step: 'flag', from: at(100), found: at(160), closedAgain: at(161), ms: 61_000, expired: false },
  ]);
  expect(of.readOnly!.periods).toHaveLength(2);
  expect(markdown(of)).toContain('**Writes were possible for up to 1m 01s**: somebody opened flag after 02:01:40Z');
  expect(of.look).toHaveLength(1);
});

test('each promise is broken by what breaks it, and by nothing else', () => {
  const cases: [Timed[], number][] = [
    [but([3, checked('refused', 'open', 'fail', '1 of 3 answers 200')]), 0],
    [but([4, checked('refused', 'now', 'fail', '1 of 3 answers 200')]), 0],
    [but([600, checked('no-writes', 'reopen', 'fail', '3 rows in orders')]), 1],
    [but([400, checked('no-writes', 'now', 'fail', '1 row in orders')]), 1],
    [but([900, checked('reads', 'soaking', 'fail', 'errors 4 %')]), 2],
    [but([902, failed('page', 'answered 503')]), 3],
    [without(902), 3],
  ];
  for (const [events, which] of cases) {
    const of = report(events);
    expect(verdicts(of)).toEqual(verdicts(report(WELL)).map((was, n) => (n === which ? 'broken' : was)));
  }
  // a write that a service took breaks two
  const took = { surfaces: { documents: { wrote: true } }, without: [] };
  expect(verdicts(report(but([3, checked('refused', 'open', 'pass', 'x', took)]))).slice(0, 2)).toEqual([
    'broken',
    'broken',
  ]);
});

test('what nobody measured, or nobody could tell, is not kept', () => {
  const cases: [Timed[], ReportedStep[], number, RegExp][] = [
    [WELL, STEPS.filter(({ id }) => id !== 'refused'), 0, /nobody tried to write/],
    [but([3, checked('refused', 'open', 'unknown', 'no answer')]), STEPS, 0, /no answer/],
    [without(1).filter(([, event]) => event !== open), STEPS, 0, /no wall was closed/],
    [WELL, STEPS.filter(({ id }) => id !== 'no-writes'), 1, /nothing watches a store/],
    [but([600, checked('no-writes', 'reopen', 'inconclusive', 'statistics were reset')]), STEPS, 1, /reset/],
    [without(600), STEPS, 1, /at the beginning only/],
    [WELL, STEPS.filter(({ id }) => id !== 'reads'), 2, /nothing watched reads/],
    [but([900, checked('reads', 'soaking', 'inconclusive', 'too few')]), STEPS, 2, /too few/],
    [without(900), STEPS, 2, /no soak/],
    [WELL, STEPS.filter(({ id }) => id !== 'page'), 3, /tells nobody/],
    [WELL, STEPS.map((step) => (step.id === 'page' ? { ...step, skipped: 'no page' } : step)), 3, /tells nobody/],
  ];
  for (const [events, steps, which, why] of cases) {
    const promised = report(events, steps).promises[which]!;
    expect([promised.promise, promised.verdict]).toEqual([promised.promise, 'not measured']);
    expect(promised.seen).toMatch(why);
  }
});

test('a window that is still open is kept so far', () => {
  const of = report(WELL.slice(0, 5));
  expect(of.promises.map(({ verdict, only }) => [verdict, only])).toEqual([
    ['kept', 'so far'],
    ['kept', 'so far'],
    ['not measured', null],
    ['kept', 'so far'],
    ['not measured', null],
  ]);
});

test('a runbook that cannot be read any more measures nothing, and the report says so', () => {
  const of = reportOf('w-1', recorded(WELL), LATER)!;
  expect(new Set(verdicts(of))).toEqual(new Set(['not measured']));
  expect(markdown(of)).toContain('cannot read the runbook');
});

test('every notice has a planned time where there was one, and the time at which it was out', () => {
  const of = report([
    [1, closed],
    [2, failed('page', 'answered 503')],
    [30, { type: 'note', text: '60 %', by: 'ana@lapis' }],
    [31, told()],
    [60, { type: 'extended', until: at(2400), by: 'ana@lapis' }],
    [2401, { type: 'overdue' }],
    [2403, told()],
    [2500, phase('soaking')],
    [2501, open],
    [2502, failed('page', 'answered 503')],
    [2520, told()],
  ]);
  expect(of.notices.map(({ what, planned, told: out, failed: why }) => [what, planned, out, why])).toEqual([
    ['read-only begins', at(0), null, 'answered 503'],
    ['note', null, at(31), null],
    ['takes longer', at(2400), at(2403), null],
    ['writes work again', at(2400), at(2520), null],
  ]);
  expect(markdown(of)).toContain('| read-only begins | page | 02:00:00Z | not told: answered 503 |');
});

test('an announced window is planned by its announcement', () => {
  const announced: JournalEvent = { ...opened, startsAt: at(3600), until: at(5400) };
  const events: Timed[] = [
    [1, told()],
    [60, { type: 'moved', startsAt: at(7200), until: at(9000), by: 'ana@lapis' }],
    [61, told()],
    [7230, { type: 'began', until: at(9030), by: 'ana@lapis' }],
    [7232, told()],
  ];
  const of = reportOf('w-1', recorded(events, announced), LATER, STEPS)!;
  expect([of.times.planned, of.times.actual.opened]).toEqual([
    { since: at(7200), until: at(9000), ms: 1_800_000 },
    at(7230),
  ]);
  expect(of.notices.map(({ what, planned, told: out }) => [what, planned, out])).toEqual([
    ['announced', null, at(1)],
    ['moved', null, at(61)],
    ['read-only begins', at(7200), at(7232)],
  ]);
});

test('the count of things to look at is one, in the report, in history and on the terminal', () => {
  const events = recorded([
    ...WELL.slice(0, 5),
    [
      20,
      {
        type: 'drift',
        step: 'crons',
        id: 'etl.sh-63baa64b7f#1',
        ours: { active: false },
        now: { active: true },
        released: true,
        gone: false,
      },
    ],
    [
      21,
      {
        type: 'drift',
        step: 'crons',
        id: 'etl.sh-63baa64b7f#1',
        ours: { active: false },
        now: { active: true },
        released: true,
        gone: false,
      },
    ],
    [22, checked('no-writes', 'now', 'inconclusive', 'too short')],
    [23, { type: 'settled', step: 'crons', phase: 'open', ms: 1, changes: 0, notes: [], looks: ['new.sh was edited'] }],
    [24, failed('page', 'answered 503', ['a', 'b'])],
    [25, { type: 'left', step: 'silence', ids: ['s1'], reason: 'gone', by: 'bo@jade' }],
  ]);
  const state = fold('w-1', events)!;
  const lines = thingsToLookAt(state);
  expect(lines).toHaveLength(6);
  expect(reportOf('w-1', events, LATER, STEPS)!.look).toEqual(lines);
  const past = pastOf('w-1', events, { alive: false, now: LATER })!;
  expect([past.look, past.trouble]).toEqual([6, true]);
});

test('history --trouble finds what went wrong, also where it was put right', () => {
  const quiet = pastOf('w-1', recorded(WELL), { alive: false, now: LATER })!;
  expect([quiet.look, quiet.trouble]).toEqual([0, false]);
  const cases: Timed[][] = [
    // a start that was undone
    [
      [1, closed],
      [2, failed('crons', 'still runs')],
      [3, phase('aborted')],
      [4, open],
      [5, { type: 'reached', phase: 'aborted' }],
    ],
    but([3, checked('refused', 'open', 'fail', '1 of 3 answers 200')]),
    but([500, { type: 'overdue' }]),
    WELL.map(([second, event]) => [second > 500 ? second + 1800 : second, event]),
    WELL.slice(0, 3),
  ];
  for (const events of cases) expect(pastOf('w-1', recorded(events), { alive: false, now: LATER })!.trouble).toBe(true);
});

test('what was handed over ends here, and says where it is now', () => {
  const events = recorded([...WELL.slice(0, 5), [300, { type: 'handed', to: '/srv/w-1.json', by: 'ana@lapis' }]]);
  const past = pastOf('w-1', events, { alive: false, now: LATER })!;
  expect(past).toMatchObject({
    label: 'handed over',
    handedTo: '/srv/w-1.json',
    handedAt: at(300),
    readOnlyMs: 299_000,
  });
  const of = reportOf('w-1', events, LATER, STEPS)!;
  expect(of.readOnly!.ms).toBe(299_000);
  expect(markdown(of)).toContain(
    'handed it over to /srv/w-1.json at 2026-11-24T02:05:00.000Z: what happened since then is known there.',
  );
});

test('no cell holds JSON, crons have their base name, and --full has every change', () => {
  const was = { active: true, digest: '63baa64b7fea85a7' };
  const lines = Array.from({ length: 12 }, (_, n) => `job${n}.sh-63baa64b7f#1`);
  const change = (id: string) => ({ id, from: was, to: { ...was, active: false } });
  const of = report([
    [
      1,
      {
        type: 'intent',
        step: 'crons',
        changes: [...lines, 'etl.sh-63baa64b7f#1', 'etl.sh-aaaaaaaaaa#off2'].map(change),
      },
    ],
    [
      2,
      {
        type: 'intent',
        step: 'flag',
        changes: [{ id: 'w-1', from: null, to: { until: at(1800), nested: { deep: [1, 2], none: null } } }],
      },
    ],
    [
      3,
      {
        type: 'drift',
        step: 'crons',
        id: 'etl.sh-63baa64b7f#1',
        ours: was,
        now: { ...was, active: false },
        released: true,
        gone: false,
      },
    ],
  ]);
  for (const full of [false, true]) {
    const page = markdown(of, { full });
    for (const row of page.split('\n').filter((line) => line.startsWith('|'))) expect(row).not.toMatch(/[{}"]|#\d/);
  }
  expect(markdown(of)).toContain(
    '| crons | 0, 14 unknown | job0.sh, job1.sh, job2.sh, job3.sh, job4.sh, job5.sh, job6.sh, job7.sh, and 5 more |',
  );
  const full = markdown(of, { full: true });
  expect(full).toContain('| 02:00:01Z | crons | etl.sh | active: yes → no (unknown) |');
  expect(full).toContain(
    'made: until 2026-11-24T02:30:00.000Z, nested.deep.0 1, nested.deep.1 2, nested.none none (unknown)',
  );
  expect(full.split('\n').filter((line) => /\| crons \| job/.test(line))).toHaveLength(12);
});

test('the first page stays one page, and a long table says what it leaves out', () => {
  const ids = Array.from({ length: 250 }, (_, n) => `job${n}`);
  const of = report([
    ...WELL.slice(0, 5),
    [20, failed('crons', 'the host is gone', ids)],
    ...ids.map((id): Timed => [21, { type: 'drift', step: 'x', id, ours: {}, now: null, released: false, gone: true }]),
  ]);
  expect(of.look).toHaveLength(500);
  const page = markdown(of);
  expect(page).toContain('**500 things to look at.**');
  expect(page).toContain('- crons job0: the host is gone\n');
  expect(page).toContain('- and 480 more (--format json has them all)');
  expect(page).toContain('… and 50 more rows (--full has them all).');
  expect(markdown(of, { full: true })).not.toContain('more rows');
});

test('a wall that nobody closed again is said so, and writes were possible until now, or until it was seen', () => {
  const breach: JournalEvent = { type: 'breach', step: 'flag', ids: ['w-1'], heldUntil: at(100) };
  const still = report([...WELL.slice(0, 5), [160, breach]]);
  expect(still.breaches).toMatchObject([{ closedAgain: null, ms: LATER - BASE - 100_000 }]);
  expect(markdown(still)).toContain('seen at 02:02:40Z, not closed again.');
  const over = report([...WELL.slice(0, 5), [160, breach], ...WELL.slice(6)]);
  expect(over.breaches).toMatchObject([{ closedAgain: null, ms: 60_000 }]);
  expect([still, over].map(({ promises }) => promises[0]!.verdict)).toEqual(['broken', 'broken']);
});
