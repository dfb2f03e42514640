import type { FlagSink, FlagSource } from './source.ts';

export interface HttpSourceOptions {
  /** Sent with every request, such as an `Authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** How often the document is asked for, in milliseconds; each time up to a tenth more, so that processes drift apart. Default 1000. */
  readonly pollMs?: number;
  /** After this many milliseconds without a whole answer the source counts as gone. Default 2000. */
  readonly timeoutMs?: number;
  /**
   * Server-sent events that say when to look: `true`: at the same address, asked for with `Accept: text/event-stream`;
   * or another address. An event is a nudge, whatever it carries: what counts is the document, and polling goes on.
   */
  readonly sse?: boolean | string;
  /** A stream that is silent for so long, comments included, is opened again. Default 60,000. */
  readonly sseIdleMs?: number;
  /** What 404 and 410 mean. Default `failed`: a wrong address and a gateway without its service must not open the writes. */
  readonly notFound?: 'failed' | 'read_write';
  /** Default: the platform's. */
  readonly fetch?: typeof fetch;
}

const MOST_BYTES = 1024 * 1024;
const LONGEST_LINE = 64 * 1024;

/**
 * Reads the flag over HTTP: with `If-None-Match` where the server gives an ETag (RFC 9110), and at once after a
 * server-sent event where there are any.
 *
 * 200 is a document, 304 confirms the last one, 204 says that there is none (read-write). Everything else, a redirect, an
 * answer that hangs or is larger than 1 MiB included, means that the source is gone: the last known state stays and ages.
 *
 * @throws TypeError where the address is no http(s) URL
 */
export function httpSource(url: string | URL, options: HttpSourceOptions = {}): FlagSource {
  const {
    headers = {},
    pollMs = 1000,
    timeoutMs = 2000,
    sse = false,
    sseIdleMs = 60_000,
    notFound = 'failed',
  } = options;
  const address = addressOf(url);
  const events = sse === false ? null : addressOf(sse === true ? url : sse);
  const ask = options.fetch ?? fetch;
  const stop = new AbortController();
  let timer: NodeJS.Timeout | undefined;

  function start(sink: FlagSink): void {
    let etag: string | null = null;
    let last: string | null = null;
    let asking = false;
    let again = false;

    async function look(): Promise<void> {
      if (asking || stop.signal.aborted) {
        again = true;
        return;
      }
      asking = true;
      clearTimeout(timer);
      try {
        sink.document(await read());
      } catch (error) {
        if (!stop.signal.aborted) sink.failed(error);
      }
      asking = false;
      if (stop.signal.aborted) return;
      if (again) {
        again = false;
        void look();
        return;
      }
      timer = setTimeout(look, pollMs * (1 + Math.random() / 10));
      timer.unref();
    }

    async function read(): Promise<string | null> {
      const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(timeoutMs)]);
      const condition = etag === null ? {} : { 'if-none-match': etag };
      const answer = await ask(address, {
        headers: { accept: 'application/json', ...headers, ...condition },
        redirect: 'manual',
        cache: 'no-store',
        signal,
      });
      if (answer.status === 304 && etag !== null) {
        await answer.body?.cancel();
        return last;
      }
      const none =
        answer.status === 204 || ((answer.status === 404 || answer.status === 410) && notFound === 'read_write');
      if (answer.status !== 200 && !none) {
        await answer.body?.cancel();
        throw new Error(`the flag's address answers ${answer.status}`);
      }
      const text = none ? null : await textOf(answer, signal);
      if (none) await answer.body?.cancel();
      etag = answer.headers.get('etag');
      last = text;
      return text;
    }

    void look();
    if (events) void listen(events, sink, () => void look());
  }

  /** Opens the stream again and again, later each time that nothing came of it. */
  async function listen(from: string, sink: FlagSink, nudge: () => void): Promise<void> {
    let failures = 0;
    let retryMs = 500;
    while (!stop.signal.aborted) {
      const idle = new AbortController();
      let quiet = setTimeout(() => idle.abort(new Error('the stream of events is silent')), sseIdleMs);
      quiet.unref();
      try {
        const answer = await ask(from, {
          headers: { accept: 'text/event-stream', ...headers },
          redirect: 'manual',
          cache: 'no-store',
          signal: AbortSignal.any([stop.signal, idle.signal]),
        });
        const type = answer.headers.get('content-type') ?? '';
        if (answer.status !== 200 || !answer.body || !/^text\/event-stream\b/i.test(type)) {
          await answer.body?.cancel();
          throw new Error(`the address of events answers ${answer.status} ${type}`);
        }
        // What happened while nobody listened is found by looking once.
        nudge();
        for await (const event of eventsOf(answer.body)) {
          clearTimeout(quiet);
          quiet = setTimeout(() => idle.abort(new Error('the stream of events is silent')), sseIdleMs);
          quiet.unref();
          failures = 0;
          if (event.retryMs !== undefined) retryMs = Math.min(30_000, Math.max(100, event.retryMs));
          if (event.nudge) nudge();
        }
      } catch (error) {
        if (!stop.signal.aborted && failures === 0) sink.trouble(error);
      } finally {
        clearTimeout(quiet);
      }
      failures += 1;
      await pause(Math.random() * Math.min(30_000, retryMs * 2 ** Math.min(failures - 1, 8)), stop.signal);
    }
  }

  return {
    start,
    close() {
      stop.abort();
      clearTimeout(timer);
    },
  };
}

interface StreamEvent {
  readonly nudge: boolean;
  readonly retryMs?: number;
}

/** As the HTML standard's "server-sent events" has it, as far as it matters here: each line shows that the stream lives. */
async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<StreamEvent> {
  const decoder = new TextDecoder();
  let rest = '';
  let data = false;
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    if (rest.length > LONGEST_LINE)
      throw new Error(`the stream of events has a line of more than ${LONGEST_LINE} characters`);
    for (const line of lines) {
      const retry = /^retry: ?(\d+)$/.exec(line)?.[1];
      if (line.startsWith('data')) data = true;
      if (line === '' && data) {
        data = false;
        yield { nudge: true };
      } else yield retry === undefined ? { nudge: false } : { nudge: false, retryMs: Number(retry) };
    }
  }
}

async function textOf(answer: Response, signal: AbortSignal): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer.body ?? []) {
    signal.throwIfAborted();
    size += chunk.byteLength;
    if (size > MOST_BYTES) throw new Error(`the flag document is larger than ${MOST_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    timer.unref();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

function addressOf(url: string | URL): string {
  const address = URL.canParse(String(url)) ? new URL(url) : undefined;
  if (address && /^https?:$/.test(address.protocol)) return address.href;
  throw new TypeError(`httpSource: ${String(url)} is no http or https URL`);
}
