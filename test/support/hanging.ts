// A way to a server that can hang: connections stay, new ones are accepted, nothing is answered any more.
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Hanging {
  readonly port: number;
  hang(now: boolean): void;
  /** what was asked of it since it hangs */
  unanswered(): number;
  stop(): void;
}

/** Passes everything on to `port` until it hangs. */
export async function hanging(port: number): Promise<Hanging> {
  const sockets = new Set<Socket>();
  let hangs = false;
  let unanswered = 0;
  const server = createServer((client) => {
    sockets.add(client);
    client.on('error', () => undefined);
    const upstream = connect({ port, host: '127.0.0.1' });
    sockets.add(upstream);
    upstream.on('error', () => undefined);
    client.on('data', (data) => {
      if (hangs) unanswered++;
      else upstream.write(data);
    });
    upstream.on('data', (data) => hangs || client.write(data));
    upstream.on('close', () => hangs || client.destroy());
    client.on('close', () => upstream.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    hang(now) {
      hangs = now;
      unanswered = 0;
    },
    unanswered: () => unanswered,
    stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
