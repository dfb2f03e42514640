// Commands: argv, never a shell string. A command that writes begins only after its pid is durable in the journal, and
// goes on in peace if maint dies: its input is complete before it begins, and its output goes to files without a name.

import { randomBytes } from 'node:crypto';
import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  openSync,
  readSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { constants as os, tmpdir } from 'node:os';
import { basename, delimiter, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicNow } from '../engine/clock.ts';
import { cutText } from '../engine/cut.ts';
import type { ExecOptions, ExecReader, ExecResult, ExecWriter } from '../engine/io.ts';
import {
  after,
  before,
  interrupted,
  type Limit,
  limit,
  MAX_ANSWER_BYTES,
  outerError,
  type Scope,
  seconds,
} from './call.ts';
import { startTimeOf } from './process.ts';

/** Between TERM and KILL, and between two looks at whether a group has gone. */
const GRACE_MS = 2000;
const GONE_POLL_MS = 10;

/**
 * The gate: the shell waits for one line on file descriptor 3 and becomes the command. If maint dies first, the read
 * ends with the pipe and the command never begins. Standard input stays untouched.
 */
const GATE = 'read -r _ <&3 || exit 125; exec 3<&-; exec "$@"';

export function execReader(scope: Scope): ExecReader {
  return {
    read: (argv, options = {}) => execute(scope, argv, options, false),
    async unstartable(argv, options = {}) {
      const start = startOf(argv, options);
      return 'why' in start ? scope.redact(start.why) : undefined;
    },
  };
}

export function execWriter(scope: Scope): ExecWriter {
  return { ...execReader(scope), run: (argv, options = {}) => execute(scope, argv, options, true) };
}

/** What programs of the system need: where things are, who it is, how words and times are written. */
const NEEDED = /^(PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|TZ|LANG|LANGUAGE|LC_\w+|TERM|XDG_RUNTIME_DIR|SYSTEMROOT)$/i;

function inherited({ inherit }: ExecOptions): NodeJS.ProcessEnv {
  // the state's address may hold a password, and no command has any business with the journal
  const { MAINT_STATE: _state, ...all } = process.env;
  if (inherit === undefined) return all;
  return Object.fromEntries(Object.entries(all).filter(([name]) => NEEDED.test(name)));
}

async function execute(
  scope: Scope,
  argv: readonly string[],
  options: ExecOptions,
  writes: boolean,
): Promise<ExecResult> {
  const [command] = argv;
  if (command === undefined || command === '') throw new TypeError('a command is a list with at least one word');
  const name = basename(command);
  const start = startOf(argv, options);
  if ('why' in start) throw outerError(scope, start.why, { effect: 'none', retryable: false, code: start.code });
  const { file, env } = start;
  const { execa } = await import('execa');
  // A command that names its own time may take longer than other writes: its pid is in the journal, and who resumes
  // waits for it to end.
  using bound = limit(scope, name, options.timeoutMs, Math.max(options.timeoutMs ?? 0, 10_000));
  using files = new Files(options.stdin);
  const what = `exec ${name}`;
  const words = [file, ...argv.slice(1)];
  const gated = writes ? ['/bin/sh', '-c', GATE, 'sh', ...words] : words;
  const subprocess = execa(gated[0]!, gated.slice(1), {
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    env,
    extendEnv: false,
    // its own group: what it started can be ended with it
    detached: true,
    cleanup: false,
    reject: false,
    buffer: false,
    // the types know descriptors 0 to 2 only
    stdio: [files.stdin, files.stdout, files.stderr, writes ? 'pipe' : 'ignore'] as unknown as [
      'pipe',
      'pipe',
      'pipe',
      'pipe',
    ],
  });
  const { pid } = subprocess;
  if (pid === undefined) {
    const { code, shortMessage } = (await subprocess) as { code?: string; shortMessage?: string };
    throw outerError(scope, `${name} cannot be started: ${code ?? shortMessage}`, {
      effect: 'none',
      retryable: code === 'EAGAIN' || code === 'ENOMEM',
      code,
    });
  }
  let ended = false;
  const ending = subprocess.then((result) => {
    ended = true;
    return result;
  });
  ending.catch(() => {});
  let begun = !writes;
  try {
    if (writes) {
      const startTime = startTimeOf(pid);
      if (startTime === undefined) throw new Error(`${name} ended before it began`);
      await scope.hooks?.spawned({ pid, startTime });
      // the time may have run out while the journal was written
      if (bound.reason() === undefined) {
        before(scope, what);
        begun = true;
        openGate(subprocess.stdio[3]);
      }
    }
    await untilEither(ending, bound);
  } catch (error) {
    await end(pid, () => ended);
    throw error;
  }
  const unfinished = !ended && bound.reason() !== undefined;
  if (unfinished) await end(pid, () => ended);
  const result = await ending;
  if (begun && writes) after(scope, what);
  const effect = !begun || !writes ? 'none' : 'answered';
  if (unfinished) {
    const outcome = effect === 'none' ? 'none' : 'unknown';
    if (bound.reason() === 'interrupted') throw interrupted(scope, name, outcome);
    throw outerError(scope, `${name} still ran after ${seconds(bound.ms)}; it and what it had started were ended`, {
      effect: outcome,
      retryable: true,
      code: 'ETIMEDOUT',
    });
  }
  const output = { stdout: files.read('stdout'), stderr: files.read('stderr') };
  const exitCode = result.exitCode ?? 128 + (os.signals[result.signal as NodeJS.Signals] ?? 0);
  if (result.signal !== undefined) {
    throw outerError(scope, `${name} was ended by ${result.signal}${tail(output.stderr, scope.redact)}`, {
      effect,
      retryable: false,
      code: result.signal,
    });
  }
  if (!(options.expect ?? [0]).includes(exitCode)) {
    throw outerError(
      scope,
      `${name} ended with exit code ${exitCode}${tail(output.stderr || output.stdout, scope.redact)}`,
      {
        effect,
        // EX_TEMPFAIL of sysexits.h: the only code that means "try again"
        retryable: exitCode === 75,
        status: exitCode,
        code: `EXIT_${exitCode}`,
      },
    );
  }
  return { exitCode, ...output };
}

