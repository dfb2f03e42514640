import { z } from 'zod';
import { defineAction } from '../../engine/contract.ts';
import type { Writer } from '../../engine/io.ts';
import { headerName, headers, url } from '../../engine/secret.ts';
import { OuterError } from '../../errors/catalogue.ts';

export const Params = z.strictObject({
  url: z.union([url('what to purge'), z.array(url('what to purge')).min(1)]),
  method: z
    .string()
    .regex(/^[A-Z]{3,20}$/, 'a method in capitals, such as PURGE')
    .default('PURGE'),
  headers: headers().default({}),
  expect: z.array(z.int().min(200).max(599)).min(1).default([200, 202, 204]).describe('the statuses that mean done'),
  check: z
    .strictObject({
      url: url('what must be a miss afterwards'),
      header: headerName().default('X-Cache').describe('the header that tells hit from miss'),
    })
    .optional(),
});
export type Params = z.infer<typeof Params>;

export const cacheHttp = defineAction<Params>({
  name: 'cache/http',
  role: 'cache',
  summary: 'purges a cache by HTTP when the walls have closed and when they have opened again',
  Params,
  example: {
    url: 'https://cdn.example.com/purge/banner',
    check: { url: 'https://www.example.com/banner', header: 'X-Cache' },
  },
  on: ['open', 'reopen'],
  address: (params) => {
    const first = new URL(urlsOf(params)[0]!);
    return `${first.host}${first.pathname}`;
  },

  asks: 'GET of / of each host; any status is an answer',
  // Some caches purge at a GET of the address itself.
  async usable(io, params) {
    const origins = new Set([...urlsOf(params), ...(params.check ? [params.check.url] : [])].map(originOf));
    await Promise.all([...origins].map((url) => io.http.get({ url, expect: ANY_STATUS })));
    return [];
  },

  async run(io, { params, poll }) {
    const urls = urlsOf(params);
    const began = Date.now();
    await purge(io, params);
    const purged = urls.length === 1 ? 'purged' : `${urls.length} purged`;
    if (!params.check) return [purged];
    const { pathname } = new URL(params.check.url);
    let last = '';
    // Between our purge and our look somebody else may have filled the cache anew: purged again, until we are first.
    const seen = await poll(500, async () => {
      const look = await lookAt(io, params.check!, began);
      if (look.fresh) return look.words;
      last = look.words;
      await purge(io, params);
      return undefined;
    });
    if (seen !== undefined) return [purged, `${pathname}: ${seen}`];
    const message = `${pathname} is still no miss after the purge: ${last}`;
    throw new OuterError(message, { effect: 'answered', retryable: false });
  },
});

type Check = NonNullable<Params['check']>;

async function purge(io: Writer, params: Params): Promise<void> {
  for (const address of urlsOf(params)) {
    await io.http.send(params.method, { url: address, headers: params.headers, expect: params.expect });
  }
}

/** A purge is answered with 200 also where nothing was cached: only what a reader gets is a proof. */
async function lookAt(io: Writer, check: Check, began: number): Promise<{ fresh: boolean; words: string }> {
  const { headers } = await io.http.get({ url: check.url, expect: STATUSES });
  const said = headers[check.header.toLowerCase()];
  if (said === undefined) return { fresh: false, words: `the answer has no header ${check.header}` };
  const hit = /\bhit\b/i.test(said);
  if (!hit && /miss|expired|bypass|pass\b|dynamic/i.test(said)) return { fresh: true, words: said };
  // Filled by somebody else, but after our first purge: Age counts whole seconds (RFC 9111, 5.1).
  const age = /^\d{1,9}$/.test(headers['age'] ?? '') ? Number(headers['age']) : undefined;
  if (age !== undefined && (age + 1) * 1000 <= Date.now() - began)
    return { fresh: true, words: `${said}, but younger than the purge` };
  return { fresh: false, words: `${check.header}: ${said}` };
}

/** What is cached may be an error page, too. */
const STATUSES = Array.from({ length: 400 }, (_, n) => 200 + n);

const ANY_STATUS = Array.from({ length: 500 }, (_, n) => 100 + n);

/** With its userinfo, without its path. */
function originOf(address: string): string {
  return new URL('/', address).href;
}

function urlsOf(params: Params): string[] {
  return [params.url].flat();
}
