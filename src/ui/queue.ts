// The queue of accepted writes as people read it. No header, no body and no value of a query stands in a list.
import type { IntentDetail, IntentLine, MoveResult, Page, QueueStatus } from '../../packages/intents/src/index.ts';
import type { QueueReplayed } from '../engine/io.ts';
import { count, lasting, utc } from '../engine/words.ts';
import { EXIT, type ExitCode } from '../errors/exit-codes.ts';
import { advice, blank, maint, type Next } from '../errors/next.ts';
import { clean, cut, pad, width } from './layout.ts';
import { type Line, nextLine } from './next.ts';

const STATES = ['queued', 'applying', 'applied', 'dead', 'dropped'] as const;
const REASON_WIDTH = 60;

export function statusLines(status: QueueStatus, now: number): Line[] {
  const { queue, states, surfaces, holds, parked, unknown, bytes, oldest, durability } = status;
  return [
    `${queue}: ${STATES.filter((state) => states[state] > 0 || state === 'queued')
      .map((state) => `${state} ${states[state]}`)
      .join(
        ' · ',
      )}${oldest === null ? '' : ` · the oldest waits since ${utc(oldest, { today: now })} (${lasting(now - Date.parse(oldest))})`}`,
    ...table(
      surfaces.map((one) => [
        one.surface,
        STATES.filter((state) => one[state] > 0)
          .map((state) => `${state} ${one[state]}`)
          .join(' · '),
      ]),
    ),
    ...holds.map(({ window, reason, since }) => `  held by ${window} since ${utc(since, { today: now })}: ${reason}`),
    ...(parked.partitions > 0
      ? [`  ! dead letters stop ${count(parked.waiting, 'write')} in ${count(parked.partitions, 'partition')}`]
      : []),
    ...(unknown > 0
      ? [`  ! ${count(unknown, 'write')} of unknown outcome: sent, and nobody knows what came of it`]
      : []),
    `  ${size(bytes)} kept · survives the loss of ${durability.survives === 'process' ? 'a process only' : durability.survives === 'power' ? 'power' : 'its machine'} (${durability.proof})`,
    nextLine(...afterStatus(status)),
  ].map(cleaned);
}

function afterStatus({ states, holds }: QueueStatus): Next[] {
  if (states.dead > 0) return [maint('queue list', { 'in-state': 'dead' })];
  if (states.queued + states.applying === 0) return [maint('queue list')];
  return holds[0] === undefined ? [maint('queue backfill')] : goOn(holds[0].window);
}

function cleaned(line: Line): Line {
  return typeof line === 'string' ? clean(line) : line;
}

/** A hold is lifted by the end of its window, or by hand where that window is over. */
export function goOn(window: string): Next[] {
  return [maint('end', {}, 'applies it'), maint('queue backfill', { release: window }, `is ${window} over?`)];
}

export function statusJson({ durability, limits, ...status }: QueueStatus): Record<string, unknown> {
  return { ok: true, exit: 0, ...status, durability, limits };
}

export function listLines({ intents, next }: Page<IntentLine>, now: number): Line[] {
  if (intents.length === 0) return ['No write in the queue fits.', nextLine(maint('queue status'))];
  const rows = intents.map((one) => [
    one.receipt,
    stateOf(one),
    one.surface,
    one.order === null ? '' : `order ${cut(one.order, 20)}`,
    `${one.method} ${cut(one.target, 48)}`,
    utc(one.accepted_at, { today: now }),
    one.reason === null ? '' : cut(one.reason, REASON_WIDTH),
  ]);
  return [
    ...table(rows),
    nextLine(
      maint(['queue show', intents[0]!.receipt]),
      ...(next === null ? [] : [advice(`the next page: --after ${next}`)]),
      ...(intents.some(({ state }) => state === 'dead')
        ? [
            maint(['queue requeue', blank('RECEIPT')], { reason: blank('…') }),
            maint(['queue drop', blank('RECEIPT')], { reason: blank('…') }),
          ]
        : []),
    ),
  ];
}

export function listJson({ intents, next }: Page<IntentLine>): Record<string, unknown> {
  return { ok: true, exit: 0, intents: intents.map(lineJson), next };
}

function stateOf({ state, parked, unknown, already_applied: already }: IntentLine): string {
  if (parked) return `${state} (stops its order)`;
  if (unknown) return `${state} (outcome unknown)`;
  return already ? `${state} (already)` : state;
}

