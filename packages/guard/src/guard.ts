import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { createAbandon } from './abandoned.ts';
import type { BodyReader } from './adapters/body.ts';
import { type ContinueServer, guardContinue, type Weight } from './adapters/continue.ts';
import type { Admission, IncomingRequest, OwnAnswer } from './adapters/exchange.ts';
import { expressMiddleware, type Middleware } from './adapters/express.ts';
import { type FastifyPlugin, fastifyPlugin } from './adapters/fastify.ts';
import { type FetchHandler, guardFetch } from './adapters/fetch.ts';
import { type HonoMiddleware, honoMiddleware } from './adapters/hono.ts';
import { guardListener, type Http2Listener, type HttpListener } from './adapters/http.ts';
import { guardUpgrade, type UpgradeListener } from './adapters/upgrade.ts';
import { createBodies } from './bodies.ts';
import { type Authorize, type Buffering, createBuffering } from './buffer.ts';
import { type JobSkipped, jobSkipped, ReadOnlyError, type ToolRefused, toolRefused } from './calls.ts';
import { createTally, type GuardCounts, UNNAMED, type WriteKind } from './counts.ts';
import { type Decision, decide, decideHeld, problem, refusalOf, SHORT_RETRY_SECONDS } from './decide.ts';
import { bodyWrites } from './graphql.ts';
import { createKeeper, type GuardLog, type Ready } from './keeper.ts';
import { prometheusText } from './metrics.ts';
import type { WriteQueue } from './queue.ts';
import { createScheduler, type GuardScheduler, type SchedulerOptions } from './scheduler.ts';
import type { FlagSource } from './sources/source.ts';
import { isHeld, type State } from './state.ts';
import {
  compileSurfaces,
  judge,
  judgeCall,
  passesAsSeen,
  type Rule,
  SAFE,
  type Surface,
  surfaceSeen,
  upgradePasses,
  type Verdict,
  type WriteRequest,
} from './surfaces.ts';
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
  /**
   * The flag vanishes while somebody holds (a Redis that lost its data, a replica without the key). Default `hold`: writes
   * stay refused until the last `until` and 60 s more, then as `on_expiry` says; a document that is written ends it at
   * once. `open`: no document means read-write at any time.
   */
  readonly onMissing?: 'hold' | 'open';
  /** A file that keeps the last document across restarts. */
  readonly localCopy?: string;
  /**
   * The status of a refusal; a surface may have its own. Default 503, which generic clients retry after `Retry-After`.
   * 423 (RFC 4918) they never retry.
   */
  readonly status?: 503 | 423;
  /** Exact paths whose GET and HEAD always pass. Default `/health`, `/healthz`, `/livez`, `/readyz`. */
  readonly healthPaths?: readonly string[];
  /**
   * True: a CORS layer behind the guard answers every preflight, so that no handler sees one, and preflights pass. Default
   * false: they are judged like any other OPTIONS, and where a surface of GET has the path, refused.
   */
  readonly corsBehindGuard?: boolean;
  /** Default: warnings and errors go to `console.warn`. */
  readonly log?: GuardLog;
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly clock?: () => number;
  /** Milliseconds of a clock that nobody sets: the flag's age is what the clock that says more says. Default `performance.now`. */
  readonly monotonic?: () => number;
  /** From 0 up to, not including, 1: the jitter of `Retry-After`. Default `Math.random`. */
  readonly random?: () => number;
  /** How long `ready()` waits for the source, in milliseconds. Default 3000. */
  readonly readyTimeoutMs?: number;
  /** An age of the flag above this is `stale` in the counts, in milliseconds. Default 10,000. */
  readonly staleAfterMs?: number;
  /** Where `buffer` surfaces keep their writes: `openQueue` of `@maint/intents`, or your own. */
  readonly queue?: WriteQueue;
  /**
   * Who may have a write kept. Its credentials are not stored, and it is applied with the service's own later: so this is
   * the last moment to look at them. Needed with `buffer` surfaces. `elsewhere`: what stands before the guard does it, or
   * anybody may.
   */
  readonly authorize?: Authorize;
  /** Where receipts are looked up. Who knows one may ask how it ended. Default `/.well-known/maintenance/receipts`. */
  readonly receiptsPath?: string;
  /** How long a body that has to be read may take, in milliseconds. Default 30,000. */
  readonly bodyTimeoutMs?: number;
  /**
   * How many bytes of bodies may be in memory at once; a body counts with what has arrived of it. Above it writes that
   * are to be kept are refused with 503; what has to be read to know whether it writes is not. Default 256 MiB.
   */
  readonly maxPendingBytes?: number;
  /** How long the queue and `authorize` may take, in milliseconds. Default 10,000. */
  readonly queueTimeoutMs?: number;
  /**
   * A client leaves, and the handler goes on: so long its write stays in flight, in milliseconds, where its end cannot be
   * seen (it returned no promise, and does not end its response). Default 30,000.
   */
  readonly abandonedMs?: number;
  /** Serve `/.well-known/maintenance`. It is public, and so are `reason` and `contact`. Default true. */
  readonly wellKnown?: boolean;
}

