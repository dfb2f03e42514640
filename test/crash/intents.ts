// Kills guards, workers and the engine under load, and counts: every acknowledged write applied once, in order per key,
// and nothing that was refused. The service honours keys, as the guard's fence does it.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type OpenOptions, openQueue } from '../../packages/intents/src/index.ts';
import type { ChildOrder } from '../support/intents-child.ts';
import { startPostgres } from '../support/servers.ts';

const CHILD = fileURLToPath(new URL('../support/intents-child.ts', import.meta.url));
const LANES = 12;
const UNORDERED = 4;
/** Nobody makes progress for this long: something is stuck. */
const STUCK_MS = 60_000;

export interface SweepOptions {
  engine: 'sqlite' | 'postgres';
  /** acknowledged writes, at least */
  intents: number;
  kills: number;
  guards?: number;
  workers?: number;
  rate?: number;
  tell?: (line: string) => void;
}

export interface SweepResult {
  engine: string;
  acknowledged: number;
  kills: { guard: number; worker: number; engine: number };
  /** stored before a kill, and acknowledged only to the client's retry */
  replayed: number;
  /** sent to the service again after a kill or a broken connection; it knew them by their keys */
  repeats: number;
  /** stored, and its client never heard of it nor came back: applied too, once */
  unacknowledged: number;
  refused: number;
  /** answers that made a client come back: full, unknown, in flight */
  notNow: Record<string, number>;
  seconds: number;
  /** in words; the sweep has failed where there is any */
  problems: string[];
}

