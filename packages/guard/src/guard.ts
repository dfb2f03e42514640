import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { type ContinueServer, guardContinue } from './adapters/continue.ts';
import type { Admission, IncomingRequest } from './adapters/exchange.ts';
import { expressMiddleware, type Middleware } from './adapters/express.ts';
import { type FastifyPlugin, fastifyPlugin } from './adapters/fastify.ts';
import { type FetchHandler, guardFetch } from './adapters/fetch.ts';
import { type HonoMiddleware, honoMiddleware } from './adapters/hono.ts';
import { guardListener, type Http2Listener, type HttpListener } from './adapters/http.ts';
import { guardUpgrade, type UpgradeListener } from './adapters/upgrade.ts';
import { admit, decideAndCount } from './admission.ts';
import { job, named, watchState } from './calling.ts';
import type { JobSkipped, ToolRefused } from './calls.ts';
import { createCore } from './core.ts';
import type { GuardCounts } from './counts.ts';
import type { Decision } from './decide.ts';
import { upgradeRefusal, weigh } from './heads.ts';
import type { Ready } from './keeper.ts';
import { prometheusText } from './metrics.ts';
import type { CallOptions, GuardOptions, NamedCallOptions } from './options.ts';
import { counts, maintenance } from './own-answers.ts';
import { createScheduler, type GuardScheduler, type SchedulerOptions } from './scheduler.ts';
import { isHeld } from './state.ts';
import type { WriteRequest } from './surfaces.ts';
import type { MaintenanceDocument } from './well-known.ts';

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

/**
 * Makes the guard of one process and begins to watch the flag.
 *
 * @throws TypeError where an option or a surface cannot be understood; nothing is thrown later
 */
export function createGuard(options: GuardOptions): Guard {
  const core = createCore(options);
  const { keeper, tally, log, clock } = core;
  const admitting = (request: IncomingRequest) => admit(core, request);
  return {
    // what is used of both, the compatible API of node:http2 has as well
    http: ((listener: HttpListener<IncomingMessage, ServerResponse>) =>
      guardListener(admitting, listener)) as Guard['http'],
    express: () => expressMiddleware(admitting),
    fastify: fastifyPlugin(admitting),
    hono: () => honoMiddleware(admitting),
    fetch: (handler) => guardFetch(admitting, handler),
    upgrade: (listener) => guardUpgrade((request) => upgradeRefusal(core, request), listener),
    expect: (server) => guardContinue((request) => weigh(core, request), server),
    tool: ((fn, options) => named(core, fn, { ...options, kind: 'tool' })) as Guard['tool'],
    call: ((fn, options) => named(core, fn, options)) as Guard['call'],
    write: ((fn, options) => named(core, fn, { name: 'write', ...options, onRefused: 'throw' })()) as Guard['write'],
    job:
      (fn, { name = fn.name || 'job' } = {}) =>
      (...args) =>
        job(core, name, () => fn(...args)),
    scheduler: (options) =>
      createScheduler(
        {
          held: () => isHeld(keeper.current, clock()),
          watch: (listener) => watchState(core, listener),
          job: (name, run) => job(core, name, run),
          failed(message, error) {
            tally.error('internal');
            log('error', message, { error: error instanceof Error ? error.message : String(error) });
          },
        },
        options,
      ),
    decide: (request) => decideAndCount(core, request),
    admit: admitting,
    readOnly: () => isHeld(keeper.current, clock()),
    counts: () => counts(core),
    metrics: () => prometheusText(counts(core)),
    maintenance: () => maintenance(core),
    ready: keeper.ready,
    close: keeper.close,
  };
}
