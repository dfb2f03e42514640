// What both renderers of progress say alike: marks, columns, durations, the words for a wait.
import type { Progress } from '../engine/events.ts';
import { lasting, utc } from '../engine/words.ts';
import { clean, width } from './layout.ts';

export interface Renderer {
  emit(progress: Progress): void;
  /** everything shown, the cursor back; a later event begins anew */
  stop(): Promise<void>;
}

export interface Out {
  write(text: string): void;
  /** of a terminal, now */
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
  /** returns how to stop listening */
  onResize?(listener: () => void): () => void;
}

export type Ended = Extract<Progress, { type: 'step-ended' }>;
export type Doing = Extract<Progress, { type: 'step-doing' }>;

export const MARKS = { ok: '✔', look: '!', failed: '✘', skipped: '-' } as const;
export const UNDOING = 'Undoing, walls first';
export const ID_MIN = 10;
const ID_MAX = 24;
/** The column of the ids: one for the whole run, so that start and undo stand below each other. */
export function idWidth(before: number, ids: readonly string[]): number {
  return Math.max(before, ID_MIN, ...ids.map((id) => Math.min(ID_MAX, width(id))));
}

/** "0.1s", "11.2s", "1m 37s" */
export function took(ms: number): string {
  return ms < 60_000 ? `${(Math.max(1, Math.round(ms / 100)) / 10).toFixed(1)}s` : lasting(ms);
}

export function bound(doing: Pick<Doing, 'givesUp' | 'until'>): string {
  if (doing.givesUp !== undefined) return `, gives up ${utc(doing.givesUp)}`;
  return doing.until === undefined ? '' : `, until ${utc(doing.until)}`;
}

export function waitingText(waiting: Extract<Progress, { type: 'waiting' }>): string {
  return `${clean(waiting.text)}, until ${utc(waiting.until)} at the latest`;
}
