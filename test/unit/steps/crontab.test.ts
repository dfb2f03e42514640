import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createClients } from '../../../src/clients/index.ts';
import { Refusal } from '../../../src/engine/contract.ts';
import { pinned } from '../../../src/engine/see.ts';
import {
  commandOf,
  identify,
  jobsOfCron,
  lineOf,
  nameOf,
  parseCrontab,
  parseStats,
  renderCrontab,
  scheduleOf,
  switchLine,
} from '../../../src/steps/crons/crons.ts';
import { crontab, Params } from '../../../src/steps/crons/crontab.ts';
import { Crash, drive, WINDOW } from '../../support/drive.ts';

const clients = createClients();
afterAll(() => clients.close());
let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'maint-crontab-'));
  file = join(folder, 'app');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const text = [
  '# m h dom mon dow command',
  'SHELL=/bin/sh',
  'MAILTO = "ops@example.com"',
  '',
  '*/5 * * * * /srv/reindex.sh --all',
  '  0 3 * * mon\t/srv/report.sh > /dev/null 2>&1',
  '@reboot PW="s3cr3t word" TOKEN=$HOME /srv/warm.sh',
  '*/1 * * * * /srv/heartbeat.sh',
  '#0 4 * * * /srv/old.sh',
  '0 5 * * * echo two-%x >> log2',
  '0 6 * * * /srv/windows.sh\r',
  '*/5 * * * * /srv/reindex.sh --all',
  '',
].join('\n');

function freezeAll(content: string, window = 'w-1'): string {
  const lines = parseCrontab(content, window);
  const jobs = identify(lines, { userField: false, known: new Map() });
  for (const [id, job] of jobs) {
    if (job.kind === 'job') for (const at of job.at) lines[at] = switchLine(lines[at]!, false, { window, id });
  }
  return renderCrontab(lines);
}
function thawAll(content: string, window = 'w-1'): string {
  const lines = parseCrontab(content, window);
  return renderCrontab(lines.map((line) => (line.mark ? switchLine(line, true, line.mark) : line)));
}

