// npm run sweep:model: ten thousand sequences against the model. `-- --seed N --path P` plays one of them again.
import { parseArgs } from 'node:util';
import fc from 'fast-check';
import { commands, play } from './model.ts';

const { values } = parseArgs({
  options: { runs: { type: 'string', default: '10000' }, seed: { type: 'string' }, path: { type: 'string' } },
});
const seed = values.seed === undefined ? Date.now() % 2 ** 31 : Number(values.seed);
const numRuns = values.path === undefined ? Number(values.runs) : 1;
const counts = new Map<string, number>();
let played = 0;
const began = performance.now();
const result = await fc.check(
  fc.asyncProperty(commands, fc.nat(2 ** 31 - 1), async (sequence, random) => {
    if (++played % 1000 === 0) console.log(`${played} of ${numRuns}`);
    const wrong = await play(sequence, random, (what) => counts.set(what, (counts.get(what) ?? 0) + 1));
    if (wrong) throw new Error(wrong);
  }),
  { numRuns, seed, ...(values.path === undefined ? {} : { path: values.path }) },
);
const total = [...counts.values()].reduce((sum, n) => sum + n, 0);
if (result.failed) {
  console.log(fc.stringify(result.counterexample));
  console.log(result.errorInstance instanceof Error ? result.errorInstance.message : result.errorInstance);
  console.log(`replay: node test/unit/engine/model.sweep.ts --seed ${seed} --path ${result.counterexamplePath}`);
  process.exitCode = 1;
}
for (const [what, n] of [...counts].sort()) console.log(`${String(n).padStart(7)}  ${what}`);
console.log(
  `${result.numRuns} sequences, ${total} verbs, ${result.failed ? 1 : 0} wrong, seed ${seed}, ${((performance.now() - began) / 1000).toFixed(0)} s`,
);
