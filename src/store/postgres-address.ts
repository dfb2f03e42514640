// A state's postgres:// address: where it is, how to get there, and its name free of secrets. Read here and not by pg,
// whose words for a wrong address would quote it, and whose meaning of sslmode changes with its next major.
import { readFileSync } from 'node:fs';
import { userName } from '../engine/who.ts';
import { MaintError } from '../errors/catalogue.ts';
import { advice } from '../errors/next.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export interface PostgresPlace {
  /** "postgres db.internal:5432/app schema maint" */
  address: string;
  host: string;
  port: number;
  database: string;
  user: string;
  password: string | undefined;
  schema: string;
  /** as node:tls takes it; false: in plain text */
  ssl: false | { rejectUnauthorized?: boolean; ca?: string; cert?: string; key?: string };
  /** of the session, as libpq takes them; no pooler does */
  options: string | undefined;
}

const PARAMETERS = ['schema', 'sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'host', 'port', 'user', 'options'];
const SSL_MODES = ['disable', 'require', 'verify-ca', 'verify-full', 'no-verify'];
const DEFAULT_SCHEMA = 'maint';
/** Postgres cuts longer names short, and would then look for another one. */
const NAME_BYTES = 63;

/** Whether a state is kept on Postgres. Needs no parsing: a path never begins so. */
export function isPostgres(state: string): boolean {
  return /^postgres(ql)?:/i.test(state);
}

/** E_STATE for what cannot be an address; never with the address in it, for that may hold a password. */
export function postgresPlace(state: string, from: '--state' | 'MAINT_STATE', env: Environment): PostgresPlace {
  const refused = (problem: string, allowed = 'allowed: postgres://USER@HOST:PORT/DATABASE?schema=maint') =>
    new MaintError('E_STATE', `${from} ${problem}`, {
      details: [allowed],
      next: [advice(`${from === '--state' ? '--state ' : 'MAINT_STATE='}postgres://USER@HOST/DATABASE`)],
    });

  // an empty host before a user is what nobody else understands: postgres://ana@/app
  if (!/^postgres(ql)?:\/\//i.test(state)) throw refused('holds a postgres: address without its two slashes');
  if (!URL.canParse(state)) {
    const several = /^[^/?#]*\/\/[^/?#]*,/.test(state);
    throw refused(several ? 'names several hosts; one is taken' : 'holds an address that cannot be read');
  }
  const url = new URL(state);
  const given = (name: string) => url.searchParams.get(name) || undefined;
  const decoded = (text: string) => {
    try {
      return decodeURIComponent(text);
    } catch {
      throw refused('holds a badly encoded address (a % in a name or password is written %25)');
    }
  };

  for (const name of url.searchParams.keys()) {
    if (name === 'password') throw refused('holds a password among its parameters; it belongs before the @');
    if (PARAMETERS.includes(name)) continue;
    throw refused(`has an unknown parameter ${name}`, `allowed: ${PARAMETERS.join(', ')}`);
  }
  if (url.hash) throw refused('holds a # that is not encoded (in a password: %23)');
  if (from === '--state' && url.password)
    throw refused(
      'holds a password, which everybody on this machine could read in the list of processes',
      'allowed: the password in MAINT_STATE, or in PGPASSWORD',
    );

  const host = given('host') ?? (decoded(url.hostname).replace(/^\[(.*)\]$/, '$1') || env['PGHOST'] || 'localhost');
  if (host.includes(',')) throw refused('names several hosts; one is taken');
  const portText = given('port') ?? (url.port || env['PGPORT'] || '5432');
  const port = Number(portText);
  if (!/^\d+$/.test(portText) || port < 1 || port > 65_535) throw refused(`has no port: ${portText}`);
  const user = decoded(url.username) || given('user') || env['PGUSER'] || env['USER'] || userName();
  if (user === undefined) throw refused('names no user, and this uid has no name that could stand in');
  const path = url.pathname.length > 1 ? url.pathname : `/${encodeURIComponent(env['PGDATABASE'] || user)}`;
  const database = decoded(path.slice(1));
  if (database.includes('/')) throw refused('holds more than a database behind its host');
  const schema = given('schema') ?? DEFAULT_SCHEMA;
  if (Buffer.byteLength(schema) > NAME_BYTES || schema.includes('\0') || /^(pg_|information_schema$)/.test(schema))
    throw refused(
      `cannot use the schema ${JSON.stringify(schema)}`,
      `allowed: up to ${NAME_BYTES} bytes, and not one of the server's own (pg_…)`,
    );
  return {
    // the same words as a step on this server has, for the rule that no wall may close the state
    address: `postgres ${host.includes(':') ? `[${host}]` : host}:${port}${path} schema ${schema}`,
    ...{ host, port, database, user, schema },
    password: decoded(url.password) || env['PGPASSWORD'] || undefined,
    ssl: tls(),
    options: given('options'),
  };

  function tls(): PostgresPlace['ssl'] {
    const files = { ca: given('sslrootcert'), cert: given('sslcert'), key: given('sslkey') };
    const mode =
      given('sslmode') ?? (env['PGSSLMODE'] || (Object.values(files).some(Boolean) ? 'verify-full' : 'disable'));
    if (!SSL_MODES.includes(mode)) {
      const silent = mode === 'allow' || mode === 'prefer';
      throw refused(
        `has sslmode=${mode}${silent ? ', which goes on in plain text where TLS cannot be had' : ''}`,
        `allowed: ${SSL_MODES.join(', ')}`,
      );
    }
    if (mode === 'disable') return false;
    const read: Record<string, string> = {};
    for (const [name, path] of Object.entries(files)) {
      if (path === undefined || (name === 'ca' && path === 'system')) continue;
      try {
        read[name] = readFileSync(path, 'utf8');
      } catch (error) {
        const why = (error as NodeJS.ErrnoException).code ?? 'an error';
        throw refused(`names a file of certificates that cannot be read: ${path} (${why})`);
      }
    }
    return { ...read, ...(mode === 'no-verify' ? { rejectUnauthorized: false } : {}) };
  }
}
