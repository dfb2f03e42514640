// What one step has to do in one phase, from what was seen and what is ours. Pure: plan, dry run, rehearsal, start,
// end, undo and resume all decide here, and nowhere else.
import { type Change, type Is, LEAVE, type Phase, type Resource, type Step, Unknown, type Window } from './contract.ts';
import type { StateJson } from './events.ts';
import { isClosing, isHeld, roleOf } from './roles.ts';
import type { Owned } from './window.ts';

export interface Pending {
  id: string;
  since: string;
  token: number;
  /** it stopped half-way, or is still under way: this is ours once it cannot arrive any more */
  half?: StateJson;
}

export interface Decision {
  changes: Change<any>[];
  /** as before our first write, in a phase that does not hold it */
  release: string[];
  /** outcome unknown until now, and seen to be what was meant */
  settled: { id: string; is: StateJson }[];
  /** walls of ours that do not refuse writes any more: a change where the phase holds them */
  breached: string[];
  drift: { id: string; ours: StateJson; now: StateJson; released: boolean; gone: boolean; taken?: true }[];
  unknown: { id: string; why: string; refused: boolean }[];
  /** outcome unknown and still as before the write: it may yet arrive. Until when, by the intent's own time (RFC 3339). */
  pending: Pending[];
}

/** Compares states without the fields that the server sets. */
export function sameState(resource: Resource, a: Is<any>, b: Is<any>): boolean {
  if (a === null || b === null) return a === b;
  return sameFields(a, b, resource.computed ?? []);
}

/** With the fields that the server sets: whether anybody at all was there meanwhile. */
export function sameExactly(a: Is<any>, b: Is<any>): boolean {
  return sameValue(a, b);
}

/** As JSON: what is undefined is not there. Compared field by field, since ten thousand states are compared several times. */
function sameFields(a: Record<string, unknown>, b: Record<string, unknown>, aside: readonly string[]): boolean {
  for (const key of Object.keys(a)) if (!aside.includes(key) && !sameValue(a[key], b[key])) return false;
  for (const key of Object.keys(b))
    if (!aside.includes(key) && a[key] === undefined && b[key] !== undefined) return false;
  return true;
}

function sameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null)
    return JSON.stringify(a) === JSON.stringify(b);
  if (Array.isArray(a) || Array.isArray(b)) {
    return (
      Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((value, at) => sameValue(value, b[at]))
    );
  }
  return sameFields(a as Record<string, unknown>, b as Record<string, unknown>, []);
}

/**
 * One thing, from the top, the first row that fits. A test reads this table, and tries every combination on it.
 * - own: whether it is ours, and whether the outcome of our last write is known.
 * - now: as before our first write, as our last write left it (`after`), or both at once; with an unknown outcome also as
 *   that write found it (`from`, which may be `before` or `after`) and where it may have stopped (`half`).
 * - wanted: whether it is as desired() says, or desired() leaves it.
 * - opens: a wall that lets writes through in this state. marked: its id is our mark.
 * What must say that it has ended (`saysEnded`) and is gone is `taken` in place of let go, and a change from null to null.
 * A drift stays ours as long as the phase holds it; otherwise it is let go, or `taken` away for its mark.
 *
 * | own     | now                | wanted | phase  | opens | marked | then                  |
 * | ------- | ------------------ | ------ | ------ | ----- | ------ | --------------------- |
 * | any     | unseen             | any    | any    | any   | any    | unknown               |
 * | none    | any                | yes    | any    | any   | any    | -                     |
 * | none    | any                | no     | any    | any   | any    | change                |
 * | known   | both               | yes    | let go | any   | any    | release               |
 * | known   | before             | yes    | let go | yes   | any    | breach, drift let go  |
 * | known   | before             | yes    | let go | no    | any    | drift let go          |
 * | known   | any                | yes    | any    | any   | any    | -                     |
 * | unknown | from, from=before  | yes    | let go | any   | any    | pending               |
 * | unknown | before, both       | yes    | let go | any   | any    | release               |
 * | unknown | after, from=after, both | yes | any    | any   | any    | settled               |
 * | unknown | any                | yes    | any    | any   | any    | -                     |
 * | any     | after, from=after, both | no  | any    | any   | any    | change                |
 * | unknown | from, from=before  | no     | any    | any   | any    | pending, change       |
 * | unknown | half               | no     | any    | any   | any    | pending half, change  |
 * | any     | any                | no     | held   | yes   | any    | breach, change        |
 * | any     | gone               | no     | let go | yes   | any    | breach, drift let go  |
 * | any     | gone               | no     | let go | no    | any    | drift let go          |
 * | any     | any                | no     | let go | yes   | yes    | breach, drift taken, change |
 * | any     | any                | no     | let go | no    | yes    | drift taken, change   |
 * | any     | any                | no     | let go | yes   | no     | breach, drift let go  |
 * | any     | any                | no     | let go | no    | no     | drift let go          |
 * | any     | any                | no     | any    | yes   | any    | breach, drift         |
 * | any     | any                | no     | any    | no    | any    | drift                 |
 */
