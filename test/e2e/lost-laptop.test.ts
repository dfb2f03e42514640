// The lost laptop: machine A dies in the middle of its start, and its folder is gone. B has the command line, the
// address of the shared state and the secrets. Real Redis, Alertmanager and Postgres; each machine a name of its own.
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { forget } from '../faults/proxies.ts';
import { type FaultWorld, makeWorld, SECRETS, type Servers, servers } from '../faults/world.ts';
import { begin, maint } from '../support/cli.ts';
import { onMachine } from '../support/other-machine.ts';
import { describeWith, type Postgres, startPostgres } from '../support/servers.ts';
import { until } from '../support/until.ts';

const START = ['start', '-r', 'runbook.yaml', '--window', '30m', '--yes', '--reason', 'reindex'];

describeWith(['postgres', 'redis', 'alertmanager'], 'a lost laptop', () => {
  let postgres: Postgres;
  let others: Servers;
  let made = 0;
  const gone: (() => unknown)[] = [];
  beforeAll(async () => {
    [postgres, others] = await Promise.all([startPostgres(), servers()]);
  }, 60_000);
  afterAll(() => Promise.all([postgres.stop(), others.stop()]));
  afterEach(async () => {
    for (const each of gone.splice(0).reverse()) await each();
  });

  interface Laptop {
    cwd: string;
    env: Record<string, string>;
  }

  /** The systems are on machines of their own: nothing of them is in a laptop's folder. */
  async function drill(): Promise<{ world: FaultWorld; a: Laptop; b: Laptop }> {
    const world = await makeWorld(others);
    gone.push(() => world.stop());
    const state = `${postgres.url}?schema=drill${++made}`;
    const laptop = (name: string): Laptop => {
      const cwd = mkdtempSync(join(tmpdir(), `maint-${name}-`));
      gone.push(() => rmSync(cwd, { recursive: true, force: true }));
      return { cwd, env: { ...world.env, ...onMachine(name), MAINT_STATE: state } };
    };
    const [a, b] = [laptop('laptop-a'), laptop('laptop-b')];
    const elsewhere = readFileSync(world.runbook, 'utf8').replace(/\b(chat-token|app\.cron|app\.db)\b/g, (name) =>
      join(world.folder, name),
    );
    writeFileSync(join(a.cwd, 'runbook.yaml'), elsewhere);
    copyFileSync(join(world.folder, 'surfaces.yaml'), join(a.cwd, 'surfaces.yaml'));
    for (const name of ['runbook.yaml', 'surfaces.yaml']) rmSync(join(world.folder, name));
    return { world, a, b };
  }

  /** A begins, dies at this call, of which the answer never came, and nothing of it is left. What runs beside the
   * call has got as far as a test says: of a step that has not begun there is nothing to undo. */
  async function lose(
    { world, a }: { world: FaultWorld; a: Laptop },
    call: string,
    beside: () => boolean = () => true,
  ): Promise<void> {
    forget(world.faulty);
    world.faulty.fault = { call, fault: 'hangs, done', forever: false };
    const running = begin(START, a);
    gone.push(() => running.child.kill('SIGKILL'));
    await Promise.race([until(() => world.faulty.hits > 0 && beside(), 30_000), running.ended]);
    expect([world.faulty.hits, beside(), running.said()]).toEqual([1, true, expect.anything()]);
    running.child.kill('SIGKILL');
    expect((await running.ended).signal).toBe('SIGKILL');
    rmSync(a.cwd, { recursive: true });
    forget(world.faulty);
  }
  const without = ({ cwd, env }: Laptop, name: string): Laptop => {
    const { [name]: _missing, ...rest } = env;
    return { cwd, env: rest };
  };

  test.each([
    ['an incident', 'page POST /incidents 1', ['end', '--soak', '1s']],
    ['a silence', 'alerts POST /api/v2/silences 1', ['abort']],
  ])(
    'mid-start, %s made and its answer lost: the other ends it from the shared state',
    async (_, call, verb) => {
      const { world, a, b } = await drill();
      const before = await world.essence();
      await lose({ world, a }, call);
      const half = await world.essence();
      expect(half).not.toBe(before);

      // what a is doing, nobody can know yet
      const soon = await maint(verb, b);
      expect([soon.code, soon.stderr]).toEqual([75, expect.stringMatching(/is acting on faults|laptop-a/)]);

      // of one secret after the other: what it is needed for, before anything is written
      for (const [name, step, wall] of [
        ['REDIS_URL', 'flag', true],
        ['PAGE_TOKEN', 'statuspage', false],
        ['ALERTS_URL', 'silence', false],
      ] as const) {
        const poor = await maint(verb, without(b, name));
        const line = poor.stderr.split('\n').find((each) => each.trim().startsWith(name));
        expect([poor.code, poor.stderr]).toEqual([66, expect.stringContaining('E_SECRETS_MISSING')]);
        expect(line).toMatch(
          wall ? `${step}: a wall, writes stay refused without it` : new RegExp(`${name} +${step}$`),
        );
      }
      const kept = join(world.folder, 'chat-token');
      rmSync(kept);
      const poor = await maint(verb, b);
      expect([poor.code, poor.stderr]).toEqual([66, expect.stringMatching(/chat-token +slack/)]);
      writeFileSync(kept, `${SECRETS.CHAT_TOKEN_FILE}\n`);
      expect(await world.essence()).toBe(half);

      const ended = await maint([...verb, '--wait', '60s'], b);
      expect([ended.code, ended.output]).toEqual([0, expect.stringContaining('laptop-a')]);
      expect(await world.essence()).toBe(before);
      expect([...(await world.doubles()), ...(await world.leftovers())]).toEqual([]);
      expect((await maint(['status'], b)).code).toBe(0);
      const report = await maint(['report'], b);
      expect([report.code, report.stdout]).toEqual([0, expect.stringContaining('laptop-b')]);
    },
    150_000,
  );

  test('without the secret of a notice the walls are opened by --skip, and the rest later by the same command', async () => {
    const { world, a, b } = await drill();
    const before = await world.essence();
    await lose({ world, a }, 'chat POST chat.postMessage 1', () => world.page.incidents().length === 1);
    const poor = without(b, 'PAGE_TOKEN');
    const refused = await maint(['end', '--soak', '1s'], poor);
    expect([refused.code, refused.stderr]).toEqual([66, expect.stringContaining('--skip statuspage')]);
    const skipped = await maint(['end', '--soak', '1s', '--skip', 'statuspage', '--wait', '60s'], poor);
    expect([skipped.code, skipped.output]).toEqual([68, expect.stringContaining('statuspage')]);
    expect((await world.essence()).split('\n---\n')[0]).toBe(before.split('\n---\n')[0]);
    expect((await maint(['end', '--soak', '1s'], b)).code).toBe(0);
    expect(await world.essence()).toBe(before);
    expect([...(await world.doubles()), ...(await world.leftovers())]).toEqual([]);
  }, 150_000);
});
