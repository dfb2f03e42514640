// The changes of one step, written: waves of intents, writes with bounded concurrency, outcomes. Two commits a wave,
// however many changes.
import { OuterError } from '../errors/catalogue.ts';
import { type Acting, hooksOf, StepProblem, throwIfInterrupted } from './acting.ts';
import { type Change, type Is, type Phase, type Resource, Stale, type Step } from './contract.ts';
import type { JournalEvent } from './events.ts';
import { WRITE_DEADLINE_MS } from './io.ts';
import { point } from './points.ts';
import { isClosing } from './roles.ts';

/** Journal entries per commit: the lease is renewed in between. */
const WAVE = 64;
/** Changes per journal entry. */
const CHUNK = 1000;

interface Written {
  results: { change: Change<any>; is: Is<any> }[];
  /** the ids of which it is certain that nothing was sent */
  missed: string[];
  error: unknown;
}

/** `done` gets what was written; `answered` the ids whose write the service answered, so that it has finished. */
export async function writeAll(
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
  const parts = inParts(changes, batch);
  const width = paced ? 1 : WAVE;
  let written = 0;
  for (let at = 0; at < parts.length; at += width) {
    const pacedFrom = acting.now();
    const wave = parts.slice(at, at + width);
    await acting.mayWrite(WRITE_DEADLINE_MS);
    // Checked before the intent: what was never begun needs no outcome.
    throwIfInterrupted(acting);
    await acting.record(intentsOf(step, wave.flat()));
    const outcome = await writeWave(acting, step, wave, answered);
    const events = outcomesOf(step, outcome);
    if (events.length > 0) await acting.record(events);
    for (const { change } of outcome.results) done.push(change);
    written += outcome.results.length;
    tell(acting, step, written, changes.length);
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

async function writeWave(
  acting: Acting,
  step: Step,
  wave: readonly Change<any>[][],
  answered: Set<string>,
): Promise<Written> {
  const written: Written = { results: [], missed: [], error: undefined };
  let next = 0;
  async function worker(): Promise<void> {
    while (next < wave.length) await writePart(acting, step, wave[next++]!, written, answered);
  }
  const concurrency = (step.plugin as Resource).concurrency ?? 8;
  await Promise.all(Array.from({ length: Math.min(concurrency, wave.length) }, worker));
  return written;
}

async function writePart(
  acting: Acting,
  step: Step,
  part: readonly Change<any>[],
  written: Written,
  answered: Set<string>,
): Promise<void> {
  const ids = part.map(({ id }) => id);
  try {
    // Each by itself: a wave may take longer than the lease has left, and a laptop may sleep in the middle of it.
    if (written.error === undefined && !acting.signal.aborted) await acting.mayWrite(WRITE_DEADLINE_MS);
  } catch (cause) {
    written.error ??= cause;
  }
  if (written.error !== undefined || acting.signal.aborted) {
    written.missed.push(...ids);
    return;
  }
  for (const id of ids) answered.delete(id);
  try {
    written.results.push(...(await writeOnce(acting, step, part)));
  } catch (cause) {
    written.error ??= cause;
    const answer = cause instanceof OuterError ? cause.effect : undefined;
    if (cause instanceof Stale || answer === 'none') written.missed.push(...ids);
    // of several writes of one batch some may be done: a look tells which
    else if (answer === 'answered') for (const id of ids) answered.add(id);
  }
}

async function writeOnce(acting: Acting, step: Step, part: readonly Change<any>[]): Promise<Written['results']> {
  const resource = step.plugin as Resource;
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
