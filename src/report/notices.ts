// What people were told, and when: what was planned, and when each notice was out. Pure.
import type { Recorded } from '../engine/events.ts';

export interface Notice {
  step: string;
  /** "read-only begins", "new end", … */
  what: string;
  /** RFC 3339: when it was promised; null: nobody had promised it (a note, a new end) */
  planned: string | null;
  /** when that happened which it tells of */
  happened: string;
  /** when it was out; null: not yet, or never */
  told: string | null;
  /** why it was not out; null: nothing failed, or a later try was right */
  failed: string | null;
}

interface Occasion {
  what: string;
  planned: string | null;
  happened: string;
}

/** One for each step that tells people and each occasion on which it had something to tell. */
export function noticesOf(events: readonly Recorded[], tellers: ReadonlySet<string>): Notice[] {
  const all: Notice[] = [];
  let occasion: Occasion | undefined;
  let promised = { since: '', until: '' };
  for (const { at, event } of events) {
    if (event.type === 'opened') promised = { since: event.startsAt ?? at, until: event.until };
    else if (event.type === 'moved') promised = { since: event.startsAt, until: event.until };
    occasion = occasionOf(at, event, promised) ?? occasion;
    if (event.type === 'extended' || event.type === 'began') promised = { ...promised, until: event.until };
    if (!occasion || !('step' in event) || !tellers.has(event.step)) continue;
    if (event.type !== 'outcome' && event.type !== 'failed') continue;
    const notice = noticeFor(all, event.step, occasion);
    if (event.type === 'outcome') Object.assign(notice, { told: at, failed: null });
    else if (notice.told === null) notice.failed = event.message;
  }
  return all;
}

function noticeFor(all: Notice[], step: string, occasion: Occasion): Notice {
  const known = all.find(
    (one) => one.step === step && one.happened === occasion.happened && one.what === occasion.what,
  );
  if (known) return known;
  const fresh = { step, ...occasion, told: null, failed: null };
  all.push(fresh);
  return fresh;
}

/** undefined: nothing that people are told of. */
function occasionOf(
  at: string,
  event: Recorded['event'],
  promised: { since: string; until: string },
): Occasion | undefined {
  switch (event.type) {
    case 'opened':
      return event.startsAt === undefined
        ? { what: 'read-only begins', planned: at, happened: at }
        : { what: 'announced', planned: null, happened: at };
    case 'moved':
      return { what: 'moved', planned: null, happened: at };
    case 'began':
      return { what: 'read-only begins', planned: promised.since, happened: at };
    case 'extended':
      return { what: 'new end', planned: null, happened: at };
    case 'note':
      return { what: 'note', planned: null, happened: at };
    case 'overdue':
      return { what: 'takes longer', planned: promised.until, happened: at };
    case 'phase':
      return { ...PHASES[event.phase], planned: ENDS.has(event.phase) ? promised.until : null, happened: at };
    default:
      return undefined;
  }
}

const ENDS: ReadonlySet<string> = new Set(['soaking', 'closed']);
const PHASES = {
  announced: { what: 'announced' },
  open: { what: 'read-only again' },
  soaking: { what: 'writes work again' },
  closed: { what: 'over' },
  aborted: { what: 'cancelled' },
} as const;
