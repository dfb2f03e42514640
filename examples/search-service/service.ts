// A small search service, guarded. It knows nothing of maintenance windows: the guard stands before its routes, its tools
// and its job, and reads the flag from a file.
import { mkdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname } from 'node:path';
import { parse } from 'yaml';
import {
  createGuard,
  fileSource,
  type Guard,
  parseIdempotencyKey,
  ReadOnlyError,
  requestFingerprint,
} from '../../packages/guard/src/index.ts';
import { type IntentQueue, openQueue } from '../../packages/intents/src/index.ts';
import { DIMENSIONS, embed } from './embed.ts';
import { createIngest } from './ingest.ts';
import { page } from './page.ts';
import { openStore, type Store } from './store.ts';

export interface ServiceOptions {
  database: string;
  /** the flag document that `maint` writes; its folder must exist */
  flag: string;
  /** 0: a free one */
  port?: number;
  /** every so many milliseconds the job takes a document, and the heartbeat is written */
  ingestEveryMs?: number;
  beatEveryMs?: number;
  /** the file of the queue that keeps notes while a window is open */
  queue: string;
  /** What an accepted note must survive; a folder in memory survives no power cut. Default: power. */
  survives?: 'process' | 'power';
  /** false: nothing stands before the writes. For the test that canaries never write. */
  guarded?: boolean;
  /** the links of the page */
  links?: readonly { name: string; url: string }[];
}
export interface Service {
  url: string;
  store: Store;
  /** undefined: unguarded */
  guard: Guard | undefined;
  stop(): Promise<void>;
}

interface Answer {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}
class Failure extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}
type Body = Record<string, unknown>;

const MAX_BODY = 100_000;
const MAX_DRAINED = 10_000_000;