export interface CallOptions {
  /** The name in the surfaces, the counts and messages. Default: the function's own. */
  readonly name?: string;
}

export interface NamedCallOptions extends CallOptions {
  /** Default `tool`. */
  readonly kind?: 'tool' | 'job' | 'vector' | 'kv';
}

/** All functions can be taken off the object. None of them throws because of the flag, the source or the guard itself. */
export interface Guard {
  /** Wraps a listener of node:http or node:http2: `createServer(guard.http(listener))`. WebSocket upgrades do not come by here. */
  http<Request extends IncomingMessage, Response extends ServerResponse>(
    listener: HttpListener<Request, Response>,
  ): (request: Request, response: Response) => void;
  http(listener: Http2Listener): (request: Http2ServerRequest, response: Http2ServerResponse) => void;
  /** A middleware for Express: the first one, after CORS at most, so that no body is parsed before the decision. */
  express(): Middleware;
  /** A plugin for Fastify; covers all routes of the instance that it is registered on. */
  readonly fastify: FastifyPlugin;
  /** A middleware for Hono 4, before everything else: `app.use(guard.hono())`. */
  hono(): HonoMiddleware;
  /** Wraps any handler from a `Request` to a `Response`. */
  fetch<Rest extends unknown[]>(handler: FetchHandler<Rest>): (request: Request, ...rest: Rest) => Promise<Response>;
  /**
   * Wraps a listener of `upgrade`: `server.on('upgrade', guard.upgrade(listener))`. While the system is read-only no new
   * WebSocket is opened, unless a surface lets GET pass on its path. Those that are open already are the service's: it
   * asks `readOnly()` for each message, or wraps what a message does with `call`.
   */
  upgrade(listener: UpgradeListener): UpgradeListener;
  /**
   * For clients that send `Expect: 100-continue`: `guard.expect(server)`, once, with any of the adapters. Without it a
   * refusal is right, and comes after Node.js has told the client to send its body. Returns the server.
   */
  expect<Server extends ContinueServer>(server: Server): Server;
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
  /** `tool` for any kind of call that surfaces match by name: an upsert into a vector store, a mutation of a key-value store. */
  call<Args extends unknown[], Result>(
    fn: (...args: Args) => Result,
    options: NamedCallOptions & { readonly onRefused: 'return' },
  ): (...args: Args) => Promise<Awaited<Result> | ToolRefused>;
  call<Args extends unknown[], Result>(
    fn: (...args: Args) => Result,
    options?: NamedCallOptions & { readonly onRefused?: 'throw' },
  ): (...args: Args) => Promise<Awaited<Result>>;
  /**
   * Runs a write, in flight until it is over, whatever becomes of the request that it belongs to. While the system is
   * read-only it does not run, and what is returned rejects with a `ReadOnlyError`.
   */
  write<Result>(fn: () => Result, options?: NamedCallOptions): Promise<Awaited<Result>>;
  /** For cron handlers, queue workers and timers: runs are skipped while the system is read-only. */
  scheduler(options?: SchedulerOptions): GuardScheduler;
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
  /** The counts in the Prometheus text format (`METRICS_CONTENT_TYPE`). */
  metrics(): string;
  /** What `/.well-known/maintenance` says. */
  maintenance(): MaintenanceDocument;
  /** Resolves when the source has answered, or has not within `readyTimeoutMs`. Await it before listening. */
  ready(): Promise<Ready>;
  /** Stops watching. The last known state stays in force. */
  close(): Promise<void>;
}

