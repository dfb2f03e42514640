// What the command line promises, as a user sees it: exit codes, words, and that nothing is left behind.
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, describe, expect, test } from '@jest/globals';
import { BIN, begin, maint, type Running } from '../support/cli.ts';
import { until } from '../support/until.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const CRONTAB = '*/5 * * * * /opt/reindex.sh\n0 3 * * * /opt/report.sh\n* * * * * /opt/heartbeat.sh\n';

/** A folder with a runbook over files; `steps` are appended to flag and crontab. */
function world(
  steps: string[] = [],
  top = '',
): { cwd: string; file(name: string): string; write(name: string, text: string): void; has(name: string): boolean } {
  const cwd = mkdtempSync(join(tmpdir(), 'maint-e2e-'));
  folders.push(cwd);
  const place = (name: string) => join(cwd, name);
  writeFileSync(place('app.cron'), CRONTAB);
  writeFileSync(
    place('runbook.yaml'),
    [
      'version: 1',
      'environment: prod',
      'contact: "#ops"',
      'soak: 1s',
      ...(top ? [top] : []),
      'steps:',
      '  - { uses: flag/file, with: { path: flag.json } }',
      '  - { uses: crons/crontab, with: { file: app.cron, keep: [heartbeat.sh] } }',
      ...steps.map((step) => `  - ${step}`),
      '',
    ].join('\n'),
  );
  return {
    cwd,
    file: (name) => readFileSync(place(name), 'utf8'),
    write: (name, text) => writeFileSync(place(name), text),
    has: (name) => existsSync(place(name)),
  };
}
type World = ReturnType<typeof world>;

function script(at: World, name: string, text: string): string {
  const path = join(at.cwd, name);
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  return path;
}

const START = ['start', '--runbook', 'runbook.yaml', '--window', '30m', '--yes'];

