// Reads the flag back from those who act on it: what was written counts only once the guards know it. One answer is
// not enough, for behind one address there may be many of them.
import { z } from 'zod';
import { askGuard, type GuardSeen, guardPlace, unusableGuards } from '../../clients/guards.ts';
import { type CheckContext, type CheckResult, defineCheck } from '../../engine/contract.ts';
import type { Reader } from '../../engine/io.ts';
import { url } from '../../engine/secret.ts';
import { seconds, shouldHold } from './verify.ts';

const POLL_MS = 150;
const SAMPLE_MS = 3_000;
/** A guard that has not heard from its flag for so long may be behind. */
const STALE_MS = 10_000;

export const VerifyFlagParams = z.strictObject({
  guards: z.array(url('the base address of a guarded service')).min(1),
  samples: z.int().min(1).max(100).default(5).meta({ description: 'how often each of them is asked in a row' }),
});
export type VerifyFlagParams = z.infer<typeof VerifyFlagParams>;

export interface VerifyFlagEvidence {
  /** by guard, without userinfo */
  guards: Record<
    string,
    {
      refused: number;
      inFlight: number;
      flagAgeMs: number | null;
      firstRefusedAt: string | null;
      lastRefusedAt: string | null;
    }
  >;
  /** the earliest refusal of this window that any guard has seen (RFC 3339); null: none yet */
  firstRefusedAt: string | null;
  lastRefusedAt: string | null;
  /** from the beginning of the check until all samples showed it */
  latencyMs: number;
}

interface Asked {
  guard: string;
  samples: GuardSeen[];
  /** why a sample was no answer */
  problem?: string;
  /** nobody answered there at all */
  silent: boolean;
}

export const verifyFlag = defineCheck<VerifyFlagParams, VerifyFlagEvidence>({
  name: 'verify/flag',
  proves: 'refused',
  summary: 'every guard knows the window (and no longer does once the walls are open)',
  Params: VerifyFlagParams,
  example: { guards: ['https://api.example.com'], samples: 5 },
  address: ({ guards }) => `guards ${guards.map(guardPlace).join(', ')}`,
  on: ['open', 'now', 'soaking'],
  asks: 'each guard once',
  usable: (io, { guards }) => unusableGuards(io.http, guards, SAMPLE_MS),

  async check(io, context) {
    const { params, moment, window, deadline, now } = context;
    const wanted = shouldHold(window, moment);
    const began = now();
    let asked: Asked[] = [];
    const attempt = async () => {
      const answers = await Promise.all(params.guards.map((guard) => ask(io, guard, params.samples)));
      // cut off by the end of the time: the answers before say more
      const cutOff = answers.some((one) => one.samples.length < params.samples);
      if (asked.length > 0 && cutOff && now() >= deadline - 50) return undefined;
      asked = answers;
      const held = asked.every(
        (one) => one.problem === undefined && one.samples.every((s) => knows(s, window.id) === wanted),
      );
      if (!held) context.progress(`${told(asked, window.id, wanted)} of ${total(params)} samples ${words(wanted)}`);
      return held ? true : undefined;
    };
    // On demand it is looked at once: what does not hold now is the answer.
    const held = moment === 'now' ? await attempt() : await context.poll(POLL_MS, attempt, deadline);
    return judge(context, asked, held === true, wanted, now() - began);
  },
});