/** Reads that pass off the window: nothing to say, nothing to count. One object for all of them. */
const ADMITTED: Admission = Object.freeze({
  answer: null,
  readOnlyHeader: null,
  leave: null,
  abandon: null,
  wait: null,
});
const RECEIPTS_PATH = '/.well-known/maintenance/receipts';
/** For so long after a window the queue is asked for each write that has an order, whatever its memory says. */
const FRESH_MS = 60_000;

/**
 * Makes the guard of one process and begins to watch the flag.
 *
 * @throws TypeError where an option or a surface cannot be understood; nothing is thrown later
 */
export function createGuard(options: GuardOptions): Guard {
  const { clock = Date.now, random = Math.random, status = 503, onUnknown = 'pass', wellKnown = true } = options;
  const {
    receiptsPath = RECEIPTS_PATH,
    bodyTimeoutMs = 30_000,
    abandonedMs = 30_000,
    maxPendingBytes = 256 * 1024 * 1024,
    queue,
  } = options;
  checkOptions(options);
  const { healthPaths = ['/health', '/healthz', '/livez', '/readyz'], corsBehindGuard = false } = options;
  const rules = compileSurfaces(options.surfaces, healthPaths, corsBehindGuard);
  checkBuffering(rules.buffers, options);
  const deciding = { rules, status, random };
  const log = quietly(options.log ?? logToConsole);
  const tally = createTally(rules.names);
  const createdAt = clock();
  const keeper = createKeeper({
    source: options.source,
    environment: options.environment,
    onUnknown,
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
  const bodies = createBodies(maxPendingBytes);
  const leaveHttp = () => tally.leave('http');
  const admittedWrite: Admission = Object.freeze({
    ...ADMITTED,
    leave: leaveHttp,
    abandon: createAbandon(tally, 'http', abandonedMs),
  });

  function decideAndCount(request: WriteRequest): Decision {
    const now = clock();
    const decision = decide(keeper.current, request, now, deciding);
    if (decision.action === 'drop') tally.count('dropped', decision.refusal.surface);
    else if (decision.action !== 'pass') tally.refused('http', decision.refusal.surface, now);
    else if (decision.write) countPassed(request, surfaceSeen(rules, request));
    return decision;
  }

  function admit(request: IncomingRequest): Admission {
    try {
      const own = ownAnswer(request);
      if (own) return own;
      const now = clock();
      const state = keeper.current;
      return isHeld(state, now) ? admitHeld(request, state, now) : admitOpen(request, now);
    } catch (error) {
      return admitAfterFault(request, error);
    }
  }

  function admitOpen(request: IncomingRequest, now: number): Admission {
    let rule: Rule | null;
    if (SAFE.has(request.method)) {
      if (!rules.safeWrites) return ADMITTED;
      const verdict = judge(rules, request);
      if (!verdict.write) return ADMITTED;
      rule = verdict.surface;
    } else {
      rule = surfaceSeen(rules, request);
      if (rule?.disposition === 'pass' && (passesAsSeen(rule, request) || !judge(rules, request).write)) {
        tally.count('passed', rule.name);
        return ADMITTED;
      }
    }
    if (rules.ordered.length > 0 && buffering) {
      const verdict = orderedAndWaiting(request, now);
      if (verdict) return waiting(busyAnswer(), request, verdict, (body) => afterEarlierOnes(request, verdict, body));
    }
    return admitWrite(request, rule);
  }

  function admitHeld(request: IncomingRequest, state: State, now: number): Admission {
    const judged = judge(rules, request);
    // A replay that was kept or dropped again would count as applied.
    const replay = judged.write && request.headers['maint-replay'] !== undefined;
    const verdict: Verdict = replay ? { ...judged, how: 'refuse', ifWrite: 'refuse' } : judged;
    const decision = decideHeld(state, verdict, now, deciding);
    if (decision.action === 'pass') {
      if (verdict.surface) tally.count('passed', verdict.surface.name);
      return decision.readOnlyHeader === null ? ADMITTED : { ...ADMITTED, readOnlyHeader: decision.readOnlyHeader };
    }
    const { refusal } = decision;
    if (decision.action === 'ask')
      return waiting(refusal, request, verdict, (body) => afterItsBody(request, verdict, body));
    if (decision.action === 'buffer' && buffering) {
      return waiting(refusal, request, verdict, async (body) => buffering.keep(request, verdict, body));
    }
    return { ...ADMITTED, answer: counted(refusal, verdict, request) };
  }

  function admitWrite(request: WriteRequest, rule: Rule | null): Admission {
    countPassed(request, rule);
    tally.enter('http');
    return admittedWrite;
  }

  /** An admission that waits; a fault on the way is a refusal. */
  function waiting(
    fallback: OwnAnswer,
    request: IncomingRequest,
    verdict: Verdict,
    work: (body: BodyReader) => Promise<OwnAnswer | Admission>,
  ): Admission {
    const wait = async (body: BodyReader): Promise<Admission> => {
      const room = bodies.open(verdict.how === 'ask');
      try {
        const bounded: BodyReader = { ...body, read: (most, ms, keep) => body.read(most, ms, keep, room.grow) };
        const result = await work(bounded);
        if ('wait' in result && result.answer === null) body.goOn?.();
        return 'wait' in result ? result : { ...ADMITTED, answer: counted(result, verdict, request) };
      } catch (error) {
        fault(error);
        return { ...ADMITTED, answer: counted(fallback, verdict, request) };
      } finally {
        room.close();
      }
    };
    return { ...ADMITTED, answer: fallback, wait };
  }

  function counted(answer: OwnAnswer, { surface }: Verdict, request: WriteRequest): OwnAnswer {
    if (answer.status === 204) tally.count('dropped', surface?.name ?? UNNAMED);
    else if (answer.status !== 202) {
      tally.refused('http', surface?.name ?? UNNAMED, clock());
      if (!surface) tally.unnamed(request.method, request.url);
    }
    return answer;
  }

  /** A GraphQL request while somebody holds: its document says what it is. */
  async function afterItsBody(
    request: IncomingRequest,
    verdict: Verdict,
    body: BodyReader,
  ): Promise<OwnAnswer | Admission> {
    const rule = verdict.surface as Rule;
    const read = await body.read(rule.maxBytes, bodyTimeoutMs, true);
    if (read.is === 'body' && rule.operations && !bodyWrites(rule.operations, request.headers, read.bytes)) {
      const { current } = keeper;
      return { ...ADMITTED, readOnlyHeader: isHeld(current, clock()) && current.known ? current.header : null };
    }
    if (read.is === 'taken') fault(new Error('a body was read before the guard, which must stand before all parsers'));
    if (read.is === 'body' && verdict.ifWrite === 'buffer' && buffering) {
      return buffering.keep(request, verdict, body, read.bytes);
    }
    const decision = decideHeld(keeper.current, { ...verdict, how: verdict.ifWrite }, clock(), deciding);
    if (decision.action === 'pass') throw new Error('a write cannot pass here');
    return decision.refusal;
  }

  /** After the window: a write whose earlier ones still wait goes behind them. */
  async function afterEarlierOnes(
    request: IncomingRequest,
    verdict: Verdict,
    body: BodyReader,
  ): Promise<OwnAnswer | Admission> {
    const rule = verdict.surface as Rule;
    let bytes: Uint8Array | undefined;
    if (verdict.how === 'ask' && rule.operations) {
      const read = await body.read(rule.maxBytes, bodyTimeoutMs, true);
      if (read.is !== 'body') return busyAnswer();
      if (!bodyWrites(rule.operations, request.headers, read.bytes)) return ADMITTED;
      bytes = read.bytes;
    }
    const { waits, keep } = buffering as Buffering;
    const behind = await waits(request, verdict);
    if (typeof behind === 'object') return behind;
    if (behind) return keep(request, verdict, body, bytes);
    // Somebody may have begun to hold meanwhile.
    const now = clock();
    if (!isHeld(keeper.current, now)) return admitWrite(request, rule);
    const held = admitHeld(request, keeper.current, now);
    if (held.wait === null) return held;
    return bytes ? keep(request, { ...verdict, how: 'buffer' }, body, bytes) : held.wait(body);
  }

  /** The verdict on a write that is to be applied in order, where anything of its surface may still wait. */
  function orderedAndWaiting(request: IncomingRequest, now: number): Verdict | null {
    const fresh = now - Math.max(keeper.lastHeldAt(now), createdAt) < FRESH_MS;
    if (!fresh && !rules.ordered.some((rule) => pending(rule.name))) return null;
    const verdict = judge(rules, request);
    const rule = verdict.surface;
    if (rule?.disposition !== 'buffer' || rule.order === null) return null;
    return fresh || pending(rule.name) ? verdict : null;
  }

  function pending(surface: string): boolean {
    try {
      return queue?.pending(surface) !== false;
    } catch {
      return true;
    }
  }

  function busyAnswer(): OwnAnswer {
    return problem(keeper.current, 503, 'queue_busy', 'Earlier writes are being applied.', 5);
  }

  /** A fault of the guard itself: what is surely a write is refused while somebody holds, the rest goes on. */
  function admitAfterFault(request: IncomingRequest, error: unknown): Admission {
    fault(error);
    if (keeper.current.holdsUntil === Number.NEGATIVE_INFINITY || SAFE.has(request.method)) return ADMITTED;
    const headers = {
      'Content-Type': 'application/problem+json',
      'Cache-Control': 'no-store',
      'Retry-After': String(SHORT_RETRY_SECONDS),
    };
    return { ...ADMITTED, answer: { status, headers, body: '{"title":"Read-only","code":"read_only"}' } };
  }

  function fault(error: unknown): void {
    tally.error('internal');
    log('error', 'the guard failed on a request', { error: error instanceof Error ? error.message : String(error) });
  }

  /** What the guard serves itself: the banner's document, and receipts. */
  function ownAnswer(request: IncomingRequest): Admission | null {
    if (wellKnown && isWellKnown(request)) return { ...ADMITTED, answer: serveWellKnown() };
    if (!buffering || !request.url.startsWith(receiptsPath)) return null;
    if (request.method !== 'GET' && request.method !== 'HEAD') return null;
    const [, id] = /^\/([^/?]+)(?:\?|$)/.exec(request.url.slice(receiptsPath.length)) ?? [];
    if (id === undefined) return null;
    const wait = async () => ({ ...ADMITTED, answer: await buffering.receipt(id) });
    return { ...ADMITTED, answer: problem(keeper.current, 503, 'queue_unknown', 'Ask again.', 5), wait };
  }

  function serveWellKnown(): OwnAnswer {
    return { status: 200, headers: WELL_KNOWN_HEADERS, body: JSON.stringify(maintenance()) };
  }

  function maintenance(): MaintenanceDocument {
    return maintenanceDocument(keeper, tally, depth(), options.source.shown ?? null, rules.digest, clock());
  }

  function depth(): GuardCounts['queue'] {
    try {
      return queue?.depth() ?? null;
    } catch {
      return null;
    }
  }

  function countPassed(request: WriteRequest, rule: Rule | null): void {
    if (rule === null) tally.unnamed(request.method, request.url);
    passed(rule?.name ?? UNNAMED);
  }

  function passed(name: string): void {
    tally.count('passed', name);
    if (keeper.current.known) return;
    tally.count('passedUnknown', name);
    if (tally.passedUnknown() === 1) log('warn', 'a write passes though nothing is known about the flag', {});
  }

  /** Runs a call, unless somebody holds. */
  async function call<Result, Refused>(
    kind: Exclude<WriteKind, 'http'>,
    name: string,
    run: () => Result,
    refuse: (refusal: ReturnType<typeof refusalOf>) => Refused,
  ): Promise<Awaited<Result> | Refused> {
    const now = clock();
    const rule = judgeCall(rules, kind, name);
    const counts = rule?.name ?? name;
    if (isHeld(keeper.current, now) && rule?.disposition !== 'pass') {
      if (rule?.disposition === 'drop') {
        tally.count('dropped', counts);
        return undefined as Awaited<Result>;
      }
      tally.refused(kind, counts, now);
      return refuse(refusalOf(keeper.current, now, random));
    }
    passed(counts);
    tally.enter(kind);
    try {
      return await run();
    } finally {
      tally.leave(kind);
    }
  }

  function job<Result>(name: string, run: () => Result): Promise<Awaited<Result> | JobSkipped> {
    return call('job', name, run, jobSkipped);
  }

  function named<Args extends unknown[], Result>(
    fn: (...args: Args) => Result,
    options: NamedCallOptions & { readonly onRefused?: 'throw' | 'return' } = {},
  ) {
    const { kind = 'tool', onRefused = 'throw' } = options;
    const name = options.name || fn.name || kind;
    return (...args: Args) =>
      call(
        kind,
        name,
        () => fn(...args),
        (refusal): ToolRefused => {
          if (onRefused === 'return') return toolRefused(name, refusal);
          throw new ReadOnlyError(name, refusal);
        },
      );
  }

  function upgradeRefusal(request: IncomingMessage): OwnAnswer | null {
    try {
      const now = clock();
      const { method = '', url = '', headers } = request;
      const incoming = { method, url, headers };
      if (!isHeld(keeper.current, now) || upgradePasses(rules, incoming)) return null;
      const { surface } = judge(rules, incoming);
      const verdict: Verdict = { write: true, surface, how: 'refuse', ifWrite: 'refuse', params: {} };
      const decision = decideHeld(keeper.current, verdict, now, deciding);
      return decision.action === 'pass' ? null : counted(decision.refusal, verdict, incoming);
    } catch (error) {
      fault(error);
      return busyAnswer();
    }
  }

  /** By its head alone, and without a count: for who is decided in the next moment. */
  function weigh(request: IncomingRequest): Weight {
    try {
      const now = clock();
      if (!isHeld(keeper.current, now)) return 'go';
      const verdict = judge(rules, request);
      const replay = verdict.write && request.headers['maint-replay'] !== undefined;
      const { action } = decideHeld(
        keeper.current,
        replay ? { ...verdict, how: 'refuse', ifWrite: 'refuse' } : verdict,
        now,
        deciding,
      );
      if (action === 'pass') return 'go';
      return action === 'ask' || (action === 'buffer' && buffering) ? 'perhaps' : 'refuse';
    } catch (error) {
      fault(error);
      return 'go';
    }
  }

  function counts(): GuardCounts {
    const flagAgeMs = keeper.ageMs();
    const stale = flagAgeMs === null || flagAgeMs > (options.staleAfterMs ?? 10_000);
    const source = options.source.address ?? null;
    const readOnly = isHeld(keeper.current, clock());
    return { ...tally.snapshot(), source, readOnly, flagAgeMs, stale, queue: depth() };
  }

  /** Calls back at every change, and when the last holder runs out by the clock. */
  function watchState(listener: () => void): () => void {
    let timer: NodeJS.Timeout | undefined;
    function changed(): void {
      clearTimeout(timer);
      const left = keeper.current.holdsUntil - clock();
      if (left > 0 && Number.isFinite(left)) {
        timer = setTimeout(changed, Math.min(left + 1, 60_000));
        timer.unref();
      }
      listener();
    }
    const stop = keeper.onChange(changed);
    changed();
    return () => {
      clearTimeout(timer);
      stop();
    };
  }

  return {
    // what is used of both, the compatible API of node:http2 has as well
    http: ((listener: HttpListener<IncomingMessage, ServerResponse>) =>
      guardListener(admit, listener)) as Guard['http'],
    express: () => expressMiddleware(admit),
    fastify: fastifyPlugin(admit),
    hono: () => honoMiddleware(admit),
    fetch: (handler) => guardFetch(admit, handler),
    upgrade: (listener) => guardUpgrade(upgradeRefusal, listener),
    expect: (server) => guardContinue(weigh, server),
    tool: ((fn, options) => named(fn, { ...options, kind: 'tool' })) as Guard['tool'],
    call: named as Guard['call'],
    write: ((fn, options) => named(fn, { name: 'write', ...options, onRefused: 'throw' })()) as Guard['write'],
    job:
      (fn, { name = fn.name || 'job' } = {}) =>
      (...args) =>
        job(name, () => fn(...args)),
    scheduler: (options) =>
      createScheduler(
        {
          held: () => isHeld(keeper.current, clock()),
          watch: watchState,
          job,
          failed(message, error) {
            tally.error('internal');
            log('error', message, { error: error instanceof Error ? error.message : String(error) });
          },
        },
        options,
      ),
    decide: decideAndCount,
    admit,
    readOnly: () => isHeld(keeper.current, clock()),
    counts,
    metrics: () => prometheusText(counts()),
    maintenance,
    ready: keeper.ready,
    close: keeper.close,
  };
}

function checkOptions({ source, status, onUnknown, onMissing, receiptsPath }: GuardOptions): void {
  if (typeof source?.start !== 'function') {
    throw new TypeError('source: fileSource(path), redisSource(client), httpSource(url) or your own');
  }
  if (status !== undefined && status !== 503 && status !== 423) {
    throw new TypeError(`status: ${String(status)}, allowed are 503 and 423`);
  }
  if (onUnknown !== undefined && onUnknown !== 'pass' && onUnknown !== 'refuse') {
    throw new TypeError(`onUnknown: ${String(onUnknown)}, allowed are pass and refuse`);
  }
  if (onMissing !== undefined && onMissing !== 'hold' && onMissing !== 'open') {
    throw new TypeError(`onMissing: ${String(onMissing)}, allowed are hold and open`);
  }
  if (receiptsPath !== undefined && !/^(?:\/[\w.~-]+)+$/.test(receiptsPath)) {
    throw new TypeError(`receiptsPath: ${String(receiptsPath)}, allowed is a path such as ${RECEIPTS_PATH}`);
  }
}

function checkBuffering(buffers: boolean, { queue, authorize }: GuardOptions): void {
  if (queue !== undefined && typeof queue?.accept !== 'function') {
    throw new TypeError('queue: openQueue() of @maint/intents, or your own WriteQueue');
  }
  if (!buffers) return;
  if (!queue)
    throw new TypeError('queue: a surface has the disposition buffer, and there is no queue to keep its writes');
  if (authorize !== 'elsewhere' && typeof authorize !== 'function') {
    throw new TypeError(
      "authorize: a function that says who may have a write kept, or 'elsewhere' where that is decided before the guard: kept writes are applied with the service's own credential",
    );
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
      // The logger itself failed; ignore it.
    }
  };
}

function logToConsole(level: 'info' | 'warn' | 'error', message: string, fields: Record<string, unknown>): void {
  if (level !== 'info') console.warn(`@maint/guard: ${message}`, fields);
}
