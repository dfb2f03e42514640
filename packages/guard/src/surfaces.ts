// Which requests write. Refusing looks at every reading of the path; letting an unsafe method through looks at one
// exact, plain path. A mistake is then a refused write, never an admitted one.
import { isRecord } from './document.ts';
import { isPlain, rawPath, readings, segments } from './paths.ts';

/** One way to write, as in surfaces.yaml. Fields that are not named here are ignored. */
export interface Surface {
  readonly name: string;
  /** Only `http` is matched by path; `tool` and `job` are known by the name given to `guard.tool` and `guard.job`. */
  readonly kind?: string;
  readonly match?: {
    /** Default: every method that is not safe. `GET` includes `HEAD`. */
    readonly methods?: readonly string[];
    /** Whole segments, `:param`, `:param?`, and a final `*` for any rest, also an empty one. */
    readonly path?: string;
  };
  /**
   * `pass`: not a write although its method is unsafe (a search by POST). Such a path has neither `:param?` nor `*`.
   * Everything else is refused while the system is read-only.
   */
  readonly disposition?: string;
  readonly status?: number;
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
}

interface Rule {
  readonly name: string;
  readonly status: 503 | 423 | null;
  /** null: every unsafe method. */
  readonly methods: ReadonlySet<string> | null;
  readonly pattern: readonly Part[];
}

export interface Rules {
  readonly refusing: readonly Rule[];
  readonly passing: readonly Rule[];
  readonly health: ReadonlySet<string>;
  /** Some surface names a safe method that writes: only then do reads need a look at their path. */
  readonly safeWrites: boolean;
}

type Part = { readonly is: 'text'; readonly text: string } | { readonly is: 'one' | 'maybe' | 'rest' };

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);
const OVERRIDES = ['x-http-method-override', 'x-http-method', 'x-method-override'];
const NO_WRITE: Verdict = Object.freeze({ write: false, surface: null });
const UNNAMED_WRITE: Verdict = Object.freeze({ write: true, surface: null });

/**
 * Prepares the surfaces for matching.
 *
 * @throws TypeError naming the surface and the field, where the surfaces cannot be read: a guard that ignored one would
 * let writes through
 */
export function compileSurfaces(input: unknown, healthPaths: readonly string[]): Rules {
  const list = isRecord(input) ? input.surfaces : input;
  if (list !== undefined && !Array.isArray(list)) throw new TypeError('surfaces: a list, or { surfaces: [...] }');
  const refusing: Rule[] = [];
  const passing: Rule[] = [];
  for (const [index, surface] of (list ?? []).entries()) {
    const where = `surfaces[${index}]`;
    if (!isRecord(surface)) throw new TypeError(`${where}: an object with name, kind and match`);
    if (surface.kind !== undefined && surface.kind !== 'http') continue;
    const passes = surface.disposition === 'pass';
    (passes ? passing : refusing).push(compileRule(surface, where, passes));
  }
  const safeWrites = refusing.some((rule) => rule.methods !== null && [...rule.methods].some((m) => SAFE.has(m)));
  return { refusing, passing, health: new Set(healthPaths), safeWrites };
}

/** Does this request write, and through which surface? */
export function judge(rules: Rules, request: WriteRequest): Verdict {
  const { method } = request;
  const other = overridden(request);
  const safe = SAFE.has(method) && (other === null || SAFE.has(other));
  const path = rawPath(request.url);
  if (safe && other === null && rules.health.has(path) && (method === 'GET' || method === 'HEAD')) return NO_WRITE;
  if (safe && !rules.safeWrites) return NO_WRITE;
  const rewritten = request.routedUrl === undefined ? path : rawPath(request.routedUrl);
  const paths = rewritten === path ? [path] : [path, rewritten];
  for (const each of paths) {
    const ways = readings(each);
    if (ways === null) return UNNAMED_WRITE;
    const rule = rules.refusing.find(
      (r) =>
        (covers(r, method) || (other !== null && covers(r, other))) && ways.some((way) => fits(r.pattern, 0, way, 0)),
    );
    if (rule) return { write: true, surface: rule };
  }
  if (safe) return NO_WRITE;
  if (other !== null || paths.length > 1 || !isPlain(path)) return UNNAMED_WRITE;
  // Exact to the letter, unlike refusing.
  const exact = path.split('/').filter((segment) => segment !== '');
  const passes = rules.passing.some((r) => covers(r, method) && fits(r.pattern, 0, exact, 0));
  return passes ? NO_WRITE : UNNAMED_WRITE;
}

