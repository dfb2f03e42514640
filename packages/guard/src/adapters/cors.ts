// The guard's own answers behind a CORS layer that has spoken already.
import type { OwnAnswer } from './exchange.ts';

const ORIGIN = 'Access-Control-Allow-Origin';
const EXPOSE = 'Access-Control-Expose-Headers';
export const CORS_HEADERS = [ORIGIN, EXPOSE] as const;

/**
 * A page that the layer has named may send its cookies, which `*` would forbid; and what the layer exposes of every
 * answer stays readable beside what the guard exposes.
 *
 * @param origin of the page
 * @param said what the layer has set; undefined or null: nothing
 */
export function besideCors(
  { headers }: OwnAnswer,
  origin: string | null | undefined,
  said: (name: string) => unknown,
): OwnAnswer['headers'] {
  // No page has sent it.
  if (typeof origin !== 'string') return headers;
  const exposes = headers[EXPOSE];
  const named = headers[ORIGIN] !== undefined && said(ORIGIN) === origin;
  const exposed = exposes === undefined ? null : (said(EXPOSE) ?? null);
  if (!named && exposed === null) return headers;
  return {
    ...headers,
    ...(named ? { [ORIGIN]: origin } : {}),
    ...(exposed === null ? {} : { [EXPOSE]: `${String(exposed)}, ${exposes}` }),
  };
}
