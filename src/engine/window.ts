// A window is what its events say. fold() is the only reader of the journal's meaning; everything a person reads
// (labels, what is ours, what failed) is derived here, so that no illegal combination can be stored.
import type { Edge, Moment, Phase, Surface, Window } from './contract.ts';
import type { JournalEvent, Recorded, StateJson } from './events.ts';

export interface Owned {
  /** the state before our first write since we last released it */
  before: StateJson;
  /** what our last write returned, or what it was meant to write while `unknown` */
  after: StateJson;
  /** an intent without an outcome: what was there, and since when (RFC 3339) by which run */
  unknown?: { from: StateJson; at: string; token: number } | undefined;
  prior?: { before: StateJson; after: StateJson } | undefined;
}

export interface Checked {
  outcome: 'pass' | 'fail' | 'inconclusive' | 'unknown';
  summary: string;
  findings: string[];
  /** what somebody should look at although it passed */
  looks: string[];
  evidence: unknown;
  at: string;
  seq: number;
}

/** Somebody opened a wall of ours: writes were possible after `from` at the earliest, until `closedAgain`. RFC 3339. */
export interface Breach {
  step: string;
  ids: string[];
  /** the last time that a run saw it closed */
  from: string;
  /** when a run saw it open */
  found: string;
  closedAgain?: string | undefined;
  /** of the event that recorded it */
  seq: number;
  /** it was nobody: the guards opened at the end of the window (on_expiry: open) */
  expired?: true | undefined;
}

type Of<T extends JournalEvent['type']> = Extract<JournalEvent, { type: T }>;

export interface WindowState {
  id: string;
  lastSeq: number;
  /** the facts as opened */
  opened: Of<'opened'>;
  openedAt: string;
  window: Window;
  phase: Phase;
  /** seq of the event that made it this phase: what was checked or run before it does not count */
  phaseSeq: number;
  phaseAt: string;
  reached: boolean;
  /** another end was promised, and the run that promised it was cut off before the world had followed */
  behind: boolean;
  /** a run began, and its end is not recorded: it acts, or was cut off */
  running: boolean;
  owned: Map<string, Map<string, Owned>>;
  failures: Map<string, Of<'failed'>>;
  drifts: (Of<'drift'> & { at: string })[];
  left: (Of<'left'> & { at: string })[];
  /** what somebody should look at that is no drift, once each */
  looks: { step: string; text: string }[];
  checked: Map<string, Map<Moment, Checked>>;
  actions: Map<string, { state: 'began' | 'done' | 'failed'; seq: number; at: string; summary: string[] }>;
  spawned: Map<string, Of<'spawned'> & { at: string; token: number }>;
  /** the last note: `window.note` has its words */
  noted?: { at: string; by: string } | undefined;
  walls: 'open' | 'closed';
  /** when a run last saw each step as an open window wants it: RFC 3339 */
  seenAt: Map<string, string>;
  /** walls of ours that somebody opened */
  breaches: Breach[];
  /** from the first wall's outcome to the last wall's removal, each: RFC 3339 */
  walled: { closed: string; open: string | null }[];
  /** when guards and canaries saw writes refused first, and answered by the service again: RFC 3339, sorted */
  refusedAt: string[];
  answeredAt: string[];
  wallsClosedAt?: string | undefined;
  wallsOpenAt?: string | undefined;
  /** the soak of this phase: RFC 3339 */
  soakUntil?: string | undefined;
  soakSeq: number;
  /** when people were told something last: RFC 3339 */
  toldAt: string;
  lastActor: string;
  lastAt: string;
  /** another state acts on it since then */
  handed?: { to: string; by: string; at: string } | undefined;
  /** every state that ever took it in, this one last */
  carriers: string[];
}

/** Events that the notices follow. */
const TOLD: ReadonlySet<JournalEvent['type']> = new Set(['phase', 'extended', 'moved', 'overdue', 'note']);
const ENDED: ReadonlySet<Phase> = new Set(['closed', 'aborted']);

