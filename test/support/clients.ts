// Clients for tests: hooks that remember, and failures as values that can be compared.
import { createClients, createRedactor } from '../../src/clients/index.ts';
import type { Clients, Prober, Reader, WriteHooks, Writer } from '../../src/engine/io.ts';
import { OuterError } from '../../src/errors/catalogue.ts';

export interface TestClients extends AsyncDisposable {
  clients: Clients;
  /** "before http POST", "after http POST", "spawned" in the order in which they came */
  calls: string[];
  reader(options?: { ms?: number; signal?: AbortSignal }): Reader;
  writer(options?: { ms?: number; signal?: AbortSignal; hooks?: Partial<WriteHooks> }): Writer;
  prober(declared: readonly { method: string; url: string }[]): Prober;
}

export function testClients(secrets: readonly string[] = []): TestClients {
  const clients = createClients({ redact: createRedactor(secrets) });
  const calls: string[] = [];
  const hooks: WriteHooks = {
    before: (what) => void calls.push(`before ${what}`),
    after: (what) => void calls.push(`after ${what}`),
    async spawned() {
      calls.push('spawned');
    },
  };
  const at = (ms = 5000, signal = new AbortController().signal) => ({ signal, deadline: Date.now() + ms });
  return {
    clients,
    calls,
    reader: (options = {}) => clients.reader(at(options.ms, options.signal)),
    writer: (options = {}) =>
      clients.writer({ ...at(options.ms, options.signal), hooks: { ...hooks, ...options.hooks } }),
    prober: (declared) => clients.prober({ ...at(), declared }),
    [Symbol.asyncDispose]: () => clients.close(),
  };
}

/** What went wrong, without what is undefined. Anything but an OuterError is thrown on. */
export async function failure(work: Promise<unknown>): Promise<Record<string, unknown>> {
  let result: unknown;
  try {
    result = await work;
  } catch (error) {
    if (!(error instanceof OuterError)) throw error;
    const { message, effect, retryable, status, retryAfterMs, code } = error;
    return JSON.parse(JSON.stringify({ message, effect, retryable, status, retryAfterMs, code }));
  }
  throw new Error(`it succeeded: ${JSON.stringify(result)}`);
}
