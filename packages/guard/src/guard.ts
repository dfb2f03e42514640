import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Admission, IncomingRequest } from './adapters/exchange.ts';
import { expressMiddleware, type Middleware } from './adapters/express.ts';
import { type FastifyPlugin, fastifyPlugin } from './adapters/fastify.ts';
import { guardListener, type HttpListener } from './adapters/http.ts';
import { type JobSkipped, jobSkipped, ReadOnlyError, type ToolRefused, toolRefused } from './calls.ts';
import { createTally, type GuardCounts } from './counts.ts';
import { type Decision, decide, refusalOf, SHORT_RETRY_SECONDS } from './decide.ts';
import { createKeeper, type GuardLog, type Ready } from './keeper.ts';
import type { FlagSource } from './sources/source.ts';
import { isHeld } from './state.ts';
import { compileSurfaces, type Surface, type WriteRequest } from './surfaces.ts';
import { type MaintenanceDocument, maintenanceDocument, WELL_KNOWN_HEADERS, WELL_KNOWN_PATH } from './well-known.ts';

export interface GuardOptions {
  /** Where the flag is: `fileSource(path)`, `redisSource(client)`, or your own. */
  readonly source: FlagSource;
  /** The parsed surfaces file, or its list. Default: nothing is named, so unsafe methods are refused and safe ones pass. */
  readonly surfaces?: readonly Surface[] | { readonly surfaces: readonly Surface[] };
  /** This service's environment: holders that name another one do not count. Default: every holder counts. */
  readonly environment?: string;
  /** As long as nothing is known about the flag (source down at the start, no local copy). Default `pass`: counted and logged. */
  readonly onUnknown?: 'pass' | 'refuse';
  /** A file that keeps the last document across restarts. */
  readonly localCopy?: string;
  /**
   * The status of a refusal; a surface may have its own. Default 503, which generic clients retry after `Retry-After`.
   * 423 (RFC 4918) they never retry.
   */
  readonly status?: 503 | 423;
  /** Exact paths whose GET and HEAD always pass. Default `/health`, `/healthz`, `/livez`, `/readyz`. */
  readonly healthPaths?: readonly string[];
  /** Default: warnings and errors go to `console.warn`. */
  readonly log?: GuardLog;
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly clock?: () => number;
  /** From 0 up to, not including, 1: the jitter of `Retry-After`. Default `Math.random`. */
  readonly random?: () => number;
  /** How long `ready()` waits for the source, in milliseconds. Default 3000. */
  readonly readyTimeoutMs?: number;
  /** An age of the flag above this is `stale` in the counts, in milliseconds. Default 10,000. */
  readonly staleAfterMs?: number;
  /** Serve `/.well-known/maintenance`. It is public, and so are `reason` and `contact`. Default true. */
  readonly wellKnown?: boolean;
}

export interface CallOptions {
  /** The name in the counts and in messages. Default: the function's own. */
  readonly name?: string;
}

