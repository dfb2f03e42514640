// The one way in which the outer world is changed: bring every step to what its phase wants. Start, end, undo, resume,
// extend and refreeze are all this function with another phase. For each step:
// observe -> desired -> changes -> intent durable -> write -> outcome durable -> observe again until nothing differs ->
// wait for what is in flight.
import { MaintError, OuterError } from '../errors/catalogue.ts';
import {
  type Change,
  type Edge,
  type Is,
  type Moment,
  type Phase,
  type Poll,
  Refusal,
  type Resource,
  Stale,
  type Step,
  Unknown,
} from './contract.ts';
import { type Decision, decide } from './decide.ts';
import type { JournalEvent, Progress, StateJson } from './events.ts';
import { type Clients, WRITE_DEADLINE_MS } from './io.ts';
import { point } from './points.ts';
import { endOrder, failurePolicy, isClosing, isHeld, roleOf } from './roles.ts';
import { actionKey, checkedInPhase, evidenceOf, type Owned, ofStep, type WindowState } from './window.ts';
import { utc } from './words.ts';

/** What a run gives to converge. */
export interface Acting {
  readonly steps: readonly Step[];
  readonly state: WindowState;
  readonly token: number;
  readonly clients: Clients;
  /** interrupted: no new write begins */
  readonly signal: AbortSignal;
  /** the write in flight is given up, too */
  readonly hard: AbortSignal;
  /** one durable append, then folded into `state`; throws when the window was taken over */
  record(events: JournalEvent[]): Promise<void>;
  /** before each outer write: the lease has more left than the write may take, and nobody took over */
  mayWrite(deadlineMs: number): Promise<void>;
  /** epoch milliseconds */
  now(): number;
  /** resolves at `until` or as soon as the run is interrupted (rejects) */
  wait(until: number): Promise<void>;
  emit(progress: Progress): void;
  /** whether a process that this or another run spawned still runs; undefined: it is on another machine */
  running(process: { pid: number; startTime: string; host: string }): boolean | undefined;
  /** this machine, as journalled beside a spawned command's pid */
  readonly machine: string;
  /** [0, 1) */
  random(): number;
}

export interface StepFailure {
  step: string;
  code: 'E_FAILED' | 'E_STILL_RUNNING' | 'E_NOT_ALLOWED' | 'E_REFUSED' | 'E_ELSEWHERE' | 'E_BUG' | 'E_LEFT_BEHIND';
  message: string;
  ids: string[];
  next?: string | undefined;
  policy: 'undo' | 'hold' | 'continue';
}
export interface Converged {
  failures: StepFailure[];
  /** the step at which a start stopped */
  stopped?: StepFailure | undefined;
}

/** How long a check may hold up the walls at `reopen`: writes are refused meanwhile. */
const REOPEN_CHECK_MS = 15_000;
const CONTINUE_MS = 10_000;
const BACKOFF_BASE_MS = 250;
const BACKOFF_CAP_MS = 5_000;
/** Journal entries per commit: the lease is renewed in between. */
const WAVE = 64;

export async function converge(
  acting: Acting,
  phase: Phase,
  options: { verb: string; undo?: boolean; skip?: ReadonlySet<string> } = { verb: 'converge' },
): Promise<Converged> {
  const { state } = acting;
  const steps = acting.steps.filter((step) => !step.skipped);
  if (state.phase !== phase) await acting.record([{ type: 'phase', phase, verb: options.verb }]);
  const order = isClosing(phase) ? closingOrder(acting, steps, phase) : openingOrder(steps);
  acting.emit({
    type: 'phase',
    phase,
    undo: options.undo === true,
    budgetMs: phase === 'open' ? state.opened.budgetMs : undefined,
    steps: [...order, ...(isClosing(phase) ? [] : acting.steps.filter((step) => step.skipped))].map((step) => ({
      id: step.id,
      uses: step.plugin.name,
      group: step.group,
      skipped: step.skipped,
    })),
  });
  const result = isClosing(phase)
    ? await close(acting, phase, order, options.skip ?? new Set())
    : await open(acting, phase, order);
  const soft = result.failures.every((failure) => failure.policy === 'continue');
  if (result.failures.length === 0 || (!isClosing(phase) && soft)) {
    if (!state.reached) await acting.record([{ type: 'reached', phase }]);
  }
  return result;
}

