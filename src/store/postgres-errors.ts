// What is wrong with the server, in words, from SQLSTATE, from the system's codes and from pg's own messages.
import { MaintError } from '../errors/catalogue.ts';
import { EXIT } from '../errors/exit-codes.ts';
import { advice, type Next } from '../errors/next.ts';
import type { PostgresPlace } from './postgres-address.ts';

interface Words {
  is: string;
  next: string;
  /** somebody else is in the way: the same command may go through in a moment */
  busy?: true;
}

const AGAIN = 'run the same command again: it goes on from what is recorded';
const ELSEWHERE = 'check the address: --state, MAINT_STATE';
const PASSWORD = 'check the user, and the password in MAINT_STATE or PGPASSWORD';
const MODES = 'sslmode=verify-full with sslrootcert=FILE; or sslmode=no-verify, which anybody in between may answer';

const CODES: Readonly<Record<string, Words>> = {
  ECONNREFUSED: { is: 'is not there: nothing listens at that address', next: ELSEWHERE },
  ENOENT: { is: 'is not there: no such socket', next: ELSEWHERE },
  ENOTFOUND: { is: 'has a host name that does not resolve', next: ELSEWHERE },
  EAI_AGAIN: { is: 'has a host name that does not resolve at the moment', next: AGAIN },
  EHOSTUNREACH: { is: 'cannot be reached: no route to its host', next: ELSEWHERE },
  ENETUNREACH: { is: 'cannot be reached: no route to its network', next: ELSEWHERE },
  EACCES: { is: 'cannot be reached: not allowed for this user', next: ELSEWHERE },
  '28P01': { is: 'refuses the password', next: PASSWORD },
  '28000': { is: 'refuses this user, host or database', next: PASSWORD },
  '3D000': { is: 'has no such database', next: ELSEWHERE },
  '53300': { is: 'has no connection left', next: AGAIN },
  '53100': { is: 'is on a full disk', next: `make room, then ${AGAIN}` },
  '53200': { is: 'is out of memory', next: AGAIN },
  '57P01': { is: 'is being shut down', next: AGAIN },
  '57P02': { is: 'has crashed, and restarts', next: AGAIN },
  '57P03': { is: 'is starting up or shutting down', next: AGAIN },
  '57014': { is: 'did not get an answer ready in time', next: AGAIN },
  '25P03': { is: 'ended our transaction, which had paused for too long', next: AGAIN },
  '55P03': { is: 'is locked by another session', next: `${AGAIN}; who holds it: pg_stat_activity`, busy: true },
  '40001': { is: 'is written to by others at the same moment', next: AGAIN, busy: true },
  '40P01': { is: 'is written to by others at the same moment', next: AGAIN, busy: true },
  '25006': { is: 'takes no writes: a standby, or a server that is held read-only', next: ELSEWHERE },
  '22P05': { is: 'cannot hold every character: its encoding is not UTF8', next: ELSEWHERE },
};

const TLS_CODES =
  /^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_(GET|VERIFY)_\w+|CERT_\w+|ERR_TLS_CERT_ALTNAME_INVALID)$/;

/** Of no connection yet or a lost one: not of the server's answer. */
const BROKEN = /^(ECONNRESET|EPIPE|ETIMEDOUT|57P0[123]|25P03|08...)$/;
const BROKEN_MESSAGE = /Connection terminated|Client has encountered a connection error|not queryable/;
/** The server has rolled it back, and says that trying again may help. */
const ROLLED_BACK = /^(40001|40P01)$/;

/** A server, or the pooler before it, that restarts: nothing was sent to it. */
const RESTARTING = /^(ECONNREFUSED|ECONNRESET|ENOENT|57P0[123]|53300)$/;

/** When the same work may be done again, for nothing of it was committed. */
type Repeat = 'at once' | 'in a moment';
const repeatable = new WeakMap<object, Repeat>();
export function mayRepeat(error: unknown): Repeat | undefined {
  return typeof error === 'object' && error !== null ? repeatable.get(error) : undefined;
}

export const UNIQUE_VIOLATION = '23505';
export function sqlstate(error: unknown): string | undefined {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : undefined;
}

