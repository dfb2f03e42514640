// What converge would do, with nothing written. Observing is real, deciding is the same function, writing is done to a
// copy in memory: so the plan of an end, of a start and a whole rehearsal are one mechanism.
import { actionEdges, isOwed } from './actions.ts';
import { type Answer, type Asker, ask, LOOK_MS } from './ask.ts';
import { passed } from './checks.ts';
import { type Is, type Phase, Refusal, type Resource, type Step, Unknown, type Window } from './contract.ts';
import { type Decision, decide } from './decide.ts';
import type { Clients } from './io.ts';
import { notesOf } from './notes.ts';
import { phaseOrder } from './order.ts';
import { isClosing, roleOf } from './roles.ts';
import { ownedView, see } from './see.ts';
import { checkedInPhase, type Owned, type WindowState } from './window.ts';
import { utc } from './words.ts';

export type Seen = Map<string, Is<any> | Unknown>;
/** By step id. A whole step that could not be seen is an Unknown. */
export type World = Map<string, Seen | Unknown>;
export type OwnedWorld = Map<string, Map<string, Owned>>;

export interface PlannedChange {
  id: string;
  from: Is<any>;
  to: Is<any>;
}
export interface PlannedStep {
  id: string;
  uses: string;
  /** `flag/redis maint:read_only` without secrets */
  address: string;
  role: string;
  kind: 'resource' | 'action' | 'check';
  verdict: 'change' | 'in sync' | 'runs' | 'cannot tell' | 'later' | 'skipped';
  changes: PlannedChange[];
  notes: string[];
  /** the things that would change, as people know them, where the plugin names them */
  items?: string[] | undefined;
  unknown: { id: string; why: string; refused: boolean }[];
  drift: Decision['drift'];
  /** walls of ours that somebody opened */
  breached: string[];
  /** rights that are missing, in words */
  missing: string[];
  /** why nobody could be asked for the rights */
  unasked?: string | undefined;
  /** what cannot be reached or used, in words */
  unusable?: string[] | undefined;
  refusal?: { message: string; next?: string | undefined } | undefined;
  skipped?: string | undefined;
  group?: number | undefined;
}
export interface Plan {
  phases: Phase[];
  steps: PlannedStep[];
  /** changes and actions */
  changes: number;
}

export interface Looking extends Asker {
  steps: readonly Step[];
  clients: Clients;
}

/** observe() refused: start refuses with its words, and everything else goes on with the rest of the world. */
class Refused extends Unknown {
  readonly next: string | undefined;
  constructor(refusal: Refusal) {
    super(refusal.message, true);
    this.next = refusal.next;
  }
}

/** Sees everything once, side by side, without retries. */
export async function look(
  looking: Looking,
  window: Window,
  owned: ReadonlyMap<string, ReadonlyMap<string, Owned>>,
  wanted: (step: Step) => boolean = () => true,
  withinMs = LOOK_MS,
  phase: Phase = 'open',
): Promise<World> {
  const world: World = new Map();
  const steps = looking.steps.filter((step) => !step.skipped && step.plugin.kind === 'resource' && wanted(step));
  const seen = await Promise.all(
    steps.map(async (step): Promise<Seen | Unknown> => {
      try {
        const deadline = looking.now() + Math.min(withinMs, step.deadlineMs);
        const reader = looking.clients.reader({ signal: looking.signal, deadline });
        return (await see(step, reader, { phase, window, owned: ownedView(owned.get(step.id)) })).states;
      } catch (error) {
        if (looking.signal.aborted) throw looking.signal.reason;
        if (error instanceof Refusal) return new Refused(error);
        return new Unknown(error instanceof Error ? error.message : String(error));
      }
    }),
  );
  for (const [at, step] of steps.entries()) world.set(step.id, seen[at]!);
  return world;
}

/** One step to one phase, in memory: `seen` and `mine` become what they would be. */
export function simulateStep(step: Step, phase: Phase, window: Window, mine: Map<string, Owned>, seen: Seen): Decision {
  const all: Decision = { changes: [], release: [], settled: [], breached: [], drift: [], unknown: [], pending: [] };
  for (let turn = 0; ; turn++) {
    const decision = decide(step, phase, window, mine, seen);
    if (turn === 0) {
      all.unknown = decision.unknown;
      all.breached = decision.breached;
      all.pending = decision.pending;
    }
    for (const { id, is } of decision.settled) mine.set(id, { before: mine.get(id)!.before, after: is });
    for (const id of decision.release) mine.delete(id);
    for (const drift of decision.drift) {
      if (drift.released) mine.delete(drift.id);
      if (!all.drift.some((one) => one.id === drift.id)) all.drift.push(drift);
    }
    all.release.push(...decision.release);
    const changing = new Set(decision.changes.map((change) => change.id));
    for (const { id } of decision.pending) if (!changing.has(id)) mine.delete(id);
    if (decision.changes.length === 0) return all;
    if (turn > 4)
      throw new Refusal(
        `${step.id} never settles: ${decision.changes
          .map((change) => change.id)
          .slice(0, 3)
          .join(', ')} would change again and again`,
      );
    for (const { id, from, to } of decision.changes) {
      const own = mine.get(id);
      mine.set(id, { before: own ? own.before : from, after: to });
      seen.set(id, to);
      if (turn === 0) all.changes.push({ id, from, to });
    }
  }
}

