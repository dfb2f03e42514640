// The port to where windows are kept. One conformance suite (test/contract/store.ts) runs over every store.
import type { JournalEvent, Recorded } from './events.ts';

/** Who acts: enough to tell on the same machine whether the process is still alive. */
export interface Owner {
  /** user@host */
  name: string;
  host: string;
  bootId: string;
  pidNamespace: string;
  pid: number;
  /** of the process, as the system tells it; with the pid it names one process for ever */
  startTime: string;
  verb: string;
}

/** The run lease of one environment: exists only while a process acts. */
export interface Lease {
  environment: string;
  /** fencing token: grows by one with each taking, never comes back */
  token: number;
  owner: Owner;
  /** epoch milliseconds by the store's clock */
  renewedAt: number;
  expiresAt: number;
}

export interface WindowRow {
  id: string;
  environment: string;
  /** RFC 3339 */
  createdAt: string;
  /** not closed or aborted yet (or closed with something left) */
  live: boolean;
}

export const LEASE_MS = 15_000;
export const LEASE_RENEW_MS = 3_000;

/** The token is not the newest any more: somebody took the window over. Nothing was appended. */
export class StaleToken extends Error {
  constructor(environment: string) {
    super(`the run lease of ${environment} was taken over`);
    this.name = 'StaleToken';
  }
}
/** Another window of the environment is live. */
export class WindowExists extends Error {
  readonly id: string;
  constructor(id: string) {
    super(`a window is live: ${id}`);
    this.name = 'WindowExists';
    this.id = id;
  }
}
/** The file or database was written by a newer release. `version` is the release to run. */
export class NewerStore extends Error {
  readonly version: string;
  constructor(version: string) {
    super(`the state was written by maint ${version}`);
    this.name = 'NewerStore';
    this.version = version;
  }
}

export interface Journal {
  /** "sqlite /home/ana/.local/state/maint/state.db": where it is, free of secrets */
  readonly address: string;
  /** whether other people can see it */
  readonly shared: boolean;
  /** epoch milliseconds by the store's clock */
  now(): Promise<number>;

  /** newest first */
  windows(filter?: { environment?: string; live?: boolean; id?: string }): Promise<WindowRow[]>;
  /** in order; [] for an unknown window. `after`: only what came after that seq. */
  read(windowId: string, after?: number): Promise<Recorded[]>;

  /** Creates the window and its first events in one durable commit. WindowExists, StaleToken. */
  open(lease: Lease, windowId: string, events: readonly JournalEvent[]): Promise<Recorded[]>;
  /** One durable commit for all. The token is checked in the same transaction: StaleToken. */
  append(lease: Lease, windowId: string, events: readonly JournalEvent[]): Promise<Recorded[]>;
  /** The window is over: another may open. Checked like append. */
  close(lease: Lease, windowId: string, events: readonly JournalEvent[]): Promise<Recorded[]>;

  /**
   * A window that another state recorded, as it recorded it: numbers, times and tokens are kept; `more` comes after it,
   * recorded now. One that is here already and not live goes on from where this state left it: the caller has compared.
   * One durable commit. The token grows beyond every one of the other state, so that no run of that one is taken for
   * ours: the lease to go on with is returned. WindowExists, StaleToken.
   */
  adopt(
    lease: Lease,
    windowId: string,
    recorded: readonly Recorded[],
    more: readonly JournalEvent[],
    live: boolean,
  ): Promise<Lease>;

  /** undefined: nobody acts */
  lease(environment: string): Promise<Lease | undefined>;
  /**
   * Takes the lease if there is none, if it has expired, or if `instead` names the token of the one that is there
   * (its process is known to be dead, or it is taken over). Otherwise returns the lease that is in the way.
   */
  take(environment: string, owner: Owner, instead?: number): Promise<{ taken: Lease } | { held: Lease }>;
  /** Extends it by LEASE_MS from now. StaleToken. */
  renew(lease: Lease): Promise<Lease>;
  /** Gives it back; no error if it is gone already. */
  release(lease: Lease): Promise<void>;
  /** Closes the connection. */
  end(): Promise<void>;
}
