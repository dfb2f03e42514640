// `Expect: 100-continue`: a client asks, before it sends a large body, whether it may. Node.js says "go on" by itself
// before any handler is called, so a refusal behind it comes after the body.
import type { IncomingRequest } from './exchange.ts';

/** A server of node:http, node:https or node:http2 (its compatible API). */
export interface ContinueServer {
  on(event: 'checkContinue', listener: (request: any, response: any) => void): unknown;
  emit(event: 'request', request: any, response: any): unknown;
}

/**
 * What the head alone says. `refuse`: nobody needs the body. `perhaps`: the guard may refuse it still (no key, not allowed,
 * too large), and says "go on" itself before it reads.
 */
export type Weight = 'go' | 'refuse' | 'perhaps';

/** Requests whose client waits to be told. */
const asking = new WeakMap<object, () => void>();

/** @param weigh counts nothing, for the request is decided right after it */
export function guardContinue<Server extends ContinueServer>(
  weigh: (request: IncomingRequest) => Weight,
  server: Server,
): Server {
  server.on('checkContinue', (request, response) => {
    const { method = '', url = '', headers } = request;
    const weight = weigh({ method, url, headers });
    // Not said, the client keeps its body, and Node.js closes the connection after the answer: what comes next on it
    // could be either.
    if (weight === 'go') response.writeContinue();
    if (weight === 'perhaps') {
      asking.set(request, () => {
        if (!response.headersSent) response.writeContinue();
      });
      // a handler that reads the body without the guard
      request.once('resume', () => goOn(request));
    }
    server.emit('request', request, response);
  });
  return server;
}

/** Tells a client that waits for it to send its body. Once; nothing for everybody else. */
export function goOn(request: object | undefined): void {
  const say = request && asking.get(request);
  if (!say) return;
  asking.delete(request);
  say();
}
