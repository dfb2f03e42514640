import type { Journal, Lease, Owner } from '../../src/engine/journal.ts';

/** One fresh store, for one test. */
export interface StoreFixture {
  journal: Journal;
  /** a second connection to the same state */
  reopen(): Promise<Journal>;
  /** the address, for processes of their own */
  state: string;
  /** moves the clock of every connection of this fixture */
  advance(ms: number): void;
  cleanup(): Promise<void>;
}

export function owner(name: string): Owner {
  return { name, host: 'lapis', bootId: 'boot', pidNamespace: 'ns', pid: 42, startTime: '1', verb: 'start' };
}

export async function taken(journal: Journal, environment = 'prod', name = 'ana@lapis'): Promise<Lease> {
  const taking = await journal.take(environment, owner(name));
  if ('held' in taking) throw new Error(`held by ${taking.held.owner.name}`);
  return taking.taken;
}
