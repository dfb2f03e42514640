import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { nodeBody } from './body.ts';
import { besideCors } from './cors.ts';
import type { Admission, Admit, IncomingRequest, OwnAnswer } from './exchange.ts';

/** A listener of node:http. */
export type HttpListener<Request extends IncomingMessage, Response extends ServerResponse> = (
  request: Request,
  response: Response,
) => unknown;

/** A listener of node:http2, of its compatible API. */
export type Http2Listener = (request: Http2ServerRequest, response: Http2ServerResponse) => unknown;

export function guardListener<Request extends IncomingMessage, Response extends ServerResponse>(
  admit: Admit,
  listener: HttpListener<Request, Response>,
): (request: Request, response: Response) => void {
  return (request, response) => {
    const { method = '', url = '', headers } = request;
    answerOrAdmit(admit, { method, url, headers }, request, response, () => listener(request, response));
  };
}

/** Answers, or calls `go`: at once, or when the body or the queue have been asked. */
export function answerOrAdmit(
  admit: Admit,
  incoming: IncomingRequest,
  request: IncomingMessage,
  response: ServerResponse,
  go: () => void,
): void {
  const admission = admit(incoming);
  if (admission.wait === null) proceed(admission, request, response, go);
  else void admission.wait(nodeBody(request)).then((later) => proceed(later, request, response, go));
}

function proceed(
  { answer, leave, readOnlyHeader }: Admission,
  request: IncomingMessage,
  response: ServerResponse,
  go: () => void,
): void {
  if (answer) {
    writeAnswer(answer, request, response);
    return;
  }
  if (leave) leaveAtEnd(leave, request, response);
  if (readOnlyHeader !== null) response.setHeader('Read-Only', readOnlyHeader);
  go();
}

/**
 * The body is not read here. Node discards what still arrives of it, so the connection stays usable, and a client that
 * is busy sending gets to read the answer instead of a reset.
 */
function writeAnswer(answer: OwnAnswer, request: IncomingMessage, response: ServerResponse): void {
  if (response.headersSent || response.destroyed) return;
  const headers = besideCors(answer, request.headers.origin, (name) => response.getHeader(name));
  response.writeHead(answer.status, headers).end(answer.body);
}

export function leaveAtEnd(leave: () => void, request: IncomingMessage, response: ServerResponse): void {
  // `close` comes once, after the last byte as well as after an aborted request; for a client that has left, it has come.
  if (isClosed(response) || (request.destroyed && !request.complete)) leave();
  // not `once`: that wraps the listener and takes it off again, for each request
  else response.on('close', leave);
}

/** A response of HTTP/2 does not say so itself. */
export function isClosed(response: ServerResponse): boolean {
  return response.closed || (response as { stream?: { destroyed?: boolean } }).stream?.destroyed === true;
}