function judge(
  { params, window, moment }: CheckContext<VerifyFlagParams, VerifyFlagEvidence>,
  asked: readonly Asked[],
  held: boolean,
  wanted: boolean,
  latencyMs: number,
): CheckResult<VerifyFlagEvidence> {
  const evidence = evidenceOf(asked, latencyMs);
  const findings: string[] = [];
  for (const { guard, samples, problem } of asked) {
    const last = samples.at(-1);
    if (problem !== undefined) findings.push(`${guard}: ${problem}`);
    else if (!held) {
      const n = samples.filter((s) => knows(s, window.id) === wanted).length;
      // The flag step may have written another key than this one.
      const reads = wanted && last?.source !== undefined ? `; it reads ${last.source}` : '';
      if (n < samples.length) findings.push(`${guard}: ${n} of ${samples.length} samples ${words(wanted)}${reads}`);
    }
    if (last?.flagAgeMs != null && last.flagAgeMs > STALE_MS) {
      findings.push(`${guard}: has not heard from its flag for ${seconds(last.flagAgeMs)}`);
    }
    const left = last?.inFlight ?? 0;
    if (wanted && left > 0) {
      findings.push(
        `${guard}: ${left} ${left === 1 ? 'write' : 'writes'} admitted before ${left === 1 ? 'is' : 'are'} still under way`,
      );
    }
    const others = [...new Set(samples.flatMap((s) => s.windows))].filter((id) => id !== window.id);
    if (!wanted && others.length > 0) findings.push(`${guard}: still read-only, held by ${others.join(', ')}`);
  }
  const count = `${total(params)} of ${total(params)} samples ${words(wanted)}`;
  if (held) {
    const after = moment === 'now' ? '' : `, after ${seconds(latencyMs)}`;
    return { outcome: 'pass', summary: `${count}${after}`, findings, evidence };
  }
  // Nobody who answered contradicts: it cannot be told. One who does is enough.
  const contradicted = asked.some(
    (one) => one.samples.some((s) => knows(s, window.id) !== wanted) || (one.problem !== undefined && !one.silent),
  );
  const summary = `${told(asked, window.id, wanted)} of ${total(params)} samples ${words(wanted)}${moment === 'now' ? '' : ` after ${seconds(latencyMs)}`}`;
  if (contradicted) return { outcome: 'fail', summary, findings, evidence };
  // a summary stands alone where nothing could be told
  return { outcome: 'unknown', summary: [summary, ...findings].join(' · '), findings, evidence };
}

async function ask(io: Reader, base: string, samples: number): Promise<Asked> {
  const asked: Asked = { guard: guardPlace(base), samples: [], silent: false };
  for (let n = 0; n < samples; n++) {
    const { seen, problem, silent } = await askGuard(io.http, base, SAMPLE_MS);
    if (!seen)
      return { ...asked, ...(problem === undefined ? {} : { problem }), silent: silent && asked.samples.length === 0 };
    asked.samples.push(seen);
  }
  return asked;
}

function evidenceOf(asked: readonly Asked[], latencyMs: number): VerifyFlagEvidence {
  const guards: VerifyFlagEvidence['guards'] = {};
  for (const { guard, samples } of asked) {
    if (samples.length === 0) continue;
    const last = samples.at(-1)!;
    guards[guard] = {
      refused: Math.max(...samples.map((s) => s.refused)),
      inFlight: last.inFlight ?? 0,
      flagAgeMs: last.flagAgeMs,
      firstRefusedAt: earliest(samples.map((s) => s.firstRefusedAt)),
      lastRefusedAt: latest(samples.map((s) => s.lastRefusedAt)),
    };
  }
  const all = Object.values(guards);
  return {
    guards,
    firstRefusedAt: earliest(all.map((one) => one.firstRefusedAt)),
    lastRefusedAt: latest(all.map((one) => one.lastRefusedAt)),
    latencyMs: Math.round(latencyMs),
  };
}

function sorted(times: readonly (string | null)[]): string[] {
  return times.filter((time) => time !== null).sort((a, b) => Date.parse(a) - Date.parse(b));
}
function earliest(times: readonly (string | null)[]): string | null {
  return sorted(times)[0] ?? null;
}
function latest(times: readonly (string | null)[]): string | null {
  return sorted(times).at(-1) ?? null;
}

function knows(sample: GuardSeen, window: string): boolean {
  return sample.windows.includes(window);
}
function total({ guards, samples }: VerifyFlagParams): number {
  return guards.length * samples;
}
function told(asked: readonly Asked[], window: string, wanted: boolean): number {
  return asked.flatMap((one) => one.samples).filter((sample) => knows(sample, window) === wanted).length;
}
function words(wanted: boolean): string {
  return wanted ? 'show our window' : 'do not show our window any more';
}
