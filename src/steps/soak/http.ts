// Watches reads while writes are back: errors and latency against a baseline taken before anything was touched.
//
// The baseline must not keep anybody waiting at the prompt, so it is taken in a burst: 50 reads a second for three
// seconds, at most 10 at once. Reads begin at a rate, not when the one before has ended, so that a slow service is not
// measured kindly; and each is measured by itself, so that the burst and the soak can be compared. How late this process
// was by itself is measured, too: a busy laptop is no slow service.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { z } from 'zod';
import { type CheckContext, type CheckResult, defineCheck } from '../../engine/contract.ts';
import type { Reader } from '../../engine/io.ts';
import { url } from '../../engine/secret.ts';
import { count, lasting } from '../../engine/words.ts';
import { OuterError } from '../../errors/catalogue.ts';

const BURST_PER_SECOND = 50;
const BURST_AT_ONCE = 10;
const BASELINE_READS = 150;
const BASELINE_MIN_READS = 100;
const SOAK_AT_ONCE = 100;
const READ_MS = 5_000;
/** For whoever wants to know whether the reads work at all, before a baseline. */
const SAMPLE_READS = 20;
/** Below this a rise of p95 is noise, whatever its percentage. */
const MIN_RISE_MS = 10;
const PROGRESS_MS = 1_000;
const RESOLUTION_MS = 10;

const ANY_STATUS: readonly number[] = Array.from({ length: 500 }, (_, i) => 100 + i);

const status = z.int().min(100).max(599);
const Probe = z.union([
  url('an address to read'),
  z.strictObject({
    url: url('an address to read'),
    expect: z
      .union([status, z.array(status).min(1)])
      .meta({ description: 'the statuses that are good; default 200-399' }),
  }),
]);

export const SoakHttpParams = z.strictObject({
  probes: z.array(Probe).min(1).meta({ description: 'read by turns' }),
  max_errors: z.number().min(0).max(100).default(0.5).meta({ description: 'percent of reads that may fail' }),
  max_p95: z
    .number()
    .min(0)
    .default(15)
    .meta({ description: 'percent by which p95 may rise over the baseline (10 ms are always allowed)' }),
  min_samples: z.int().min(1).default(200).meta({ description: 'below so many reads nothing is said of p95' }),
  rate: z.number().min(0.1).max(1000).default(10).meta({ description: 'reads per second during the soak' }),
});
export type SoakHttpParams = z.infer<typeof SoakHttpParams>;

/** Of one probe, or of all. Times in milliseconds, of good reads only. */
export interface ReadStats {
  reads: number;
  errors: number;
  p50: number | null;
  p95: number | null;
}
export interface SoakHttpEvidence extends ReadStats {
  durationMs: number;
  /** by host and path */
  probes: Record<string, ReadStats & { lastError?: string }>;
}

export const soakHttp = defineCheck<SoakHttpParams, SoakHttpEvidence>({
  name: 'soak/http',
  watches: true,
  summary: 'reads go on as before: errors and p95 against a baseline taken before the window',
  Params: SoakHttpParams,
  example: {
    probes: ['https://api.example.com/search?q=health', { url: 'https://api.example.com/health', expect: 204 }],
  },
  address: ({ probes }) => `reads of ${namesOf(probes).join(', ')}`,
  on: ['before', 'now', 'soaking'],
  asks: `${SAMPLE_READS} reads`,
  usable: sample,

  async check(io, context) {
    if (context.moment === 'before') return await baseline(io, context);
    const { params, moment, deadline, now } = context;
    const before = context.evidence.before ?? undefined;
    const limit =
      before?.p95 == null ? undefined : before.p95 + Math.max(MIN_RISE_MS, (before.p95 * params.max_p95) / 100);
    const began = now();
    const reading =
      moment === 'soaking' ? soakPace(params, deadline - began) : burst(params.min_samples, deadline - began);
    // Once it can only end badly, there is no use in going on: users are in it, too.
    const hopeless = (tally: Tally) => {
      const planned = Math.max(reading.total, tally.reads);
      if (tally.errors > (planned * params.max_errors) / 100) return true;
      if (limit === undefined || tally.reads < params.min_samples) return false;
      return tally.slow > planned * 0.05;
    };
    const tally = await read(io, context, reading, hopeless, limit);
    return judge(context, tally, now() - began, before, limit);
  },
});

