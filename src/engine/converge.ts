// The one way in which the outer world is changed: bring every step to what its phase wants. Start, end, undo, resume,
// extend and refreeze are all this function with another phase. For each step:
// observe -> desired -> changes -> intent durable -> write -> outcome durable -> observe again until nothing differs ->
// wait for what is in flight.
import { OuterError } from '../errors/catalogue.ts';
import {
  type Acting,
  backOff,
  describe,
  hooksOf,
  isFatal,
  name,
  pollOf,
  type StepFailure,
  StepProblem,
  seconds,
  throwIfInterrupted,
} from './acting.ts';
import { actionEdges, takeAction } from './actions.ts';
import { runChecks, takeCheck } from './checks.ts';
import { type Change, type Is, type Phase, type Resource, Stale, type Step, Unknown } from './contract.ts';
import { type Decision, decide } from './decide.ts';
import type { JournalEvent, StateJson } from './events.ts';
import { WRITE_DEADLINE_MS } from './io.ts';
import { point } from './points.ts';
import { endOrder, failurePolicy, isAhead, isClosing, isHeld, roleOf } from './roles.ts';
import { type Owned, ofStep, type WindowState } from './window.ts';
import { utc } from './words.ts';

export interface Converged {
  failures: StepFailure[];
  /** the step at which a start stopped */
  stopped?: StepFailure | undefined;
}

/** How long a check may hold up the walls at `reopen`: writes are refused meanwhile. */
const REOPEN_CHECK_MS = 15_000;
const CONTINUE_MS = 10_000;
/** Journal entries per commit: the lease is renewed in between. */
const WAVE = 64;

export async function converge(
  acting: Acting,
  phase: Phase,
  options: {
    verb: string;
    undo?: boolean;
    skip?: ReadonlySet<string>;
    /** `steps` are not the whole list: nothing is said of the window as a whole */
    partial?: boolean;
  } = { verb: 'converge' },
): Promise<Converged> {
  const { state } = acting;
  const steps = acting.steps.filter((step) => !step.skipped);
  if (state.phase !== phase) await acting.record([{ type: 'phase', phase, verb: options.verb }]);
  const order = isClosing(phase) ? closingOrder(acting, steps, phase) : openingOrder(steps, phase);
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
    ? await close(acting, phase, order, options.skip ?? new Set(), options.partial === true)
    : await open(acting, phase, order);
  const soft = result.failures.every((failure) => failure.policy === 'continue');
  if (result.failures.length === 0 || (!isClosing(phase) && soft)) {
    if (!state.reached && !options.partial) await acting.record([{ type: 'reached', phase }]);
  }
  return result;
}

/** An action at `open` needs the walls closed: what stands before the last wall waits for it. */
function openingOrder(all: readonly Step[], phase: Phase): Step[] {
  // Only what is told beforehand: no wall, no purge, no check.
  if (phase === 'announced') return all.filter((step) => isHeld(step, phase));
  const steps = all.filter((step) => step.plugin.kind !== 'check' || step.plugin.on.includes('open'));
  // What is to stand still meanwhile is told before anything closes: a backfill would be cut off by the walls.
  const first = steps.filter(isAhead);
  if (first.length > 0)
    return [
      ...first,
      ...openingOrder(
        steps.filter((step) => !isAhead(step)),
        phase,
      ),
    ];
  const lastWall = steps.findLastIndex((step) => roleOf(step) === 'wall');
  const early = steps.slice(0, Math.max(lastWall, 0)).filter((step) => step.plugin.kind === 'action');
  if (early.length === 0) return [...steps];
  const rest = steps.filter((step) => !early.includes(step));
  const at = rest.findLastIndex((step) => roleOf(step) === 'wall') + 1;
  return [...rest.slice(0, at), ...early, ...rest.slice(at)];
}

/**
 * The end touches only what did something. What the soak still holds waits for the end of the soak; where another end
 * was promised meanwhile, what carries it (a silence) follows.
 */
function closingOrder(acting: Acting, steps: readonly Step[], phase: Phase): Step[] {
  return endOrder(steps).filter((step) => {
    if (step.plugin.kind === 'check') return false;
    if (step.plugin.kind === 'action') return actionEdges(acting.state, step, phase).length > 0;
    if (isHeld(step, phase) && !follows(acting, step)) return false;
    return ofStep(acting.state, step.id).size > 0;
  });
}

