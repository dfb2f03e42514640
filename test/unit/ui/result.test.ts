import { expect, test } from '@jest/globals';
import type { Plan, PlannedStep } from '../../../src/engine/plan.ts';
import type { Asking, Prepared, VerbResult } from '../../../src/engine/verbs/result.ts';
import { MaintError } from '../../../src/errors/catalogue.ts';
import { blank, maint } from '../../../src/errors/next.ts';
import { dress } from '../../../src/ui/layout.ts';
import { type Line, nextText, rendered } from '../../../src/ui/next.ts';
import { askingLines, planLines } from '../../../src/ui/plan.ts';
import {
  asMaintError,
  errorLines as errorScreen,
  resultJson,
  resultLines as resultScreen,
} from '../../../src/ui/result.ts';

const plain = (lines: readonly Line[]) => dress(rendered(lines), { colours: false });
const resultLines = (...said: Parameters<typeof resultScreen>) => plain(resultScreen(...said));
const errorLines = (...said: Parameters<typeof errorScreen>) => plain(errorScreen(...said));

function step(id: string, uses: string, address: string, more: Partial<PlannedStep> = {}): PlannedStep {
  return {
    id,
    uses,
    address,
    role: 'wall',
    kind: 'resource',
    verdict: 'change',
    changes: [{ id, from: null, to: {} }],
    notes: [],
    unknown: [],
    drift: [],
    breached: [],
    missing: [],
    ...more,
  };
}
const edited = [{ id: 'a', from: { suspend: false }, to: { suspend: true } }];
const PLAN: Plan = {
  phases: ['open'],
  changes: 9,
  steps: [
    step('flag', 'flag/redis', 'flag/redis maint:read_only', { notes: ['our holder, until 02:30Z'] }),
    step('statuspage', 'notice/statuspage', 'notice/statuspage', {
      notes: ['maintenance, in progress, 02:00–02:30 UTC'],
    }),
    step('crons', 'crons/crontab', 'www-data', {
      changes: edited,
      notes: ['7 to suspend', '1 kept (heartbeat.sh)', '1 already off'],
    }),
    step('cache', 'cache/http', 'cache/http', {
      kind: 'action',
      verdict: 'runs',
      changes: [],
      notes: ['purge, now and at the end'],
    }),
    step('refused', 'verify/endpoints', '', {
      kind: 'check',
      verdict: 'cannot tell',
      changes: [],
      notes: ['cannot tell before flag'],
    }),
    step('slack', 'notice/slack', 'notice/slack', { verdict: 'skipped', changes: [], skipped: '--skip' }),
  ],
};
const REFERENCE = [
  '  flag        flag/redis maint:read_only   + our holder, until 02:30Z',
  '  statuspage  notice/statuspage            + maintenance, in progress, 02:00–02:30 UTC',
  '  crons       crons/crontab www-data       ~ 7 to suspend · 1 kept (heartbeat.sh) · 1 already off',
  '  cache       cache/http                   ! purge, now and at the end',
  '  refused     verify/endpoints             ? cannot tell before flag',
  '  slack       notice/slack                 - skipped: --skip',
];
function result(more: Partial<VerbResult>): VerbResult {
  return { verb: 'start', exit: 0, environment: 'prod', headline: '', details: [], look: 0, next: [], ...more };
}

test('a plan', () => {
  expect(planLines(PLAN)).toEqual(REFERENCE);
});

test('the things that would change are named: all of ten, the first five of more, all of them with --full', () => {
  const jobs = (n: number) => Array.from({ length: n }, (_, i) => `job-${i + 1}.sh */5 * * * *`);
  const listed = (n: number, full?: boolean) =>
    planLines(
      { ...PLAN, steps: [step('crons', 'crons/crontab', 'crontab app', { changes: edited, items: jobs(n) })] },
      { full: full === true },
    ).slice(1);
  const indented = (all: string[]) => all.map((job) => `                ${job}`);
  expect(listed(10)).toEqual(indented(jobs(10)));
  expect(listed(11)).toEqual(indented([...jobs(5), '… and 6 more (--full lists all)']));
  expect(listed(11, true)).toEqual(indented(jobs(11)));
  expect(listed(0)).toEqual([]);
});

