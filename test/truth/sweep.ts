// npm run sweep:truth: every wall backend, every trouble, every verb.
//   -- --only 'flag/redis, down'    those whose name has this in it
import { parseArgs } from 'node:util';
import '../support/outside-jest.ts';

const { values } = parseArgs({ options: { only: { type: 'string', default: '' } } });
const { allCases, tryCase } = await import('./truth.ts');
const cases = allCases().filter(({ backend, trouble, verb }) =>
  `${backend}, ${trouble}, ${verb}`.includes(values.only),
);
const wrong: string[] = [];
let next = 0;
async function worker(): Promise<void> {
  while (next < cases.length) wrong.push(...(await tryCase(cases[next++]!)));
}
const began = performance.now();
await Promise.all([worker(), worker(), worker()]);
for (const one of wrong) console.log(one);
const seconds = Math.round((performance.now() - began) / 1000);
console.log(`${cases.length} cases in ${seconds} s, ${wrong.length} lies`);
process.exit(wrong.length === 0 ? 0 : 1);
