import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { nodeBody } from './body.ts';
import { besideCors } from './cors.ts';
import type { Admission, Admit, IncomingRequest, OwnAnswer } from './exchange.ts';
import { whileWorking } from './working.ts';

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
  go: () => unknown,
): void {
  const admission = admit(incoming);
  if (admission.wait === null) proceed(admission, request, response, go);
  else void admission.wait(nodeBody(request)).then((later) => proceed(later, request, response, go));
}

function proceed(admission: Admission, request: IncomingMessage, response: ServerResponse, go: () => unknown): void {
  const { answer, readOnlyHeader } = admission;
  if (answer) {
    writeAnswer(answer, request, response);
    return;
  }
  if (readOnlyHeader !== null) response.setHeader('Read-Only', readOnlyHeader);
  whileWorking(admission, request, response, go);
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
