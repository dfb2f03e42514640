// The smallest engine for a test of one resource: observes, decides as the real one does, writes. The journal is a map.
import type { Change, Is, Phase, Resource, Step, Window } from '../../src/engine/contract.ts';
import { Stale } from '../../src/engine/contract.ts';
import { type Decision, decide } from '../../src/engine/decide.ts';
import type { Clients } from '../../src/engine/io.ts';
import { notesOf } from '../../src/engine/notes.ts';
import { isClosing } from '../../src/engine/roles.ts';
import { ownedView, pinned, see } from '../../src/engine/see.ts';
import type { Owned } from '../../src/engine/window.ts';

export const WINDOW: Window = {
  id: 'w-7k2p',
  environment: 'prod',
  since: '2026-11-24T02:00:04.120Z',
  until: '2026-11-24T02:30:00.000Z',
  plannedUntil: '2026-11-24T02:30:00.000Z',
  reason: 'reindex documents',
  contact: '#ops-oncall',
  onExpiry: 'hold',
  overdue: false,
  by: 'ana@lapis',
  surfaces: [],
};

export class Crash extends Error {}

export function drive(clients: Clients, resource: Resource, params: Record<string, unknown>, window: Window = WINDOW) {
  const step: Step = { id: 'step', plugin: resource, params: resource.Params.parse(params), deadlineMs: 10_000 };
  const mine = new Map<string, Owned>();
  const bound = () => ({ signal: new AbortController().signal, deadline: Date.now() + 8_000 });
  const hooks = { before() {}, after() {}, spawned: async () => {} };
  const reader = () => clients.reader(bound());
  const driver = {
    window,
    step,
    mine,
    reader,
    writer: () => clients.writer({ ...bound(), hooks }),
    drift: [] as Decision['drift'],
    notes: [] as string[],
    /** everything that a journal would hold */
    journal: [] as string[],
    at: (phase: Phase = 'open') => ({ phase, window: driver.window, owned: ownedView(mine) }),
    look: () => see(step, reader(), driver.at()),
    observe: async () => (await driver.look()).states,
    async plan(phase: Phase): Promise<{ changes: Change<any>[]; notes: string[] }> {
      const seen = await driver.observe();
      const { changes } = decide(step, phase, driver.window, mine, seen);
      const owned = ownedView(mine);
      const told = { params: step.params, phase, window: driver.window, seen, changes, owned, when: 'plan' as const };
      const notes = notesOf(resource, told);
      return { changes, notes };
    },
    /** Returns the number of writes. `crash`: the process dies before the n-th write, or after it and before its outcome. */
    async converge(phase: Phase, crash?: { at: number; after: boolean }): Promise<number> {
      const ownedBefore = ownedView(mine);
      const done: Change<any>[] = [];
      let writes = 0;
      driver.drift = [];
      for (let turn = 0; turn < 6; turn++) {
        const sight = await driver.look();
        const seen = sight.states;
        const decision = decide(step, phase, driver.window, mine, seen);
        for (const { id, is } of decision.settled) mine.set(id, { before: mine.get(id)!.before, after: is });
        for (const id of decision.release) mine.delete(id);
        for (const drift of decision.drift) {
          if (!driver.drift.some((one) => one.id === drift.id)) driver.drift.push(drift);
          if (drift.released) mine.delete(drift.id);
        }
        for (const { id, half } of decision.pending) {
          const own = mine.get(id)!;
          if (half !== undefined) mine.set(id, { before: own.before, after: half });
          else if (own.prior) mine.set(id, own.prior as Owned);
          else mine.delete(id);
        }
        if (decision.pending.length > 0) continue;
        if (decision.changes.length === 0) {
          const owned = isClosing(phase) ? ownedBefore : ownedView(mine);
          const told = {
            params: step.params,
            phase,
            window: driver.window,
            seen,
            changes: done,
            owned,
            when: 'done' as const,
          };
          driver.notes = [...notesOf(resource, told), ...(resource.look?.(told) ?? [])];
          return writes;
        }
        const size = Math.min(resource.batch ?? 1, decision.changes.length);
        for (let at = 0; at < decision.changes.length; at += size) {
          const part = decision.changes.slice(at, at + size);
          const now = resource.compare === 'look' ? await driver.look() : sight;
          driver.journal.push(JSON.stringify(part));
          for (const { id, from, to } of part) {
            const own = mine.get(id);
            mine.set(id, {
              before: own ? own.before : from,
              after: to,
              unknown: { from, at: WINDOW.since, token: 1 },
              prior: own && { before: own.before, after: from },
            });
          }
          if (crash?.at === writes && !crash.after) throw new Crash();
          let states: Is<any>[];
          try {
            states = await resource.write(driver.writer(), step.params, pinned(now, part), driver.window);
          } catch (error) {
            if (!(error instanceof Stale)) throw error;
            for (const { id } of part) {
              const own = mine.get(id)!;
              if (own.prior) mine.set(id, own.prior as Owned);
              else mine.delete(id);
            }
            continue;
          }
          writes++;
          if (crash?.at === writes - 1 && crash.after) throw new Crash();
          for (const [n, change] of part.entries()) {
            mine.set(change.id, { before: mine.get(change.id)!.before, after: states[n]! });
            done.push(change);
          }
        }
      }
      throw new Error('never settles');
    },
  };
  return driver;
}