describe('the lines of a crontab', () => {
  test('jobs are what cron would run, whatever their form', () => {
    const kinds = parseCrontab(text, 'w-1').map((line) => line.kind);
    expect(kinds).toEqual([
      'other',
      'other',
      'other',
      'other',
      'job',
      'job',
      'job',
      'job',
      'off',
      'job',
      'job',
      'job',
      'other',
    ]);
  });

  test.each([
    ['"A B" = c', 'other'],
    ["'X'=1", 'other'],
    ['   ', 'other'],
    ['\t# 5 * * * * is every hour', 'off'],
    ['# please do not run this at 5 * * * *', 'other'],
    ['# *  *  *  *  * user-name command to be executed', 'other'],
    ['# |  .------------- hour (0 - 23)', 'other'],
    ['-*/5 * * * * root x', 'job'],
    ['0~30 * * * * x', 'job'],
    ['not understood at all', 'job'],
    ['#maint:w-2:x-0123456789#1# * * * * x', 'off'],
  ])('%j is %s', (line, kind) => {
    expect(parseCrontab(line, 'w-1')[0]!.kind).toBe(kind);
  });

  test.each([
    ['* * * * * /a/b/job.sh --x', false, 'job.sh'],
    ['* * * * * root /a/job.sh', true, 'job.sh'],
    ['@reboot www-data job', true, 'job'],
    ['* * * * * A=1 B="x y" C=\'z\' D=$E /a/job.sh', false, 'job.sh'],
    ['* * * * * PW=$(cat /secret) job.sh', false, 'job'],
    ['* * * * * "/opt/my job/run me.sh" -f', false, 'run_me.sh'],
    ['* * * * * /opt/my\\ job/run.sh -f', false, 'run.sh'],
    ['* * * * * cd /srv && ./x.sh', false, 'cd'],
    ['* * * * *', false, 'job'],
    ['@daily /a/m\u00c3\u00bcll.sh', false, 'm_ll.sh'],
    ['* * * * * job.sh\r', false, 'job.sh'],
  ])('the base name of %j (user field: %s) is %s', (line, userField, name) => {
    expect(nameOf(line, userField)).toBe(name);
  });

  test('the command ends at the first percent sign that is not escaped', () => {
    expect(commandOf('0 5 * * * date +\\%F > x%input', false)).toBe('date +%F > x');
    expect(commandOf('@reboot root a  b ', true)).toBe('a  b ');
  });

  test('frozen and restored, every crontab is the same byte for byte', () => {
    const line = fc.oneof(
      fc.constantFrom(
        ...text.split('\n'),
        '\t@hourly x',
        'A=b',
        '#',
        '#maint:',
        '#maint:w-2:a-0123456789#1# * * * * a',
        '\r',
      ),
      fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((byte) => String.fromCharCode(byte)) }),
    );
    fc.assert(
      fc.property(fc.array(line), fc.boolean(), (lines, ended) => {
        const content = lines.join('\n') + (ended ? '\n' : '');
        // a mark of this very window in the beginning would be ours already
        fc.pre(!content.includes('#maint:w-1:'));
        expect(renderCrontab(parseCrontab(content, 'w-1'))).toBe(content);
        const frozen = freezeAll(content);
        expect(thawAll(frozen)).toBe(content);
        expect(parseCrontab(frozen, 'w-1').some((one) => one.kind === 'job' && !one.mark)).toBe(false);
        // a second freeze finds nothing more, and ids do not move
        expect(freezeAll(frozen)).toBe(frozen);
        // another window sees nothing to freeze
        expect(freezeAll(frozen, 'w-9')).toBe(frozen);
      }),
      { numRuns: 300 },
    );
  });

  test('ids name the command and nothing else', () => {
    const ids = [...identify(parseCrontab(text, 'w-1'), { userField: false, known: new Map() }).keys()];
    expect(ids.map((id) => id.replace(/-[0-9a-f]{10}#/, ' '))).toEqual([
      ...[
        'reindex.sh 1',
        'report.sh 1',
        'warm.sh 1',
        'heartbeat.sh 1',
        'old.sh off1',
        'echo 1',
        'windows.sh 1',
        'reindex.sh 2',
      ],
    ]);
  });

  test('10,000 lines take no more than in proportion', () => {
    const time = (count: number) => {
      const content = Array.from({ length: count }, (_, n) => `${n % 60} * * * * /srv/${n % 7 ? 'job' : n}.sh`).join(
        '\n',
      );
      const began = performance.now();
      expect(thawAll(freezeAll(content))).toBe(content);
      return performance.now() - began;
    };
    time(1000);
    expect(time(20_000) / time(2000)).toBeLessThan(40);
  });
});

describe('what runs', () => {
  const stats = [
    '1 (init) S 0 1 1',
    '50 (cron) S 1 50 50',
    '60 (cron) S 50 50 50',
    '61 (sh) S 60 61 61',
    '62 (a (b) c) S 61 61 61',
    '63 (sh) Z 60 61 61',
    '',
  ].join('\n');

  test('jobs are the children of the children of the daemon', () => {
    expect(jobsOfCron(parseStats(stats))).toEqual([61]);
    expect(jobsOfCron(parseStats('1 (init) S 0 1 1\n'))).toBeUndefined();
  });

  const lines = [
    { name: 'heartbeat.sh', command: '/srv/heartbeat.sh', frozen: false },
    { name: 'cd', command: 'cd /srv && ./reindex.sh --all "a b"', frozen: true },
    { name: 'sleep', command: 'sleep 75 > /dev/null', frozen: true },
    { name: 'report.sh', command: '$HOME/report.sh $(date)', frozen: true },
  ];
  test.each([
    [['/bin/sh', '-c', 'cd /srv && ./reindex.sh --all "a b"'], 'cd'],
    [['/bin/sh', './reindex.sh', '--all', 'a b'], 'cd'],
    [['/usr/bin/env', 'bash', './reindex.sh', '--all', 'a b'], 'cd'],
    [['sleep', '75'], 'sleep'],
    [['sleep', '76'], undefined],
    [['/bin/sh', '/home/x/report.sh', 'Mon'], 'report.sh'],
    [['/bin/sh', '/srv/heartbeat.sh'], 'heartbeat.sh'],
    [['/bin/sh', '-c', '/other/job'], undefined],
    [['/bin/bash', '/other/job'], undefined],
    [[''], undefined],
  ])('%j runs %s', (argv, name) => {
    expect(lineOf(argv, lines)?.name).toBe(name);
  });
});