export class NoAnswer extends Error {
  readonly ms: number;
  constructor(ms: number) {
    super(`no answer within ${ms / 1000}s`);
    this.name = 'NoAnswer';
    this.ms = ms;
  }
}

/** Whether the connection is of no use any more. */
export function isBroken(error: unknown): boolean {
  const code = sqlstate(error);
  if (error instanceof NoAnswer) return true;
  return code === undefined ? BROKEN_MESSAGE.test((error as Error).message) : BROKEN.test(code);
}

/**
 * `known`: the server has answered before, so that its address is right.
 * `during`: what was asked when it went wrong. A commit that got no answer may have happened: nobody may repeat it.
 * A violated unique index is given back as it is.
 */
export function postgresError(
  place: PostgresPlace,
  error: unknown,
  during: 'connect' | 'query' | 'commit',
  known: boolean,
): Error {
  if (error instanceof MaintError) return error;
  const code = sqlstate(error);
  if (code === UNIQUE_VIOLATION) return error as Error;
  const lost = isBroken(error);
  if (during === 'commit' && lost) {
    return fail(place, error, {
      is: 'did not say whether it recorded the last entries',
      next: AGAIN,
    });
  }
  const words = wordsFor(place, error, code, during);
  const made = fail(place, error, known && words.next === ELSEWHERE ? { ...words, next: AGAIN } : words);
  const broke = during === 'query' && lost && !(error instanceof NoAnswer);
  if (broke || (code !== undefined && ROLLED_BACK.test(code))) repeatable.set(made, 'at once');
  else if (known && during === 'connect' && code !== undefined && RESTARTING.test(code))
    repeatable.set(made, 'in a moment');
  return made;
}

function wordsFor(place: PostgresPlace, error: unknown, code: string | undefined, during: string): Words {
  const { message } = error as Error;
  if (error instanceof NoAnswer) return { is: `did not answer within ${error.ms / 1000}s`, next: ELSEWHERE };
  if (/timeout exceeded|connection timeout|timeout expired/.test(message))
    return { is: 'did not answer in time', next: ELSEWHERE };
  if (/does not support SSL/.test(message))
    return { is: 'does not speak TLS', next: 'sslmode=disable, if plain text is right on the way there' };
  if (code !== undefined && TLS_CODES.test(code))
    return { is: 'has a certificate that this machine does not trust', next: MODES };
  if (/no encryption|SSL off|SSL required/i.test(message))
    return { is: 'takes no connection in plain text', next: 'add sslmode=verify-full to the address' };
  if (/SASL|password must be a/.test(message)) return { is: 'asks for a password', next: PASSWORD };
  if (/unsupported startup parameter/.test(message))
    return { is: 'is behind a pooler that takes no session options', next: 'leave options= and PGOPTIONS out' };
  if (/statement pooling/.test(message))
    return { is: 'is behind a pooler in statement mode', next: 'use pool_mode = transaction or session' };
  if (code === '42501') return { is: `does not let ${place.user} do this: ${message}`, next: 'docs/shared-state.md' };
  const words = code === undefined ? undefined : CODES[code];
  if (words) return words;
  if (isBroken(error)) return { is: `broke the connection${during === 'connect' ? ' at once' : ''}`, next: AGAIN };
  return { is: code === undefined ? `failed: ${message}` : `answered ${code}: ${message}`, next: ELSEWHERE };
}

function fail(place: PostgresPlace, cause: unknown, { is, next, busy }: Words): MaintError {
  return stateError(place, is, { next: [advice(next)], cause, ...(busy ? { exit: EXIT.BUSY } : {}) });
}

/** `is`: "refuses the password", after the state's address. */
export function stateError(
  place: PostgresPlace,
  is: string,
  more: { next: readonly Next[]; cause?: unknown; details?: readonly string[]; exit?: 75 },
): MaintError {
  const { cause, next, exit } = more;
  const said = cause instanceof Error && cause.message !== '' && !is.includes(cause.message) ? [cause.message] : [];
  return new MaintError('E_STATE', `the state at ${place.address} ${is}`, {
    details: [...said, ...(more.details ?? [])],
    next,
    ...(cause === undefined ? {} : { cause }),
    ...(exit === undefined ? {} : { exit }),
  });
}
