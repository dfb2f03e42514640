// The family's logic, once: watch until nothing has been written for long enough, note where everything stood, and at
// the end compare with that. What a write looks like is the backend's business; here are the clock and the verdict.
import { z } from 'zod';
import type { CheckContext, CheckResult, Moment } from '../../engine/contract.ts';
import { duration } from '../../engine/secret.ts';
import { OuterError } from '../../errors/catalogue.ts';

/** How long nothing must be seen; the default is what the slowest backend needs to see everything. */
export const For = duration().prefault('11s');

export const MOMENTS: readonly Moment[] = ['open', 'now', 'glance', 'reopen'];

/** One thing that was written to. */
export interface Write {
  /** as people call it: "orders", "sales.orders", "SET" */
  what: string;
  /** all names under which the runbook may allow it; default `what` */
  names?: readonly string[];
  count: number;
  /** "1 inserted", "created", "open transaction of app (web-7)" */
  how: string;
  who?: readonly string[] | undefined;
}

export interface Difference {
  /** nothing at all has moved: what was written before `from` is all there is to come */
  still: boolean;
  writes: readonly Write[];
  /** has not ended yet: an open transaction */
  pending: readonly Write[];
  /** why nothing can be concluded from the comparison ("statistics were reset") */
  doubts: readonly string[];
  /** no alarm, but worth a line in the report */
  notes: readonly string[];
}

/** How one store is looked at during one check. */
export interface Sight<S> {
  /** once, before the first look */
  prepare?(): Promise<void>;
  look(): Promise<S>;
  /** `base` is the first look, or what was noted when the walls closed; the roles that wrote since then are named */
  compare(from: S, to: S, base: S): Promise<Difference>;
  /** what is journalled of a look: bounded, and free of secrets */
  trim(seen: S): S;
}

interface Watched<S> {
  /** "rows": what is counted */
  unit: string;
  /** how late a write may become visible, in milliseconds; a shorter watch proves nothing */
  lateMs: number;
  Seen: z.ZodType<S>;
  sight: Sight<S>;
  allow: readonly { name: string; because: string }[];
  forMs: number;
}

export interface Evidence {
  /** when `seen` was looked at, RFC 3339 */
  at: string;
  /** null: nothing was established (`now` and `reopen` only compare) */
  seen: unknown;
  found: string[];
}
const Noted = z.object({ at: z.iso.datetime(), seen: z.unknown() });

/** A run of looks takes at most a tenth of the time: the store has other things to do, and so has the lease. */
const RATIO = 10;
const EVERY_MIN_MS = 200;
const EVERY_MAX_MS = 3_000;
/** Time left for the last look and its answer. */
const LAST_MS = 300;
/** What one event of the journal, and one person, can take. */
export const MAX_NAMED = 2_000;
const MAX_LINES = 50;

export async function noWrites<S>(
  context: Pick<
    CheckContext<unknown, Evidence>,
    'moment' | 'window' | 'evidence' | 'deadline' | 'now' | 'poll' | 'progress'
  >,
  watched: Watched<S>,
): Promise<CheckResult<Evidence>> {
  const looks = tolerant(watched.sight);
  if (context.moment === 'open') return await watch(context, watched, looks);
  if (context.window.reopened) {
    const summary = `writes work again since ${clock(context.window.reopened, context.now())}: nothing to check`;
    return { outcome: 'pass', summary, findings: [], evidence: nothing(context.now()) };
  }
  const noted = Noted.safeParse(context.evidence.open);
  const seen = noted.success ? watched.Seen.safeParse(noted.data.seen) : undefined;
  if (context.moment === 'glance')
    return await glance(watched, looks, noted.success && seen?.success ? seen.data : undefined, context.now());
  if (noted.success && seen?.success) return await audit(context, watched, looks, noted.data.at, seen.data);
  if (context.moment === 'now') return await watch(context, watched, looks);
  const summary = 'nothing was noted when the walls closed, so there is nothing to compare with';
  return { outcome: 'inconclusive', summary, findings: [], evidence: nothing(context.now()) };
}

type Context = Parameters<typeof noWrites>[0];

/** A server that does not answer for a moment loses nothing: what is compared are totals. Only the last look must succeed. */
function tolerant<S>(sight: Sight<S>) {
  let failure: OuterError | undefined;
  let prepared = false;
  let took = 0;
  return {
    /** how long the last look took, in milliseconds */
    took: () => took,
    async look(): Promise<S | undefined> {
      try {
        if (!prepared) await sight.prepare?.();
        prepared = true;
        const began = performance.now();
        const seen = await sight.look();
        took = performance.now() - began;
        failure = undefined;
        return seen;
      } catch (error) {
        if (!(error instanceof OuterError && error.retryable)) throw error;
        failure = error;
        return undefined;
      }
    },
    throwLast(): void {
      if (failure) throw failure;
    },
  };
}
type Looks<S> = ReturnType<typeof tolerant<S>>;

