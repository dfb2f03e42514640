// A second machine whose wall clock is five minutes off, one state on a real Postgres, the real command line: it promises
// nothing that its clock would get wrong, and brings back what is open.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { maint } from '../support/cli.ts';
import { onMachine } from '../support/other-machine.ts';
import { describeWith, type Postgres, startPostgres } from '../support/servers.ts';

const MINUTES_MS = 60_000;
const CRONTAB = '*/5 * * * * /opt/reindex.sh\n';

describeWith('postgres', 'a machine whose clock is off', () => {
  let server: Postgres;
  let made = 0;
  let folder = '';
  beforeAll(async () => {
    server = await startPostgres();
  }, 60_000);
  afterAll(() => server.stop());
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test.each([
    [5, '(29|30)\\ds ahead of'],
    [-5, '(29|30)\\ds behind'],
  ])(
    'by %i minutes',
    async (minutes, words) => {
      folder = mkdtempSync(join(tmpdir(), 'maint-clock-'));
      const file = (name: string) => join(folder, name);
      writeFileSync(file('app.cron'), CRONTAB);
      writeFileSync(
        file('runbook.yaml'),
        'version: 1\nenvironment: prod\ncontact: "#ops"\nsoak: 1s\nsteps:\n  - { uses: flag/file, with: { path: flag.json } }\n  - { uses: crons/crontab, with: { file: app.cron } }\n',
      );
      const MAINT_STATE = `${server.url}?schema=clock${++made}`;
      const right = { cwd: folder, env: { MAINT_STATE, ...onMachine('right') } };
      const off = { cwd: folder, env: { MAINT_STATE, ...onMachine('off', minutes * MINUTES_MS) } };
      const recorded = async () => (await server.sql(`select count(*) from clock${made}.events`))[0]![0];
      const start = ['start', '-r', 'runbook.yaml', '--window', '30m', '--yes'];

      const early = await maint(start, off);
      expect([early.code, early.stderr]).toEqual([66, expect.stringMatching(words)]);
      expect(existsSync(file('flag.json'))).toBe(false);

      expect((await maint(start, right)).code).toBe(0);
      const flag = readFileSync(file('flag.json'), 'utf8');
      const events = await recorded();
      const about = (text: string) => expect.stringMatching(new RegExp(`${text}[\\s\\S]*\\nNext: `));
      for (const argv of [['extend', '--by', '15m'], ['note', 'still at it'], start]) {
        const refused = await maint(argv, off);
        expect([argv[0], refused.code, refused.stderr]).toEqual([argv[0], 66, about(words)]);
      }
      expect([await recorded(), readFileSync(file('flag.json'), 'utf8')]).toEqual([events, flag]);

      // it looks, and says by whose clock
      expect((await maint(['status'], off)).code).toBe(69);
      const ended = await maint(['end', '--soak', '1s'], off);
      expect([ended.code, ended.output]).toEqual([0, expect.stringMatching(words)]);
      expect([existsSync(file('flag.json')), readFileSync(file('app.cron'), 'utf8')]).toEqual([false, CRONTAB]);
      // what is recorded goes by the state's clock
      const [times] = await server.sql(
        `select min(at), max(at) from clock${made}.events where window_id = (select id from clock${made}.windows)`,
      );
      for (const at of times!) expect(Math.abs(Date.parse(at) - Date.now())).toBeLessThan(2 * MINUTES_MS);
    },
    120_000,
  );
});