function follows(acting: Acting, step: Step): boolean {
  const role = roleOf(step);
  return role === 'notice' || (acting.state.behind && (role === 'mute' || role === 'lock'));
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
  partial: boolean,
): Promise<Converged> {
  const failures: StepFailure[] = [];
  if (partial) {
    for (const step of order) {
      const failure = await takeStep(acting, step, phase);
      if (failure) failures.push(failure);
    }
    return { failures };
  }
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
  let backfill: StepFailure | undefined;
  for (const step of order.filter((one) => roleOf(one) !== 'wall' && !skip.has(one.id))) {
    const failure =
      backfill && step.release === 'after-backfill' && phase === 'closed'
        ? await waitsFor(acting, step, phase, backfill)
        : await takeStep(acting, step, phase);
    if (failure) failures.push(failure);
    if (failure && isAhead(step)) backfill = failure;
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

/** The runbook says that it comes after the backfill, and the backfill is not done. */
async function waitsFor(acting: Acting, step: Step, phase: Phase, first: StepFailure): Promise<StepFailure> {
  const text = `waits for ${first.step}, as its release says`;
  acting.emit({ type: 'step-ended', step: step.id, label: step.plugin.name, result: 'skipped', text, ms: 0 });
  const ids = [...ofStep(acting.state, step.id).keys()];
  const failure: StepFailure = { step: step.id, code: 'E_LEFT_BEHIND', message: text, ids, policy: 'continue' };
  await recordFailure(acting, failure, phase);
  return failure;
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
    } else if (step.plugin.kind === 'action') ({ text, looks } = await takeAction(acting, step, phase, began));
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
  // Nor the way to the soak: once the window is closed it is tried for its whole deadline.
  const again = !closing || (phase === 'soaking' && roleOf(step) === 'notice');
  const patience = again && failurePolicy(step) === 'continue' ? CONTINUE_MS : Number.POSITIVE_INFINITY;
  let deadline = began + Math.min(step.deadlineMs, patience);
  const answered = new Set<string>();
  const firstSeen = new Map<string, number>();
  let attempts = 0;
  let problem: unknown;
  /** nothing is tried again: what its write has left is looked at once more */
  let gaveUp: { error: unknown } | undefined;
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
      if (gaveUp) throw gaveUp.error;
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
      // Intents are dated by the store: of a clock that is behind ours each of them would be old enough at once.
      const storeNow = await acting.storeNow();
      const ahead = acting.now() - storeNow;
      const ripensAt = (pending: Decision['pending'][number]) => {
        if (resource.local === true || answered.has(pending.id)) return 0;
        // By whichever clock is nearer: a clock that was set back must not make this wait for an hour. Each attempt has
        // its own time: one that was given up says nothing of the next.
        const attempt = `${pending.since} ${pending.id}`;
        if (!firstSeen.has(attempt)) firstSeen.set(attempt, lookedAt);
        return Math.min(Date.parse(pending.since) + ahead, firstSeen.get(attempt) ?? lookedAt) + WRITE_DEADLINE_MS;
      };
      const green = decision.pending.filter((pending) => ripensAt(pending) > lookedAt);
      if (green.length > 0) {
        if (gaveUp) throw gaveUp.error;
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
          why: gaveUp ? describe(step, gaveUp.error).message : 'not seen within the deadline of a write',
        },
      ]);
      continue;
    }
    if (gaveUp) throw gaveUp.error;
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
    if (await backOff(acting, outcome.error, attempts++, deadline, step)) continue;
    if (outcome.error instanceof Stale)
      throw new StepProblem('E_FAILED', `is changed by somebody else again and again (${outcome.error.message})`);
    // An answer to the second write of a batch says nothing of the first one.
    if (answered.size === 0) throw outcome.error;
    gaveUp = { error: outcome.error };
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
        : `${drift.id} was changed by somebody else${drift.released ? ', left as it is' : drift.taken ? ', removed: it was ours' : ''}`,
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
      one.taken === drift.taken &&
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
        // Each by itself: a wave may take longer than the lease has left, and a laptop may sleep in the middle of it.
        await acting.mayWrite(WRITE_DEADLINE_MS);
      } catch (cause) {
        error ??= cause;
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
        if (cause instanceof Stale || (cause instanceof OuterError && cause.effect === 'none'))
          missed.push(...part.map((change) => change.id));
        // of several writes of one batch some may be done: a look tells which
        else if (cause instanceof OuterError && cause.effect === 'answered')
          for (const change of part) answered.add(change.id);
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(concurrency, wave.length) }, worker));
  return { results, missed, error };
}

/** A command of a former run may still be writing: it is waited for, and where it cannot be seen a person must look. */
async function waitForSpawned(acting: Acting, step: Step, deadline: number): Promise<void> {
  const spawned = acting.state.spawned.get(step.id);
  if (!spawned || spawned.token === acting.token) return;
  const running = acting.running(spawned);
  if (running === undefined) {
    // host/boot/namespace: a person knows the first, and the rest only tells that it is not here
    const [host = spawned.host] = spawned.host.split('/');
    const where = host === acting.machine.split('/')[0] ? `${host}, before its reboot or in another container` : host;
    throw new StepProblem(
      'E_ELSEWHERE',
      `a command of the last run (pid ${spawned.pid} on ${where}) may still run there`,
      [],
      `look on ${where}, then run this again from there`,
    );
  }
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
