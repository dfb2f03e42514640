// Slack's Web API through @slack/web-api, with its retries, its queueing and its logging switched off.
import type { SlackReader, SlackWriter } from '../engine/io.ts';
import {
  after,
  before,
  errorCode,
  interrupted,
  limit,
  NEVER_CONNECTED,
  outerError,
  type Scope,
  timedOut,
} from './call.ts';
import { judge, retryAfter } from './http.ts';

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
  const where = `${base.host} (${method})`;
  using bound = limit(scope, where, undefined);
  const what = `slack ${method}`;
  let sent = false;
  const client = new WebClient(api.token, {
    slackApiUrl: base.href,
    retryConfig: { retries: 0 },
    rejectRateLimitedCalls: true,
    allowAbsoluteUrls: false,
    logLevel: LogLevel.ERROR,
    logger: SILENT,
    fetch: (url, init) => {
      // the library's own fetch, plus the run's signal; what is retried nobody knows, so a second one never goes out
      if (sent) throw new Error('a second call of one request');
      sent = true;
      if (write) before(scope, what);
      return fetch(url, { ...(init as RequestInit), signal: bound.signal, redirect: 'error' });
    },
  });
  try {
    const answer = await client.apiCall(method, args);
    if (write) after(scope, what);
    return answer;
  } catch (error) {
    const { code, data, statusCode, headers, retryAfter: wait } = error as SlackFailure;
    const answered = code !== undefined && ANSWERED.has(code);
    if (write && answered) after(scope, what);
    const unless = <T>(effect: T): T | 'none' => (write ? effect : 'none');
    if (bound.reason() === 'interrupted') throw interrupted(scope, where, sent ? unless('unknown') : 'none');
    if (bound.reason() === 'timeout') throw timedOut(scope, where, bound.ms, sent ? unless('unknown') : 'none');
    if (code === 'slack_webapi_rate_limited_error') {
      throw outerError(scope, `${base.host} limits the rate of ${method}, for ${wait}s`, {
        effect: unless('answered'),
        retryable: true,
        status: 429,
        retryAfterMs: wait === undefined ? undefined : wait * 1000,
        code: 'ratelimited',
      });
    }
    if (code === 'slack_webapi_platform_error') {
      const word = data?.error ?? 'unknown_error';
      const needed = data?.needed ? ` (needed: ${data.needed})` : '';
      throw outerError(scope, `${base.host} answered ${word} for ${method}${needed}`, {
        effect: unless(word === 'request_timeout' ? 'unknown' : 'answered'),
        retryable: RETRYABLE.has(word),
        code: word,
      });
    }
    if (code === 'slack_webapi_http_error' && statusCode !== undefined) {
      const judged = judge(statusCode, headers ?? {});
      throw outerError(scope, `${base.host} answered ${statusCode} for ${method}`, {
        ...judged,
        retryAfterMs: judged.retryAfterMs ?? retryAfter(headers?.['Retry-After'], Date.now()),
        effect: unless(judged.effect),
        status: statusCode,
      });
    }
    const reason = rootCode(error);
    const never = reason === undefined ? undefined : NEVER_CONNECTED[reason];
    if (never) throw outerError(scope, `${base.host} ${never}`, { effect: 'none', retryable: true, code: reason });
    throw outerError(scope, `${where} gave no answer that could be read (${reason ?? 'no reason known'})`, {
      effect: sent ? unless('unknown') : 'none',
      retryable: true,
      code: reason,
    });
  }
}

interface SlackFailure {
  code?: string;
  data?: { error?: string; needed?: string };
  statusCode?: number;
  headers?: Record<string, string>;
  retryAfter?: number;
}

const ANSWERED = new Set(['slack_webapi_platform_error', 'slack_webapi_http_error', 'slack_webapi_rate_limited_error']);
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

/** fetch hides the reason: error -> original -> cause -> cause. */
function rootCode(error: unknown): string | undefined {
  let at = error as { original?: unknown; cause?: unknown; code?: unknown; errors?: unknown[] } | undefined;
  let code: string | undefined;
  for (let depth = 0; at && depth < 8; depth++) {
    const here = errorCode(at);
    if (here !== undefined && !here.startsWith('slack_')) code = here;
    at = (at.original ?? at.cause ?? at.errors?.[0]) as typeof at;
  }
  return code;
}
