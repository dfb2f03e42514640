// What the local stand-ins share: a server that refuses and remembers whatever the service's description forbids, that
// can be made to fail on purpose, and that shows a page for people. Node only.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface StrictRequest {
  /** from 1 */
  n: number;
  /** RFC 3339, UTC */
  at: string;
  method: string;
  /** without the query */
  path: string;
  query: Record<string, string>;
  /** names in lower case; the credentials are masked in the log */
  headers: Record<string, string>;
  /** the parsed JSON or form; undefined where there is none, the text where it is neither */
  body: unknown;
}
export interface Answer {
  status: number;
  headers?: Record<string, string>;
  /** sent as JSON */
  body: unknown;
}
/**
 * `hang` never answers, `reset` breaks the connection before anything happens, `reset-after-effect` after it happened,
 * `truncate` breaks it in the middle of the answer.
 */
export type Fault = Answer | 'hang' | 'reset' | 'reset-after-effect' | 'truncate';
export type FaultHook = (request: StrictRequest) => Fault | undefined;

export interface LoggedRequest extends StrictRequest {
  /** 0: no answer was sent */
  status: number;
  violations: string[];
}
export interface StrictServer {
  url: string;
  port: number;
  stop(): Promise<void>;
  requests(): LoggedRequest[];
  /** what a client did that the description forbids; tests want it empty */
  violations(): string[];
  /** `undefined` ends the faults */
  fail(hook: FaultHook | undefined): void;
}

export interface Field {
  type: 'string' | 'boolean' | 'integer' | 'object' | 'strings' | 'time' | 'date' | 'map';
  /** of the value; for a map, of each of its values */
  enum?: readonly string[];
  /** characters */
  max?: number;
}
export type Fields = Readonly<Record<string, Field>>;

/** Everything that is wrong with `value`, one line each. */
export function wrongFields(fields: Fields, required: readonly string[], value: unknown, path: string): string[] {
  if (!isObject(value)) return [`${path} is no object`];
  const wrong = required.filter((name) => value[name] === undefined).map((name) => `${path}.${name} is missing`);
  for (const [name, given] of Object.entries(value)) {
    const field = fields[name];
    const problem = field ? wrongValue(field, given) : 'is unknown';
    if (problem) wrong.push(`${path}.${name} ${problem}`);
  }
  return wrong;
}

function wrongValue(field: Field, value: unknown): string | undefined {
  const shown = JSON.stringify(value)?.slice(0, 80);
  switch (field.type) {
    case 'boolean':
      return typeof value === 'boolean' ? undefined : `is no boolean: ${shown}`;
    case 'integer':
      return Number.isInteger(value) ? undefined : `is no integer: ${shown}`;
    case 'object':
      return isObject(value) ? undefined : `is no object: ${shown}`;
    case 'strings':
      return Array.isArray(value) && value.every((item) => typeof item === 'string')
        ? undefined
        : `is no list of strings: ${shown}`;
    case 'map': {
      if (!isObject(value)) return `is no map: ${shown}`;
      const bad = Object.entries(value).find(([, item]) => typeof item !== 'string' || !field.enum?.includes(item));
      return bad && `[${bad[0]}] is none of ${field.enum?.join(', ')}: ${JSON.stringify(bad[1])}`;
    }
  }
  if (typeof value !== 'string') return `is no string: ${shown}`;
  if (field.type === 'time' && !TIME.test(value)) return `is no RFC 3339 time: ${shown}`;
  if (field.type === 'date' && !/^\d{4}-\d\d-\d\d$/.test(value)) return `is no date: ${shown}`;
  if (field.enum && !field.enum.includes(value)) return `is none of ${field.enum.join(', ')}: ${shown}`;
  if (field.max !== undefined && value.length > field.max)
    return `has ${value.length} characters, ${field.max} allowed`;
  return undefined;
}
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** So many calls per so many milliseconds, bursts allowed. Returns the seconds to wait, 0 for "go on". */
export function rateLimiter(limit: number, perMs: number, now: () => number): (key: string) => number {
  const calls = new Map<string, number[]>();
  return (key) => {
    const recent = (calls.get(key) ?? []).filter((at) => at > now() - perMs);
    calls.set(key, recent);
    if (recent.length < limit) {
      recent.push(now());
      return 0;
    }
    return Math.max(1, Math.ceil(((recent[0] ?? now()) + perMs - now()) / 1000));
  };
}

