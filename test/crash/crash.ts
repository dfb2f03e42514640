// The crash sweep of the command line: the process is killed by SIGKILL at every journal append and every outer write of
// a whole window (before it, and after it but before anything is recorded), or stands still there as with a closed lid,
// and another process goes on: resumes, ends, aborts or takes over, on this machine or another. That one may be killed
// at each of its points too, and a third one goes on.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { begin, type Ran, maint as run } from '../support/cli.ts';
import { openStore, type State, type Store, type StoreName } from './stores.ts';
import type { CrashWorld } from './worlds.ts';

/**
 * resume: the same command again (and then end). takeover: from another host, which cannot know that the process is
 * dead and waits for its lease and its last write; by turns it ends, aborts or resumes. asleep: the process is not dead
 * but stands still, is taken over, and wakes when all is over.
 */
export const WAYS = ['resume', 'end', 'abort', 'takeover', 'asleep'] as const;
export type Way = (typeof WAYS)[number];
/** What another process may do. */
export const VERBS = ['resume', 'end', 'abort'] as const;
export type Verb = (typeof VERBS)[number];
/** Nearly all of their time is waiting. */
const PATIENT: ReadonlySet<Way> = new Set<Way>(['takeover', 'asleep']);

export type CommandName = 'start' | 'extend' | 'end' | 'abort';
/** The window that is swept. */
const COMMANDS: Readonly<Record<CommandName, (world: CrashWorld) => string[]>> = {
  start: (world: CrashWorld) => ['start', '--runbook', world.runbook, '--window', '30m', '--yes'],
  extend: () => ['extend', '--by', '15m'],
  end: () => ['end', '--soak', '1s'],
  abort: () => ['abort'],
};
/** What has to have happened before. */
const BEFORE: Record<CommandName, CommandName[]> = { start: [], extend: ['start'], end: ['start'], abort: ['start'] };

export interface Point {
  command: CommandName;
  /** step/kind/n/side */
  name: string;
}
export interface Case {
  point: Point;
  way: Way;
  /** what the process that goes on does */
  verb: Verb;
  /** where that one is killed, and what the third one does */
  second?: { name: string; verb: Verb };
}
export interface Tried {
  /** in words; undefined: all as it was */
  wrong?: string | undefined;
  /** the points that the process which went on has passed */
  points: string[];
  /** it did not come by the point at which it was to be killed: a service was too slow for its step, say */
  missed: boolean;
}

/** One place where cases are tried: a store and a maker of worlds, with the servers that both need. */
export interface Stage {
  store: Store;
  make(): Promise<CrashWorld>;
  stop(): Promise<void>;
}

export async function openStage(
  store: StoreName,
  worlds: () => Promise<{ make(): Promise<CrashWorld>; stop(): Promise<void> }>,
): Promise<Stage> {
  const [opened, made] = await Promise.all([openStore(store), worlds()]);
  return {
    store: opened,
    make: made.make,
    async stop() {
      await made.stop();
      await opened.stop();
    },
  };
}

const OTHER_HOST = new URL('../support/other-host.ts', import.meta.url).href;

/** A machine with a `maint` on it: this one, or one that only shares the state. */
class Laptop {
  readonly #world: CrashWorld;
  readonly #state: State;
  readonly #host: string | undefined;
  readonly #folder: string;