/** The cheap form of `judge` for requests that come while nobody holds: only in-flight writes are counted then. */
export function writes(rules: Rules, request: WriteRequest): boolean {
  if (SAFE.has(request.method)) return rules.safeWrites && judge(rules, request).write;
  return rules.passing.length === 0 || judge(rules, request).write;
}

function covers(rule: Rule, method: string): boolean {
  if (rule.methods === null) return !SAFE.has(method);
  // Frameworks answer HEAD with the handler of GET.
  return rule.methods.has(method) || (method === 'HEAD' && rule.methods.has('GET'));
}

/** The method that a framework may take instead of the one on the request line. */
function overridden(request: WriteRequest): string | null {
  for (const name of OVERRIDES) {
    const value = request.headers?.[name];
    if (value) return String(Array.isArray(value) ? value[0] : value).toUpperCase();
  }
  return /[?&]_method=([A-Za-z]+)/.exec(request.url)?.[1]?.toUpperCase() ?? null;
}

function compileRule(surface: Record<string, unknown>, where: string, passes: boolean): Rule {
  const name = surface.name;
  if (typeof name !== 'string' || name === '') throw new TypeError(`${where}.name: a text`);
  const match = surface.match;
  if (!isRecord(match)) throw new TypeError(`${where}.match (${name}): an object with methods and path`);
  const { methods, path } = match;
  if (methods !== undefined && !(Array.isArray(methods) && methods.every((m) => typeof m === 'string'))) {
    throw new TypeError(`${where}.match.methods (${name}): a list such as [POST, PUT]`);
  }
  const status = surface.status;
  if (status !== undefined && status !== 503 && status !== 423) {
    throw new TypeError(`${where}.status (${name}): ${String(status)}, allowed are 503 and 423`);
  }
  const pattern = compilePath(path, `${where}.match.path (${name})`, passes);
  return {
    name,
    status: status ?? null,
    methods: methods === undefined ? null : new Set(methods.map((m) => m.toUpperCase())),
    pattern,
  };
}

function compilePath(path: unknown, where: string, passes: boolean): Part[] {
  if (typeof path !== 'string' || !path.startsWith('/')) throw new TypeError(`${where}: a text that begins with /`);
  const parts = path.split('/').filter((part) => part !== '');
  return parts.map((part, index): Part => {
    if (/^:[A-Za-z_]\w*\??$/.test(part) || part === '*') {
      if (part === '*' && index < parts.length - 1)
        throw new TypeError(`${where}: * stands only at the end, in ${path}`);
      if (passes && /[?*]$/.test(part))
        throw new TypeError(`${where}: what passes is exact, without ${part}, in ${path}`);
      return { is: part === '*' ? 'rest' : part.endsWith('?') ? 'maybe' : 'one' };
    }
    if (/[:*?#%;\\]|^\.+$/.test(part)) {
      throw new TypeError(`${where}: ${part} in ${path}, allowed are whole segments, :param, :param? and a final *`);
    }
    return { is: 'text', text: passes ? part : (segments(part)[0] ?? part) };
  });
}

function fits(pattern: readonly Part[], p: number, way: readonly string[], w: number): boolean {
  const part = pattern[p];
  if (part === undefined) return w === way.length;
  if (part.is === 'rest') return true;
  if (part.is === 'text') return way[w] === part.text && fits(pattern, p + 1, way, w + 1);
  if (w < way.length && fits(pattern, p + 1, way, w + 1)) return true;
  return part.is === 'maybe' && fits(pattern, p + 1, way, w);
}