/** All functions can be taken off the object. None of them throws because of the flag, the source or the guard itself. */
export interface Guard {
  /** Wraps a listener of node:http: `createServer(guard.http(listener))`. WebSocket upgrades do not come by here. */
  http<Request extends IncomingMessage, Response extends ServerResponse>(
    listener: HttpListener<Request, Response>,
  ): (request: Request, response: Response) => void;
  /** A middleware for Express: the first one, after CORS at most, so that no body is parsed before the decision. */
  express(): Middleware;
  /** A plugin for Fastify; covers all routes of the instance that it is registered on. */
  readonly fastify: FastifyPlugin;
  /**
   * A tool with side effects. While the system is read-only its function is not called, and the wrapped one rejects with
   * a `ReadOnlyError`, or returns `{ error }` with `onRefused: 'return'`.
   */
  tool<Args extends unknown[], Result>(
    fn: (...args: Args) => Result,
    options: CallOptions & { readonly onRefused: 'return' },
  ): (...args: Args) => Promise<Awaited<Result> | ToolRefused>;
  tool<Args extends unknown[], Result>(
    fn: (...args: Args) => Result,
    options?: CallOptions & { readonly onRefused?: 'throw' },
  ): (...args: Args) => Promise<Awaited<Result>>;
  /** A job that writes. While the system is read-only the run is skipped, and says so (`isSkipped`). */
  job<Args extends unknown[], Result>(
    fn: (...args: Args) => Result,
    options?: CallOptions,
  ): (...args: Args) => Promise<Awaited<Result> | JobSkipped>;
  /** For an adapter of your own: decides, and counts a refusal. In-flight writes are counted by `admit` only. */
  decide(request: WriteRequest): Decision;
  /** For an adapter of your own: everything that the built-in ones do with a request. */
  admit(request: IncomingRequest): Admission;
  /** Whether somebody holds now. A long job asks between its pieces. */
  readOnly(): boolean;
  counts(): GuardCounts;
  /** What `/.well-known/maintenance` says. */
  maintenance(): MaintenanceDocument;
  /** Resolves when the source has answered, or has not within `readyTimeoutMs`. Await it before listening. */
  ready(): Promise<Ready>;
  /** Stops watching. The last known state stays in force. */
  close(): Promise<void>;
}

/** Reads that pass off the window: nothing to say, nothing to count. One object for all of them. */
const ADMITTED: Admission = Object.freeze({ answer: null, readOnlyHeader: null, leave: null });
const SAFE_ENOUGH = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/**
 * Makes the guard of one process and begins to watch the flag.
 *
 * @throws TypeError where an option or a surface cannot be understood; nothing is thrown later
 */
