// When a write that was let in is over. A client that leaves ends nothing: the handler goes on and writes.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Admission } from './exchange.ts';

/**
 * Calls the handler, and counts until its work is over: until its promise is settled where it returns one, and in any case
 * until the answer is out. Of a client that left before the answer, the end is the handler's own `response.end()`.
 */
export function whileWorking(
  { leave, abandon }: Admission,
  request: IncomingMessage,
  response: ServerResponse,
  go: () => unknown,
): void {
  if (leave === null) {
    go();
    return;
  }
  let working = false;
  let closed = false;

  function close(): void {
    if (closed) return;
    closed = true;
    if (!working) afterClose();
  }
  function afterClose(): void {
    if (response.writableEnded || !abandon) leave?.();
    else atEndOf(response, abandon());
  }

  // `close` comes once, after the last byte as well as after an aborted request; for a client that has left, it has come.
  const gone = isClosed(response) || (request.destroyed && !request.complete);
  // not `once`: that wraps the listener and takes it off again, for each request
  if (!gone) response.on('close', close);
  const work = go();
  if (isPromise(work)) {
    working = true;
    const settled = () => {
      working = false;
      if (closed) leave();
    };
    // A rejection stays as unhandled as it was without the guard.
    work.then(settled, (error) => {
      settled();
      throw error;
    });
  }
  if (gone) close();
}

/** A response of HTTP/2 does not say so itself. */
export function isClosed(response: ServerResponse): boolean {
  return response.closed || (response as { stream?: { destroyed?: boolean } }).stream?.destroyed === true;
}

/** Nothing is emitted any more on a closed response, so its `end` itself is looked at. */
export function atEndOf(response: ServerResponse, over: () => void): void {
  const { end } = response;
  response.end = function (this: ServerResponse, ...args: never[]) {
    over();
    return (end as (...all: never[]) => ServerResponse).apply(this, args);
  } as ServerResponse['end'];
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | undefined)?.then === 'function';
}
