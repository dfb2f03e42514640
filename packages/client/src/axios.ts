import { type Answer, parseJson } from './answer.ts';
import { type ClientOptions, Exchange } from './exchange.ts';
import { isFormData } from './fetch.ts';

/** What is used of an axios instance (1.x). The package itself is not imported. */
export interface AxiosLike {
  readonly interceptors: {
    readonly request: Interceptors;
    readonly response: Interceptors;
  };
  request(config: any): Promise<any>;
}

interface Interceptors {
  use(onFulfilled: (value: any) => any, onRejected?: (error: any) => any): number;
  eject(id: number): void;
}

interface Config {
  [STATE]?: unknown;
  method?: string;
  url?: string;
  baseURL?: string;
  headers: { get?(name: string): unknown; set?(name: string, value: string): unknown; [name: string]: unknown };
  data?: unknown;
  signal?: AbortSignal;
  timeout?: number;
  /** For this call, instead of the option. */
  deadlineMs?: number;
}

interface AxiosAnswer {
  status: number;
  headers: Record<string, unknown>;
  data: unknown;
  config: Config;
}

/** A name, not a symbol: axios copies the config between tries and leaves symbols out. */
const STATE = '@maint/client';

/**
 * Makes an axios instance try again what is refused for a while, as `createFetch` does. A call may bring its own
 * `deadlineMs` in its config. axios reads whole bodies, so here the deadline covers the body too.
 *
 * Calls reject with a `RetryError` where another try was due and could not be made, and as axios does otherwise. Install
 * it before other response interceptors, so that these see only what is final, and do not combine it with another retry.
 *
 * @returns takes it off again
 */
export function installOn(instance: AxiosLike, options: ClientOptions = {}): () => void {
  async function before(config: Config): Promise<Config> {
    if (!(config[STATE] instanceof Exchange)) {
      const exchange = new Exchange(options, {
        method: config.method ?? 'get',
        url: addressOf(config),
        key: headerOf(config.headers, 'idempotency-key'),
        signal: config.signal ?? null,
        deadlineMs: config.deadlineMs,
      });
      config[STATE] = exchange;
      if (exchange.key !== null) setHeader(config.headers, 'Idempotency-Key', exchange.key);
      if (isFormData(config.data)) await encode(config, config.data);
    }
    const exchange = config[STATE] as Exchange;
    const left = Math.max(1, Math.ceil(exchange.left()));
    config.timeout = Math.min(config.timeout || Number.POSITIVE_INFINITY, left, 2 ** 31 - 1);
    exchange.begin();
    return config;
  }

  async function answered(response: AxiosAnswer): Promise<unknown> {
    const exchange = response.config?.[STATE];
    if (!(exchange instanceof Exchange)) return response;
    exchange.replayable = !isStream(response.config.data);
    return (await exchange.answered(answerOf(response))) ? await again(response.config) : response;
  }

  async function failed(error: { config?: Config; response?: AxiosAnswer; code?: string }): Promise<unknown> {
    const exchange = error?.config?.[STATE];
    if (!error.config || !(exchange instanceof Exchange) || error.code === 'ERR_CANCELED') throw error;
    exchange.replayable = !isStream(error.config.data);
    if (error.response) {
      if (!(await exchange.answered(answerOf(error.response)))) throw error;
    } else {
      await exchange.failed(error);
    }
    return await again(error.config);
  }

  /** The data is what axios made of it already; the address of `params` and `baseURL` comes out the same again. */
  function again(config: Config): Promise<unknown> {
    return instance.request({ ...config, transformRequest: [(data: unknown) => data] });
  }

  const request = instance.interceptors.request.use(before);
  const response = instance.interceptors.response.use(answered, failed);
  return () => {
    instance.interceptors.request.eject(request);
    instance.interceptors.response.eject(response);
  };
}

function answerOf(response: AxiosAnswer): Answer {
  return {
    status: response.status,
    header: (name) => headerOf(response.headers, name),
    body: () => jsonOf(response.data),
    response,
  };
}

/** `responseType` decides what axios gives: parsed, text, bytes, a Blob, or a stream, which is left alone. */
async function jsonOf(data: unknown): Promise<unknown> {
  if (typeof data === 'string') return parseJson(data);
  if (data instanceof ArrayBuffer || ArrayBuffer.isView(data))
    return parseJson(new TextDecoder().decode(data as ArrayBuffer));
  if (typeof Blob === 'function' && data instanceof Blob) return parseJson(await data.text());
  return isStream(data) ? null : data;
}

async function encode(config: Config, data: FormData): Promise<void> {
  const encoded = new Response(data);
  setHeader(config.headers, 'Content-Type', encoded.headers.get('content-type') as string);
  config.data = await encoded.arrayBuffer();
}

function isStream(data: unknown): boolean {
  if (typeof data !== 'object' || data === null) return false;
  return 'pipe' in data || 'getReader' in data || Symbol.asyncIterator in data;
}

function headerOf(headers: Record<string, unknown> | undefined, name: string): string | null {
  const get = (headers as Config['headers'] | undefined)?.get;
  if (typeof get === 'function') {
    const value = get.call(headers, name);
    return value === undefined || value === null ? null : String(value);
  }
  const found = Object.entries(headers ?? {}).find(([key]) => key.toLowerCase() === name);
  return found?.[1] === undefined || found[1] === null ? null : String(found[1]);
}

function setHeader(headers: Config['headers'], name: string, value: string): void {
  if (typeof headers.set === 'function') headers.set(name, value);
  else headers[name] = value;
}

function addressOf({ url = '', baseURL }: Config): string {
  if (!baseURL || /^([a-z][a-z\d+.-]*:)?\/\//i.test(url)) return url;
  return url === '' ? baseURL : `${baseURL.replace(/\/+$/, '')}/${url.replace(/^\/+/, '')}`;
}
