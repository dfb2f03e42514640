// What of a surface goes together. Each rule stands for a write that would be lost, applied twice, or sent with somebody
// else's rights; so the file is refused, and the guard never has to guess.
import { HEADER_NAME, HEADER_VALUE } from '../engine/headers.ts';
import { ALWAYS_CREDENTIALS, isCredential } from './credentials.ts';
import type { Located, Report } from './document.ts';
import { quoted } from './problems.ts';

/** They mean something only where a write is stored. */
const OF_BUFFER = ['order', 'tenant', 'key', 'credential', 'keep_headers', 'not_credentials', 'max_bytes'] as const;
const BY_NAME = new Set(['tool', 'job']);
const BY_REQUEST = new Set(['http', 'graphql']);
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS']);

/** The replay has its own. */
const SET_ANEW = new Set([
  'idempotency-key',
  'maint-replay',
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'upgrade',
  'expect',
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
]);

/** Whether everything fits; what does not is told, each at its place. */
export function checkSurfaceRules(item: Located, report: Report): boolean {
  let good = true;
  const tell: Report = (at, problem) => {
    good = false;
    report(at, problem);
  };
  checkMatch(item, tell);
  checkDisposition(item, tell);
  checkBuffered(item, tell);
  return good;
}

function get(item: Located | undefined, ...path: string[]): Located | undefined {
  let at = item;
  for (const key of path) at = at?.keys?.get(key);
  return at;
}

function textOf(item: Located, ...path: string[]): string | undefined {
  const value = get(item, ...path)?.value;
  return typeof value === 'string' ? value : undefined;
}

function misplaced(at: Located, report: Report, why: string, allowed: string): void {
  const key = at.path.slice(at.path.lastIndexOf('.') + 1);
  report(at, { key: true, code: 'misplaced', message: `means nothing here: ${why}`, found: key, allowed });
}

/** By the request, by the name of a call, or by either. */
function checkMatch(item: Located, report: Report): void {
  const kind = textOf(item, 'kind');
  const match = get(item, 'match');
  if (!match?.keys || kind === undefined) return;
  const named = match.keys.get('names');
  const path = match.keys.get('path');
  const missing = (key: string, allowed: string) =>
    report(match, { path: `${match.path}.${key}`, code: 'missing', message: 'is missing', allowed });
  if (BY_NAME.has(kind)) {
    for (const key of ['methods', 'path', 'operations']) {
      const at = match.keys.get(key);
      if (at) misplaced(at, report, `a ${kind} is matched by the name of its call`, 'names: [send_mail]');
    }
    if (!named) missing('names', 'a list, like [send_mail, "crm.*"]');
    const canary = get(item, 'canary');
    if (canary) misplaced(canary, report, `a ${kind} has no address to send one to`, 'with kind: http');
    const status = get(item, 'status');
    if (status) misplaced(status, report, `a ${kind} is not answered over HTTP`, 'with kind: http');
    return;
  }
  if (BY_REQUEST.has(kind)) {
    if (named) misplaced(named, report, `${kind} is matched by its path`, 'with kind: tool, job, vector or kv');
    if (!path) missing('path', 'a path that begins with /');
  } else if (!path && !named) missing('path', 'a path that begins with /, or names: a list of wrapped calls');
  if (path && kind !== 'graphql' && !match.keys.has('methods')) missing('methods', 'a list, like [POST, PUT]');
  const methods = match.keys.get('methods');
  if (methods && !path && !BY_REQUEST.has(kind)) misplaced(methods, report, 'there is no path', 'with match.path');
  const operations = match.keys.get('operations');
  if (operations && kind !== 'graphql')
    misplaced(operations, report, `${kind} has no operations`, 'with kind: graphql');
  const canary = get(item, 'canary');
  if (canary && !path && !BY_REQUEST.has(kind))
    misplaced(canary, report, 'without a path there is no address to send one to', 'with match.path');
}

