// What was written to, added up over many looks, and how it is said.
import type { Watched, Write } from './sight.ts';

export const MAX_LINES = 50;

export function sort(writes: readonly Write[], allow: Watched<unknown>['allow']): { bad: Write[]; good: Write[] } {
  const bad: Write[] = [];
  const good: Write[] = [];
  for (const write of writes) {
    const names = write.names ?? [write.what];
    (allow.some((each) => names.some((name) => fits(name, each.name))) ? good : bad).push(write);
  }
  return { bad, good };
}

/** `*` stands for anything: "heartbeat:*". */
export function fits(name: string, pattern: string): boolean {
  if (!pattern.includes('*')) return name === pattern;
  const parts = pattern.split('*');
  const first = parts.shift() ?? '';
  const end = parts.pop() ?? '';
  if (!name.startsWith(first) || !name.endsWith(end) || name.length < first.length + end.length) return false;
  let at = first.length;
  for (const part of parts) {
    const found = name.indexOf(part, at);
    if (found < 0 || found + part.length > name.length - end.length) return false;
    at = found + part.length;
  }
  return true;
}

/** What was written to, added up over many looks. */
export class Ledger {
  readonly #entries = new Map<
    string,
    { count: number; how: Set<string>; who: Set<string>; first?: number | undefined }
  >();

  get size(): number {
    return this.#entries.size;
  }

  add(writes: readonly Write[], at?: number): void {
    for (const write of writes) {
      const entry = this.#entries.get(write.what) ?? { count: 0, how: new Set(), who: new Set(), first: at };
      entry.count += write.count;
      if (entry.how.size < 5) entry.how.add(write.how);
      for (const who of write.who ?? []) entry.who.add(who);
      this.#entries.set(write.what, entry);
    }
  }

  /** ", except heartbeat: 1,254 (allowed)" */
  except(): string {
    if (this.size === 0) return '';
    return `, except ${this.#few((entry) => (entry.count > 0 ? `: ${grouped(entry.count)}` : ''))} (allowed)`;
  }

  /** "orders: 3, items: created" */
  short(): string {
    return this.#few(
      (entry) => `: ${entry.count > 0 ? grouped(entry.count) : [...entry.how].join(', ')}${by(entry.who)}`,
    );
  }

  lines(unit: string): string[] {
    return [...this.#entries].map(([what, entry]) => {
      const count =
        entry.count > 0 ? ` ${grouped(entry.count)} ${entry.count === 1 ? unit.replace(/s$/, '') : unit},` : '';
      const when = entry.first === undefined ? '' : `, first seen ${clock(entry.first, entry.first)}`;
      return `${what}:${count} ${[...entry.how].join(', ')}${by(entry.who)}${when}`;
    });
  }

  #few(tell: (entry: { count: number; how: Set<string>; who: Set<string> }) => string): string {
    const all = [...this.#entries].map(([what, entry]) => `${what}${tell(entry)}`);
    return all.length <= 4 ? all.join(', ') : `${all.slice(0, 3).join(', ')} and ${all.length - 3} more`;
  }
}

function by(who: ReadonlySet<string>): string {
  if (who.size === 0) return '';
  return ` by ${who.size > 1 ? 'one of ' : ''}${[...who].slice(0, 5).join(', ')}`;
}

export function grouped(count: number): string {
  return count.toLocaleString('en-US');
}

/** "02:00:15Z", with its date where that is another one than today's. */
export function clock(time: string | number, now: number): string {
  const text = iso(time);
  return text.slice(0, 10) === iso(now).slice(0, 10) ? `${text.slice(11, 19)}Z` : `${text.slice(0, 19)}Z`;
}

export function iso(time: string | number): string {
  return new Date(time).toISOString();
}

export function span(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  return seconds < 120 ? `${seconds}s` : `${Math.floor(seconds / 60)}m ${String(seconds % 60).padStart(2, '0')}s`;
}
