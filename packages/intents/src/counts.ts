// Sums and records as both engines give them back.
import type { Depth, IntentState, Move, Stats } from './port.ts';
import { noStates, type Share } from './rows.ts';

export interface MoveRow {
  receipt: string;
  at: number | string;
  mover: string;
  was: IntentState;
  goal: 'queued' | 'dropped';
  reason: string;
}

export function movesOf(rows: readonly MoveRow[]): Map<string, Move[]> {
  const moves = new Map<string, Move[]>();
  for (const row of rows) {
    const move: Move = { at: Number(row.at), by: row.mover, from: row.was, to: row.goal, reason: row.reason };
    const those = moves.get(row.receipt);
    if (those) those.push(move);
    else moves.set(row.receipt, [move]);
  }
  return moves;
}

export function depthOf(rows: readonly (Share & { surface: string })[], oldestAt: number | null): Depth {
  const busy = new Set<string>();
  const sums = { waiting: 0, kept: 0, bytes: 0 };
  for (const row of rows) {
    sums.waiting += Number(row.waiting);
    sums.kept += Number(row.kept);
    sums.bytes += Number(row.bytes);
    if (Number(row.blocking) > 0) busy.add(row.surface);
  }
  return { ...sums, oldestAt, busy };
}

export function statsOf(
  counts: readonly { surface: string; state: IntentState; n: number | string; unknown: number | string }[],
  parked: { partitions: number | string; waiting: number | string },
  claimed: number,
): Stats {
  const states = noStates();
  const surfaces: Record<string, Record<IntentState, number>> = {};
  let unknown = 0;
  for (const row of counts) {
    states[row.state] += Number(row.n);
    (surfaces[row.surface] ??= noStates())[row.state] += Number(row.n);
    unknown += Number(row.unknown);
  }
  return {
    ...{ states, surfaces, unknown, claimed },
    parked: { partitions: Number(parked.partitions), waiting: Number(parked.waiting) },
  };
}