/** An action at `open` needs the walls closed: what stands before the last wall waits for it. */
function openingOrder(steps: readonly Step[]): Step[] {
  const lastWall = steps.findLastIndex((step) => roleOf(step) === 'wall');
  const early = steps.slice(0, Math.max(lastWall, 0)).filter((step) => step.plugin.kind === 'action');
  if (early.length === 0) return [...steps];
  const rest = steps.filter((step) => !early.includes(step));
  const at = rest.findLastIndex((step) => roleOf(step) === 'wall') + 1;
  return [...rest.slice(0, at), ...early, ...rest.slice(at)];
}

/** The end touches only what did something. What the soak still holds waits for the end of the soak. */
function closingOrder(acting: Acting, steps: readonly Step[], phase: Phase): Step[] {
  return endOrder(steps).filter((step) => {
    if (step.plugin.kind === 'check') return false;
    if (step.plugin.kind === 'action') return actionEdges(acting.state, step, phase).length > 0;
    if (isHeld(step, phase) && roleOf(step) !== 'notice') return false;
    return ofStep(acting.state, step.id).size > 0;
  });
}

async function open(acting: Acting, phase: Phase, order: readonly Step[]): Promise<Converged> {
  const failures: StepFailure[] = [];
  for (let at = 0; at < order.length; ) {
    const first = order[at]!;
    let end = at + 1;
    while (first.group !== undefined && end < order.length && order[end]!.group === first.group) end++;
    const group = order.slice(at, end);
    // Every member finishes its write, whatever happens to the others: the undo must know what was done.
    const results = await Promise.allSettled(group.map((step) => takeOpening(acting, step, phase)));
    for (const result of results) {
      if (result.status === 'rejected') throw result.reason;
      if (result.value) failures.push(result.value);
    }
    const stopped = failures.find((failure) => failure.policy !== 'continue');
    if (stopped) return { failures, stopped };
    at = end;
  }
  return { failures };
}

/** Writes are refused from the first wall on, and also by a wall that failed half-way: the undo must tell since when. */
async function takeOpening(acting: Acting, step: Step, phase: Phase): Promise<StepFailure | undefined> {
  const failure = await takeStep(acting, step, phase);
  if (
    phase === 'open' &&
    roleOf(step) === 'wall' &&
    acting.state.walls === 'open' &&
    ofStep(acting.state, step.id).size > 0
  ) {
    await acting.record([{ type: 'walls', state: 'closed' }]);
  }
  return failure;
}

async function close(
  acting: Acting,
  phase: Phase,
  order: readonly Step[],
  skip: ReadonlySet<string>,
): Promise<Converged> {
  const failures: StepFailure[] = [];
  if (phase === 'soaking' && acting.state.walls === 'closed')
    await runChecks(acting, 'reopen', acting.now() + REOPEN_CHECK_MS);
  for (const step of order.filter((one) => roleOf(one) === 'wall' && !skip.has(one.id))) {
    const failure = await takeStep(acting, step, phase);
    if (failure) failures.push(failure);
  }
  const wallsLeft = acting.steps.some(
    (step) => roleOf(step) === 'wall' && ofStep(acting.state, step.id).size > 0 && !isHeld(step, phase),
  );
  if (!wallsLeft && acting.state.walls === 'closed') {
    await acting.record([{ type: 'walls', state: 'open' }]);
    acting.emit({ type: 'said', text: `read-write since ${utc(acting.state.window.reopened ?? acting.now())}` });
  }
  // A wall that stays closed keeps everything else as it is at the end of a window: there is nothing to soak.
  // An undo goes on: what was stopped must run again even so.
  if (failures.length > 0 && phase === 'soaking') return { failures, stopped: failures[0] };
  for (const step of order.filter((one) => roleOf(one) !== 'wall' && !skip.has(one.id))) {
    const failure = await takeStep(acting, step, phase);
    if (failure) failures.push(failure);
  }
  // Left as it is for now, so the window is not over; asked of the whole list, since a step whose secrets are missing
  // is in no order.
  for (const step of acting.steps) {
    if (skip.has(step.id) && ofStep(acting.state, step.id).size > 0)
      failures.push(await skippedAtEnd(acting, step, phase));
  }
  if (phase === 'soaking') return { failures };
  // The end must equal the beginning, `leaves` aside: nothing may be forgotten because a step is not in the list any more.
  for (const [id, mine] of acting.state.owned) {
    const step = acting.steps.find((one) => one.id === id);
    const leaves = step?.plugin.kind === 'resource' && step.plugin.leaves !== undefined;
    if (mine.size === 0 || leaves || failures.some((failure) => failure.step === id)) continue;
    const failure: StepFailure = {
      step: id,
      code: 'E_LEFT_BEHIND',
      message: `${mine.size} still ours after the end`,
      ids: [...mine.keys()],
      policy: 'continue',
    };
    failures.push(failure);
    await recordFailure(acting, failure, phase);
  }
  return { failures };
}

