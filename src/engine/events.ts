// What is journalled, for ever: a shape here may gain optional fields, and never loses or changes one. And what a run
// tells a renderer while it goes on (Progress), which is never stored.
import type { Edge, Moment, Order, Phase } from './contract.ts';

/** A resource's state as JSON; null: not there. */
export type StateJson = Record<string, unknown> | null;

export type JournalEvent =
  /** the window begins; the runbook's and the surfaces' text are stored as they are, variables unresolved */
  | {
      type: 'opened';
      environment: string;
      /** announced for later: the planned start. The window begins in phase `announced` */
      startsAt?: string | undefined;
      until: string;
      reason: string;
      ticket?: string | undefined;
      by: string;
      contact: string;
      statusPage?: string | undefined;
      rollbackPlan?: string | undefined;
      /** the runbook's words for once it takes longer than planned */
      overdueNotice?: string | undefined;
      onExpiry: 'hold' | 'open';
      soakMs: number;
      budgetMs: number;
      /** absent: opened by a release that knew no other than strict */
      order?: Order | undefined;
      version: string;
      runbook: {
        name: string;
        path: string;
        folder: string;
        text: string;
        surfaces?: { path: string; text: string } | undefined;
      };
      only: string[];
      skip: string[];
    }
  /** an announced window is moved */
  | { type: 'moved'; startsAt: string; until: string; by: string }
  /** an announced window is opened: since now, until then */
  | { type: 'began'; until: string; by: string }
  | { type: 'phase'; phase: Phase; verb: string }
  | { type: 'reached'; phase: Phase }
  | { type: 'extended'; until: string; by: string }
  | { type: 'overdue' }
  | { type: 'note'; text: string; by: string }
  /** writes are refused since now: the first wall stands; they work again: the last one is open */
  | { type: 'walls'; state: 'closed' | 'open' }
  | { type: 'intent'; step: string; changes: { id: string; from: StateJson; to: StateJson }[] }
  | { type: 'outcome'; step: string; results: { id: string; is: StateJson }[] }
  /** certainly not written */
  | { type: 'missed'; step: string; ids: string[]; why: string }
  /** a process that writes: who resumes waits for it to end */
  | { type: 'spawned'; step: string; pid: number; startTime: string; host: string }
  /** as it was before our first write: no longer ours */
  | { type: 'released'; step: string; ids: string[] }
  /** somebody else changed it: reported, left, no longer ours (`released`), or still watched; `taken`: ours by its mark, and undone */
  | {
      type: 'drift';
      step: string;
      id: string;
      ours: StateJson;
      now: StateJson;
      released: boolean;
      gone: boolean;
      taken?: true | undefined;
    }
  /**
   * A wall of ours does not refuse writes any more: somebody opened it after `heldUntil`, the last time that it was seen
   * closed (RFC 3339). The next outcome of these ids closes it again.
   */
  | { type: 'breach'; step: string; ids: string[]; heldUntil: string }
  /** end --leave; `wall`: it may still refuse writes, and status goes on asking until it is seen gone */
  | { type: 'left'; step: string; ids: string[]; reason: string; by: string; wall?: true | undefined }
  | {
      type: 'action';
      step: string;
      edge: Edge;
      state: 'began' | 'done' | 'failed';
      summary: string[];
      /** what it did, for the report */
      data?: unknown;
    }
  | {
      type: 'checked';
      step: string;
      moment: Moment;
      outcome: 'pass' | 'fail' | 'inconclusive' | 'unknown';
      summary: string;
      findings: string[];
      /** what somebody should look at although it passed */
      looks?: string[] | undefined;
      evidence: unknown;
    }
  | { type: 'soak'; until: string }
  /** a step came to its end in this phase: its duration feeds the estimate of the way back, its notes the report */
  | { type: 'settled'; step: string; phase: Phase; ms: number; changes: number; notes: string[]; looks?: string[] }
  | {
      type: 'failed';
      step: string;
      phase: Phase;
      code: string;
      message: string;
      ids: string[];
      next?: string | undefined;
    }
  /** `window export`: another state has it from now on; this one keeps what it knew and does not act on it */
  | { type: 'handed'; to: string; by: string }
  /** `window import`: this state has it from now on */
  | { type: 'received'; from: string; by: string; carrier?: string | undefined }
  | { type: 'run'; state: 'began' | 'ended'; verb: string; owner: string; exit?: number | undefined };

/** An event as stored. */
export interface Recorded {
  /** from 1, per window, no gaps */
  seq: number;
  /** RFC 3339 with milliseconds, UTC, by the store's clock */
  at: string;
  /** the run's fencing token */
  token: number;
  event: JournalEvent;
}

/** What a run tells a renderer. Decides nothing, stored nowhere. */
export type Progress =
  | {
      type: 'phase';
      phase: Phase;
      undo: boolean;
      /** what the checklist may take, for a countdown */
      budgetMs?: number | undefined;
      steps: { id: string; uses: string; group?: number | undefined; skipped?: string | undefined }[];
    }
  | { type: 'step-began'; step: string; label: string }
  /** the text behind the spinner; epoch milliseconds: `givesUp` a deadline that is a failure, `until` an end as planned */
  | {
      type: 'step-doing';
      step: string;
      text: string;
      done?: number;
      total?: number;
      givesUp?: number | undefined;
      until?: number | undefined;
    }
  | {
      type: 'step-ended';
      step: string;
      label: string;
      result: 'ok' | 'look' | 'failed' | 'skipped';
      text: string;
      ms: number;
      /** the verb's own result says it: a renderer only takes away what was under way */
      inResult?: true | undefined;
    }
  /** a wait that belongs to no step: a lease, an outcome that may still come */
  | { type: 'waiting'; text: string; until: number }
  | { type: 'said'; text: string };
