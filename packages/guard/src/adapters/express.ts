import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Admit } from './exchange.ts';
import { answerOrAdmit } from './http.ts';

/** A middleware of Express 4 and 5, and of whatever takes the same. */
export type Middleware = (
  request: IncomingMessage & { originalUrl?: string },
  response: ServerResponse,
  next: () => void,
) => void;

export function expressMiddleware(admit: Admit): Middleware {
  return (request, response, next) => {
    const { method = '', url = '', headers, originalUrl = url } = request;
    // A mounted middleware sees a shortened `url`; surfaces are written for what the client sends.
    answerOrAdmit(admit, { method, url: originalUrl, headers }, request, response, next);
  };
}
