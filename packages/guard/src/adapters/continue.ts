// `Expect: 100-continue`: a client asks, before it sends a large body, whether it may. Node.js says "go on" by itself
// before any handler is called, so a refusal behind it comes after the body.
import type { IncomingRequest } from './exchange.ts';

/** A server of node:http, node:https or node:http2 (its compatible API). */
export interface ContinueServer {
  on(event: 'checkContinue', listener: (request: any, response: any) => void): unknown;
  emit(event: 'request', request: any, response: any): unknown;
}

/** @param refused whether the head alone is enough to refuse; counts nothing, for the request is decided right after it */
export function guardContinue<Server extends ContinueServer>(
  refused: (request: IncomingRequest) => boolean,
  server: Server,
): Server {
  server.on('checkContinue', (request, response) => {
    const { method = '', url = '', headers } = request;
    // Not said, the client keeps its body, and Node.js closes the connection after the answer: what comes next on it
    // could be either.
    if (!refused({ method, url, headers })) response.writeContinue();
    server.emit('request', request, response);
  });
  return server;
}
