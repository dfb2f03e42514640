// The commands as a process: what they print, and with which exit code they end. One world, in one folder.
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { z } from 'zod';
import { EXIT_MEANS } from '../../src/errors/exit-codes.ts';
import { WorldFile } from '../../src/runbook/world.ts';
import * as shapes from '../support/json-shapes.ts';

const BIN = fileURLToPath(new URL('../../bin/dev.js', import.meta.url));
const FLAGS = ['--disable-warning=ExperimentalWarning'];
const SECRET = 'hunter2-s3cret';

// Stripped sources are kept from one process to the next: half of a start.
const CACHE = mkdtempSync(join(tmpdir(), 'maint-cache-'));

let folder: string;
const at = (name: string) => join(folder, name);

interface Done {
  exit: number;
  out: string;
  err: string;
}
function maint(words: readonly string[], env: Record<string, string> = {}, cwd = folder): Promise<Done> {
  // NODE_ENV=test makes oclif warn of what only its own developers need to know.
  const { NODE_OPTIONS: _, MAINT_RUNBOOK: __, NODE_ENV: ___, ...rest } = process.env;
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...FLAGS, BIN, ...words],
      { cwd, env: { ...rest, MAINT_STATE: at('state.db'), NODE_COMPILE_CACHE: CACHE, CONTACT: '#ops', ...env } },
      (error, out, err) => resolve({ exit: error ? Number(error.code) : 0, out, err }),
    );
  });
}
async function json<T extends z.ZodType>(shape: T, words: readonly string[], env = {}): Promise<z.infer<T> & Done> {
  const done = await maint([...words, '--json'], env);
  expect(done.err).toBe('');
  const value = JSON.parse(done.out);
  expect(shape.safeParse(value)).toMatchObject({ success: true, data: value });
  return { ...value, ...done };
}

const RUNBOOK = `version: 1
environment: prod
contact: "\${CONTACT}"
soak: 1s
steps:
  - { uses: flag/file, with: { path: ../flag.json } }
  - { uses: crons/crontab, with: { file: ../crontab, keep: [heartbeat.sh] } }
  - { uses: no-writes/sqlite, with: { path: ../app.db, for: 1s } }
`;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'maint-commands-'));
  mkdirSync(at('runbooks'));
  mkdirSync(at('bad'));
  mkdirSync(at('other'));
  writeFileSync(at('runbooks/prod.yaml'), RUNBOOK);
  writeFileSync(
    at('other/secret.yaml'),
    `${RUNBOOK}  - { uses: flag/redis, id: redis, with: { url: "redis://:\${REDIS_PASSWORD}@cache.invalid:6379" }, on_failure: continue }\n`,
  );
  writeFileSync(at('crontab'), '*/5 * * * * /usr/local/bin/etl.sh\n* * * * * /usr/local/bin/heartbeat.sh\n');
  const database = new DatabaseSync(at('app.db'));
  database.exec('create table documents (id integer primary key, text text)');
  database.close();
  writeFileSync(at('bad/keys.yaml'), RUNBOOK.replace('steps:', 'stpes:'));
  writeFileSync(at('bad/empty.yaml'), '');
  writeFileSync(at('bad/binary.yaml'), new Uint8Array([0, 1, 2, 255, 254]));
  writeFileSync(at('bad/world.json'), '{"version":1,\n"steps":');
});
afterAll(() => {
  for (const path of [folder, CACHE]) rmSync(path, { recursive: true, force: true });
});

function noTrace({ out, err }: Done): void {
  expect(`${out}${err}`).not.toMatch(/\n\s+at |node:internal|E_BUG/);
}