test('what is missing, in sync, or removed has its own sign; a long address moves only its own line', () => {
  expect(
    planLines({
      ...PLAN,
      steps: [
        step('a', 'x/sqlite', 'sqlite /srv/a.db', { verdict: 'in sync', changes: [] }),
        step('b', 'x/y', 'x/y', { missing: ['UPDATE on app'] }),
        step('c', 'x/y', 'x/y', { changes: [{ id: 'c', from: {}, to: null }], notes: ['holder\x1b[31m goes'] }),
        step('d', 'x/y', `/srv/${'d'.repeat(60)}`, { changes: edited, notes: ['1 to change'] }),
      ],
    }),
  ).toEqual([
    '  a           x/sqlite /srv/a.db                     = in sync',
    '  b           x/y                                    ✘ permission missing: UPDATE on app',
    '  c           x/y                                    - holder goes',
    `  d           x/y /srv/${'d'.repeat(60)}   ~ 1 to change`,
  ]);
});

test('the question has its header, its plan, and what can be said of it', () => {
  const prepared = {
    environment: 'prod',
    name: '60-second checklist',
    path: `${process.cwd()}/runbooks/prod.yaml`,
    budgetMs: 60_000,
    steps: [{ plugin: { kind: 'resource', leaves: 'a completed maintenance' } }, { plugin: { kind: 'check' } }],
  } as unknown as Prepared;
  const asking: Asking = {
    warnings: [],
    plan: PLAN,
    window: { since: '2026-11-24T02:00:00.000Z', until: '2026-11-24T02:30:00.000Z' },
    backMs: 70_000,
    startMs: 23_000,
    changed: false,
    shared: false,
    address: 'sqlite /var/lib/maint/state.db',
  };
  expect(askingLines(prepared, asking, false)).toEqual([
    'prod · 60-second checklist · runbooks/prod.yaml · read-only 02:00–02:30 UTC',
    'State: this laptop only (sqlite /var/lib/maint/state.db); nobody else can end this window.',
    ...REFERENCE,
    '9 changes, all reversible (leaves behind: a completed maintenance), permissions ok, way back about 1m 10s. Nothing changed yet.',
  ]);
  expect(askingLines(prepared, { ...asking, warnings: ['Readers are locked out.'] }, false).at(-2)).toBe(
    'Readers are locked out.',
  );
  const deaf = step('flag', 'flag/redis', 'redis', {
    notes: ['refused', 'rights not asked: refused'],
    unasked: 'refused',
  });
  const unasked = { ...PLAN, steps: [deaf, step('a', 'x/y', 'x', { missing: ['UPDATE on app'] })] };
  expect(askingLines(prepared, { ...asking, plan: unasked }, false).at(-1)).toContain(
    ', this account lacks permissions for 1 step, not asked of flag, ',
  );
  const again = askingLines(prepared, { ...asking, changed: true, startMs: 90_000 }, false);
  expect(again[2]).toBe('The plan has changed since it was shown:');
  expect(again.at(-2)).toBe('The checklist takes about 1m 30s: more than its budget of 1m.');
});

test('a start that worked names what there is to type, below each other', () => {
  const start = result({
    headline: 'prod is read-only since 02:00:04Z, until 02:30Z (23s of 60s). Begin the end by 02:23Z:',
    next: [maint('end', { soak: '5m' }, 'bring it back'), maint('extend', { by: '15m' }, 'more time'), maint('status')],
  });
  expect(resultLines(start)).toEqual([
    'prod is read-only since 02:00:04Z, until 02:30Z (23s of 60s). Begin the end by 02:23Z:',
    '  maint end --soak 5m     bring it back',
    '  maint extend --by 15m   more time',
    '  maint status',
  ]);
  expect(
    resultLines({
      ...start,
      headline: `${start.headline.slice(0, -1)}. 1 thing to look at:`,
      details: ['slack  is down'],
    }).slice(1),
  ).toEqual([
    '  slack  is down',
    'Next: maint end --soak 5m (bring it back) · maint extend --by 15m (more time) · maint status',
  ]);
});

