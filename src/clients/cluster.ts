// Which PostgreSQL cluster is behind an address: two names of one server are one server.
import { type PostgresReader, statement } from '../engine/io.ts';

const CLUSTER = statement('cluster', 'select system_identifier::text as id from pg_control_system()');

export async function clusterOf(postgres: PostgresReader, url: string): Promise<string | undefined> {
  const address = new URL(url);
  // of a queue's address, and no parameter of the server's
  address.searchParams.delete('schema');
  const [row] = await postgres.rows<{ id: string }>(address.href, CLUSTER);
  return row && `PostgreSQL cluster ${row.id}`;
}
