// From what was noted when the walls closed until they open again: the whole window, not just the time that somebody
// watched. The last look is taken while the walls are closed; everything that takes longer is read once they are open.
import type { CheckResult } from '../../engine/contract.ts';
import { clock, iso, Ledger, MAX_LINES, sort, span } from './ledger.ts';
import {
  type Context,
  type Difference,
  type Evidence,
  firstLook,
  LAST_MS,
  type Logged,
  type Look,
  type Looks,
  type Watched,
  type Write,
} from './sight.ts';

type Result = CheckResult<Evidence>;
/** What was noted at a moment: `at` RFC 3339. */
export interface Noted<S> {
  at: string;
  seen: S;
}

/** How long the walls wait for a server that does not answer. */
const LAST_LOOK_MS = 3_000;
const HOLD = 'hold_for_audit: true waits for it with closed walls';

/** Right before the walls open: where everything stands now. Concludes only what this one look can. */
export async function lastLook<S>(
  context: Context,
  watched: Watched<S>,
  looks: Looks<S>,
  opened: Noted<S>,
): Promise<Result> {
  const { sight, lateMs, unit } = watched;
  const stop = Math.min(context.deadline - LAST_MS, context.now() + LAST_LOOK_MS);
  const last = await firstLook(looks, context.poll, stop);
  const difference = await sight.compare(opened.seen, last.seen, opened.seen);
  const is = said(watched, opened.at, last, difference);
  const known = difference.still || lateMs === 0;
  const result = conclude(is);
  if (known) return { ...result, evidence: { ...result.evidence, verdict: verdictOf(result) } };
  const evidence: Evidence = { at: iso(last.began), seen: sight.trim(last.seen, true), found: result.evidence.found };
  if (result.outcome === 'fail') return { ...result, evidence };
  return { outcome: 'pass', summary: `0 ${unit} so far; audited next, with the walls open`, findings: [], evidence };
}

/** The same, and waits with closed walls until all of it is visible. */
export async function holdForAudit<S>(
  context: Context,
  watched: Watched<S>,
  looks: Looks<S>,
  opened: Noted<S>,
): Promise<Result> {
  const { sight, lateMs, unit } = watched;
  const began = context.now();
  let is: Said | undefined;
  let waiting = '';
  const done = await context.poll(
    500,
    async () => {
      const look = await looks.look();
      if (look === undefined) return undefined;
      const difference = await sight.compare(opened.seen, look.seen, opened.seen);
      is = said(watched, opened.at, look, difference);
      // A write that is found stays found: the walls are not held closed any longer for more of them.
      if (is.wrote || difference.doubts.length > 0) return true;
      // What had happened by then is visible in a look that begins now. Where nothing has moved since, that was all.
      const settled = (difference.still ? Date.parse(opened.at) : began) + lateMs;
      if (!is.pending && look.began >= settled) return true;
      if (is.pending && look.began >= began + lateMs) return true;
      waiting = is.pending ? 'an open transaction to end' : `what may show up ${span(lateMs)} late`;
      context.progress(`0 ${unit} since ${clock(opened.at, began)} so far · waiting for ${waiting}`);
      return undefined;
    },
    context.deadline - LAST_MS,
  );
  looks.throwLast();
  if (!is) throw new Error('no time is left to look even once');
  const result = conclude(is, done ? undefined : `, but the deadline came before ${waiting}`);
  return { ...result, evidence: { ...result.evidence, verdict: verdictOf(result) } };
}

/** After the walls have opened: what the two looks tell, and what the store's log tells between them. */
export async function audit<S>(
  context: Context,
  watched: Watched<S>,
  opened: Noted<S>,
  last: Noted<S>,
): Promise<Result> {
  const { sight, lateMs } = watched;
  const at = Date.parse(last.at);
  const look: Look<S> = { seen: last.seen, began: at, ended: at };
  const difference = await sight.compare(opened.seen, last.seen, opened.seen);
  if (difference.still || lateMs === 0) return conclude(said(watched, opened.at, look, difference));
  const logged = await sight.log?.(opened.seen, last.seen, { ...context, deadline: context.deadline - LAST_MS });
  // A log that covers all of it knows more than counters that were lost meanwhile.
  const doubts = logged?.whole ? [] : difference.doubts;
  const writes = logged ? merged(difference.writes, logged.writes) : difference.writes;
  const notes = [...difference.notes, ...(logged?.notes ?? [])];
  const is = said(watched, opened.at, look, { ...difference, writes, doubts, notes });
  return conclude(is, untold(logged, Date.parse(opened.at), at, lateMs));
}

