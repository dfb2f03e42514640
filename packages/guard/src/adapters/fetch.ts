// Web standard requests: Request in, Response out.
import type { IncomingMessage } from 'node:http';
import { webBody } from './body.ts';
import type { Admission, Admit, IncomingRequest, OwnAnswer } from './exchange.ts';

/** A handler of the `fetch` kind. What comes behind the request (an environment, a context) is handed on. */
export type FetchHandler<Rest extends unknown[]> = (request: Request, ...rest: Rest) => Response | Promise<Response>;

export function guardFetch<Rest extends unknown[]>(
  admit: Admit,
  handler: FetchHandler<Rest>,
): (request: Request, ...rest: Rest) => Promise<Response> {
  return async (request, ...rest) => {
    const { answer, leave, readOnlyHeader } = await admitWeb(admit, request, rest[0]);
    if (answer) return toResponse(answer);
    let response: Response;
    try {
      response = await handler(request, ...rest);
    } catch (error) {
      leave?.();
      throw error;
    }
    return counted(readOnlyHeader === null ? response : withHeader(response, readOnlyHeader), leave);
  };
}

/** @param env on Node.js, `@hono/node-server` puts the server's own objects there */
export async function admitWeb(admit: Admit, request: Request, env: unknown): Promise<Admission> {
  const admission = admit(incoming(request));
  if (admission.wait === null) return admission;
  return await admission.wait(webBody(request, (env as { incoming?: IncomingMessage } | undefined)?.incoming));
}

export function toResponse({ status, headers, body }: OwnAnswer): Response {
  const { 'Content-Length': _, ...rest } = headers;
  return new Response(status === 204 ? null : body, { status, headers: rest });
}

/** Calls `leave` when the body is out, was cancelled or failed. */
export function counted(response: Response, leave: (() => void) | null): Response {
  if (leave === null) return response;
  const { body } = response;
  if (body === null || response.status < 200) {
    leave();
    return response;
  }
  const reader = body.getReader();
  let left = false;
  const end = () => {
    if (!left) leave();
    left = true;
  };
  const watched = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (!done) return controller.enqueue(value);
        end();
        controller.close();
      } catch (error) {
        end();
        controller.error(error);
      }
    },
    async cancel(reason) {
      end();
      await reader.cancel(reason);
    },
  });
  return new Response(watched, response);
}

function withHeader(response: Response, value: string): Response {
  try {
    response.headers.set('Read-Only', value);
    return response;
  } catch {
    // What came from a `fetch` of the service's own cannot be changed.
    const copy = new Response(response.body, response);
    copy.headers.set('Read-Only', value);
    return copy;
  }
}

/** Path and query as the request has them: its URL without scheme and host. Headers are read when they are asked for. */
function incoming(request: Request): IncomingRequest {
  const { url, method, headers } = request;
  const host = url.indexOf('://');
  const path = host < 0 ? 0 : url.indexOf('/', host + 3);
  const target = path < 0 ? '/' : url.slice(path);
  const read = { get: (_: object, name: string | symbol) => headerOf(headers, name) };
  return { method, url: target, headers: new Proxy<Readonly<Record<string, string | undefined>>>(NONE, read) };
}

const NONE: Readonly<Record<string, string | undefined>> = Object.freeze({});

function headerOf(headers: Headers, name: string | symbol): string | undefined {
  // `get` throws for what can be no header's name.
  if (typeof name !== 'string' || !/^[\w-]+$/.test(name)) return undefined;
  return headers.get(name) ?? undefined;
}
