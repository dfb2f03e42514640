// Watches until nothing has been written for long enough, and notes where everything stands.
import type { CheckResult } from '../../engine/contract.ts';
import { clock, iso, Ledger, MAX_LINES, sort, span } from './ledger.ts';
import { type Context, type Evidence, firstLook, LAST_MS, LOOK_EVERY_MS, type Looks, type Watched } from './sight.ts';

/** A run of looks takes at most a tenth of the time: the store has other things to do, and so has the lease. */
const RATIO = 10;
const EVERY_MAX_MS = 3_000;
/** How late a look may begin: the last one ends the watch, and the walls are closed meanwhile. */
const TICK_MS = 50;

export async function watch<S>(context: Context, watched: Watched<S>, looks: Looks<S>): Promise<CheckResult<Evidence>> {
  const { sight, forMs, lateMs, unit } = watched;
  const stop = context.deadline - LAST_MS;
  const base = await firstLook(looks, context.poll, stop);
  let last = base;
  // A look that takes long shows the store as it was somewhere between its begin and its end. What is known to be quiet
  // is the time between the end of one look and the begin of another: otherwise a slow machine would watch for less.
  let quietSince = base.ended;
  const found = new Ledger();
  let allowed = new Ledger();
  // What is there at the end is worth a note; what came and went is not.
  let notes: readonly string[] = [];
  const doubts = new Map<string, string>();
  let next = 0;
  const quiet = await context.poll(
    TICK_MS,
    async () => {
      if (context.now() < next) return undefined;
      const now = await looks.look();
      if (now === undefined) return undefined;
      const difference = await sight.compare(last.seen, now.seen, base.seen);
      last = now;
      notes = difference.notes;
      for (const doubt of difference.doubts) {
        if (doubts.size < MAX_LINES && !doubts.has(doubt))
          doubts.set(doubt, `${doubt} (${clock(now.ended, now.ended)}); watched afresh from there`);
      }
      const { bad, good } = sort([...difference.writes, ...difference.pending], watched.allow);
      if (bad.length > 0 || difference.doubts.length > 0) {
        found.add(bad, now.ended);
        allowed = new Ledger();
        quietSince = now.ended;
      }
      allowed.add(good, now.ended);
      // The look that ends the watch is not put off by the pace of those before it.
      next = Math.min(now.ended + pace(now.ended - now.began), Math.max(quietSince + forMs, now.ended));
      const waited = now.began - quietSince;
      if (waited >= forMs) return true;
      const first = found.size > 0 ? `${found.short()}; ` : '';
      context.progress(`${first}0 ${unit} in ${span(waited)} of ${span(forMs)}`);
      return undefined;
    },
    stop,
  );
  looks.throwLast();

  const findings = [...found.lines(unit), ...doubts.values(), ...notes].slice(0, MAX_LINES);
  const evidence: Evidence = {
    at: iso(last.ended),
    seen: sight.trim(last.seen, false),
    found: found.lines(unit).slice(0, MAX_LINES),
  };
  const waited = Math.min(Math.max(0, last.began - quietSince), forMs);
  if (quiet) {
    const before = found.size > 0 ? ` after ${found.short()}` : '';
    const summary = `0 ${unit} in ${span(waited)}${before}${allowed.except()}`;
    // It has stopped, and it did happen while the walls were closed: never only a pass.
    const looks = found.lines(unit).slice(0, MAX_LINES);
    if (forMs >= lateMs) return { outcome: 'pass', summary, findings, ...(looks.length > 0 && { looks }), evidence };
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

function pace(lookMs: number): number {
  return Math.min(Math.max(lookMs * RATIO, LOOK_EVERY_MS), EVERY_MAX_MS);
}
