// npm run sweep:input: ten thousand damaged inputs. `-- --seed S --only N` tries one of them again.
import { parseArgs } from 'node:util';
import { Fuzz } from './input.ts';

const { values } = parseArgs({
  options: { runs: { type: 'string', default: '10000' }, seed: { type: 'string' }, only: { type: 'string' } },
});
const seed = values.seed === undefined ? Date.now() % 2 ** 31 : Number(values.seed);
// one process for all: each call listens to the same streams and signals
for (const emitter of [process, process.stdout, process.stderr]) emitter.setMaxListeners(0);
let unhandled: unknown;
process.on('unhandledRejection', (error) => {
  unhandled = error;
});

const fuzz = new Fuzz();
await fuzz.prepare();
const counts = new Map<string, number>();
const began = performance.now();
let wrong = 0;
const from = values.only === undefined ? 0 : Number(values.only);
const to = values.only === undefined ? Number(values.runs) : from + 1;
for (let n = from; n < to; n++) {
  const result = await fuzz.try(seed, n);
  const key = `${result.kind}, exit ${result.code}`;
  counts.set(key, (counts.get(key) ?? 0) + 1);
  const bad = result.wrong ?? (unhandled === undefined ? undefined : `a promise was left: ${String(unhandled)}`);
  unhandled = undefined;
  if (bad !== undefined) {
    wrong++;
    console.log(`\n${result.kind} ${n}: ${bad}\nreplay: npm run sweep:input -- --seed ${seed} --only ${n}`);
  }
  if (values.only !== undefined) console.log(JSON.stringify(fuzz.input(seed, n).argv), key);
}
fuzz.close();
for (const [what, n] of [...counts].sort()) console.log(`${String(n).padStart(7)}  ${what}`);
console.log(`${to - from} inputs, ${wrong} wrong, seed ${seed}, ${((performance.now() - began) / 1000).toFixed(0)} s`);
process.exitCode = wrong > 0 ? 1 : 0;
