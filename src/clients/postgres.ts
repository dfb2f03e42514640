// PostgreSQL through pg. Autocommit, for within one transaction the statistics would be the same for ever. Read-only by
// default and bounded by the server itself; what that cannot prevent (a statement that says SET or calls a function with
// effects) is prevented by taking constant statements only, and by the role that docs/steps.md describes.
import type { Pool } from 'pg';
import type { PostgresReader } from '../engine/io.ts';
import { WRITE_DEADLINE_MS } from '../engine/io.ts';
import {
  Expired,
  errorCode,
  interrupted,
  type Limit,
  limit,
  NEVER_CONNECTED,
  outerError,
  race,
  type Scope,
  timedOut,
} from './call.ts';
import { assertStatement } from './sqlite.ts';

/** The server gives up a little before we do, and says so. */
const STATEMENT_MS = WRITE_DEADLINE_MS - 500;
const SESSION = [
  '-c default_transaction_read_only=on',
  `-c statement_timeout=${STATEMENT_MS}`,
  `-c lock_timeout=${STATEMENT_MS}`,
  `-c idle_in_transaction_session_timeout=${STATEMENT_MS}`,
].join(' ');

export class PostgresPool {
  readonly #pools = new Map<string, Promise<Pool>>();

  get(url: string): Promise<Pool> {
    let pool = this.#pools.get(url);
    if (!pool) {
      pool = open(url);
      this.#pools.set(url, pool);
      pool.catch(() => this.#pools.delete(url));
    }
    return pool;
  }

  async close(): Promise<void> {
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    for (const pool of pools) await (await pool.catch(() => undefined))?.end();
  }
}

async function open(url: string): Promise<Pool> {
  const { default: pg } = await import('pg');
  const address = new URL(url);
  // what the address asks for comes first: the server takes the last word
  address.searchParams.set('options', [address.searchParams.get('options'), SESSION].filter(Boolean).join(' '));
  address.searchParams.set('application_name', 'maint');
  const pool = new pg.Pool({
    connectionString: address.href,
    max: 2,
    connectionTimeoutMillis: WRITE_DEADLINE_MS,
    // a process that is otherwise done is not kept alive by an idle connection
    allowExitOnIdle: true,
  });
  // an idle connection that breaks is noticed when it is next needed
  pool.on('error', () => {});
  // One that is in use, or given up and on its way out, has no listener of the pool's: what the server says in that moment
  // ("terminating connection") would end the process.
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

export function postgresReader(scope: Scope, pools: PostgresPool): PostgresReader {
  return {
    async rows(url, statement, values = []) {
      assertStatement(statement);
      const where = address(scope, url);
      using bound = limit(scope, where, undefined);
      try {
        const pool = await pools.get(url);
        const connecting = pool.connect();
        const client = await race(bound, connecting).catch((error) => {
          connecting.then(
            (late) => late.release(true),
            () => {},
          );
          throw error;
        });
        let broken = true;
        try {
          // the extended protocol takes one statement only, however the text looks
          const query = { text: statement.text, values: [...values], queryMode: 'extended' };
          const result = await race(bound, client.query(query));
          broken = false;
          return result.rows;
        } catch (error) {
          broken = !isAnswer(error);
          throw error;
        } finally {
          client.release(broken);
        }
      } catch (error) {
        throw failed(scope, where, error, bound);
      }
    },
  };
}

function address(scope: Scope, url: string): string {
  try {
    const parsed = new URL(url);
    if (parsed.protocol !== 'postgres:' && parsed.protocol !== 'postgresql:') throw new TypeError('another protocol');
    const host = parsed.searchParams.get('host') ?? parsed.hostname;
    return `postgres ${host}:${parsed.searchParams.get('port') ?? (parsed.port || 5432)}${parsed.pathname}`;
  } catch {
    throw outerError(scope, 'not a PostgreSQL address: postgres://host:5432/database', {
      effect: 'none',
      retryable: false,
    });
  }
}

/** The server's own error, with its SQLSTATE. */
function isAnswer(error: unknown): boolean {
  const { severity, code } = error as { severity?: unknown; code?: unknown };
  return typeof severity === 'string' && severity === 'ERROR' && typeof code === 'string';
}

function failed(scope: Scope, where: string, error: unknown, bound: Limit) {
  if (error instanceof Expired) {
    return bound.reason() === 'interrupted'
      ? interrupted(scope, where, 'none')
      : timedOut(scope, where, bound.ms, 'none');
  }
  const code = errorCode(error);
  const { message, severity } = error as Error & { severity?: string };
  const never = code === undefined ? undefined : NEVER_CONNECTED[code];
  if (never) return outerError(scope, `${where} ${never}`, { effect: 'none', retryable: true, code });
  if (severity !== undefined) {
    const more = /unsupported startup parameter/.test(message)
      ? ' (a pooler that takes no session options: give the address of the server itself)'
      : '';
    const retryable = code !== undefined && RETRYABLE.test(code);
    return outerError(scope, `${where} answered ${code}: ${message}${more}`, { effect: 'none', retryable, code });
  }
  if (error instanceof TypeError) return error;
  if (code === 'ENOENT') {
    return outerError(scope, `${where}: no such socket`, { effect: 'none', retryable: true, code });
  }
  // the driver's own words for a password that nobody gave
  if (/SASL.*password must be/.test(message))
    return outerError(scope, `${where} asks for a password, and the address has none`, {
      effect: 'none',
      retryable: false,
    });
  return outerError(scope, `${where}: ${message}`, { effect: 'none', retryable: !TLS.test(code ?? message), code });
}

/** Connection exceptions, resources, a server that starts or stops, lock and statement timeouts, serialization. */
const RETRYABLE = /^(08|53|57P|57014|55P03|40)/;
const TLS = /SSL|TLS|CERT|certificate/i;
