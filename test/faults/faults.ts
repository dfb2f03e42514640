// The fault sweep: each outer call of the whole checklist in turn goes wrong in each way, once or for ever, under start,
// extend, end and abort. The command line runs in this process over real clients and real servers, by a quick clock.
// Import this only after the clock was quickened.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Journal } from '../../src/engine/journal.ts';
import { fold } from '../../src/engine/window.ts';
import { openJournal } from '../../src/store/index.ts';
import { leaksOf } from './leaks.ts';
import { maint, type Ran } from './maint.ts';
import { type CallName, FAULTS, type Fault, forget } from './proxies.ts';
import { type FaultWorld, makeWorld, SECRETS, type Servers, STATE_PASSWORD, STEPS } from './world.ts';

export const VERBS = ['start', 'extend', 'end', 'abort'] as const;
export type Verb = (typeof VERBS)[number];
export const WAYS = ['same', 'end', 'abort'] as const;
/** How the world is brought back once the fault is gone. */
export type Way = (typeof WAYS)[number];

export interface Case {
  verb: Verb;
  call: CallName;
  fault: Fault;
  forever: boolean;
  way: Way;
}
export interface Verdict {
  /** undefined: all as it should be */
  wrong?: string;
  /** the call did not come by this time: timing decides how often something is looked at */
  missed?: boolean;
  code?: number;
  /** what the real servers took beyond what is ordinary, by the quick clock */
  slow?: number;
}

export function argvOf(verb: Verb, world: FaultWorld): string[] {
  return {
    start: ['start', '--runbook', world.runbook, '--window', '30m', '--yes'],
    extend: ['extend', '--by', '15m'],
    end: ['end', '--soak', '1s'],
    abort: ['abort'],
  }[verb];
}

export function inWorld(world: FaultWorld, argv: readonly string[]): Promise<Ran> {
  forget(world.faulty);
  return maint(argv, { cwd: world.folder, env: world.env });
}

/** Every call that each verb makes, by running it once undisturbed. */
export async function findCalls(servers: Servers): Promise<{ verb: Verb; call: CallName }[]> {
  const calls: { verb: Verb; call: CallName }[] = [];
  for (const verb of VERBS) {
    const world = await makeWorld(servers);
    try {
      if (verb !== 'start') await undisturbed(world, 'start');
      await undisturbed(world, verb);
      for (const call of world.faulty.passed) calls.push({ verb, call });
    } finally {
      await world.stop();
    }
  }
  return calls;
}

async function undisturbed(world: FaultWorld, verb: Verb): Promise<void> {
  const ran = await inWorld(world, argvOf(verb, world));
  if (ran.code !== 0) throw new Error(`${verb} ended ${ran.code} without any fault:\n${ran.output}`);
}

export function allCases(calls: readonly { verb: Verb; call: CallName }[]): Case[] {
  const cases: Case[] = [];
  for (const { verb, call } of calls) {
    for (const fault of FAULTS) {
      const way = WAYS[numberOf(`${verb} ${call} ${fault}`) % WAYS.length]!;
      for (const forever of [false, true]) cases.push({ verb, call, fault, forever, way });
    }
  }
  return cases;
}

/** A few of each call and of each fault: which ones, `turn` says. */
export function byTurns(cases: readonly Case[], wanted: number, turn: number): Case[] {
  const every = Math.max(1, Math.floor(cases.length / wanted));
  // no divisor of what the list is made of, so that every turn has all faults in it
  const step = [every, every + 1, every + 2, every + 3].find((one) => one % 2 === 1 && one % 3 !== 0) ?? every;
  return cases.filter((_, n) => n % step === turn % step);
}

/**
 * By the name, not by the place in the list: timing decides how often something is looked at, so the lists of two
 * processes may differ, and what a case is must not.
 */
export function numberOf(name: string): number {
  return createHash('sha256').update(name).digest().readUInt32BE();
}

export function nameOf({ verb, call, fault, forever, way }: Case): string {
  return `${verb}: ${call} ${fault} ${forever ? 'for ever' : 'once'}, then ${way}`;
}

