// Which requests write, and what becomes of them. Refusing asks what the path could be to any server; letting an unsafe
// method through, keeping it for later and pretending that it was done look at one exact path. A mistake is then a
// refused write, never an admitted one.
import { ALWAYS_CREDENTIALS, isCredential } from './credentials.ts';
import { isRecord } from './document.ts';
import { compileOperations, targetWrites, type WritingOperations } from './graphql.ts';
import { listDigest } from './list.ts';
import { couldBe, fold, isPlain, oddPath, plainSegment, rawPath, usualSegments } from './paths.ts';

/** Where a value of a request is: a parameter of `match.path`, or a header. */
export type Where = { readonly param: string } | { readonly header: string };

/** One way to write, as in surfaces.yaml. Fields that are not named here are ignored. */
export interface Surface {
  /** Unique. */
  readonly name: string;
  /**
   * `http` (default) and `graphql` are matched by their requests, `tool` and `job` by the names given to `guard.tool`,
   * `guard.job`, `guard.call` and `guard.scheduler`; `vector` and `kv` by either.
   */
  readonly kind?: string;
  readonly match?: {
    /**
     * Default: every method that is not safe; GraphQL: GET and POST. `GET` includes the other safe methods, of which a
     * handler of all methods would make the same.
     */
    readonly methods?: readonly string[];
    /** Whole segments, `:param`, `:param?`, and a final `*` for any rest, also an empty one. */
    readonly path?: string;
    /** Names of calls; a final `*` is a prefix. Default: the surface's own name. */
    readonly names?: readonly string[];
    /** GraphQL: the operations that write, `mutation` or `query:Name`. Default `[mutation]`. */
    readonly operations?: readonly string[];
  };
  /**
   * While the system is read-only: `refuse` (default); `buffer`: kept in the guard's queue, answered with 202; `drop`:
   * refused, or with `status: 204` answered as if done; `pass`: not a write although its method is unsafe (a search by
   * POST), or one that must work (a logout at a session store outside). What passes has neither `:param?` nor `*`.
   */
  readonly disposition?: string;
  /** 503 or 423; with `drop` also 204. Default: the guard's own. */
  readonly status?: number;
  /** With `buffer`: writes that share this value are applied in the order of their acceptance. Default: no order. */
  readonly order?: Where;
  /** Keys of different tenants never meet. Default: one tenant. */
  readonly tenant?: Where;
  /** `header` (default): a buffered write needs an Idempotency-Key. `content`: without one, a key is derived from the request. */
  readonly key?: string;
  /** `service` (default): the user's credentials are not stored, the replay brings the service's own. `user` cannot be buffered. */
  readonly credential?: string;
  /** Headers that are stored beside those that say what the body is. */
  readonly keep_headers?: readonly string[];
  /** Names of headers, parameters and of queries that look like a credential's and are not. */
  readonly not_credentials?: readonly string[];
  /** Of one buffered body, or of a GraphQL request that has to be looked at. Default 1 MiB. */
  readonly max_bytes?: number;
  /** For people. */
  readonly owner?: string;
  readonly purpose?: string;
  readonly canary?: unknown;
}

export interface WriteRequest {
  readonly method: string;
  /** The request target as it came: path and query, or the absolute form. */
  readonly url: string;
  /** The target after the framework rewrote it, where that differs. */
  readonly routedUrl?: string | undefined;
  readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>> | undefined;
}

export interface Verdict {
  readonly write: boolean;
  readonly surface: Rule | null;
  /**
   * What becomes of it while somebody holds. `ask`: the body decides whether it writes; `ifWrite` what becomes of it then.
   * Everything else passes.
   */
  readonly how: 'pass' | 'refuse' | 'drop' | 'buffer' | 'ask';
  readonly ifWrite: 'refuse' | 'drop' | 'buffer';
  /** The parameters of an exact path, decoded. */
  readonly params: Readonly<Record<string, string>>;
}

export interface Rule {
  readonly name: string;
  readonly disposition: 'refuse' | 'buffer' | 'drop' | 'pass';
  readonly status: 503 | 423 | 204 | null;
  /** null: every unsafe method. */
  readonly methods: ReadonlySet<string> | null;
  readonly pattern: readonly Part[];
  /** The same, for a plain path. */
  readonly plain: RegExp;
  /** The fixed segments, folded: every path of this rule has them in it, in this order. */
  readonly words: readonly string[];
  readonly operations: WritingOperations | null;
  readonly order: Where | null;
  readonly tenant: Where | null;
  readonly key: 'header' | 'content';
  readonly keepHeaders: readonly string[];
  readonly notCredentials: ReadonlySet<string>;
  readonly maxBytes: number;
}

