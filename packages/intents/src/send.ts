// One write goes out to the service, as it came in, with its key and its receipt.
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { QueueError } from './error.ts';

export interface ReplayRequest {
  readonly receipt: string;
  readonly method: string;
  /** path and query as received */
  readonly target: string;
  /** Lower-case names: what was stored, `idempotency-key`, `maint-replay`, and the service credential if there is one. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface ReplayAnswer {
  readonly status: number;
  /** lower-case names */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** the beginning of it, as text */
  readonly body: string;
}

/**
 * Resolves with any answer. Rejects with {@link NotSent} where the service surely did not get it; any other rejection
 * means that nobody knows.
 */
export type Sender = (request: ReplayRequest, signal: AbortSignal) => Promise<ReplayAnswer>;

/** The write did not reach the service: nothing listens, the name does not resolve, the handshake failed. */
export class NotSent extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'NotSent';
  }
}

export const DEADLINE_MS = 10_000;
/** Enough for a problem document. */
const BODY_BYTES = 16_384;

/**
 * Sends over node:http(s), so that a path with dots, double slashes or `;` goes out as it came in. Redirects are
 * answers. Without `keepAlive` every write has its own connection: one that the service has closed while it was idle
 * would leave an outcome that nobody knows.
 */
export function httpSender(options: {
  url: string;
  deadlineMs?: number;
  keepAlive?: boolean;
  /** once more, where a connection was made in between: what it throws stands for a write that is not sent */
  awake?: () => void;
}): Sender & { close(): void } {
  const base = baseOf(options.url);
  const secure = base.protocol === 'https:';
  const deadlineMs = options.deadlineMs ?? DEADLINE_MS;
  const agent = secure
    ? new HttpsAgent({ keepAlive: options.keepAlive ?? false })
    : new HttpAgent({ keepAlive: options.keepAlive ?? false });
  const prefix = base.pathname.replace(/\/+$/, '');

  const send = (write: ReplayRequest, signal: AbortSignal) =>
    new Promise<ReplayAnswer>((resolve, reject) => {
      let connected = false;
      let answered = false;
      const headers: Record<string, string | number> = { ...write.headers };
      if (write.body.byteLength > 0 || !/^(GET|HEAD|DELETE|OPTIONS)$/.test(write.method))
        headers['content-length'] = write.body.byteLength;
      const sent = (secure ? httpsRequest : httpRequest)({
        agent,
        host: base.hostname.replace(/^\[(.*)\]$/, '$1'),
        ...(base.port === '' ? {} : { port: base.port }),
        method: write.method,
        path: prefix + write.target,
        headers,
        signal: AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)]),
      });
      sent.on('socket', (socket) => {
        if (!socket.connecting) {
          connected = true;
          return;
        }
        const event = secure ? 'secureConnect' : 'connect';
        socket.once(event, () => {
          try {
            options.awake?.();
            connected = true;
          } catch (error) {
            socket.destroy(error as Error);
          }
        });
      });
      sent.on('error', (error: NodeJS.ErrnoException) => {
        // what breaks off an answer changes nothing about its status
        if (answered) return;
        if (connected) reject(error);
        else reject(new NotSent(error.code ?? error.message, error));
      });
      // an answer that changes the protocol is no response, and no error either
      sent.on('close', () => {
        if (!answered) reject(new Error('the connection ended without an answer'));
      });
      sent.on('response', (answer) => {
        answered = true;
        void beginning(answer).then((body) => resolve({ status: answer.statusCode ?? 0, headers: flat(answer), body }));
      });
      sent.end(write.body);
    });
  return Object.assign(send, { close: () => agent.destroy() });
}

/** The status is known from here on: a body that breaks off changes nothing about it. */
function beginning(answer: IncomingMessage): Promise<string> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const done = () => resolve(textOf(Buffer.concat(chunks).subarray(0, BODY_BYTES)));
    answer.on('data', (chunk: Buffer) => {
      if (bytes < BODY_BYTES) chunks.push(chunk);
      bytes += chunk.byteLength;
      if (bytes > BODY_BYTES * 64) answer.destroy();
    });
    answer.on('error', () => {});
    answer.on('close', done);
    answer.on('end', done);
  });
}

function flat(answer: IncomingMessage): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(answer.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value]),
  );
}

function baseOf(text: string): URL {
  const refused = (problem: string) =>
    new QueueError('QUEUE_OPTIONS', `the service's address ${problem}`, {
      details: ['allowed: http(s)://HOST[:PORT][/PATH]'],
    });
  if (!URL.canParse(text)) throw refused('cannot be read');
  const url = new URL(text);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw refused(`begins with ${url.protocol}`);
  if (url.username !== '' || url.password !== '')
    throw refused('holds a user or a password; hand in a credential instead');
  if (url.search !== '' || url.hash !== '') throw refused('holds a query or a fragment');
  return url;
}

/** Of a character that was cut in the middle, nothing. */
function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes, { stream: true });
}
