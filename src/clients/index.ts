// The only way from the program to the outer world: readers, writers and probers, one set per step and turn.
import type { Clients, Reader } from '../engine/io.ts';
import type { Scope } from './call.ts';
import { execReader, execWriter } from './exec.ts';
import { filesReader, filesWriter } from './files.ts';
import { httpReader, httpWriter } from './http.ts';
import { PostgresPool, postgresReader } from './postgres.ts';
import { prober } from './prober.ts';
import { queueReader, queueWriter } from './queue.ts';
import { createRedactor, type Redactor } from './redact.ts';
import { RedisPool, redisReader, redisWriter } from './redis.ts';
import { slackReader, slackWriter } from './slack.ts';
import { SqlitePool, sqliteReader } from './sqlite.ts';

export { createRedactor, type Redactor } from './redact.ts';

/** `redact` goes over the message of every error that the clients throw; without it URLs' passwords still do. */
export function createClients(options: { redact?: Redactor } = {}): Clients {
  const redact = options.redact ?? createRedactor([]);
  const redis = new RedisPool();
  const postgres = new PostgresPool();
  const sqlite = new SqlitePool();
  const named = new Map<string, Promise<any>>();

  function once<T>(key: string, ask: () => Promise<T>): Promise<T> {
    const known = named.get(key);
    if (known) return known;
    const asking = ask();
    named.set(key, asking);
    asking.catch(() => named.delete(key));
    return asking;
  }
  function scope(given: Omit<Scope, 'redact' | 'wrote'>): Scope {
    return { ...given, redact, wrote: false };
  }
  function reader(of: Scope): Reader {
    return {
      http: httpReader(of),
      redis: redisReader(of, redis),
      postgres: postgresReader(of, postgres),
      sqlite: sqliteReader(of, sqlite),
      exec: execReader(of),
      files: filesReader(of),
      slack: slackReader(of),
      queue: queueReader(of, postgres),
      once,
    };
  }
  return {
    reader: ({ signal, deadline }) => reader(scope({ signal, deadline })),
    writer({ signal, deadline, hooks }) {
      const of = scope({ signal, deadline, hooks });
      return {
        ...reader(of),
        http: httpWriter(of),
        redis: redisWriter(of, redis),
        exec: execWriter(of),
        files: filesWriter(of),
        slack: slackWriter(of),
        queue: queueWriter(of, postgres),
      };
    },
    prober: ({ signal, deadline, declared }) => prober(scope({ signal, deadline }), declared),
    async close() {
      redis.close();
      sqlite.close();
      await postgres.close();
    },
  };
}