async function skippedAtEnd(acting: Acting, step: Step, phase: Phase): Promise<StepFailure> {
  const text = 'skipped, still as in the window';
  acting.emit({ type: 'step-ended', step: step.id, label: step.plugin.name, result: 'skipped', text, ms: 0 });
  const ids = [...ofStep(acting.state, step.id).keys()];
  const failure: StepFailure = { step: step.id, code: 'E_LEFT_BEHIND', message: text, ids, policy: 'continue' };
  await recordFailure(acting, failure, phase);
  return failure;
}

/** One step to its phase. A failure is journalled and returned; being interrupted or taken over is thrown. */
async function takeStep(acting: Acting, step: Step, phase: Phase): Promise<StepFailure | undefined> {
  const began = acting.now();
  const done: Change<any>[] = [];
  acting.emit({ type: 'step-began', step: step.id, label: step.plugin.name });
  let text: string[];
  let drifted = false;
  let looks: string[] = [];
  try {
    if (step.plugin.kind === 'resource') {
      const end = await takeResource(acting, step, phase, began, done);
      text = end.notes;
      drifted = end.drifted;
      looks = end.looks;
    } else if (step.plugin.kind === 'action') text = await takeAction(acting, step, phase, began);
    else {
      const checked = await takeCheck(acting, step, 'open', began + step.deadlineMs);
      text = [checked.text];
      drifted = checked.look;
    }
  } catch (error) {
    if (isFatal(acting, error)) throw error;
    const failure = describe(step, error);
    await recordFailure(acting, failure, phase);
    acting.emit({
      type: 'step-ended',
      step: step.id,
      label: step.plugin.name,
      result: 'failed',
      text: failure.message,
      ms: acting.now() - began,
    });
    return failure;
  }
  const ms = acting.now() - began;
  await acting.record([
    {
      type: 'settled',
      step: step.id,
      phase,
      ms,
      changes: done.length,
      notes: text,
      ...(looks.length > 0 ? { looks } : {}),
    },
  ]);
  acting.emit({
    type: 'step-ended',
    step: step.id,
    label: step.plugin.name,
    result: drifted || looks.length > 0 ? 'look' : 'ok',
    text: text.join(' · '),
    ms,
  });
  return undefined;
}

async function recordFailure(acting: Acting, failure: StepFailure, phase: Phase): Promise<void> {
  await acting.record([
    {
      type: 'failed',
      step: failure.step,
      phase,
      code: failure.code,
      message: failure.message,
      ids: failure.ids,
      next: failure.next,
    },
  ]);
}

/** An error of a step, said as a failure. What a step cannot know (the policy) comes from its role. */
function describe(step: Step, error: unknown): StepFailure {
  const policy = failurePolicy(step);
  if (error instanceof StepProblem)
    return {
      step: step.id,
      code: error.code,
      message: error.message,
      ids: error.ids,
      next: error.next,
      policy: error.code === 'E_ELSEWHERE' ? 'hold' : policy,
    };
  if (error instanceof Refusal)
    return { step: step.id, code: 'E_REFUSED', message: error.message, ids: [], next: error.next, policy };
  const message = error instanceof Error ? error.message : String(error);
  const code =
    error instanceof OuterError || error instanceof MaintError
      ? 'E_FAILED'
      : error instanceof Error && error.name !== 'Error'
        ? 'E_BUG'
        : 'E_FAILED';
  return {
    step: step.id,
    code,
    message: code === 'E_BUG' ? `${error instanceof Error ? error.name : 'error'}: ${message}` : message,
    ids: [],
    policy,
  };
}

class StepProblem extends Error {
  readonly code: StepFailure['code'];
  readonly ids: string[];
  readonly next: string | undefined;
  constructor(code: StepFailure['code'], message: string, ids: string[] = [], next?: string) {
    super(message);
    this.code = code;
    this.ids = ids;
    this.next = next;
  }
}

function isFatal(acting: Acting, error: unknown): boolean {
  if (acting.signal.aborted) return true;
  return (
    error instanceof MaintError &&
    (error.code === 'E_TAKEN_OVER' || error.code === 'E_INTERRUPTED' || error.code === 'E_STATE')
  );
}