type Context = CheckContext<SoakHttpParams, SoakHttpEvidence>;
type Result = CheckResult<SoakHttpEvidence>;

/** A few reads of each by turns, side by side: which of them fail already. */
async function sample(io: Reader, { probes, max_errors }: SoakHttpParams): Promise<string[]> {
  const names = namesOf(probes);
  const each = Math.ceil(SAMPLE_READS / probes.length);
  const failures = await Promise.all(
    probes.map(async (probe, at) => {
      const ends = await Promise.all(Array.from({ length: each }, () => goodRead(io, probe)));
      const errors = ends.map(({ error }) => error).filter((error) => error !== undefined);
      return { name: names[at]!, errors };
    }),
  );
  const failed = failures.reduce((sum, { errors }) => sum + errors.length, 0);
  if (failed <= (each * probes.length * max_errors) / 100) return [];
  return failures
    .filter(({ errors }) => errors.length > 0)
    .map(({ name, errors }) => `${name}: ${errors.length} of ${count(each, 'read')} failed, last: ${errors.at(-1)}`);
}

async function baseline(io: Reader, context: Context): Promise<Result> {
  const { params, deadline, now } = context;
  const began = now();
  const tally = await read(
    io,
    context,
    burst(BASELINE_READS, deadline - began),
    (so) => so.reads >= BASELINE_MIN_READS && now() - began > 3_000,
  );
  const evidence = evidenceOf(tally, now() - began);
  const summary = `baseline: ${count(evidence.reads, 'read')} · ${figures(evidence)}`;
  const findings = [...tally.probes]
    .filter(([, one]) => one.errors > 0)
    .map(([name, one]) => `${name}: ${one.errors} of ${count(one.reads, 'read')} failed, last: ${one.lastError}`);
  // Reads that never worked are no baseline, and the soak could only end badly: better said before anything is touched.
  if (evidence.reads > 0 && evidence.errors === evidence.reads)
    return {
      outcome: 'fail',
      summary: `no read of the baseline was good (${evidence.reads} tried)`,
      findings,
      evidence,
    };
  if (evidence.errors > (evidence.reads * params.max_errors) / 100) {
    return {
      outcome: 'inconclusive',
      summary: `${summary}, more errors than the soak will allow (${percent(params.max_errors)})`,
      findings,
      evidence,
    };
  }
  if (evidence.reads < BASELINE_MIN_READS) {
    return {
      outcome: 'inconclusive',
      summary: `${summary}, fewer than ${BASELINE_MIN_READS} reads before the time was up`,
      findings,
      evidence,
    };
  }
  return { outcome: 'pass', summary, findings, evidence };
}