/** Folds a window's events. undefined: no such window. `surfaces` are parsed by who knows how (the journal keeps their text). */
export function fold(
  id: string,
  events: readonly Recorded[],
  surfaces: readonly Surface[] = [],
): WindowState | undefined {
  const first = events[0];
  if (first?.event.type !== 'opened') return undefined;
  const opened = first.event;
  const state: WindowState = {
    id,
    lastSeq: 0,
    opened,
    openedAt: first.at,
    window: {
      id,
      environment: opened.environment,
      since: opened.startsAt ?? first.at,
      until: opened.until,
      plannedUntil: opened.until,
      reason: opened.reason,
      ticket: opened.ticket,
      contact: opened.contact,
      statusPage: opened.statusPage,
      rollbackPlan: opened.rollbackPlan,
      overdueNotice: opened.overdueNotice,
      onExpiry: opened.onExpiry,
      overdue: false,
      by: opened.by,
      surfaces,
    },
    phase: opened.startsAt === undefined ? 'open' : 'announced',
    phaseSeq: first.seq,
    phaseAt: first.at,
    reached: false,
    behind: false,
    running: false,
    owned: new Map(),
    failures: new Map(),
    drifts: [],
    left: [],
    looks: [],
    checked: new Map(),
    actions: new Map(),
    spawned: new Map(),
    walls: 'open',
    seenAt: new Map(),
    breaches: [],
    walled: [],
    refusedAt: [],
    answeredAt: [],
    soakSeq: 0,
    carriers: [],
    toldAt: first.at,
    lastActor: opened.by,
    lastAt: first.at,
  };
  for (const recorded of events) apply(state, recorded);
  return state;
}