// --- resources ---------------------------------------------------------------------------------------------------

async function takeResource(
  acting: Acting,
  step: Step,
  phase: Phase,
  began: number,
  done: Change<any>[],
): Promise<{ notes: string[]; looks: string[]; drifted: boolean }> {
  const resource = step.plugin as Resource;
  const { state } = acting;
  const closing = isClosing(phase);
  const before = new Map(
    [...ofStep(state, step.id)].map(([id, own]) => [id, { before: own.before, after: own.after }]),
  );
  // A notice that is down must not hold up a window: at start it is tried for 10 s, and by the next start again.
  const patience = !closing && failurePolicy(step) === 'continue' ? CONTINUE_MS : Number.POSITIVE_INFINITY;
  let deadline = began + Math.min(step.deadlineMs, patience);
  const answered = new Set<string>();
  const firstSeen = new Map<string, number>();
  let attempts = 0;
  let problem: unknown;
  const drifted: Decision['drift'] = [];
  let seen: Map<string, Is<any> | Unknown> = new Map();

  await waitForSpawned(acting, step, deadline);
  for (;;) {
    if (acting.now() > deadline && attempts > 0)
      throw problem ?? new StepProblem('E_FAILED', `does not come to rest within ${seconds(step.deadlineMs)}`);
    const lookedAt = acting.now();
    let decision: Decision;
    try {
      seen = await observe(acting, step, deadline);
      decision = decide(step, phase, state.window, ofStep(state, step.id), seen);
    } catch (error) {
      problem = error;
      if (!(await backOff(acting, error, attempts++, deadline, step))) throw error;
      continue;
    }
    const settle: JournalEvent[] = [];
    if (decision.settled.length > 0) settle.push({ type: 'outcome', step: step.id, results: decision.settled });
    if (decision.release.length > 0) settle.push({ type: 'released', step: step.id, ids: decision.release });
    for (const drift of decision.drift) {
      if (!drifted.some((one) => one.id === drift.id)) drifted.push(drift);
      if (!knownDrift(state, step.id, drift)) settle.push({ type: 'drift', step: step.id, ...drift });
    }
    if (settle.length > 0) await acting.record(settle);

    if (decision.pending.length > 0) {
      const ripensAt = (pending: Decision['pending'][number]) => {
        if (resource.local === true || answered.has(pending.id)) return 0;
        // By whichever clock is nearer: a clock that was set back must not make this wait for an hour. Each attempt has
        // its own time: one that was given up says nothing of the next.
        const attempt = `${pending.since} ${pending.id}`;
        if (!firstSeen.has(attempt)) firstSeen.set(attempt, lookedAt);
        return Math.min(Date.parse(pending.since), firstSeen.get(attempt) ?? lookedAt) + WRITE_DEADLINE_MS;
      };
      const green = decision.pending.filter((pending) => ripensAt(pending) > lookedAt);
      if (green.length > 0) {
        const until = Math.max(...green.map(ripensAt)) + 1;
        // What another run left open is not this one's time; what this one tried in vain is.
        if (green.some((pending) => pending.token !== acting.token))
          deadline = Math.max(deadline, until + step.deadlineMs);
        acting.emit({
          type: 'step-doing',
          step: step.id,
          text: `a write of ${green
            .map((one) => one.id)
            .slice(0, 3)
            .join(', ')} has no outcome yet and may still arrive`,
          givesUp: until,
        });
        await acting.wait(until);
        continue;
      }
      // Nothing arrived within the deadline of any write: it never will.
      await acting.record([
        {
          type: 'missed',
          step: step.id,
          ids: decision.pending.map((pending) => pending.id),
          why: 'not seen within the deadline of a write',
        },
      ]);
      continue;
    }
    if (decision.changes.length === 0) {
      if (decision.unknown.length === 0) break;
      const [first] = decision.unknown;
      problem = new StepProblem(
        first!.refused ? 'E_NOT_ALLOWED' : 'E_FAILED',
        `cannot tell the state of ${name(decision.unknown.map((one) => one.id))}: ${first!.why}`,
        decision.unknown.map((one) => one.id),
      );
      if (
        first!.refused ||
        !(await backOff(
          acting,
          new OuterError(first!.why, { effect: 'none', retryable: true }),
          attempts++,
          deadline,
          step,
        ))
      )
        throw problem;
      continue;
    }
    if (closing && step.pacePerMinute)
      deadline = Math.max(
        deadline,
        acting.now() + (decision.changes.length / step.pacePerMinute) * 60_000 + step.deadlineMs,
      );
    const outcome = await writeAll(acting, step, phase, decision.changes, done, answered);
    if (outcome.error === undefined) continue;
    problem = outcome.error;
    if (!(await backOff(acting, outcome.error, attempts++, deadline, step))) {
      throw outcome.error instanceof Stale
        ? new StepProblem('E_FAILED', `is changed by somebody else again and again (${outcome.error.message})`)
        : outcome.error;
    }
  }
  if (!closing && resource.inFlight) await waitInFlight(acting, step, phase, deadline);
  const context = {
    params: step.params,
    phase,
    window: state.window,
    seen,
    changes: done,
    owned: closing ? before : ownedView(ofStep(state, step.id)),
    when: 'done' as const,
  };
  const notes = resource.notes?.(context) ?? [
    closing ? `${done.length} as before` : done.length === 0 ? 'in sync' : `${done.length} changed`,
  ];
  for (const drift of drifted)
    notes.push(
      drift.gone
        ? `${drift.id} is gone already: somebody else removed it`
        : `${drift.id} was changed by somebody else${drift.released ? ', left as it is' : ''}`,
    );
  const looks = resource.look?.(context) ?? [];
  return { notes: [...notes, ...looks], looks, drifted: drifted.length > 0 };
}

