// One resource to what its phase wants, as a list of stages that is gone through again and again until nothing differs:
// look, note what is settled already, wait for what may still arrive, see whether that is all, write.
import { OuterError } from '../errors/catalogue.ts';
import { type Acting, backOff, describe, name, StepProblem, seconds } from './acting.ts';
import { Stale, type Step } from './contract.ts';
import { type Decision, decide } from './decide.ts';
import type { JournalEvent } from './events.ts';
import { WRITE_DEADLINE_MS } from './io.ts';
import { isClosing } from './roles.ts';
import { type Settling, sightOf } from './settling.ts';
import { writeAll } from './wave.ts';
import { ofStep, openBreach, type WindowState } from './window.ts';

/** `again`: from the first stage; `settled`: nothing differs any more. */
type Next = 'on' | 'again' | 'settled';

const STAGES: readonly ((turn: Settling) => Promise<Next>)[] = [look, note, ripen, rest, write];

export async function settle(turn: Settling): Promise<void> {
  for (;;) {
    let next: Next = 'on';
    for (const stage of STAGES) {
      next = await stage(turn);
      if (next !== 'on') break;
    }
    if (next === 'settled') return;
  }
}

async function look(turn: Settling): Promise<Next> {
  const { acting, step, phase } = turn;
  if (acting.now() > turn.deadline && turn.attempts > 0)
    throw turn.problem ?? new StepProblem('E_FAILED', `kept changing for ${seconds(step.deadlineMs)}`);
  turn.lookedAt = acting.now();
  try {
    turn.sightAt = undefined;
    turn.sight = await sightOf(turn);
    turn.sightAt = acting.now();
    turn.decision = decide(step, phase, acting.state.window, ofStep(acting.state, step.id), turn.sight.states);
    return 'on';
  } catch (error) {
    if (turn.gaveUp) throw turn.gaveUp.error;
    return again(turn, error, error);
  }
}

/** Another turn after a pause, where that may help with `cause`; else `problem` is thrown. */
async function again(turn: Settling, problem: unknown, cause: unknown): Promise<Next> {
  turn.problem = problem;
  if (!(await backOff(turn.acting, cause, turn.attempts++, turn.deadline, turn.step))) throw problem;
  return 'again';
}

/** What needs no write is journalled: outcomes that were seen, what is let go, what somebody else changed. */
async function note(turn: Settling): Promise<Next> {
  const { acting, step, decision } = turn;
  const events: JournalEvent[] = [];
  if (decision.settled.length > 0) events.push({ type: 'outcome', step: step.id, results: decision.settled });
  if (decision.release.length > 0) events.push({ type: 'released', step: step.id, ids: decision.release });
  const opened = decision.breached.filter((id) => !openBreach(acting.state, step.id)?.ids.includes(id));
  if (opened.length > 0) events.push({ type: 'breach', step: step.id, ids: opened, heldUntil: lastHeld(acting, step) });
  for (const drift of decision.drift) {
    if (!turn.drifted.some((one) => one.id === drift.id)) turn.drifted.push(drift);
    if (!knownDrift(acting.state, step.id, drift)) events.push({ type: 'drift', step: step.id, ...drift });
  }
  if (events.length > 0) await acting.record(events);
  return 'on';
}

/** The last time that a run saw the wall closed: writes were possible after it at the earliest. */
function lastHeld({ state }: Acting, step: Step): string {
  return state.seenAt.get(step.id) ?? state.wallsClosedAt ?? state.window.since;
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

/** A write without an outcome may still arrive until its deadline; after that it never will. */
async function ripen(turn: Settling): Promise<Next> {
  const { acting, step, decision, gaveUp } = turn;
  if (decision.pending.length === 0) return 'on';
  const ripensAt = await ripening(turn);
  const green = decision.pending.filter((pending) => ripensAt(pending) > turn.lookedAt);
  if (green.length === 0) {
    await acting.record(ripe(turn));
    return 'again';
  }
  if (gaveUp) throw gaveUp.error;
  const until = Math.max(...green.map(ripensAt)) + 1;
  // What another run left open is not this one's time; what this one tried in vain is.
  if (green.some((pending) => pending.token !== acting.token))
    turn.deadline = Math.max(turn.deadline, until + step.deadlineMs);
  const ids = green.slice(0, 3).map((one) => one.id);
  const text = `a write of ${ids.join(', ')} has no outcome yet and may still arrive`;
  acting.emit({ type: 'step-doing', step: step.id, text, givesUp: until });
  await acting.wait(until);
  return 'again';
}

/** Nothing arrived, or only a part of it: that part is ours. */
function ripe({ step, decision, gaveUp }: Settling): JournalEvent[] {
  const events: JournalEvent[] = [];
  const results = decision.pending.flatMap(({ id, half }) => (half === undefined ? [] : [{ id, is: half }]));
  const ids = decision.pending.filter(({ half }) => half === undefined).map(({ id }) => id);
  const why = gaveUp ? describe(step, gaveUp.error).message : 'not seen within the deadline of a write';
  if (results.length > 0) events.push({ type: 'outcome', step: step.id, results });
  if (ids.length > 0) events.push({ type: 'missed', step: step.id, ids, why });
  return events;
}

async function ripening(turn: Settling): Promise<(pending: Decision['pending'][number]) => number> {
  const { acting, resource, answered, firstSeen, lookedAt } = turn;
  // Intents are dated by the store: of a clock that is behind ours each of them would be old enough at once.
  const storeNow = await acting.storeNow();
  const ahead = acting.now() - storeNow;
  return (pending) => {
    if (resource.local === true || answered.has(pending.id)) return 0;
    // The shorter of two estimates: a clock that was set back must not make this wait for an hour. Each attempt has
    // its own time: one that was given up says nothing of the next.
    const attempt = `${pending.since} ${pending.id}`;
    if (!firstSeen.has(attempt)) firstSeen.set(attempt, lookedAt);
    return Math.min(Date.parse(pending.since) + ahead, firstSeen.get(attempt) ?? lookedAt) + WRITE_DEADLINE_MS;
  };
}

/** Nothing to write: settled, unless something could not be seen. */
async function rest(turn: Settling): Promise<Next> {
  const { changes, unknown } = turn.decision;
  if (turn.gaveUp) throw turn.gaveUp.error;
  if (changes.length > 0) return 'on';
  const [first] = unknown;
  if (first === undefined) return 'settled';
  const ids = unknown.map((one) => one.id);
  const text = `cannot tell the state of ${name(ids)}: ${first.why}`;
  if (first.refused) throw new StepProblem('E_NOT_ALLOWED', text, ids);
  const cause = new OuterError(first.why, { effect: 'none', retryable: true });
  return again(turn, new StepProblem('E_FAILED', text, ids), cause);
}

async function write(turn: Settling): Promise<Next> {
  const { acting, step, phase, decision } = turn;
  if (isClosing(phase) && step.pacePerMinute) {
    const paced = (decision.changes.length / step.pacePerMinute) * 60_000;
    turn.deadline = Math.max(turn.deadline, acting.now() + paced + step.deadlineMs);
  }
  const { error } = await writeAll(turn);
  if (error === undefined) return 'again';
  turn.problem = error;
  if (await backOff(acting, error, turn.attempts++, turn.deadline, step)) return 'again';
  if (error instanceof Stale)
    throw new StepProblem('E_FAILED', `is changed by somebody else again and again (${error.message})`);
  // An answer to the second write of a batch says nothing of the first one.
  if (turn.answered.size === 0) throw error;
  turn.gaveUp = { error };
  return 'again';
}
