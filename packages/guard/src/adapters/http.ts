import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Admit, IncomingRequest } from './exchange.ts';

/** A listener of node:http (or of the compatible API of node:http2). */
export type HttpListener<Request extends IncomingMessage, Response extends ServerResponse> = (
  request: Request,
  response: Response,
) => unknown;

export function guardListener<Request extends IncomingMessage, Response extends ServerResponse>(
  admit: Admit,
  listener: HttpListener<Request, Response>,
): (request: Request, response: Response) => void {
  return (request, response) => {
    const { method = '', url = '', headers } = request;
    if (!answerOrAdmit(admit, { method, url, headers }, response)) listener(request, response);
  };
}

/** @returns true where the guard has answered */
export function answerOrAdmit(admit: Admit, request: IncomingRequest, response: ServerResponse): boolean {
  const { answer, leave, readOnlyHeader } = admit(request);
  if (answer) {
    // The body is not read here. Node discards what still arrives of it, so the connection stays usable, and a client
    // that is busy sending gets to read the answer instead of a reset.
    response.writeHead(answer.status, answer.headers).end(answer.body);
    return true;
  }
  // `close` comes once, after the last byte as well as after an aborted request.
  if (leave) response.once('close', leave);
  if (readOnlyHeader !== null) response.setHeader('Read-Only', readOnlyHeader);
  return false;
}