function ownedView(mine: ReadonlyMap<string, Owned>): Map<string, { before: StateJson; after: StateJson }> {
  return new Map([...mine].map(([id, own]) => [id, { before: own.before, after: own.after }]));
}

function knownDrift(state: WindowState, step: string, drift: Decision['drift'][number]): boolean {
  if (drift.released) return false;
  return state.drifts.some(
    (one) =>
      one.step === step &&
      one.id === drift.id &&
      !one.released &&
      JSON.stringify(one.now) === JSON.stringify(drift.now),
  );
}

async function observe(acting: Acting, step: Step, deadline: number): Promise<Map<string, Is<any> | Unknown>> {
  const resource = step.plugin as Resource;
  const reader = acting.clients.reader({ signal: acting.signal, deadline });
  const known = new Map([...ofStep(acting.state, step.id)].map(([id, own]) => [id, own.after]));
  const seen = await resource.observe(reader, step.params, acting.state.window, known);
  for (const [id, state] of seen) {
    if (state === null || state instanceof Unknown) continue;
    const parsed = resource.State.safeParse(state);
    if (!parsed.success)
      throw new StepProblem(
        'E_BUG',
        `${resource.name} saw a state that is not of its own shape at ${id}: ${parsed.error.issues[0]?.message ?? ''}`,
      );
  }
  return seen;
}

/** Waves of intents, writes with bounded concurrency, outcomes: two commits a wave, however many changes. */
async function writeAll(
  acting: Acting,
  step: Step,
  phase: Phase,
  changes: readonly Change<any>[],
  done: Change<any>[],
  answered: Set<string>,
): Promise<{ error?: unknown }> {
  const resource = step.plugin as Resource;
  const paced = isClosing(phase) && step.pacePerMinute !== undefined;
  const batch = paced ? 1 : Math.min(resource.batch ?? 1, changes.length);
  const parts: Change<any>[][] = [];
  for (let at = 0; at < changes.length; at += batch) parts.push(changes.slice(at, at + batch));
  const width = paced ? 1 : WAVE;
  let written = 0;
  for (let at = 0; at < parts.length; at += width) {
    const pacedFrom = acting.now();
    const wave = parts.slice(at, at + width);
    await acting.mayWrite(WRITE_DEADLINE_MS);
    // Checked before the intent: what was never begun needs no outcome.
    throwIfInterrupted(acting);
    await recordChunked(acting, step, wave.flat());
    const { results, missed, error } = await writeWave(acting, step, wave, resource.concurrency ?? 8, answered);
    const events: JournalEvent[] = [];
    if (results.length > 0)
      events.push({
        type: 'outcome',
        step: step.id,
        results: results.map(({ change, is }) => ({ id: change.id, is })),
      });
    if (missed.length > 0)
      events.push({
        type: 'missed',
        step: step.id,
        ids: missed,
        why: error instanceof Error ? error.message : 'interrupted before it began',
      });
    if (events.length > 0) await acting.record(events);
    for (const { change } of results) done.push(change);
    written += results.length;
    if (changes.length > 1)
      acting.emit({
        type: 'step-doing',
        step: step.id,
        text: `${written} of ${changes.length}`,
        done: written,
        total: changes.length,
      });
    if (error !== undefined) {
      throwIfInterrupted(acting);
      return { error };
    }
    if (paced && at + width < parts.length) await acting.wait(pacedFrom + 60_000 / (step.pacePerMinute ?? 60));
  }
  return {};
}

