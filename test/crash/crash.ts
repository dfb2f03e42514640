// The crash sweep of the command line: the process is killed by SIGKILL at every journal append and every outer write of
// a whole window (before it, and after it but before anything is recorded), and another process ends, aborts or resumes.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Ran, maint as run } from '../support/cli.ts';
import type { CrashWorld } from './worlds.ts';

export const VERBS = ['resume', 'end', 'abort'] as const;
export type Verb = (typeof VERBS)[number];
export type WorldMaker = () => Promise<CrashWorld>;

/** The window that is swept. */
export const COMMANDS = {
  start: (world: CrashWorld) => ['start', '--runbook', world.runbook, '--window', '30m', '--yes'],
  extend: () => ['extend', '--by', '15m'],
  end: () => ['end', '--soak', '1s'],
  abort: () => ['abort'],
} as const;
export type CommandName = keyof typeof COMMANDS;
/** What has to have happened before. */
const BEFORE: Record<CommandName, CommandName[]> = { start: [], extend: ['start'], end: ['start'], abort: ['start'] };

export interface Point {
  command: CommandName;
  /** step/kind/n/side */
  name: string;
}
export function maint(world: CrashWorld, argv: readonly string[], more: Record<string, string> = {}): Promise<Ran> {
  return run(argv, { cwd: world.folder, env: { ...world.env, ...more } });
}

/** Every point that the window passes, by running it once undisturbed. */
export async function findPoints(make: WorldMaker): Promise<Point[]> {
  const points: Point[] = [];
  for (const command of Object.keys(COMMANDS) as CommandName[]) {
    const world = await make();
    const list = join(world.folder, 'points');
    try {
      for (const before of BEFORE[command]) await expectDone(world, before);
      const ran = await maint(world, COMMANDS[command](world), { MAINT_TEST_POINTS: list });
      if (ran.code !== 0) throw new Error(`${command} ended ${ran.code}:\n${ran.output}`);
      for (const name of readFileSync(list, 'utf8').split('\n').filter(Boolean)) points.push({ command, name });
    } finally {
      await world.stop();
    }
  }
  return points;
}

async function expectDone(world: CrashWorld, command: CommandName): Promise<void> {
  const ran = await maint(world, COMMANDS[command](world));
  if (ran.code !== 0) throw new Error(`${command} ended ${ran.code}:\n${ran.output}`);
}

/** One point, one way on. Returns what is wrong, in words; undefined: all as it was. */
export async function crash(make: WorldMaker, point: Point, verb: Verb): Promise<string | undefined> {
  const world = await make();
  const log: string[] = [];
  try {
    const before = world.essence();
    for (const command of BEFORE[point.command]) await expectDone(world, command);
    const killed = await maint(world, COMMANDS[point.command](world), { MAINT_TEST_KILL_AT: point.name });
    log.push(`$ ${point.command} (killed at ${point.name})`, killed.output);
    if (killed.signal !== 'SIGKILL') return tell(`was not killed: code ${killed.code}`);
    const on: CommandName[] =
      verb === 'end'
        ? ['end']
        : verb === 'abort'
          ? ['abort']
          : point.command === 'end' || point.command === 'abort'
            ? [point.command]
            : [point.command, 'end'];
    for (const command of on) {
      const ran = await maint(world, COMMANDS[command](world));
      log.push(`$ ${command}`, ran.output);
      // extend of a window that never came to be is refused, and that is right
      if (ran.code !== 0 && !(command === 'extend' && ran.code === 66))
        return tell(`${command} ended ${ran.code ?? ran.signal}`);
    }
    const last = await maint(world, ['status', '--json']);
    if (last.code !== 0) return tell(`status says ${last.code}: ${last.output}`);
    const after = world.essence();
    if (after !== before) return tell(`the world is not as it was:\n${before}\n=== now ===\n${after}`);
    const faults = world.faults();
    if (faults.length > 0) return tell(faults.join('; '));
    const secret = Object.values(world.env).find((value) => value.length > 8 && holds(world, value));
    if (secret) return tell('a secret is in the state file');
    return undefined;
  } finally {
    await world.stop();
  }
  function tell(what: string): string {
    return `${point.command} killed at ${point.name}, then ${verb}: ${what}\n${log.join('\n')}\nreplay: npm run sweep -- --point '${point.command} ${point.name}' --verb ${verb}`;
  }
}

function holds(world: CrashWorld, text: string): boolean {
  const path = join(world.folder, 'state', 'state.db');
  return existsSync(path) && readFileSync(path).includes(text);
}

/** Points side by side: most of their time is waiting. */
export async function sweep(
  make: WorldMaker,
  work: readonly { point: Point; verb: Verb }[],
  width: number,
  told: (wrong: string | undefined) => void,
): Promise<string[]> {
  const wrong: string[] = [];
  let next = 0;
  async function worker(): Promise<void> {
    while (next < work.length) {
      const { point, verb } = work[next++]!;
      const result = await crash(make, point, verb).catch(
        (error: unknown) => `${point.command} ${point.name} ${verb}: ${error}`,
      );
      if (result) wrong.push(result);
      told(result);
    }
  }
  await Promise.all(Array.from({ length: width }, worker));
  return wrong;
}
