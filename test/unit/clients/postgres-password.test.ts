// A server that asks for a password when the address has none: nothing that waits for it gets better.
import { createServer, type Socket } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import { createClients, createRedactor } from '../../../src/clients/index.ts';
import { statement } from '../../../src/engine/io.ts';
import { monotonicNow } from '../../../src/engine/run.ts';
import { OuterError } from '../../../src/errors/catalogue.ts';
import { freePort } from '../../support/ports.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** An authentication request (PostgreSQL documentation, "Message Formats"): its number, then its own bytes. */
function authentication(kind: number, rest: string): Buffer {
  const message = Buffer.alloc(9 + Buffer.byteLength(rest));
  message.write('R');
  message.writeInt32BE(message.length - 1, 1);
  message.writeInt32BE(kind, 5);
  message.write(rest, 9);
  return message;
}

test('SCRAM without a password is refused once, in words', async () => {
  const port = await freePort();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let asked = false;
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      if (!asked) socket.write(authentication(10, 'SCRAM-SHA-256\0\0'));
      else {
        const nonce = /r=([^,]*)/.exec(chunk.toString('latin1'))?.[1] ?? '';
        socket.write(authentication(11, `r=${nonce}server,s=c2FsdHNhbHQ=,i=4096`));
      }
      asked = true;
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const clients = createClients({ redact: createRedactor([]) });
  closing.push(
    () => clients.close(),
    () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(resolve));
    },
  );
  const reader = clients.reader({ signal: new AbortController().signal, deadline: monotonicNow() + 10_000 });
  const failure = await reader.postgres
    .rows(`postgres://maint@127.0.0.1:${port}/app`, statement('one', 'select 1'))
    .catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(OuterError);
  const { retryable, message } = failure as OuterError;
  expect([retryable, message]).toEqual([false, expect.stringMatching(/asks for a password, and the address has none/)]);
});