async function recordChunked(acting: Acting, step: Step, changes: readonly Change<any>[]): Promise<void> {
  const events: JournalEvent[] = [];
  for (let at = 0; at < changes.length; at += 1000)
    events.push({
      type: 'intent',
      step: step.id,
      changes: changes.slice(at, at + 1000).map(({ id, from, to }) => ({ id, from, to })),
    });
  await acting.record(events);
}

async function writeWave(
  acting: Acting,
  step: Step,
  wave: readonly Change<any>[][],
  concurrency: number,
  answered: Set<string>,
) {
  const resource = step.plugin as Resource;
  const results: { change: Change<any>; is: Is<any> }[] = [];
  const missed: string[] = [];
  let error: unknown;
  let next = 0;
  async function worker(): Promise<void> {
    while (next < wave.length) {
      const part = wave[next++]!;
      if (error !== undefined || acting.signal.aborted) {
        missed.push(...part.map((change) => change.id));
        continue;
      }
      try {
        for (const change of part) answered.delete(change.id);
        const writer = acting.clients.writer({
          signal: acting.hard,
          deadline: acting.now() + WRITE_DEADLINE_MS,
          hooks: hooksOf(acting, step),
        });
        point(step.id, 'write', 'before');
        const is = await resource.write(writer, step.params, part, acting.state.window);
        point(step.id, 'write', 'after');
        if (is.length !== part.length)
          throw new StepProblem('E_BUG', `${resource.name} returned ${is.length} states for ${part.length} changes`);
        for (const [k, change] of part.entries()) results.push({ change, is: is[k] ?? null });
      } catch (cause) {
        error ??= cause;
        if (
          cause instanceof Stale ||
          (cause instanceof OuterError &&
            (cause.effect === 'none' || (cause.effect === 'answered' && !cause.retryable)))
        )
          missed.push(...part.map((change) => change.id));
        else if (cause instanceof OuterError && cause.effect === 'answered')
          for (const change of part) answered.add(change.id);
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(concurrency, wave.length) }, worker));
  return { results, missed, error };
}

function hooksOf(acting: Acting, step: Step) {
  return {
    before: (what: string) => point(step.id, `write ${what}`, 'before'),
    after: (what: string) => point(step.id, `write ${what}`, 'after'),
    spawned: (process: { pid: number; startTime: string }) =>
      acting.record([{ type: 'spawned', step: step.id, ...process, host: acting.machine }]),
  };
}

/** A command of a former run may still be writing: it is waited for, and where it cannot be seen a person must look. */
async function waitForSpawned(acting: Acting, step: Step, deadline: number): Promise<void> {
  const spawned = acting.state.spawned.get(step.id);
  if (!spawned || spawned.token === acting.token) return;
  const running = acting.running(spawned);
  if (running === undefined)
    throw new StepProblem(
      'E_ELSEWHERE',
      `a command of the last run (pid ${spawned.pid} on ${spawned.host}) may still run there`,
      [],
      `look on ${spawned.host}, then run this again from there`,
    );
  if (!running) return;
  acting.emit({
    type: 'step-doing',
    step: step.id,
    text: `waiting for the command of the last run (pid ${spawned.pid})`,
    givesUp: deadline,
  });
  const ended = await pollOf(acting)(100, async () => (acting.running(spawned) ? undefined : true), deadline);
  if (!ended)
    throw new StepProblem(
      'E_STILL_RUNNING',
      `the command of the last run (pid ${spawned.pid}) still runs`,
      [],
      `end it (kill ${spawned.pid}), then run this again`,
    );
}