export async function startService(options: ServiceOptions): Promise<Service> {
  const store = openStore(options.database);
  const surfaces = parse(readFileSync(new URL('surfaces.yaml', import.meta.url), 'utf8'));
  let guard: Guard | undefined;
  let queue: IntentQueue | undefined;
  if (options.guarded !== false) {
    queue = await openQueue({ path: options.queue, survives: options.survives ?? 'power' });
    guard = createGuard({
      source: fileSource(options.flag),
      surfaces,
      environment: 'demo',
      queue,
      // everybody may write to this service
      authorize: 'elsewhere',
    });
    await guard.ready();
  }

  const unguardedIngest = createIngest(store);
  const ingest = guard?.job(unguardedIngest, { name: 'ingest' }) ?? unguardedIngest;
  const tools = createTools(store, guard);

  async function answer(method: string, url: URL, request: IncomingMessage): Promise<Answer> {
    const [root = '', name, ...rest] = url.pathname.slice(1).split('/').map(decode);
    if (rest.length > 1) throw new Failure(404, 'There is nothing here.');
    const route = [
      `${method === 'HEAD' ? 'GET' : method} /${root}`,
      ...(name === undefined ? [] : [':name']),
      ...rest,
    ].join('/');
    switch (route) {
      case 'GET /search':
        return { status: 200, body: { query: asked(url), results: store.search(asked(url)) } };
      case 'GET /vectors/:name':
        if (name !== 'nearest') throw new Failure(404, 'There is nothing here.');
        return { status: 200, body: { query: asked(url), results: store.nearest(asked(url)) } };
      case 'GET /ask':
        return { status: 200, body: await ask(asked(url)) };
      case 'GET /documents/:name':
        return { status: 200, body: known(name) };
      case 'GET /health':
        return { status: 200, body: { ok: true, documents: store.documents() } };
      case 'POST /documents': {
        const body = await readBody(request);
        const id = body.id === undefined ? crypto.randomUUID() : text(body, 'id', 200);
        return put(id, text(body, 'title'), text(body, 'body'));
      }
      case 'PUT /documents/:name': {
        const body = await readBody(request);
        return put(text({ id: name }, 'id', 200), text(body, 'title'), text(body, 'body'));
      }
      case 'PATCH /documents/:name': {
        const body = await readBody(request);
        if (body.title === undefined && body.body === undefined)
          throw new Failure(422, 'Nothing to change: title or body is needed.');
        const old = known(name);
        return put(
          old.id,
          body.title === undefined ? old.title : text(body, 'title'),
          body.body === undefined ? old.body : text(body, 'body'),
        );
      }
      case 'GET /documents/:name/notes':
        return { status: 200, body: { notes: store.notes(known(name).id) } };
      case 'POST /documents/:name/notes': {
        const words = text(await readBody(request), 'text', 2000);
        return await addNote(known(name).id, words, request);
      }
      case 'DELETE /documents/:name':
        store.removeDocument(known(name).id);
        return { status: 204 };
      case 'POST /vectors': {
        const body = await readBody(request);
        const id = text(body, 'id', 200);
        store.putVector(id, body.values === undefined ? embed(text(body, 'text')) : vector(body.values));
        return { status: 200, body: { id, dimensions: DIMENSIONS } };
      }
      case 'POST /tools/:name': {
        const tool = Object.hasOwn(tools, name ?? '') ? tools[name as keyof typeof tools] : undefined;
        if (!tool) throw new Failure(404, `No such tool. There are ${Object.keys(tools).join(', ')}.`);
        return { status: 200, body: { result: await tool(await readBody(request)) } };
      }
    }
    throw new Failure(404, 'There is nothing here.');
  }

  function asked(url: URL): string {
    const query = url.searchParams.get('q')?.trim() ?? '';
    if (query === '') throw new Failure(422, 'q is needed, for example ?q=window.');
    return query.slice(0, 500);
  }
  function known(id: string | undefined) {
    const found = id === undefined ? undefined : store.document(id);
    if (!found) throw new Failure(404, 'No such document.');
    return found;
  }
  /** Once for each key, whether it comes from the client, from the client again, or from the queue after a window. */
  async function addNote(document: string, words: string, request: IncomingMessage): Promise<Answer> {
    const field = request.headers['idempotency-key'];
    const key = field === undefined ? crypto.randomUUID() : parseIdempotencyKey(String(field));
    if (key === null) throw new Failure(400, 'Idempotency-Key must be a quoted text of 1 to 255 characters.');
    const fingerprint = requestFingerprint('POST', request.url ?? '', words);
    return await store.once(key, fingerprint, () => ({ status: 201, body: store.addNote(document, words) }));
  }
  function put(id: string, title: string, body: string): Answer {
    const isNew = store.putDocument(id, title, body);
    const location = `/documents/${encodeURIComponent(id)}`;
    return { status: isNew ? 201 : 200, body: store.document(id), headers: { location } };
  }

  /**
   * What an assistant does: it reads, and calls a tool of its own accord. The request is a read, so the guard lets it
   * through; the tool inside writes, and is refused where it is called.
   */
  async function ask(question: string) {
    const [best] = store.search(question, 1);
    const nearest = store.nearest(question, 1)[0];
    const source = best?.id ?? nearest?.id;
    const reply = { answer: source === undefined ? null : (store.document(source)?.body ?? null), source };
    try {
      return { ...reply, remembered: await tools.remember_question({ question }) };
    } catch (error) {
      if (error instanceof ReadOnlyError) return { ...reply, remembered: false, because: error.message };
      throw error;
    }
  }

  async function listen(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET' } = request;
    try {
      const url = new URL(request.url ?? '/', 'http://localhost');
      if (method === 'GET' && url.pathname === '/') return sendPage(response, page(options.links ?? []));
      send(response, await answer(method, url, request));
    } catch (error) {
      send(response, failed(error));
    }
  }

  const listener = (request: IncomingMessage, response: ServerResponse) => void listen(request, response);
  const server = createServer(guard ? guard.http(listener) : listener);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const timers = [
    // What keeps the timer's function from throwing keeps the service alive: a busy database is met again next time.
    setInterval(() => void ingest().catch(complain), options.ingestEveryMs ?? 1000),
    setInterval(() => attempt(store.beat), options.beatEveryMs ?? 500),
  ];

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    store,
    guard,
    async stop() {
      for (const timer of timers) clearInterval(timer);
      await new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      });
      await guard?.close();
      await queue?.close();
      await store.close();
    },
  };
}

