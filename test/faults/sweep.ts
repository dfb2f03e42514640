// npm run sweep:faults: each outer call of the checklist, each fault, once and for ever, under each verb.
//   -- --dead all             the end with one thing dead, for each of them
//   -- --secrets              whether one of them is anywhere
//   -- --store postgres        the state on a real server instead of in a file, with each of these
//   -- --turn 3 --cases 60     a part of them          -- --verb end --call 'page GET /components 1' --fault hangs --forever
//   -- --log FILE              a line of JSON for each case; a second run with the same file goes on where it stopped
import { fork } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { quicken } from './clock.ts';
import '../support/outside-jest.ts';
import type { StoreName } from '../crash/stores.ts';
import type { Servers } from './world.ts';

const { values } = parseArgs({
  options: {
    verb: { type: 'string' },
    call: { type: 'string' },
    fault: { type: 'string' },
    forever: { type: 'boolean', default: false },
    way: { type: 'string', default: 'same' },
    /** end with one thing dead: 'page hangs', 'all', or 'some' by turns */
    dead: { type: 'string' },
    /** a window with faults, and then whether a secret is anywhere */
    secrets: { type: 'boolean', default: false },
    /** only calls whose name has this in it */
    only: { type: 'string', default: '' },
    cases: { type: 'string' },
    turn: { type: 'string', default: '0' },
    width: { type: 'string', default: '2' },
    quick: { type: 'string', default: '10' },
    /** of a worker: "1 of 2" */
    part: { type: 'string' },
    log: { type: 'string' },
    /** or postgres */
    store: { type: 'string', default: 'sqlite' },
  },
});

if (values.store !== 'sqlite' && values.store !== 'postgres')
  throw new Error(`--store ${values.store}: sqlite or postgres`);
const kept: StoreName = values.store;
/** A deadline of ten seconds is one of the real world's seconds here: what the machine may take off it, at most. */
const BUSY_MS = 1_000;
// what is said of secrets is said of processes with the world's clock
const clock = quicken(values.secrets ? 1 : Number(values.quick));
if (values.secrets) await secrets();
else if (values.dead !== undefined) await dead(values.dead);
else if (values.part !== undefined || values.call !== undefined) await work();
else await lead();

async function work(): Promise<void> {
  const { allCases, byTurns, findCalls, nameOf, numberOf, tryCase } = await import('./faults.ts');
  let all = await prepared();
  // whoever leads is gone: nothing of ours stays
  const gone = () => void all.stop().finally(() => process.exit(1));
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, gone);
  process.once('disconnect', gone);
  try {
    if (values.call !== undefined) {
      const { verb, call, fault, forever, way } = values as any;
      const verdict = await tryCase(all, { verb, call, fault, forever, way });
      console.log(
        verdict.wrong ??
          `ended ${verdict.code}${verdict.missed ? '; the call did not come by' : ''}, all as it should be`,
      );
      process.exitCode = verdict.wrong ? 1 : 0;
      return;
    }
    for (const what of all.missing) process.send!({ missing: what });
    // nothing may go wrong here
    clock.back(2);
    const calls = (await findCalls(all)).filter(({ call }) => call.includes(values.only));
    const every = allCases(calls).filter((one) => values.verb === undefined || one.verb === values.verb);
    const chosen = values.cases === undefined ? every : byTurns(every, Number(values.cases), Number(values.turn));
    const [part = 0, of = 1] = values.part!.split(' of ').map(Number);
    const past = new Set(logged().map(({ name }) => name));
    const mine = chosen.filter((one) => numberOf(nameOf(one)) % of === part && !past.has(nameOf(one)));
    process.send!({ calls: calls.length, cases: mine.length });
    for (const [n, one] of mine.entries()) {
      // what has expired stays in the list that is read with each look
      if (n % 100 === 99) {
        await all.stop();
        all = await prepared();
      }
      const verdict = await fairly(() => tryCase(all, one));
      process.send!({ name: nameOf(one), ...verdict });
    }
  } finally {
    await all.stop();
    process.removeAllListeners('disconnect');
    // once a worker, all of whose cases were told, went on turning for ever; why is not known
    process.once('disconnect', () => process.exit());
    if (process.connected) process.disconnect();
  }
}

/** What takes its time to start does so by the world's clock. */
async function prepared(): Promise<Servers> {
  const { servers } = await import('./world.ts');
  clock.back(1);
  return await servers(kept);
}

/**
 * What is wrong while the machine was too busy for a quick clock (this process did not come to its turn, or the real
 * servers were slow) is tried again by slower ones, down to the world's own, and counted. What is wrong on a machine
 * that kept up, is.
 */