/** What the last look or the hold has concluded already, as the audit's own. */
export function concluded(noted: Evidence): Result | undefined {
  if (!noted.verdict) return undefined;
  const { verdict, ...evidence } = noted;
  return { ...verdict, findings: noted.found, evidence: { ...evidence, seen: null } };
}

/** Until when it could be told, and what it takes to tell the rest; undefined: all of it was told. */
function untold(logged: Logged | undefined, from: number, to: number, lateMs: number): string | undefined {
  const missingMs = Math.min(logged?.missingMs ?? lateMs, lateMs, to - from);
  if (missingMs <= 0) return undefined;
  const why = logged?.why ? `: ${logged.why}` : '';
  const rest = `the last ${span(Math.ceil(missingMs / 1000) * 1000)} cannot be told from counters`;
  return `, audited until ${clock(to - missingMs, to)}; ${rest}${why}; or ${HOLD}`;
}

/** Counters know tables that no log has; the log knows what has not reached the counters yet. */
function merged(counted: readonly Write[], logged: readonly Write[]): Write[] {
  const all = [...counted];
  for (const write of logged) {
    const at = all.findIndex((one) => one.what === write.what && one.count > 0);
    if (at < 0) all.push(write);
    else if (all[at]!.count < write.count) all[at] = { ...write, who: all[at]!.who ?? write.who };
  }
  return all;
}

interface Said {
  unit: string;
  /** "since 02:14:07Z" */
  since: string;
  at: string;
  found: Ledger;
  allowed: Ledger;
  /** a write that has ended, and is not allowed */
  wrote: boolean;
  /** one that has not ended */
  pending: boolean;
  doubts: readonly string[];
  notes: readonly string[];
}

function said<S>({ unit, allow }: Watched<S>, since: string, look: Look<S>, difference: Difference): Said {
  const { writes, pending, doubts, notes } = difference;
  const { bad, good } = sort([...writes, ...pending], allow);
  const found = new Ledger();
  found.add(bad);
  const allowed = new Ledger();
  allowed.add(good);
  const open = sort(pending, allow).bad.length > 0;
  const wrote = sort(writes, allow).bad.length > 0;
  return {
    ...{ unit, since: `since ${clock(since, look.began)}`, at: iso(look.began) },
    ...{ found, allowed, wrote, pending: open, doubts, notes },
  };
}

/** `lacks`: what could not be told, to be said behind the rest. */
function conclude({ unit, since, at, found, allowed, doubts, notes }: Said, lacks?: string): Result {
  const lines = found.lines(unit).slice(0, MAX_LINES);
  const findings = [...found.lines(unit), ...doubts, ...notes].slice(0, MAX_LINES);
  const evidence: Evidence = { at, seen: null, found: lines };
  if (found.size > 0)
    return {
      outcome: 'fail',
      summary: `${found.short()} ${since}${allowed.except()}${lacks ?? ''}`,
      findings,
      evidence,
    };
  const summary = `0 ${unit} ${since}${allowed.except()}`;
  if (doubts.length > 0)
    return { outcome: 'inconclusive', summary: `${summary}, but ${doubts.join('; ')}`, findings, evidence };
  if (lacks !== undefined) return { outcome: 'inconclusive', summary: `${summary}${lacks}`, findings, evidence };
  return { outcome: 'pass', summary, findings, evidence };
}

function verdictOf({ outcome, summary }: Result): NonNullable<Evidence['verdict']> {
  return { outcome: outcome === 'unknown' ? 'inconclusive' : outcome, summary };
}

/** What is known by now: one look, no verdict on what may still show up. */
export async function glance<S>(
  { sight, allow, unit }: Watched<S>,
  looks: Looks<S>,
  noted: S | undefined,
  now: number,
): Promise<Result> {
  if (noted === undefined)
    return { outcome: 'inconclusive', summary: 'nobody noted where it stood', findings: [], evidence: nothing(now) };
  const look = await looks.look();
  looks.throwLast();
  const { writes, doubts } = await sight.compare(noted, look!.seen, noted);
  const found = new Ledger();
  found.add(sort(writes, allow).bad);
  const lines = found.lines(unit).slice(0, MAX_LINES);
  const evidence: Evidence = { at: iso(now), seen: null, found: lines };
  const findings = [...lines, ...doubts];
  if (found.size > 0) return { outcome: 'fail', summary: `written ${found.short()}`, findings, evidence };
  if (doubts.length > 0)
    return { outcome: 'inconclusive', summary: `written 0, but ${doubts.join('; ')}`, findings, evidence };
  return { outcome: 'pass', summary: 'written 0', findings, evidence };
}

export function nothing(now: number): Evidence {
  return { at: iso(now), seen: null, found: [] };
}
