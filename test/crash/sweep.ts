// npm run sweep: a window killed at every point, and every way on.
//   -- --store sqlite,postgres --world full --ways resume,end,abort,takeover,asleep --double 2     all of it
//   -- --cases 60 --turn 3         a part of it
//   -- --point 'start flag/write/1/before' --ways takeover --verb end --second 'flag/write/1/after' --then abort     one
import { parseArgs } from 'node:util';
import '../support/outside-jest.ts';
import type { Case, CommandName, Point, Stage, Verb, Way } from './crash.ts';
import type { StoreName } from './stores.ts';
import { WORLDS, type WorldMaker, type WorldName } from './worlds.ts';

const { allCases, byTurns, distinct, findPoints, nameOf, openStage, secondsOf, sweep, tryCase, WAYS } = await import(
  './crash.ts'
);
const { missingStore } = await import('./stores.ts');

const { values } = parseArgs({
  options: {
    store: { type: 'string', default: 'sqlite,postgres' },
    world: { type: 'string', default: 'full' },
    ways: { type: 'string', default: WAYS.join() },
    /** all, or only the distinct ones */
    points: { type: 'string', default: 'all' },
    /** second crashes for each first one; 'all' */
    double: { type: 'string', default: '0' },
    width: { type: 'string', default: '3' },
    /** so many times the width for what mostly waits */
    patience: { type: 'string', default: '4' },
    cases: { type: 'string' },
    turn: { type: 'string', default: '0' },
    point: { type: 'string', multiple: true },
    verb: { type: 'string' },
    second: { type: 'string' },
    // biome-ignore lint/suspicious/noThenProperty: the name of an option
    then: { type: 'string' },
  },
});
const stores = values.store.split(',') as StoreName[];
const ways = values.ways.split(',') as Way[];
const unknown = [
  ...stores.filter((name) => name !== 'sqlite' && name !== 'postgres'),
  ...ways.filter((name) => !WAYS.includes(name)),
  ...[values.world].filter((name) => !Object.hasOwn(WORLDS, name)),
];
if (unknown.length > 0) throw new Error(`not known: ${unknown.join(', ')}`);
const double = values.double === 'all' ? Number.POSITIVE_INFINITY : Number(values.double);
const turn = Number(values.turn);
const width = values.point === undefined ? Number(values.width) : 1;
let bad = 0;
for (const store of stores) await on(store);
process.exitCode = bad > 0 ? 1 : 0;

async function on(store: StoreName): Promise<void> {
  const why = missingStore(store);
  if (why) {
    console.log(`left out: ${store}: ${why}`);
    return;
  }
  const missing = new Set<string>();
  const stages: Stage[] = await Promise.all(
    Array.from({ length: width }, () =>
      openStage(store, async () => {
        const made: WorldMaker = await WORLDS[values.world as WorldName]();
        for (const one of made.missing) missing.add(one);
        return made;
      }),
    ),
  );
  for (const one of missing) console.log(`left out: ${one}`);
  try {
    if (values.point === undefined) await all(store, stages);
    else await replay(stages[0]!);
  } finally {
    for (const stage of stages) await stage.stop();
  }
}

async function all(store: StoreName, stages: Stage[]): Promise<void> {
  const began = performance.now();
  const points = await findPoints(stages[0]!);
  const every = allCases(points, ways, values.points === 'distinct' ? 'distinct' : 'all');
  const work = values.cases === undefined ? every : byTurns(every, Number(values.cases), turn);
  let done = 0;
  const { crashes, doubles, missed, wrong } = await sweep(stages, work, {
    ...{ double, turn, patience: Number(values.patience) },
    told(result) {
      done++;
      if (result) console.log(`\n${result}`);
      else if (done % 50 === 0) console.log(`${done} of ${work.length * (1 + (Number.isFinite(double) ? double : 0))}`);
    },
  });
  bad += wrong.length;
  if (crashes === 0) bad++;
  if (missed > (crashes + doubles) / 20) {
    bad++;
    console.log('too many did not come by their point: this says little');
  }
  console.log(
    `${store}, ${values.world}: ${points.length} points${
      values.points === 'distinct'
        ? ` (${
            distinct(
              points.map(({ name }) => name),
              'end',
            ).length
          } distinct)`
        : ''
    }, ${crashes} crashes (${ways.join(', ')}), ${doubles} double crashes, ${missed} did not come by their point, ${wrong.length} wrong, ${((performance.now() - began) / 1000).toFixed(0)} s`,
  );
}

/** Side by side: each case has a world and a state of its own. */
async function replay(stage: Stage): Promise<void> {
  const points = values.point!.map((text): Point => {
    const [command, ...name] = text.split(' ');
    return { command: command as CommandName, name: name.join(' ') };
  });
  const cases = allCases(points, ways).map((one): Case => {
    const verb = (values.verb as Verb | undefined) ?? one.verb;
    const { second } = values;
    if (second === undefined) return { ...one, verb };
    return { ...one, verb, second: { name: second, verb: (values.then ?? 'resume') as Verb } };
  });
  await Promise.all(cases.map((each, at) => one(each, at)));

  async function one(each: Case, at: number): Promise<void> {
    const { wrong, missed, points: passed } = await tryCase(stage, each);
    // the one that is asked for must be there; a second one may be passed or not
    if (wrong || (missed && !each.second)) bad++;
    console.log(wrong ?? `${nameOf(each)}: as it was${missed ? '; it did not come by its point' : ''}`);
    if (each.second || wrong || double === 0) return;
    for (const again of secondsOf(each, passed, double, turn + at)) await one(again, at);
  }
}