async function fairly<T extends { wrong?: string; slow?: number }>(attempt: () => Promise<T>): Promise<Fair<T>> {
  let again = 0;
  for (const quick of [Number(values.quick), 3, 1]) {
    clock.back(quick);
    clock.stood();
    const verdict = await attempt();
    const busy = clock.stood() + (verdict.slow ?? 0);
    if (verdict.wrong === undefined || busy < BUSY_MS || quick === 1) return { ...verdict, again, busy };
    again++;
  }
  throw new Error('unreachable');
}
type Fair<T> = T & { again: number; busy: number };

interface Told {
  name: string;
  again?: number;
  wrong?: string;
  missed?: boolean;
  code?: number;
}

/** What runs before this one found, of the same command line. */
function logged(): Told[] {
  if (values.log === undefined || !existsSync(values.log)) return [];
  // the last line of a run that was killed may be cut off
  const whole = readFileSync(values.log, 'utf8').split('\n').slice(0, -1);
  return whole.map((line) => JSON.parse(line) as Told);
}

async function lead(): Promise<void> {
  const began = clock.realNow();
  const width = Number(values.width);
  const sum = { calls: 0, cases: 0, done: 0, missed: 0, wrong: 0, again: 0 };
  const codes = new Map<number, number>();
  const said = new Set<string>();
  function count(told: Told): void {
    sum.done++;
    if (told.missed) sum.missed++;
    if (told.again) sum.again++;
    if (told.code !== undefined) codes.set(told.code, (codes.get(told.code) ?? 0) + 1);
    if (told.wrong) sum.wrong++;
  }
  for (const told of logged()) count(told);
  const past = sum.done;
  sum.cases = past;
  if (past > 0) console.log(`${past} cases of the log, ${sum.wrong} wrong`);
  const ends = Array.from({ length: width }, (_, part) => {
    const child = fork(fileURLToPath(import.meta.url), [...process.argv.slice(2), '--part', `${part} of ${width}`], {
      execArgv: process.execArgv,
    });
    child.on('message', (message: any) => {
      if (message.missing !== undefined) {
        if (!said.has(message.missing)) console.log(`left out: ${message.missing}`);
        said.add(message.missing);
      } else if (message.cases !== undefined) {
        sum.calls = message.calls;
        sum.cases += message.cases;
      } else {
        count(message);
        if (values.log !== undefined) appendFileSync(values.log, `${JSON.stringify(message)}\n`);
        if (message.wrong) console.log(`\n${message.wrong}`);
        else if (sum.done % 50 === 0) console.log(`${sum.done} of ${sum.cases}`);
      }
    });
    return new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
  });
  const ended = await Promise.all(ends);
  const seconds = ((clock.realNow() - began) / 1000).toFixed(0);
  const exits = [...codes].sort(([a], [b]) => a - b).map(([code, n]) => `${n} ended ${code}`);
  console.log(
    `${sum.calls} calls, ${sum.done} faults (${sum.missed} did not come by, ${sum.again} tried again because the machine was busy), ${sum.wrong} wrong, ${exits.join(', ')}, ${seconds} s`,
  );
  process.exitCode = sum.wrong > 0 || sum.done === 0 || ended.some((code) => code !== 0) ? 1 : 0;
}

async function dead(which: string): Promise<void> {
  const { deaths, endWithout } = await import('./dead.ts');
  const all = await prepared();
  try {
    for (const what of all.missing) console.log(`left out: ${what}`);
    const chosen = deaths(all).filter(
      ({ thing, how }, n) =>
        which === 'all' || which === `${thing} ${how}` || (which === 'some' && n % 4 === Number(values.turn) % 4),
    );
    let wrong = 0;
    for (const death of chosen) {
      const result = await fairly(() => endWithout(all, death));
      console.log(result.wrong ?? result.said);
      if (result.wrong) wrong++;
    }
    console.log(`${chosen.length} deaths, ${wrong} wrong`);
    process.exitCode = wrong > 0 || chosen.length === 0 ? 1 : 0;
  } finally {
    await all.stop();
  }
}

async function secrets(): Promise<void> {
  const { lookForSecrets } = await import('./secrets.ts');
  const all = await prepared();
  try {
    for (const what of all.missing) console.log(`left out: ${what}`);
    for (const quick of [20, 4, 1]) {
      clock.stood();
      const { leaks, wrong, looked } = await lookForSecrets(all, quick);
      const busy = clock.stood();
      for (const what of [...leaks, ...wrong, looked]) console.log(what);
      // what was found is so however busy the machine was
      if (leaks.length > 0 || (wrong.length > 0 && (busy * quick < BUSY_MS || quick === 1))) process.exitCode = 1;
      if (leaks.length > 0 || wrong.length === 0 || process.exitCode === 1) break;
      console.log(`again, more slowly: this process stood still for ${busy.toFixed(0)} ms`);
    }
  } finally {
    await all.stop();
  }
}
