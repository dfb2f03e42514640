// The same checklist as a runbook and as the shell script that a careful person writes by hand, in turns, against the same
// world: at 0 ms and at 50 ms in each outer call. Both watch the database for one second, and soak for one.
import { join } from 'node:path';
import { missingPrograms, startWorld, type World } from './checklist-world.ts';
import { type Call, criticalPath } from './delay-proxy.ts';
import { must, type Ran, run, type Spread, spread } from './measure.ts';

export const DELAYS_MS = [50, 0] as const;
/** of watching at the start, and of soaking at the end: not counted on either side */
const WAITED_MS = 1000;

export interface Way {
  way: 'start' | 'end';
  delayMs: number;
  /** wall times without the waited second, milliseconds */
  maint: Spread;
  script: Spread;
  /** maint to script, round by round */
  ratio: Spread;
  calls: Spread;
  scriptCalls: Spread;
  /** wall without calls and waiting */
  own: Spread;
  /** own time to `node -e 0` of the same round */
  ownRatio: Spread;
}
export interface Overhead {
  list: string;
  delayMs: number;
  /** how long writes were refused though nobody worked in between */
  refused: Spread;
}
export interface Checklist {
  missing: string[];
  ways: Way[];
  overheads: Overhead[];
  /** of the last round at the longest delay, milliseconds since the begin: to see where the time goes */
  timelines: Record<string, { to: string; what: string; from: number; until: number }[]>;
}

interface Sample {
  wall: number;
  calls: Call[];
  began: number;
  ended: number;
}

export async function checklist(root: string, rounds: number): Promise<Checklist> {
  const missing = missingPrograms();
  const result: Checklist = { missing, ways: [], overheads: [], timelines: {} };
  if (missing.length > 0) return result;
  const world = await startWorld();
  try {
    const tools = toolsOf(root, world);
    for (const delayMs of DELAYS_MS) {
      const taken = new Map<string, Sample[]>();
      const bare: number[] = [];
      const refused = new Map<string, number[]>();
      for (let round = 0; round <= rounds; round++) {
        bare.push((await tools.bare()).ms);
        for (const [name, { start, end }] of Object.entries(tools.lists)) {
          await world.reset();
          world.delay(delayMs);
          for (const [way, work] of [
            ['start', start],
            ['end', end],
          ] as const) {
            world.forget();
            const { began, ended } = await work();
            const sample = { wall: ended - began, calls: world.calls(), began, ended };
            world.check(`${name} ${way}`, way === 'start');
            taken.set(`${name} ${way}`, [...(taken.get(`${name} ${way}`) ?? []), sample]);
          }
          refused.set(name, [...(refused.get(name) ?? []), world.refused()]);
          world.delay(0);
        }
      }
      // the first round warmed up
      const of = (name: string) => taken.get(name)!.slice(1);
      for (const way of ['start', 'end'] as const) {
        const [maint, script] = [of(`maint ${way}`), of(`script ${way}`)];
        const net = ({ wall }: Sample) => wall - WAITED_MS;
        const own = maint.map((sample) => sample.wall - criticalPath(notWaiting(sample)) - WAITED_MS);
        result.ways.push({
          ...{ way, delayMs, maint: spread(maint.map(net)), script: spread(script.map(net)) },
          ratio: spread(maint.map((sample, at) => net(sample) / net(script[at]!))),
          calls: spread(maint.map((sample) => notWaiting(sample).length)),
          scriptCalls: spread(script.map(({ calls }) => calls.length)),
          own: spread(own),
          ownRatio: spread(own.map((ms, at) => ms / bare[at + 1]!)),
        });
        for (const [name, all] of [
          ['maint', maint],
          ['script', script],
        ] as const) {
          const last = all.at(-1)!;
          result.timelines[`${name} ${way}, ${delayMs} ms`] = last.calls
            .map(({ to, what, began, ended }) => ({
              to,
              what,
              from: Math.round(began - last.began),
              until: Math.round(ended - last.began),
            }))
            .sort((a, b) => a.from - b.from);
        }
      }
      for (const [list, name] of [
        ['as it stands', 'maint'],
        ['everything slow before the wall', 'slow first'],
        ['by hand', 'script'],
      ])
        result.overheads.push({ list: list!, delayMs, refused: spread(refused.get(name!)!.slice(1)) });
    }
    return result;
  } finally {
    await world.stop();
  }
}

/** Looks at the database while a second is waited for are polling: their number is the length of the wait. */
function notWaiting({ calls, ended }: Sample): Call[] {
  const others = calls.filter(({ to }) => to !== 'postgres');
  const database = calls.filter(({ to }) => to === 'postgres').sort((a, b) => a.began - b.began);
  const from = ended - WAITED_MS;
  const waiting = database.filter(({ began }) => began > from - 200);
  // the looks at both ends of the wait count, those between them do not
  const looks = 2 * LOOK_CALLS;
  return [...others, ...database.filter((call) => !waiting.includes(call)), ...waiting.slice(0, looks)];
}
/** Round trips of one look. */
const LOOK_CALLS = 2;

function toolsOf(root: string, world: World) {
  const { folder, env } = world;
  const home = folder;
  const bin = join(root, 'bin/run.js');
  let states = 0;
  const node = (...argv: string[]) => run(process.execPath, argv, { cwd: folder, home });
  const maint = (runbook: string) => {
    let state = '';
    return {
      start: async (): Promise<Ran> => {
        state = join(folder, `state-${states++}.db`);
        return must(
          await node(bin, 'start', '--yes', '--window', '30m', '--runbook', runbook, '--state', state),
          'maint start',
        );
      },
      end: async (): Promise<Ran> => must(await node(bin, 'end', '--yes', '--state', state), 'maint end'),
    };
  };
  const script = (name: string) => async (): Promise<Ran> =>
    must(await run('bash', [name], { cwd: folder, home, env }), name);
  return {
    bare: async () => must(await node('-e', '0'), 'node -e 0'),
    lists: {
      maint: maint('runbook.yaml'),
      script: { start: script('checklist-start.sh'), end: script('checklist-end.sh') },
      'slow first': maint('slow-first.yaml'),
    } as Record<string, { start(): Promise<Ran>; end(): Promise<Ran> }>,
  };
}
