// What the guard costs a service: off the window beside the same app without it, as a decision alone, and how fast it
// refuses.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { createGuard, type FlagSink, type Guard, type IncomingRequest } from '../packages/guard/src/index.ts';
import { SURFACES } from './guard-surfaces.ts';
import { openLoad } from './load.ts';
import { ratios, type Spread, spread } from './measure.ts';

/** A round is many short turns: what else the machine does meets both sides. */
const TURNS = 5;
const TURN_MS = 50;
const WARM_UP_MS = 800;
/** A kilobyte, as a note or an order has it; the app parses it, a refusal does not. */
const BODY = JSON.stringify({ name: 'a note', tags: ['one', 'two', 'three'], text: 'some words '.repeat(88) });

export const GOAL_OFF = 0.97;
export const GOAL_REFUSING = 1.5;
export const GOAL_DECISION_NS = 1000;

export interface Pairs {
  what: string;
  /** requests per second */
  bare: Spread;
  guarded: Spread;
  /** guarded to bare, pair by pair */
  ratio: Spread;
  /** The median is above it with 95 % confidence, whatever the distribution. */
  lower: number;
  /** The same of the server's own processor time per request, which other work on the machine disturbs less. */
  cpuRatio: Spread;
  cpuLower: number;
  /** null: only to compare with */
  goal: number | null;
}

export interface DecisionCost {
  what: string;
  ns: Spread;
}

export interface GuardCosts {
  pairs: Pairs[];
  decisions: DecisionCost[];
}

export async function guardCosts(rounds: number): Promise<GuardCosts> {
  const pairs: Pairs[] = [];
  for (const [framework, name] of [
    ['fastify', 'Fastify'],
    ['express', 'Express'],
  ] as const) {
    const sides: Served[] = [];
    try {
      for (const side of ['bare', 'guarded', 'ceiling'] as const) sides.push(await serve(framework, side));
      const [bare, guarded, ceiling] = sides as [Served, Served, Served];
      const get = ['GET', '/items/7', ''] as const;
      const post = ['POST', '/items', BODY] as const;
      const both = { bare, guarded };
      pairs.push(await compared(`${name}, read, off`, both, get, 'off', rounds, GOAL_OFF));
      pairs.push(await compared(`${name}, write, off`, both, post, 'off', rounds, GOAL_OFF));
      pairs.push(await compared(`${name}, refusals`, both, post, 'on', rounds, GOAL_REFUSING));
      const most = { bare, guarded: ceiling };
      pairs.push(await compared(`${name}, node:http refusing by rote`, most, post, 'on', rounds, null));
    } finally {
      for (const { child } of sides) child.disconnect();
    }
  }
  return { pairs, decisions: decisions() };
}

interface Served {
  child: ChildProcess;
  port: number;
}

async function serve(framework: string, side: string): Promise<Served> {
  const child = fork(fileURLToPath(new URL('./guard-child.ts', import.meta.url)), [framework, side], {
    env: { ...process.env, NODE_ENV: 'production', NODE_OPTIONS: '' },
  });
  return { child, ...(await answer<{ port: number }>(child)) };
}

