import type { Kysely } from 'kysely';

// Kysely<unknown>: a migration is frozen, the schema's types go on.
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('windows')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('environment', 'text', (column) => column.notNull())
    .addColumn('created_at', 'text', (column) => column.notNull())
    .addColumn('live', 'integer', (column) => column.notNull())
    .execute();
  await db.schema
    .createIndex('windows_one_live')
    .unique()
    .on('windows')
    .column('environment')
    .where('live' as never, '=', 1)
    .execute();
  await db.schema
    .createTable('events')
    .addColumn('window_id', 'text', (column) => column.notNull().references('windows.id'))
    .addColumn('seq', 'integer', (column) => column.notNull())
    .addColumn('at', 'text', (column) => column.notNull())
    .addColumn('token', 'bigint', (column) => column.notNull())
    .addColumn('body', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('events_pk', ['window_id', 'seq'])
    .execute();
  await db.schema
    .createTable('leases')
    .addColumn('environment', 'text', (column) => column.primaryKey().notNull())
    .addColumn('token', 'bigint', (column) => column.notNull())
    .addColumn('owner', 'text')
    .addColumn('renewed_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .execute();
}
