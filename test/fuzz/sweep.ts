// npm run sweep:input: ten thousand damaged inputs. `-- --seed S --only N` tries one of them again.
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { parseArgs } from 'node:util';
import { Fuzz } from './input.ts';

// A damaged address may name any machine: only this one is called, and the others refuse as this one would.
const connect = Socket.prototype.connect;
Socket.prototype.connect = function (this: Socket, ...args: unknown[]): Socket {
  const [first] = args.flat() as [{ host?: string; path?: string } | number | string];
  const host = typeof first === 'object' ? first.host : typeof args[1] === 'string' ? args[1] : undefined;
  const here = host === undefined || host === 'localhost' || host === '::1' || host.startsWith('127.');
  if (here) return Reflect.apply(connect, this, args) as Socket;
  const refused = Object.assign(new Error(`connect ECONNREFUSED ${host}`), { code: 'ECONNREFUSED' });
  process.nextTick(() => this.destroy(refused));
  return this;
} as typeof connect;

/** An input that waits for ever names itself, long before the test's own limit. */
const STUCK_MS = 40_000;

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
  const stuck = setTimeout(() => {
    const argv = JSON.stringify(fuzz.input(seed, n).argv).slice(0, 400);
    // past the stream, which is the input's own while it runs
    writeSync(1, `\ninput ${n} did not come back within ${STUCK_MS / 1000} s: ${argv}\n`);
    writeSync(1, `replay: npm run sweep:input -- --seed ${seed} --only ${n}\n`);
    process.exit(1);
  }, STUCK_MS);
  const result = await fuzz.try(seed, n);
  clearTimeout(stuck);
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
