import type { IncomingMessage, ServerResponse } from 'node:http';
import { nodeBody } from './body.ts';
import { besideCors } from './cors.ts';
import type { Admission, Admit } from './exchange.ts';
import { whileWorking } from './working.ts';

interface FastifyRequestLike {
  /** `rewriteUrl` leaves what the client sent in `originalUrl`. */
  readonly raw: IncomingMessage & { readonly originalUrl?: string };
}

interface FastifyReplyLike {
  readonly raw: ServerResponse;
  readonly sent?: boolean;
  code(status: number): unknown;
  headers(values: Record<string, string>): unknown;
  getHeader(name: string): unknown;
  header(name: string, value: string): unknown;
  send(payload: string): unknown;
}

type OnRequest = (request: FastifyRequestLike, reply: FastifyReplyLike, done: () => void) => void;

interface FastifyLike {
  addHook(name: 'onRequest', hook: OnRequest): unknown;
}

/** A plugin for Fastify 4 and 5: `await app.register(guard.fastify)`, before the routes and before other hooks. */
export type FastifyPlugin = (instance: FastifyLike, options: unknown, done: () => void) => void;

export function fastifyPlugin(admit: Admit): FastifyPlugin {
  function plugin(instance: FastifyLike, _options: unknown, done: () => void): void {
    instance.addHook('onRequest', (request, reply, next) => {
      // Both targets are looked at. Fastify's own `request.originalUrl` would add a property to each request.
      const { method = '', url = '', originalUrl = url, headers } = request.raw;
      const admission = admit({ method, url: originalUrl, routedUrl: url, headers });
      if (admission.wait === null) proceed(admission, request, reply, next);
      else void admission.wait(nodeBody(request.raw)).then((later) => proceed(later, request, reply, next));
    });
    done();
  }
  // Without it Fastify would keep the hook to the plugin's own scope, and guard nothing.
  return Object.assign(plugin, {
    [Symbol.for('skip-override')]: true,
    [Symbol.for('fastify.display-name')]: '@maint/guard',
  });
}

function proceed(admission: Admission, request: FastifyRequestLike, reply: FastifyReplyLike, next: () => void): void {
  const { answer, readOnlyHeader } = admission;
  if (answer) {
    reply.code(answer.status);
    reply.headers(besideCors(answer, request.raw.headers.origin, (name) => reply.getHeader(name)));
    reply.send(answer.body);
    return;
  }
  if (readOnlyHeader !== null) reply.header('Read-Only', readOnlyHeader);
  whileWorking(admission, request.raw, reply.raw, next);
}
