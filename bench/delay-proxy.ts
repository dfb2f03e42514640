// A network that is slow on purpose: what a client sends arrives later by so much, and each call is remembered with its
// begin and its end. The same for HTTP, Redis and PostgreSQL, so that every tool meets the same delay.
import { type AddressInfo, connect, createServer, type NetConnectOpts, type Socket } from 'node:net';

export interface Call {
  to: string;
  /** how it begins: an HTTP request's line, a command's first words */
  what: string;
  /** by `performance.now()` */
  began: number;
  ended: number;
}
export interface DelayProxy {
  port: number;
  /** What was answered. A goodbye (PostgreSQL's Terminate) is no call. */
  calls(): Call[];
  reset(): void;
  stop(): Promise<void>;
}

export async function startDelayProxy(to: string, at: NetConnectOpts, delayMs: () => number): Promise<DelayProxy> {
  let calls: Call[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect({ ...at, noDelay: true });
    client.setNoDelay(true);
    let call: Call | undefined;
    let onTheWay = 0;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
      socket.on('error', () => socket.destroy());
    }
    client.on('data', (chunk) => {
      const now = performance.now();
      // A request in two pieces is one call, an answer ends it.
      if (!call || call.ended > call.began) {
        call = { to, what: opening(chunk), began: now, ended: now };
        calls.push(call);
      }
      onTheWay++;
      later(() => {
        onTheWay--;
        upstream.write(chunk);
      });
    });
    client.on('end', () => later(() => upstream.end()));
    upstream.on('data', (chunk) => {
      client.write(chunk);
      if (call && onTheWay === 0) call.ended = performance.now();
    });
    upstream.on('end', () => client.end());
  });
  function later(work: () => void): void {
    const ms = delayMs();
    if (ms === 0) work();
    else setTimeout(work, ms);
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    calls: () => calls.filter(({ began, ended }) => ended > began).map((call) => ({ ...call })),
    reset: () => {
      calls = [];
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

function opening(chunk: Buffer): string {
  const [text = ''] = chunk.toString('latin1').split('HTTP/1.1');
  return text
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, 70);
}

/** How long at least one call was under way: calls that go side by side count once. */
export function criticalPath(calls: readonly Call[]): number {
  let total = 0;
  let until = Number.NEGATIVE_INFINITY;
  for (const { began, ended } of [...calls].sort((a, b) => a.began - b.began)) {
    if (ended > until) total += ended - Math.max(began, until);
    until = Math.max(until, ended);
  }
  return total;
}
