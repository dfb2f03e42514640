// Proxies that stand before real servers, name each call that passes and can make one of them go wrong in every way in
// which a network and a service go wrong.
import {
  createServer as createHttp,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { connect, createServer as createTcp, type Server, type Socket } from 'node:net';
import { somePort } from '../support/ports.ts';

/** `…, done`: the service has done what was asked, only the answer is lost. */
export const FAULTS = [
  'answers 500',
  'answers 503',
  'answers 420',
  'answers 429',
  'hangs',
  'hangs, done',
  'resets',
  'resets, done',
  'closes half-way',
  'truncates, done',
  'no JSON',
  'no JSON, done',
] as const;
export type Fault = (typeof FAULTS)[number];

/** "page POST /incidents 1": service, method, path template, how many of these so far. */
export type CallName = string;

export interface Faulty {
  /** what passed since the last `forget` */
  passed: CallName[];
  /** how many calls went wrong */
  hits: number;
  /** from this call on: once, or all of this service for ever */
  fault: { call: CallName; fault: Fault; forever: boolean } | undefined;
  /** services that are dead: nobody listens, or nobody answers */
  dead: Map<string, 'refuses' | 'hangs'>;
  counts: Map<string, number>;
  /** milliseconds that the real servers took beyond what is ordinary: the machine was busy */
  slow: number;
  /** services that answer 500 and say back what they were sent, secrets and all */
  echo: Set<string>;
}

export function faultless(): Faulty {
  return { passed: [], hits: 0, fault: undefined, dead: new Map(), counts: new Map(), slow: 0, echo: new Set() };
}

export function forget(faulty: Faulty): void {
  faulty.passed = [];
  faulty.hits = 0;
  faulty.fault = undefined;
  faulty.counts.clear();
}

/** By the quick clock, by which deadlines go. */
const ORDINARY_MS = 500;
function took(faulty: Faulty, since: number): void {
  faulty.slow += Math.max(0, performance.now() - since - ORDINARY_MS);
}

/** The fault of this call, if it has one. */
function pass(faulty: Faulty, service: string, what: string): Fault | undefined {
  const key = `${service} ${what}`;
  const n = (faulty.counts.get(key) ?? 0) + 1;
  faulty.counts.set(key, n);
  const name = `${key} ${n}`;
  faulty.passed.push(name);
  if (faulty.dead.get(service) === 'hangs') return 'hangs';
  const { fault } = faulty;
  if (!fault) return undefined;
  const begun = faulty.hits > 0;
  const hit = name === fault.call || (begun && fault.forever && fault.call.startsWith(`${service} `));
  if (!hit || (begun && !fault.forever)) return undefined;
  faulty.hits++;
  return fault.fault;
}

/** A proxy. */
export interface Between {
  port: number;
  /** closes the port: connections are refused; `open` takes the same port again */
  shut(): Promise<void>;
  open(): Promise<void>;
  stop(): Promise<void>;
}

const ANSWERS: Partial<Record<Fault, { status: number; headers?: Record<string, string> }>> = {
  'answers 500': { status: 500 },
  'answers 503': { status: 503, headers: { 'retry-after': '1' } },
  'answers 420': { status: 420 },
  'answers 429': { status: 429, headers: { 'retry-after': '1' } },
};
const HTML = '<html><head><title>Welcome</title></head><body>Please log in to the network.</body></html>';

export async function httpProxy(
  faulty: Faulty,
  service: string,
  to: string,
  template: (path: string) => string,
): Promise<Between> {
  const target = new URL(to);
  function forward(message: IncomingMessage, body: Buffer): Promise<{ status: number; headers: any; bytes: Buffer }> {
    return new Promise((resolve, reject) => {
      const sent = httpRequest(
        {
          host: target.hostname,
          port: target.port,
          method: message.method,
          path: message.url,
          headers: { ...message.headers, connection: 'close' },
          agent: false,
        },
        (answer) => {
          const chunks: Buffer[] = [];
          answer.on('data', (chunk) => chunks.push(chunk));
          answer.on('end', () =>
            resolve({ status: answer.statusCode ?? 0, headers: answer.headers, bytes: Buffer.concat(chunks) }),
          );
          answer.on('error', reject);
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });
  }
  async function serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of message) chunks.push(chunk as Buffer);
    const { pathname } = new URL(message.url ?? '/', to);
    const fault = pass(faulty, service, `${message.method} ${template(pathname)}`);
    const { socket } = message;
    if (faulty.echo.has(service)) {
      const error = `${message.headers.authorization} ${message.headers['x-key']} ${Buffer.concat(chunks)}`;
      return void response.writeHead(500, { 'content-type': 'application/json' }).end(JSON.stringify({ error }));
    }
    if (fault === 'hangs') return;
    if (fault === 'resets') return void socket.resetAndDestroy();
    if (fault === 'closes half-way') {
      socket.write('HTTP/1.1 200 OK\r\nContent-Type: appl');
      return void setImmediate(() => socket.destroy());
    }
    const answers = fault && ANSWERS[fault];
    if (answers) {
      response.writeHead(answers.status, { 'content-type': 'application/json', ...answers.headers });
      return void response.end(JSON.stringify({ error: 'made to fail' }));
    }
    if (fault === 'no JSON') return void response.writeHead(200, { 'content-type': 'text/html' }).end(HTML);
    const since = performance.now();
    const { status, headers, bytes } = await forward(message, Buffer.concat(chunks));
    took(faulty, since);
    if (fault === 'hangs, done') return;
    if (fault === 'resets, done') return void socket.resetAndDestroy();
    if (fault === 'no JSON, done') return void response.writeHead(200, { 'content-type': 'text/html' }).end(HTML);
    const { 'transfer-encoding': _chunked, connection: _connection, ...kept } = headers;
    response.writeHead(status, { ...kept, 'content-length': fault ? bytes.length + 1 : bytes.length });
    if (fault === 'truncates, done') response.write(bytes.subarray(0, bytes.length >> 1), () => socket.destroy());
    else response.end(bytes);
  }
  const make = () =>
    createHttp((message, response) => {
      serve(message, response).catch(() => message.socket.destroy());
    });
  return await proxy(make);
}

/** Before a Redis: one command at a time. */
export async function redisProxy(faulty: Faulty, service: string, port: number): Promise<Between> {
  const replies: Partial<Record<Fault, string>> = {
    'answers 500': '-ERR made to fail\r\n',
    'answers 503': '-LOADING Redis is loading the dataset in memory\r\n',
    'answers 420': '-BUSY Redis is busy running a script\r\n',
    'answers 429': '-TRYAGAIN made to fail\r\n',
    'no JSON': HTML,
    'no JSON, done': HTML,
  };
  function serve(socket: Socket): void {
    const server = connect({ host: '127.0.0.1', port });
    let pending = Buffer.alloc(0);
    /** of the command whose reply is awaited */
    let fault: Fault | undefined;
    let since = performance.now();
    socket.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      for (;;) {
        const command = commandOf(pending);
        if (!command) return;
        const bytes = pending.subarray(0, command.length);
        pending = pending.subarray(command.length);
        const words = ['ACL', 'CONFIG', 'CLIENT'].includes(command.words[0]!)
          ? command.words.slice(0, 2)
          : command.words.slice(0, 1);
        fault = pass(faulty, service, words.join(' '));
        if (fault === 'hangs') continue;
        if (fault === 'resets') return void socket.resetAndDestroy();
        if (fault === 'closes half-way') return void socket.write('$1', () => socket.destroy());
        const reply = fault && replies[fault];
        if (reply && fault !== 'no JSON, done') socket.write(reply);
        else {
          since = performance.now();
          server.write(bytes);
        }
      }
    });
    server.on('data', (chunk: Buffer) => {
      took(faulty, since);
      const now = fault;
      fault = undefined;
      if (now === 'hangs, done') return;
      if (now === 'resets, done') return void socket.resetAndDestroy();
      if (now === 'truncates, done')
        return void socket.write(chunk.subarray(0, chunk.length >> 1), () => socket.destroy());
      socket.write(now === 'no JSON, done' ? HTML : chunk);
    });
    const end = () => {
      socket.destroy();
      server.destroy();
    };
    for (const each of [socket, server]) each.on('error', end).on('close', end);
  }
  return await proxy(() => createTcp(serve));
}