export function createGuard(options: GuardOptions): Guard {
  const { clock = Date.now, random = Math.random, status = 503, onUnknown = 'pass', wellKnown = true } = options;
  checkOptions(options);
  const rules = compileSurfaces(options.surfaces, options.healthPaths ?? ['/health', '/healthz', '/livez', '/readyz']);
  const deciding = { rules, status, random };
  const log = quietly(options.log ?? logToConsole);
  const tally = createTally();
  const keeper = createKeeper({
    source: options.source,
    environment: options.environment,
    onUnknown,
    localCopy: options.localCopy,
    readyTimeoutMs: options.readyTimeoutMs ?? 3000,
    clock,
    log,
    tally,
  });
  const leaveHttp = () => tally.leave('http');
  const admittedWrite: Admission = Object.freeze({ answer: null, readOnlyHeader: null, leave: leaveHttp });

  function decideAndCount(request: WriteRequest): Decision {
    const now = clock();
    const decision = decide(keeper.current, request, now, deciding);
    if (decision.action === 'refuse') tally.refused('http', decision.refusal.surface, now);
    else if (decision.write) passedUnknown();
    return decision;
  }

  function admit(request: IncomingRequest): Admission {
    try {
      if (wellKnown && isWellKnown(request)) return { ...ADMITTED, answer: serveWellKnown() };
      const decision = decideAndCount(request);
      if (decision.action === 'refuse') return { ...ADMITTED, answer: decision.refusal };
      if (decision.write) {
        tally.enter('http');
        return admittedWrite;
      }
      return decision.readOnlyHeader === null ? ADMITTED : { ...ADMITTED, readOnlyHeader: decision.readOnlyHeader };
    } catch (error) {
      return admitAfterFault(request, error);
    }
  }

  /** A fault of the guard itself: what is surely a write is refused while somebody holds, the rest goes on. */
  function admitAfterFault(request: IncomingRequest, error: unknown): Admission {
    tally.error('internal');
    log('error', 'the guard failed on a request', { error: error instanceof Error ? error.message : String(error) });
    if (keeper.current.holdsUntil === Number.NEGATIVE_INFINITY || SAFE_ENOUGH.has(request.method)) return ADMITTED;
    const headers = {
      'Content-Type': 'application/problem+json',
      'Cache-Control': 'no-store',
      'Retry-After': String(SHORT_RETRY_SECONDS),
    };
    return { ...ADMITTED, answer: { status, headers, body: '{"title":"Read-only","code":"read_only"}' } };
  }

  function serveWellKnown() {
    return { status: 200, headers: WELL_KNOWN_HEADERS, body: JSON.stringify(maintenance()) };
  }

  function maintenance(): MaintenanceDocument {
    return maintenanceDocument(keeper, tally, clock());
  }

  function passedUnknown(): void {
    if (keeper.current.known) return;
    if (tally.passedUnknown() === 1) log('warn', 'a write passes though nothing is known about the flag', {});
  }

  /** Runs a tool or a job, unless somebody holds. */
  async function call<Result, Refused>(
    kind: 'tool' | 'job',
    name: string,
    run: () => Result,
    refuse: (refusal: ReturnType<typeof refusalOf>) => Refused,
  ): Promise<Awaited<Result> | Refused> {
    const now = clock();
    if (isHeld(keeper.current, now)) {
      tally.refused(kind, name, now);
      return refuse(refusalOf(keeper.current, now, random));
    }
    passedUnknown();
    tally.enter(kind);
    try {
      return await run();
    } finally {
      tally.leave(kind);
    }
  }

  function tool<Args extends unknown[], Result>(
    fn: (...args: Args) => Result,
    { name = fn.name || 'tool', onRefused = 'throw' }: CallOptions & { readonly onRefused?: 'throw' | 'return' } = {},
  ) {
    return (...args: Args) =>
      call(
        'tool',
        name,
        () => fn(...args),
        (refusal): ToolRefused => {
          if (onRefused === 'return') return toolRefused(name, refusal);
          throw new ReadOnlyError(name, refusal);
        },
      );
  }

  return {
    http: (listener) => guardListener(admit, listener),
    express: () => expressMiddleware(admit),
    fastify: fastifyPlugin(admit),
    tool: tool as Guard['tool'],
    job:
      (fn, { name = fn.name || 'job' } = {}) =>
      (...args) =>
        call('job', name, () => fn(...args), jobSkipped),
    decide: decideAndCount,
    admit,
    readOnly: () => isHeld(keeper.current, clock()),
    counts() {
      const flagAgeMs = keeper.ageMs();
      const stale = flagAgeMs === null || flagAgeMs > (options.staleAfterMs ?? 10_000);
      return { ...tally.snapshot(), readOnly: isHeld(keeper.current, clock()), flagAgeMs, stale };
    },
    maintenance,
    ready: keeper.ready,
    close: keeper.close,
  };
}

function checkOptions({ source, status, onUnknown }: GuardOptions): void {
  if (typeof source?.start !== 'function')
    throw new TypeError('source: fileSource(path), redisSource(client) or your own');
  if (status !== undefined && status !== 503 && status !== 423) {
    throw new TypeError(`status: ${String(status)}, allowed are 503 and 423`);
  }
  if (onUnknown !== undefined && onUnknown !== 'pass' && onUnknown !== 'refuse') {
    throw new TypeError(`onUnknown: ${String(onUnknown)}, allowed are pass and refuse`);
  }
}

function isWellKnown({ method, url }: IncomingRequest): boolean {
  if (!url.startsWith(WELL_KNOWN_PATH) || (method !== 'GET' && method !== 'HEAD')) return false;
  return url.length === WELL_KNOWN_PATH.length || url[WELL_KNOWN_PATH.length] === '?';
}

/** A logger that fails must not fail a request. */
function quietly(log: GuardLog): GuardLog {
  return (level, message, fields) => {
    try {
      log(level, message, fields);
    } catch {
      // There is nobody left to tell.
    }
  };
}

function logToConsole(level: 'info' | 'warn' | 'error', message: string, fields: Record<string, unknown>): void {
  if (level !== 'info') console.warn(`@maint/guard: ${message}`, fields);
}
