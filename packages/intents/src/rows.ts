// What both engines store, and how it is read back.
import type { Intent, IntentState, NewIntent } from './port.ts';

/** In one column of JSON: such text may hold what an engine's own text cannot (a NUL, half a surrogate pair). */
interface Wrote {
  tenant: string;
  key: string;
  order: string | null;
  method: string;
  target: string;
  headers: Readonly<Record<string, string>>;
  receivedAt: number;
}

/** Row, indexes and pages around the text and the body, roughly. */
const ROW_BYTES = 400;

export function wroteOf(intent: NewIntent): { wrote: string; bytes: number } {
  const { tenant, key, order, method, target, headers, receivedAt } = intent;
  const wrote: Wrote = { tenant, key, order, method, target, headers, receivedAt };
  const text = JSON.stringify(wrote);
  return { wrote: text, bytes: ROW_BYTES + Buffer.byteLength(text) + intent.body.byteLength };
}

/** As an engine gives it back; numbers may be text or bigint, booleans may be numbers. */
export interface IntentRow {
  seq: number | string;
  receipt: string;
  part: string;
  surface: string;
  win: string | null;
  wrote: string;
  body?: Uint8Array | null;
  body_bytes: number | string;
  accepted_at: number | string;
  state: IntentState;
  blocks: number | boolean;
  unknown: number | boolean;
  already: number | boolean;
  attempts: number;
  status: number | null;
  reason: string | null;
  settled_at: number | string | null;
}

export const INTENT_COLUMNS =
  'seq, receipt, part, surface, win, wrote, body_bytes, accepted_at, state, blocks, unknown, already, attempts, status, reason, settled_at';

export function intentOf(row: IntentRow): Intent {
  const wrote = JSON.parse(row.wrote) as Wrote;
  return {
    seq: Number(row.seq),
    receipt: row.receipt,
    partition: row.part,
    surface: row.surface,
    window: row.win,
    ...wrote,
    body: row.body ?? null,
    bodyBytes: Number(row.body_bytes),
    acceptedAt: Number(row.accepted_at),
    state: row.state,
    parked: row.state === 'dead' && Boolean(row.blocks),
    unknown: Boolean(row.unknown),
    already: Boolean(row.already),
    attempts: row.attempts,
    status: row.status,
    reason: row.reason,
    settledAt: row.settled_at === null ? null : Number(row.settled_at),
  };
}

/** What a row adds to the running totals of its surface. */
export interface Share {
  waiting: number;
  /** waiting, or parked: what a direct write must not overtake */
  blocking: number;
  kept: number;
  bytes: number;
}

export function shareOf(row: { state: IntentState; blocks: boolean; bytes: number }): Share {
  const waiting = row.state === 'queued' || row.state === 'applying';
  const kept = waiting || row.state === 'dead';
  return {
    waiting: waiting ? 1 : 0,
    blocking: row.blocks ? 1 : 0,
    kept: kept ? 1 : 0,
    bytes: kept ? row.bytes : 0,
  };
}

export function difference(after: Share, before: Share): Share {
  return {
    waiting: after.waiting - before.waiting,
    blocking: after.blocking - before.blocking,
    kept: after.kept - before.kept,
    bytes: after.bytes - before.bytes,
  };
}

/** Whether an intent in this state may be requeued or dropped; in words where not. */
export function refusal(state: IntentState, to: 'queued' | 'dropped', unknown: boolean): string | undefined {
  if (state === 'applied') return 'it was applied';
  if (state === 'applying') return 'it is being applied at this moment';
  if (state === 'dropped' && to === 'dropped') return 'it was dropped already';
  // an outcome that nobody knows is settled by whoever looked: requeue says that it was not applied
  if (state === 'queued' && to === 'queued' && !unknown) return 'it is queued already';
  return undefined;
}

export function noStates(): Record<IntentState, number> {
  return { queued: 0, applying: 0, applied: 0, dead: 0, dropped: 0 };
}