function judge(
  { params, moment }: Context,
  tally: Tally,
  durationMs: number,
  before: SoakHttpEvidence | undefined,
  limit: number | undefined,
): Result {
  const evidence = evidenceOf(tally, durationMs);
  const { reads, errors, p95 } = evidence;
  const summary = `${lasting(durationMs)} · ${count(reads, 'read')} · ${figures(evidence, before)}`;
  if (reads === 0)
    return {
      outcome: 'inconclusive',
      summary: `${lasting(durationMs)} · no read was finished before the time was up`,
      findings: [],
      evidence,
    };
  const findings: string[] = [];
  const tooMany = errors > (reads * params.max_errors) / 100;
  if (tooMany)
    findings.push(`errors ${percent((errors / reads) * 100)}, at most ${percent(params.max_errors)} are allowed`);
  const enough = reads >= params.min_samples;
  const slower = enough && limit !== undefined && p95 !== null && p95 > limit;
  const tooSlow = slower && p95 > limit + tally.late;
  if (tooSlow)
    findings.push(
      `p95 ${milliseconds(p95)}, at most ${milliseconds(limit)} is allowed (before ${milliseconds(before?.p95 ?? null)}, +${params.max_p95} % and +${MIN_RISE_MS} ms)`,
    );
  for (const [name, one] of tally.probes) {
    if (one.errors > 0)
      findings.push(`${name}: ${one.errors} of ${count(one.reads, 'read')} failed, last: ${one.lastError}`);
    else if (tooSlow && (quantile(one.times, 0.95) ?? 0) > limit)
      findings.push(`${name}: p95 ${milliseconds(quantile(one.times, 0.95))}`);
  }
  if (tooMany || tooSlow) return { outcome: 'fail', summary, findings, evidence };
  if (limit === undefined) {
    findings.push('no baseline was taken before the window, so p95 cannot be compared');
    return { outcome: 'inconclusive', summary: `${summary}, without a baseline`, findings, evidence };
  }
  if (slower) {
    findings.push(
      `p95 ${milliseconds(p95)} is above ${milliseconds(limit)}, but this machine was late by itself (${milliseconds(tally.late)}), so it says nothing of the service`,
    );
    return { outcome: 'inconclusive', summary: `${summary}, measured by a busy machine`, findings, evidence };
  }
  if (!enough) {
    const more =
      moment === 'soaking'
        ? `: a soak of ${lasting(Math.ceil(params.min_samples / params.rate) * 1000)} has that many`
        : '';
    findings.push(`${count(reads, 'read')} say nothing of p95; ${params.min_samples} are needed${more}`);
    return {
      outcome: 'inconclusive',
      summary: `${summary}, fewer than ${params.min_samples} reads`,
      findings,
      evidence,
    };
  }
  return { outcome: 'pass', summary, findings, evidence };
}

interface Pace {
  /** reads, if all goes well */
  total: number;
  perSecond: number;
  atOnce: number;
  /** what could not begin in time begins later (a burst wants its number); otherwise never (a soak keeps its pace) */
  catchUp: boolean;
}

function burst(wanted: number, ms: number): Pace {
  // the time up to the deadline is there for a service that is too slow for this pace
  const possible = Math.max(1, Math.floor((ms / 1000) * BURST_PER_SECOND));
  return { total: Math.min(wanted, possible), perSecond: BURST_PER_SECOND, atOnce: BURST_AT_ONCE, catchUp: true };
}
/** The first one at once, the last one early enough to be answered. */
function soakPace({ rate }: SoakHttpParams, ms: number): Pace {
  return { total: Math.max(1, Math.floor((ms / 1000) * rate)), perSecond: rate, atOnce: SOAK_AT_ONCE, catchUp: false };
}

interface ProbeTally {
  reads: number;
  errors: number;
  times: number[];
  lastError?: string;
}
interface Tally extends ProbeTally {
  /** good, and slower than p95 may be, this process' own lateness aside */
  slow: number;
  /** p95 of how late this process was by itself, in milliseconds */
  late: number;
  probes: Map<string, ProbeTally>;
}

async function read(
  io: Reader,
  context: Context,
  pace: Pace,
  enough: (tally: Tally) => boolean,
  limit = Number.POSITIVE_INFINITY,
): Promise<Tally> {
  const { params, now, deadline } = context;
  const names = namesOf(params.probes);
  const tally: Tally = {
    reads: 0,
    errors: 0,
    slow: 0,
    late: 0,
    times: [],
    probes: new Map(names.map((name) => [name, { reads: 0, errors: 0, times: [] }])),
  };
  const under = new Set<Promise<void>>();
  const began = now();
  let begun = 0;
  let missed = 0;
  let said = began;
  const tick = async () => {
    tally.late = lateness();
    if (enough(tally)) return true;
    const due = Math.min(pace.total, Math.floor(((now() - began) / 1000) * pace.perSecond) + 1) - missed;
    for (; begun < due; begun++) {
      if (under.size >= pace.atOnce) {
        if (!pace.catchUp) missed += due - begun;
        break;
      }
      const at = begun % names.length;
      const one = readOne(io, context, at, names[at]!, tally, limit).finally(() => under.delete(one));
      under.add(one);
    }
    if (now() - said >= PROGRESS_MS) {
      said = now();
      context.progress(`${count(tally.reads, 'read')} · ${figures(evidenceOf(tally, 0))}`);
    }
    return begun + missed >= pace.total && under.size === 0 ? true : undefined;
  };
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delays.enable();
  try {
    await context.poll(Math.min(1000 / pace.perSecond, 100), tick, deadline);
    await Promise.all(under);
  } finally {
    delays.disable();
  }
  tally.late = lateness();
  return tally;

  function lateness(): number {
    // nothing measured yet: NaN
    return Math.max(0, (delays.percentile(95) || 0) / 1e6 - RESOLUTION_MS);
  }
}

