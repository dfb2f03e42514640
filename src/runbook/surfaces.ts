// surfaces.yaml: every way to write, named once. The guard, the canaries and later the gateways read the same file.
import type { Surface } from '../engine/contract.ts';
import { type Located, parseYaml, type Report, reporter } from './document.ts';
import { SurfaceFrame, SurfacesFrame } from './frame.ts';
import { parseParams, reportIssues } from './params.ts';
import { Problems, quoted } from './problems.ts';

const LATER_KINDS = new Set(['tool', 'job', 'vector', 'kv', 'graphql']);
const LATER_DISPOSITIONS = new Set(['buffer', 'drop']);

/** Parses the text of a surfaces file; throws RunbookError with all its problems. `file` is how they name it. */
export function parseSurfaces(text: string, file: string): Surface[] {
  const problems = new Problems();
  const surfaces = checkSurfaces(text, file, problems);
  problems.orThrow(file);
  return surfaces;
}

/** As parseSurfaces, adding to the problems of a runbook. */
export function checkSurfaces(text: string, file: string, problems: Problems): Surface[] {
  const document = parseYaml(text, file, problems);
  const { root } = document;
  if (!root) return [];
  const report = reporter(document, problems);
  const frame = parseParams(SurfacesFrame, root.value);
  if (!frame.success) reportIssues(SurfacesFrame, frame.issues, root, report);

  const surfaces: Surface[] = [];
  const names = new Map<string, Located>();
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
    if (surface) surfaces.push(surface);
  }
  return surfaces;
}

function checkSurface(item: Located, report: Report): Surface | undefined {
  const later = [
    notYet(item.keys?.get('kind'), LATER_KINDS, 'http', report),
    notYet(item.keys?.get('disposition'), LATER_DISPOSITIONS, 'refuse, pass', report),
  ].filter((at) => at !== undefined);
  const parsed = parseParams(SurfaceFrame, item.value);
  if (!parsed.success) {
    const issues = parsed.issues.filter(
      (issue) => !later.some((key) => issue.path.length === 1 && issue.path[0] === key),
    );
    reportIssues(SurfaceFrame, issues, item, report);
  }
  const match = item.keys?.get('match');
  const path = match?.keys?.get('path');
  const wrong = typeof path?.value === 'string' ? wrongPattern(path.value) : undefined;
  if (path && wrong)
    report(path, {
      code: 'wrong_format',
      message: wrong,
      found: quoted(String(path.value)),
      allowed: 'whole segments, :param, :param?, a final *',
    });
  if (!parsed.success || wrong || later.length > 0) return undefined;
  const frame = parsed.data as SurfaceFrame;
  if (frame.disposition === 'pass') {
    for (const key of ['status', 'canary']) {
      const at = item.keys?.get(key);
      if (at)
        report(at, {
          key: true,
          code: 'misplaced',
          message: 'means nothing here: this surface is not refused',
          found: key,
          allowed: 'with disposition: refuse',
        });
    }
  }
  const { canary } = frame;
  if (canary) {
    const at = item.keys!.get('canary')!;
    const pathOnly = canary.path.split(/[?#]/, 1)[0]!;
    if (!frame.match.methods.includes(canary.method)) {
      report(at.keys!.get('method')!, {
        code: 'invalid',
        message: 'is no method of its own surface',
        found: quoted(canary.method),
        allowed: frame.match.methods.join(', '),
      });
    }
    if (!matchesPath(frame.match.path, pathOnly)) {
      report(at.keys!.get('path')!, {
        code: 'invalid',
        message: 'is not matched by its own surface',
        found: quoted(canary.path),
        allowed: frame.match.path,
      });
    }
  }
  return {
    name: frame.name,
    kind: frame.kind,
    match: frame.match,
    disposition: frame.disposition,
    status: frame.status ?? 503,
    ...(canary ? { canary } : {}),
  };
}

function notYet(
  at: Located | undefined,
  later: ReadonlySet<string>,
  allowed: string,
  report: Report,
): string | undefined {
  if (!at || typeof at.value !== 'string' || !later.has(at.value)) return undefined;
  report(at, { code: 'not_yet', message: 'is not there yet in this release', found: quoted(at.value), allowed });
  return at.path.slice(at.path.lastIndexOf('.') + 1);
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