/** A tool, a job, a vector or a key-value mutation that is called by name. */
export interface NameRule {
  readonly name: string;
  readonly kind: string;
  /** `drop` with status 204 only: without it a dropped call is refused like any other. */
  readonly disposition: 'refuse' | 'drop' | 'pass';
  readonly names: ReadonlySet<string>;
  readonly prefixes: readonly string[];
}

export interface Rules {
  readonly refusing: readonly Rule[];
  readonly passing: readonly Rule[];
  readonly named: readonly NameRule[];
  /** Those that are buffered in order: after the window they are, as long as their own earlier ones wait. */
  readonly ordered: readonly Rule[];
  readonly buffers: boolean;
  readonly health: ReadonlySet<string>;
  /** Some surface names a safe method that writes: only then do reads need a look at their path. */
  readonly safeWrites: boolean;
  /** A CORS layer answers preflights, so that no handler sees them. */
  readonly preflightsPass: boolean;
  /** All names, in the order of the file. */
  readonly names: readonly string[];
  /** tells this list from another one */
  readonly digest: string;
  readonly index: Index;
}

/** By the first segment of a plain path, in lower case: the rules that may fit, in the order of the file. */
interface Index {
  readonly byFirst: ReadonlyMap<string, readonly Rule[]>;
  readonly others: readonly Rule[];
}

type Part =
  | { readonly is: 'text'; readonly text: string; readonly exact: string }
  | { readonly is: 'one' | 'maybe'; readonly param: string }
  | { readonly is: 'rest' };