/** `error`: why the read was not good; `cause`: what was thrown where nothing answered. */
async function goodRead(
  io: Reader,
  probe: SoakHttpParams['probes'][number],
): Promise<{ ms: number; error?: string; cause?: unknown }> {
  const { url: address, expect } = typeof probe === 'string' ? { url: probe, expect: undefined } : probe;
  try {
    const { status, ms } = await io.http.get({ url: address, expect: ANY_STATUS, timeoutMs: READ_MS });
    const good = expect === undefined ? status >= 200 && status < 400 : [expect].flat().includes(status);
    return good ? { ms } : { ms, error: `status ${status}` };
  } catch (cause) {
    return { ms: 0, error: cause instanceof Error ? cause.message : String(cause), cause };
  }
}

async function readOne(
  io: Reader,
  { params, now, deadline }: Context,
  at: number,
  name: string,
  tally: Tally,
  limit: number,
): Promise<void> {
  const began = now();
  const { ms, error, cause } = await goodRead(io, params.probes[at]!);
  // What the end of the time has cut off says nothing, unless it hung for long. How long it was waited for is what its
  // own limit says: a machine that is busy begins late, and the time since then is its own.
  const waited = (cause instanceof OuterError ? cause.waitedMs : undefined) ?? now() - began;
  const cutOff =
    now() >= deadline - 50 || (cause instanceof OuterError && (cause.code === 'DEADLINE' || cause.code === 'ABORTED'));
  if (cause !== undefined && cutOff && waited < 1_000) return;
  if (error === undefined && ms > limit + tally.late) tally.slow++;
  for (const each of [tally, tally.probes.get(name)!]) {
    each.reads++;
    if (error === undefined) each.times.push(ms);
    else {
      each.errors++;
      each.lastError = error;
    }
  }
}

function evidenceOf(tally: Tally, durationMs: number): SoakHttpEvidence {
  const probes = [...tally.probes].map(([name, one]) => [
    name,
    { ...statsOf(one), ...(one.lastError === undefined ? {} : { lastError: one.lastError }) },
  ]);
  return { ...statsOf(tally), durationMs: Math.round(durationMs), probes: Object.fromEntries(probes) };
}

function statsOf({ reads, errors, times }: ProbeTally): ReadStats {
  return { reads, errors, p50: quantile(times, 0.5), p95: quantile(times, 0.95) };
}

/** Nearest rank, to a tenth of a millisecond. */
function quantile(times: readonly number[], q: number): number | null {
  if (times.length === 0) return null;
  const sorted = [...times].sort((a, b) => a - b);
  return Math.round(sorted[Math.ceil(q * sorted.length) - 1]! * 10) / 10;
}

function figures(is: ReadStats, before?: ReadStats): string {
  const rate = (stats: ReadStats) => percent(stats.reads === 0 ? 0 : (stats.errors / stats.reads) * 100);
  const was = (text: string) => (before ? ` (before ${text})` : '');
  return `errors ${rate(is)}${was(before ? rate(before) : '')} · p95 ${milliseconds(is.p95)}${was(milliseconds(before?.p95 ?? null))}`;
}
function percent(value: number): string {
  return `${value.toFixed(2)} %`;
}
function milliseconds(ms: number | null): string {
  if (ms === null) return 'unknown';
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

/** Host and path of each probe, numbered where two are alike; queries and userinfo may hold secrets. */
function namesOf(probes: SoakHttpParams['probes']): string[] {
  const seen = new Map<string, number>();
  return probes.map((probe) => {
    const address = typeof probe === 'string' ? probe : probe.url;
    const name = URL.canParse(address)
      ? `${new URL(address).host}${new URL(address).pathname}`
      : 'an address that is not known yet';
    const n = (seen.get(name) ?? 0) + 1;
    seen.set(name, n);
    return n === 1 ? name : `${name} (${n})`;
  });
}
