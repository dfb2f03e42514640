// Slack's Web API through @slack/web-api, with its retries, its queueing and its logging switched off.
import type { HttpResponse, SlackReader, SlackWriter } from '../engine/io.ts';
import { OuterError } from '../errors/catalogue.ts';
import { after, before, outerError, type Scope } from './call.ts';
import { askedToWait, httpExchange, judge } from './http.ts';

interface Api {
  url: string;
  token: string;
}

export function slackReader(scope: Scope): SlackReader {
  return {
    async read(api, method, args) {
      if (!isRead(method)) {
        throw outerError(scope, `slack ${method} is no reading method`, {
          effect: 'none',
          retryable: false,
          code: 'NOT_A_READ',
        });
      }
      return await call(scope, api, method, args, false);
    },
  };
}

export function slackWriter(scope: Scope): SlackWriter {
  return { ...slackReader(scope), send: (api, method, args) => call(scope, api, method, args, true) };
}

/** The last word of the method's name says it. */
export function isRead(method: string): boolean {
  return /^[a-z]+(\.[a-zA-Z]+)*\.(list|info|history|replies|test|getPermalink|lookupByEmail|members)$/.test(method);
}

async function call(scope: Scope, api: Api, method: string, args: Record<string, unknown>, write: boolean) {
  const { WebClient, LogLevel } = await import('@slack/web-api');
  let base: URL;
  try {
    base = new URL(`${api.url.replace(/\/+$/, '')}/api/`);
  } catch {
    throw outerError(scope, 'not an address of a Slack API: https://slack.com', { effect: 'none', retryable: false });
  }
  const what = `slack ${method}`;
  let status: number | undefined;
  let waitMs: number | undefined;
  const client = new WebClient(api.token, {
    slackApiUrl: base.href,
    retryConfig: { retries: 0 },
    rejectRateLimitedCalls: true,
    allowAbsoluteUrls: false,
    logLevel: LogLevel.ERROR,
    logger: SILENT,
    // our own HTTP: it knows whether anything was sent, follows no redirect and takes the proxy like all others
    fetch: async (url, init) => {
      if (typeof init?.body !== 'string') throw new TypeError('files are not sent here');
      if (write) before(scope, what);
      const request = { url: String(url), body: init.body, headers: init.headers ?? {} };
      const answer = await httpExchange(scope, request, write);
      if (write) after(scope, what);
      status = answer.status;
      // the library reads whole seconds only
      waitMs = askedToWait(answer.headers);
      return response(String(url), answer);
    },
  });
  try {
    return await client.apiCall(method, args);
  } catch (error) {
    throw failed(scope, error, { host: base.host, method, write, status, waitMs });
  }
}

function response(url: string, { status, headers, text }: HttpResponse) {
  return {
    ok: status >= 200 && status < 300,
    status,
    statusText: '',
    url,
    headers: { get: (name: string) => headers[name.toLowerCase()] ?? null, entries: () => Object.entries(headers) },
    text: async () => text,
    json: async () => JSON.parse(text),
    arrayBuffer: async () => new Uint8Array(Buffer.from(text)).buffer,
  };
}

interface Circumstances {
  host: string;
  method: string;
  write: boolean;
  status: number | undefined;
  /** what a limit of the rate asks for */
  waitMs: number | undefined;
}

function failed(scope: Scope, error: unknown, { host, method, write, status, waitMs }: Circumstances): unknown {
  const { code, data, statusCode, headers, original } = error as SlackFailure;
  if (original instanceof OuterError) return original;
  const effect = (is: 'answered' | 'unknown') => (write ? is : 'none');
  if (code === 'slack_webapi_rate_limited_error' || status === 429) {
    const wait = waitMs === undefined ? '' : `, for ${waitMs / 1000}s`;
    return outerError(scope, `${host} limits the rate of ${method}${wait}`, {
      effect: effect('answered'),
      retryable: true,
      status: 429,
      retryAfterMs: waitMs,
      code: 'ratelimited',
    });
  }
  if (code === 'slack_webapi_http_error' && statusCode !== undefined) {
    const judged = judge(statusCode, headers ?? {});
    return outerError(scope, `${host} answered ${statusCode} for ${method}`, {
      ...judged,
      effect: effect(judged.effect),
      status: statusCode,
    });
  }
  const word = data?.error;
  if (code !== 'slack_webapi_platform_error' || word === undefined || !/^[a-z0-9_:-]{1,80}$/i.test(word)) {
    // the library takes what is no JSON (a proxy's page, an answer that broke off) for the error's name
    if (code !== undefined || status !== undefined) {
      return outerError(scope, `${host} gave an answer for ${method} that is not Slack's`, {
        effect: effect('unknown'),
        retryable: true,
        status,
      });
    }
    return error;
  }
  const needed = data?.needed ? ` (needed: ${data.needed})` : '';
  return outerError(scope, `${host} answered ${word} for ${method}${needed}`, {
    // Slack gave up on it in the middle
    effect: effect(word === 'request_timeout' ? 'unknown' : 'answered'),
    retryable: RETRYABLE.has(word),
    code: word,
  });
}

interface SlackFailure {
  code?: string;
  data?: { error?: string; needed?: string };
  statusCode?: number;
  headers?: Record<string, string>;
  original?: unknown;
}

/** Slack's own words for trouble on its side. */
const RETRYABLE = new Set([
  'ratelimited',
  'rate_limited',
  'message_limit_exceeded',
  'internal_error',
  'fatal_error',
  'service_unavailable',
  'request_timeout',
  'team_added_to_org',
]);

const nothing = () => {};
/** Its logger would print tokens and texts to the terminal. */
const SILENT = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  setLevel: nothing,
  getLevel: () => 'error' as never,
  setName: nothing,
};
