// A window as its journal tells it. Pure: from recorded events to one plain object, which is also what --json prints.
import type { JournalEvent, Recorded, StateJson } from '../engine/events.ts';
import { type ReadOnly, readOnlyPeriods } from '../engine/periods.ts';
import { thingsToLookAt } from '../engine/verbs/failures.ts';
import { fold, label, stillOurs, type WindowState } from '../engine/window.ts';
import { type Notice, noticesOf } from './notices.ts';
import { type Promised, promisesOf, type ReportedStep } from './promises.ts';

export interface Report {
  version: 1;
  window: string;
  environment: string;
  /** closed, aborted, open, needs a human … as `maint status` says it */
  outcome: string;
  reason: string;
  ticket: string | null;
  by: string;
  contact: string;
  statusPage: string | null;
  rollbackPlan: string | null;
  runbook: { name: string; path: string };
  maint: string;
  /** the five promises of a window, in their order */
  promises: Promised[];
  /** everything that somebody should look at, one line each */
  look: string[];
  /** the state that acts on it since then; null: this one */
  handed: { to: string; by: string; at: string } | null;
  times: {
    planned: { since: string; until: string; ms: number };
    actual: { opened: string; wallsClosed: string | null; wallsOpen: string | null; ended: string | null };
    extended: { at: string; until: string; by: string }[];
    /** milliseconds past the end that was promised last; 0: in time */
    overrunMs: number;
  };
  readOnly: ReadOnly | null;
  /** times at which somebody had opened a wall: writes were possible */
  breaches: ReportedBreach[];
  notices: Notice[];
  budget: { budgetMs: number; tookMs: number | null; overMs: number; steps: { step: string; ms: number }[] };
  /** minor: nothing was changed by it */
  timeline: { at: string; what: string; step?: string; by?: string; minor?: true }[];
  changes: ReportedChange[];
  checks: ReportedCheck[];
  actions: { at: string; step: string; edge: string; state: string; summary: string[] }[];
  /** what was accepted during the window, and what became of it: one for each run of a backfill */
  backfills: ReportedBackfill[];
  drift: { at: string; step: string; id: string; ours: StateJson; now: StateJson; gone: boolean }[];
  /** what is not as it was: still ours, or given up with `end --leave` */
  leftovers: { step: string; id: string; before: StateJson; why: string }[];
  failures: { at: string; step: string; phase: string; code: string; message: string; ids: string[] }[];
  runs: { verb: string; by: string; began: string; ended: string | null; exit: number | null }[];
}

export interface ReportedBreach {
  step: string;
  /** the last time that it was seen closed */
  from: string;
  found: string;
  /** null: the window ended first, or it is open still */
  closedAgain: string | null;
  /** for how long writes were possible, at most */
  ms: number;
  /** true: nobody opened it, the window's end did (on_expiry: open) */
  expired: boolean;
}
export interface ReportedChange {
  at: string;
  step: string;
  id: string;
  phase: string;
  before: StateJson;
  after: StateJson;
  outcome: 'written' | 'not written' | 'unknown';
}
export interface ReportedBackfill {
  at: string;
  step: string;
  applied: number;
  /** of these, the service had them already */
  alreadyApplied: number;
  dead: number;
  left: number;
  /** null: there was nothing more to apply */
  stopped: string | null;
}
export interface ReportedCheck {
  at: string;
  step: string;
  moment: string;
  outcome: string;
  summary: string;
  findings: string[];
  /** what somebody should look at although it passed */
  looks?: string[] | undefined;
  evidence: unknown;
}

/**
 * undefined: these events are not a window. `clock`: epoch milliseconds, for what is not over yet. `steps`: those of its
 * runbook; without them nobody can say which check shows what.
 */