/** What the terminal must say of a fault: what happened, in words that lead on. */
const CAUSES: Readonly<Record<Fault, RegExp>> = {
  'answers 500': /answers? 500|answered 500|answered ERR|made to fail/,
  'answers 503': /answers? 503|answered 503|LOADING/,
  'answers 420': /answers? 420|answered 420|BUSY/,
  'answers 429': /answers? 429|answered 429|limits the rate|TRYAGAIN/,
  hangs: /did not answer within|without an outcome|not seen within/,
  'hangs, done': /did not answer within|without an outcome|not seen within/,
  resets: /broke|gave no answer|closed the connection/,
  'resets, done': /broke|gave no answer|closed the connection/,
  'closes half-way': /broke|gave no answer|closed the connection/,
  'truncates, done': /broke|not Slack's|no list|no JSON|gave no answer/,
  'no JSON': /not Slack's|no list|no JSON|broke|answered 200/,
  'no JSON, done': /not Slack's|no list|no JSON|broke|answered 200/,
};

/** By what a person knows them, where that is not the address. */
const RESOURCES: Readonly<Record<string, string>> = { api: '(documents|vectors): POST' };

/** Steps without which a window cannot be opened. */
const NEEDED = new Set(['flag', 'api']);

export async function tryCase(servers: Servers, one: Case): Promise<Verdict> {
  const world = await makeWorld(servers);
  const log: string[] = [];
  const service = one.call.split(' ')[0]!;
  async function run(verb: Verb, argv = argvOf(verb, world)): Promise<Ran> {
    const ran = await inWorld(world, argv);
    log.push(`$ maint ${argv.join(' ')}   (${ran.code})`, ran.output);
    return ran;
  }
  try {
    const before = await world.essence();
    if (one.verb !== 'start') await undisturbed(world, 'start');
    forget(world.faulty);
    world.faulty.fault = { call: one.call, fault: one.fault, forever: one.forever };
    const argv = argvOf(one.verb, world);
    const ran = await maint(argv, { cwd: world.folder, env: world.env });
    const { hits } = world.faulty;
    log.push(`$ maint ${argv.join(' ')}   (${ran.code}, ${hits} faults)`, ran.output);
    world.faulty.fault = undefined;
    const wrong = [...(await world.doubles())];
    if (hits > 0) wrong.push(...judge(one, service, ran, world));
    wrong.push(...(await untrue(world)));
    if (ran.code === 67 || ran.code === 66) {
      if (one.verb === 'start' && (await world.essence()) !== before)
        wrong.push('the exit code says that nothing was changed, and the world is another');
    }
    const live = (await inWorld(world, ['status'])).code !== 0;
    if (live) {
      const ways: Verb[] =
        one.way === 'same'
          ? one.verb === 'end' || one.verb === 'abort'
            ? [one.verb]
            : /^Next: maint abort/m.test(ran.output)
              ? ['abort']
              : [one.verb, 'end']
          : [one.way];
      for (const way of ways) {
        const back = await run(way);
        if (back.code !== 0) wrong.push(`with the fault gone, ${way} ended ${back.code}`);
      }
    }
    const status = await run('start', ['status']);
    if (status.code !== 0) wrong.push(`status says ${status.code} at the end`);
    const after = await world.essence();
    if (after !== before) wrong.push(`the world is not as it was:\n${before}\n=== now ===\n${after}`);
    wrong.push(...(await world.doubles()), ...(await world.leftovers()));
    wrong.push(
      ...leaksOf(
        { ...SECRETS, STATE_PASSWORD, CRON_LINE: 'canary-in-a-line-7' },
        { 'the output': log.join('\n'), 'the state': await recordedIn(world) },
      ),
    );
    // nobody else is here: what is taken for others' doing is our own, and the journal does not know it
    const others = /.*(somebody else|is gone already).*/.exec(log.join('\n'));
    if (others) wrong.push(`the journal does not know what was done: ${others[0].trim()}`);
    if (/\n\s+at .*:\d+:\d+/.test(log.join('\n'))) wrong.push('a stack trace');
    if (wrong.length === 0) return { missed: hits === 0, code: ran.code, slow: world.faulty.slow };
    return { code: ran.code, slow: world.faulty.slow, wrong: tell([...new Set(wrong)].join('\n')) };
  } catch (error) {
    return { slow: world.faulty.slow, wrong: tell(String((error as Error).stack ?? error)) };
  } finally {
    await world.stop();
  }
  function tell(what: string): string {
    return `${nameOf(one)}: ${what}\n${log.join('\n')}\n${replay(one)}`;
  }
}

