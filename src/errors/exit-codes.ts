// The one table of exit codes: help, README and docs are made from it, and a test holds them together.
export const EXIT = {
  DONE: 0,
  BUG: 1,
  USAGE: 64,
  CONTENT: 65,
  REFUSED: 66,
  UNDONE: 67,
  HUMAN: 68,
  OPEN: 69,
  UNSHOWN: 74,
  BUSY: 75,
  INTERRUPTED: 130,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_MEANS: Readonly<Record<ExitCode, string>> = {
  0: 'done, or nothing to do; what somebody else changed is told in words ("1 thing to look at")',
  1: 'unexpected: a bug',
  64: 'usage: the command line, a missing file, a folder in place of a file',
  65: 'the content of a runbook, a surfaces file or a recorded world is not valid',
  66: 'refused by a check, a permission or a missing secret; nothing changed',
  67: 'failed, and fully undone',
  68: 'a human is needed: something of ours is left, or writes are still refused though they should not be',
  69: 'a window is open',
  74: 'done, but what was asked for could not be written to stdout as a whole (a full disk)',
  75: 'somebody is acting on the window right now',
  130: 'interrupted; the same command goes on',
};