async function waitInFlight(acting: Acting, step: Step, phase: Phase, deadline: number): Promise<void> {
  const resource = step.plugin as Resource;
  let running: string[] = [];
  let said = '';
  const settled = await pollOf(acting)(
    200,
    async () => {
      running = await resource.inFlight!(
        acting.clients.reader({ signal: acting.signal, deadline: deadline + 1000 }),
        step.params,
        phase,
      );
      const text = `waiting for ${name(running)}`;
      if (running.length > 0 && text !== said)
        acting.emit({ type: 'step-doing', step: step.id, text, givesUp: deadline });
      said = text;
      return running.length === 0 ? true : undefined;
    },
    deadline,
  );
  if (!settled)
    throw new StepProblem(
      'E_STILL_RUNNING',
      `${name(running)} still ${running.length === 1 ? 'runs' : 'run'} after ${seconds(step.deadlineMs)}`,
      running,
      `when ${name(running)} has finished, start again`,
    );
}

/** Waits before the next attempt; false: no further attempt is worth it. Full jitter, Retry-After honoured, never past the deadline. */
async function backOff(
  acting: Acting,
  error: unknown,
  attempt: number,
  deadline: number,
  step: Step,
): Promise<boolean> {
  throwIfInterrupted(acting);
  const stale = error instanceof Stale;
  if (!stale && !(error instanceof OuterError && error.retryable)) return false;
  const jitter = acting.random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** attempt);
  const pause =
    error instanceof OuterError && error.retryAfterMs !== undefined
      ? error.retryAfterMs + jitter
      : stale
        ? jitter / 5
        : jitter;
  const until = acting.now() + pause;
  if (until >= deadline) return false;
  if (pause > 500)
    acting.emit({
      type: 'step-doing',
      step: step.id,
      text: `${error instanceof Error ? error.message : error}; again in ${seconds(pause)}`,
      givesUp: deadline,
    });
  await acting.wait(until);
  return true;
}

function throwIfInterrupted(acting: Acting): void {
  if (acting.signal.aborted)
    throw acting.signal.reason instanceof Error ? acting.signal.reason : new MaintError('E_INTERRUPTED', 'interrupted');
}

export function pollOf(acting: Pick<Acting, 'now' | 'wait' | 'signal'>): Poll {
  return async (everyMs, attempt, deadline = Number.POSITIVE_INFINITY) => {
    for (;;) {
      const began = acting.now();
      const value = await attempt();
      if (value !== undefined) return value;
      if (acting.now() >= deadline) return undefined;
      await acting.wait(Math.min(Math.max(began + everyMs, acting.now()), deadline));
    }
  };
}

// --- actions -----------------------------------------------------------------------------------------------------

function actionEdges(state: WindowState, step: Step, phase: Phase): Edge[] {
  if (step.plugin.kind !== 'action') return [];
  const edges: Edge[] =
    phase === 'open'
      ? ['open']
      : phase === 'soaking'
        ? ['reopen']
        : phase === 'closed'
          ? ['closed']
          : phase === 'aborted'
            ? ['reopen', 'closed']
            : [];
  return edges.filter((edge) => {
    if (step.plugin.kind !== 'action' || !step.plugin.on.includes(edge)) return false;
    const action = state.actions.get(actionKey(step.id, edge));
    if (action?.state === 'done' && action.seq > state.phaseSeq) return false;
    // An undo purges only where the window got far enough to purge, or to close a wall.
    if (phase === 'aborted') return state.actions.has(actionKey(step.id, 'open')) || state.wallsClosedAt !== undefined;
    return true;
  });
}

async function takeAction(acting: Acting, step: Step, phase: Phase, began: number): Promise<string[]> {
  if (step.plugin.kind !== 'action') return [];
  const deadline = began + step.deadlineMs;
  const all: string[] = [];
  for (const edge of actionEdges(acting.state, step, phase)) {
    for (let attempt = 0; ; attempt++) {
      await acting.mayWrite(WRITE_DEADLINE_MS);
      throwIfInterrupted(acting);
      await acting.record([{ type: 'action', step: step.id, edge, state: 'began', summary: [] }]);
      try {
        const writer = acting.clients.writer({ signal: acting.hard, deadline, hooks: hooksOf(acting, step) });
        const summary = await step.plugin.run(writer, {
          params: step.params,
          edge,
          window: acting.state.window,
          deadline,
          poll: pollOf(acting),
        });
        await acting.record([{ type: 'action', step: step.id, edge, state: 'done', summary }]);
        all.push(...summary);
        break;
      } catch (error) {
        if (await backOff(acting, error, attempt, deadline, step)) continue;
        await acting.record([
          {
            type: 'action',
            step: step.id,
            edge,
            state: 'failed',
            summary: [error instanceof Error ? error.message : String(error)],
          },
        ]);
        throw error;
      }
    }
  }
  return all.length > 0 ? all : ['done before'];
}