export function replay({ verb, call, fault, forever, way }: Case): string {
  return `replay: npm run sweep:faults -- --verb ${verb} --call '${call}' --fault '${fault}'${forever ? ' --forever' : ''} --way ${way}`;
}

/** What is wrong with how the verb ended under the fault. */
function judge({ verb, fault, forever }: Case, service: string, { code, output }: Ran, world: FaultWorld): string[] {
  const wrong: string[] = [];
  const step = STEPS[service] ?? service;
  // Redis' ERR is for good, as a 400 is
  const forGood = service === 'flag' && fault === 'answers 500';
  // a canary that is answered 2xx may have written: nothing to try again
  const taken = service === 'api' && fault.startsWith('no JSON');
  const allowed =
    forever || forGood || taken
      ? verb === 'start'
        ? NEEDED.has(service)
          ? [0, 66, 67, 68]
          : [0]
        : verb === 'extend' && !NEEDED.has(service)
          ? [0]
          : [0, 68]
      : [0];
  if (!allowed.includes(code)) wrong.push(`ended ${code}, allowed ${allowed.join(', ')}`);
  const failed = code !== 0 || / {2}✘ /.test(output);
  if (!failed) return wrong;
  const lines = output.split('\n').filter((line) => line.includes(step));
  if (lines.length === 0) wrong.push(`the step ${step} is not named`);
  if (!CAUSES[fault].test(lines.join('\n'))) wrong.push(`the cause is not said beside ${step}: ${CAUSES[fault]}`);
  const resource = new RegExp(`127\\.0\\.0\\.1:${world.proxies.get(service)!.port}|${RESOURCES[service] ?? '$.'}`);
  if (!resource.test(lines.join('\n'))) wrong.push(`what went wrong is not named beside ${step}: ${resource}`);
  if (code !== 0 && !/^E_[A-Z_]+ {2}/m.test(output)) wrong.push('no error of the catalogue');
  if (code !== 0 && !/^Next: \S/m.test(output)) wrong.push('no next command');
  if (/E_BUG|TypeError|SyntaxError|undefined|\[object/.test(output)) wrong.push('words that are no words');
  return wrong;
}

/** All that is kept in the state: what a file holds beside its rows, too. */
export async function recordedIn({ folder, state }: FaultWorld): Promise<string | Buffer> {
  if (state) return (await state.dump()).join('\n');
  const path = join(folder, 'state', 'state.db');
  return existsSync(path) ? readFileSync(path) : '';
}

/** To look into; undefined: there is none yet. `folder`: of the laptop, where it is another than the world's. */
export async function journalOf(world: FaultWorld, folder = world.folder): Promise<Journal | undefined> {
  const path = join(folder, 'state', 'state.db');
  if (!world.state && !existsSync(path)) return undefined;
  const env = world.state ? world.env : { MAINT_STATE: path };
  return await openJournal({ env, write: false, version: '0.0.0' });
}

/** Nothing whose outcome is unknown may be left without being said. */
async function untrue(world: FaultWorld): Promise<string[]> {
  const journal = await journalOf(world);
  if (!journal) return [];
  try {
    const wrong: string[] = [];
    for (const row of await journal.windows()) {
      const state = fold(row.id, await journal.read(row.id));
      if (!state) {
        wrong.push(`${row.id} cannot be folded`);
        continue;
      }
      for (const [step, mine] of state.owned) {
        for (const [id, own] of mine)
          if (own.unknown && !state.failures.has(step))
            wrong.push(`the outcome of ${step}/${id} is unknown, and no failure is recorded`);
        const leaves = step === 'statuspage' || step === 'slack';
        if (!row.live && mine.size > 0 && !leaves)
          wrong.push(`${row.id} is over, and ${step} still owns ${[...mine.keys()].join(', ')}`);
      }
    }
    return wrong;
  } finally {
    await journal.end();
  }
}
