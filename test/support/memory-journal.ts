// The journal port in memory, for tests of the engine alone.
import type { JournalEvent, Recorded } from '../../src/engine/events.ts';
import {
  type Journal,
  LEASE_MS,
  type Lease,
  type Owner,
  StaleToken,
  WindowExists,
  type WindowRow,
} from '../../src/engine/journal.ts';

export function memoryJournal(clock: () => number = Date.now): Journal & { events: Map<string, Recorded[]> } {
  const events = new Map<string, Recorded[]>();
  const rows: WindowRow[] = [];
  const leases = new Map<string, Lease>();
  const tokens = new Map<string, number>();
  function check(lease: Lease): void {
    if (leases.get(lease.environment)?.token !== lease.token) throw new StaleToken(lease.environment);
  }
  function add(lease: Lease, id: string, more: readonly JournalEvent[]): Recorded[] {
    check(lease);
    const all = events.get(id) ?? [];
    events.set(id, all);
    // Through JSON, as every real store does.
    const recorded = more.map(
      (event, at): Recorded => ({
        seq: all.length + at + 1,
        at: new Date(clock()).toISOString(),
        token: lease.token,
        event: JSON.parse(JSON.stringify(event)) as JournalEvent,
      }),
    );
    all.push(...recorded);
    return recorded;
  }
  return {
    events,
    address: 'memory',
    shared: false,
    now: async () => clock(),
    windows: async (filter = {}) =>
      rows
        .filter(
          (row) =>
            (filter.environment ?? row.environment) === row.environment &&
            (filter.live ?? row.live) === row.live &&
            (filter.id ?? row.id) === row.id,
        )
        .reverse(),
    read: async (id, after = 0) => (events.get(id) ?? []).filter((recorded) => recorded.seq > after),
    open: async (lease, id, first) => {
      check(lease);
      const live = rows.find((row) => row.environment === lease.environment && row.live);
      if (live) throw new WindowExists(live.id);
      rows.push({ id, environment: lease.environment, createdAt: new Date(clock()).toISOString(), live: true });
      return add(lease, id, first);
    },
    append: async (lease, id, more) => add(lease, id, more),
    close: async (lease, id, more) => {
      const recorded = add(lease, id, more);
      for (const row of rows) if (row.id === id) row.live = false;
      return recorded;
    },
    adopt: async (lease, id, recorded, more, isLive) => {
      check(lease);
      const { environment } = lease;
      const same = rows.find((row) => row.id === id);
      const other = isLive ? rows.find((row) => row.environment === environment && row.live) : undefined;
      for (const row of [same, other])
        if (row && (row.live || row.environment !== environment)) throw new WindowExists(row.id);
      const token = recorded.reduce((most, one) => Math.max(most, one.token + 1), lease.token);
      tokens.set(environment, token);
      const grown = { ...lease, token };
      leases.set(environment, grown);
      if (same) same.live = isLive;
      else {
        rows.push({ id, environment, createdAt: recorded[0]?.at ?? new Date(clock()).toISOString(), live: isLive });
        rows.sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
      }
      const all = events.get(id) ?? [];
      events.set(id, all);
      all.push(...recorded.filter((one) => one.seq > all.length).map((one) => JSON.parse(JSON.stringify(one))));
      add(grown, id, more);
      return grown;
    },
    lease: async (environment) => leases.get(environment),
    take: async (environment: string, owner: Owner, instead?: number) => {
      const held = leases.get(environment);
      if (held && held.token !== instead && held.expiresAt > clock()) return { held };
      const token = (tokens.get(environment) ?? 0) + 1;
      tokens.set(environment, token);
      const taken = { environment, token, owner, renewedAt: clock(), expiresAt: clock() + LEASE_MS };
      leases.set(environment, taken);
      return { taken };
    },
    renew: async (lease) => {
      check(lease);
      const renewed = { ...lease, renewedAt: clock(), expiresAt: clock() + LEASE_MS };
      leases.set(lease.environment, renewed);
      return renewed;
    },
    release: async (lease) => {
      if (leases.get(lease.environment)?.token === lease.token) leases.delete(lease.environment);
    },
    end: async () => undefined,
  };
}
