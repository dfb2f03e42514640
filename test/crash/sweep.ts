// npm run sweep: every point of every command, with every verb. `-- --point 'start flag/write/1/before' --verb end` replays one.
import { parseArgs } from 'node:util';
import { type CommandName, crash, findPoints, sweep, VERBS, type Verb } from './crash.ts';
import { files, notices } from './worlds.ts';

const { values } = parseArgs({
  options: {
    point: { type: 'string' },
    verb: { type: 'string' },
    world: { type: 'string', default: 'notices' },
    width: { type: 'string', default: '6' },
  },
});
const make = { files, notices }[values.world as 'files' | 'notices'];
const verbs = values.verb ? [values.verb as Verb] : VERBS;
if (values.point) {
  const [command, ...name] = values.point.split(' ');
  for (const verb of verbs)
    console.log(
      (await crash(make, { command: command as CommandName, name: name.join(' ') }, verb)) ??
        `${values.point}, then ${verb}: as it was`,
    );
} else {
  const began = performance.now();
  const points = await findPoints(make);
  const work = points.flatMap((point) => verbs.map((verb) => ({ point, verb })));
  let done = 0;
  const wrong = await sweep(make, work, Number(values.width), (result) => {
    done++;
    if (result) console.log(`\n${result}`);
    else if (done % 50 === 0) console.log(`${done} of ${work.length}`);
  });
  console.log(
    `${points.length} points, ${work.length} crashes, ${wrong.length} wrong, ${((performance.now() - began) / 1000).toFixed(0)} s`,
  );
  process.exitCode = wrong.length > 0 ? 1 : 0;
}
