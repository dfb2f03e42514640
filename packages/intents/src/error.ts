/** What is wrong with a queue, and what to do next. Never with a password in it. */
export class QueueError extends Error {
  readonly code: QueueErrorCode;
  readonly details: readonly string[];
  readonly next: readonly string[];

  constructor(
    code: QueueErrorCode,
    message: string,
    more: { details?: readonly string[]; next?: readonly string[]; cause?: unknown } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = 'QueueError';
    this.code = code;
    this.details = more.details ?? [];
    this.next = more.next ?? [];
  }
}

export type QueueErrorCode =
  /** the address or an option is wrong */
  | 'QUEUE_OPTIONS'
  /** it is not there, or does not answer */
  | 'QUEUE_UNAVAILABLE'
  /** others write at this moment */
  | 'QUEUE_BUSY'
  /** the file or schema is another program's, or of a newer release */
  | 'QUEUE_FOREIGN'
  /** what is accepted would not survive what it has to survive */
  | 'QUEUE_NOT_DURABLE'
  /** it was closed */
  | 'QUEUE_CLOSED';
