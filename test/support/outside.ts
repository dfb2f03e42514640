// How tests look at the world from outside, without a word of the program under test.
import { readdirSync, statSync } from 'node:fs';
import { createServer, type Server as HttpServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

/** Every file below a folder with what changes when it is written or replaced; the folder's own times tell of temporary files. */
export function traceOf(folder: string): string {
  const lines: string[] = [];
  const visit = (path: string) => {
    const at = statSync(path, { bigint: true });
    lines.push(`${path} ${at.ino} ${at.size} ${at.mode} ${at.uid}:${at.gid} ${at.mtimeNs} ${at.ctimeNs}`);
    if (at.isDirectory()) for (const name of readdirSync(path).sort()) visit(join(path, name));
  };
  visit(folder);
  return lines.join('\n');
}

/** What maint's own file client might have left behind. */
export function leftovers(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.startsWith('.maint.'))
    .map((name) => `left behind: ${name}`);
}

export interface Listening {
  url: string;
  port: number;
  stop(): Promise<void>;
}

export async function listen(
  handler: (request: IncomingMessage, response: ServerResponse) => void,
  port = 0,
): Promise<Listening> {
  const server: HttpServer = createServer(handler);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port, '127.0.0.1', resolve);
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
  };
}

export interface RecordingProxy extends Listening {
  /** all that went through, oldest first */
  requests: { method: string; path: string; headers: Record<string, string> }[];
  /** those that are no reads */
  writes(): number;
  /** answered in place of the server; undefined: forwarded */
  answer: ((method: string, path: string) => { status: number; body: string } | undefined) | undefined;
}

const READS = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Stands in front of a real server, writes down what comes, and passes it on. */
export async function recordingProxy(target: string): Promise<RecordingProxy> {
  const requests: RecordingProxy['requests'] = [];
  const { hostname, port } = new URL(target);
  const listening = await listen((incoming, outgoing) => {
    const { method = '', url: path = '', headers } = incoming;
    requests.push({ method, path, headers: headers as Record<string, string> });
    const instead = proxy.answer?.(method, path);
    if (instead) {
      incoming.resume();
      outgoing.writeHead(instead.status, { 'Content-Type': 'application/json' }).end(instead.body);
      return;
    }
    const forwarded = request({ hostname, port, method, path, headers, agent: false }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    forwarded.once('error', () => outgoing.destroy());
    incoming.pipe(forwarded);
  });
  const proxy: RecordingProxy = {
    ...listening,
    requests,
    writes: () => requests.filter(({ method }) => !READS.has(method)).length,
    answer: undefined,
  };
  return proxy;
}