export function copyOwned(owned: ReadonlyMap<string, ReadonlyMap<string, Owned>>): OwnedWorld {
  return new Map([...owned].map(([step, mine]) => [step, new Map(mine)]));
}
export function copyWorld(world: World): World {
  return new Map([...world].map(([step, seen]) => [step, seen instanceof Unknown ? seen : new Map(seen)]));
}

/** The steps a phase acts on, in its order; of an opening phase also the checks that come later. */
export function phaseSteps(steps: readonly Step[], phase: Phase, owned: OwnedWorld): Step[] {
  const order = phaseOrder(steps, phase, {
    owns: (step) => (owned.get(step.id)?.size ?? 0) > 0,
    acts: () => true,
    behind: false,
  });
  if (phase !== 'open') return order;
  return [...order, ...steps.filter((step) => !step.skipped && !order.includes(step))];
}

/** The plan of going through `phases` one after the other. */
export async function plan(
  looking: Looking,
  window: Window,
  state: WindowState | undefined,
  phases: readonly Phase[],
  options: { rights?: boolean | 'all'; reads?: boolean; world?: World } = {},
): Promise<Plan> {
  const first = phases[0]!;
  const owned = copyOwned(state?.owned ?? new Map());
  const early = options.rights !== false && state === undefined ? askEarly(looking, options) : new Map();
  const world = options.world
    ? copyWorld(options.world)
    : await look(
        looking,
        window,
        owned,
        (step) => !isClosing(first) || (owned.get(step.id)?.size ?? 0) > 0,
        LOOK_MS,
        first,
      );
  const planned = new Map<string, PlannedStep>();
  const firstWall = looking.steps.find((step) => roleOf(step) === 'wall' && !step.skipped)?.id;
  for (const phase of phases) {
    // A notice says when writes worked again; what time that will be, a plan cannot know, and any time tells the same.
    const at =
      isClosing(phase) && window.reopened === undefined
        ? { ...window, reopened: new Date(looking.now()).toISOString() }
        : window;
    for (const step of phaseSteps(looking.steps, phase, owned)) {
      const entry = planned.get(step.id) ?? blank(step);
      planned.set(step.id, entry);
      if (step.plugin.kind === 'action') {
        const edges = {
          announced: [],
          open: ['open'],
          soaking: ['reopen'],
          closed: ['closed'],
          aborted: ['reopen', 'closed'],
        }[phase] as string[];
        if (state?.phase === phase && actionEdges(state, step, phase).length === 0) {
          entry.notes = ['done before'];
          continue;
        }
        const owed = phase === 'closed' && state !== undefined && isOwed(state, step, 'reopen');
        if (owed || step.plugin.on.some((edge) => edges.includes(edge))) entry.verdict = 'runs';
      } else if (step.plugin.kind === 'check') {
        if (!step.plugin.on.includes('open')) {
          entry.verdict = 'later';
          entry.notes = [step.plugin.on.includes('soaking') ? 'during the soak' : 'at the end'];
          continue;
        }
        const before = state?.phase === phase ? checkedInPhase(state, step.id, 'open') : undefined;
        if (before && passed(before)) {
          entry.notes = [`checked before: ${before.summary}`];
          continue;
        }
        entry.verdict = 'cannot tell';
        entry.notes = [
          state?.phase === phase && state.wallsClosedAt !== undefined
            ? 'not checked yet'
            : `cannot tell before ${firstWall ?? 'the window is open'}`,
          ...(step.plugin.doubts?.(step.params, window) ?? []),
        ];
      } else planResource(entry, step, phase, at, owned, world, state);
    }
  }
  if (options.rights !== false) await askSteps(looking, planned, options, early);
  const skipped = looking.steps
    .filter((step) => step.skipped)
    .map((step) => ({ ...blank(step), verdict: 'skipped' as const, skipped: step.skipped }));
  const steps = [...planned.values(), ...skipped];
  if (!isClosing(phases[0]!)) steps.sort((a, b) => index(looking.steps, a.id) - index(looking.steps, b.id));
  return {
    phases: [...phases],
    steps,
    changes: steps.reduce((sum, step) => sum + (step.verdict === 'runs' ? 1 : step.changes.length), 0),
  };
}

