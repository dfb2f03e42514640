// A server that keeps its connections and answers nothing any more: Ctrl-C is through within five seconds all the same.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { begin, maint } from '../support/cli.ts';
import { hanging } from '../support/hanging.ts';
import { describeWith, type Postgres, startPostgres } from '../support/servers.ts';
import { until } from '../support/until.ts';

const CRONTAB = '*/5 * * * * /opt/reindex.sh\n';
const START = ['start', '-r', 'runbook.yaml', '--window', '30m', '--yes'];
const GONE_MS = 5_000;
const TICK_MS = 50;

describeWith('postgres', 'a state that hangs', () => {
  let server: Postgres;
  let way: Awaited<ReturnType<typeof hanging>>;
  const folders: string[] = [];
  beforeAll(async () => {
    server = await startPostgres();
    way = await hanging(server.port);
  }, 60_000);
  afterAll(async () => {
    way.stop();
    await server.stop();
  });
  afterEach(() => {
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  });

  function laptop(schema: string) {
    const cwd = mkdtempSync(join(tmpdir(), 'maint-hangs-'));
    folders.push(cwd);
    writeFileSync(join(cwd, 'app.cron'), CRONTAB);
    writeFileSync(join(cwd, 'mode'), 'rw\n');
    const script = (name: string, text: string) =>
      writeFileSync(join(cwd, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    script('state.sh', 'cat mode');
    script('slow.sh', 'echo $$ > began; while [ ! -f go ]; do sleep 0.05; done; echo $MAINT_TO > mode');
    writeFileSync(
      join(cwd, 'runbook.yaml'),
      'version: 1\nenvironment: prod\ncontact: "#ops"\nsoak: 1s\nsteps:\n  - { uses: flag/file, with: { path: flag.json } }\n  - { id: slow, uses: command, with: { observe: [./state.sh], write: [./slow.sh], frozen: ro, role: work, cwd: . }, deadline: 60s }\n  - { uses: crons/crontab, with: { file: app.cron } }\n',
    );
    const at = (port: number) => ({
      cwd,
      env: { MAINT_STATE: `postgres://postgres@127.0.0.1:${port}/postgres?schema=${schema}` },
    });
    return { ...at(way.port), direct: at(server.port) };
  }

  async function interrupted(running: ReturnType<typeof begin>) {
    const asked = performance.now();
    // of a machine that stands still the time is nobody's
    let stalled = 0;
    let ticked = asked;
    const ticking = setInterval(() => {
      const now = performance.now();
      stalled += Math.max(0, now - ticked - 2 * TICK_MS);
      ticked = now;
    }, TICK_MS);
    running.child.kill('SIGINT');
    const ran = await running.ended;
    clearInterval(ticking);
    return { ...ran, ms: performance.now() - asked - stalled };
  }

  test('in the middle of a start: 130 within 5 s, and the same command goes on', async () => {
    const here = laptop('hangs1');
    const running = begin(START, here);
    await until(() => existsSync(join(here.cwd, 'began')), 30_000);
    way.hang(true);
    writeFileSync(join(here.cwd, 'go'), '');
    const ran = await interrupted(running);
    expect([ran.code, ran.signal]).toEqual([130, null]);
    expect(ran.ms).toBeLessThan(GONE_MS);
    expect(ran.stderr).toContain('E_INTERRUPTED');
    expect(ran.output).not.toMatch(/E_BUG|^\s+at /m);
    way.hang(false);
    expect((await maint(['abort', '--wait', '30s'], here.direct)).code).toBe(0);
    expect([existsSync(join(here.cwd, 'flag.json')), readFileSync(join(here.cwd, 'app.cron'), 'utf8')]).toEqual([
      false,
      CRONTAB,
    ]);
  }, 120_000);

  test.each([
    ['start', START],
    ['status', ['status']],
    ['end', ['end', '--soak', '1s']],
  ])(
    '%s that finds it hanging: 130 within 5 s',
    async (_, argv) => {
      const here = laptop('hangs2');
      way.hang(true);
      try {
        const running = begin(argv, here);
        // it has begun to listen for signals once its first question is under way
        await until(() => way.unanswered() > 0, 30_000);
        const ran = await interrupted(running);
        expect([ran.code, ran.signal]).toEqual([130, null]);
        expect(ran.ms).toBeLessThan(GONE_MS);
      } finally {
        way.hang(false);
      }
    },
    60_000,
  );
});
