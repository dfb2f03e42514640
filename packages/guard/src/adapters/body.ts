// The body of a request, read within a bound, and put back where somebody is to read it after the guard.
import type { IncomingMessage } from 'node:http';
import { goOn } from './continue.ts';

export type BodyRead =
  | { readonly is: 'body'; readonly bytes: Uint8Array }
  | { readonly is: 'too_large' }
  /** Too many bytes of other bodies are in memory. */
  | { readonly is: 'crowded' }
  /** The client has left: nothing is kept, and nobody hears an answer. */
  | { readonly is: 'gone' }
  /** It did not come in time. The headers belong to the answer: nobody waits for the rest. */
  | { readonly is: 'late'; readonly headers: Readonly<Record<string, string>> }
  /** Somebody has read it before the guard, which stands in the wrong place. */
  | { readonly is: 'taken' };

export interface BodyReader {
  /**
   * Reads to the end, or until it is known that this will not do. Never rejects.
   *
   * @param keep put it back, so that the service reads it as if nobody had
   * @param grow asked for each part that arrives; false: so many more bytes may not be in memory
   */
  read(maxBytes: number, timeoutMs: number, keep: boolean, grow?: (bytes: number) => boolean): Promise<BodyRead>;
  /** The request goes on to the service: a client that waits to be told sends its body now. */
  goOn?(): void;
}

const EMPTY = new Uint8Array(0);

type Http2Like = IncomingMessage & {
  readonly stream?: {
    readonly endAfterHeaders?: boolean;
    readonly readableEnded?: boolean;
    once(event: 'finish', listener: () => void): unknown;
    close(): void;
  };
};

export function nodeBody(request: IncomingMessage): BodyReader {
  return {
    read(maxBytes, timeoutMs, keep, grow = always) {
      const declared = Number(request.headers['content-length'] ?? Number.NaN);
      if (declared > maxBytes) return Promise.resolve({ is: 'too_large' });
      if (request.aborted || (request.destroyed && !request.complete)) return Promise.resolve({ is: 'gone' });
      // Nothing to wait for: and reading would end a stream that the service still has to see end.
      if (!hasBody(request, declared)) return Promise.resolve({ is: 'body', bytes: EMPTY });
      if (request.readableEnded || request.readableDidRead) return Promise.resolve({ is: 'taken' });
      goOn(request);
      return collect(request, declared, { maxBytes, timeoutMs, keep, grow });
    },
    goOn: () => goOn(request),
  };
}

function hasBody(request: IncomingMessage, declared: number): boolean {
  if (request.httpVersionMajor >= 2) return (request as Http2Like).stream?.endAfterHeaders !== true;
  return request.headers['transfer-encoding'] !== undefined || declared > 0;
}

/**
 * All of it has come. What HTTP/2 calls `complete` says so of a stream that was reset, too, and says it late of one that
 * ended as it should.
 */
function hasEnded(request: IncomingMessage): boolean {
  if (request.httpVersionMajor >= 2) return (request as Http2Like).stream?.readableEnded === true;
  return request.complete;
}

/**
 * The answer ends the exchange, though the body has not ended and may never.
 *
 * @returns the headers that say so: none over HTTP/2, where others share the connection and the stream alone is closed
 */
function endWithAnswer(request: IncomingMessage | undefined): Readonly<Record<string, string>> {
  const stream = (request as Http2Like | undefined)?.stream;
  if (!stream) return { Connection: 'close' };
  stream.once('finish', () => stream.close());
  return {};
}

interface Bounds {
  readonly maxBytes: number;
  readonly timeoutMs: number;
  readonly keep: boolean;
  readonly grow: (bytes: number) => boolean;
}

function collect(
  request: IncomingMessage,
  declared: number,
  { maxBytes, timeoutMs, keep, grow }: Bounds,
): Promise<BodyRead> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const timer = setTimeout(() => finish({ is: 'late', headers: endWithAnswer(request) }), timeoutMs);

    function finish(result: BodyRead): void {
      clearTimeout(timer);
      request.off('readable', look);
      request.off('end', end);
      request.off('close', gone);
      request.off('error', gone);
      // A later error (a reset while the answer is on its way) must not end the process.
      request.on('error', ignore);
      if (result.is === 'body' && keep) {
        // In the same turn as the last read: the stream has not said `end` yet, and now will not before it is read again.
        if (size > 0) request.unshift(Buffer.concat(chunks, size));
      } else if (!request.destroyed) request.resume();
      // The stream notices the missing listener in the next turn only; whoever reads then finds it as it was.
      setImmediate(() => resolve(result));
    }

    function look(): void {
      // Once all has come, reading what is not there would make the stream end.
      while (request.readableLength > 0) {
        const chunk = request.read() as Buffer | string | null;
        if (chunk === null) break;
        const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
        size += bytes.length;
        if (size > maxBytes) {
          finish({ is: 'too_large' });
          return;
        }
        if (!grow(bytes.length)) {
          finish({ is: 'crowded' });
          return;
        }
        chunks.push(bytes);
      }
      if (hasEnded(request) || size === declared) end();
    }

    function end(): void {
      // a stream that was reset ends, too, with a part of the body
      if (request.aborted) gone();
      else finish({ is: 'body', bytes: Buffer.concat(chunks, size) });
    }

    function gone(): void {
      finish({ is: 'gone' });
    }

    request.on('end', end);
    request.on('close', gone);
    request.on('error', gone);
    request.on('readable', look);
  });
}

/** @param incoming the server's own request, where it is known */
export function webBody(request: Request, incoming?: IncomingMessage): BodyReader {
  return {
    async read(maxBytes, timeoutMs, keep, grow = always) {
      if (Number(request.headers.get('content-length') ?? 0) > maxBytes) return { is: 'too_large' };
      if (request.bodyUsed) return { is: 'taken' };
      goOn(incoming);
      let timer: ReturnType<typeof setTimeout> | undefined;
      let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
      try {
        const body = keep ? request.clone().body : request.body;
        if (body === null) return { is: 'body', bytes: EMPTY };
        reader = body.getReader();
        const late = new Promise<'late'>((resolve) => {
          timer = setTimeout(() => resolve('late'), timeoutMs);
        });
        const chunks: Uint8Array[] = [];
        let size = 0;
        for (;;) {
          const next = await Promise.race([reader.read(), late]);
          if (next === 'late') {
            reader.cancel().catch(ignore);
            return { is: 'late', headers: endWithAnswer(incoming) };
          }
          if (next.done) return { is: 'body', bytes: Buffer.concat(chunks, size) };
          size += next.value.byteLength;
          if (size > maxBytes) {
            reader.cancel().catch(ignore);
            return { is: 'too_large' };
          }
          if (!grow(next.value.byteLength)) {
            reader.cancel().catch(ignore);
            return { is: 'crowded' };
          }
          chunks.push(next.value);
        }
      } catch {
        reader?.cancel().catch(ignore);
        return { is: 'gone' };
      } finally {
        clearTimeout(timer);
      }
    },
    goOn: () => goOn(incoming),
  };
}

function always(): boolean {
  return true;
}

function ignore(): void {}