/** RFC 9110, section 9.2.1. */
export const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);
const OVERRIDES = ['x-http-method-override', 'x-http-method', 'x-method-override'];
const HTTP_KINDS = new Set(['http', 'graphql', 'vector', 'kv']);
const NAME_KINDS = new Set(['tool', 'job', 'vector', 'kv']);
const KINDS = ['http', 'graphql', 'tool', 'job', 'vector', 'kv'];
const DISPOSITIONS = ['refuse', 'buffer', 'drop', 'pass'] as const;
const NO_PARAMS: Readonly<Record<string, string>> = Object.freeze({});
const NO_WRITE: Verdict = Object.freeze({
  write: false,
  surface: null,
  how: 'pass',
  ifWrite: 'refuse',
  params: NO_PARAMS,
});
const UNNAMED_WRITE: Verdict = Object.freeze({
  write: true,
  surface: null,
  how: 'refuse',
  ifWrite: 'refuse',
  params: NO_PARAMS,
});
const NO_RULES: readonly Rule[] = Object.freeze([]);
/** Where a query begins; to some servers also at `;` or `#`, or at what is encoded. */
const QUERY_START = /[?;#]|%(?:25)*(?:3f|3b|23)/i;
const MIB = 1024 * 1024;
const NO_NAMES: ReadonlySet<string> = new Set();

/** Of the connection and not of the request, or set anew by the replay. */
const NEVER_KEPT = new Set([
  ...['connection', 'content-length', 'expect', 'host', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade'],
  ...['idempotency-key', 'maint-replay', ...OVERRIDES],
]);

/**
 * Prepares the surfaces for matching.
 *
 * @throws TypeError naming the surface and the field, where the surfaces cannot be read: a guard that ignored one would
 * let writes through
 */
export function compileSurfaces(input: unknown, healthPaths: readonly string[], preflightsPass = false): Rules {
  const list = isRecord(input) ? input.surfaces : input;
  if (list !== undefined && !Array.isArray(list)) throw new TypeError('surfaces: a list, or { surfaces: [...] }');
  const refusing: Rule[] = [];
  const passing: Rule[] = [];
  const named: NameRule[] = [];
  const names = new Set<string>();
  for (const [index, surface] of (list ?? []).entries()) {
    const where = `surfaces[${index}]`;
    if (!isRecord(surface)) throw new TypeError(`${where}: an object with name, kind and match`);
    const { name } = surface;
    if (typeof name !== 'string' || name === '') throw new TypeError(`${where}.name: a text`);
    if (names.has(name)) throw new TypeError(`${where}.name: ${name} is the name of another surface`);
    names.add(name);
    const kind = surface.kind ?? 'http';
    if (typeof kind !== 'string' || !KINDS.includes(kind)) {
      throw new TypeError(`${where}.kind (${name}): ${String(kind)}, allowed are ${KINDS.join(', ')}`);
    }
    const match = surface.match;
    const byPath = isRecord(match) && match.path !== undefined;
    if (HTTP_KINDS.has(kind) && (byPath || !NAME_KINDS.has(kind))) {
      const rule = compileRule(surface, name, kind, where);
      (rule.disposition === 'pass' ? passing : refusing).push(rule);
    }
    if (NAME_KINDS.has(kind) && (!byPath || !HTTP_KINDS.has(kind) || (isRecord(match) && match.names !== undefined))) {
      named.push(compileNames(surface, name, kind, where, byPath));
    }
  }
  const safeWrites = refusing.some((rule) => rule.methods !== null && [...rule.methods].some((m) => SAFE.has(m)));
  return {
    refusing,
    passing,
    named,
    ordered: refusing.filter((rule) => rule.disposition === 'buffer' && rule.order !== null),
    buffers: refusing.some((rule) => rule.disposition === 'buffer'),
    health: new Set(healthPaths),
    safeWrites,
    preflightsPass,
    names: [...names],
    digest: listDigest(list ?? []),
    index: indexOf([...refusing, ...passing]),
  };
}

/** Does this request write, and through which surface? */
export function judge(rules: Rules, request: WriteRequest): Verdict {
  const { method } = request;
  const other = overridden(request);
  const safe = SAFE.has(method) && (other === null || SAFE.has(other));
  const path = rawPath(request.url);
  const rewritten = request.routedUrl === undefined ? path : rawPath(request.routedUrl);
  const paths = rewritten === path ? [path] : [path, rewritten];
  if (safe && other === null) {
    if ((method === 'GET' || method === 'HEAD') && paths.every((each) => rules.health.has(each))) return NO_WRITE;
    if (rules.preflightsPass && isPreflight(request)) return NO_WRITE;
  }
  if (safe && !rules.safeWrites) return NO_WRITE;
  for (const each of paths) {
    const possible = refusingRules(rules, method, other, each);
    if (possible === 'unclear') return UNNAMED_WRITE;
    const found = possible.find((rule) => !(rule.operations && safe) || asksToWrite(rule.operations, request));
    if (found === undefined) continue;
    const exact = paths.length > 1 || other !== null ? null : exactParams(found, each);
    return verdictOf(found, request, exact);
  }
  if (safe) return NO_WRITE;
  if (other !== null || paths.length > 1 || !isPlain(path)) return UNNAMED_WRITE;
  // Exact to the letter, unlike refusing.
  const passes = rules.passing.find((rule) => covers(rule, method) && exactParams(rule, path) !== null);
  return passes ? { ...NO_WRITE, surface: passes } : UNNAMED_WRITE;
}

/** The cheap form of `judge` for requests that come while nobody holds: only in-flight writes are counted then. */
export function writes(rules: Rules, request: WriteRequest): boolean {
  if (SAFE.has(request.method)) return rules.safeWrites && judge(rules, request).write;
  return rules.passing.length === 0 || judge(rules, request).write;
}

/**
 * The surface that names this request, for the counts: cheap, and not for a decision. A path that is not plain is looked
 * at as it came.
 */
export function surfaceSeen(rules: Rules, request: WriteRequest): Rule | null {
  const path = rawPath(request.url);
  for (const rule of candidates(rules.index, path)) {
    if (covers(rule, request.method) && rule.plain.test(path)) return rule;
  }
  return null;
}

/**
 * Whether what `surfaceSeen` found with the disposition `pass` passes: the cheap half of `judge`, which knows more ways to
 * say yes. Where this says yes, `judge` does.
 */
export function passesAsSeen(rule: Rule, request: WriteRequest): boolean {
  const { url, routedUrl = url } = request;
  const path = rawPath(url);
  return routedUrl === url && isPlain(path) && overridden(request) === null && exactParams(rule, path) !== null;
}

/** An upgrade (a WebSocket) may carry any number of writes: it goes on where a surface lets GET pass on exactly this path. */
export function upgradePasses(rules: Rules, request: WriteRequest): boolean {
  const path = rawPath(request.url);
  if (request.method !== 'GET' || overridden(request) !== null || !isPlain(path)) return false;
  if (rules.safeWrites && judge(rules, request).write) return false;
  return rules.passing.some((rule) => rule.methods?.has('GET') && exactParams(rule, path) !== null);
}

/** What becomes of a call while somebody holds; null: no surface names it, so it is refused. */
export function judgeCall(rules: Rules, kind: string, name: string): NameRule | null {
  for (const rule of rules.named) {
    if (rule.kind !== kind) continue;
    if (rule.names.has(name) || rule.prefixes.some((prefix) => name.startsWith(prefix))) return rule;
  }
  return null;
}

/** What a request has where the surface says; '' where it has nothing there. */
export function valueAt(
  where: Where | null,
  params: Readonly<Record<string, string>>,
  headers: WriteRequest['headers'],
): string {
  if (where === null) return '';
  if ('param' in where) return params[where.param] ?? '';
  const value = headers?.[where.header];
  return value === undefined ? '' : String(value);
}

/** The rule of a path that all servers read alike, or every rule that some server could find in it. */
function refusingRules(rules: Rules, method: string, other: string | null, path: string): readonly Rule[] | 'unclear' {
  const applies = (rule: Rule) => covers(rule, method) || (other !== null && covers(rule, other));
  if (isPlain(path)) {
    for (const rule of candidates(rules.index, path)) {
      if (rule.disposition !== 'pass' && applies(rule) && rule.plain.test(path)) return [rule];
    }
    return NO_RULES;
  }
  const possible = rules.refusing.filter(applies);
  if (possible.length === 0) return NO_RULES;
  const segments = usualSegments(path);
  if (segments !== null) {
    const found = possible.find((rule) => fits(rule.pattern, 0, segments, 0));
    return found ? [found] : NO_RULES;
  }
  const odd = oddPath(path);
  return odd === null ? 'unclear' : possible.filter((rule) => couldBe(odd, rule.words, mostSegments(rule.pattern)));
}

function mostSegments(pattern: readonly Part[]): number {
  return pattern.at(-1)?.is === 'rest' ? Number.POSITIVE_INFINITY : pattern.length;
}

/** By its query string. A safe method with a body is nothing that a client of GraphQL sends. */
function asksToWrite(operations: WritingOperations, { url, routedUrl = url, headers }: WriteRequest): boolean {
  if (hasBody(headers) || startsQueryOddly(url) || startsQueryOddly(routedUrl)) return true;
  return targetWrites(operations, url) || (routedUrl !== url && targetWrites(operations, routedUrl));
}

/** @param exact the parameters, or null where it is not sure that the service reads the target as the guard does */
function verdictOf(rule: Rule, request: WriteRequest, exact: Record<string, string> | null): Verdict {
  const ifWrite = exact === null || rule.disposition === 'pass' ? 'refuse' : rule.disposition;
  const params = exact ?? NO_PARAMS;
  const asks = rule.operations !== null && exact !== null && request.method === 'POST' && !request.url.includes('?');
  return { write: true, surface: rule, how: asks ? 'ask' : ifWrite, ifWrite, params };
}

function candidates(index: Index, path: string): readonly Rule[] {
  const end = path.indexOf('/', 1);
  const first = end < 0 ? path.slice(1) : path.slice(1, end);
  return index.byFirst.get(first.toLowerCase()) ?? index.others;
}

function indexOf(rules: readonly Rule[]): Index {
  const firsts = new Set(rules.map(firstText).filter((text) => text !== null));
  const byFirst = new Map([...firsts].map((first) => [first, rules.filter((r) => (firstText(r) ?? first) === first)]));
  return { byFirst, others: rules.filter((rule) => firstText(rule) === null) };
}

/** null: the first segment may be anything, or there is none. */
function firstText(rule: Rule): string | null {
  const part = rule.pattern[0];
  return part?.is === 'text' ? part.exact.toLowerCase() : null;
}

function covers(rule: Rule, method: string): boolean {
  if (rule.methods === null) return !SAFE.has(method);
  // Frameworks answer HEAD with the handler of GET, and a handler of all methods answers the other safe ones too.
  return rule.methods.has(method) || (SAFE.has(method) && rule.methods.has('GET'));
}

/** A browser that asks whether it may ask. Both headers, since some CORS layers hand on what lacks one. */
function isPreflight({ method, headers }: WriteRequest): boolean {
  return (
    method === 'OPTIONS' && headers?.['access-control-request-method'] !== undefined && headers.origin !== undefined
  );
}

/** Something before the `?` at which some server begins the query, perhaps behind another one that decodes. */
function startsQueryOddly(url: string): boolean {
  const at = url.search(QUERY_START);
  return at >= 0 && url[at] !== '?';
}

function hasBody(headers: WriteRequest['headers']): boolean {
  const length = headers?.['content-length'];
  return headers?.['transfer-encoding'] !== undefined || (length !== undefined && length !== '0');
}

/** The method that a framework may take instead of the one on the request line; `?` where that is not clear. */
function overridden(request: WriteRequest): string | null {
  for (const name of OVERRIDES) {
    const value = request.headers?.[name];
    if (value) return String(Array.isArray(value) ? value[0] : value).toUpperCase();
  }
  const start = request.url.search(QUERY_START);
  if (start < 0) return null;
  const query = request.url.slice(start + 1);
  if (!/_method|%(?:5f|6d|4d|65|45|74|54|68|48|6f|4f|64|44)/i.test(query)) return null;
  const plain = query.replace(/%([0-7][0-9A-Fa-f])/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  const times = plain.match(/_method/gi)?.length ?? 0;
  if (times === 0) return null;
  // Of two some take the first, others the last; and one that stands elsewhere may be a parameter to somebody.
  const [, once] = /(?:^|&)_method=([A-Za-z]+)(?:&|$)/.exec(query) ?? [];
  return times === 1 && once !== undefined && request.url[start] === '?' ? once.toUpperCase() : '?';
}

function compileRule(surface: Record<string, unknown>, name: string, kind: string, where: string): Rule {
  const match = surface.match;
  if (!isRecord(match)) throw new TypeError(`${where}.match (${name}): an object with methods and path`);
  const { methods, path, operations } = match;
  if (methods !== undefined && !isTexts(methods)) {
    throw new TypeError(`${where}.match.methods (${name}): a list such as [POST, PUT]`);
  }
  const disposition = dispositionOf(surface, name, where);
  const status = statusOf(surface, name, where, disposition);
  const pattern = compilePath(path, `${where}.match.path (${name})`, disposition === 'pass');
  const params = new Set(pattern.flatMap((part) => ('param' in part ? [part.param] : [])));
  const writing = kind === 'graphql' ? operationsOf(operations, `${where}.match.operations (${name})`) : null;
  if (kind !== 'graphql' && operations !== undefined) {
    throw new TypeError(`${where}.match.operations (${name}): only with kind: graphql`);
  }
  const buffers = disposition === 'buffer';
  const notCredentials = exceptionsOf(surface.not_credentials, `${where}.not_credentials (${name})`);
  const stored = (value: unknown, key: string): Where | null => {
    const part = whereOf(value, params, `${where}.${key} (${name})`);
    noCredential(part && 'header' in part ? [part.header] : [], notCredentials, `${where}.${key} (${name})`);
    return part;
  };
  const order = stored(surface.order, 'order');
  if (buffers) noCredential(params, notCredentials, `${where}.match.path (${name})`);
  if (order && !buffers) throw new TypeError(`${where}.order (${name}): only with disposition: buffer`);
  const { key = 'header', credential = 'service', keep_headers = [], max_bytes = MIB } = surface;
  if (key !== 'header' && key !== 'content') {
    throw new TypeError(`${where}.key (${name}): ${String(key)}, allowed are header and content`);
  }
  if (credential !== 'service' && credential !== 'user') {
    throw new TypeError(`${where}.credential (${name}): ${String(credential)}, allowed are service and user`);
  }
  if (buffers && credential === 'user') {
    throw new TypeError(
      `${where}.credential (${name}): user: its replay would need the user's own credential, which is never stored; refuse it instead of buffering`,
    );
  }
  if (!isTexts(keep_headers)) throw new TypeError(`${where}.keep_headers (${name}): a list such as [x-trace-id]`);
  const keepHeaders = keep_headers.map((header) => header.toLowerCase());
  for (const header of keepHeaders) {
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(header) || NEVER_KEPT.has(header) || isCredential(header, notCredentials)) {
      throw new TypeError(`${where}.keep_headers (${name}): ${header} is never stored`);
    }
  }
  if (typeof max_bytes !== 'number' || !Number.isInteger(max_bytes) || max_bytes < 1) {
    throw new TypeError(`${where}.max_bytes (${name}): ${String(max_bytes)}, allowed is a whole number from 1`);
  }
  return {
    name,
    disposition,
    status,
    methods: methods !== undefined ? new Set(methods.map((m) => m.toUpperCase())) : writing && new Set(['GET', 'POST']),
    pattern,
    plain: plainPattern(pattern),
    words: pattern.flatMap((part) => (part.is === 'text' ? [part.text] : [])),
    operations: writing,
    order,
    tenant: stored(surface.tenant, 'tenant'),
    key,
    keepHeaders,
    notCredentials,
    maxBytes: max_bytes,
  };
}

function compileNames(
  surface: Record<string, unknown>,
  name: string,
  kind: string,
  where: string,
  alsoByPath: boolean,
): NameRule {
  const { names = [name], path } = isRecord(surface.match) ? surface.match : {};
  if (!isTexts(names) || names.length === 0)
    throw new TypeError(`${where}.match.names (${name}): a list such as [send_mail, "crm.*"]`);
  if (path !== undefined && !HTTP_KINDS.has(kind)) {
    throw new TypeError(`${where}.match.path (${name}): a ${kind} is matched by names`);
  }
  const disposition = dispositionOf(surface, name, where);
  if (disposition === 'buffer' && !alsoByPath) {
    throw new TypeError(
      `${where}.disposition (${name}): buffer: only a request can be kept and sent again, not a call`,
    );
  }
  const silent = statusOf(surface, name, where, disposition) === 204;
  for (const each of names) {
    const star = each.indexOf('*');
    if (each === '' || (star >= 0 && star < each.length - 1)) {
      throw new TypeError(`${where}.match.names (${name}): ${each}, * stands only at the end`);
    }
    if (star >= 0 && disposition === 'pass') {
      throw new TypeError(`${where}.match.names (${name}): what passes is exact, without *, in ${each}`);
    }
  }
  return {
    name,
    kind,
    disposition: disposition === 'pass' ? 'pass' : silent ? 'drop' : 'refuse',
    names: new Set(names.filter((each) => !each.endsWith('*'))),
    prefixes: names.filter((each) => each.endsWith('*')).map((each) => each.slice(0, -1)),
  };
}

function dispositionOf(surface: Record<string, unknown>, name: string, where: string): Rule['disposition'] {
  const { disposition = 'refuse' } = surface;
  const known = DISPOSITIONS.find((each) => each === disposition);
  if (known) return known;
  throw new TypeError(
    `${where}.disposition (${name}): ${String(disposition)}, allowed are ${DISPOSITIONS.slice(0, -1).join(', ')} and pass`,
  );
}

function statusOf(
  surface: Record<string, unknown>,
  name: string,
  where: string,
  disposition: Rule['disposition'],
): Rule['status'] {
  const { status } = surface;
  if (status === undefined) return null;
  if (status === 503 || status === 423 || (status === 204 && disposition === 'drop')) return status;
  const allowed = disposition === 'drop' ? '503, 423 and 204' : '503 and 423';
  throw new TypeError(`${where}.status (${name}): ${String(status)}, allowed are ${allowed}`);
}

function operationsOf(operations: unknown, where: string): WritingOperations {
  if (operations === undefined) return { types: new Set(['mutation']), named: new Map() };
  const compiled = isTexts(operations) && operations.length > 0 ? compileOperations(operations) : null;
  if (compiled) return compiled;
  throw new TypeError(`${where}: ${JSON.stringify(operations)}, allowed is a list such as [mutation, "query:Recount"]`);
}

function whereOf(value: unknown, params: ReadonlySet<string>, where: string): Where | null {
  if (value === undefined) return null;
  if (isRecord(value) && typeof value.param === 'string' && value.header === undefined) {
    if (params.has(value.param)) return { param: value.param };
    throw new TypeError(`${where}: ${value.param} is no parameter of match.path`);
  }
  if (isRecord(value) && typeof value.header === 'string' && value.param === undefined) {
    return { header: value.header.toLowerCase() };
  }
  throw new TypeError(`${where}: { param: name } or { header: name }`);
}

function exceptionsOf(value: unknown, where: string): ReadonlySet<string> {
  if (value === undefined) return NO_NAMES;
  if (!isTexts(value)) throw new TypeError(`${where}: a list such as [x-session-kind]`);
  const names = value.map((name) => name.toLowerCase());
  const never = names.find((name) => ALWAYS_CREDENTIALS.has(name));
  if (never !== undefined) throw new TypeError(`${where}: ${never} is always a credential`);
  return new Set(names);
}

/** What a name of a buffered surface takes from a request is stored in clear. */
function noCredential(names: Iterable<string>, except: ReadonlySet<string>, where: string): void {
  for (const name of names) {
    if (isCredential(name, except)) throw new TypeError(`${where}: ${name} is a credential, and would be stored`);
  }
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string');
}

function compilePath(path: unknown, where: string, passes: boolean): Part[] {
  if (typeof path !== 'string' || !path.startsWith('/')) throw new TypeError(`${where}: a text that begins with /`);
  const parts = path.split('/').filter((part) => part !== '');
  const params = new Set<string>();
  return parts.map((part, index): Part => {
    if (/^:[A-Za-z_]\w*\??$/.test(part) || part === '*') {
      if (part === '*' && index < parts.length - 1)
        throw new TypeError(`${where}: * stands only at the end, in ${path}`);
      if (passes && /[?*]$/.test(part))
        throw new TypeError(`${where}: what passes is exact, without ${part}, in ${path}`);
      if (part === '*') return { is: 'rest' };
      const param = part.slice(1).replace('?', '');
      if (params.has(param)) throw new TypeError(`${where}: :${param} twice, in ${path}`);
      params.add(param);
      return { is: part.endsWith('?') ? 'maybe' : 'one', param };
    }
    if (/[:*?#%;\\]|^\.+$/.test(part)) {
      throw new TypeError(`${where}: ${part} in ${path}, allowed are whole segments, :param, :param? and a final *`);
    }
    return { is: 'text', text: fold(part), exact: part };
  });
}

function plainPattern(pattern: readonly Part[]): RegExp {
  const source = pattern.map((part) => {
    if (part.is === 'text') return `/${part.exact.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}`;
    return { one: '/[^/]+', maybe: '(?:/[^/]+)?', rest: '(?:/.*)?' }[part.is];
  });
  return new RegExp(`^${source.join('')}/?$`, 'i');
}

function fits(pattern: readonly Part[], p: number, way: readonly string[], w: number): boolean {
  const part = pattern[p];
  if (part === undefined) return w === way.length;
  if (part.is === 'rest') return true;
  if (part.is === 'text') return way[w] === part.text && fits(pattern, p + 1, way, w + 1);
  if (w < way.length && fits(pattern, p + 1, way, w + 1)) return true;
  return part.is === 'maybe' && fits(pattern, p + 1, way, w);
}

/** The parameters of a path that is there to the letter; null where it is not, or where servers could read it differently. */
function exactParams(rule: Rule, path: string): Record<string, string> | null {
  if (!path.startsWith('/')) return null;
  const given = path === '/' ? [] : path.slice(1).split('/');
  const decoded = given.map(plainSegment);
  if (decoded.includes(null)) return null;
  const params: Record<string, string> = {};
  return exactly(rule.pattern, 0, given, decoded as string[], 0, params) ? params : null;
}

function exactly(
  pattern: readonly Part[],
  p: number,
  given: readonly string[],
  decoded: readonly string[],
  w: number,
  params: Record<string, string>,
): boolean {
  const part = pattern[p];
  if (part === undefined) return w === given.length;
  if (part.is === 'rest') return true;
  if (part.is === 'text') {
    // A letter of the pattern beyond ASCII comes encoded.
    const same = given[w] === part.exact || (decoded[w] === part.exact && /[^\x20-\x7e]/.test(part.exact));
    return same && exactly(pattern, p + 1, given, decoded, w + 1, params);
  }
  if (w < given.length && exactly(pattern, p + 1, given, decoded, w + 1, params)) {
    params[part.param] = decoded[w] as string;
    return true;
  }
  return part.is === 'maybe' && exactly(pattern, p + 1, given, decoded, w, params);
}
