import type { ServerResponse } from 'node:http';
import { besideCors, CORS_HEADERS } from './cors.ts';
import type { Admit, OwnAnswer } from './exchange.ts';
import { admitWeb, counted, toResponse } from './fetch.ts';
import { isClosed } from './working.ts';

/** What is used of Hono's context. */
interface HonoContextLike {
  readonly req: { readonly raw: Request };
  /** On Node.js, `@hono/node-server` puts the server's own objects there. */
  readonly env?: unknown;
  res: Response;
  header(name: string, value: string): void;
}

/** A middleware for Hono 4: `app.use(guard.hono())`, before everything else. */
export type HonoMiddleware = (context: HonoContextLike, next: () => Promise<void>) => Promise<Response | undefined>;

export function honoMiddleware(admit: Admit): HonoMiddleware {
  return async (context, next) => {
    const { answer, leave, readOnlyHeader } = await admitWeb(admit, context.req.raw, context.env);
    if (answer) return toResponse({ ...answer, headers: behindCors(answer, context) });
    const outgoing = outgoingOf(context.env);
    let failed = true;
    try {
      await next();
      failed = false;
    } finally {
      // The handler is over, whether or not its client is still there; what is left is to get the answer out.
      if (leave && outgoing) {
        if (isClosed(outgoing)) leave();
        else outgoing.once('close', leave);
      } else if (failed) leave?.();
    }
    if (readOnlyHeader !== null) context.header('Read-Only', readOnlyHeader);
    if (leave && !outgoing) context.res = counted(context.res, leave);
    return undefined;
  };
}

function behindCors(answer: OwnAnswer, context: HonoContextLike): OwnAnswer['headers'] {
  const origin = context.req.raw.headers.get('origin');
  if (origin === null) return answer.headers;
  const said = context.res.headers;
  const headers = besideCors(answer, origin, (name) => said.get(name));
  // Hono lets what was set before win over what the answer says.
  for (const name of CORS_HEADERS) if (headers[name] !== undefined) said.set(name, headers[name]);
  return headers;
}

function outgoingOf(env: unknown): ServerResponse | undefined {
  const outgoing = (env as { outgoing?: ServerResponse } | undefined)?.outgoing;
  return typeof outgoing?.once === 'function' ? outgoing : undefined;
}
