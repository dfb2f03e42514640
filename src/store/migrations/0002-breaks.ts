import type { Kysely } from 'kysely';

/** What each migration takes from older releases. Those before it are known to all that know this column. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .alterTable('migrations')
    .addColumn('breaks', 'text', (column) => column.notNull().defaultTo('reading'))
    .execute();
}