function checkDisposition(item: Located, report: Report): void {
  const disposition = textOf(item, 'disposition') ?? 'refuse';
  const status = get(item, 'status');
  if (disposition === 'pass') {
    for (const key of ['status', 'canary']) {
      const at = get(item, key);
      if (at) misplaced(at, report, 'this surface is not refused', 'with disposition: refuse');
    }
    const operations = get(item, 'match', 'operations');
    if (operations) misplaced(operations, report, 'this surface passes whole', 'with disposition: refuse');
    for (const at of get(item, 'match', 'names')?.items ?? [])
      if (typeof at.value === 'string' && at.value.endsWith('*'))
        report(at, {
          code: 'invalid',
          message: 'passes, and what passes is exact',
          found: quoted(at.value),
          allowed: 'whole names',
        });
  }
  if (status?.value === 204 && disposition !== 'drop' && disposition !== 'pass')
    report(status, {
      code: 'invalid',
      message: 'tells the client that the write was done',
      found: '204',
      allowed: '503, 423, or 204 with disposition: drop',
    });
  const purpose = get(item, 'purpose');
  if (purpose && typeof purpose.value === 'string' && (disposition === 'buffer' || disposition === 'drop'))
    report(purpose, {
      code: 'invalid',
      message:
        disposition === 'buffer'
          ? 'cannot be buffered: the client waits for its answer, and the credentials in it are not stored'
          : 'cannot be dropped: somebody must be told that it was not done',
      found: purpose.value,
      allowed: 'disposition: pass or refuse',
    });
}

/**
 * What no guard starts with: a pattern that servers may read in two ways, or one that lets more through than was meant.
 * Not asked of what a window has stored: an earlier release took it, and the window must end.
 */
export function checkPattern(item: Located, report: Report): void {
  const path = get(item, 'match', 'path');
  if (typeof path?.value !== 'string' || !path.value.startsWith('/')) return;
  const segments = path.value.split('/').filter((segment) => segment !== '');
  const wrong = (message: string, found: string, allowed: string) =>
    report(path, { code: 'invalid', message, found: quoted(found), allowed });
  const odd = segments.find((segment) => !segment.startsWith(':') && /[%;\\]|^\.+$/.test(segment));
  if (odd !== undefined)
    wrong('has a segment that servers read in two ways', odd, 'plain words, without %, ;, \\ and without . and ..');
  // How other tools write a parameter: here it would be a word that no path has.
  const foreign = segments.find((segment) => /^(\{.*\}|<.*>|\[.*\]|\(.*\))$/.test(segment));
  if (foreign !== undefined) {
    const name = /\w+(?=\W*$)/.exec(foreign)?.[0] ?? 'id';
    wrong('has a segment that is not a parameter here', foreign, `:${/^\d/.test(name) ? 'id' : name}`);
  }
  const params = segments.filter((segment) => segment.startsWith(':')).map((segment) => segment.replace(/\?$/, ''));
  const twice = params.find((param, i) => params.indexOf(param) < i);
  if (twice !== undefined) wrong('has a parameter twice', twice, 'each name once');
  for (const [name, at] of get(item, 'canary', 'headers')?.keys ?? []) {
    if (HEADER_NAME.test(name) && (typeof at.value !== 'string' || HEADER_VALUE.test(at.value))) continue;
    report(at, { key: true, code: 'invalid', message: 'is not a header', found: quoted(name), allowed: 'name: value' });
  }
  if (textOf(item, 'disposition') === 'pass' && /^(\*|:\w+\?)$/.test(segments.at(-1) ?? ''))
    wrong('passes, and what passes is exact', path.value, 'whole segments and :param');
}

function checkBuffered(item: Located, report: Report): void {
  const disposition = textOf(item, 'disposition') ?? 'refuse';
  const credential = get(item, 'credential');
  if (disposition !== 'buffer') {
    for (const key of OF_BUFFER) {
      const at = get(item, key);
      if (at) misplaced(at, report, 'nothing of this surface is stored', 'with disposition: buffer');
    }
    return;
  }
  if (credential?.value === 'user')
    report(credential, {
      code: 'invalid',
      message: 'cannot be replayed: the credential of a user is never stored, and would have expired',
      found: 'user',
      allowed: 'service, or disposition: refuse',
    });
  const kind = textOf(item, 'kind') ?? 'http';
  if (BY_NAME.has(kind) || (!BY_REQUEST.has(kind) && !get(item, 'match', 'path'))) {
    report(get(item, 'disposition')!, {
      code: 'invalid',
      message: 'is for requests: the call of a function cannot be stored and sent again',
      found: 'buffer',
      allowed: 'refuse, drop, pass',
    });
  }
  for (const method of kind === 'graphql' ? [] : (get(item, 'match', 'methods')?.items ?? [])) {
    if (typeof method.value !== 'string' || !SAFE.has(method.value)) continue;
    report(method, {
      code: 'invalid',
      message: 'cannot be buffered: who reads has no use for a receipt',
      found: quoted(method.value),
      allowed: 'POST, PUT, PATCH, DELETE',
    });
  }
  const params = [...(textOf(item, 'match', 'path') ?? '').matchAll(/(?<=\/):(\w+)/g)].map(([, name]) => name!);
  for (const key of ['order', 'tenant']) checkPart(get(item, key), params, report);
  checkKept(get(item, 'keep_headers'), report);
  checkBufferedCanary(item, report);
}