/** Adds one recorded event. The run uses it after each durable append, so that memory is never ahead of the journal. */
export function apply(state: WindowState, { seq, at, token, event }: Recorded): void {
  state.lastSeq = seq;
  state.lastAt = at;
  if (TOLD.has(event.type)) state.toldAt = at;
  switch (event.type) {
    case 'opened':
      return;
    case 'moved':
      state.window = { ...state.window, since: event.startsAt, until: event.until, plannedUntil: event.until };
      state.behind = true;
      return;
    case 'began':
      state.window = { ...state.window, since: at, until: event.until, plannedUntil: event.until, overdue: false };
      state.behind = true;
      return;
    case 'phase':
      state.phase = event.phase;
      state.phaseSeq = seq;
      state.phaseAt = at;
      state.reached = false;
      state.behind = false;
      state.soakUntil = undefined;
      return;
    case 'reached':
      state.reached = true;
      state.behind = false;
      if (ENDED.has(event.phase)) {
        state.owned.clear();
        state.failures.clear();
      }
      return;
    case 'extended':
      // past its end the guards had opened: they close again now
      if (state.window.onExpiry === 'open' && state.walls === 'closed' && at > state.window.until)
        state.breaches.push({
          step: '',
          ids: [],
          from: state.window.until,
          found: at,
          closedAgain: at,
          seq,
          expired: true,
        });
      state.window = { ...state.window, until: event.until, overdue: false };
      state.behind = true;
      return;
    case 'overdue':
      state.window = { ...state.window, overdue: true };
      return;
    case 'note':
      state.window = { ...state.window, note: event.text };
      state.noted = { at, by: event.by };
      return;
    case 'walls':
      state.walls = event.state;
      if (event.state === 'closed') {
        if (state.walled.at(-1)?.open !== null) state.walled.push({ closed: at, open: null });
        state.wallsClosedAt ??= at;
        state.window = { ...state.window, reopened: undefined };
      } else {
        const last = state.walled.at(-1);
        if (last?.open === null) last.open = at;
        state.wallsOpenAt = at;
        state.window = { ...state.window, reopened: at };
      }
      return;
    case 'intent': {
      const mine = ofStep(state, event.step);
      for (const change of event.changes) {
        const own = mine.get(change.id);
        mine.set(change.id, {
          before: own ? own.before : change.from,
          after: change.to,
          unknown: { from: change.from, at, token },
          // what was seen there, and taken for ours, when this was decided: an earlier unknown outcome is settled by that
          prior: own && { before: own.before, after: change.from },
        });
      }
      return;
    }
    case 'outcome': {
      const mine = ofStep(state, event.step);
      for (const { id, is } of event.results) {
        const own = mine.get(id);
        if (own) mine.set(id, { before: own.before, after: is });
      }
      if (state.phase === 'open') state.seenAt.set(event.step, at);
      for (const breach of state.breaches) {
        if (breach.step !== event.step || breach.closedAgain !== undefined || state.phase !== 'open') continue;
        if (event.results.some(({ id }) => breach.ids.includes(id))) breach.closedAgain = at;
      }
      state.spawned.delete(event.step);
      return;
    }
    case 'missed': {
      const mine = ofStep(state, event.step);
      for (const id of event.ids) {
        const own = mine.get(id);
        if (own?.prior) mine.set(id, own.prior);
        else mine.delete(id);
      }
      state.spawned.delete(event.step);
      return;
    }
    case 'spawned':
      state.spawned.set(event.step, { ...event, at, token });
      return;
    case 'released':
    case 'left': {
      const mine = ofStep(state, event.step);
      for (const id of event.ids) mine.delete(id);
      if (event.type === 'left') {
        state.left.push({ ...event, at });
        if (mine.size === 0) state.failures.delete(event.step);
      }
      return;
    }
    case 'drift': {
      state.drifts = state.drifts.filter((drift) => drift.step !== event.step || drift.id !== event.id);
      state.drifts.push({ ...event, at });
      if (event.released) ofStep(state, event.step).delete(event.id);
      return;
    }
    case 'breach':
      state.breaches.push({ step: event.step, ids: event.ids, from: event.heldUntil, found: at, seq });
      return;
    case 'action':
      state.actions.set(actionKey(event.step, event.edge), { state: event.state, seq, at, summary: event.summary });
      return;
    case 'checked': {
      const moments = state.checked.get(event.step) ?? new Map<Moment, Checked>();
      moments.set(event.moment, {
        outcome: event.outcome,
        summary: event.summary,
        findings: event.findings,
        looks: event.looks ?? [],
        evidence: event.evidence,
        at,
        seq,
      });
      state.checked.set(event.step, moments);
      addTimes(state.refusedAt, event.evidence, ['firstRefusedAt', 'first_refused_at']);
      addTimes(state.answeredAt, event.evidence, ['firstAnsweredAt', 'first_answered_at']);
      return;
    }
    case 'soak':
      state.soakUntil = event.until;
      state.soakSeq = seq;
      return;
    case 'settled':
      if (event.phase === 'open') state.seenAt.set(event.step, at);
      state.failures.delete(event.step);
      for (const text of event.looks ?? []) {
        if (!state.looks.some((one) => one.step === event.step && one.text === text))
          state.looks.push({ step: event.step, text });
      }
      return;
    case 'failed':
      state.failures.set(event.step, event);
      return;
    case 'handed':
      state.handed = { to: event.to, by: event.by, at };
      return;
    case 'received':
      state.handed = undefined;
      if (event.carrier !== undefined) {
        state.carriers = [...state.carriers, event.carrier];
        state.window = { ...state.window, carrier: event.carrier };
      }
      return;
    case 'run':
      state.running = event.state === 'began';
      if (event.state === 'began') state.lastActor = event.owner;
      // a note moves nothing
      else if (event.verb !== 'note') state.behind = false;
      return;
  }
}

/** Every such time anywhere in a check's evidence, in the journal's own form. */
function addTimes(times: string[], evidence: unknown, keys: readonly string[]): void {
  if (evidence === null || typeof evidence !== 'object') return;
  for (const [key, value] of Object.entries(evidence)) {
    if (!keys.includes(key)) addTimes(times, value, keys);
    else if (typeof value === 'string' || typeof value === 'number') {
      const at = new Date(value);
      if (Number.isNaN(at.getTime()) || times.includes(at.toISOString())) continue;
      times.push(at.toISOString());
      times.sort();
    }
  }
}