describe('the command line', () => {
  test.concurrent.each<[string[], number, RegExp]>([
    [['strat'], 64, /no command "strat"[\s\S]*Next: maint start/],
    [['runbook', 'chekc'], 64, /no command "runbook chekc"[\s\S]*Next: maint runbook check/],
    [['start', '--widnow', '30m'], 64, /no --widnow \(did you mean --window\?\)/],
    [['start'], 64, /E_USAGE {2}Missing required flag --window\n/],
    [['queue', 'drop', 'x'], 64, /Missing required flag --reason\nNext: maint queue drop --help/],
    [
      ['extend', '--by', '15m', '--until', '09:00Z'],
      64,
      /--by cannot be combined with --until\nNext: maint extend --help/,
    ],
    [['end', '--leave', 'crons'], 64, /--leave needs --reason too\nNext: maint end --help/],
    [['start', '--window', '0'], 64, /--window 0 is not a duration/],
    [['rehearse', '--format', 'xml'], 64, /text, json, junit, github/],
    [['steps', 'flag/fiel'], 64, /"flag\/fiel"[\s\S]*maint steps flag\/file/],
    [['completion', 'tcsh'], 64, /bash, zsh, fish/],
    [['completion'], 64, /shell/],
    [['report', 'w-nope'], 66, /No window is called w-nope|E_NO_WINDOW/],
    [['verify'], 66, /E_NO_WINDOW/],
    [['observe', '--output', 'no/such/folder/world.json'], 64, /its folder is not there/],
    [['runbook', 'check', 'nope.yaml'], 64, /"nope.yaml" is not there/],
    [['runbook', 'check', 'bad'], 64, /"bad" is a folder/],
    [['runbook', 'check', 'bad/keys.yaml'], 65, /stpes[\s\S]*did you mean steps/],
    [['runbook', 'check', 'bad/empty.yaml'], 65, /empty/],
    [
      ['runbook', 'show', 'bad/binary.yaml'],
      65,
      /bad\/binary\.yaml:1[\s\S]*Next: maint runbook check bad\/binary\.yaml/,
    ],
    [['runbook', 'check', 'other/secret.yaml', '--secrets'], 66, /REDIS_PASSWORD/],
    [['rehearse', '--runbook', 'other/secret.yaml'], 66, /E_SECRETS_MISSING[\s\S]*REDIS_PASSWORD/],
    [['rehearse', '--world', 'nope.json'], 64, /"nope.json" is not there/],
    [['rehearse', '--world', 'bad/world.json'], 65, /bad\/world\.json:2:\d+ .*no JSON/],
    [['rehearse', '--env', 'prdo'], 64, /prdo/],
    [['history', '--limit', 'x'], 64, /^E_USAGE {2}--limit x is not a whole number\.$/m],
  ])('%j: %d', async (words, exit, text) => {
    const done = await maint(words);
    expect(done).toMatchObject({ exit, out: '' });
    expect(done.err).toMatch(text);
    noTrace(done);
  });

  test.concurrent.each<[string[], number]>([
    [['strat'], 64],
    [['start', '--widnow', '30m'], 64],
    [['runbook', 'check', 'bad/keys.yaml'], 65],
    [['rehearse', '--world', 'bad/world.json'], 65],
    [['verify'], 66],
  ])('%j --json: %d as JSON', async (words, exit) => {
    expect(await json(shapes.ErrorShape, words)).toMatchObject({ ok: false, exit });
  });

  test('help ends with every exit code', async () => {
    for (const words of [['--help'], ['help']]) {
      const { exit, out } = await maint(words);
      expect(exit).toBe(0);
      for (const [code, means] of Object.entries(EXIT_MEANS)) expect(out).toContain(`${code.padStart(5)}  ${means}`);
    }
    expect((await maint(['help', 'rehearse'])).out).toContain('--world');
  });

  test('a reader that has seen enough is no failure', async () => {
    const child = spawn(
      'bash',
      ['-c', `"$0" "$@" | head -n 1; exit \${PIPESTATUS[0]}`, process.execPath, ...FLAGS, BIN, 'runbook', 'schema'],
      {
        cwd: folder,
      },
    );
    let text = '';
    child.stdout.on('data', (chunk) => (text += chunk));
    child.stderr.on('data', (chunk) => (text += chunk));
    const exit = await new Promise((resolve) => child.on('close', resolve));
    expect([exit, text]).toEqual([0, '{\n']);
  });
});

