// What a guard says of itself at /.well-known/maintenance. Fields that an earlier release does not have are absent here.
import type { HttpReader } from '../engine/io.ts';

export interface SurfaceSeen {
  refused: number;
  queued: number;
  dropped: number;
  passed: number;
}
export interface UnnamedSeen {
  method: string;
  path: string;
  count: number;
}
export interface GuardSeen {
  readOnly: boolean;
  /** who holds, as this guard knows it */
  windows: string[];
  refused: number;
  flagAgeMs: number | null;
  /** what it reads the flag from, in words */
  source: string | undefined;
  /** RFC 3339 */
  firstRefusedAt: string | null;
  lastRefusedAt: string | null;
  /** admitted and not finished; undefined: it does not say */
  inFlight: number | undefined;
  /** the part of them whose client has left: the guard may not see them end */
  abandoned: number;
  /** in this read-only period given up after a time, without having been seen to end */
  unseen: number;
  queue: { queued: number; bytes: number; oldestMs: number | null } | undefined;
  surfaces: Record<string, SurfaceSeen> | undefined;
  /** of its list of surfaces; undefined: it does not say */
  digest: string | undefined;
  unnamed: UnnamedSeen[] | undefined;
}
export interface GuardAsked {
  /** host and path, without userinfo */
  guard: string;
  seen?: GuardSeen;
  /** why there is no answer to read */
  problem?: string;
  /** nobody answered there at all */
  silent: boolean;
}

const WELL_KNOWN = '/.well-known/maintenance';
const ANY_STATUS: readonly number[] = Array.from({ length: 500 }, (_, i) => 100 + i);

/** Asks once. Never throws. */
export async function askGuard(http: HttpReader, base: string, timeoutMs: number): Promise<GuardAsked> {
  const guard = guardPlace(base);
  try {
    const { status, json } = await http.get({
      url: `${base.replace(/\/+$/, '')}${WELL_KNOWN}`,
      headers: { 'Cache-Control': 'no-cache' },
      expect: ANY_STATUS,
      timeoutMs,
    });
    if (status !== 200) {
      const problem = `answers ${status} for ${WELL_KNOWN}, so it has no guard, or it is not its base address`;
      return { guard, problem, silent: false };
    }
    const seen = guardSeen(json);
    if (seen) return { guard, seen, silent: false };
    return { guard, problem: `answers ${WELL_KNOWN} with something that no guard says`, silent: false };
  } catch (error) {
    return { guard, problem: error instanceof Error ? error.message : String(error), silent: true };
  }
}

/** Whether each of them is there and is a guard, in words: [] = all. Asks each once. */
export async function unusableGuards(http: HttpReader, bases: readonly string[], timeoutMs: number): Promise<string[]> {
  const asked = await Promise.all(bases.map((base) => askGuard(http, base, timeoutMs)));
  return asked.flatMap(({ guard, problem, silent }) => {
    if (problem === undefined) return [];
    return [silent ? problem : `${guard} ${problem}`];
  });
}

/** What may be shown of a guard's address. */
export function guardPlace(address: string): string {
  if (!URL.canParse(address)) return 'an address that is not known yet';
  const { host, pathname } = new URL(address);
  return `${host}${pathname.replace(/\/+$/, '')}`;
}

function guardSeen(json: any): GuardSeen | undefined {
  if (typeof json?.read_only !== 'boolean' || !Array.isArray(json.holders)) return undefined;
  const { queue, surfaces, unnamed } = json;
  return {
    readOnly: json.read_only,
    windows: json.holders.map((holder: any) => String(holder?.window)),
    refused: number(json.refused),
    source: typeof json.source === 'string' ? json.source : undefined,
    flagAgeMs: typeof json.flag_age_ms === 'number' ? json.flag_age_ms : null,
    firstRefusedAt: time(json.first_refused_at),
    lastRefusedAt: time(json.last_refused_at),
    inFlight: typeof json.in_flight === 'number' ? json.in_flight : undefined,
    abandoned: number(json.abandoned),
    unseen: number(json.unseen),
    queue: isMap(queue)
      ? {
          queued: number(queue['queued']),
          bytes: number(queue['bytes']),
          oldestMs: typeof queue['oldest_ms'] === 'number' ? queue['oldest_ms'] : null,
        }
      : undefined,
    surfaces: isMap(surfaces)
      ? Object.fromEntries(Object.entries(surfaces).map(([name, counts]) => [name, surfaceSeen(counts)]))
      : undefined,
    digest: typeof json.surfaces_digest === 'string' ? json.surfaces_digest : undefined,
    unnamed: Array.isArray(unnamed) ? unnamed.filter(isMap).map(unnamedSeen) : undefined,
  };
}

function surfaceSeen(counts: any): SurfaceSeen {
  return {
    refused: number(counts?.refused),
    queued: number(counts?.queued),
    dropped: number(counts?.dropped),
    passed: number(counts?.passed),
  };
}

function unnamedSeen(entry: Record<string, unknown>): UnnamedSeen {
  return { method: String(entry['method']), path: String(entry['path']), count: number(entry['count']) };
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function time(value: unknown): string | null {
  return typeof value === 'string' && !Number.isNaN(Date.parse(value)) ? value : null;
}

function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}
