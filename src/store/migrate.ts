// An ordered list, applied in one transaction together with its record: kysely's own Migrator neither locks nor commits
// as one on SQLite. A migration that was released never changes.
import type { Kysely, Transaction } from 'kysely';
import { NewerStore } from '../engine/journal.ts';
import * as windows from './migrations/0001-windows.ts';
import * as breaks from './migrations/0002-breaks.ts';
import type { Schema } from './schema.ts';

/**
 * What a migration takes from releases that do not know it: nothing (a column with a default), `writing` (they may still
 * look), or `reading` (they would read something that is not so).
 */
type Breaks = 'nothing' | 'writing' | 'reading';

interface Migration {
  name: string;
  breaks: Breaks;
  up(db: Kysely<unknown>): Promise<void>;
}

const MIGRATIONS: readonly Migration[] = [
  { name: '0001-windows', breaks: 'reading', up: windows.up },
  { name: '0002-breaks', breaks: 'nothing', up: breaks.up },
];
/** The first one whose record has the mark. */
const MARKED = '0002-breaks';

/** Whether every migration of this release has run; asks only. NewerStore if a newer release's forbids `use`. */
export async function isCurrent(db: Kysely<Schema>, use: 'reading' | 'writing'): Promise<boolean> {
  return (await pending(db, use)).length === 0;
}

interface MigrateOptions {
  /** epoch milliseconds */
  now: number;
  /** in the same transaction, before anything else; where a transaction does not lock out others by itself, it must */
  first?(transaction: Transaction<Schema>): Promise<void>;
  /** in the same transaction, once the table of migrations is there */
  marked?(transaction: Transaction<Schema>): Promise<void>;
}

/** Applies what is missing. */
export async function migrate(db: Kysely<Schema>, release: string, options: MigrateOptions): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    await options.first?.(transaction);
    await transaction.schema
      .createTable('migrations')
      .ifNotExists()
      .addColumn('name', 'text', (column) => column.primaryKey().notNull())
      .addColumn('release', 'text', (column) => column.notNull())
      .addColumn('at', 'text', (column) => column.notNull())
      .execute();
    await options.marked?.(transaction);
    // asked again inside: another first run may have been quicker
    for (const { name, breaks, up } of await pending(transaction, 'writing')) {
      await up(transaction as unknown as Kysely<unknown>);
      const record = { name, release, at: new Date(options.now).toISOString() };
      await transaction
        .insertInto('migrations')
        .values(name < MARKED ? record : { ...record, breaks })
        .execute();
    }
  });
}

async function pending(db: Kysely<Schema>, use: 'reading' | 'writing'): Promise<Migration[]> {
  const applied = await db.selectFrom('migrations').select(['name', 'release']).orderBy('name', 'desc').execute();
  const unknown = applied.filter((row) => !MIGRATIONS.some((migration) => migration.name === row.name));
  if (unknown.length > 0) {
    const marked = await db.selectFrom('migrations').select(['name', 'breaks']).execute();
    const marks = new Map(marked.map((row) => [row.name, row.breaks]));
    // a mark that this release does not know says nothing that it could rely on
    const harmless = use === 'reading' ? ['nothing', 'writing'] : ['nothing'];
    const forbids = unknown.find((row) => !harmless.includes(marks.get(row.name) ?? ''));
    if (forbids) throw new NewerStore(forbids.release);
  }
  return MIGRATIONS.filter((migration) => !applied.some((row) => row.name === migration.name));
}