/** The first whole command (RESP array of bulk strings). */
function commandOf(bytes: Buffer): { words: string[]; length: number } | undefined {
  let at = 0;
  const line = () => {
    const end = bytes.indexOf('\r\n', at);
    if (end < 0) return undefined;
    const text = bytes.toString('latin1', at, end);
    at = end + 2;
    return text;
  };
  const head = line();
  if (head === undefined) return undefined;
  const words: string[] = [];
  for (let left = Number(head.slice(1)); left > 0; left--) {
    const size = line();
    if (size === undefined) return undefined;
    const length = Number(size.slice(1));
    if (bytes.length < at + length + 2) return undefined;
    words.push(bytes.toString('utf8', at, at + length).toUpperCase());
    at += length + 2;
  }
  return { words, length: at };
}

async function proxy(make: () => Server): Promise<Between> {
  const sockets = new Set<Socket>();
  let server: Server | undefined;
  async function open(port: number): Promise<void> {
    const opening = make();
    opening.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => {
      opening.once('error', reject).listen(port, '127.0.0.1', resolve);
    });
    server = opening;
  }
  /** Its own, also while it is shut. */
  async function choose(): Promise<number> {
    for (let left = 20; ; left--) {
      const port = somePort();
      try {
        await open(port);
        return port;
      } catch (error) {
        if (left === 0 || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      }
    }
  }
  async function shut(): Promise<void> {
    const closing = server;
    server = undefined;
    if (!closing) return;
    await new Promise<void>((resolve) => {
      closing.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  }
  const port = await choose();
  return { port, open: () => open(port), shut, stop: shut };
}
