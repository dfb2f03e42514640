export type { BodyRead, BodyReader } from './adapters/body.ts';
export type { ContinueServer } from './adapters/continue.ts';
export type { Admission, IncomingRequest, OwnAnswer } from './adapters/exchange.ts';
export type { Middleware } from './adapters/express.ts';
export type { FastifyPlugin } from './adapters/fastify.ts';
export type { FetchHandler } from './adapters/fetch.ts';
export type { HonoMiddleware } from './adapters/hono.ts';
export type { HttpListener } from './adapters/http.ts';
export type { UpgradeListener } from './adapters/upgrade.ts';
export type { Authorize, Authorized, BufferRequest } from './buffer.ts';
export { isSkipped, type JobSkipped, ReadOnlyError, type ToolRefused } from './calls.ts';
export type { GuardCounts, SurfaceCounts, WriteKind } from './counts.ts';
export type { Decision, HttpRefusal, Refusal } from './decide.ts';
export {
  FENCE_SQL,
  type FenceAnswer,
  type FencedAnswer,
  type FenceRequest,
  FenceRollback,
  type FenceStore,
  fenced,
  requestFingerprint,
} from './fence.ts';
export { createGuard, type Guard } from './guard.ts';
export { parseIdempotencyKey } from './idempotency.ts';
export type { GuardLog, Ready } from './keeper.ts';
export { METRICS_CONTENT_TYPE } from './metrics.ts';
export type { CallOptions, GuardOptions, NamedCallOptions } from './options.ts';
export type { BufferedWrite, QueueAnswer, Receipt, ReceiptState, WriteQueue } from './queue.ts';
export type { GuardScheduler, SchedulerOptions } from './scheduler.ts';
export type { SeenUnnamed } from './seen.ts';
export { type FileSourceOptions, fileSource } from './sources/file.ts';
export { type HttpSourceOptions, httpSource } from './sources/http.ts';
export { type RedisClient, type RedisSourceOptions, redisSource } from './sources/redis.ts';
export type { FlagSink, FlagSource } from './sources/source.ts';
export type { Surface, Where, WriteRequest } from './surfaces.ts';
export type { MaintenanceDocument } from './well-known.ts';