async function watch<S>(context: Context, watched: Watched<S>, looks: Looks<S>): Promise<CheckResult<Evidence>> {
  const { sight, forMs, lateMs, unit } = watched;
  const stop = context.deadline - LAST_MS;
  const base = await context.poll(EVERY_MIN_MS, looks.look, stop);
  if (base === undefined) {
    looks.throwLast();
    throw new Error('no time is left to look even once');
  }
  let last = base;
  let lastAt = context.now();
  let quietSince = lastAt;
  const found = new Ledger();
  let allowed = new Ledger();
  // What is there at the end is worth a note; what came and went is none.
  let notes: readonly string[] = [];
  const doubts = new Map<string, string>();
  const quiet = await context.poll(
    pace(looks.took()),
    async () => {
      const now = await looks.look();
      if (now === undefined) return undefined;
      const difference = await sight.compare(last, now, base);
      last = now;
      lastAt = context.now();
      notes = difference.notes;
      for (const doubt of difference.doubts) {
        if (doubts.size < MAX_LINES && !doubts.has(doubt))
          doubts.set(doubt, `${doubt} (${clock(lastAt, lastAt)}); watched afresh from there`);
      }
      const { bad, good } = sort([...difference.writes, ...difference.pending], watched.allow);
      if (bad.length > 0 || difference.doubts.length > 0) {
        found.add(bad, lastAt);
        allowed = new Ledger();
        quietSince = lastAt;
      }
      allowed.add(good, lastAt);
      const waited = lastAt - quietSince;
      if (waited >= forMs) return true;
      const first = found.size > 0 ? `${found.short()}; ` : '';
      context.progress(`${first}0 ${unit} in ${span(waited)} of ${span(forMs)}`);
      return undefined;
    },
    stop,
  );
  looks.throwLast();

  const findings = [...found.lines(unit), ...doubts.values(), ...notes].slice(0, MAX_LINES);
  const evidence: Evidence = { at: iso(lastAt), seen: sight.trim(last), found: found.lines(unit).slice(0, MAX_LINES) };
  const waited = Math.min(lastAt - quietSince, forMs);
  if (quiet) {
    const before = found.size > 0 ? ` after ${found.short()}` : '';
    const summary = `0 ${unit} in ${span(waited)}${before}${allowed.except()}`;
    if (forMs >= lateMs) return { outcome: 'pass', summary, findings, evidence };
    return {
      outcome: 'inconclusive',
      summary: `${summary}; a write may show up ${span(lateMs)} late, so watch for ${span(lateMs)} at least`,
      findings,
      evidence,
    };
  }
  if (found.size > 0) {
    const summary = `${found.short()}: ${waited < 1000 ? 'still written to' : `quiet for ${span(waited)} of ${span(forMs)} only`} at the deadline${allowed.except()}`;
    return { outcome: 'fail', summary, findings, evidence };
  }
  const [doubt] = doubts.keys();
  const because = doubt === undefined ? '' : `; ${doubt}`;
  return {
    outcome: 'inconclusive',
    summary: `0 ${unit}, but the deadline left only ${span(waited)} of ${span(forMs)}${allowed.except()}${because}`,
    findings,
    evidence,
  };
}

/** From what was noted when the walls closed until now: the whole window, not just the time that somebody watched. */
async function audit<S>(
  context: Context,
  watched: Watched<S>,
  looks: Looks<S>,
  at: string,
  noted: S,
): Promise<CheckResult<Evidence>> {
  const { sight, lateMs, unit } = watched;
  const began = context.now();
  const stop = context.deadline - LAST_MS;
  let difference: Difference | undefined;
  let shown = { bad: [] as Write[], good: [] as Write[] };
  let waiting = '';
  const done = await context.poll(
    500,
    async () => {
      const now = await looks.look();
      if (now === undefined) return undefined;
      difference = await sight.compare(noted, now, noted);
      shown = sort([...difference.writes, ...difference.pending], watched.allow);
      const pending = sort(difference.pending, watched.allow).bad.length > 0;
      // A write that is found stays found: the walls are not held closed any longer for more of them.
      if (sort(difference.writes, watched.allow).bad.length > 0 || difference.doubts.length > 0) return true;
      // What had happened by then is visible by now. Where nothing has moved since, that was all.
      const settled = (difference.still ? Date.parse(at) : began) + lateMs;
      if (!pending && context.now() >= settled) return true;
      if (pending && context.now() >= began + lateMs) return true;
      waiting = pending ? 'an open transaction to end' : `what may show up ${span(lateMs)} late`;
      context.progress(`0 ${unit} since ${clock(at, began)} so far · waiting for ${waiting}`);
      return undefined;
    },
    stop,
  );
  looks.throwLast();
  if (!difference) throw new Error('no time is left to look even once');

  const found = new Ledger();
  found.add(shown.bad);
  const allowed = new Ledger();
  allowed.add(shown.good);
  const since = `since ${clock(at, began)}`;
  const findings = [...found.lines(unit), ...difference.doubts, ...difference.notes].slice(0, MAX_LINES);
  const evidence: Evidence = { at: iso(context.now()), seen: null, found: found.lines(unit).slice(0, MAX_LINES) };
  if (found.size > 0)
    return { outcome: 'fail', summary: `${found.short()} ${since}${allowed.except()}`, findings, evidence };
  const summary = `0 ${unit} ${since}${allowed.except()}`;
  if (difference.doubts.length > 0)
    return { outcome: 'inconclusive', summary: `${summary}, but ${difference.doubts.join('; ')}`, findings, evidence };
  if (!done)
    return {
      outcome: 'inconclusive',
      summary: `${summary}, but the deadline came before ${waiting}`,
      findings,
      evidence,
    };
  return { outcome: 'pass', summary, findings, evidence };
}