/** The tools that a language model may call. Each writes, so each goes through `guard.tool`. */
function createTools(store: Store, guard: Guard | undefined) {
  function guarded(name: string, tool: (args: Body) => unknown): (args: Body) => Promise<unknown> {
    if (guard) return guard.tool(tool, { name });
    return async (args) => tool(args);
  }
  return {
    save_note: guarded('save_note', (args) => {
      const title = text(args, 'title');
      const body = text(args, 'body');
      const id = `note-${crypto.randomUUID()}`;
      store.putDocument(id, title, body);
      return id;
    }),
    forget: guarded('forget', (args) => store.removeDocument(text(args, 'id', 200))),
    remember_question: guarded('remember_question', (args) => {
      store.putVector(`question: ${text(args, 'question', 500)}`, embed(text(args, 'question', 500)));
      return true;
    }),
  };
}

function text(from: Body, name: string, max = 20_000): string {
  const value = from[name];
  if (typeof value !== 'string' || value.trim() === '') throw new Failure(422, `${name} must be text.`);
  if (value.length > max) throw new Failure(422, `${name} has ${value.length} characters, ${max} are allowed.`);
  return value;
}

function vector(value: unknown): Float32Array {
  const numbers = Array.isArray(value) && value.length === DIMENSIONS && value.every(Number.isFinite);
  if (!numbers) throw new Failure(422, `values must be ${DIMENSIONS} numbers.`);
  return Float32Array.from(value as number[]);
}

async function readBody(request: IncomingMessage): Promise<Body> {
  const chunks: Buffer[] = [];
  let size = 0;
  // Too much is read to its end and thrown away: a client that is still sending would lose the answer with its socket.
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    size += (chunk as Buffer).length;
    if (size > MAX_DRAINED) break;
    if (size <= MAX_BODY) chunks.push(chunk as Buffer);
  }
  if (size > MAX_BODY) throw new Failure(413, `The body is larger than ${MAX_BODY} bytes.`);
  let body: unknown;
  try {
    body = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw new Failure(400, 'The body is no JSON.');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new Failure(422, 'The body is no JSON object.');
  return body as Body;
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new Failure(400, 'The path is not encoded properly.');
  }
}

/** Everything that is not 2xx, as RFC 9457 has it: the same form as the guard's refusals. */
function failed(error: unknown): Answer {
  if (error instanceof Failure) return problem(error.status, error.message);
  // The flag came between the guard at the door and the tool.
  if (error instanceof ReadOnlyError) {
    const refused = problem(503, error.message, { code: error.code });
    return { ...refused, headers: { ...refused.headers, 'retry-after': String(error.retryAfter) } };
  }
  complain(error);
  return problem(500, 'Something went wrong here.');
}

function problem(status: number, detail: string, more: Body = {}): Answer {
  return { status, body: { status, detail, ...more }, headers: { 'content-type': 'application/problem+json' } };
}

function send(response: ServerResponse, { status, body, headers }: Answer): void {
  if (body === undefined) {
    response.writeHead(status, headers).end();
    return;
  }
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}

function sendPage(response: ServerResponse, html: string): void {
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(html);
}

function attempt(work: () => void): void {
  try {
    work();
  } catch (error) {
    complain(error);
  }
}

function complain(error: unknown): void {
  console.error('search-service:', error);
}

if (import.meta.main) {
  const {
    DATABASE = 'search.db',
    READ_ONLY_FLAG = 'flag/read-only.json',
    QUEUE = 'queue.db',
    PORT = '3000',
  } = process.env;
  mkdirSync(dirname(READ_ONLY_FLAG), { recursive: true });
  const service = await startService({ database: DATABASE, flag: READ_ONLY_FLAG, queue: QUEUE, port: Number(PORT) });
  console.log(`search service on ${service.url}, flag ${READ_ONLY_FLAG}`);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void service.stop());
}
