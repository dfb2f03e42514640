// Two lists of surfaces told apart by a short text, so that `maint scope check` sees a service that was deployed with
// another list than the file has. No secret, and not for security.
import { isRecord } from './document.ts';

const MAX_BYTES = 1024 * 1024;

/**
 * What decides about a write, in the order of the list: how it is matched and what becomes of it. Defaults are filled in,
 * so that the file as it is and the file as `maint` reads it are the same. What is for people (owner, purpose, canary)
 * and the status of a refusal do not count.
 */
export function listDigest(list: readonly unknown[]): string {
  return hash(JSON.stringify(list.filter(isRecord).map(essence)));
}

function essence(surface: Record<string, unknown>): unknown[] {
  const { name, kind = 'http', disposition = 'refuse', order = null, tenant = null, key = 'header' } = surface;
  const match = isRecord(surface.match) ? surface.match : {};
  const { path = null } = match;
  const graphql = kind === 'graphql';
  const byName = kind === 'tool' || kind === 'job';
  return [
    name,
    kind,
    path,
    sorted(match.methods ?? (graphql && path !== null ? ['GET', 'POST'] : null)),
    sorted(match.operations ?? (graphql && disposition !== 'pass' ? ['mutation'] : null)),
    sorted(match.names ?? (byName ? [name] : null)),
    disposition,
    place(order),
    place(tenant),
    disposition === 'buffer' ? key : null,
    sorted(surface.keep_headers, (header) => header.toLowerCase()),
    surface.max_bytes ?? MAX_BYTES,
    // at the end, and only where they are: the digests of all other lists stay as they were
    ...(surface.not_credentials === undefined ? [] : [sorted(surface.not_credentials, (name) => name.toLowerCase())]),
  ];
}

function sorted(list: unknown, as: (text: string) => string = (text) => text): string[] | null {
  return Array.isArray(list) ? list.map((text) => as(String(text))).sort() : null;
}

function place(where: unknown): string | null {
  if (!isRecord(where)) return null;
  return typeof where.param === 'string' ? `:${where.param}` : String(where.header).toLowerCase();
}

/** FNV-1a twice, from two beginnings: 64 bits without a library, in every runtime. */
function hash(text: string): string {
  return [0x811c9dc5, 0x9e3779b9]
    .map((begin) => {
      let bits = begin;
      for (let i = 0; i < text.length; i++) bits = Math.imul(bits ^ text.charCodeAt(i), 0x01000193);
      return (bits >>> 0).toString(16).padStart(8, '0');
    })
    .join('');
}
