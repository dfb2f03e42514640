// Ports for what binds them later, or never.
import { createServer } from 'node:net';

/** Below what systems give out by themselves: nobody gets it by chance while it is free for a moment. */
export function somePort(): number {
  return 12_000 + Math.floor(Math.random() * 20_000);
}

/** One on which nobody listens. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = somePort();
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}
