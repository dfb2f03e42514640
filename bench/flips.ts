// From the flag being published to the last of 50 processes refusing, per source, beside what publishing itself took.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import '../test/support/outside-jest.ts';
import { ratios, type Spread, spread } from './measure.ts';

const { missing, startRedis } = await import('../test/support/servers.ts');

const PROCESSES = 50;
const CHANNEL = 'maint:read_only';

export interface Flip {
  source: string;
  processes: number;
  /** write, and the answer that it is written */
  publish: Spread;
  /** from the begin of that to the refusal of the process in the middle, and of the last one */
  half: Spread;
  all: Spread;
  /** all to publish, round by round */
  ratio: Spread;
}

export interface Flips {
  flips: Flip[];
  missing: { source: string; why: string }[];
}

interface Told {
  name: string;
  ready?: boolean;
  refusing?: boolean;
  at?: string;
}

export async function flips(rounds: number): Promise<Flips> {
  const folder = mkdtempSync(join(tmpdir(), 'maint-bench-flips-'));
  const file = join(folder, 'flag.json');
  writeFileSync(file, documentOf(false));
  const why = missing('redis');
  const redis = why === undefined ? await startRedis() : undefined;
  const client = redis ? new Redis(redis.url) : undefined;
  await client?.set(CHANNEL, documentOf(false));
  const served = await serve();
  const publishers: Record<string, (on: boolean) => Promise<void>> = {
    async file(on) {
      writeFileSync(`${file}.new`, documentOf(on), { flush: true });
      renameSync(`${file}.new`, file);
    },
    ...(client
      ? {
          redis: async (on: boolean) =>
            void (await client
              .multi()
              .set(CHANNEL, documentOf(on))
              .publish(CHANNEL, on ? 'on' : 'off')
              .exec()),
        }
      : {}),
    http: served.publish,
  };
  const names = Object.keys(publishers);
  const children: ChildProcess[] = [];
  let heard: (told: Told) => void = () => {};
  const died = Promise.withResolvers<never>();
  died.promise.catch(() => {});
  try {
    const ready = count(names.length * PROCESSES);
    heard = ({ ready: is }) => is && ready.one();
    for (let n = 0; n < PROCESSES; n++) {
      const child = fork(
        fileURLToPath(new URL('./flips-child.ts', import.meta.url)),
        [file, redis?.url ?? '', served.url],
        { env: { ...process.env, NODE_OPTIONS: '' } },
      );
      child.on('message', (told) => heard(told as Told));
      child.on('exit', (code) => died.reject(new Error(`a process ended with ${code}`)));
      children.push(child);
      // Not fifty at once on two cores: they start in their own time.
      if (n % 5 === 4) await Promise.race([once(child, 'message'), died.promise]);
    }
    await Promise.race([ready.done, died.promise]);
    await served.subscribed(PROCESSES);
    const results: Flip[] = [];
    for (const name of names) results.push(await measured(name, publishers[name]!, rounds));
    return { flips: results, missing: why === undefined ? [] : [{ source: 'redis', why }] };
  } finally {
    for (const child of children) if (child.connected) child.disconnect();
    await Promise.all(children.map((child) => child.exitCode ?? once(child, 'exit')));
    served.close();
    client?.disconnect();
    await redis?.stop();
    rmSync(folder, { recursive: true });
  }

  async function measured(name: string, publish: (on: boolean) => Promise<void>, times: number): Promise<Flip> {
    const values = { publish: [] as number[], half: [] as number[], all: [] as number[] };
    for (let round = 0; round <= times; round++) {
      const at: number[] = [];
      const refusing = count(PROCESSES);
      heard = (told) => {
        if (told.name !== name || told.refusing !== true) return;
        at.push(Number(BigInt(told.at as string) - began) / 1e6);
        refusing.one();
      };
      const began = process.hrtime.bigint();
      await publish(true);
      const published = Number(process.hrtime.bigint() - began) / 1e6;
      await Promise.race([refusing.done, died.promise]);
      at.sort((a, b) => a - b);
      if (round > 0) {
        values.publish.push(published);
        values.half.push(at[PROCESSES / 2]!);
        values.all.push(at.at(-1)!);
      }
      const passing = count(PROCESSES);
      heard = (told) => told.name === name && told.refusing === false && passing.one();
      await publish(false);
      await Promise.race([passing.done, died.promise]);
    }
    return {
      source: name,
      processes: PROCESSES,
      publish: spread(values.publish),
      half: spread(values.half),
      all: spread(values.all),
      ratio: spread(ratios(values.all, values.publish)),
    };
  }
}

/** The flag over HTTP, with an ETag and events: PUT publishes, and is answered when the events are on their way. */
async function serve() {
  let text = documentOf(false);
  let version = 1;
  const streams = new Set<ServerResponse>();
  const server = createServer((asked, answer) => {
    if (asked.method === 'PUT') {
      text = documentOf(asked.url === '/on');
      version += 1;
      for (const stream of streams) stream.write(`data: ${version}\n\n`);
      answer.writeHead(204).end();
      return;
    }
    if (asked.headers.accept === 'text/event-stream') {
      answer.writeHead(200, { 'content-type': 'text/event-stream' });
      answer.write(': here\n\n');
      streams.add(answer);
      answer.on('close', () => streams.delete(answer));
      return;
    }
    const etag = `"${version}"`;
    if (asked.headers['if-none-match'] === etag) answer.writeHead(304, { etag }).end();
    else answer.writeHead(200, { etag, 'content-type': 'application/json' }).end(text);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  async function publish(on: boolean): Promise<void> {
    const sent = request(`${url}/${on ? 'on' : 'off'}`, { method: 'PUT' }).end();
    const [answer] = await once(sent, 'response');
    answer.resume();
  }

  async function subscribed(count: number): Promise<void> {
    while (streams.size < count) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  return {
    url,
    publish,
    subscribed,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

function documentOf(on: boolean): string {
  const until = new Date(Date.now() + 3_600_000).toISOString();
  return JSON.stringify({ version: 1, holders: on ? { 'w-bench': { until } } : {} });
}

function count(of: number): { one(): void; done: Promise<void> } {
  let left = of;
  const { promise, resolve } = Promise.withResolvers<void>();
  return {
    one() {
      left -= 1;
      if (left === 0) resolve();
    },
    done: promise,
  };
}

if (import.meta.filename === process.argv[1]) {
  console.log(JSON.stringify(await flips(Number(process.argv[2] ?? 5)), null, 1));
}