describe('looking', () => {
  test('runbook check needs no secrets, --secrets does', async () => {
    const checked = await json(shapes.CheckShape, ['runbook', 'check', 'other/secret.yaml']);
    expect(checked.variablesSet).toBeNull();
    const set = await maint(['runbook', 'check', 'other/secret.yaml', '--secrets'], { REDIS_PASSWORD: SECRET });
    expect(set.out).toMatch(/secret\.yaml: 0 problems .*2 of 2 variables set/);
  });

  test('runbook show tells both orders', async () => {
    const shown = await json(shapes.ShowShape, ['runbook', 'show']);
    expect(shown.start.map((step) => step.id)).toEqual(['flag', 'crons', 'no-writes']);
    expect(shown.end.map((step) => step.id)).toEqual(['no-writes', 'flag', 'crons']);
    expect((await maint(['runbook', 'show'])).out).toMatch(/start\n[\s\S]*flag\/file +wall[\s\S]*end\n/);
  });

  test('runbook schema is the committed one', async () => {
    const committed = JSON.parse(readFileSync(new URL('../../runbooks/runbook.schema.json', import.meta.url), 'utf8'));
    const { $comment: _, ...schema } = committed;
    expect(JSON.parse((await maint(['runbook', 'schema'])).out)).toEqual(schema);
    expect(JSON.parse((await maint(['runbook', 'schema', '--surfaces', '--json'])).out).title).toContain('surfaces');
  });

  test('steps lists every plugin, and a family', async () => {
    const all = await json(shapes.StepsShape, ['steps']);
    expect(all.plugins.length).toBeGreaterThan(5);
    expect((await json(shapes.StepsShape, ['steps', 'flag'])).plugins.map((one) => one.name)).toEqual([
      'flag/file',
      'flag/redis',
    ]);
    expect((await maint(['steps', 'flag/redis'])).out).toMatch(/url: "\$\{REDIS_URL\}"/);
  });

  test('a rehearsal writes nothing, not even the state', async () => {
    const before = readdirSync(folder).sort();
    const live = await json(shapes.RehearseShape, ['rehearse']);
    expect(live).toMatchObject({ exit: 0, rights: 'ok', asBefore: { of: 3, are: 3 }, world: { live: true } });
    const { out, exit } = await maint(['rehearse']);
    expect(exit).toBe(0);
    expect(out).toMatch(/^start {2}flag 1 would change · crons 1 would change, 1 in sync · no-writes cannot tell/m);
    expect(out).toMatch(/^end {4}3 of 3 restored$/m);
    expect(out).toMatch(/0 problems, nothing written\. Looked at the live world\.\n$/);
    expect(readdirSync(folder).sort()).toEqual(before);
  });

  test('a window that is too short is a problem', async () => {
    const { exit, out } = await maint(['rehearse', '--window', '1s']);
    expect(exit).toBe(66);
    expect(out).toMatch(/too short[\s\S]*1 problem, nothing written/);
  });

  test.each([
    ['bad/keys.yaml', 65, /^::error file=bad\/keys\.yaml,line=5,col=1,title=maint rehearse%3A [^:]*::.*stpes/m],
    ['nope.yaml', 64, /^::error title=maint rehearse%3A E_NO_FILE::.*nope\.yaml/m],
    ['other/secret.yaml', 66, /^::error title=maint rehearse%3A E_SECRETS_MISSING::.*REDIS_PASSWORD/m],
  ])('a CI system learns that %s cannot be rehearsed', async (file, exit, annotation) => {
    const github = await maint(['rehearse', '-r', file, '--format', 'github']);
    expect([github.exit, github.out]).toEqual([exit, expect.stringMatching(annotation)]);
    const junit = await maint(['rehearse', '-r', file, '--format', 'junit']);
    expect([junit.exit, junit.out]).toEqual([
      exit,
      expect.stringMatching(/^<\?xml[\s\S]* errors="[1-9][\s\S]*<error message="[\s\S]*<\/testsuites>\n$/),
    ]);
    expect(junit.err).toMatch(/^E_/);
  });

  test('a recorded world needs no credentials, in every format', async () => {
    const env = { REDIS_PASSWORD: SECRET };
    const recorded = await json(shapes.ObservedShape, ['observe', '-r', 'other/secret.yaml', '-o', 'w.json'], env);
    expect(recorded).toMatchObject({ steps: 3, unseen: [{ step: 'redis' }] });
    const file = readFileSync(at('w.json'), 'utf8');
    expect(WorldFile.parse(JSON.parse(file)).environment).toBe('prod');
    expect(file).not.toContain(SECRET);
    expect(WorldFile.parse(JSON.parse((await maint(['observe'])).out)).steps).toHaveProperty('crons');

    const words = ['rehearse', '-r', 'other/secret.yaml', '--world', 'w.json'];
    const told = await json(shapes.RehearseShape, words);
    expect(told).toMatchObject({ exit: 0, rights: 'not asked', variables: { named: 2, missing: ['REDIS_PASSWORD'] } });
    const text = await maint(words);
    expect(text.out).toMatch(/secrets 1 of 2 set \(not REDIS_PASSWORD\) · permissions not asked \(recorded world\)/);
    const junit = (await maint([...words, '--format', 'junit'])).out;
    expect(junit).toMatch(/^<\?xml[\s\S]*<testcase classname="rehearse.prod" name="flag"[\s\S]*<\/testsuites>\n$/);
    expect(junit).toContain('failures="0"');
    expect((await maint([...words, '--format', 'github'])).out).toMatch(/^::notice title=maint rehearse::0 problems/m);
    const problem = await maint([...words, '--format', 'github', '--window', '1s']);
    expect([problem.exit, problem.out]).toEqual([
      66,
      expect.stringMatching(/^::error file=other\/secret\.yaml,line=1,/m),
    ]);
  });
});

