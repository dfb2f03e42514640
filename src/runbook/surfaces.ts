// surfaces.yaml: every way to write, named once. The guard, the canaries and later the gateways read the same file.
import type { RequestPart, Surface } from '../engine/contract.ts';
import { type Located, parseYaml, type Report, reporter } from './document.ts';
import { SurfaceFrame, SurfacesFrame } from './frame.ts';
import { parseParams, reportIssues } from './params.ts';
import { Problems, quoted } from './problems.ts';
import { checkCredentials, checkPattern, checkSurfaceRules } from './surface-rules.ts';

export interface Surfaces {
  surfaces: Surface[];
  shortestTokenLifeMs?: number | undefined;
}

/** Parses the text of a surfaces file; throws RunbookError with all its problems. `file` is how they name it. */
export function parseSurfaces(text: string, file: string): Surface[] {
  const problems = new Problems();
  const { surfaces } = checkSurfaces(text, file, problems);
  problems.orThrow(file);
  return surfaces;
}

/** As parseSurfaces, adding to the problems of a runbook. `stored`: it is what a window was opened with. */
export function checkSurfaces(text: string, file: string, problems: Problems, stored = false): Surfaces {
  const document = parseYaml(text, file, problems);
  const { root } = document;
  if (!root) return { surfaces: [] };
  const report = reporter(document, problems);
  const frame = parseParams(SurfacesFrame, root.value);
  if (!frame.success) reportIssues(SurfacesFrame, frame.issues, root, report);

  const surfaces: Surface[] = [];
  const names = new Map<string, Located>();
  const calls = new Map<string, Located>();
  for (const item of root.keys?.get('surfaces')?.items ?? []) {
    if (problems.full) break;
    const surface = checkSurface(item, report);
    const name = item.keys?.get('name');
    if (name && typeof name.value === 'string') {
      const first = names.get(name.value);
      if (first) {
        report(name, {
          code: 'duplicate_id',
          message: `is the name of ${first.path.replace(/\.name$/, '')} already`,
          found: quoted(name.value),
          allowed: 'a name of its own',
        });
      } else names.set(name.value, name);
    }
    checkCalls(item, calls, report);
    if (!stored) {
      checkPattern(item, report);
      checkCredentials(item, report);
    }
    if (surface) surfaces.push(surface);
  }
  return {
    surfaces,
    shortestTokenLifeMs: frame.success ? (frame.data as SurfacesFrame).shortest_token_life : undefined,
  };
}

/** One call belongs to one surface: which disposition counts must not depend on the order of the file. */
function checkCalls(item: Located, known: Map<string, Located>, report: Report): void {
  const kind = item.keys?.get('kind')?.value;
  for (const at of item.keys?.get('match')?.keys?.get('names')?.items ?? []) {
    if (typeof at.value !== 'string') continue;
    const key = `${kind} ${at.value}`;
    const first = known.get(key);
    if (!first) known.set(key, at);
    else
      report(at, {
        code: 'duplicate_id',
        message: `is named by ${first.path.replace(/\.match\..*$/, '')} already`,
        found: quoted(at.value),
        allowed: 'each name once',
      });
  }
}

