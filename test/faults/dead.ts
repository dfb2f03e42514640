// The end of a window with one thing dead, for each of them, refusing or hanging, on a laptop that has only the state and
// the secrets. Import this only after the clock was quickened.
import { mkdirSync, renameSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { argvOf, inWorld, journalOf } from './faults.ts';
import { maint } from './maint.ts';
import { forget } from './proxies.ts';
import { coldLaptop, type FaultWorld, makeWorld, type Servers, STEPS } from './world.ts';

const FILES: Readonly<Record<string, string>> = { crons: 'app.cron', 'no-writes': 'app.db' };
/** Only looked at: that it is dead is a thing to look at, and leaves nothing. */
const LOOKED_AT = new Set(['api', 'no-writes']);
const WALLS_WITHIN_MS = 60_000;

export interface Death {
  thing: string;
  how: 'refuses' | 'hangs' | 'is gone';
}

export function deaths(servers: Servers): Death[] {
  const services = Object.keys(STEPS).filter(
    (name) => !(name === 'flag' && !servers.redis) && !(name === 'alerts' && !servers.alertmanager),
  );
  return [
    ...services.flatMap((thing): Death[] => [
      { thing, how: 'refuses' },
      { thing, how: 'hangs' },
    ]),
    ...Object.keys(FILES).map((thing): Death => ({ thing, how: 'is gone' })),
  ];
}

async function kill(world: FaultWorld, { thing, how }: Death): Promise<() => Promise<void>> {
  if (how === 'refuses') {
    const proxy = world.proxies.get(thing)!;
    await proxy.shut();
    return () => proxy.open();
  }
  if (how === 'hangs') {
    world.faulty.dead.set(thing, 'hangs');
    return async () => void world.faulty.dead.delete(thing);
  }
  const path = join(world.folder, FILES[thing]!);
  renameSync(path, `${path}.away`);
  mkdirSync(path);
  return async () => {
    rmdirSync(path);
    renameSync(`${path}.away`, path);
  };
}

/** What is wrong, in words, and how long the walls took. */
export async function endWithout(
  servers: Servers,
  death: Death,
): Promise<{ wrong?: string; said: string; slow?: number }> {
  const world = await makeWorld(servers);
  const log: string[] = [];
  const wrong: string[] = [];
  const step = STEPS[death.thing] ?? death.thing;
  try {
    const before = await world.essence();
    const started = await inWorld(world, argvOf('start', world));
    if (started.code !== 0) return { wrong: `start ended ${started.code}:\n${started.output}`, said: '' };
    const cold = coldLaptop(world);
    const revive = await kill(world, death);
    forget(world.faulty);
    // the state's clock is the world's where the state is a server's, and only ours is quick
    const clock = async () => {
      const journal = (await journalOf(world, cold))!;
      const at = await journal.now();
      await journal.end();
      return { here: Date.now(), there: at };
    };
    const began = await clock();
    const first = await run('end', '--soak', '1s');
    const ended = await clock();
    const took = ended.here - began.here;
    const openedAt = await wallsOpenedAt(world, cold);
    const opened = openedAt && ((openedAt - began.there) * took) / (ended.there - began.there);
    if (death.thing === 'flag') {
      if (first.code !== 68) wrong.push(`ended ${first.code}, though the flag is still there`);
      // nobody can ask it now: that it may still hold is what can be said
      if (!/may STILL be READ-ONLY/.test(first.output)) wrong.push('it is not said that writes may still be refused');
      if (took > WALLS_WITHIN_MS) wrong.push(`that the walls cannot be opened is said after ${took} ms only`);
    } else {
      const allowed = LOOKED_AT.has(death.thing) ? [0, 68] : [68];
      if (!allowed.includes(first.code)) wrong.push(`ended ${first.code}, allowed ${allowed.join(', ')}`);
      if (opened === undefined) wrong.push('the walls were not opened');
      else if (opened > WALLS_WITHIN_MS) wrong.push(`the walls opened after ${opened} ms`);
      const now = await world.essence();
      if (now.split('\n---\n')[0] !== before.split('\n---\n')[0]) wrong.push('our holder is still in the flag');
    }
    const named = first.output.split('\n').some((line) => line.includes(step) && /[✘!]|\s{2}\S/.test(line));
    if (!named) wrong.push(`${step} is not named`);
    if (first.code === 68 && !/^Next: maint end/m.test(first.output)) wrong.push('no next command');
    await revive();
    if (first.code !== 0) {
      const again = await run('end');
      if (again.code !== 0) wrong.push(`the same command, with all well again, ended ${again.code}`);
    }
    if ((await run('status')).code !== 0) wrong.push('status is not 0 at the end');
    const after = await world.essence();
    if (after !== before) wrong.push(`the world is not as it was:\n${before}\n=== now ===\n${after}`);
    wrong.push(...(await world.doubles()), ...(await world.leftovers()));
    const said = `${death.thing} ${death.how}: ended ${first.code} after ${(took / 1000).toFixed(1)} s, walls ${opened === undefined ? 'closed' : `open after ${(opened / 1000).toFixed(1)} s`}`;
    const { slow } = world.faulty;
    if (wrong.length === 0) return { said, slow };
    return {
      said,
      slow,
      wrong: `end while ${said}\n${wrong.join('\n')}\n${log.join('\n')}\nreplay: npm run sweep:faults -- --dead '${death.thing} ${death.how}'`,
    };

    async function run(...argv: string[]) {
      const ran = await maint(argv, { cwd: cold, env: world.env });
      log.push(`$ maint ${argv.join(' ')}   (${ran.code})`, ran.output);
      return ran;
    }
  } finally {
    await world.stop();
  }
}

async function wallsOpenedAt(world: FaultWorld, laptop: string): Promise<number | undefined> {
  const journal = (await journalOf(world, laptop))!;
  try {
    for (const row of await journal.windows()) {
      for (const { event, at } of await journal.read(row.id))
        if (event.type === 'walls' && event.state === 'open') return Date.parse(at);
    }
    return undefined;
  } finally {
    await journal.end();
  }
}
