export type {
  Alone,
  Backfill,
  BackfillOptions,
  BackfillProgress,
  ReplayAnswer,
  ReplayRequest,
  Sender,
  StopWhy,
} from './backfill.ts';
export { runBackfill } from './backfill.ts';
export { QueueError, type QueueErrorCode } from './error.ts';
export { type OpenOptions, openQueue } from './open.ts';
export * from './port.ts';
export type {
  IntentDetail,
  IntentLine,
  IntentQueue,
  MoveResult,
  Page,
  PageQuery,
  QueueStatus,
  Selection,
  Which,
} from './queue.ts';
export { httpSender, NotSent } from './send.ts';