function checkSurface(item: Located, report: Report): Surface | undefined {
  const parsed = parseParams(SurfaceFrame, item.value);
  if (!parsed.success) reportIssues(SurfaceFrame, parsed.issues, item, report);
  const path = item.keys?.get('match')?.keys?.get('path');
  const wrong = typeof path?.value === 'string' ? wrongPattern(path.value) : undefined;
  if (path && wrong)
    report(path, {
      code: 'wrong_format',
      message: wrong,
      found: quoted(String(path.value)),
      allowed: 'whole segments, :param, :param?, a final *',
    });
  const fits = checkSurfaceRules(item, report);
  if (!parsed.success || wrong || !fits) return undefined;
  const frame = parsed.data as SurfaceFrame;
  checkCanary(frame, item, report);
  const { name, kind, canary, owner, purpose, key, keep_headers, not_credentials, max_bytes } = frame;
  const { methods, path: pattern, operations, names } = frame.match;
  const disposition = frame.disposition ?? 'refuse';
  return {
    name,
    kind,
    match: {
      ...(pattern === undefined ? {} : { methods: methods ?? ['POST', 'GET'], path: pattern }),
      ...(kind === 'graphql' && disposition !== 'pass' ? { operations: operations ?? ['mutation'] } : {}),
      ...(names ? { names } : {}),
    },
    disposition,
    status: frame.status ?? 503,
    ...(frame.order ? { order: frame.order as RequestPart } : {}),
    ...(frame.tenant ? { tenant: frame.tenant as RequestPart } : {}),
    ...(disposition === 'buffer' ? { key: key ?? 'header', credential: 'service' as const } : {}),
    ...(keep_headers ? { keep_headers: keep_headers.map((header) => header.toLowerCase()) } : {}),
    ...(not_credentials ? { not_credentials: not_credentials.map((each) => each.toLowerCase()) } : {}),
    ...(max_bytes === undefined ? {} : { max_bytes }),
    ...(owner === undefined ? {} : { owner }),
    ...(purpose === undefined ? {} : { purpose }),
    ...(canary ? { canary } : {}),
  };
}

function checkCanary({ canary, match }: SurfaceFrame, item: Located, report: Report): void {
  const at = item.keys?.get('canary');
  if (!canary || !at || match.path === undefined) return;
  const pathOnly = canary.path.split(/[?#]/, 1)[0]!;
  const methods = match.methods ?? ['POST', 'GET'];
  if (!(methods as readonly string[]).includes(canary.method)) {
    report(at.keys!.get('method')!, {
      code: 'invalid',
      message: 'is no method of its own surface',
      found: quoted(canary.method),
      allowed: methods.join(', '),
    });
  }
  if (!matchesPath(match.path, pathOnly)) {
    report(at.keys!.get('path')!, {
      code: 'invalid',
      message: 'is not matched by its own surface',
      found: quoted(canary.path),
      allowed: match.path,
    });
  }
}

/** What is wrong with a pattern, in words. */
function wrongPattern(pattern: string): string | undefined {
  if (!pattern.startsWith('/')) return undefined;
  const segments = pattern.slice(1).split('/');
  for (const [i, segment] of segments.entries()) {
    const last = i === segments.length - 1;
    if (segment === '*' && last) continue;
    if (segment.includes('*')) return 'has a * that is no segment at the end';
    if (segment.startsWith(':')) {
      if (!/^:[A-Za-z_]\w*\??$/.test(segment)) return `has a parameter without a proper name (${segment})`;
      if (segment.endsWith('?') && !last) return `has an optional parameter before the end (${segment})`;
      continue;
    }
    if (/[:?#]/.test(segment)) return `has a segment that is neither a word nor a parameter (${segment})`;
    if (segment === '' && !last) return 'has an empty segment';
  }
  return undefined;
}

/** Whole segments; `:param` one, `:param?` one or none, a final `*` any number. A path counts raw and decoded. */
export function matchesPath(pattern: string, path: string): boolean {
  return [path, decoded(path)].some((text) => matches(segmentsOf(pattern), segmentsOf(text)));
}

function segmentsOf(path: string): string[] {
  return path
    .replace(/^\//, '')
    .replace(/\/$/, '')
    .split('/')
    .filter((segment, i, all) => segment !== '' || all.length > 1 || i > 0);
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

function matches(pattern: readonly string[], path: readonly string[]): boolean {
  for (const [i, segment] of pattern.entries()) {
    if (segment === '*' && i === pattern.length - 1) return true;
    const is = path[i];
    if (segment.startsWith(':')) {
      if (is === undefined) return segment.endsWith('?') && i === pattern.length - 1;
      continue;
    }
    if (is !== segment) return false;
  }
  return path.length === pattern.length;
}
