// A closed loop over plain sockets: it has to cost less than the server that it loads, on two cores.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const CONNECTIONS = 32;

export interface Load {
  /** Loads for so long, and until what is under way is answered. Fails where an answer has another status. */
  run(ms: number, status: number): Promise<{ ms: number; requests: number }>;
  close(): void;
}

/** Keeps its connections between runs. Answers must have a Content-Length. */
export async function openLoad(port: number, method: string, path: string, body: string): Promise<Load> {
  const head = body === '' ? '' : `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n`;
  const request = Buffer.from(`${method} ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n${head}\r\n${body}`);
  const sockets = await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true });
      await once(socket, 'connect');
      return socket;
    }),
  );

  async function run(ms: number, status: number): Promise<{ ms: number; requests: number }> {
    const began = performance.now();
    const end = began + ms;
    const counts = await Promise.all(sockets.map((socket) => pump(socket, request, end, `HTTP/1.1 ${status} `)));
    const requests = counts.reduce((sum, count) => sum + count, 0);
    return { requests, ms: performance.now() - began };
  }

  return {
    run,
    close() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** One request after the other until `end`; resolves with their number when the last is answered. */
function pump(socket: Socket, request: Buffer, end: number, expected: string): Promise<number> {
  return new Promise((resolve, reject) => {
    let count = 0;
    let buffered = '';
    function stop(error?: Error): void {
      socket.off('data', take);
      socket.off('error', stop);
      socket.off('close', closed);
      if (error) reject(error);
      else resolve(count);
    }
    function closed(): void {
      stop(new Error('the server closed the connection'));
    }
    function take(chunk: Buffer): void {
      buffered = buffered === '' ? chunk.toString('latin1') : buffered + chunk.toString('latin1');
      const head = buffered.indexOf('\r\n\r\n');
      if (head < 0) return;
      const length = /content-length: (\d+)/i.exec(buffered);
      if (!length) {
        stop(new Error(`no Content-Length in ${buffered.slice(0, 200)}`));
        return;
      }
      if (buffered.length < head + 4 + Number(length[1])) return;
      if (!buffered.startsWith(expected)) {
        stop(new Error(`${expected}was expected, not ${buffered.slice(0, 80)}`));
        return;
      }
      buffered = '';
      count += 1;
      if (performance.now() >= end) stop();
      else socket.write(request);
    }
    socket.on('data', take);
    socket.on('error', stop);
    socket.on('close', closed);
    socket.write(request);
  });
}