export function reportOf(
  id: string,
  events: readonly Recorded[],
  clock: number,
  steps?: readonly ReportedStep[],
): Report | undefined {
  const state = fold(id, events);
  if (!state) return undefined;
  const { opened } = state;
  // what became of it elsewhere is not known here
  const now = state.handed ? Date.parse(state.handed.at) : clock;
  const tellers = (steps ?? []).filter(({ shows }) => shows === 'people').map((step) => step.id);
  const seen = {
    readOnly: readOnlyPeriods(state, now),
    breaches: breaches(state, now),
    notices: noticesOf(events, new Set(tellers)),
    checks: of(events, 'checked').map(({ at, event: { type: _, ...checked } }) => ({ at, ...checked })),
  };
  return {
    version: 1,
    window: id,
    environment: opened.environment,
    outcome: label(state, false, now),
    reason: opened.reason,
    ticket: opened.ticket ?? null,
    by: opened.by,
    contact: opened.contact,
    statusPage: opened.statusPage ?? null,
    rollbackPlan: opened.rollbackPlan ?? null,
    runbook: { name: opened.runbook.name, path: opened.runbook.path },
    maint: opened.version,
    promises: promisesOf(state, { ...seen, steps }),
    look: thingsToLookAt(state),
    handed: state.handed ?? null,
    times: times(state, events, now),
    readOnly: seen.readOnly,
    breaches: seen.breaches,
    notices: seen.notices,
    budget: budget(events, state),
    timeline: events.flatMap(entry),
    changes: changes(events),
    checks: seen.checks,
    actions: of(events, 'action')
      .filter(({ event }) => event.state !== 'began')
      .map(({ at, event: { type: _, data: __, ...action } }) => ({ at, ...action })),
    backfills: of(events, 'action').flatMap(({ at, event }) => backfillOf(at, event.step, event.data)),
    drift: of(events, 'drift').map(({ at, event: { type: _, released: __, taken: ___, ...drift } }) => ({
      at,
      ...drift,
    })),
    leftovers: leftovers(state),
    failures: of(events, 'failed').map(({ at, event: { type: _, next: __, ...failed } }) => ({ at, ...failed })),
    runs: runs(events),
  };
}

function times(state: WindowState, events: readonly Recorded[], now: number): Report['times'] {
  const { opened, window } = state;
  const ended = state.reached && (state.phase === 'closed' || state.phase === 'aborted') ? lastReached(events) : null;
  const end = Date.parse(state.wallsOpenAt ?? (state.walls === 'closed' ? iso(now) : window.until));
  // an announced window is planned by its announcement, the last one
  const moved = of(events, 'moved').at(-1)?.event;
  const since = moved?.startsAt ?? opened.startsAt ?? state.openedAt;
  const until = moved?.until ?? opened.until;
  return {
    planned: { since, until, ms: Date.parse(until) - Date.parse(since) },
    actual: {
      opened: of(events, 'began')[0]?.at ?? state.openedAt,
      wallsClosed: state.wallsClosedAt ?? null,
      wallsOpen: state.walls === 'open' ? (state.wallsOpenAt ?? null) : null,
      ended,
    },
    extended: of(events, 'extended').map(({ at, event }) => ({ at, until: event.until, by: event.by })),
    overrunMs: Math.max(0, end - Date.parse(window.until)),
  };
}

function breaches(state: WindowState, now: number): ReportedBreach[] {
  return state.breaches.map(({ step, from, found, closedAgain, expired }) => {
    const until = closedAgain ?? (state.walls === 'closed' ? iso(now) : found);
    return {
      ...{ step, from, found, closedAgain: closedAgain ?? null },
      ms: Math.max(0, Date.parse(until) - Date.parse(from)),
      expired: expired === true,
    };
  });
}

/** By what only a backfill journals. */
function backfillOf(at: string, step: string, data: unknown): ReportedBackfill[] {
  const { applied, alreadyApplied, dead, left, stopped } = (data ?? {}) as Record<string, unknown>;
  if (typeof applied !== 'number' || typeof alreadyApplied !== 'number') return [];
  const why = (stopped as { why?: unknown } | undefined)?.why;
  return [
    {
      at,
      step,
      applied,
      alreadyApplied,
      dead: Number(dead),
      left: Number(left),
      stopped: typeof why === 'string' ? why : null,
    },
  ];
}

type Typed<T extends JournalEvent['type']> = Recorded & { event: Extract<JournalEvent, { type: T }> };

