// What converge and its parts share: what a run gives them, how an error of a step is said, how a pause is taken.
import { MaintError, OuterError } from '../errors/catalogue.ts';
import { type Poll, Refusal, Stale, type Step, Unfinished } from './contract.ts';
import type { JournalEvent, Progress } from './events.ts';
import type { Clients } from './io.ts';
import { point } from './points.ts';
import { failurePolicy } from './roles.ts';
import type { WindowState } from './window.ts';

/** What a run gives to converge. */
export interface Acting {
  readonly steps: readonly Step[];
  readonly state: WindowState;
  readonly token: number;
  readonly clients: Clients;
  /** interrupted: no new write begins */
  readonly signal: AbortSignal;
  /** the write in flight is given up, too */
  readonly hard: AbortSignal;
  /** one durable append, then folded into `state`; throws when the window was taken over */
  record(events: JournalEvent[]): Promise<void>;
  /** before each outer write: the lease has more left than the write may take, and nobody took over */
  mayWrite(deadlineMs: number): Promise<void>;
  /** Right before a write goes out: throws an OuterError where this machine has slept since mayWrite. Asks nobody. */
  awake?(): void;
  /** epoch milliseconds */
  now(): number;
  /** epoch milliseconds by the store's clock, which dates what is journalled */
  storeNow(): Promise<number>;
  /** resolves at `until` or as soon as the run is interrupted (rejects) */
  wait(until: number): Promise<void>;
  emit(progress: Progress): void;
  /** whether a process that this or another run spawned still runs; undefined: it is on another machine */
  running(process: { pid: number; startTime: string; host: string }): boolean | undefined;
  /** this machine, as journalled beside a spawned command's pid */
  readonly machine: string;
  /** [0, 1) */
  random(): number;
}

export interface StepFailure {
  step: string;
  code: 'E_FAILED' | 'E_STILL_RUNNING' | 'E_NOT_ALLOWED' | 'E_REFUSED' | 'E_ELSEWHERE' | 'E_BUG' | 'E_LEFT_BEHIND';
  message: string;
  ids: string[];
  next?: string | undefined;
  policy: 'undo' | 'hold' | 'continue';
}
export class StepProblem extends Error {
  readonly code: StepFailure['code'];
  readonly ids: string[];
  readonly next: string | undefined;
  constructor(code: StepFailure['code'], message: string, ids: string[] = [], next?: string) {
    super(message);
    this.code = code;
    this.ids = ids;
    this.next = next;
  }
}

export function isFatal(acting: Acting, error: unknown): boolean {
  if (acting.signal.aborted) return true;
  return (
    error instanceof MaintError &&
    (error.code === 'E_TAKEN_OVER' || error.code === 'E_INTERRUPTED' || error.code === 'E_STATE')
  );
}

/** An error of a step, said as a failure. What a step cannot know (the policy) comes from its role. */
export function describe(step: Step, error: unknown): StepFailure {
  const policy = failurePolicy(step);
  if (error instanceof StepProblem)
    return {
      step: step.id,
      code: error.code,
      message: error.message,
      ids: error.ids,
      next: error.next,
      policy: error.code === 'E_ELSEWHERE' ? 'hold' : policy,
    };
  if (error instanceof Unfinished)
    return { step: step.id, code: 'E_LEFT_BEHIND', message: error.message, ids: [], next: error.next, policy };
  if (error instanceof Refusal)
    return { step: step.id, code: 'E_REFUSED', message: error.message, ids: [], next: error.next, policy };
  const message = error instanceof Error ? error.message : String(error);
  const code =
    error instanceof OuterError || error instanceof MaintError
      ? 'E_FAILED'
      : error instanceof Error && error.name !== 'Error'
        ? 'E_BUG'
        : 'E_FAILED';
  return {
    step: step.id,
    code,
    message: code === 'E_BUG' ? `${error instanceof Error ? error.name : 'error'}: ${message}` : message,
    ids: [],
    policy,
  };
}

export function hooksOf(acting: Acting, step: Step) {
  return {
    before: (what: string) => {
      point(step.id, `write ${what}`, 'before');
      acting.awake?.();
    },
    awake: () => acting.awake?.(),
    after: (what: string) => point(step.id, `write ${what}`, 'after'),
    may: (deadlineMs: number) => acting.mayWrite(deadlineMs),
    spawned: (process: { pid: number; startTime: string }) =>
      acting.record([{ type: 'spawned', step: step.id, ...process, host: acting.machine }]),
  };
}

const BACKOFF_BASE_MS = 250;
const BACKOFF_CAP_MS = 5_000;

/** Waits before the next attempt; false: no further attempt is worth it. Full jitter, Retry-After honoured, never past the deadline. */
export async function backOff(
  acting: Acting,
  error: unknown,
  attempt: number,
  deadline: number,
  step: Step,
): Promise<boolean> {
  throwIfInterrupted(acting);
  const stale = error instanceof Stale;
  if (!stale && !(error instanceof OuterError && error.retryable)) return false;
  const jitter = acting.random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** attempt);
  const pause =
    error instanceof OuterError && error.retryAfterMs !== undefined
      ? error.retryAfterMs + jitter
      : stale
        ? jitter / 5
        : jitter;
  const until = acting.now() + pause;
  if (until >= deadline) return false;
  if (pause > 500)
    acting.emit({
      type: 'step-doing',
      step: step.id,
      text: `${error instanceof Error ? error.message : error}; again in ${seconds(pause)}`,
      givesUp: deadline,
    });
  await acting.wait(until);
  return true;
}

export function throwIfInterrupted(acting: Acting): void {
  if (acting.signal.aborted)
    throw acting.signal.reason instanceof Error ? acting.signal.reason : new MaintError('E_INTERRUPTED', 'interrupted');
}

export function pollOf(acting: Pick<Acting, 'now' | 'wait' | 'signal'>): Poll {
  return async (everyMs, attempt, deadline = Number.POSITIVE_INFINITY) => {
    for (;;) {
      const began = acting.now();
      const value = await attempt();
      if (value !== undefined) return value;
      if (acting.now() >= deadline) return undefined;
      await acting.wait(Math.min(Math.max(began + everyMs, acting.now()), deadline));
    }
  };
}

export function name(things: readonly string[]): string {
  if (things.length <= 3) return things.join(', ');
  return `${things.slice(0, 3).join(', ')} and ${things.length - 3} more`;
}

export function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)}ms` : `${Math.round(ms / 100) / 10}s`.replace('.0s', 's');
}
