// What PostgreSQL's write-ahead log tells between two positions, read by pg_walinspect (PostgreSQL 15 and newer): which
// table of this database, how many rows, undone or not. Not who, and not what.
//
// The counters tell everything but the last seconds, so the log is read backwards from the second position: what matters
// comes first, and segments that the server has recycled since are not needed.
import type { CheckContext } from '../../engine/contract.ts';
import { type Reader, statement } from '../../engine/io.ts';
import { OuterError } from '../../errors/catalogue.ts';
import type { Logged, Write } from './sight.ts';

/** A position in the log, and the server's clock there: epoch milliseconds. */
export interface Position {
  lsn: string;
  at: number | undefined;
}

interface Reading extends Pick<CheckContext<unknown, unknown>, 'now' | 'poll' | 'progress' | 'deadline'> {
  /** tables that the log has no record of */
  unlogged: readonly string[];
  /** names by file: of tables that have another file by now, or none */
  files: ReadonlyMap<number, string>;
  /** how late the counters may be */
  lateMs: number;
}

/** About a quarter of a second of a server's time. */
const PART = 64n << 20n;
/** A record that begins in one part may end in the next: none of a table is as long as this. */
const OVERLAP = 1n << 20n;
const MOST = 1n << 30n;
const FLUSH_EVERY_MS = 250;

const FLUSHED = statement('postgres.log-flushed', 'select pg_current_wal_flush_lsn()::text as lsn');
const ROLE = statement('postgres.role', 'select quote_ident(current_user) as role');
// Names are looked up after grouping: per record it takes twenty times as long. A table that is gone has no name.
const LOG = statement(
  'postgres.log',
  `with r as materialized (
     select xid::text as xid, resource_manager as manager, record_type as type,
       case when resource_manager <> 'Transaction' then substring(block_ref from 'rel (\\d+/\\d+/\\d+)') end as rel,
       sum(case when record_type ~ '^MULTI_INSERT' then coalesce(substring(description from '(\\d+) tuples'), substring(description from 'ntuples: (\\d+)'), '1')::float8 else 1 end) as n,
       min(case when resource_manager = 'Transaction' then substring(description from '\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d[.\\d]*(?: UTC|[+-][\\d:]+)')::timestamptz end) as at
     from pg_get_wal_records_info($1::text::pg_lsn, $2::text::pg_lsn)
     where resource_manager in ('Heap', 'Heap2', 'Transaction') and start_lsn < $3::text::pg_lsn
     group by 1, 2, 3, 4),
   ended as (
     select xid, bool_or(type ~ '^ABORT') as undone, max(at) as at from r
     where manager = 'Transaction' and type ~ '^(COMMIT|ABORT)' group by 1),
   touched as (
     select xid, substring(type from '^[A-Z_]+') as kind, n, split_part(rel, '/', 3)::float8 as file,
       pg_filenode_relation(split_part(rel, '/', 1)::oid, split_part(rel, '/', 3)::oid)::oid as id
     from r where (manager = 'Heap' and type ~ '^(INSERT|UPDATE|HOT_UPDATE|DELETE)' or manager = 'Heap2' and type ~ '^MULTI_INSERT')
       and split_part(rel, '/', 2)::oid = (select oid from pg_database where datname = current_database()))
   select t.kind, case when n.nspname = 'public' then c.relname else n.nspname || '.' || c.relname end as name, t.file,
     case when c.relispartition then (select case when rn.nspname = 'public' then r.relname else rn.nspname || '.' || r.relname end
       from pg_class r join pg_namespace rn on rn.oid = r.relnamespace where r.oid = pg_partition_root(c.oid)) end as root,
     coalesce(e.undone, false) as undone, sum(t.n)::float8 as rows, null::float8 as at
   from touched t left join ended e using (xid) left join pg_class c on c.oid = t.id left join pg_namespace n on n.oid = c.relnamespace
   where c.oid is null or (c.relkind in ('r', 'm') and (n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') or c.oid = 'pg_catalog.pg_largeobject'::regclass))
   group by 1, 2, 3, 4, 5
   union all
   select 'first', null, null, null, false, 0, extract(epoch from min(at))::float8 * 1000 from ended
   union all
   select 'traceless', null, null, null, false, count(*)::float8, extract(epoch from max(at))::float8 * 1000
   from ended e where not e.undone and not exists (select from r where r.xid = e.xid and r.manager <> 'Transaction')`,
);

interface Row {
  kind: string;
  name: string | null;
  file: number | null;
  root: string | null;
  undone: boolean;
  rows: number;
  /** epoch milliseconds */
  at: number | null;
}