export async function sweepIntents(options: SweepOptions): Promise<SweepResult> {
  const began = performance.now();
  const folder = mkdtempSync(join(tmpdir(), 'maint-intents-sweep-'));
  const server =
    options.engine === 'postgres'
      ? await startPostgres({ settings: { fsync: 'on', full_page_writes: 'on' } })
      : undefined;
  const queue: OpenOptions = server
    ? { url: server.url }
    : { path: join(folder, 'queue.db'), survives: 'process' as const };
  const service = await startService();
  const books = new Books();
  const kills = { guard: 0, worker: 0, engine: 0 };
  const tell = options.tell ?? (() => {});

  const order = (role: ChildOrder['role'], id: string): ChildOrder => ({
    ...{ role, queue, id, url: service.url, rate: options.rate ?? 3_000, cap: 2_000 },
    lanes: role === 'guard' ? books.lanesOf(id) : {},
  });
  const guards = Array.from({ length: options.guards ?? 2 }, (_, n) => `g${n}`);
  const workers = Array.from({ length: options.workers ?? 2 }, (_, n) => `w${n}`);
  const children = new Map<string, Child>();
  const start = (id: string) => {
    const child = new Child(order(id.startsWith('g') ? 'guard' : 'worker', id), books);
    children.set(id, child);
    return child;
  };

  try {
    for (const id of [...guards, ...workers]) start(id);
    const victims: (keyof typeof kills)[] = server ? ['guard', 'worker', 'engine'] : ['guard', 'worker'];
    for (let kill = 0; kill < options.kills; kill++) {
      const share = Math.ceil((options.intents * (kill + 1)) / (options.kills + 1));
      // Under load: as many acknowledged as its share, and something applied since the last kill.
      const applied = service.effects.size;
      await progress(books, service, () => books.acknowledged >= share && service.effects.size > applied + 20);
      // not at the end of a line that was just read: anywhere
      await delay(Math.random() * 20);
      const victim = victims[kill % victims.length]!;
      kills[victim]++;
      if (victim === 'engine' && server) {
        await server.kill();
        await server.restart();
      } else {
        const ids = victim === 'guard' ? guards : workers;
        const id = ids[Math.floor(kill / victims.length) % ids.length]!;
        await children.get(id)!.kill();
        start(id);
      }
      tell(
        `${options.engine}: kill ${kill + 1} of ${options.kills} (${victim}), ${books.acknowledged} acknowledged, ${service.effects.size} applied`,
      );
    }
    await progress(books, service, () => books.acknowledged >= options.intents);
    for (const id of guards) await children.get(id)!.stop();
    const looking = await openQueue(queue);
    try {
      await progress(books, service, async () => (await looking.store.depth()).waiting === 0);
      for (const id of workers) await children.get(id)!.stop();
      const problems = await verify(books, service, looking);
      problems.push(...[...children.values()].flatMap(({ failed }) => failed));
      const known = new Set(books.acks.keys());
      return {
        engine: options.engine,
        acknowledged: books.acknowledged,
        kills,
        replayed: books.replayed,
        repeats: service.repeats(),
        unacknowledged: [...service.effects.keys()].filter((key) => !known.has(key)).length,
        refused: books.refused.size + books.refusedAlways,
        notNow: books.notNow,
        seconds: Math.round((performance.now() - began) / 1000),
        problems,
      };
    } finally {
      await looking.close();
    }
  } finally {
    for (const child of children.values()) await child.kill();
    await service.close();
    await server?.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function progress(books: Books, service: Service, reached: () => boolean | Promise<boolean>): Promise<void> {
  let last = '';
  let since = performance.now();
  while (!(await reached())) {
    const now = `${books.acknowledged} ${service.effects.size}`;
    if (now !== last) {
      last = now;
      since = performance.now();
    }
    if (performance.now() - since > STUCK_MS) throw new Error(`nothing moves any more: ${now} acknowledged, applied`);
    await delay(10);
  }
}

// ── What was promised ─────────────────────────────────────────────────────────────────────────────────────────────

class Books {
  /** key -> receipt */
  readonly acks = new Map<string, string>();
  readonly refused = new Set<string>();
  readonly notNow: Record<string, number> = {};
  readonly problems: string[] = [];
  replayed = 0;
  refusedAlways = 0;
  readonly #next = new Map<string, Record<string, number>>();

  get acknowledged(): number {
    return this.acks.size;
  }

  /** A guard that starts again serves clients that come back with what was not acknowledged. */
  lanesOf(id: string): Record<string, number> {
    let lanes = this.#next.get(id);
    if (!lanes) {
      lanes = {};
      for (let n = 0; n < LANES; n++) lanes[`p${n}`] = 0;
      for (let n = 0; n < UNORDERED; n++) lanes[`u${n}`] = 0;
      this.#next.set(id, lanes);
    }
    return lanes;
  }

  /** one line of a guard */
  read(id: string, line: string): void {
    const [kind, ...words] = line.split(' ');
    if (kind === 'A') {
      const [lane, n, receipt, replayed] = words as [string, string, string, string];
      const key = `${id}-${lane}-${n}`;
      const before = this.acks.get(key);
      if (before !== undefined && before !== receipt) this.problems.push(`${key} has two receipts`);
      this.acks.set(key, receipt);
      if (replayed === '1') this.replayed++;
      this.lanesOf(id)[lane] = Number(n) + 1;
    } else if (kind === 'O') this.acks.set(words[0]!, words[1]!);
    else if (kind === 'R') this.refused.add(words[0]!);
    else if (kind === 'X') this.refusedAlways += 2;
    else if (kind === 'N') this.notNow[words[0]!] = (this.notNow[words[0]!] ?? 0) + 1;
  }
}

async function verify(books: Books, service: Service, queue: Awaited<ReturnType<typeof openQueue>>): Promise<string[]> {
  const problems = [...books.problems, ...service.problems];
  const first = (many: string[], what: string) => {
    if (many.length > 0) problems.push(`${many.length} ${what}: ${many.slice(0, 5).join(', ')}`);
  };
  const missing: string[] = [];
  const unsaid: string[] = [];
  const states = new Map<string, string>();
  for await (const { receipt, key, state } of queue.export()) states.set(receipt, `${state} ${key}`);
  for (const [key, receipt] of books.acks) {
    if (!service.effects.has(key)) missing.push(key);
    if (states.get(receipt) !== `applied ${key}`) unsaid.push(`${key} ${states.get(receipt)}`);
  }
  first(missing, 'acknowledged and not applied');
  first(unsaid, 'acknowledged, and the receipt does not say applied');
  first(
    [...books.refused].filter((key) => service.effects.has(key)),
    'refused and applied',
  );
  first(
    [...service.effects].filter(([, count]) => count !== 1).map(([key]) => key),
    'applied more than once',
  );
  for (const [lane, numbers] of service.lanes)
    if (!lane.includes('/u') && numbers.some((n, index) => n !== index))
      problems.push(`${lane} is out of order or has gaps`);
  const { states: left, unknown } = await queue.status();
  if (left.queued + left.applying + left.dead + left.dropped > 0 || unknown > 0)
    problems.push(`left in the queue: ${JSON.stringify({ ...left, unknown })}`);
  return problems;
}

// ── The service, which has one effect per key ─────────────────────────────────────────────────────────────────────

type Service = Awaited<ReturnType<typeof startService>>;

async function startService() {
  const effects = new Map<string, number>();
  const lanes = new Map<string, number[]>();
  const under = new Set<string>();
  const problems: string[] = [];
  let again = 0;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const key = String(request.headers['idempotency-key']).replace(/^"(.*)"$/, '$1');
      const body = JSON.parse(Buffer.concat(chunks).toString()) as {
        guard?: string;
        lane?: string;
        n?: number;
        once?: string;
        refused?: true;
      };
      if (body.refused) problems.push(`a refused payload was sent under ${key}`);
      const lane = body.lane ? `${body.guard}/${body.lane}` : undefined;
      if (effects.has(key)) {
        again++;
        response.writeHead(409, { 'content-type': 'application/problem+json' }).end('{"code":"already_applied"}');
        return;
      }
      // an effect takes a moment, in which whoever sent it may be killed
      if (lane !== undefined && !lane.includes('/u')) {
        if (under.has(lane)) problems.push(`two of ${lane} at the same time`);
        under.add(lane);
      }
      effects.set(key, (effects.get(key) ?? 0) + 1);
      if (lane !== undefined) lanes.set(lane, [...(lanes.get(lane) ?? []), body.n ?? -1]);
      setTimeout(() => {
        if (lane !== undefined) under.delete(lane);
        response.writeHead(201).end('{}');
      }, Math.random() * 2);
    });
    request.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ...{ effects, lanes, problems },
    repeats: () => again,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

// ── A process ─────────────────────────────────────────────────────────────────────────────────────────────────────

class Child {
  readonly failed: string[] = [];
  readonly #process: ChildProcess;
  readonly #ended: Promise<void>;
  #over = false;

  constructor(order: ChildOrder, books: Books) {
    const env = { ...process.env, NODE_OPTIONS: '--disable-warning=ExperimentalWarning' };
    this.#process = spawn(process.execPath, [CHILD, JSON.stringify(order)], { env, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#process.stdin?.on('error', () => {});
    const lines = createInterface({ input: this.#process.stdout! });
    lines.on('line', (line) => books.read(order.id, line));
    let errors = '';
    this.#process.stderr?.on('data', (chunk) => {
      errors += String(chunk);
    });
    this.#ended = new Promise((resolve) => {
      // after everything that it said was read
      let open = 2;
      const done = () => --open === 0 && resolve();
      lines.once('close', done);
      this.#process.once('close', (code, signal) => {
        if (code !== 0 && signal !== 'SIGKILL')
          this.failed.push(`${order.id} ended with ${code ?? signal}: ${errors.slice(0, 2_000)}`);
        this.#over = true;
        done();
      });
    });
  }

  async kill(): Promise<void> {
    if (!this.#over) this.#process.kill('SIGKILL');
    await this.#ended;
  }

  async stop(): Promise<void> {
    this.#process.stdin?.write('stop\n');
    await this.#ended;
  }
}