export function lineJson(line: IntentLine): Record<string, unknown> {
  return {
    receipt: line.receipt,
    state: line.state,
    surface: line.surface,
    tenant: line.tenant,
    key: line.key,
    order: line.order,
    method: line.method,
    target: line.target,
    bodyBytes: line.body_bytes,
    window: line.window,
    acceptedAt: line.accepted_at,
    settledAt: line.settled_at,
    attempts: line.attempts,
    unknown: line.unknown,
    parked: line.parked,
    alreadyApplied: line.already_applied,
    status: line.status,
    reason: line.reason,
  };
}

export function detailJson(detail: IntentDetail): Record<string, unknown> {
  return {
    ...lineJson(detail),
    receivedAt: detail.received_at,
    headers: detail.headers,
    moves: detail.moves,
    ...(detail.body === undefined ? {} : { body: detail.body }),
  };
}

export function showLines(one: IntentDetail, now: number): Line[] {
  const rows: [string, string][] = [
    ['surface', one.surface],
    ...(one.tenant === '' ? [] : ([['tenant', one.tenant]] as [string, string][])),
    ['request', `${one.method} ${one.target} · ${count(one.body_bytes, 'byte')}`],
    ['key', one.key],
    ['order', one.order ?? 'none'],
    ['window', one.window ?? 'unknown'],
    ['accepted', utc(one.accepted_at, { today: now })],
    ...(one.settled_at === null ? [] : ([['settled', utc(one.settled_at, { today: now })]] as [string, string][])),
    ['attempts', `${one.attempts}${one.status === null ? '' : ` · last answered ${one.status}`}`],
    ...(one.reason === null ? [] : ([['reason', one.reason]] as [string, string][])),
    ...Object.entries(one.headers).map(([name, value]): [string, string] => [`  ${name}`, value]),
    ...one.moves.map(({ at, by, from, to, reason }): [string, string] => [
      'moved',
      `${utc(at, { today: now })} ${from} → ${to} by ${by}: ${reason}`,
    ]),
  ];
  return [`${one.receipt} is ${stateOf(one)}`, ...table(rows), nextLine(...afterShow(one))].map(cleaned);
}

function afterShow({ receipt, state, unknown }: IntentDetail): Next[] {
  const requeue = maint(['queue requeue', receipt], { reason: blank('…') });
  if (state === 'applied') return [maint('queue list')];
  if (state === 'dropped') return [requeue];
  if (state === 'dead' || unknown) return [requeue, maint(['queue drop', receipt], { reason: blank('…') })];
  return [maint('queue status'), maint('queue backfill')];
}

export function movedLines(verb: 'drop' | 'requeue', { moved, refused }: MoveResult): Line[] {
  const done = verb === 'drop' ? 'dropped, and will never be applied' : 'queued again, at their places';
  return [
    `${count(moved.length, 'write')} ${done}.`,
    ...refused.map(({ receipt, why }) => `  ! ${receipt}  ${why}`),
    nextLine(
      ...(verb === 'drop'
        ? [maint('queue status')]
        : [maint('queue backfill'), maint('end', {}, 'where a window waits for it')]),
    ),
  ].map(cleaned);
}

export function movedExit({ refused }: MoveResult): ExitCode {
  return refused.length > 0 ? EXIT.REFUSED : EXIT.DONE;
}

export function movedJson(verb: string, result: MoveResult): Record<string, unknown> {
  const exit = movedExit(result);
  return { ok: exit === EXIT.DONE, exit, verb: `queue ${verb}`, ...result };
}

export function replayedJson(
  queue: string,
  { stopped, ...done }: QueueReplayed,
  exit: ExitCode,
): Record<string, unknown> {
  return { ok: exit === EXIT.DONE, exit, verb: 'queue backfill', queue, ...done, stopped: stopped ?? null };
}

function size(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let n = bytes;
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) {
    n /= 1024;
    unit++;
  }
  return `${n >= 10 || unit === 0 ? Math.round(n) : Math.round(n * 10) / 10} ${units[unit]}`;
}

function table(rows: readonly (readonly string[])[]): string[] {
  const cells = rows.map((row) => row.map(clean));
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => width(row[column] ?? ''))));
  return cells.map((row) => `  ${row.map((text, column) => pad(text, widths[column] ?? 0)).join('  ')}`.trimEnd());
}