// --- checks ------------------------------------------------------------------------------------------------------

/** One check at one moment; what passed already in this phase is not asked again. Throws where it failed. */
export async function takeCheck(
  acting: Acting,
  step: Step,
  moment: Moment,
  deadline: number,
): Promise<{ text: string; look: boolean }> {
  if (step.plugin.kind !== 'check' || !step.plugin.on.includes(moment))
    return { text: 'nothing to check now', look: false };
  const before = checkedInPhase(acting.state, step.id, moment);
  if (before?.outcome === 'pass' || before?.outcome === 'inconclusive') {
    return { text: `checked before: ${before.summary}`, look: before.outcome !== 'pass' };
  }
  const result = await runCheck(acting, step, moment, acting.state, deadline);
  await acting.record([{ type: 'checked', step: step.id, moment, ...result }]);
  if (result.outcome === 'pass') return { text: result.summary, look: false };
  if (result.outcome === 'inconclusive') return { text: `inconclusive: ${result.summary}`, look: true };
  const text = [result.summary, ...result.findings.filter((finding) => !result.summary.includes(finding))].join(' · ');
  if (result.outcome === 'fail') throw new StepProblem('E_FAILED', text);
  // Walls that nobody could look at are no walls to rely on.
  if (moment === 'open') throw new StepProblem('E_FAILED', `cannot tell: ${text}`);
  return { text: `cannot tell: ${text}`, look: true };
}

type CheckActing = Pick<Acting, 'clients' | 'signal' | 'now' | 'wait' | 'emit'>;

/** Runs a check and turns what it throws into an outcome: a check that cannot look cannot tell. */
export async function runCheck(
  acting: CheckActing,
  step: Step,
  moment: Moment,
  state: Pick<WindowState, 'window' | 'checked'>,
  deadline: number,
  dry = false,
) {
  if (step.plugin.kind !== 'check') throw new TypeError('not a check');
  const declared = step.plugin.declares?.(step.params, state.window) ?? [];
  const bound = { signal: acting.signal, deadline };
  const prober = dry || declared.length === 0 ? undefined : acting.clients.prober({ ...bound, declared });
  try {
    return await step.plugin.check(
      acting.clients.reader(bound),
      {
        params: step.params,
        moment,
        window: state.window,
        evidence: evidenceOf(state, step.id),
        deadline,
        now: acting.now,
        poll: pollOf(acting),
        progress: (text) =>
          acting.emit({
            type: 'step-doing',
            step: step.id,
            text,
            ...(moment === 'soaking' ? { until: deadline } : { givesUp: deadline }),
          }),
      },
      prober,
    );
  } catch (error) {
    if (acting.signal.aborted) throw error;
    if (error instanceof Refusal) throw error;
    const why = error instanceof Error ? error.message : String(error);
    return { outcome: 'unknown' as const, summary: why, findings: [], evidence: null };
  }
}

/** All checks of a moment, side by side; what they find is journalled and said, and stops nothing. */
export async function runChecks(
  acting: Acting,
  moment: Moment,
  deadline: number,
  only?: (step: Step) => boolean,
): Promise<StepFailure[]> {
  const steps = acting.steps.filter(
    (step) =>
      !step.skipped && step.plugin.kind === 'check' && step.plugin.on.includes(moment) && (only?.(step) ?? true),
  );
  const failures: StepFailure[] = [];
  await Promise.all(
    steps.map(async (step) => {
      const began = acting.now();
      acting.emit({ type: 'step-began', step: step.id, label: step.plugin.name });
      try {
        const { text, look } = await takeCheck(acting, step, moment, deadline);
        acting.emit({
          type: 'step-ended',
          step: step.id,
          label: step.plugin.name,
          result: look ? 'look' : 'ok',
          text,
          ms: acting.now() - began,
        });
      } catch (error) {
        if (isFatal(acting, error)) throw error;
        const failure = describe(step, error);
        failures.push(failure);
        acting.emit({
          type: 'step-ended',
          step: step.id,
          label: step.plugin.name,
          result: 'look',
          text: failure.message,
          ms: acting.now() - began,
        });
      }
    }),
  );
  return failures;
}

function name(things: readonly string[]): string {
  if (things.length <= 3) return things.join(', ');
  return `${things.slice(0, 3).join(', ')} and ${things.length - 3} more`;
}

function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)}ms` : `${Math.round(ms / 100) / 10}s`.replace('.0s', 's');
}