export function ofStep(state: WindowState, step: string): Map<string, Owned> {
  let mine = state.owned.get(step);
  if (!mine) {
    mine = new Map();
    state.owned.set(step, mine);
  }
  return mine;
}

export function actionKey(step: string, edge: Edge): string {
  return `${step} ${edge}`;
}

/** Whether a check has an outcome at this moment since the phase began (`before` counts for the whole window). */
export function checkedInPhase(state: WindowState, step: string, moment: Moment): Checked | undefined {
  const checked = state.checked.get(step)?.get(moment);
  if (!checked) return undefined;
  if (moment === 'before') return checked;
  // a soak that is done afresh is watched afresh
  return checked.seq > Math.max(state.phaseSeq, moment === 'soaking' ? state.soakSeq : 0) ? checked : undefined;
}

export function evidenceOf(
  state: Pick<WindowState, 'checked'> | undefined,
  step: string,
): Partial<Record<Moment, any>> {
  return Object.fromEntries(
    [...(state?.checked.get(step) ?? [])].map(([moment, checked]) => [moment, checked.evidence]),
  );
}

export type Label =
  | 'scheduled'
  | 'opening'
  | 'closing'
  | 'aborting'
  | 'interrupted'
  | 'open'
  | 'overdue'
  | 'soaking'
  | 'soak unattended'
  | 'soak bad'
  | 'held'
  | 'needs a human'
  | 'closed'
  | 'aborted'
  | 'handed over';

/** The labels of a window. `alive`: a run holds the lease. `now`: epoch milliseconds. */
export function label(state: WindowState, alive: boolean, now: number): Label {
  const { phase, reached, behind } = state;
  if (state.handed) return 'handed over';
  if (phase === 'announced') return reached && !behind ? 'scheduled' : alive ? 'opening' : 'interrupted';
  if (phase === 'open') {
    if (!reached) {
      if (alive) return 'opening';
      return state.failures.size > 0 ? 'held' : 'interrupted';
    }
    // what the guards and the page still say may end before what status would show
    if (behind && !alive) return 'interrupted';
    return Date.parse(state.window.until) <= now ? 'overdue' : 'open';
  }
  if (phase === 'soaking') {
    if (!reached) {
      if (alive) return 'closing';
      return state.failures.size > 0 ? 'needs a human' : 'interrupted';
    }
    if (soakVerdict(state) === 'bad') return 'soak bad';
    return alive ? 'soaking' : 'soak unattended';
  }
  // All is done, and the last entry is missing: the window is not over before it is there.
  if (reached && !state.running) return phase;
  if (alive) return phase === 'closed' ? 'closing' : 'aborting';
  return state.failures.size > 0 ? 'needs a human' : 'interrupted';
}

/** How the soak of this phase ended, from its checks; `skip`: in spite of these. */
export function soakVerdict(state: WindowState, skip: ReadonlySet<string> = new Set()): 'none' | 'good' | 'bad' {
  if (state.phase !== 'soaking' || state.soakUntil === undefined) return 'none';
  let verdict: 'none' | 'good' | 'bad' = 'none';
  for (const [step, moments] of state.checked) {
    const checked = moments.get('soaking');
    if (!checked || checked.seq < state.soakSeq || skip.has(step)) continue;
    if (checked.outcome === 'fail') return 'bad';
    verdict = 'good';
  }
  return verdict;
}

/** How many things the last verb could not do. */
export function failedThings(state: WindowState): number {
  let sum = 0;
  for (const failure of state.failures.values()) sum += Math.max(1, failure.ids.length);
  return sum;
}

/** A wall that somebody opened, and that nobody has closed again. */
export function openBreach(state: WindowState, step?: string): Breach | undefined {
  return state.breaches.findLast(
    (breach) => breach.closedAgain === undefined && (step === undefined || breach.step === step),
  );
}

/** Everything that is still ours, one entry each. */
export function stillOurs(state: WindowState): { step: string; id: string; owned: Owned }[] {
  const all: { step: string; id: string; owned: Owned }[] = [];
  for (const [step, mine] of state.owned) for (const [id, owned] of mine) all.push({ step, id, owned });
  return all;
}
