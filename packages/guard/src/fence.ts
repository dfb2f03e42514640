// The origin's half of "applied once": one effect for each key, in the service's own transaction.
import { createHash } from 'node:crypto';

type Maybe<T> = T | Promise<T>;

/** The table of keys, through the transaction in which the effect happens. */
export interface FenceStore {
  /** Inserts the key, unless it is there (`FENCE_SQL….insert`). true: it was not, and is now. */
  insert(key: string, fingerprint: string): Maybe<boolean>;
  find(key: string): Maybe<{ readonly fingerprint: string; readonly answer: string | null } | null | undefined>;
  /** Keeps the answer of a key that was inserted in this transaction; null: it is too large to keep. */
  complete(key: string, answer: string | null): Maybe<unknown>;
}

export interface FenceAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whatever JSON can say. */
  readonly body?: unknown;
}

export interface FencedAnswer extends FenceAnswer {
  /** True: the effect did not happen now. It has happened, or the request is refused. */
  readonly replayed: boolean;
}

export interface FenceRequest {
  /** The Idempotency-Key, with what it belongs to: `JSON.stringify([tenant, key])`, for a key may hold any separator. */
  readonly key: string;
  /** Of the request, from `requestFingerprint`: the same key with another one is refused. */
  readonly fingerprint: string;
  /** Answers above are not kept, so that a repeat gets 409 `already_applied`. In characters of JSON; default 65,536. */
  readonly keepCharacters?: number;
}

/**
 * Thrown for an effect that answers with 400 or more: the transaction must be rolled back, and `answer` be given. What was
 * refused or failed has no effect, so its key is free: sent again, or requeued by a person, it may succeed.
 */
export class FenceRollback extends Error {
  override readonly name = 'FenceRollback';
  readonly answer: FenceAnswer;

  constructor(answer: FenceAnswer) {
    super(`the effect answered ${answer.status}: roll the transaction back`);
    this.answer = answer;
  }
}

/**
 * Runs the effect once for each key. Call it inside a transaction, and do the effect in the same one: then key, effect and
 * answer are there together or not at all. What it throws must roll the transaction back.
 *
 * The same request again gets the answer that was kept, or 409 with the code `already_applied`; another request under the
 * key gets 422 (`idempotency_key_reused`); one that runs at the same time waits in `insert`, or gets 409
 * (`idempotency_in_flight`) where its transaction cannot see the other.
 */
export async function fenced(
  store: FenceStore,
  { key, fingerprint, keepCharacters = 65_536 }: FenceRequest,
  effect: () => Maybe<FenceAnswer>,
): Promise<FencedAnswer> {
  if (!(await store.insert(key, fingerprint))) return repeated(await store.find(key), fingerprint);
  const answer = await effect();
  if (answer.status >= 400) throw new FenceRollback(answer);
  const text = JSON.stringify({ status: answer.status, headers: answer.headers, body: answer.body });
  await store.complete(key, text.length <= keepCharacters ? text : null);
  return { ...answer, replayed: false };
}

/** A fingerprint of what a request asks: the method, its path and query, and its body. */
export function requestFingerprint(method: string, target: string, body: string | Uint8Array): string {
  return createHash('sha256').update(`${method} ${target}\n`).update(body).digest('hex');
}

function repeated(found: Awaited<ReturnType<FenceStore['find']>>, fingerprint: string): FencedAnswer {
  if (!found) return refusal(409, 'idempotency_in_flight', 'A request with this key is being applied.');
  if (found.fingerprint !== fingerprint) {
    return refusal(422, 'idempotency_key_reused', 'This key was used for another request.');
  }
  const kept = found.answer === null ? null : (JSON.parse(found.answer) as FenceAnswer);
  if (kept) return { ...kept, replayed: true };
  return refusal(409, 'already_applied', 'This request was applied. Its answer was not kept.');
}

function refusal(status: number, code: string, detail: string): FencedAnswer {
  return {
    status,
    headers: {
      'Content-Type': 'application/problem+json',
      ...(code === 'idempotency_in_flight' ? { 'Retry-After': '1' } : {}),
    },
    body: { type: `urn:problem-type:maint:${code}`, title: detail, status, code },
    replayed: true,
  };
}

interface FenceStatements {
  /** Creates the table `maint_fence`. */
  readonly table: string;
  /** Parameters: key, fingerprint. One row was changed: it is new. */
  readonly insert: string;
  /** Parameter: key. Columns: fingerprint, answer. */
  readonly find: string;
  /** Parameters: answer, key. */
  readonly complete: string;
  /** Forgets keys that are older than this many seconds: the parameter. Longer than any client or backfill repeats. */
  readonly forget: string;
}

/** Ready statements. Postgres: `read committed`, its default; in a stricter level a concurrent repeat fails and is sent again. */
export const FENCE_SQL: { readonly postgres: FenceStatements; readonly sqlite: FenceStatements } = {
  postgres: {
    table: `create table if not exists maint_fence (
  key text primary key,
  fingerprint text not null,
  answer text,
  at timestamptz not null default now()
)`,
    insert: 'insert into maint_fence (key, fingerprint) values ($1, $2) on conflict (key) do nothing',
    find: 'select fingerprint, answer from maint_fence where key = $1',
    complete: 'update maint_fence set answer = $1 where key = $2',
    forget: 'delete from maint_fence where at < now() - make_interval(secs => $1)',
  },
  sqlite: {
    table: `create table if not exists maint_fence (
  key text primary key,
  fingerprint text not null,
  answer text,
  at integer not null default (unixepoch())
) without rowid`,
    insert: 'insert into maint_fence (key, fingerprint) values (?, ?) on conflict (key) do nothing',
    find: 'select fingerprint, answer from maint_fence where key = ?',
    complete: 'update maint_fence set answer = ? where key = ?',
    forget: 'delete from maint_fence where at < unixepoch() - ?',
  },
};
