// What the parts of one guard share: what it was made with, what it knows, and how it counts.
import { createAbandon } from './abandoned.ts';
import type { Admission } from './adapters/exchange.ts';
import { type Bodies, createBodies } from './bodies.ts';
import { type Buffering, createBuffering } from './buffer.ts';
import { createTally, type GuardCounts, type Tally, UNNAMED } from './counts.ts';
import type { DecideOptions } from './decide.ts';
import { createKeeper, type GuardLog, type Keeper } from './keeper.ts';
import { checkBuffering, checkOptions, type GuardOptions, RECEIPTS_PATH } from './options.ts';
import type { WriteQueue } from './queue.ts';
import { compileSurfaces, type Rule, type Rules, type WriteRequest } from './surfaces.ts';

export interface Core {
  readonly options: GuardOptions;
  readonly status: 503 | 423;
  readonly rules: Rules;
  readonly deciding: DecideOptions;
  readonly keeper: Keeper;
  readonly tally: Tally;
  readonly queue: WriteQueue | undefined;
  readonly buffering: Buffering | null;
  readonly bodies: Bodies;
  readonly bodyTimeoutMs: number;
  readonly receiptsPath: string;
  readonly wellKnown: boolean;
  /** of every write that passes: one object for all of them */
  readonly admittedWrite: Admission;
  readonly createdAt: number;
  readonly log: GuardLog;
  readonly clock: () => number;
  readonly random: () => number;
}

/** Reads that pass off the window: nothing to say, nothing to count. One object for all of them. */
export const ADMITTED: Admission = Object.freeze({
  answer: null,
  readOnlyHeader: null,
  leave: null,
  abandon: null,
  wait: null,
});

/** @throws TypeError where an option or a surface cannot be understood */
export function createCore(options: GuardOptions): Core {
  const { clock = Date.now, random = Math.random, status = 503, wellKnown = true, queue } = options;
  const { receiptsPath = RECEIPTS_PATH, bodyTimeoutMs = 30_000, abandonedMs = 30_000 } = options;
  const { healthPaths = ['/health', '/healthz', '/livez', '/readyz'], corsBehindGuard = false } = options;
  checkOptions(options);
  const rules = compileSurfaces(options.surfaces, healthPaths, corsBehindGuard);
  checkBuffering(rules.buffers, options);
  const log = quietly(options.log ?? logToConsole);
  const tally = createTally(rules.names);
  const createdAt = clock();
  const keeper = createKeeper({
    source: options.source,
    environment: options.environment,
    onUnknown: options.onUnknown ?? 'pass',
    onMissing: options.onMissing ?? 'hold',
    localCopy: options.localCopy,
    readyTimeoutMs: options.readyTimeoutMs ?? 3000,
    clock,
    monotonic: options.monotonic ?? (() => performance.now()),
    log,
    tally,
  });
  const buffering: Buffering | null = queue
    ? createBuffering({
        queue,
        authorize: options.authorize ?? 'elsewhere',
        receiptsPath,
        bodyTimeoutMs,
        queueTimeoutMs: options.queueTimeoutMs ?? 10_000,
        state: () => keeper.current,
        clock,
        random,
        tally,
        log,
      })
    : null;
  const admittedWrite: Admission = Object.freeze({
    ...ADMITTED,
    leave: () => tally.leave('http'),
    abandon: createAbandon(tally, 'http', abandonedMs),
  });
  const bodies = createBodies(options.maxPendingBytes ?? 256 * 1024 * 1024);
  return {
    ...{ options, status, rules, deciding: { rules, status, random }, keeper, tally, queue, buffering, bodies },
    ...{ bodyTimeoutMs, receiptsPath, wellKnown, admittedWrite, createdAt, log, clock, random },
  };
}

export function passed(core: Core, name: string): void {
  core.tally.count('passed', name);
  if (core.keeper.current.known) return;
  core.tally.count('passedUnknown', name);
  if (core.tally.passedUnknown() === 1) core.log('warn', 'a write passes though nothing is known about the flag', {});
}

export function countPassed(core: Core, request: WriteRequest, rule: Rule | null): void {
  if (rule === null) core.tally.unnamed(request.method, request.url);
  passed(core, rule?.name ?? UNNAMED);
}

export function admitWrite(core: Core, request: WriteRequest, rule: Rule | null): Admission {
  countPassed(core, request, rule);
  core.tally.enter('http');
  return core.admittedWrite;
}

export function fault(core: Core, error: unknown): void {
  core.tally.error('internal');
  core.log('error', 'the guard failed on a request', { error: error instanceof Error ? error.message : String(error) });
}

export function depth(core: Core): GuardCounts['queue'] {
  try {
    return core.queue?.depth() ?? null;
  } catch {
    return null;
  }
}

/** A logger that fails must not fail a request. */
function quietly(log: GuardLog): GuardLog {
  return (level, message, fields) => {
    try {
      log(level, message, fields);
    } catch {
      // The logger itself failed; ignore it.
    }
  };
}

function logToConsole(level: 'info' | 'warn' | 'error', message: string, fields: Record<string, unknown>): void {
  if (level !== 'info') console.warn(`@maint/guard: ${message}`, fields);
}