  constructor(world: CrashWorld, state: State, host?: string) {
    this.#world = world;
    this.#state = state;
    this.#host = host;
    this.#folder = host === undefined ? world.folder : join(world.folder, 'laptops', host);
    mkdirSync(this.#folder, { recursive: true });
  }

  #options(more: Record<string, string>) {
    const there = this.#host && {
      MAINT_TEST_HOST: this.#host,
      NODE_OPTIONS: `--disable-warning=ExperimentalWarning --import=${OTHER_HOST}`,
    };
    return { cwd: this.#folder, env: { ...this.#world.env, MAINT_STATE: this.#state.address, ...there, ...more } };
  }
  maint(argv: readonly string[], more: Record<string, string> = {}): Promise<Ran> {
    return run(argv, this.#options(more));
  }
  begin(argv: readonly string[], more: Record<string, string> = {}) {
    return begin(argv, this.#options(more));
  }
}

/** Every point that the window passes, by running it once undisturbed. */
export async function findPoints(stage: Stage): Promise<Point[]> {
  const points: Point[] = [];
  for (const command of Object.keys(COMMANDS) as CommandName[]) {
    const world = await stage.make();
    const state = stage.store.state(world.folder);
    const laptop = new Laptop(world, state);
    const list = join(world.folder, 'points');
    try {
      for (const before of BEFORE[command]) await expectDone(laptop, world, before);
      const ran = await laptop.maint(COMMANDS[command](world), { MAINT_TEST_POINTS: list });
      if (ran.code !== 0) throw new Error(`${command} ended ${ran.code}:\n${ran.output}`);
      for (const name of namesIn(list)) points.push({ command, name });
    } finally {
      await state.drop();
      await world.stop();
    }
  }
  return points;
}

/**
 * Of a command's points those between which something was written: what is before an append or a write has the same
 * world and journal as what is after the one before it. One that stands still may also stand before a write, for the
 * check of the clocks lies between.
 */
export function distinct(names: readonly string[], way: Way): string[] {
  return names.filter((name) => name.endsWith('/after') || (way === 'asleep' && /\/write .*\/before$/.test(name)));
}

function namesIn(list: string): string[] {
  return existsSync(list) ? readFileSync(list, 'utf8').split('\n').filter(Boolean) : [];
}

async function expectDone(laptop: Laptop, world: CrashWorld, command: CommandName): Promise<void> {
  const ran = await laptop.maint(COMMANDS[command](world));
  if (ran.code !== 0) throw new Error(`${command} ended ${ran.code}:\n${ran.output}`);
}

export async function tryCase(stage: Stage, one: Case): Promise<Tried> {
  const { point, way, verb, second } = one;
  const world = await stage.make();
  const state = stage.store.state(world.folder);
  const shared = state.address.startsWith('postgres');
  const here = new Laptop(world, state);
  const there = shared && PATIENT.has(way) ? new Laptop(world, state, 'otherhost') : here;
  const log: string[] = [];
  const list = join(world.folder, 'points');
  let missed = false;
  let sleeper: ReturnType<Laptop['begin']> | undefined;
  try {
    const before = await world.essence();
    for (const command of BEFORE[point.command]) await expectDone(here, world, command);
    const taking = PATIENT.has(way) ? ['--takeover', '--yes'] : [];
    if (way === 'asleep') {
      sleeper = here.begin(COMMANDS[point.command](world), { MAINT_TEST_STOP_AT: point.name });
      missed = !(await stopped(sleeper));
      if (missed && (await sleeper.ended).code !== 0)
        return tell(`did not stand still: ${(await sleeper.ended).output}`);
      log.push(`$ ${point.command} (stands still at ${point.name})`);
    } else {
      const killed = await here.maint(COMMANDS[point.command](world), { MAINT_TEST_KILL_AT: point.name });
      log.push(`$ ${point.command} (killed at ${point.name})`, killed.output);
      if (killed.signal !== 'SIGKILL') {
        if (killed.code !== 0) return tell(`was not killed: code ${killed.code}`);
        missed = true;
      }
    }
    const trouble = await goOn(taking);
    if (trouble) return tell(trouble);
    if (sleeper) {
      const recorded = (await state.dump()).join('\n');
      sleeper.child.kill('SIGCONT');
      const woken = await sleeper.ended;
      log.push('$ (woken)', woken.output);
      // before it had looked: there is nothing left that it could act on
      const over = point.name.startsWith('lease/take/') && woken.code === 66;
      if (!missed && !over && woken.code !== 75 && woken.code !== 0)
        return tell(`woken, it ended ${woken.code ?? woken.signal}`);
      if ((await state.dump()).join('\n') !== recorded) return tell('woken, it recorded something');
    }
    if (await state.live()) return tell('the window is not closed');
    const after = await world.essence();
    if (after !== before) return tell(`the world is not as it was:\n${before}\n=== now ===\n${after}`);
    const faults = await world.faults();
    if (faults.length > 0) return tell(faults.join('; '));
    const recorded = (await state.dump()).join('\n');
    if (world.secrets.some((secret) => recorded.includes(secret))) return tell('a secret is in the state');
    return { points: namesIn(list), missed };
  } finally {
    sleeper?.child.kill('SIGKILL');
    await sleeper?.ended;
    await state.drop();
    await world.stop();
  }

  /** What the second process does, and the third. Returns what is wrong. */
  async function goOn(taking: readonly string[]): Promise<string | undefined> {
    const next: CommandName = verb === 'resume' ? point.command : verb;
    const ran = await there.maint([...COMMANDS[next](world), ...taking], {
      MAINT_TEST_POINTS: list,
      ...(second ? { MAINT_TEST_KILL_AT: second.name } : {}),
    });
    log.push(`$ ${next} ${taking.join(' ')}${second ? ` (killed at ${second.name})` : ''}`, ran.output);
    const alive = second !== undefined && ran.signal !== 'SIGKILL';
    missed ||= alive;
    if ((!second || alive) && !mayEnd(next, ran)) return `${next} ended ${ran.code ?? ran.signal}`;
    let last = next;
    if (second && !alive) {
      last = second.verb === 'resume' ? next : second.verb;
      const third = await there.maint(COMMANDS[last](world));
      log.push(`$ ${last}`, third.output);
      if (!mayEnd(last, third)) return `then ${last} ended ${third.code ?? third.signal}`;
    }
    if (last !== 'start' && last !== 'extend') return undefined;
    const ended = await there.maint(COMMANDS.end(world));
    log.push('$ end', ended.output);
    return ended.code === 0 ? undefined : `end ended ${ended.code ?? ended.signal}`;
  }
  function tell(what: string): Tried {
    const replay = [
      `--store ${shared ? 'postgres' : 'sqlite'} --point '${point.command} ${point.name}' --ways ${way} --verb ${verb}`,
      ...(second ? [`--second '${second.name}' --then ${second.verb}`] : []),
    ].join(' ');
    return {
      wrong: `${nameOf(one)}: ${what}\n${log.join('\n')}\nreplay: npm run sweep -- ${replay}`,
      points: [],
      missed,
    };
  }
}

export function nameOf({ point, way, verb, second }: Case): string {
  const then = second ? `, killed at ${second.name}, then ${second.verb}` : '';
  return `${point.command} ${way === 'asleep' ? 'asleep' : 'killed'} at ${point.name}, then ${way === verb ? '' : `${way}: `}${verb}${then}`;
}

/** extend of a window that never came to be, or is over, is refused, and that is right. */
function mayEnd(command: CommandName, ran: Ran): boolean {
  return ran.code === 0 || (command === 'extend' && ran.code === 66);
}

/** Stands still: true. Ended: false. */
async function stopped({ child, ended }: ReturnType<Laptop['begin']>): Promise<boolean> {
  let over = false;
  void ended.then(() => {
    over = true;
  });
  while (!over) {
    const stat = readFileSync(`/proc/${child.pid}/stat`, 'latin1');
    if (stat.slice(stat.lastIndexOf(')') + 2).startsWith('T')) return true;
    await delay(20);
  }
  return false;
}

/** Every point with every way; a takeover does by turns what the others do. */
export function allCases(points: readonly Point[], ways: readonly Way[], which: 'all' | 'distinct' = 'all'): Case[] {
  return points.flatMap((point, at) =>
    ways.flatMap((way): Case[] => {
      if (which === 'distinct' && distinct([point.name], way).length === 0) return [];
      if (!PATIENT.has(way)) return [{ point, way, verb: way as Verb }];
      // Nobody can take over what is not there yet: it wakes, and begins.
      if (
        way === 'asleep' &&
        /^(lease\/take|window\/append opened\/1\/before)/.test(point.name) &&
        point.command === 'start'
      )
        return [];
      // One that stands still has its say again once it wakes: it must find nothing that it could still resume.
      if (way === 'asleep') return [{ point, way, verb: at % 2 === 0 ? 'end' : 'abort' }];
      return [{ point, way, verb: VERBS[at % VERBS.length]! }];
    }),
  );
}

/** Of the distinct points that the process which went on has passed, `count` of them by turns, each with a verb by turns. */
export function secondsOf(one: Case, passed: readonly string[], count: number, turn: number): Case[] {
  const chosen = byTurns(distinct(passed, one.way), count, turn);
  return chosen.map((name, n) => ({ ...one, second: { name, verb: VERBS[(n + turn) % VERBS.length]! } }));
}

/** `count` of them, spread evenly; another turn takes others. */
export function byTurns<T>(all: readonly T[], count: number, turn: number): T[] {
  if (count >= all.length) return [...all];
  const apart = all.length / count;
  const first = (turn * 0.618_034 * apart) % apart;
  return Array.from({ length: count }, (_, n) => all[Math.floor(first + n * apart)]!);
}

export interface Sum {
  crashes: number;
  doubles: number;
  missed: number;
  wrong: string[];
}

/**
 * Side by side, as many as there are stages (those that mostly wait `patience` times as many). `double`: so many second
 * crashes for each first one.
 */
export async function sweep(
  stages: readonly Stage[],
  work: readonly Case[],
  options: { double?: number; turn?: number; patience?: number; told?: (wrong: string | undefined) => void } = {},
): Promise<Sum> {
  const { double = 0, turn = 0, patience = 1, told } = options;
  const sum: Sum = { crashes: 0, doubles: 0, missed: 0, wrong: [] };
  async function one(stage: Stage, each: Case): Promise<string[]> {
    const tried = await tryCase(stage, each).catch(
      (error: unknown): Tried => ({ wrong: `${nameOf(each)}: ${error}`, points: [], missed: false }),
    );
    if (each.second) sum.doubles++;
    else sum.crashes++;
    if (tried.missed) sum.missed++;
    if (tried.wrong) sum.wrong.push(tried.wrong);
    told?.(tried.wrong);
    return tried.points;
  }
  async function pool(cases: readonly Case[], width: number): Promise<void> {
    let next = 0;
    async function worker(stage: Stage): Promise<void> {
      while (next < cases.length) {
        const at = next++;
        const each = cases[at]!;
        const passed = await one(stage, each);
        if (double > 0) for (const again of secondsOf(each, passed, double, turn + at)) await one(stage, again);
      }
    }
    await Promise.all(Array.from({ length: width }, (_, n) => worker(stages[n % stages.length]!)));
  }
  await pool(
    work.filter(({ way }) => !PATIENT.has(way)),
    stages.length,
  );
  await pool(
    work.filter(({ way }) => PATIENT.has(way)),
    stages.length * patience,
  );
  return sum;
}
