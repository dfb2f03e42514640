// The one catalogue of errors: a stable code, the exit code, and what it means. A message names the value and what is
// allowed; `next` is the command to type. docs/errors.md is made from this table.
import { brand } from './brand.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import type { Next } from './next.ts';

export const CATALOGUE = {
  E_USAGE: { exit: EXIT.USAGE, what: 'The command line cannot be understood.' },
  E_NO_FILE: { exit: EXIT.USAGE, what: 'A file that was named does not exist, or is not a file.' },
  E_NO_RUNBOOK: { exit: EXIT.USAGE, what: 'No runbook was named, and none or several were found.' },
  E_WHICH_WINDOW: { exit: EXIT.USAGE, what: 'Several windows are open; --env says which one is meant.' },
  E_YES: { exit: EXIT.USAGE, what: 'Without a terminal nobody can be asked: --yes is needed.' },
  E_STATE: { exit: EXIT.USAGE, what: 'The state cannot be used at the place that was named.' },
  E_NEWER_STATE: { exit: EXIT.USAGE, what: 'The state was written by a newer release of maint.' },
  E_RUNBOOK: { exit: EXIT.CONTENT, what: 'The runbook, its surfaces or a recorded world is not valid.' },
  E_SECRETS_MISSING: { exit: EXIT.REFUSED, what: 'Variables that the runbook names are not set.' },
  E_NOT_ALLOWED: { exit: EXIT.REFUSED, what: 'This account lacks permissions that a step needs.' },
  E_UNUSABLE: { exit: EXIT.REFUSED, what: 'Something that a step needs cannot be reached or used.' },
  E_REFUSED: { exit: EXIT.REFUSED, what: 'A step or a check refuses to begin.' },
  E_TOO_SHORT: { exit: EXIT.REFUSED, what: 'The window is too short for the way back.' },
  E_NOT_CONFIRMED: { exit: EXIT.REFUSED, what: 'The word at the prompt was not the environment.' },
  E_NO_WINDOW: { exit: EXIT.REFUSED, what: 'There is no window to act on.' },
  E_STORE_INSIDE: {
    exit: EXIT.REFUSED,
    what: 'The journal, the flag or the queue would be closed by one of the walls.',
  },
  E_QUEUE: { exit: EXIT.REFUSED, what: 'The queue of accepted writes cannot be used.' },
  E_SAME_RESOURCE: { exit: EXIT.REFUSED, what: 'Two steps act on the same thing.' },
  E_FAILED: { exit: EXIT.UNDONE, what: 'A step failed, and everything is restored.' },
  E_STILL_RUNNING: { exit: EXIT.UNDONE, what: 'Something that was asked to stop is still running.' },
  E_LEFT_BEHIND: { exit: EXIT.HUMAN, what: 'Some things are not restored.' },
  E_SOAK_BAD: { exit: EXIT.HUMAN, what: 'The soak found trouble; the window is not closed.' },
  E_WRITTEN: {
    exit: EXIT.HUMAN,
    what: 'The window is closed, and something was written while writes were refused.',
  },
  E_NOT_READ_ONLY: { exit: EXIT.HUMAN, what: 'A window is open, and writes are possible, or nobody can tell.' },
  E_CHECK_FAILED: { exit: EXIT.HUMAN, what: 'A check found what must not be during a window; nothing was changed.' },
  E_HELD: { exit: EXIT.HUMAN, what: 'A step failed, and the runbook says to hold.' },
  E_ORPHAN: { exit: EXIT.HUMAN, what: 'The flag holds a window that this state does not know.' },
  E_ELSEWHERE: { exit: EXIT.HUMAN, what: 'A command of the last run may still run on another machine.' },
  E_WINDOW_OPEN: { exit: EXIT.OPEN, what: 'The environment is read-only already.' },
  E_BUSY: { exit: EXIT.BUSY, what: 'Somebody is acting on the window right now.' },
  E_TAKEN_OVER: { exit: EXIT.BUSY, what: 'Somebody took the window over while this run was away.' },
  E_INTERRUPTED: { exit: EXIT.INTERRUPTED, what: 'Interrupted; nothing is lost.' },
  E_BUG: { exit: EXIT.BUG, what: 'Unexpected: a bug in maint.' },
} as const satisfies Record<string, { exit: ExitCode; what: string }>;
export type ErrorCode = keyof typeof CATALOGUE;

/** What a command ends with when it is not done. `details` are shown one per line, `next` after "Next:". */
export class MaintError extends Error {
  readonly code: ErrorCode;
  readonly details: readonly string[];
  readonly next: readonly Next[];
  /** where it differs from the catalogue's */
  readonly exit: ExitCode;
  constructor(
    code: ErrorCode,
    message: string,
    more: { details?: readonly string[]; next?: readonly Next[]; exit?: ExitCode; cause?: unknown } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = 'MaintError';
    this.code = code;
    this.details = more.details ?? [];
    this.next = more.next ?? [];
    this.exit = more.exit ?? CATALOGUE[code].exit;
  }
}
brand(MaintError, 'MaintError');

/**
 * An outer call that went wrong. Clients throw it and never retry; the engine decides.
 * `effect`: whether the call may have changed something: `none` it certainly did not (refused, never sent),
 * `answered` the service has finished with it and said an error (look again at once),
 * `unknown` it may still be under way (a timeout, a broken connection, a gateway's 502/504).
 */
export class OuterError extends Error {
  readonly effect: 'none' | 'answered' | 'unknown';
  readonly retryable: boolean;
  readonly status: number | undefined;
  /** milliseconds, from Retry-After */
  readonly retryAfterMs: number | undefined;
  /** the service's own error word, e.g. Slack's `error`, Postgres' SQLSTATE */
  readonly code: string | undefined;
  /** of a timeout: how long it was waited for, in milliseconds */
  readonly waitedMs: number | undefined;
  constructor(
    message: string,
    more: {
      effect: 'none' | 'answered' | 'unknown';
      retryable: boolean;
      status?: number | undefined;
      retryAfterMs?: number | undefined;
      code?: string | undefined;
      waitedMs?: number | undefined;
      cause?: unknown;
    },
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = 'OuterError';
    this.effect = more.effect;
    this.retryable = more.retryable;
    this.status = more.status;
    this.retryAfterMs = more.retryAfterMs;
    this.waitedMs = more.waitedMs;
    this.code = more.code;
  }
}
brand(OuterError, 'OuterError');