describe('a window', () => {
  test('opens, is told, extended, and comes out as it went in', async () => {
    const at = world();
    const started = await maint([...START, '--reason', 'reindex', '--ticket', 'OPS-412'], at);
    expect(started.code).toBe(0);
    expect(started.stdout).toMatch(/^prod is read-only since \d\d:\d\d:\d\dZ, until \d\d:\d\dZ/);
    expect(started.stdout).toContain('maint end');
    expect(at.file('app.cron')).toMatch(/^#maint:w-\w+:reindex\.sh-\w+#1# /);

    const status = await maint(['status'], at);
    expect(status.code).toBe(69);
    expect(status.stdout).toContain('prod is READ-ONLY');
    expect(status.stdout).toContain('OPS-412');

    const until = JSON.parse((await maint(['status', '--json'], at)).stdout).until;
    at.write('app.cron', `${at.file('app.cron')}7 7 * * * /opt/new.sh\n`);
    expect((await maint(['status'], at)).stdout).toContain('new.sh');
    expect((await maint(START, at)).code).toBe(0);
    expect(at.file('app.cron')).toMatch(/#maint:\S+ 7 7/);
    expect(JSON.parse((await maint(['status', '--json'], at)).stdout).until).toBe(until);

    expect((await maint(['extend', '--by', '15m'], at)).code).toBe(0);
    expect(
      Date.parse(
        JSON.parse(at.file('flag.json')).holders[JSON.parse((await maint(['status', '--json'], at)).stdout).window]
          .until,
      ) - Date.parse(until),
    ).toBe(15 * 60_000);

    rmSync(join(at.cwd, 'runbook.yaml'));
    const ended = await maint(['end', '--soak', '1s'], at);
    expect(ended.code).toBe(0);
    expect(ended.stdout).toContain('planned 30m');
    expect(at.has('flag.json')).toBe(false);
    expect(at.file('app.cron')).toBe(`${CRONTAB}7 7 * * * /opt/new.sh\n`);
    expect((await maint(['status'], at)).code).toBe(0);
    expect((await maint(['end'], at)).stdout).toContain('Nothing to end');
  });

  test('of another text is refused, and another environment is not', async () => {
    const at = world();
    await maint(START, at);
    at.write('runbook.yaml', `${at.file('runbook.yaml')}# another text\n`);
    const other = await maint(START, at);
    expect([other.code, other.stderr]).toEqual([69, expect.stringContaining('E_WINDOW_OPEN')]);
    at.write(
      'second.yaml',
      at
        .file('runbook.yaml')
        .replace('prod', 'stage')
        .replace('flag.json', 'flag2.json')
        .replace(/ {2}- \{ uses: crons.*\n/, ''),
    );
    expect((await maint(['start', '--runbook', 'second.yaml', '--window', '30m', '--yes'], at)).code).toBe(0);
    const which = await maint(['end'], at);
    expect([which.code, which.stderr]).toEqual([
      64,
      expect.stringMatching(/E_WHICH_WINDOW[\s\S]*prod[\s\S]*stage|E_WHICH_WINDOW[\s\S]*stage[\s\S]*prod/),
    ]);
    expect((await maint(['end', '--env', 'stage'], at)).code).toBe(0);
    expect((await maint(['abort', '--env', 'prod'], at)).code).toBe(0);
    expect(at.file('app.cron')).toBe(CRONTAB);
  });

  test('is one per environment, also where another state holds it; an orphan is named and can be removed', async () => {
    const at = world();
    await maint(START, at);
    const foreign = { MAINT_STATE: join(at.cwd, 'other', 'state.db') };
    const refused = await maint(START, { ...at, env: foreign });
    expect([refused.code, refused.stderr]).toEqual([69, expect.stringContaining('does not know that window')]);
    const orphan = await maint(['end', '--runbook', 'runbook.yaml'], { ...at, env: foreign });
    expect(orphan.code).toBe(68);
    const id = /--holder (w-\w+)/.exec(orphan.output)![1]!;
    expect(
      (
        await maint(['end', '--runbook', 'runbook.yaml', '--holder', 'w-none', '--reason', 'x'], {
          ...at,
          env: foreign,
        })
      ).code,
    ).toBe(66);
    // the journal is lost, the marks are not: everything that bears them is shown, asked, and restored
    const lost = ['end', '--runbook', 'runbook.yaml', '--holder', id, '--reason', 'lost laptop'];
    const dry = await maint([...lost, '--dry-run'], { ...at, env: foreign });
    expect([dry.code, dry.output]).toEqual([
      0,
      expect.stringMatching(/our holder, removed[\s\S]*2 to resume[\s\S]*3 things bear the mark of w-/),
    ]);
    const unasked = await maint(lost, { ...at, env: foreign });
    expect([unasked.code, at.has('flag.json'), at.file('app.cron')]).toEqual([
      64,
      true,
      expect.stringMatching(/^#maint/),
    ]);
    const removed = await maint([...lost, '--yes'], { ...at, env: foreign });
    expect([removed.code, at.has('flag.json'), at.file('app.cron')]).toEqual([0, false, CRONTAB]);
    // The window that put it there sees that somebody removed it.
    const ended = await maint(['end', '--soak', '1s'], at);
    expect([ended.code, ended.stdout]).toEqual([
      0,
      expect.stringMatching(/somebody opened it after .*: writes were possible for up to .* before the end/),
    ]);
    expect(at.file('app.cron')).toBe(CRONTAB);
  });

  test('that was left behind while its server was away is removed once it is back, by the state that left it', async () => {
    const at = world();
    await maint(START, at);
    const before = at.file('flag.json');
    const id = /w-\w{6}/.exec(before)![0];
    // one that is seen can be opened
    const visible = await maint(['end', '--leave', 'flag', '--reason', 'gone', '--yes'], at);
    expect([visible.code, visible.output]).toEqual([
      68,
      expect.stringMatching(/flag still refuses writes[\s\S]*maint end/),
    ]);
    at.write('flag.json', '{');
    const unasked = await maint(['end', '--leave', 'flag', '--reason', 'gone'], at);
    expect([unasked.code, at.file('app.cron')]).toEqual([64, expect.not.stringMatching(/^\*\/5/)]);
    expect((await maint(['end', '--leave', 'flag', '--reason', 'gone', '--yes'], at)).code).toBe(0);
    const left = await maint(['end', '--soak', '1s'], at);
    expect([left.code, left.output]).toEqual([68, expect.stringContaining('may STILL be READ-ONLY (flag: ')]);
    expect(at.file('app.cron')).toBe(CRONTAB);
    const doubt = await maint(['status'], at);
    expect([doubt.code, doubt.output]).toEqual([68, expect.stringMatching(/^prod may still be read-only: flag: /)]);
    at.write('flag.json', before);
    const seen = await maint(['status', '--env', 'prod'], at);
    expect([seen.code, seen.output]).toEqual([68, expect.stringMatching(/^prod is STILL READ-ONLY/)]);
    const orphan = await maint(['end', '--runbook', 'runbook.yaml'], at);
    expect([orphan.code, orphan.output]).toEqual([68, expect.stringContaining(`--holder ${id}`)]);
    const removed = await maint(['end', '--runbook', 'runbook.yaml', '--holder', id, '--reason', 'it is back'], at);
    expect([removed.code, at.has('flag.json')]).toEqual([0, false]);
    expect(at.file('app.cron')).toBe(CRONTAB);
    expect((await maint(['status'], at)).code).toBe(0);
    expect((await maint(['end', '--runbook', 'runbook.yaml'], at)).code).toBe(0);
    const report = await maint(['report', id, '--json'], at);
    expect([report.code, report.stdout]).toEqual([0, expect.stringContaining('it is back')]);
  });

  test('of ours goes with the window, whatever somebody else has edited in it', async () => {
    const at = world();
    await maint(START, at);
    at.write('flag.json', at.file('flag.json').replace(/"until":"[^"]*"/, '"until":"2099-01-01T00:00:00.000Z"'));
    const status = await maint(['status', '--json'], at);
    expect(status.code).toBe(69);
    const ended = await maint(['end', '--soak', '1s'], at);
    expect([ended.code, ended.stdout]).toEqual([0, expect.stringContaining('for it was ours')]);
    expect(at.has('flag.json')).toBe(false);
  });

  test('of somebody else stays: the end names who still holds', async () => {
    const at = world();
    at.write(
      'flag.json',
      '{"version":1,"holders":{"w-theirs":{"environment":"billing","until":"2099-01-01T00:00:00Z","reason":"theirs"}}}',
    );
    const before = at.file('flag.json');
    expect((await maint(START, at)).code).toBe(0);
    const ended = await maint(['end', '--soak', '1s'], at);
    expect([ended.code, ended.stdout]).toEqual([0, expect.stringContaining('w-theirs')]);
    expect(ended.stderr).toMatch(/our walls are open since .*flag is held by w-theirs: writes are still refused/);
    expect(ended.stderr).not.toContain('read-write since');
    expect(at.file('flag.json')).toBe(before);
  });
});

describe('before anything is written', () => {
  test('nobody can be asked: --yes is demanded, never for a dry run, and no file is made', async () => {
    const at = world();
    const before = readdirSync(at.cwd).sort();
    const asked = await maint(START.slice(0, -1), at);
    expect([asked.code, asked.stderr]).toEqual([64, expect.stringContaining('--yes')]);
    const dry = await maint([...START.slice(0, -1), '--dry-run'], at);
    expect([dry.code, dry.stdout]).toEqual([0, expect.stringContaining('nothing written')]);
    await maint(['status'], at);
    await maint(['rehearse', '--runbook', 'runbook.yaml'], at);
    expect(readdirSync(at.cwd).sort()).toEqual(before);
    expect(at.file('app.cron')).toBe(CRONTAB);
  });

  test.each([
    [['start'], 64, 'window'],
    [['start', '--window', '5'], 64, '5'],
    [['start', '--window', '0m'], 64, '0m'],
    [['start', '--window', '-5m'], 64, ''],
    [['strat', '--window', '30m'], 64, 'start'],
    [['start', '--windwo', '30m'], 64, 'windwo'],
    [['extend'], 64, '--by'],
    [['extend', '--by', '15m'], 66, 'no open window'],
    [['start', '--window', '30m', '--runbook', 'none.yaml'], 64, 'none.yaml'],
    [['start', '--window', '30m', '--runbook', '.'], 64, ''],
    [['start', '--window', '3s', '--runbook', 'runbook.yaml', '--yes'], 66, 'too short'],
    [
      ['start', '--window=3s', '-r', 'runbook.yaml', '--reason', 'a b', '--ticket', 'OPS-1', '--yes'],
      66,
      'Next: maint start --window=1m -r runbook.yaml --reason "a b" --ticket OPS-1 --yes · ',
    ],
    [['start', '--window', '30m', '--runbook', 'runbook.yaml', '--skip', 'cron', '--yes'], 64, 'crons'],
  ] as const)('%j ends %i', async (argv, code, word) => {
    const at = world();
    const ran = await maint(argv, at);
    expect(ran.code).toBe(code);
    expect(ran.output).toContain(word);
    expect(ran.output).not.toMatch(/\n\s+at .*:\d+:\d+/);
    expect(at.file('app.cron')).toBe(CRONTAB);
  });

  test('a reader that has seen enough is no failure', async () => {
    const at = world();
    const { PATH } = process.env;
    const shell = spawn('sh', ['-c', `"${process.execPath}" "${BIN}" steps | head -n 1; echo "\${PIPESTATUS:-0}"`], {
      cwd: at.cwd,
      env: { PATH: PATH ?? '', HOME: at.cwd },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    shell.stdout.on('data', (chunk) => (output += chunk));
    shell.stderr.on('data', (chunk) => (output += chunk));
    await new Promise((resolve) => shell.on('close', resolve));
    expect(output).toContain('backfill');
    expect(output).not.toContain('EPIPE');
  });
});

describe('a write while writes were refused', () => {
  const WATCH = '{ uses: no-writes/sqlite, with: { path: app.db, for: 2s }, deadline: 30s }';

  test('that stopped again is a thing to look at, in history too; --fail-on look makes it 68', async () => {
    const at = world([WATCH]);
    using database = new DatabaseSync(join(at.cwd, 'app.db'), { timeout: 10_000 });
    database.exec('create table orders (n integer)');
    const starting = begin([...START, '--fail-on', 'look'], at);
    await until(() => starting.said().includes('0 changes in'), 30_000);
    database.exec('insert into orders values (1)');
    const started = await starting.ended;
    expect([started.code, started.output]).toEqual([68, expect.stringMatching(/! no-writes .*after orders: 1/)]);
    expect(started.stdout).toMatch(
      /1 thing to look at:\n {2}no-writes {2}open: orders: 1 change, 1 row more, first seen/,
    );
    // it is read-only, and nothing was undone
    expect(at.has('flag.json')).toBe(true);
    const ended = await maint(['end', '--soak', '1s'], at);
    expect([ended.code, ended.stdout]).toEqual([0, expect.stringContaining('1 thing to look at')]);
    expect((await maint(['history', '--trouble'], at)).stdout).toContain('1 thing to look at');
  });

  test('found by the audit is 68; the window is closed, and nothing is undone', async () => {
    const at = world([WATCH]);
    using database = new DatabaseSync(join(at.cwd, 'app.db'), { timeout: 10_000 });
    database.exec('create table orders (n integer)');
    expect((await maint([...START, '--fail-on', 'look'], at)).code).toBe(0);
    database.exec('insert into orders values (1)');
    const ended = await maint(['end', '--soak', '1s'], at);
    expect([ended.code, ended.stdout]).toEqual([
      68,
      expect.stringMatching(
        /^E_WRITTEN {2}prod was read-only for .* 1 thing to look at:\n {2}no-writes {2}audit: orders: 1 since/,
      ),
    ]);
    expect(at.file('app.cron')).toBe(CRONTAB);
    expect((await maint(['status'], at)).code).toBe(0);
    expect((await maint(['end'], at)).code).toBe(0);
    expect((await maint(['history', '--trouble'], at)).stdout).toContain('1 thing to look at');
  });
});

describe('a step that fails', () => {
  test('is undone, walls first: 67, nothing left', async () => {
    const at = world(['{ uses: no-writes/sqlite, with: { path: app.db, for: 2s }, deadline: 4s }']);
    const database = new DatabaseSync(join(at.cwd, 'app.db'), { timeout: 10_000 });
    database.exec('create table t (n integer)');
    const writing = setInterval(() => database.exec('insert into t values (1)'), 100);
    const ran = await maint(START, at);
    clearInterval(writing);
    database.close();
    expect(ran.code).toBe(67);
    expect(ran.stderr).toContain('Undoing, walls first');
    expect(ran.output).toContain('nothing is left behind');
    expect(at.has('flag.json')).toBe(false);
    expect(at.file('app.cron')).toBe(CRONTAB);
    expect((await maint(['status'], at)).code).toBe(0);
  });

  test('and cannot be undone: 68 names it, the same verb tries just that, --leave is the way out', async () => {
    const at = world([
      '{ id: switch, uses: command, with: { observe: [./state.sh], write: [./switch.sh], frozen: ro, role: work, cwd: . }, deadline: 2s }',
    ]);
    at.write('mode', 'rw\n');
    script(at, 'state.sh', 'cat mode');
    script(at, 'switch.sh', '[ "$MAINT_TO" = ro ] && echo ro > mode || exit 3');
    expect((await maint(START, at)).code).toBe(0);
    const ended = await maint(['end', '--soak', '1s'], at);
    expect([ended.code, ended.output]).toEqual([68, expect.stringMatching(/E_LEFT_BEHIND[\s\S]*switch/)]);
    expect(at.file('app.cron')).toBe(CRONTAB);
    expect(at.has('flag.json')).toBe(false);
    expect((await maint(['status'], at)).code).toBe(68);
    const again = await maint(['end'], at);
    expect([again.code, again.output]).toEqual([68, expect.not.stringContaining('soak')]);
    const left = await maint(['end', '--leave', 'switch', '--reason', 'the host is gone'], at);
    expect([left.code, left.stdout]).toEqual([0, expect.stringContaining('the host is gone')]);
    expect((await maint(['status'], at)).code).toBe(0);
  });

  test('whose secret is missing on this laptop: 66 before anything is written, --skip opens first', async () => {
    const at = world([
      '{ id: page, uses: command, with: { observe: [./state.sh], write: ["./switch.sh", "${TOKEN}"], frozen: ro, role: work, cwd: . } }',
    ]);
    at.write('mode', 'rw\n');
    script(at, 'state.sh', 'cat mode');
    script(at, 'switch.sh', 'echo $MAINT_TO > mode');
    const env = { TOKEN: 'a-secret-token-1' };
    expect((await maint(START, { ...at, env })).code).toBe(0);
    const missing = await maint(['end'], at);
    expect([missing.code, missing.output]).toEqual([66, expect.stringMatching(/E_SECRETS_MISSING[\s\S]*TOKEN\s+page/)]);
    expect(at.has('flag.json')).toBe(true);
    const skipped = await maint(['end', '--skip', 'page', '--soak', '1s'], at);
    expect([skipped.code, skipped.output]).toEqual([68, expect.stringContaining('page')]);
    expect(at.has('flag.json')).toBe(false);
    expect(at.file('mode')).toBe('ro\n');
    expect((await maint(['end'], { ...at, env })).code).toBe(0);
    expect(at.file('mode')).toBe('rw\n');
    expect(readFileSync(join(at.cwd, 'state', 'state.db')).includes('a-secret-token-1')).toBe(false);
  });
});

describe('interrupted', () => {
  const SLOW = [
    '{ id: slow, uses: command, with: { observe: [./state.sh], write: [./slow.sh], frozen: ro, role: work, cwd: . }, deadline: 20s }',
  ];
  async function inTheMiddle(): Promise<{ at: World; running: Running }> {
    const at = world(SLOW);
    at.write('mode', 'rw\n');
    script(at, 'state.sh', 'cat mode');
    // Waits for a file, so that the test decides when the write ends.
    script(at, 'slow.sh', 'echo $$ > began; while [ ! -f go ]; do sleep 0.05; done; echo $MAINT_TO > mode');
    const running = begin(START, at);
    await until(() => at.has('began'), 15_000);
    return { at, running };
  }

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'by %s: the write in flight gets its time, 130, what is done and what to type; then the same verb goes on',
    async (signal) => {
      const { at, running } = await inTheMiddle();
      const began = performance.now();
      running.child.kill(signal);
      await until(() => running.said().includes('stopping'), 5_000);
      at.write('go', '');
      const ran = await running.ended;
      expect(performance.now() - began).toBeLessThan(6_000);
      expect(ran.code).toBe(130);
      expect(ran.stderr).toContain('E_INTERRUPTED');
      expect(ran.stderr).toContain('maint abort');
      const status = await maint(['status'], at);
      expect([status.code, status.stdout]).toEqual([68, expect.stringContaining('interrupted')]);
      expect((await maint(START, at)).code).toBe(0);
      expect((await maint(['end', '--soak', '1s'], at)).code).toBe(0);
      expect([at.file('app.cron'), at.file('mode'), at.has('flag.json')]).toEqual([CRONTAB, 'rw\n', false]);
    },
  );

  test('a second time: gone at once, and an abort waits for the command that still runs', async () => {
    const { at, running } = await inTheMiddle();
    running.child.kill('SIGINT');
    await until(() => running.said().includes('stopping'), 5_000);
    running.child.kill('SIGINT');
    expect((await running.ended).code).toBe(130);
    const undoing = begin(['abort'], at);
    await until(
      () => undoing.said().includes('waiting for the command of the last run') || at.file('mode') === 'ro\n',
      15_000,
    );
    at.write('go', '');
    expect((await undoing.ended).code).toBe(0);
    expect([at.file('app.cron'), at.file('mode'), at.has('flag.json')]).toEqual([CRONTAB, 'rw\n', false]);
  });

  test('while a run is alive, another is refused at once (75), and nothing of it is written', async () => {
    const { at, running } = await inTheMiddle();
    const status = await maint(['status'], at);
    expect([status.code, status.stdout]).toEqual([75, expect.stringContaining('is acting')]);
    const other = await maint(['abort'], at);
    expect([other.code, other.stderr]).toEqual([75, expect.stringContaining('E_BUSY')]);
    at.write('go', '');
    expect((await running.ended).code).toBe(0);
    expect((await maint(['abort'], at)).code).toBe(0);
    expect(at.file('app.cron')).toBe(CRONTAB);
  });
});

test('two starts at once: one wins, the other wrote nothing', async () => {
  const at = world();
  const both = await Promise.all([maint(START, at), maint(START, at)]);
  const codes = both.map((ran) => ran.code).sort();
  expect(codes[0]).toBe(0);
  expect([0, 69, 75]).toContain(codes[1]);
  expect(Object.keys(JSON.parse(at.file('flag.json')).holders)).toHaveLength(1);
  expect((await maint(['end', '--soak', '1s'], at)).code).toBe(0);
  expect([at.file('app.cron'), at.has('flag.json')]).toEqual([CRONTAB, false]);
});