export interface StrictOptions {
  port?: number | undefined;
  now: () => number;
  /** the page that people see, at `/` */
  page: () => string;
  /** must not be asynchronous, so that `reset-after-effect` has had its effect. `violate` remembers what is forbidden. */
  answer: (request: StrictRequest, violate: (what: string) => void) => Answer;
}

export async function serveStrictly({ port, now, page, answer }: StrictOptions): Promise<StrictServer> {
  const log: LoggedRequest[] = [];
  let hook: FaultHook | undefined;

  async function serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(message.url ?? '/', 'http://localhost');
    const text = await read(message);
    if (message.method === 'GET' && url.pathname === '/') {
      response.setHeader('content-type', 'text/html; charset=utf-8').end(page());
      return;
    }
    if (message.method === 'GET' && url.pathname === '/favicon.ico') {
      response.writeHead(204).end();
      return;
    }
    const request: StrictRequest = {
      n: log.length + 1,
      at: new Date(now()).toISOString(),
      method: message.method ?? '',
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: Object.fromEntries(Object.entries(message.headers).map(([name, value]) => [name, String(value)])),
      body: parse(text, message.headers['content-type'] ?? ''),
    };
    const entry: LoggedRequest = {
      ...request,
      headers: masked(request.headers),
      body: maskedBody(request.body),
      status: 0,
      violations: [],
    };
    log.push(entry);
    const fault = hook?.(request);
    if (fault === 'hang') return;
    if (fault === 'reset') {
      message.socket.resetAndDestroy();
      return;
    }
    const { status, headers, body } =
      typeof fault === 'object' ? fault : answer(request, (what) => entry.violations.push(what));
    if (fault === 'reset-after-effect') {
      message.socket.resetAndDestroy();
      return;
    }
    entry.status = status;
    const bytes = Buffer.from(JSON.stringify(body ?? null));
    response.writeHead(status, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': bytes.length,
      ...headers,
    });
    if (fault === 'truncate') response.write(bytes.subarray(0, bytes.length >> 1), () => message.socket.destroy());
    else response.end(bytes);
  }

  const server = createServer((message, response) => {
    serve(message, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else response.writeHead(500).end(String(error));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port ?? 0, '127.0.0.1', resolve);
  });
  const bound = (server.address() as AddressInfo).port;
  return {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
    requests: () => structuredClone(log),
    violations: () =>
      log.flatMap(({ method, path, violations }) => violations.map((what) => `${method} ${path}: ${what}`)),
    fail: (next) => {
      hook = next;
    },
  };
}

async function read(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of message) {
    size += (chunk as Buffer).length;
    if (size > 1_000_000) throw new Error('the body is larger than 1 MB');
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parse(text: string, type: string): unknown {
  if (text === '') return undefined;
  if (type.startsWith('application/x-www-form-urlencoded')) return Object.fromEntries(new URLSearchParams(text));
  if (!type.startsWith('application/json')) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function masked(headers: Record<string, string>): Record<string, string> {
  const { authorization, ...others } = headers;
  return authorization === undefined ? others : { ...others, authorization: `${authorization.split(' ')[0]} …` };
}
function maskedBody(body: unknown): unknown {
  return isObject(body) && 'token' in body ? { ...body, token: '…' } : body;
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** A plain page that reloads itself. `body` is HTML already. */
export function htmlPage(title: string, body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-bottom: .2rem }
.banner { padding: .7rem 1rem; border-radius: .4rem; color: #fff; background: #26734d }
.banner.busy { background: #8a5a00 }
.item { border: 1px solid #8886; border-radius: .4rem; padding: .6rem 1rem; margin: .8rem 0; overflow-wrap: anywhere }
.update, .reply { border-left: 3px solid #8886; margin: .6rem 0 .6rem .3rem; padding-left: .8rem; white-space: pre-line }
.text { white-space: pre-line } .quiet { opacity: .7; font-size: .85rem }
table { border-collapse: collapse; width: 100% } td { padding: .3rem 0; border-bottom: 1px solid #8883 } td:last-child { text-align: right }
</style></head>
<body>${body}</body></html>
`;
}