async function compared(
  what: string,
  served: { bare: Served; guarded: Served },
  [method, path, body]: readonly [string, string, string],
  flag: 'on' | 'off',
  rounds: number,
  goal: number | null,
): Promise<Pairs> {
  for (const { child } of [served.bare, served.guarded]) {
    child.send(flag);
    await answer(child);
  }
  const loads = {
    bare: await openLoad(served.bare.port, method, path, body),
    guarded: await openLoad(served.guarded.port, method, path, body),
  };
  const values = { bare: [] as number[], guarded: [] as number[] };
  const cpu = { bare: [] as number[], guarded: [] as number[] };

  async function turn(side: 'bare' | 'guarded', ms: number): Promise<{ ms: number; requests: number; cpu: number }> {
    const { child } = served[side];
    const before = await cpuOf(child);
    const ran = await loads[side].run(ms, side === 'guarded' && flag === 'on' ? 503 : 200);
    return { ...ran, cpu: (await cpuOf(child)) - before };
  }

  await turn('bare', WARM_UP_MS);
  await turn('guarded', WARM_UP_MS);
  for (let round = 0; round < rounds; round++) {
    const sums = { bare: { ms: 0, requests: 0, cpu: 0 }, guarded: { ms: 0, requests: 0, cpu: 0 } };
    for (let n = 0; n < TURNS; n++) {
      // Each goes first every other time: what grows or cools down meanwhile meets both.
      const order = (round + n) % 2 === 0 ? (['bare', 'guarded'] as const) : (['guarded', 'bare'] as const);
      for (const side of order) {
        const ran = await turn(side, TURN_MS);
        for (const what of ['ms', 'requests', 'cpu'] as const) sums[side][what] += ran[what];
      }
    }
    for (const side of ['bare', 'guarded'] as const) {
      values[side].push((sums[side].requests / sums[side].ms) * 1000);
      cpu[side].push(sums[side].requests / sums[side].cpu);
    }
  }
  loads.bare.close();
  loads.guarded.close();
  const ratio = ratios(values.guarded, values.bare);
  const cpuRatio = ratios(cpu.guarded, cpu.bare);
  return {
    what,
    bare: spread(values.bare),
    guarded: spread(values.guarded),
    ratio: spread(ratio),
    lower: lowerBound(ratio),
    cpuRatio: spread(cpuRatio),
    cpuLower: lowerBound(cpuRatio),
    goal,
  };
}

/**
 * The one-sided 95 % lower confidence bound of the median by order statistics: the k-th smallest, where so few or fewer
 * of n values lie below the median with at most 5 % probability.
 */
export function lowerBound(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  let probability = 0.5 ** sorted.length;
  let below = 0;
  let k = 0;
  while (below + probability <= 0.05) {
    below += probability;
    k += 1;
    probability *= (sorted.length - k + 1) / k;
  }
  return k === 0 ? Number.NEGATIVE_INFINITY : sorted[k - 1]!;
}

async function cpuOf(child: ChildProcess): Promise<number> {
  child.send('cpu');
  return (await answer<{ cpu: number }>(child)).cpu;
}

async function answer<T>(child: ChildProcess): Promise<T> {
  const gone = new AbortController();
  try {
    const message = once(child, 'message', { signal: gone.signal });
    const exit = once(child, 'exit', { signal: gone.signal }).then(([code]) => {
      throw new Error(`the server ended with ${code}`);
    });
    return ((await Promise.race([message, exit])) as [T])[0];
  } finally {
    gone.abort();
  }
}

/** What an adapter asks for each request, without a server: nanoseconds of one, in batches. */
function decisions(): DecisionCost[] {
  const off = open(null, []);
  const named = open(null, SURFACES);
  const until = new Date(Date.now() + 3_600_000).toISOString();
  const on = open(JSON.stringify({ version: 1, holders: { 'w-bench': { until, reason: 'bench' } } }), SURFACES);
  const get = { method: 'GET', url: '/items/7?x=1', headers: {} };
  const post = { method: 'POST', url: '/items', headers: { 'content-type': 'application/json' } };
  const search = { method: 'POST', url: '/search', headers: {} };
  return [
    cost('off the window, no surfaces: read', off, get),
    cost('off the window, no surfaces: write', off, post),
    cost('off the window, 8 surfaces: read', named, get),
    cost('off the window, 8 surfaces: write', named, post),
    cost('off the window, 8 surfaces: POST that passes', named, search),
    cost('in a window: read', on, get),
    cost('in a window: refusal, its body made', on, post),
  ];
}

function open(document: string | null, surfaces: typeof SURFACES): Guard {
  let sink: FlagSink | undefined;
  const guard = createGuard({ source: { start: (own) => void (sink = own), close() {} }, surfaces, log: () => {} });
  sink?.document(document);
  return guard;
}

function cost(what: string, guard: Guard, request: IncomingRequest): DecisionCost {
  const batch = 20_000;
  const values: number[] = [];
  for (let round = -5; round < 25; round++) {
    const began = performance.now();
    for (let n = 0; n < batch; n++) guard.admit(request).leave?.();
    if (round >= 0) values.push(((performance.now() - began) / batch) * 1e6);
  }
  return { what, ns: spread(values) };
}

if (import.meta.filename === process.argv[1]) {
  console.log(JSON.stringify(await guardCosts(Number(process.argv[2] ?? 12)), null, 1));
}