test('a window from its start to its report', async () => {
  const start = ['start', '--window', '30m', '--reason', 'reindex the documents', '--yes'];
  expect((await json(shapes.StatusShape, ['status'])).label).toBe('none');
  const elsewhere = { MAINT_STATE: at('nobody.db') };
  const planned = await json(shapes.VerbShape, [...start, '--dry-run', '--state', './state.db'], elsewhere);
  expect(planned.plan).toBeDefined();
  // as it stands it can be pasted
  expect(planned.next[0]!.command).toBe(
    'maint start --window 30m --reason "reindex the documents" --yes --state ./state.db --json',
  );
  expect(existsSync(at('state.db'))).toBe(false);
  expect(await json(shapes.VerbShape, start)).toMatchObject({ exit: 0, phase: 'open' });
  const [status, verified, rehearsed] = await Promise.all([
    json(shapes.StatusShape, ['status']),
    json(shapes.VerbShape, ['verify']),
    maint(['rehearse']),
  ]);
  expect(status).toMatchObject({ exit: 69, label: 'open' });
  // who names the state is told to name it again: another one would say that nothing is open
  const named = await maint(['status', '--state', './state.db', '--env', 'prod'], elsewhere);
  expect(named.out).toMatch(
    /\nNext: maint end --state \.\/state\.db --env prod --soak 1s by \S+(?: \S+)? · maint extend --state /,
  );
  // a typo must not end what was to be left out
  const skipped = await maint(['end', '--skip', 'crnos']);
  expect([skipped.exit, skipped.err]).toEqual([64, expect.stringMatching(/"crnos"[\s\S]*--skip crons/)]);
  expect(verified.verified!.map((one) => one.outcome)).toEqual(['in sync', 'in sync', 'pass']);
  expect(rehearsed.out).toMatch(/is open: the world is seen as that window holds it/);
  expect(await json(shapes.VerbShape, ['extend', '--by', '5m'])).toMatchObject({ exit: 0 });
  // the walls are closed: a plan of the same start does not wait for them
  const replanned = await maint([...start, '--dry-run']);
  expect(replanned.out).toMatch(/= checked before: [\s\S]*\n0 changes planned/);

  const database = new DatabaseSync(at('app.db'));
  database.exec("insert into documents (text) values ('late')");
  database.close();
  const found = await maint(['verify']);
  expect(found.exit).toBe(68);
  expect(found.out).toMatch(/✔ flag [\s\S]*✘ no-writes .*documents[\s\S]*E_CHECK_FAILED {2}prod is read-only/);
  // each check once, on whichever stream
  expect(`${found.out}${found.err}`.match(/[✔✘] \S+/g)).toEqual(['✔ flag', '✔ crons', '✘ no-writes']);

  // the row is never green: the end is done, and somebody has to look
  expect(await json(shapes.VerbShape, ['end', '--soak', '1s'])).toMatchObject({ exit: 68, phase: 'closed' });
  const report = await json(shapes.ReportShape, ['report']);
  expect(report).toMatchObject({ outcome: 'closed', readOnly: { measured: false } });
  expect(report.changes).toHaveLength(5);
  const text = (await maint(['report', report.window])).out;
  expect(text).toMatch(/^# \S+: read-only window w-/);
  const unknown = await maint(['report', 'w-nope']);
  expect([unknown.exit, unknown.err]).toEqual([66, expect.stringContaining(report.window)]);
  expect(await json(shapes.VerbShape, ['abort'])).toMatchObject({ exit: 0 });
}, 60_000);

test('an announced window is not read-only, whatever moves it', async () => {
  const own = { MAINT_STATE: at('announced.db') };
  const announced = await maint(['announce', '--at', '2036-12-01T02:00Z', '--window', '30m', '--yes'], own);
  expect(announced.exit).toBe(0);
  const { out } = await maint(['extend', '--by', '15m'], own);
  expect(out).toMatch(/^prod is announced to be read-only until 2036-12-01 02:45Z \(it was 2036-12-01 02:30Z\)\.$/m);
  expect(out).toMatch(/^Next: maint start --window 45m \(adopts it, when it is time\) · maint abort \(cancels it\)$/m);
  expect((await maint(['abort'], own)).exit).toBe(0);
});

test('status tells what failed at the start from what appeared since, and where to look for a window that is not here', async () => {
  const own = { MAINT_STATE: at('failed.db'), MAINT_RUNBOOK: at('other/failed.yaml'), TOKEN: SECRET };
  writeFileSync(at('failed.cron'), '*/5 * * * * /usr/local/bin/etl.sh\n');
  const slack =
    '{ uses: notice/slack, with: { url: "http://127.0.0.1:1", channel: "#ops", token: "${TOKEN}" }, deadline: 1s }';
  writeFileSync(
    at('other/failed.yaml'),
    `version: 1\nenvironment: failing\ncontact: x\nsteps:\n  - { uses: flag/file, with: { path: failed.json } }\n  - ${slack}\n  - { uses: crons/crontab, with: { file: ../failed.cron } }\n`,
  );
  const nothing = await maint(['status'], own);
  expect(nothing.out).toContain(`failing has no open window.\n  state: sqlite ${at('failed.db')}\n`);
  const started = await maint(['start', '--window', '30m', '--yes'], own);
  expect([started.exit, started.out]).toEqual([0, expect.stringMatching(/1 thing to look at/)]);
  const failed = await maint(['status'], own);
  expect(failed.out).toMatch(/\n {2}slack {2}/);
  expect(failed.out).not.toContain('appeared since');
  expect(failed.out).toMatch(/maint start --window 30m \(tries slack again; the end stays\)/);
  writeFileSync(at('failed.cron'), `${readFileSync(at('failed.cron'), 'utf8')}1 * * * * /usr/local/bin/new.sh\n`);
  const grown = await maint(['status'], own);
  expect(grown.out).toMatch(/1 thing to look at · appeared since: crons new\.sh/);
  expect(grown.out).toMatch(/maint start --window 30m \(stops what appeared since; the end stays\)/);
  expect((await maint(['extend', '--until', new Date(Date.now() + 12 * 60_000).toISOString()], own)).exit).toBe(0);
  const ended = await maint(['end', '--soak', '1s'], own);
  expect([ended.exit, ended.out]).toEqual([0, expect.stringMatching(/\(planned 30m, shortened to 1[12]m/)]);
}, 60_000);

test('a look at an empty file as a queue makes no queue of it', async () => {
  writeFileSync(at('empty.db'), '');
  const seen = await maint(['queue', 'status', '--queue', at('empty.db')]);
  expect([seen.exit, seen.err]).toEqual([66, expect.stringContaining('There is no queue at')]);
  expect(readFileSync(at('empty.db'))).toHaveLength(0);
});