test('what is left behind stands in columns; a log has the exit code', () => {
  const left = result({
    exit: 68,
    code: 'E_LEFT_BEHIND',
    headline: 'prod is read-write, but 2 things are not restored:',
    details: [
      'cronjob prod/etl  Kubernetes API answered 503 for 60s',
      'silence 4f1c  alerts:9093 refused the connection',
    ],
    next: [
      maint('end', {}, 'tries just these again'),
      maint('end', { leave: 'x', reason: blank('…') }, 'never coming back?'),
    ],
  });
  expect(resultLines(left, { exit: true })).toEqual([
    'E_LEFT_BEHIND  prod is read-write, but 2 things are not restored:',
    '  cronjob prod/etl  Kubernetes API answered 503 for 60s',
    '  silence 4f1c      alerts:9093 refused the connection',
    'Next: maint end (tries just these again) · never coming back? maint end --leave x --reason …  exit 68',
  ]);
});

test('10,000 details do not flood; JSON has them all', () => {
  const many = result({ headline: 'x', details: Array.from({ length: 10_000 }, (_, n) => `cron-${n}`) });
  expect(resultLines(many)).toHaveLength(22);
  expect(resultLines(many).at(-1)).toBe('  … and 9,980 more (--json has them all)');
  expect(resultJson(many)['details']).toHaveLength(10_000);
});

test.each([
  ['need longer?', 'need longer? maint x'],
  ['when etl has finished', 'when etl has finished, maint x'],
  ['by 02:23Z', 'maint x by 02:23Z'],
  ['undo everything', 'maint x (undo everything)'],
  ['is it over:', 'is it over: maint x'],
  ['back here,', 'back here, maint x'],
  [undefined, 'maint x'],
])('next, because %s', (why, text) => {
  expect(nextText(maint('x', {}, why))).toBe(text);
});

test('an error says what, why, and what to type', () => {
  const error = new MaintError(
    'E_WINDOW_OPEN',
    'prod is already read-only: w-7k2p by ana@lapis since 02:00Z, until 02:30Z, "reindex documents". Nothing changed.',
    {
      next: [
        maint('status'),
        maint('extend', { until: '02:45Z' }, 'need longer?'),
        maint('end', { soak: '5m' }, 'finished?'),
      ],
    },
  );
  expect(errorLines(error, { exit: true })).toEqual([
    'E_WINDOW_OPEN  prod is already read-only: w-7k2p by ana@lapis since 02:00Z, until 02:30Z, "reindex documents". Nothing changed.',
    'Next: maint status · need longer? maint extend --until 02:45Z · finished? maint end --soak 5m  exit 69',
  ]);
});

test('an error of many problems keeps them all, and their own indentation', () => {
  const details = Array.from({ length: 50 }, (_, n) => `prod.yaml:${n}:1  steps[${n}].with\n`);
  const lines = errorLines(new MaintError('E_RUNBOOK', 'x', { details: [...details, '   allowed: a'] }));
  expect(lines).toHaveLength(52);
  expect(lines[1]).toBe('  prod.yaml:0:1   steps[0].with ');
  expect(lines.at(-1)).toBe('     allowed: a');
});

test('whatever is thrown ends in the catalogue', () => {
  expect(asMaintError(new TypeError('x is not a function'))).toMatchObject({ code: 'E_BUG', exit: 1 });
  expect(asMaintError('text')).toMatchObject({ code: 'E_BUG', message: 'Error: text' });
  const ofOclif = (message: string) => asMaintError(Object.assign(new Error(message), { oclif: { exit: 2 } })).message;
  expect(ofOclif('The following error occurred:\n  Parsing --limit \n\tExpected an integer but received: x')).toBe(
    '--limit x is not a whole number.',
  );
  expect(ofOclif('Parsing --limit \n\tExpected an integer greater than or equal to 1 but received: 0')).toBe(
    '--limit 0 is less than 1.',
  );
  expect(
    asMaintError(Object.assign(new Error('Nonexistent flag: --x\nSee more help with --help'), { oclif: { exit: 2 } })),
  ).toMatchObject({
    code: 'E_USAGE',
    message: 'Nonexistent flag: --x',
  });
});
