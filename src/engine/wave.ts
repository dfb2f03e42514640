// The changes of one step, written: waves of intents, writes with bounded concurrency, outcomes. Two commits a wave,
// however many changes.
import { OuterError } from '../errors/catalogue.ts';
import { type Acting, hooksOf, StepProblem, throwIfInterrupted } from './acting.ts';
import { type Change, type Is, Stale, type Step } from './contract.ts';
import type { JournalEvent } from './events.ts';
import { WRITE_DEADLINE_MS } from './io.ts';
import { point } from './points.ts';
import { isClosing, isHeld, roleOf } from './roles.ts';
import { pinned } from './see.ts';
import { type Settling, sightAgain } from './settling.ts';

/** Journal entries per commit: the lease is renewed in between. */
const WAVE = 64;
/** Changes per journal entry. */
const CHUNK = 1000;

/** An append takes some milliseconds: what came later is another look's business. */
const FRESH_MS = 250;

interface Written {
  results: { change: Change<any>; is: Is<any> }[];
  /** the ids of which it is certain that nothing was sent */
  missed: string[];
  error: unknown;
}

export async function writeAll(turn: Settling): Promise<{ error?: unknown }> {
  let written = 0;
  for (const rank of ranked(turn)) {
    const outcome = await writeRank(turn, rank, written);
    if (outcome.error !== undefined) return outcome;
    written += rank.length;
  }
  return {};
}

/** The changes that may go out together, one list after the other: by the resource's own order, backwards when it lets go. */
function ranked({ step, resource, phase, decision }: Settling): Change<any>[][] {
  const { order } = resource;
  if (!order) return [decision.changes];
  const ranks = Map.groupBy(decision.changes, (change) => order(change));
  // A notice does not go back: its last word is told in the order of the ones before.
  const letsGo = isClosing(phase) && !isHeld(step, phase) && roleOf(step) !== 'notice';
  const numbers = [...ranks.keys()].sort((a, b) => (letsGo ? b - a : a - b));
  return numbers.map((number) => ranks.get(number)!);
}

async function writeRank(
  turn: Settling,
  changes: readonly Change<any>[],
  before: number,
): Promise<{ error?: unknown }> {
  const { acting, step, phase, resource } = turn;
  const paced = isClosing(phase) && step.pacePerMinute !== undefined;
  const parts = inParts(changes, paced ? 1 : Math.min(resource.batch ?? 1, changes.length));
  const width = paced ? 1 : WAVE;
  let written = before;
  for (let at = 0; at < parts.length; at += width) {
    const pacedFrom = acting.now();
    const wave = parts.slice(at, at + width);
    await acting.mayWrite(WRITE_DEADLINE_MS);
    // Checked before the intent: what was never begun needs no outcome.
    throwIfInterrupted(acting);
    await acting.record(intentsOf(step, wave.flat()));
    const outcome = await writeWave(turn, wave);
    const events = outcomesOf(step, outcome);
    if (events.length > 0) await acting.record(events);
    for (const { change } of outcome.results) turn.done.push(change);
    written += outcome.results.length;
    tell(acting, step, written, turn.decision.changes.length);
    if (outcome.error !== undefined) {
      throwIfInterrupted(acting);
      return { error: outcome.error };
    }
    if (paced && at + width < parts.length) await acting.wait(pacedFrom + 60_000 / (step.pacePerMinute ?? 60));
  }
  return {};
}

function inParts<T>(all: readonly T[], size: number): T[][] {
  const parts: T[][] = [];
  for (let at = 0; at < all.length; at += size) parts.push(all.slice(at, at + size));
  return parts;
}

function intentsOf(step: Step, changes: readonly Change<any>[]): JournalEvent[] {
  return inParts(changes, CHUNK).map((part) => ({
    type: 'intent',
    step: step.id,
    changes: part.map(({ id, from, to }) => ({ id, from, to })),
  }));
}

function outcomesOf(step: Step, { results, missed, error }: Written): JournalEvent[] {
  const events: JournalEvent[] = [];
  if (results.length > 0)
    events.push({ type: 'outcome', step: step.id, results: results.map(({ change, is }) => ({ id: change.id, is })) });
  const why = error instanceof Error ? error.message : 'interrupted before it began';
  if (missed.length > 0) events.push({ type: 'missed', step: step.id, ids: missed, why });
  return events;
}

function tell(acting: Acting, step: Step, done: number, total: number): void {
  if (total > 1) acting.emit({ type: 'step-doing', step: step.id, text: `${done} of ${total}`, done, total });
}

async function writeWave(turn: Settling, wave: readonly Change<any>[][]): Promise<Written> {
  const written: Written = { results: [], missed: [], error: undefined };
  let next = 0;
  async function worker(): Promise<void> {
    while (next < wave.length) await writePart(turn, wave[next++]!, written);
  }
  const concurrency = turn.resource.concurrency ?? 8;
  await Promise.all(Array.from({ length: Math.min(concurrency, wave.length) }, worker));
  return written;
}

async function writePart(turn: Settling, part: readonly Change<any>[], written: Written): Promise<void> {
  const { acting, answered } = turn;
  const ids = part.map(({ id }) => id);
  const ended = () => written.error !== undefined || acting.signal.aborted;
  let changes: Change<any>[] = [];
  try {
    // Where the service does not compare by itself, a look comes right before the write.
    if (!ended()) changes = pinned(looksAgain(turn) ? await sightAgain(turn, part) : turn.sight, part);
    // Each by itself: a wave may take longer than the lease has left, and a laptop may sleep in the middle of it.
    if (!ended()) await acting.mayWrite(WRITE_DEADLINE_MS);
  } catch (cause) {
    written.error ??= cause;
  }
  if (ended()) {
    written.missed.push(...ids);
    return;
  }
  for (const id of ids) answered.delete(id);
  turn.sightAt = undefined;
  try {
    written.results.push(...(await writeOnce(turn, changes)));
  } catch (cause) {
    written.error ??= cause;
    const answer = cause instanceof OuterError ? cause.effect : undefined;
    if (cause instanceof Stale || answer === 'none') written.missed.push(...ids);
    // of several writes of one batch some may be done: a look tells which
    else if (answer === 'answered') for (const id of ids) answered.add(id);
  }
}

/**
 * The turn's own look is the one right before the write as long as nothing of this step was written after it, and only
 * the journal's append came in between.
 */
function looksAgain({ acting, resource, sightAt }: Settling): boolean {
  return resource.compare === 'look' && (sightAt === undefined || acting.now() - sightAt > FRESH_MS);
}

async function writeOnce(turn: Settling, part: readonly Change<any>[]): Promise<Written['results']> {
  const { acting, step, resource } = turn;
  const writer = acting.clients.writer({
    signal: acting.hard,
    // a step may allow less than any write has
    deadline: acting.now() + Math.min(WRITE_DEADLINE_MS, step.deadlineMs),
    hooks: hooksOf(acting, step),
  });
  point(step.id, 'write', 'before');
  const is = await resource.write(writer, step.params, part, acting.state.window);
  point(step.id, 'write', 'after');
  if (is.length !== part.length)
    throw new StepProblem('E_BUG', `${resource.name} returned ${is.length} states for ${part.length} changes`);
  return part.map((change, k) => ({ change, is: is[k] ?? null }));
}
