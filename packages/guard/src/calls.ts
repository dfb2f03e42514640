// Writes that are no HTTP requests: a job's run, a tool's call.
import { plainRefusal, type Refusal } from './decide.ts';

/** Thrown by a guarded tool that was called while the system is read-only. Its message is fit for a language model. */
export class ReadOnlyError extends Error {
  override readonly name = 'ReadOnlyError';
  readonly code = 'read_only';
  readonly window: string | null;
  readonly until: string | null;
  readonly overdue: boolean;
  /** Seconds. */
  readonly retryAfter: number;
  readonly contact: string | null;
  readonly statusPage: string | null;

  constructor(tool: string, refusal: Refusal) {
    super(toolMessage(tool, refusal));
    this.window = refusal.window;
    this.until = refusal.until;
    this.overdue = refusal.overdue;
    this.retryAfter = refusal.retryAfter;
    this.contact = refusal.contact;
    this.statusPage = refusal.statusPage;
  }
}

/** What a guarded tool returns with `onRefused: 'return'`. */
export interface ToolRefused {
  readonly error: {
    readonly code: 'read_only';
    readonly message: string;
    readonly retry_after: number;
    readonly window?: string;
    readonly until?: string;
    readonly overdue?: true;
    readonly contact?: string;
    readonly status_page?: string;
  };
}

/** What a guarded job returns instead of running. */
export interface JobSkipped {
  readonly skipped: 'read_only';
  readonly window: string | null;
  readonly until: string | null;
  readonly overdue: boolean;
  /** Seconds. */
  readonly retryAfter: number;
}

/** Tells a skipped run from a job's own result. */
export function isSkipped(result: unknown): result is JobSkipped {
  return typeof result === 'object' && result !== null && (result as JobSkipped).skipped === 'read_only';
}

export function toolRefused(tool: string, refusal: Refusal): ToolRefused {
  return { error: { message: toolMessage(tool, refusal), ...plainRefusal(refusal) } as ToolRefused['error'] };
}

export function jobSkipped(refusal: Refusal): JobSkipped {
  const { window, until, overdue, retryAfter } = refusal;
  return { skipped: 'read_only', window, until, overdue, retryAfter };
}

function toolMessage(tool: string, refusal: Refusal): string {
  return `${tool} did nothing. ${refusal.message} Do not call it again before ${refusal.retryAfter} seconds have passed.`;
}