function of<T extends JournalEvent['type']>(events: readonly Recorded[], type: T): Typed<T>[] {
  return events.filter((recorded): recorded is Typed<T> => recorded.event.type === type);
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

function lastReached(events: readonly Recorded[]): string | null {
  return of(events, 'reached').at(-1)?.at ?? null;
}

/** What the first start took, step by step. Parallel steps count by themselves. */
function budget(events: readonly Recorded[], state: WindowState): Report['budget'] {
  const end = events.findIndex(
    ({ event }) => event.type === 'reached' || (event.type === 'phase' && event.phase !== 'open'),
  );
  const start = end < 0 ? events : events.slice(0, end + 1);
  const last = start.at(-1)!;
  const tookMs = last.event.type === 'reached' ? Date.parse(last.at) - Date.parse(events[0]!.at) : null;
  const { budgetMs } = state.opened;
  return {
    budgetMs,
    tookMs,
    overMs: Math.max(0, (tookMs ?? 0) - budgetMs),
    steps: of(start, 'settled')
      .filter(({ event }) => event.phase === 'open')
      .map(({ event }) => ({ step: event.step, ms: event.ms }))
      .sort((a, b) => b.ms - a.ms),
  };
}

function changes(events: readonly Recorded[]): ReportedChange[] {
  const all: ReportedChange[] = [];
  const open = new Map<string, ReportedChange>();
  let phase = 'open';
  for (const { at, event } of events) {
    if (event.type === 'phase') phase = event.phase;
    else if (event.type === 'intent') {
      for (const { id, from, to } of event.changes) {
        const change: ReportedChange = { at, step: event.step, id, phase, before: from, after: to, outcome: 'unknown' };
        all.push(change);
        open.set(`${event.step}\n${id}`, change);
      }
    } else if (event.type === 'outcome') {
      for (const { id, is } of event.results) {
        const change = open.get(`${event.step}\n${id}`);
        if (change) Object.assign(change, { after: is, outcome: 'written' });
      }
    } else if (event.type === 'missed') {
      for (const id of event.ids) {
        const change = open.get(`${event.step}\n${id}`);
        if (change) change.outcome = 'not written';
      }
    }
  }
  return all;
}

function leftovers(state: WindowState): Report['leftovers'] {
  const failed = (step: string) => state.failures.get(step)?.message;
  const over = state.phase === 'closed' || state.phase === 'aborted';
  return [
    ...stillOurs(state)
      .filter(() => over)
      .map(({ step, id, owned }) => ({ step, id, before: owned.before, why: failed(step) ?? 'not yet given back' })),
    ...state.left.flatMap(({ step, ids, reason, by }) =>
      ids.map((id) => ({ step, id, before: null, why: `given up by ${by}: ${reason}` })),
    ),
  ];
}

function runs(events: readonly Recorded[]): Report['runs'] {
  const all: (Report['runs'][number] & { token: number })[] = [];
  for (const { at, token, event } of of(events, 'run')) {
    if (event.state === 'began')
      all.push({ verb: event.verb, by: event.owner, began: at, ended: null, exit: null, token });
    else {
      const mine = all.findLast((run) => run.token === token && run.ended === null);
      if (mine) Object.assign(mine, { ended: at, exit: event.exit ?? null });
    }
  }
  return all.map(({ token: _, ...run }) => run);
}

/** One line for what a reader of the window wants to see pass by; intents and outcomes are told under `changes`. */
function entry({ at, event }: Recorded): Report['timeline'] {
  switch (event.type) {
    case 'opened':
      return [{ at, what: `window opened until ${event.until}: ${event.reason}`, by: event.by }];
    case 'run':
      return event.state === 'began'
        ? [{ at, what: `maint ${event.verb} began`, by: event.owner }]
        : [{ at, what: `maint ${event.verb} ended, exit ${event.exit ?? '?'}`, by: event.owner }];
    case 'phase':
      return [{ at, what: `on the way to ${event.phase} (${event.verb})` }];
    case 'reached':
      return [{ at, what: `phase ${event.phase} reached` }];
    case 'extended':
      return [{ at, what: `extended until ${event.until}`, by: event.by }];
    case 'overdue':
      return [{ at, what: 'overdue' }];
    case 'note':
      return [{ at, what: `note: ${event.text}`, by: event.by }];
    case 'handed':
      return [{ at, what: `handed over to ${event.to}`, by: event.by }];
    case 'received':
      return [{ at, what: `taken in from ${event.from}`, by: event.by }];
    case 'moved':
      return [{ at, what: `moved: ${event.startsAt} until ${event.until}`, by: event.by }];
    case 'began':
      return [{ at, what: `opened as announced, until ${event.until}`, by: event.by }];
    case 'walls':
      return [{ at, what: event.state === 'closed' ? 'writes are refused' : 'writes work again' }];
    case 'soak':
      return [{ at, what: `soaking until ${event.until}` }];
    case 'settled':
      return [
        {
          at,
          step: event.step,
          what: [`${event.phase}: settled`, ...event.notes].join(' · '),
          ...(event.changes === 0 && !event.looks?.length ? { minor: true as const } : {}),
        },
      ];
    case 'checked':
      return [{ at, step: event.step, what: `${event.moment}: ${event.outcome} · ${event.summary}` }];
    case 'action':
      return event.state === 'began'
        ? []
        : [{ at, step: event.step, what: [`${event.edge}: ${event.state}`, ...event.summary].join(' · ') }];
    case 'failed':
      return [{ at, step: event.step, what: `failed: ${event.message}` }];
    case 'missed':
      return [{ at, step: event.step, what: `not written (${event.ids.join(', ')}): ${event.why}` }];
    case 'drift':
      return [{ at, step: event.step, what: `${event.id} ${event.gone ? 'removed' : 'changed'} by somebody else` }];
    case 'breach':
      return [
        {
          at,
          step: event.step,
          what: `${event.ids.join(', ')} does not refuse writes any more: somebody opened it after ${event.heldUntil}`,
        },
      ];
    case 'left':
      return [{ at, step: event.step, what: `given up (${event.ids.join(', ')}): ${event.reason}`, by: event.by }];
    default:
      return [];
  }
}
