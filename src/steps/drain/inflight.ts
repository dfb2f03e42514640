// After the flip no new write gets in, but those that were admitted before go on. A datastore that closes under them
// cuts them off half-way, so the checklist waits here until every guard has none left.
import { z } from 'zod';
import { askGuard, type GuardAsked, guardPlace, unusableGuards } from '../../clients/guards.ts';
import { defineCheck } from '../../engine/contract.ts';
import { url } from '../../engine/secret.ts';

const POLL_MS = 100;
const ASK_MS = 3_000;

export const DrainInflightParams = z.strictObject({
  guards: z.array(url('the base address of a guarded service')).min(1),
  samples: z.int().min(1).max(100).default(5).meta({
    description: 'how often each of them is asked: behind one address there may be several processes',
  }),
});
export type DrainInflightParams = z.infer<typeof DrainInflightParams>;

export interface DrainInflightEvidence {
  /** by guard, without userinfo: what was in flight at most, and at last; of clients that left, and never seen to end */
  guards: Record<string, { most: number; left: number; unseen: number }>;
  /** milliseconds from the beginning of the step until nothing was in flight any more */
  waitedMs: number;
}

/** One guard in one round: the worst of its answers. */
interface Round {
  guard: string;
  left: number;
  /** the part of `left` whose client has gone */
  abandoned: number;
  unseen: number;
  knows: boolean;
  problem: string | undefined;
  silent: boolean;
}

export const drainInflight = defineCheck<DrainInflightParams, DrainInflightEvidence>({
  name: 'drain/inflight',
  layer: 'service',
  summary: 'waits until no write that was admitted before the flip is under way any more',
  Params: DrainInflightParams,
  example: { guards: ['https://api.example.com'] },
  address: ({ guards }) => `guards ${guards.map(guardPlace).join(', ')}`,
  on: ['open'],
  asks: 'each guard once',
  usable: (io, { guards }) => unusableGuards(io.http, guards, ASK_MS),

  async check(io, context) {
    const { params, window, deadline, now } = context;
    const began = now();
    const most = new Map<string, number>();
    let rounds: Round[] = [];
    const attempt = async () => {
      const asked = await Promise.all(
        params.guards.map(async (base) => {
          const answers = await Promise.all(
            Array.from({ length: params.samples }, () => askGuard(io.http, base, ASK_MS)),
          );
          return roundOf(guardPlace(base), answers, window.id);
        }),
      );
      // cut off by the end of the time: the answers before say more
      if (rounds.length > 0 && asked.some((one) => one.silent) && now() >= deadline - 50) return undefined;
      rounds = asked;
      for (const { guard, left } of rounds) most.set(guard, Math.max(most.get(guard) ?? 0, left));
      if (rounds.every(isDrained)) return true;
      const total = rounds.reduce((sum, { left }) => sum + left, 0);
      const abandoned = rounds.reduce((sum, round) => sum + round.abandoned, 0);
      const others = rounds.filter((round) => !round.knows || round.problem !== undefined).length;
      context.progress(
        [
          ...(total > 0 ? [`${writes(total)} still under way${ofGone(abandoned)}`] : []),
          ...(others > 0 ? [`${others} of ${rounds.length} guards do not refuse yet`] : []),
        ].join(' · '),
      );
      return undefined;
    };
    const drained = await context.poll(POLL_MS, attempt, deadline);
    const waitedMs = Math.round(now() - began);
    const evidence = {
      guards: Object.fromEntries(
        rounds.map(({ guard, left, unseen }) => [guard, { most: most.get(guard) ?? 0, left, unseen }]),
      ),
      waitedMs,
    };
    const took = `${(waitedMs / 1000).toFixed(1)}s`;
    if (drained) {
      const were = Math.max(0, ...most.values());
      const summary =
        were > 0 ? `none in flight, after ${took} (at most ${were} at one guard)` : `none in flight, after ${took}`;
      return { outcome: 'pass', summary, findings: rounds.flatMap(unseenOf), evidence };
    }
    const total = rounds.reduce((sum, { left }) => sum + left, 0);
    const findings = rounds.flatMap(problemOf);
    const summary = `${writes(total)} still in flight after ${took}`;
    // Nobody who answered says anything against it: it cannot be told.
    if (rounds.every((round) => isDrained(round) || round.silent))
      return { outcome: 'unknown', summary: [summary, ...findings].join(' · '), findings, evidence };
    return { outcome: 'fail', summary, findings, evidence };
  },
});

function roundOf(guard: string, answers: readonly GuardAsked[], window: string): Round {
  const bad = answers.find((answer) => answer.problem !== undefined);
  const seen = answers.flatMap((answer) => (answer.seen ? [answer.seen] : []));
  const mute = seen.some(({ inFlight }) => inFlight === undefined);
  return {
    guard,
    left: Math.max(0, ...seen.map(({ inFlight }) => inFlight ?? 0)),
    abandoned: Math.max(0, ...seen.map(({ abandoned }) => abandoned)),
    unseen: Math.max(0, ...seen.map(({ unseen }) => unseen)),
    // A guard that has not heard of the window still lets writes in: none in flight means nothing there.
    knows: seen.every(({ windows }) => windows.includes(window)),
    problem: bad?.problem ?? (mute ? 'does not say what is in flight: its guard is of an earlier release' : undefined),
    silent: bad?.silent === true && seen.length === 0,
  };
}

function isDrained({ left, knows, problem }: Round): boolean {
  return left === 0 && knows && problem === undefined;
}

/** What a pass does not know. */
function unseenOf({ guard, unseen }: Round): string[] {
  if (unseen === 0) return [];
  return [`${guard}: ${writes(unseen)} of clients that left ${unseen === 1 ? 'was' : 'were'} not seen to end`];
}

function ofGone(abandoned: number): string {
  return abandoned > 0
    ? ` (${abandoned} of clients that left, waited for as long as their guard may not see them end)`
    : '';
}

function problemOf({ guard, left, abandoned, knows, problem }: Round): string[] {
  if (problem !== undefined) return [`${guard}: ${problem}`];
  if (!knows) return [`${guard}: does not know the window yet, so it still lets writes in`];
  const under = `admitted before ${left === 1 ? 'is' : 'are'} still under way${ofGone(abandoned)}`;
  return left > 0 ? [`${guard}: ${writes(left)} ${under}`] : [];
}

function writes(n: number): string {
  return `${n} ${n === 1 ? 'write' : 'writes'}`;
}