export function decide(
  step: Step,
  phase: Phase,
  window: Window,
  mine: ReadonlyMap<string, Owned>,
  seen: ReadonlyMap<string, Is<any> | Unknown>,
): Decision {
  const decision: Decision = {
    changes: [],
    release: [],
    settled: [],
    breached: [],
    drift: [],
    unknown: [],
    pending: [],
  };
  for (const id of new Set([...seen.keys(), ...mine.keys()])) {
    const now = seen.get(id) ?? null;
    if (now instanceof Unknown) decision.unknown.push({ id, why: now.why, refused: now.refused });
    else decideOne(decision, { step, phase, window, id, own: mine.get(id), now });
  }
  return decision;
}

interface Thing {
  step: Step;
  phase: Phase;
  window: Window;
  id: string;
  own: Owned | undefined;
  now: Is<any>;
}

function decideOne(decision: Decision, thing: Thing): void {
  const { step, phase, window, id, own, now } = thing;
  const resource = step.plugin as Resource;
  const held = isHeld(step, phase);
  const to = resource.desired({ phase, held, window, params: step.params, id, now, before: own?.before });
  const wanted = to === LEAVE ? now : to;
  const asWanted = sameState(resource, now, wanted);
  if (own && asWanted) rest(decision, thing, own);
  if (asWanted) return;
  if (own && !goOn(decision, thing, own)) return;
  decision.changes.push({ id, from: now, to: wanted });
}

/** Ours, and nothing to write: it may be let go, and an outcome may be known now. */
function rest(decision: Decision, { step, phase, window, id, now }: Thing, own: Owned): void {
  const resource = step.plugin as Resource;
  const letGo = isClosing(phase) && !isHeld(step, phase);
  const ours = sameState(resource, now, own.after);
  if (own.unknown && !ours && letGo && sameState(resource, now, own.unknown.from)) {
    // A write that may still arrive would undo the end after we have looked: it is ours until that is settled.
    decision.pending.push({ id, since: own.unknown.at, token: own.unknown.token });
  } else if (letGo && sameState(resource, now, own.before)) {
    if (own.unknown || ours) decision.release.push(id);
    else {
      if (isOpened(step, window, id, now)) decision.breached.push(id);
      const drift = { id, ours: own.after, now, released: true, gone: now === null };
      if (resource.saysEnded !== true || now !== null) decision.drift.push(drift);
      else {
        // Who saw it held takes what vanished for lost data: only a write tells that the window is over.
        decision.drift.push({ ...drift, released: false, taken: true });
        decision.changes.push({ id, from: now, to: now });
      }
    }
  } else if (own.unknown && ours) decision.settled.push({ id, is: now });
}

/** Ours, and not as wanted: whether it is written, or somebody else's change is left as it is. */
function goOn(decision: Decision, { step, phase, window, id, now }: Thing, own: Owned): boolean {
  const resource = step.plugin as Resource;
  const held = isHeld(step, phase);
  const letGo = isClosing(phase) && !held;
  if (sameState(resource, now, own.after)) return true;
  if (own.unknown) {
    const { from, at, token } = own.unknown;
    const asFound = sameState(resource, now, from);
    const half = !asFound && resource.halfway?.(from, own.after, now) === true;
    if (asFound || half) decision.pending.push({ id, since: at, token, ...(half && { half: now }) });
    if (asFound || half) return true;
  }
  if (isOpened(step, window, id, now)) {
    decision.breached.push(id);
    // Whoever opened a wall left nobody's state behind: it is closed again.
    if (held) return true;
  }
  // Left behind, our mark would go on refusing writes for a window that is over.
  const taken = letGo && resource.marked === true && now !== null;
  const drift = { id, ours: own.after, now, released: letGo && !taken, gone: now === null };
  decision.drift.push(taken ? { ...drift, taken } : drift);
  return taken;
}

/** Whether a wall is in a state that lets writes through. Other roles have no such state. */
export function isOpened(step: Step, window: Window, id: string, now: Is<any>): boolean {
  if (roleOf(step) !== 'wall') return false;
  const resource = step.plugin as Resource;
  if (resource.closed) return !resource.closed(now, step.params);
  const situation = { phase: 'open' as const, held: true, window, params: step.params, id, now, before: undefined };
  const wanted = resource.desired(situation);
  return wanted !== LEAVE && !sameState(resource, now, wanted);
}
