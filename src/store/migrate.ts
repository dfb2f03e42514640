// An ordered list, applied in one transaction together with its record: kysely's own Migrator neither locks nor commits
// as one on SQLite. A migration that was released never changes.
import type { Kysely } from 'kysely';
import { NewerStore } from '../engine/journal.ts';
import * as windows from './migrations/0001-windows.ts';
import type { Schema } from './schema.ts';

const MIGRATIONS: readonly { name: string; up(db: Kysely<unknown>): Promise<void> }[] = [
  { name: '0001-windows', up: windows.up },
];

/** Whether every migration has run, read only. NewerStore if there is one that this release does not know. */
export async function isCurrent(db: Kysely<Schema>): Promise<boolean> {
  return (await pending(db)).length === 0;
}

/** Applies what is missing. The transaction must lock out other writers from its beginning, as ours on SQLite does. */
export async function migrate(db: Kysely<Schema>, release: string, now: number): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    await transaction.schema
      .createTable('migrations')
      .ifNotExists()
      .addColumn('name', 'text', (column) => column.primaryKey().notNull())
      .addColumn('release', 'text', (column) => column.notNull())
      .addColumn('at', 'text', (column) => column.notNull())
      .execute();
    // asked again inside: another first run may have been quicker
    for (const migration of await pending(transaction)) {
      await migration.up(transaction as unknown as Kysely<unknown>);
      await transaction
        .insertInto('migrations')
        .values({ name: migration.name, release, at: new Date(now).toISOString() })
        .execute();
    }
  });
}

async function pending(db: Kysely<Schema>) {
  const applied = await db.selectFrom('migrations').select(['name', 'release']).orderBy('name', 'desc').execute();
  const newer = applied.find((row) => !MIGRATIONS.some((migration) => migration.name === row.name));
  if (newer) throw new NewerStore(newer.release);
  return MIGRATIONS.filter((migration) => !applied.some((row) => row.name === migration.name));
}
