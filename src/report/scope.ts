// Every way to write, held against what was seen: by the guards, which count every write, and by the canaries. Pure.
import { listDigest } from '../../packages/guard/src/list.ts';
import type { GuardAsked, SurfaceSeen } from '../clients/guards.ts';
import type { Surface } from '../engine/contract.ts';
import type { WindowState } from '../engine/window.ts';

export interface ListedSurface {
  name: string;
  kind: string;
  /** how it is matched, in words */
  match: string;
  disposition: string;
  status: number;
  order: string | null;
  tenant: string | null;
  key: string | null;
  owner: string | null;
  purpose: string | null;
  canary: string | null;
}
export interface CanarySeen {
  surface: string;
  /** null: nobody answered */
  status: number | null;
  firstRefusedAt: string | null;
  firstAnsweredAt: string | null;
  wrote: boolean;
}
/** The list of surfaces that a guard runs, beside the file's. */
export interface ListSeen {
  /** null: it does not say */
  list: 'same' | 'other' | null;
  /** names that the file has and the guard does not */
  lacks: string[];
  /** names that the guard has and never counted, and the file does not have; counted ones may be calls of the service's own */
  extra: string[];
}
export interface Scope {
  /** the window whose canaries these are; null: none has knocked yet */
  window: string | null;
  guards: ({ guard: string; problem: string | null; counts: boolean } & ListSeen)[];
  surfaces: (ListedSurface & SurfaceSeen & { seen: boolean })[];
  /** written, and no surface names it: the most frequent first */
  unnamed: { method: string; path: string; count: number }[];
  /** counted by a guard under a name that the file does not have: a call of its own, or another file */
  unknown: ({ name: string } & SurfaceSeen)[];
  /** names of surfaces that no guard has ever counted */
  neverSeen: string[];
  canaries: CanarySeen[];
}

/** What the guard counts where no surface names a write. */
const OF_THE_GUARD = new Set(['unnamed', 'other']);

export function listedSurface(surface: Surface): ListedSurface {
  const { name, kind, match, disposition, status, order, tenant, key, owner, purpose, canary } = surface;
  return {
    name,
    kind,
    match: [
      ...(match.path === undefined ? [] : [`${(match.methods ?? []).join('|')} ${match.path}`]),
      ...(match.operations ? [`(${match.operations.join(', ')})`] : []),
      ...(match.names ? [match.names.join(', ')] : []),
    ].join(' '),
    disposition,
    status,
    order: partOf(order),
    tenant: partOf(tenant),
    key: key ?? null,
    owner: owner ?? null,
    purpose: purpose ?? null,
    canary: canary ? `${canary.method} ${canary.path}` : null,
  };
}

function partOf(part: Surface['order']): string | null {
  if (!part) return null;
  return 'param' in part ? `:${part.param}` : part.header;
}

export function scopeOf(
  surfaces: readonly Surface[],
  asked: readonly GuardAsked[],
  knocked: WindowState | undefined,
): Scope {
  const counted = new Map<string, SurfaceSeen>();
  const unnamed = new Map<string, { method: string; path: string; count: number }>();
  for (const { seen } of asked) {
    for (const [name, counts] of Object.entries(seen?.surfaces ?? {}))
      counted.set(name, plus(counted.get(name), counts));
    for (const { method, path, count } of seen?.unnamed ?? []) {
      const key = `${method} ${path}`;
      unnamed.set(key, { method, path, count: (unnamed.get(key)?.count ?? 0) + count });
    }
  }
  const named = new Set(surfaces.map(({ name }) => name));
  const rows = surfaces.map((surface) => {
    const counts = counted.get(surface.name) ?? plus(undefined);
    return { ...listedSurface(surface), ...counts, seen: total(counts) > 0 };
  });
  const counts = asked.some(({ seen }) => seen?.surfaces !== undefined);
  const canaries = (knocked ? canariesOf(knocked) : []).filter(({ surface }) => named.has(surface));
  return {
    window: canaries.length > 0 ? (knocked?.id ?? null) : null,
    guards: asked.map(({ guard, problem, seen }) => ({
      guard,
      problem: problem ?? null,
      counts: seen?.surfaces !== undefined && seen.unnamed !== undefined,
      ...listSeen(surfaces, seen),
    })),
    surfaces: rows,
    unnamed: [...unnamed.values()].sort((a, b) => b.count - a.count),
    unknown: [...counted]
      .filter(([name, seen]) => !named.has(name) && !OF_THE_GUARD.has(name) && total(seen) > 0)
      .map(([name, seen]) => ({ name, ...seen })),
    // where no guard counts by surface, nothing can be said of what was never seen
    neverSeen: counts ? rows.filter(({ seen }) => !seen).map(({ name }) => name) : [],
    canaries,
  };
}

/** Where two lists have the same names, a digest of the rules tells them apart. */
function listSeen(surfaces: readonly Surface[], seen: GuardAsked['seen']): ListSeen {
  if (seen?.surfaces === undefined) return { list: null, lacks: [], extra: [] };
  const counts = seen.surfaces;
  const named = new Set(surfaces.map(({ name }) => name));
  // a guard with very many names does not list the last of them by name
  const lacks = Object.hasOwn(counts, 'other') ? [] : [...named].filter((name) => !Object.hasOwn(counts, name));
  const extra = Object.keys(counts).filter(
    (name) => !named.has(name) && !OF_THE_GUARD.has(name) && total(counts[name]!) === 0,
  );
  const differs = lacks.length > 0 || extra.length > 0;
  if (seen.digest === undefined) return { list: differs ? 'other' : null, lacks, extra };
  return { list: differs || seen.digest !== listDigest(surfaces) ? 'other' : 'same', lacks, extra };
}

function plus(a: SurfaceSeen | undefined, b?: SurfaceSeen): SurfaceSeen {
  return {
    refused: (a?.refused ?? 0) + (b?.refused ?? 0),
    queued: (a?.queued ?? 0) + (b?.queued ?? 0),
    dropped: (a?.dropped ?? 0) + (b?.dropped ?? 0),
    passed: (a?.passed ?? 0) + (b?.passed ?? 0),
  };
}

function total({ refused, queued, dropped, passed }: SurfaceSeen): number {
  return refused + queued + dropped + passed;
}

/** What the canaries of a window got: the refusals while it was open, and what came after, from the evidence of its checks. */
export function canariesOf(state: WindowState): CanarySeen[] {
  const found = new Map<string, CanarySeen & { at: string }>();
  for (const moments of state.checked.values()) {
    for (const { evidence, at } of moments.values()) {
      for (const [surface, seen] of Object.entries(knocks(evidence))) {
        const before = found.get(surface);
        const latest = before === undefined || at >= before.at;
        found.set(surface, {
          surface,
          status: latest ? (seen.status ?? null) : before.status,
          firstRefusedAt: before?.firstRefusedAt ?? seen.firstRefusedAt ?? null,
          firstAnsweredAt: before?.firstAnsweredAt ?? seen.firstAnsweredAt ?? null,
          wrote: before?.wrote === true || seen.wrote === true,
          at: latest ? at : before.at,
        });
      }
    }
  }
  return [...found.values()].map(({ at: _, ...canary }) => canary);
}

/** The evidence of `verify/endpoints`, by what only it has. */
function knocks(evidence: unknown): Record<string, Partial<CanarySeen>> {
  const { surfaces, without } = (evidence ?? {}) as { surfaces?: unknown; without?: unknown };
  if (!Array.isArray(without) || typeof surfaces !== 'object' || surfaces === null) return {};
  return surfaces as Record<string, Partial<CanarySeen>>;
}