describe('crons/crontab on a file', () => {
  const read = () => readFile(file, 'latin1');

  test('suspends in one write, says what, and comes back byte for byte', async () => {
    await writeFile(file, text, 'latin1');
    const driver = drive(clients, crontab, { file, keep: ['heartbeat.sh'] });
    expect((await driver.plan('open')).notes).toEqual(['6 to suspend', '1 kept (heartbeat.sh)', '1 already off']);
    expect(await driver.converge('open')).toBe(1);
    expect(driver.notes).toEqual(['6 suspended', '1 kept (heartbeat.sh)', '1 already off']);
    expect(await driver.converge('open')).toBe(0);
    const frozen = await read();
    expect(
      frozen.split('\n').filter((line) => /^#maint:w-7k2p:reindex\.sh-[0-9a-f]{10}#[12]# \*\/5 /.test(line)),
    ).toHaveLength(2);
    expect(frozen).toContain('\n*/1 * * * * /srv/heartbeat.sh\n');
    expect(frozen).toContain('\nMAILTO = "ops@example.com"\n');
    expect(await driver.converge('soaking')).toBe(0);
    expect(await driver.converge('closed')).toBe(1);
    expect(driver.notes).toEqual(['6 resumed']);
    expect(await read()).toBe(text);
    expect(driver.mine.size).toBe(0);
    expect(driver.journal.join()).not.toMatch(/s3cr3t|--all|srv/);
  });

  test.each([
    [0, false],
    [0, true],
  ])('killed at write %d (after it: %s), it is resumed, ended and aborted', async (at, after) => {
    for (const next of ['open', 'closed', 'aborted'] as const) {
      await writeFile(file, text, 'latin1');
      const driver = drive(clients, crontab, { file });
      await expect(driver.converge('open', { at, after })).rejects.toThrow(Crash);
      await driver.converge(next);
      await expect(driver.converge('closed', { at, after }))
        .rejects.toThrow(Crash)
        .catch(() => {});
      await driver.converge('closed');
      expect(await read()).toBe(text);
      expect(driver.mine.size).toBe(0);
      expect(driver.drift).toEqual([]);
    }
  });

  test('a line that was edited while it was suspended keeps the edit, also after a crash', async () => {
    for (const crash of [undefined, { at: 0, after: true }]) {
      await writeFile(file, '0 1 * * * /a/etl.sh\n0 2 * * * /a/b.sh\n');
      const driver = drive(clients, crontab, { file });
      await driver.converge('open');
      await writeFile(file, (await read()).replace('/a/etl.sh', '/a/etl.sh --limit 5'));
      expect(await driver.converge('open')).toBe(0);
      if (crash) await expect(driver.converge('closed', crash)).rejects.toThrow(Crash);
      await driver.converge('closed');
      if (!crash)
        expect(driver.notes).toEqual([
          '2 resumed',
          'etl.sh: edited by somebody during the window; our mark removed, the edit kept',
        ]);
      expect(driver.drift).toEqual([]);
      expect(await read()).toBe('0 1 * * * /a/etl.sh --limit 5\n0 2 * * * /a/b.sh\n');
      expect(driver.mine.size).toBe(0);
    }
  });

  test('a refreeze after an edit goes on with the edited line', async () => {
    await writeFile(file, '0 1 * * * /a/etl.sh\n');
    const driver = drive(clients, crontab, { file });
    driver.step.release = 'reopen';
    await driver.converge('open');
    await writeFile(file, (await read()).replace('/a/etl.sh', '/a/etl.sh -x'));
    await driver.converge('soaking');
    expect(await read()).toBe('0 1 * * * /a/etl.sh -x\n');
    await driver.converge('open');
    await driver.converge('closed');
    expect(await read()).toBe('0 1 * * * /a/etl.sh -x\n');
  });

  test('what somebody woke up, removed or commented out is reported and left', async () => {
    await writeFile(file, '0 1 * * * /a/one.sh\n0 2 * * * /a/two.sh\n0 3 * * * /a/three.sh\n');
    const driver = drive(clients, crontab, { file });
    await driver.converge('open');
    const [one, , three] = (await read()).split('\n');
    const theirs = `${one!.replace(/^#maint\S+ /, '')}\n${three!.replace(/^#maint\S+ /, '#')}\n`;
    await writeFile(file, theirs);
    expect(await driver.converge('open')).toBe(0);
    expect(driver.drift.map(({ id, gone }) => [id.split('-')[0], gone])).toEqual([
      ['one.sh', false],
      ['two.sh', true],
      ['three.sh', true],
    ]);
    expect(await driver.converge('closed')).toBe(0);
    expect(driver.drift).toHaveLength(3);
    expect(await read()).toBe(theirs);
    expect(driver.mine.size).toBe(0);
  });

  test('a newcomer is suspended by the next converge, also a twin of a suspended line', async () => {
    await writeFile(file, '0 1 * * * /a/one.sh\n');
    const driver = drive(clients, crontab, { file });
    await driver.converge('open');
    await writeFile(file, `0 1 * * * /a/one.sh\n${await read()}@daily /a/new.sh\n`);
    expect(await driver.converge('open')).toBe(1);
    expect((await read()).split('\n').filter((line) => line && !line.startsWith('#maint:'))).toEqual([]);
    await driver.converge('closed');
    expect(await read()).toBe('0 1 * * * /a/one.sh\n0 1 * * * /a/one.sh\n@daily /a/new.sh\n');
  });

  test("somebody's search and replace over the marks as well leaves nothing suspended", async () => {
    await writeFile(file, '0 1 * * * /a/etl.sh\n0 2 * * * /a/b.sh\n');
    const driver = drive(clients, crontab, { file });
    await driver.converge('open');
    await writeFile(file, (await read()).replaceAll('etl.sh', 'etl2.sh'));
    await driver.converge('closed');
    expect(await read()).toBe('0 1 * * * /a/etl2.sh\n0 2 * * * /a/b.sh\n');
    expect(driver.drift).toEqual([]);
    expect(driver.mine.size).toBe(0);
  });

  test.each([
    [
      'a suspended line, copied mark and all',
      (frozen: string) => frozen + frozen,
      'somebody copied the suspended line; 2 of it run now',
    ],
    [
      'the same line',
      (frozen: string) => `${frozen}0 1 * * * /a/one.sh\n`,
      'somebody added the same line during the window; both run now',
    ],
    [
      'the same job at another time',
      (frozen: string) => `${frozen}*/5 * * * * /a/one.sh --fast\n`,
      'somebody added a line of that name during the window; both run now',
    ],
    ['the same job, commented out', (frozen: string) => `${frozen}# 0 1 * * * /a/one.sh\n`, undefined],
    ['another job', (frozen: string) => `${frozen}0 1 * * * /a/two.sh\n`, undefined],
  ])('somebody adds %s: never two running copies silently', async (_name, edit, look) => {
    await writeFile(file, '0 1 * * * /a/one.sh\n0 2 * * * /a/one.sh\n');
    const driver = drive(clients, crontab, { file });
    await driver.converge('open');
    await writeFile(file, edit(await read()));
    await driver.converge('closed');
    expect(driver.notes.slice(1).map((line) => line.split(',')[0])).toEqual(
      look === undefined ? [] : [`one.sh: ${look}`],
    );
    expect(await read()).toBe(edit('0 1 * * * /a/one.sh\n0 2 * * * /a/one.sh\n'));
  });

  test('two windows at once, one inside the other and crosswise', async () => {
    for (const order of [
      ['b', 'a'],
      ['a', 'b'],
    ]) {
      await writeFile(file, text, 'latin1');
      const a = drive(clients, crontab, { file });
      const b = drive(clients, crontab, { file }, { ...WINDOW, id: 'w-other' });
      await a.converge('open');
      expect(await b.converge('open')).toBe(0);
      expect(b.notes).toEqual(['7 suspended by w-7k2p, another window', '1 already off']);
      for (const name of order) {
        await (name === 'a' ? a : b).converge('closed');
        if (name === 'a' && order[1] === 'b') {
          // what a gave back is new for b
          expect(await b.converge('open')).toBe(1);
          expect(await read()).not.toMatch(/^[*\d@]/m);
        }
      }
      expect(await read()).toBe(text);
    }
  });

  test('somebody else writes between our look and our write: decided again, nothing lost', async () => {
    await writeFile(file, text, 'latin1');
    const driver = drive(clients, crontab, { file });
    const { changes } = await driver.plan('open');
    const theirs = text.replace('reindex.sh --all', 'reindex.sh --some');
    await writeFile(file, theirs, 'latin1');
    const sight = await driver.look();
    expect(() => pinned(sight, changes)).toThrow('changed by somebody else');
    expect(await read()).toBe(theirs);
  });

  test('a missing final newline stays missing and is named', async () => {
    await writeFile(file, '0 1 * * * /a/one.sh\n0 2 * * * /a/two.sh');
    const driver = drive(clients, crontab, { file });
    await driver.converge('open');
    expect(driver.notes).toEqual([
      '2 suspended',
      'the file ends without a newline and is left so: some crons ignore such a file',
    ]);
    await driver.converge('closed');
    expect(await read()).toBe('0 1 * * * /a/one.sh\n0 2 * * * /a/two.sh');
  });

  test('bytes that are no UTF-8 come back as they were', async () => {
    const bytes = Buffer.from([...Buffer.from('0 1 * * * /a/'), 0xff, 0xfe, 0x00, ...Buffer.from('.sh\n')]);
    await writeFile(file, bytes);
    const driver = drive(clients, crontab, { file });
    await driver.converge('open');
    await driver.converge('aborted');
    expect(driver.notes).toEqual(['1 resumed']);
    expect(await readFile(file)).toEqual(bytes);
  });

  test('a file that is not there is refused, an empty one is in sync; gone in mid-window is drift', async () => {
    const driver = drive(clients, crontab, { file, keep: ['beat.sh'] });
    await expect(driver.converge('open')).rejects.toThrow(Refusal);
    await writeFile(file, '');
    expect(await driver.converge('open')).toBe(0);
    expect(driver.notes).toEqual(['keep names beat.sh, but no job is called so']);
    await writeFile(file, '* * * * * x\n');
    await driver.converge('open');
    await rm(file);
    await driver.converge('closed');
    expect(driver.drift).toMatchObject([{ gone: true, released: true }]);
  });

  test('one step at a time (pace) works with twins', async () => {
    await writeFile(file, text, 'latin1');
    const driver = drive(clients, { ...crontab, batch: 1 }, { file });
    expect(await driver.converge('open')).toBe(7);
    expect(await driver.converge('closed')).toBe(7);
    expect(await read()).toBe(text);
  });

  test('without a cron daemon that knows the file, nothing is in flight', async () => {
    await writeFile(file, '* * * * * sleep 1000\n');
    const driver = drive(clients, crontab, { file });
    // nothing is suspended, so nothing is waited for
    expect(await crontab.inFlight!(driver.reader(), driver.step.params, driver.at())).toEqual([]);
  });

  test('params: a user or a file, and no file of the spool', () => {
    expect(Params.safeParse({ user: 'www-data', file: '/etc/cron.d/x' }).success).toBe(false);
    expect(Params.safeParse({ file: '/var/spool/cron/crontabs/root' }).success).toBe(false);
    expect(Params.safeParse({ user: '-r' }).success).toBe(false);
    expect(Params.parse({})).toEqual({ keep: [] });
    expect(crontab.address(Params.parse({ user: 'www-data' }))).toBe('crontab www-data');
  });
});

describe('a plan names a job', () => {
  test.each([
    ['*/5 * * * * root /opt/reindex.sh --token=hunter2', '*/5 * * * *'],
    ['  0\t3 *  * mon-fri /opt/etl.sh', '0 3 * * mon-fri'],
    ['@daily /opt/clean.sh hunter2', '@daily'],
    ['~ ~ * jan sun x', '~ ~ * jan sun'],
    ['-@reboot x', '@reboot'],
    ['1 2 3 hunter2 hunter3 x', undefined],
    ['1PASS=hunter2 a b c d e', undefined],
    ['* * * *', undefined],
    ['', undefined],
  ])('when it runs, and nothing else of its line: %j', (body, schedule) => {
    expect(scheduleOf(body)).toBe(schedule);
  });

  test('by the base name of its command and its schedule, never by its text', async () => {
    await writeFile(
      file,
      '*/5 * * * * /opt/reindex.sh --token=hunter2\n@daily PW=hunter2 /opt/etl.sh\n# 0 1 * * * /opt/off.sh\n',
    );
    const driver = drive(clients, crontab, { file });
    const seen = await driver.observe();
    const listed = [...seen].map(([id, state]) => crontab.listed!(id, state as never));
    expect(listed).toEqual(['reindex.sh */5 * * * *', 'etl.sh @daily', 'off.sh']);
    expect(JSON.stringify([...seen])).not.toContain('hunter2');
  });
});