export async function readLog(
  io: Reader,
  url: string,
  from: Position,
  to: Position,
  reading: Reading,
): Promise<Logged> {
  const found = new Map<string, Found>();
  const first = position(from.lsn);
  const last = position(to.lsn);
  const late = to.at === undefined ? undefined : to.at - reading.lateMs;
  let reached = last;
  let covers = false;
  let traceless: number | undefined;
  let why: string | undefined;
  try {
    if (!(await flushed(io, url, last, reading)))
      return lost(reading, 'the server has not written the end of its log to disk yet (an open transaction)');
    while (reached > first && last - reached < MOST) {
      const begin = reached - PART > first ? reached - PART : first;
      const end = reached + OVERLAP < last ? reached + OVERLAP : last;
      const rows = await io.postgres.rows<Row>(url, LOG, [text(begin), text(end), text(reached)]);
      for (const row of rows) {
        if (row.kind === 'first') covers ||= late !== undefined && row.at !== null && row.at <= late;
        else if (row.kind === 'traceless') traceless = Math.max(traceless ?? 0, row.at ?? 0);
        else add(found, row, reading.files);
      }
      reached = begin;
      if (reading.now() >= reading.deadline) break;
      if (reached > first) reading.progress('reading the log of the server, backwards');
    }
  } catch (error) {
    why = await unreadable(io, url, error);
  }
  const whole = reached <= first;
  if (!whole && !covers)
    return { ...lost(reading, why ?? 'there was no time to read more of the log'), writes: writesOf(found) };
  // What an unlogged table was written has no record but the end of its transaction.
  const unknown = reading.unlogged.length > 0 && traceless !== undefined && (late === undefined || traceless > late);
  if (unknown) {
    const which = `${reading.unlogged.slice(0, 3).join(', ')}${reading.unlogged.length > 3 ? ' and others' : ''}`;
    return { ...lost(reading, `the log has no record of unlogged tables (${which})`), writes: writesOf(found) };
  }
  return { writes: writesOf(found), missingMs: 0, whole, notes: [] };
}

function lost({ lateMs }: Reading, why: string): Logged {
  return { writes: [], missingMs: lateMs, whole: false, why, notes: [] };
}

/** What lies beyond the flushed position cannot be read: an open transaction, or a commit that waits for nobody. */
async function flushed(io: Reader, url: string, to: bigint, { poll, deadline, progress }: Reading): Promise<boolean> {
  const done = await poll(
    FLUSH_EVERY_MS,
    async () => {
      const [row] = await io.postgres.rows<{ lsn: string }>(url, FLUSHED);
      if (row && position(row.lsn) >= to) return true;
      progress('waiting for the server to write its log to disk');
      return undefined;
    },
    deadline,
  );
  return done === true;
}

async function unreadable(io: Reader, url: string, error: unknown): Promise<string> {
  if (!(error instanceof OuterError)) throw error;
  if (error.code !== '42883' && error.code !== '42501') return `the log cannot be read: ${error.message}`;
  const [row] = await io.postgres.rows<{ role: string }>(url, ROLE);
  const grant = `grant execute on function pg_get_wal_records_info(pg_lsn, pg_lsn) to ${row?.role ?? 'this role'}`;
  return error.code === '42501' ? grant : `create extension pg_walinspect (PostgreSQL 15 and newer); ${grant}`;
}

interface Found {
  name: string;
  root: string | null;
  rows: Map<string, number>;
  /** each of its transactions was rolled back */
  undone: boolean;
}

const VERBS: Readonly<Record<string, string>> = {
  INSERT: 'inserted',
  MULTI_INSERT: 'inserted',
  UPDATE: 'updated',
  HOT_UPDATE: 'updated',
  DELETE: 'deleted',
};

function add(found: Map<string, Found>, row: Row, files: ReadonlyMap<number, string>): void {
  const name = row.name ?? files.get(row.file ?? -1) ?? `a table that is gone (file ${row.file})`;
  const entry = found.get(name) ?? { name, root: row.root, rows: new Map<string, number>(), undone: true };
  const verb = VERBS[row.kind] ?? row.kind.toLowerCase();
  entry.rows.set(verb, (entry.rows.get(verb) ?? 0) + row.rows);
  entry.undone &&= row.undone;
  found.set(name, entry);
}

/** `names` is the partitioned table that it is a part of, if any. */
function writesOf(found: ReadonlyMap<string, Found>): Write[] {
  return [...found.values()].map(({ name, root, rows, undone }) => ({
    what: name,
    ...(root !== null && { names: [root] }),
    count: [...rows.values()].reduce((sum, n) => sum + n, 0),
    how: `${[...rows].map(([verb, n]) => `${n} ${verb}`).join(' and ')}${undone ? ', then rolled back' : ''}`,
  }));
}

export function position(lsn: string): bigint {
  const [high = '0', low = '0'] = lsn.split('/');
  return (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`);
}

function text(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16)}/${(lsn & 0xffffffffn).toString(16)}`.toUpperCase();
}