function planResource(
  entry: PlannedStep,
  step: Step,
  phase: Phase,
  window: Window,
  owned: OwnedWorld,
  world: World,
  state: WindowState | undefined,
): void {
  const seen = world.get(step.id);
  if (seen === undefined) return;
  if (seen instanceof Unknown) {
    entry.verdict = 'cannot tell';
    entry.unknown = [{ id: '*', why: seen.why, refused: seen.refused }];
    entry.notes = [seen.why];
    if (seen instanceof Refused) entry.refusal = { message: seen.why, next: seen.next };
    return;
  }
  const resource = step.plugin as Resource;
  const mine = owned.get(step.id) ?? new Map<string, Owned>();
  owned.set(step.id, mine);
  const ownedBefore = ownedView(mine);
  const seenBefore = new Map(seen);
  try {
    const decision = simulateStep(step, phase, window, mine, seen);
    // by id: there may be ten thousand of them
    const earlier = new Map(entry.changes.map((change) => [change.id, change]));
    for (const change of decision.changes) {
      const known = earlier.get(change.id);
      if (known) known.to = change.to;
      else entry.changes.push(change);
    }
    entry.unknown.push(...decision.unknown);
    entry.drift.push(...decision.drift);
    entry.breached.push(...decision.breached);
    const notes = notesOf(resource, {
      params: step.params,
      phase,
      window,
      seen: seenBefore,
      changes: decision.changes,
      owned: ownedBefore,
      when: 'plan',
    });
    if (decision.changes.length > 0 || entry.notes.length === 0)
      entry.notes =
        notes.length > 0
          ? notes
          : [decision.changes.length > 0 ? `${decision.changes.length} would change` : 'in sync'];
    if (resource.listed)
      entry.items = entry.changes.flatMap(({ id, from, to }) =>
        (to ?? from) ? [resource.listed!(id, to ?? from)] : [],
      );
    const lastHeld = state?.seenAt.get(step.id);
    if (decision.breached.length > 0)
      entry.notes.push(
        `somebody opened it${lastHeld ? ` after ${utc(lastHeld)}` : ''}${isClosing(phase) ? '' : ': closed again'}`,
      );
    for (const drift of decision.drift.filter(({ id }) => !decision.breached.includes(id)))
      entry.notes.push(drift.gone ? `${drift.id} is gone already` : `${drift.id} was changed by somebody else`);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    entry.refusal = { message: error.message, next: error.next };
    entry.notes = [error.message];
  }
  entry.verdict = entry.changes.length > 0 ? 'change' : entry.unknown.length > 0 ? 'cannot tell' : 'in sync';
}

/** The checks of a new window: what these need does not depend on what is there, so it is asked beside the looks. */
function askEarly(looking: Looking, { reads }: { reads?: boolean }): Map<string, Promise<Answer>> {
  const asked = new Map<string, Promise<Answer>>();
  for (const step of looking.steps) {
    const { plugin } = step;
    if (step.skipped || plugin.kind !== 'check' || !(plugin.allowed || plugin.usable)) continue;
    if (plugin.watches && !reads) continue;
    const answer = ask(looking, step, []);
    // whoever waits for it hears of it
    answer.catch(() => undefined);
    asked.set(step.id, answer);
  }
  return asked;
}

/** `reads`: those of users too, which a start measures by itself; `all`: also of what would not be changed now. */
async function askSteps(
  looking: Looking,
  planned: ReadonlyMap<string, PlannedStep>,
  { rights, reads }: { rights?: boolean | 'all'; reads?: boolean },
  early: ReadonlyMap<string, Promise<Answer>>,
): Promise<void> {
  await Promise.all(
    looking.steps.map(async (step) => {
      const entry = planned.get(step.id);
      const { plugin } = step;
      if (!entry || !(plugin.allowed || plugin.usable)) return;
      if (entry.verdict === 'in sync' && rights !== 'all') return;
      if (plugin.kind === 'check' && plugin.watches && !reads) return;
      const { missing, unusable, unasked } = await (early.get(step.id) ?? ask(looking, step, entry.changes));
      entry.missing = missing;
      if (unusable.length > 0) entry.unusable = unusable;
      if (unasked === undefined) return;
      entry.unasked = unasked;
      entry.notes.push(`rights not asked: ${unasked}`);
    }),
  );
}

/** The ids of the steps whose rights could not be asked. */
export function unasked({ steps }: Pick<Plan, 'steps'>): string[] {
  return steps.filter(({ unasked }) => unasked !== undefined).map(({ id }) => id);
}

function blank(step: Step): PlannedStep {
  return {
    id: step.id,
    uses: step.plugin.name,
    // the variables of a skipped step are not filled in: unresolved, they have no printable address
    address: step.skipped ? '' : step.plugin.address(step.params),
    role: roleOf(step),
    kind: step.plugin.kind,
    verdict: 'in sync',
    changes: [],
    notes: [],
    unknown: [],
    drift: [],
    breached: [],
    missing: [],
    group: step.group,
  };
}

function index(steps: readonly Step[], id: string): number {
  return steps.findIndex((step) => step.id === id);
}

/** Whether two plans would do the same things to the same things (times move from one look to the next). */
export function samePlan(a: Plan, b: Plan): boolean {
  const shape = (plan: Plan) =>
    JSON.stringify(
      plan.steps.map((step) => [
        step.id,
        step.verdict,
        step.changes.map((change) => [change.id, change.from === null, change.to === null]),
        step.missing,
        step.refusal?.message,
        step.skipped,
      ]),
    );
  return shape(a) === shape(b);
}
