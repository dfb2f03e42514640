// The tables, for kysely. One definition for every database: only types and SQL that SQLite and Postgres both have.
import type { Generated } from 'kysely';

/** A row of `windows`. `live` is 0 or 1: SQLite has no booleans. */
interface WindowsTable {
  id: string;
  environment: string;
  created_at: string;
  live: number;
}

/** A row of `events`; `body` is the event as JSON text, exactly as it was appended. */
interface EventsTable {
  window_id: string;
  seq: number;
  at: string;
  token: number;
  body: string;
}

/** A row of `leases`. It stays after the release (owner null), so that its token never comes back. */
export interface LeasesTable {
  environment: string;
  token: number;
  owner: string | null;
  renewed_at: number;
  expires_at: number;
}

/** Which migrations ran, and which release of maint ran them: the one to name when a file is too new. */
interface MigrationsTable {
  name: string;
  release: string;
  at: string;
  breaks: Generated<string>;
}

export interface Schema {
  windows: WindowsTable;
  events: EventsTable;
  leases: LeasesTable;
  migrations: MigrationsTable;
}