/** What is known by now: one look, no verdict on what may still show up. */
async function glance<S>(
  { sight, allow, unit }: Watched<S>,
  looks: Looks<S>,
  noted: S | undefined,
  now: number,
): Promise<CheckResult<Evidence>> {
  if (noted === undefined)
    return { outcome: 'inconclusive', summary: 'nobody noted where it stood', findings: [], evidence: nothing(now) };
  const seen = await looks.look();
  looks.throwLast();
  const { writes, doubts } = await sight.compare(noted, seen!, noted);
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

function sort(writes: readonly Write[], allow: Watched<unknown>['allow']): { bad: Write[]; good: Write[] } {
  const bad: Write[] = [];
  const good: Write[] = [];
  for (const write of writes) {
    const names = write.names ?? [write.what];
    (allow.some((each) => names.some((name) => fits(name, each.name))) ? good : bad).push(write);
  }
  return { bad, good };
}

/** `*` stands for anything: "heartbeat:*". */
export function fits(name: string, pattern: string): boolean {
  if (!pattern.includes('*')) return name === pattern;
  const parts = pattern.split('*');
  const first = parts.shift() ?? '';
  const end = parts.pop() ?? '';
  if (!name.startsWith(first) || !name.endsWith(end) || name.length < first.length + end.length) return false;
  let at = first.length;
  for (const part of parts) {
    const found = name.indexOf(part, at);
    if (found < 0 || found + part.length > name.length - end.length) return false;
    at = found + part.length;
  }
  return true;
}

/** What was written to, added up over many looks. */
class Ledger {
  readonly #entries = new Map<
    string,
    { count: number; how: Set<string>; who: Set<string>; first?: number | undefined }
  >();

  get size(): number {
    return this.#entries.size;
  }

  add(writes: readonly Write[], at?: number): void {
    for (const write of writes) {
      const entry = this.#entries.get(write.what) ?? { count: 0, how: new Set(), who: new Set(), first: at };
      entry.count += write.count;
      if (entry.how.size < 5) entry.how.add(write.how);
      for (const who of write.who ?? []) entry.who.add(who);
      this.#entries.set(write.what, entry);
    }
  }

  /** ", except heartbeat: 1,254 (allowed)" */
  except(): string {
    if (this.size === 0) return '';
    return `, except ${this.#few((entry) => (entry.count > 0 ? `: ${grouped(entry.count)}` : ''))} (allowed)`;
  }

  /** "orders: 3, items: created" */
  short(): string {
    return this.#few(
      (entry) => `: ${entry.count > 0 ? grouped(entry.count) : [...entry.how].join(', ')}${by(entry.who)}`,
    );
  }

  lines(unit: string): string[] {
    return [...this.#entries].map(([what, entry]) => {
      const count =
        entry.count > 0 ? ` ${grouped(entry.count)} ${entry.count === 1 ? unit.replace(/s$/, '') : unit},` : '';
      const when = entry.first === undefined ? '' : `, first seen ${clock(entry.first, entry.first)}`;
      return `${what}:${count} ${[...entry.how].join(', ')}${by(entry.who)}${when}`;
    });
  }

  #few(tell: (entry: { count: number; how: Set<string>; who: Set<string> }) => string): string {
    const all = [...this.#entries].map(([what, entry]) => `${what}${tell(entry)}`);
    return all.length <= 4 ? all.join(', ') : `${all.slice(0, 3).join(', ')} and ${all.length - 3} more`;
  }
}

function by(who: ReadonlySet<string>): string {
  if (who.size === 0) return '';
  return ` by ${who.size > 1 ? 'one of ' : ''}${[...who].slice(0, 5).join(', ')}`;
}

function pace(lookMs: number): number {
  return Math.min(Math.max(lookMs * RATIO, EVERY_MIN_MS), EVERY_MAX_MS);
}

function nothing(now: number): Evidence {
  return { at: iso(now), seen: null, found: [] };
}

export function grouped(count: number): string {
  return count.toLocaleString('en-US');
}

/** "02:00:15Z", with its date where that is another one than today's. */
function clock(time: string | number, now: number): string {
  const text = iso(time);
  return text.slice(0, 10) === iso(now).slice(0, 10) ? `${text.slice(11, 19)}Z` : `${text.slice(0, 19)}Z`;
}

function iso(time: string | number): string {
  return new Date(time).toISOString();
}

function span(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  return seconds < 120 ? `${seconds}s` : `${Math.floor(seconds / 60)}m ${String(seconds % 60).padStart(2, '0')}s`;
}
