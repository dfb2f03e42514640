// The ports through which plugins reach the outer world. clients/ implements them; the engine hands out readers, and
// writers only where a change is journalled. Every call carries a deadline and the run's AbortSignal by itself.

export interface HttpRequest {
  /** absolute; userinfo becomes Basic auth and appears nowhere else */
  url: string;
  query?: Record<string, string | number | boolean | undefined>;
  headers?: Record<string, string>;
  /** sent as JSON */
  json?: unknown;
  /** sent as is */
  body?: string;
  /** the statuses that are no error; default 200–299 */
  expect?: readonly number[];
  /** milliseconds, at most the 10 s of any single outer call */
  timeoutMs?: number;
}
export interface HttpResponse {
  status: number;
  /** names in lower case */
  headers: Record<string, string>;
  text: string;
  /** the parsed body; undefined where it is no JSON */
  json: any;
  /** only for a prober: the connection broke in the middle of the body */
  brokeOff?: true;
  /** milliseconds from the first byte sent to the last received */
  ms: number;
}
export interface HttpReader {
  get(request: HttpRequest): Promise<HttpResponse>;
  /** a read that the service wants as POST: the plugin declares why it writes nothing */
  query(request: HttpRequest & { because: string }): Promise<HttpResponse>;
}
export interface HttpWriter extends HttpReader {
  send(method: string, request: HttpRequest): Promise<HttpResponse>;
}

/** A Redis command as argv. The reader takes read commands only (by the server's own list of them, kept in clients/). */
export interface RedisReader {
  read(url: string, ...command: [string, ...string[]]): Promise<any>;
  /**
   * Which of these commands the address' user may not send, in words; [] = none. One round trip, nothing is run. Before
   * Redis 7.0, and without the right to ask, an OuterError.
   */
  missing(url: string, commands: readonly (readonly [string, ...string[]])[]): Promise<string[]>;
  /** pattern subscription; returns a function that ends it */
  subscribe(
    url: string,
    pattern: string,
    listener: (channel: string, message: string) => void,
  ): Promise<() => Promise<void>>;
}
export interface RedisWriter extends RedisReader {
  write(url: string, ...command: [string, ...string[]]): Promise<any>;
  /** one atomic script; the only way to compare and set */
  script(url: string, lua: string, keys: readonly string[], args: readonly string[]): Promise<any>;
}

/**
 * A named constant statement. A READ ONLY transaction is not enough to make SQL harmless, so the reader takes nothing
 * that was put together at run time: statements are module constants, values travel as parameters.
 */
export interface Statement {
  readonly name: string;
  readonly text: string;
}
export function statement(name: string, text: string): Statement {
  return Object.freeze({ name, text });
}
export interface PostgresReader {
  rows<T = Record<string, any>>(url: string, statement: Statement, values?: readonly unknown[]): Promise<T[]>;
}
export interface SqliteReader {
  /** opened read-only, one connection kept per path while the reader lives; leaves no file behind */
  rows<T = Record<string, any>>(
    path: string,
    statement: Statement,
    values?: readonly (string | number | null)[],
  ): Promise<T[]>;
  /** sha256 over all rows of one table in rowid or primary-key order, and their number */
  digest(path: string, table: string): Promise<{ digest: string; rows: number }>;
  /** Another text after every commit, whoever made it; the same one: nothing was committed. Takes no lock, leaves no file behind. */
  version(path: string): Promise<string>;
}