/** One place of a request, and one that is there. */
function checkPart(at: Located | undefined, params: readonly string[], report: Report): void {
  if (!at?.keys) return;
  const param = at.keys.get('param');
  const header = at.keys.get('header');
  if (Boolean(param) === Boolean(header)) {
    report(at, {
      code: 'invalid',
      message: param ? 'is two places of a request' : 'is no place of a request',
      found: param ? 'param and header' : 'neither param nor header',
      allowed: '{ param: … } or { header: … }',
    });
    return;
  }
  if (param && typeof param.value === 'string' && !params.includes(param.value))
    report(param, {
      code: 'invalid',
      message: 'is no parameter of its path',
      found: quoted(param.value),
      allowed: params.length > 0 ? params.join(', ') : 'a path with a :param, or { header: … }',
    });
}

function checkKept(at: Located | undefined, report: Report): void {
  for (const header of at?.items ?? []) {
    if (typeof header.value !== 'string' || !SET_ANEW.has(header.value.toLowerCase())) continue;
    report(header, {
      code: 'invalid',
      message: 'is set anew when the write is applied',
      found: quoted(header.value),
      allowed: 'other headers',
    });
  }
}

/**
 * What a surface stores must not be a credential: its kept headers, its tenant and order, and the parameters of its path. Not asked
 * of what a window has stored: an earlier release took it, and the window must end.
 */
export function checkCredentials(item: Located, report: Report): void {
  if (textOf(item, 'disposition') !== 'buffer') return;
  const except = new Set<string>();
  for (const name of get(item, 'not_credentials')?.items ?? []) {
    if (typeof name.value !== 'string') continue;
    except.add(name.value.toLowerCase());
    if (!ALWAYS_CREDENTIALS.has(name.value.toLowerCase())) continue;
    report(name, {
      code: 'invalid',
      message: 'is always a credential',
      found: quoted(name.value),
      allowed: 'names that only look like one',
    });
  }
  const places = [
    ...['order', 'tenant'].flatMap((key) => [get(item, key, 'header'), get(item, key, 'param')]),
    ...(get(item, 'keep_headers')?.items ?? []),
  ];
  const allowed = 'a name that is not a credential, or not_credentials: [it] where it only looks like one';
  for (const at of places) {
    if (typeof at?.value !== 'string' || !isCredential(at.value, except)) continue;
    report(at, { code: 'invalid', message: 'is a credential, and would be stored', found: quoted(at.value), allowed });
  }
  const path = get(item, 'match', 'path');
  const params = [...(textOf(item, 'match', 'path') ?? '').matchAll(/(?<=\/):(\w+)/g)].map(([, name]) => name!);
  const found = params.find((name) => isCredential(name, except));
  if (path && found !== undefined) {
    const message = 'has a parameter that is a credential, and the path is stored';
    report(path, { code: 'invalid', message, found: quoted(`:${found}`), allowed });
  }
}

/** Nobody may find the prober's own write among those of the users. */
function checkBufferedCanary(item: Located, report: Report): void {
  const canary = get(item, 'canary');
  if (!canary) return;
  if (textOf(item, 'key') === 'content')
    report(canary, {
      key: true,
      code: 'invalid',
      message: 'would be stored and applied: this surface makes a key for every write that has none',
      found: 'canary',
      allowed: 'key: header, or no canary',
    });
  for (const [name, at] of get(canary, 'headers')?.keys ?? []) {
    if (name.toLowerCase() !== 'idempotency-key') continue;
    report(at, {
      key: true,
      code: 'invalid',
      message: 'would make the canary a write that is stored and applied',
      found: name,
      allowed: 'a canary without it',
    });
  }
}