function openGate(gate: unknown): void {
  const stream = gate as NodeJS.WritableStream;
  // killed before it could read: the exit says so
  stream.on('error', () => {});
  stream.end('go\n');
}

async function untilEither(ending: Promise<unknown>, bound: Limit): Promise<void> {
  if (bound.signal.aborted) return;
  await Promise.race([
    ending,
    new Promise<void>((done) => bound.signal.addEventListener('abort', () => done(), { once: true })),
  ]);
}

/** TERM to the whole group, KILL to what is left of it. */
async function end(pid: number, ended: () => boolean): Promise<void> {
  signal(pid, 'SIGTERM');
  const until = monotonicNow() + GRACE_MS;
  while (monotonicNow() < until) {
    if (ended() && !signal(pid, 0)) return;
    await delay(GONE_POLL_MS);
  }
  signal(pid, 'SIGKILL');
}

/** false: nobody is left in the group. */
function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-pid, name);
    return true;
  } catch (error) {
    // EPERM: it is there, under another user
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** What would be started, or why it cannot be. */
function startOf(
  argv: readonly string[],
  options: ExecOptions,
): { file: string; env: NodeJS.ProcessEnv } | { code: string; why: string } {
  const [command = ''] = argv;
  const env = { ...inherited(options), ...options.env };
  const file = find(command, options.cwd, env.PATH);
  if (typeof file !== 'string') return file;
  const { cwd } = options;
  if (cwd === undefined) return { file, env };
  const name = basename(command);
  if (!statSync(cwd, { throwIfNoEntry: false })?.isDirectory())
    return { code: 'ENOENT', why: `${name} cannot run in ${cwd}: no such folder` };
  try {
    accessSync(cwd, constants.X_OK);
  } catch {
    return { code: 'EACCES', why: `${name} cannot run in ${cwd}: permission denied` };
  }
  return { file, env };
}

function find(
  command: string,
  cwd: string | undefined,
  path: string | undefined,
): string | { code: string; why: string } {
  const direct = command.includes('/');
  const places = direct
    ? [resolve(cwd ?? '.', command)]
    : (path ?? '/usr/bin:/bin').split(delimiter).map((folder) => join(folder === '' ? '.' : folder, command));
  let denied: string | undefined;
  for (const place of places) {
    try {
      // a folder on PATH that this user may not enter holds nothing for him
      if (!statSync(place, { throwIfNoEntry: false })?.isFile()) continue;
    } catch {
      continue;
    }
    try {
      accessSync(place, constants.X_OK);
      return place;
    } catch {
      denied ??= place;
    }
  }
  if (denied) return { code: 'EACCES', why: `${denied} is not executable` };
  return { code: 'ENOENT', why: direct ? `${places[0]} is not there` : `${command} is not installed, or not on PATH` };
}

/** Unnamed files for the three streams: nobody's death closes them, and no grandchild holds a pipe open. */
class Files implements Disposable {
  readonly stdin: number;
  readonly stdout: number;
  readonly stderr: number;

  constructor(input: string | undefined) {
    this.stdin = input === undefined ? openSync('/dev/null', 'r') : unnamed();
    this.stdout = unnamed();
    this.stderr = unnamed();
    if (input === undefined) return;
    const bytes = Buffer.from(input);
    // at explicit places: the file's own position stays at the beginning, where the command starts to read
    for (let at = 0; at < bytes.length; ) at += writeSync(this.stdin, bytes, at, bytes.length - at, at);
  }

  read(stream: 'stdout' | 'stderr'): string {
    const fd = this[stream];
    const size = Math.min(fstatSync(fd).size, MAX_ANSWER_BYTES);
    const bytes = Buffer.alloc(size);
    let at = 0;
    while (at < size) {
      const got = readSync(fd, bytes, at, size - at, at);
      if (got === 0) break;
      at += got;
    }
    return bytes.toString('utf8', 0, at);
  }

  [Symbol.dispose](): void {
    for (const fd of [this.stdin, this.stdout, this.stderr]) closeSync(fd);
  }
}

function unnamed(): number {
  const path = join(tmpdir(), `.maint.${randomBytes(9).toString('hex')}`);
  const fd = openSync(path, 'wx+', 0o600);
  unlinkSync(path);
  return fd;
}

function tail(text: string, redact: Scope['redact']): string {
  const line = text.trim().split('\n').at(-1)?.trim() ?? '';
  // redacted before it is cut: half a secret would not be known as one
  return line === '' ? '' : `: ${cutText(redact(line), 200)}`;
}
