// Two laptops and one state on Postgres: what one began, the other sees, extends, takes over and ends.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { begin, maint } from '../support/cli.ts';
import { describeWith, type Postgres, startPostgres } from '../support/servers.ts';
import { until } from '../support/until.ts';

const CRONTAB = '*/5 * * * * /opt/reindex.sh\n0 3 * * * /opt/report.sh\n';
const START = ['start', '-r', 'runbook.yaml', '--window', '30m', '--yes', '--reason', 'reindex'];

describeWith('postgres', 'one state on Postgres', () => {
  let server: Postgres;
  let made = 0;
  const folders: string[] = [];
  beforeAll(async () => {
    server = await startPostgres();
  }, 60_000);
  afterAll(() => server.stop());
  afterEach(() => {
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  });

  /** Laptop a has the runbook; laptop b has an empty home, the state's address and the secret. */
  function team(steps: string[] = []) {
    const folder = (name: string) => {
      const path = mkdtempSync(join(tmpdir(), `maint-${name}-`));
      folders.push(path);
      return path;
    };
    const state = `${server.url}?schema=team${++made}`;
    const laptop = (name: string) => ({
      cwd: folder(name),
      env: { MAINT_STATE: state, FLAG: '' } as Record<string, string>,
    });
    const [a, b] = [laptop('a'), laptop('b')];
    for (const each of [a, b]) each.env['FLAG'] = join(a.cwd, 'flag.json');
    writeFileSync(join(a.cwd, 'app.cron'), CRONTAB);
    writeFileSync(
      join(a.cwd, 'runbook.yaml'),
      [
        'version: 1',
        'environment: prod',
        'contact: "#ops"',
        'soak: 1s',
        'steps:',
        '  - { uses: flag/file, with: { path: "${FLAG}" } }',
        ...steps,
        '  - { uses: crons/crontab, with: { file: app.cron } }',
        '',
      ].join('\n'),
    );
    return {
      ...{ a, b, address: `postgres 127.0.0.1:${server.port}/postgres schema team${made}` },
      asBefore() {
        expect(existsSync(join(a.cwd, 'flag.json'))).toBe(false);
        expect(readFileSync(join(a.cwd, 'app.cron'), 'utf8')).toBe(CRONTAB);
      },
    };
  }

  test('a starts; b sees, extends and ends, without the runbook’s file', async () => {
    const { a, b, address, asBefore } = team();
    const dry = await maint([...START, '--dry-run'], a);
    expect([dry.code, dry.output]).toEqual([0, expect.stringContaining('nothing written')]);
    expect(await server.sql("select 1 from pg_namespace where nspname = 'team1'")).toEqual([]);
    const started = await maint(START, a);
    expect([started.code, started.stderr]).toEqual([
      0,
      expect.stringContaining(`State: ${address}; everybody with access to it can end this window.`),
    ]);
    const open = await maint(['status'], b);
    expect([open.code, open.stdout]).toEqual([69, expect.stringMatching(/prod is READ-ONLY[\s\S]*reindex/)]);
    expect((await maint(['extend', '--by', '15m'], b)).code).toBe(0);
    const until = async (of: typeof a) => JSON.parse((await maint(['status', '--json'], of)).stdout).until;
    expect(await until(a)).toBe(await until(b));
    rmSync(join(a.cwd, 'runbook.yaml'));

    const poor = await maint(['end', '--soak', '1s'], { ...b, env: { MAINT_STATE: b.env['MAINT_STATE']! } });
    expect([poor.code, poor.stderr]).toEqual([66, expect.stringContaining('FLAG')]);
    const ended = await maint(['end', '--soak', '1s'], b);
    expect([ended.code, ended.stderr]).toEqual([0, expect.anything()]);
    asBefore();
    expect((await maint(['status'], a)).code).toBe(0);
    const report = await maint(['report'], a);
    expect([report.code, report.stdout]).toEqual([0, expect.stringContaining('reindex')]);
    expect(existsSync(join(b.cwd, '.local'))).toBe(false);
  }, 120_000);

  const SLOW =
    '  - { id: slow, uses: command, with: { observe: [./state.sh], write: [./slow.sh], frozen: ro, role: work, cwd: . }, deadline: 60s }';
  function slow(cwd: string): void {
    const script = (name: string, text: string) =>
      writeFileSync(join(cwd, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    script('state.sh', 'cat mode');
    script('slow.sh', 'echo $$ > began; while [ ! -f go ]; do sleep 0.05; done; echo $MAINT_TO > mode');
    writeFileSync(join(cwd, 'mode'), 'rw\n');
  }

  test('b is told who acts; it takes over, and a stops before its next write', async () => {
    const { a, b, asBefore } = team([SLOW]);
    slow(a.cwd);
    const first = begin(START, a);
    await until(() => existsSync(join(a.cwd, 'began')), 30_000);
    const busy = await maint(['abort'], b);
    expect([busy.code, busy.stderr]).toEqual([75, expect.stringContaining('is acting on prod')]);
    const second = begin(['abort', '--takeover', '--yes'], b);
    await until(() => second.said().includes('taken over'), 30_000);
    writeFileSync(join(a.cwd, 'go'), '');
    const lost = await first.ended;
    expect([lost.code, lost.stderr]).toEqual([75, expect.stringContaining('E_TAKEN_OVER')]);
    expect((await second.ended).code).toBe(0);
    asBefore();
  }, 120_000);

  test('the server dies in the middle of a start: told in words; once it is back, b undoes what a began', async () => {
    const { a, b, address, asBefore } = team([SLOW]);
    slow(a.cwd);
    const first = begin(START, a);
    await until(() => existsSync(join(a.cwd, 'began')), 30_000);
    await server.kill();
    writeFileSync(join(a.cwd, 'go'), '');
    const lost = await first.ended;
    expect([lost.code, lost.stderr]).toEqual([68, expect.stringContaining(`the state at ${address}`)]);
    expect(lost.stderr).toContain('Next: run the same command again');
    expect(lost.output).not.toMatch(/E_BUG|^\s+at /m);
    const meanwhile = await maint(['status'], b);
    expect([meanwhile.code, meanwhile.stderr]).toEqual([64, expect.stringContaining('is not there')]);
    await server.restart();
    expect((await maint(['abort', '--wait', '30s'], b)).code).toBe(0);
    asBefore();
  }, 120_000);
});
