// What one step has to do in one phase, from what was seen and what is ours. Pure: plan, dry run, rehearsal, start,
// end, undo and resume all decide here, and nowhere else.
import { type Change, type Is, LEAVE, type Phase, type Resource, type Step, Unknown, type Window } from './contract.ts';
import type { StateJson } from './events.ts';
import { isClosing, isHeld, roleOf } from './roles.ts';
import type { Owned } from './window.ts';

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
  pending: { id: string; since: string; token: number }[];
}

/** Compares states without the fields that the server sets. */
export function sameState(resource: Resource, a: Is<any>, b: Is<any>): boolean {
  if (a === null || b === null) return a === b;
  return sameFields(a, b, resource.computed ?? []);
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

export function decide(
  step: Step,
  phase: Phase,
  window: Window,
  mine: ReadonlyMap<string, Owned>,
  seen: ReadonlyMap<string, Is<any> | Unknown>,
): Decision {
  const resource = step.plugin as Resource;
  const held = isHeld(step, phase);
  const letGo = isClosing(phase) && !held;
  const decision: Decision = {
    changes: [],
    release: [],
    settled: [],
    breached: [],
    drift: [],
    unknown: [],
    pending: [],
  };
  const same = (a: Is<any>, b: Is<any>) => sameState(resource, a, b);
  for (const id of new Set([...seen.keys(), ...mine.keys()])) {
    const own = mine.get(id);
    const now = seen.get(id) ?? null;
    if (now instanceof Unknown) {
      decision.unknown.push({ id, why: now.why, refused: now.refused });
      continue;
    }
    const to = resource.desired({ phase, held, window, params: step.params, id, now, before: own?.before });
    const wanted = to === LEAVE ? now : to;
    if (same(now, wanted)) {
      if (!own) continue;
      const ours = same(now, own.after);
      if (own.unknown && !ours && letGo && same(now, own.unknown.from)) {
        // A write that may still arrive would undo the end after we have looked: it is ours until that is settled.
        decision.pending.push({ id, since: own.unknown.at, token: own.unknown.token });
        continue;
      }
      if (letGo && same(now, own.before)) {
        if (!own.unknown && !ours && !same(own.after, own.before)) {
          if (isOpened(step, window, id, now)) decision.breached.push(id);
          decision.drift.push({ id, ours: own.after, now, released: true, gone: now === null });
        } else decision.release.push(id);
      } else if (own.unknown && ours) decision.settled.push({ id, is: now });
      continue;
    }
    if (own && !mineStill(own, now, same)) {
      if (isOpened(step, window, id, now)) {
        decision.breached.push(id);
        // Whoever opened a wall left nobody's state behind: it is closed again.
        if (held) {
          decision.changes.push({ id, from: now, to: wanted });
          continue;
        }
      }
      // Left behind, our mark would hold on for a window that is over.
      const taken = letGo && resource.marked === true && now !== null;
      const drift = { id, ours: own.after, now, released: letGo && !taken, gone: now === null };
      decision.drift.push(taken ? { ...drift, taken } : drift);
      if (!taken) continue;
    }
    if (own?.unknown && !same(now, own.after) && same(now, own.unknown.from)) {
      decision.pending.push({ id, since: own.unknown.at, token: own.unknown.token });
    }
    decision.changes.push({ id, from: now, to: wanted });
  }
  return decision;
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

/** Known outcome: as we left it. Unknown outcome: what equals `from` or `to` is ours. */
function mineStill(own: Owned, now: Is<any>, same: (a: Is<any>, b: Is<any>) => boolean): boolean {
  if (same(now, own.after)) return true;
  return own.unknown !== undefined && same(now, own.unknown.from);
}