export interface ExecOptions {
  stdin?: string;
  env?: Record<string, string>;
  /**
   * `needed`: of this process' environment only what programs need to run at all, because the rest may hold secrets.
   * Default: all of it but the state's address, for a person's own scripts.
   */
  inherit?: 'needed';
  cwd?: string;
  timeoutMs?: number;
  /** exit codes that are no error; default [0] */
  expect?: readonly number[];
}
export interface ExecResult {
  exitCode: number;
  stdout: string;
  stderr: string;
}
export interface ExecReader {
  /** argv, never a shell string; the plugin declares that it writes nothing */
  read(argv: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** Why it cannot be started (not there, not executable, no such folder), by access(2); nothing is started. */
  unstartable(argv: readonly string[], options?: ExecOptions): Promise<string | undefined>;
}
export interface ExecWriter extends ExecReader {
  /** in its own process group; its pid and start time are journalled before it begins */
  run(argv: readonly string[], options?: ExecOptions): Promise<ExecResult>;
}

export interface FileSeen {
  content: Buffer;
  mode: number;
  uid: number;
  gid: number;
  /** changes whenever the file is replaced or written */
  version: string;
}
export interface FilesReader {
  /** null: not there */
  read(path: string): Promise<FileSeen | null>;
  /** names, sorted; null: not there */
  list(folder: string): Promise<string[] | null>;
  /** whether this process may replace the file (its folder is writable); the reason if not */
  replaceable(path: string): Promise<string | undefined>;
}
export interface FilesWriter extends FilesReader {
  /**
   * Atomic and durable: temporary file (with a dot in its name) in the same folder, fsync, rename, fsync of the folder;
   * mode and owner kept. Under a lock file made with link(2). `from` is what was read: anything else there now throws Stale.
   * `content` null removes the file.
   */
  replace(path: string, from: FileSeen | null, content: Buffer | null): Promise<FileSeen | null>;
}

/** Slack's Web API through @slack/web-api. Reads: *.list, *.info, *.history, *.replies, *.test. */
export interface SlackReader {
  read(api: { url: string; token: string }, method: string, args: Record<string, unknown>): Promise<any>;
}
export interface SlackWriter extends SlackReader {
  send(api: { url: string; token: string }, method: string, args: Record<string, unknown>): Promise<any>;
}

/** The durable queue of a guarded service, as a step sees it. Named by the path of its file or by its postgres:// address. */
export interface QueueSeen {
  /** free of secrets */
  address: string;
  /** queued or being applied */
  waiting: number;
  dead: number;
  /** of what waits, behind a dead letter */
  parked: number;
  /** sent, and nobody knows what came of it */
  unknown: number;
  holds: { window: string; reason: string }[];
}
export interface QueueReader {
  /** null: nothing was ever kept there. Looking makes no file and no table */
  look(queue: string): Promise<QueueSeen | null>;
}
export interface QueueReplay {
  /** where the writes go; no userinfo */
  url: string;
  credential?: { header: string; value: string } | undefined;
  /** writes per second */
  rate: number;
  rampMs: number;
  maxAttempts: number;
  /** retries as a share of what was sent */
  budget: number;
  /** partitions at once */
  concurrency: number;
  deadMode: 'park' | 'skip';
  /** one key has one effect at the service; where not, an unknown outcome stops the run */
  honoursKeys: boolean;
  /** a read of the service: where it is not answered well, the run stops */
  health?: { url: string; ms: number } | undefined;
  /** nothing more is begun; what is under way may finish */
  signal?: AbortSignal | undefined;
  progress?(at: { applied: number; dead: number; left: number; etaMs: number | null; pausedMs: number | null }): void;
}
export interface QueueReplayed {
  applied: number;
  /** of these, the service had them already */
  alreadyApplied: number;
  dead: number;
  /** queued or being applied when it ended; -1: the queue does not say */
  left: number;
  parked: number;
  dropped: number;
  unknown: number;
  sent: number;
  retries: number;
  elapsedMs: number;
  /** absent: there was nothing more to apply. `deadline`: the step's time was up */
  stopped?: { why: string; at: string; receipt: string | null; detail: string } | undefined;
}
export interface QueueWriter extends QueueReader {
  /** Stops every replay before its next write, until `release`. Durable; made where there is no queue yet */
  hold(queue: string, window: string, reason: string): Promise<void>;
  /** false: there was no hold of this window */
  release(queue: string, window: string): Promise<boolean>;
  /** Applies what waits, in order, until nothing is left, something says stop, or the step's deadline comes. */
  replay(queue: string, options: QueueReplay): Promise<QueueReplayed>;
}

export interface Reader {
  readonly http: HttpReader;
  readonly redis: RedisReader;
  readonly postgres: PostgresReader;
  readonly sqlite: SqliteReader;
  readonly exec: ExecReader;
  readonly files: FilesReader;
  readonly slack: SlackReader;
  readonly queue: QueueReader;
  /** What a name stands for at a service, asked once per run; where asking failed it is asked again. `key`: unique over all services and accounts, kept in memory only. */
  once<T>(key: string, ask: () => Promise<T>): Promise<T>;
}
export interface Writer extends Reader {
  readonly http: HttpWriter;
  readonly redis: RedisWriter;
  readonly exec: ExecWriter;
  readonly files: FilesWriter;
  readonly slack: SlackWriter;
  readonly queue: QueueWriter;
}
/** A check's canaries: sends only what the check declared; does not exist in a dry run. Never follows redirects, never throws on a status. */
export interface Prober {
  send(method: string, request: Omit<HttpRequest, 'expect'>): Promise<HttpResponse>;
}

/** What the engine wants to know of each outer write, to name it in the journal and to be killed there in tests. */
export interface WriteHooks {
  /** about to go out; `what` is a stable short name ("http POST", "redis EVAL") */
  before(what: string): void;
  /** once more, where a connection was made in between: throws an OuterError where this machine has slept meanwhile */
  awake?(): void;
  /** it went out and was answered; nothing is recorded yet */
  after(what: string): void;
  /** durable before the command begins: who resumes waits for it to end */
  spawned(process: { pid: number; startTime: string }): Promise<void>;
  /**
   * Of a call that sends many writes: asked before each of them. Rejects where the lease is lost, or where too little
   * of it is left for a write of this length.
   */
  may?(deadlineMs: number): Promise<void>;
}

/** clients/ hands these out, one set per step and turn. */
export interface Clients {
  reader(options: { signal: AbortSignal; deadline: number }): Reader;
  writer(options: { signal: AbortSignal; deadline: number; hooks: WriteHooks }): Writer;
  prober(options: {
    signal: AbortSignal;
    deadline: number;
    declared: readonly { method: string; url: string }[];
  }): Prober;
  /** closes pooled connections */
  close(): Promise<void>;
}

/** The deadline of any single outer write, and so the longest that an unknown outcome can stay open. */
export const WRITE_DEADLINE_MS = 10_000;
