// No writes to a PostgreSQL database. The counters of every table say which; they come up to ten seconds late. The
// position in the write-ahead log comes at once, but autovacuum and even reads move it: it proves only that nothing
// happened. Transactions that have not ended are in neither: these are asked for by name.
import { z } from 'zod';
import { clusterOf } from '../../clients/cluster.ts';
import { defineCheck } from '../../engine/contract.ts';
import { type Reader, type Statement, statement } from '../../engine/io.ts';
import { url } from '../../engine/secret.ts';
import { OuterError } from '../../errors/catalogue.ts';
import { fits, grouped } from './ledger.ts';
import { allowedTable, For, HoldForAudit, MOMENTS, noWrites, WATCH_DEADLINE_MS } from './no-writes.ts';
import { type Position, position, readLog } from './postgres-wal.ts';
import { type Difference, type Evidence, MAX_NAMED, type Sight, type Write } from './sight.ts';

const Params = z.strictObject({
  url: url('the primary: postgres://user@host:5432/database'),
  allow: z
    .array(z.strictObject({ table: allowedTable(), because: z.string().min(1) }))
    .default([])
    .meta({ description: 'tables that are written to even so (with or without their schema), and why' }),
  for: For,
  hold_for_audit: HoldForAudit,
});
type Params = z.infer<typeof Params>;

/** Sessions report at most once a second, and up to ten seconds late when they idle after a write. */
const LATE_MS = 11_000;
const MAX_ROLES = 200;
const MAX_PREPARED = 200;
const MAX_OPEN = 200;

const Counted = z.object({
  name: z.string(),
  /** the partitioned table that it is a part of */
  root: z.string().optional(),
  ins: z.number(),
  upd: z.number(),
  del: z.number(),
  live: z.number(),
  dead: z.number(),
  /** how often it was vacuumed or analysed: both set `live` and `dead` anew */
  kept: z.number(),
  file: z.number(),
  /** the log has no record of what is written to it */
  unlogged: z.boolean().optional(),
});
type Counted = z.infer<typeof Counted>;
const Seen = z.object({
  lsn: z.string(),
  /** The server's own clock at that position, epoch milliseconds. Absent in what earlier releases journalled. */
  now: z.number().optional(),
  started: z.string(),
  reset: z.string().nullable(),
  tables: z.record(z.string(), Counted),
  /** what is beyond the bound of one journal entry, in one */
  rest: z.object({ tables: z.number(), tuples: z.number(), files: z.number() }).optional(),
  /** WAL records by role; undefined: the server does not tell */
  roles: z.record(z.string(), z.number()).optional(),
  prepared: z.array(z.string()),
  /** open transactions that hold a table for writing: of this moment only */
  open: z.array(z.object({ what: z.string(), names: z.array(z.string()), count: z.number(), how: z.string() })),
  idle: z.array(z.string()),
});
type Seen = z.infer<typeof Seen>;

const STATE = `select pg_is_in_recovery() as replica, current_setting('track_counts') as counts,
     case when pg_is_in_recovery() then null else pg_current_wal_insert_lsn() end::text as lsn,
     extract(epoch from clock_timestamp())::float8 * 1000 as now, extract(epoch from pg_postmaster_start_time())::text as started,
     (select extract(epoch from stats_reset)::text from pg_stat_database where datname = current_database()) as reset`;
const SERVER = statement('postgres.server', STATE);
// The functions behind pg_stat_user_tables: that view also adds up every index. Large objects are rows of a catalog.
const TABLES = `select c.oid::text as id,
     case when n.nspname = 'public' then c.relname else n.nspname || '.' || c.relname end as name,
     case when c.relispartition then (select case when rn.nspname = 'public' then r.relname else rn.nspname || '.' || r.relname end
       from pg_class r join pg_namespace rn on rn.oid = r.relnamespace where r.oid = pg_partition_root(c.oid)) end as root,
     pg_stat_get_tuples_inserted(c.oid)::float8 as ins, pg_stat_get_tuples_updated(c.oid)::float8 as upd, pg_stat_get_tuples_deleted(c.oid)::float8 as del,
     pg_stat_get_live_tuples(c.oid)::float8 as live, pg_stat_get_dead_tuples(c.oid)::float8 as dead,
     (pg_stat_get_vacuum_count(c.oid) + pg_stat_get_autovacuum_count(c.oid) + pg_stat_get_analyze_count(c.oid) + pg_stat_get_autoanalyze_count(c.oid))::float8 as kept,
     c.relfilenode::bigint::float8 as file, c.relpersistence = 'u' as unlogged
   from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where c.relkind in ('r', 'm') and c.relpersistence <> 't'
     and (n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') or c.oid = 'pg_catalog.pg_largeobject'::regclass)
   order by c.oid`;
const HOLDERS = `select pid, usename::text as role, coalesce(application_name, '') as application, host(client_addr) as address, xact_start as since
   from pg_stat_activity
   where datname = current_database() and backend_xid is not null and pid <> pg_backend_pid() and usename is not null
     and coalesce(backend_type, '') <> 'autovacuum worker'
   order by pid limit 200`;
const HELD = `select distinct l.pid, case when n.nspname = 'public' then c.relname else n.nspname || '.' || c.relname end as name,
     case when c.relispartition then (select case when rn.nspname = 'public' then r.relname else rn.nspname || '.' || r.relname end
       from pg_class r join pg_namespace rn on rn.oid = r.relnamespace where r.oid = pg_partition_root(c.oid)) end as root,
     exists (select from pg_inherits i where i.inhparent = c.oid) as parent
   from pg_locks l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
   where l.pid in (select pid from pg_stat_activity where backend_xid is not null) and l.locktype = 'relation' and l.granted
     and l.database = (select oid from pg_database where datname = current_database())
     and l.mode in ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
     and c.relkind in ('r', 'm', 'p') and c.relpersistence <> 't'
     and (n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') or c.oid = 'pg_catalog.pg_largeobject'::regclass)`;
const PREPARED = `select gid, owner::text as role, prepared as since from pg_prepared_xacts where database = current_database() order by prepared limit ${MAX_PREPARED}`;
// One round trip for a look: while the walls are closed, and on the way to them, each one counts.
const LOOK = statement(
  'postgres.look',
  `select s.*, (select coalesce(json_agg(t), '[]') from (${TABLES}) t) as tables,
     (select coalesce(json_agg(p), '[]') from (${PREPARED}) p) as prepared,
     (select coalesce(json_agg(h), '[]') from (${HOLDERS}) h) as holders,
     (select coalesce(json_agg(l), '[]') from (${HELD}) l) as held
   from (${STATE}) s`,
);
// Without its texts: these are in a file that would be read as a whole.
const ROLES = statement(
  'postgres.wal-by-role',
  `select userid::regrole::text as role, sum(wal_records)::float8 as records from pg_stat_statements(false)
   where wal_records > 0 and dbid = (select oid from pg_database where datname = current_database())
   group by 1 order by 2 desc limit ${MAX_ROLES}`,
);
const WRITERS = statement(
  'postgres.roles-that-name-a-table',
  `select distinct userid::regrole::text as role from pg_stat_statements
   where wal_records > 0 and dbid = (select oid from pg_database where datname = current_database())
     and position(lower($1) in lower(query)) > 0 limit ${MAX_ROLES}`,
);
const RIGHTS = statement(
  'postgres.rights',
  `select pg_has_role(current_user, 'pg_read_all_stats', 'usage') as stats, current_user::text as role`,
);

const FOREIGN = statement(
  'postgres.foreign-tables',
  `select case when n.nspname = 'public' then c.relname else n.nspname || '.' || c.relname end as name, s.srvname::text as server
   from pg_foreign_table f join pg_class c on c.oid = f.ftrelid join pg_namespace n on n.oid = c.relnamespace
     join pg_foreign_server s on s.oid = f.ftserver
   order by 1 limit 1000`,
);
// By ALTER ROLE, for one database or all of them, and by ALTER DATABASE. What a session has set itself nobody can see.
const UNCOUNTED = statement(
  'postgres.roles-that-are-not-counted',
  `select distinct coalesce(r.rolname::text, 'everybody') as role
   from pg_db_role_setting s left join pg_roles r on r.oid = s.setrole, unnest(s.setconfig) as one
   where split_part(one, '=', 1) = 'track_counts' and not split_part(one, '=', 2)::boolean
     and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
   order by 1 limit 100`,
);

const LARGE_OBJECTS = 'pg_catalog.pg_largeobject';

export const noWritesPostgres = defineCheck<Params, Evidence>({
  name: 'no-writes/postgres',
  proves: 'unwritten',
  deadlineMs: WATCH_DEADLINE_MS,
  summary: 'nothing is written to a PostgreSQL database',
  Params,
  example: { url: '${DATABASE_URL}', allow: [{ table: 'heartbeat', because: 'lag probe' }] },
  address: ({ url }) => `postgres ${placeOf(url)}`,
  server: (io, { url }) => clusterOf(io.postgres, url),
  on: MOMENTS,
  async check(io, context) {
    // Beside the watch, which would only be longer. Who wrote is asked when the watch begins, not while the walls wait.
    const { moment, params } = context;
    const blindness = moment === 'reopen' ? [] : blindSpots(io, params).catch(() => []);
    const losses = moment === 'reopen' || moment === 'audit' ? [] : lostWithoutRights(io, params).catch(() => []);
    const result = await noWrites(context, {
      unit: 'rows',
      lateMs: LATE_MS,
      Seen,
      sight: sightOf(io, context.params),
      allow: context.params.allow.map(({ table, because }) => ({ name: table.replace(/^public\./, ''), because })),
      forMs: context.params.for,
      hold: context.params.hold_for_audit,
    });
    const [blind, lost] = await Promise.all([blindness, losses]);
    const seen =
      blind.length === 0
        ? result
        : { ...result, summary: `${result.summary}; not covered: ${blind.map(({ what }) => what).join(', ')}` };
    return { ...seen, findings: [...result.findings, ...blind.map(({ why }) => why), ...lost] };
  },
  asks: 'the server is asked what it counts',
  async usable(io, params) {
    const [server] = await io.postgres.rows<Server>(params.url, SERVER);
    return server ? unfit(server) : [];
  },
});

interface Server {
  replica: boolean;
  counts: string;
  lsn: string | null;
  now: number;
  started: string;
  reset: string | null;
}

/** Times as text, for they come as JSON. */
interface Looked extends Server {
  tables: (Counted & { id: string; root: string | null })[];
  prepared: { gid: string; role: string; since: string }[];
  holders: { pid: number; role: string; application: string; address: string | null; since: string | null }[];
  held: { pid: number; name: string; root: string | null; parent: boolean }[];
}

function unfit(server: Server): string[] {
  if (server.replica)
    return ['this is a replica, which does not tell what the primary is written to: give the address of the primary'];
  if (server.counts !== 'on') return ['track_counts is off: the server does not count what is written'];
  return [];
}

/** "0 rows" says nothing about these, so it is never said without them. */
async function blindSpots(io: Reader, { url }: Params): Promise<{ what: string; why: string }[]> {
  const [foreign, uncounted] = await Promise.all([
    io.postgres.rows<{ name: string; server: string }>(url, FOREIGN),
    io.postgres.rows<{ role: string }>(url, UNCOUNTED),
  ]);
  const few = (names: readonly string[]) =>
    names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', ');
  const spots: { what: string; why: string }[] = [];
  if (foreign.length > 0)
    spots.push({
      what: `${foreign.length} foreign ${foreign.length === 1 ? 'table' : 'tables'}`,
      why: `not covered: the foreign ${foreign.length === 1 ? 'table' : 'tables'} ${few(foreign.map(({ name }) => name))}; only ${few([...new Set(foreign.map(({ server }) => server))])} knows what is written to them: check that server as well`,
    });
  if (uncounted.length > 0) {
    const roles = uncounted.map(({ role }) => role);
    spots.push({
      what: `what ${few(roles)} writes`,
      why: `not counted: what ${few(roles)} writes, for which track_counts is off; ALTER ROLE … RESET track_counts, or the log alone can tell`,
    });
  }
  return spots;
}

/** Nothing is missing for the verdict; only less is said about who. */
async function lostWithoutRights(io: Reader, { url }: Params): Promise<string[]> {
  const [rights] = await io.postgres.rows<{ stats: boolean; role: string }>(url, RIGHTS);
  const lost: string[] = [];
  if (rights && !rights.stats)
    lost.push(`${rights.role} is no member of pg_monitor: a writer's address and statement are not seen`);
  if ((await optional(io, url, ROLES)) === undefined)
    lost.push('no pg_stat_statements: the role of a finished write cannot be named');
  return lost;
}

function sightOf(io: Reader, params: Params): Sight<Seen> {
  const { url } = params;
  let known: { lsn: string; roles: Seen['roles'] } | undefined;
  let statements = true;
  /** it did between the last two looks */
  let moving = false;
  let idleBefore: readonly string[] = [];
  return {
    async look() {
      // The first look asks for both at once. In between, the log may not move: nobody has written a record.
      const asking = statements && (known === undefined || moving) ? rolesOf() : undefined;
      asking?.catch(() => undefined);
      const [seen] = await io.postgres.rows<Looked>(url, LOOK);
      const problems = seen ? unfit(seen) : [];
      if (!seen || seen.lsn === null || problems.length > 0)
        throw new Error(problems.join('; ') || 'the server does not tell its position');
      const { lsn, now, started, reset, prepared } = seen;
      const tables: Seen['tables'] = {};
      for (const { id, root, unlogged, ...counted } of seen.tables)
        tables[id] = { ...counted, ...(root !== null && { root }), ...(unlogged && { unlogged }) };
      moving = known !== undefined && known.lsn !== lsn;
      if (asking || (statements && moving)) {
        const roles = await (asking ?? rolesOf());
        statements = roles !== undefined;
        known = { lsn, roles };
      }
      const { open, idle: idleNow } = openTransactions(seen);
      // Every ANALYZE has a transaction id for a moment; who is still there at the next look is worth a line.
      const idle = idleNow.filter((each) => idleBefore.includes(each));
      idleBefore = idleNow;
      return {
        ...{ lsn, now, started, reset, tables, open, idle },
        ...(known?.roles && { roles: known.roles }),
        prepared: prepared.map(
          ({ gid, role, since }) => `${gid} of ${role} since ${new Date(since).toISOString().slice(0, 19)}Z`,
        ),
      };
    },
    async compare(from, to, base) {
      const difference = compare(from, to);
      return { ...difference, writes: await named(difference.writes, base, to) };
    },
    async log(from, to, during) {
      const unlogged = Object.values(to.tables).flatMap(({ name, unlogged }) => (unlogged ? [name] : []));
      const files = new Map(Object.values(from.tables).map(({ file, name }) => [file, name]));
      const logged = await readLog(io, url, positionOf(from), positionOf(to), {
        unlogged,
        files,
        lateMs: LATE_MS,
        ...during,
      });
      const writes = logged.writes.map((write) => ({
        ...write,
        what: shown(write.what),
        names: namesOf(write.what, write.names?.[0]),
      }));
      return { ...logged, writes: await named(writes, from, to) };
    },
    trim,
  };

  async function rolesOf(): Promise<Seen['roles']> {
    const rows = await optional<{ role: string; records: number }>(io, url, ROLES);
    return rows && Object.fromEntries(rows.map(({ role, records }) => [role, records]));
  }

  async function named(writes: readonly Write[], base: Seen, to: Seen): Promise<Write[]> {
    const all: Write[] = [];
    for (const write of writes) {
      const known = params.allow.some(({ table }) => write.names?.some((name) => fits(name, table)));
      all.push(
        known ? write : { ...write, who: await whoWrote(io, url, write.what, base.roles, to.roles).catch(nobody) },
      );
    }
    return all;
  }
}

/** A server that went away after its looks: a write that was found stays found. */
function nobody(error: unknown): string[] {
  if (error instanceof OuterError) return [];
  throw error;
}

function positionOf({ lsn, now }: Seen): Position {
  return { lsn, at: now };
}

function openTransactions({ holders, held }: Looked): Pick<Seen, 'open' | 'idle'> {
  const open: Seen['open'] = [];
  const idle: string[] = [];
  for (const { pid, role, application, address, since } of holders) {
    const from = [application, address].filter(Boolean).join(', ');
    const how = `open transaction of ${role} (${[from, `pid ${pid}`].filter(Boolean).join(', ')})${since ? ` since ${new Date(since).toISOString().slice(11, 19)}Z` : ''}`;
    const tables = held.filter((each) => each.pid === pid);
    // A parent is locked together with its parts, which say it better.
    const own = tables.filter((each) => !each.parent || tables.length === 1);
    for (const { name, root } of own) open.push({ what: shown(name), names: namesOf(name, root), count: 0, how });
    if (own.length === 0)
      idle.push(`${how} has a transaction id, but holds no table for writing (a sequence, a lock, a temporary table)`);
  }
  return { open, idle };
}

function compare(from: Seen, to: Seen): Difference {
  const doubts: string[] = [];
  const notes: string[] = [];
  const writes: Write[] = [];
  if (from.started !== to.started) doubts.push('the server was restarted, and may have lost its counters');
  if (from.reset !== to.reset) doubts.push('the statistics were reset');
  if (from.lsn.length > 0 && position(to.lsn) < position(from.lsn))
    doubts.push('the log went back: this is another server, or an older copy of it');
  const comparable = doubts.length === 0;
  const others: Counted[] = [];
  for (const [id, now] of Object.entries(to.tables)) {
    const before = from.tables[id];
    if (!before && from.rest) others.push(now);
    else if (!before)
      writes.push({ what: shown(now.name), names: namesOf(now.name, now.root), count: now.ins, how: 'created' });
    else if (comparable) writes.push(...writesOf(before, now, doubts));
    else if (before.file !== now.file) writes.push(...writesOf({ ...now, file: before.file }, now, doubts));
  }
  for (const [id, before] of Object.entries(from.tables)) {
    if (!to.tables[id])
      writes.push({ what: shown(before.name), names: namesOf(before.name, before.root), count: 0, how: 'dropped' });
  }
  if (from.rest) {
    const rest = restOf(others);
    const more = rest.tuples - from.rest.tuples;
    const same = more === 0 && rest.tables === from.rest.tables && rest.files === from.rest.files;
    if (!same)
      writes.push({
        what: `one of ${grouped(from.rest.tables)} more tables`,
        names: [],
        count: Math.max(more, 1),
        how: 'written to, created, dropped or truncated',
      });
  }
  const pending: Write[] = [...to.open];
  for (const each of to.prepared) {
    if (from.prepared.length < MAX_PREPARED && !from.prepared.includes(each)) {
      pending.push({
        what: `prepared transaction ${each}`,
        names: [],
        count: 0,
        how: 'prepared meanwhile: what it wrote is counted when it is committed',
      });
    } else notes.push(`prepared transaction ${each} is open: COMMIT PREPARED would write through every wall`);
  }
  notes.push(...to.idle);
  const still = from.lsn === to.lsn && doubts.length === 0;
  return { still, writes, pending, doubts, notes };
}

function writesOf(before: Counted, now: Counted, doubts: string[]): Write[] {
  const [ins, upd, del] = [now.ins - before.ins, now.upd - before.upd, now.del - before.del];
  const at = { what: shown(now.name), names: namesOf(now.name, now.root) };
  const writes: Write[] = [];
  if (before.file !== now.file) writes.push({ ...at, count: 0, how: 'truncated or rewritten' });
  if (ins < 0 || upd < 0 || del < 0) {
    doubts.push(`the counters of ${at.what} went back`);
    return writes;
  }
  if (ins + upd + del === 0) return writes;
  const parts = [ins && `${ins} inserted`, upd && `${upd} updated`, del && `${del} deleted`].filter(Boolean);
  // Inserts that never lived, or deletes that left nothing dead: true as long as no vacuum has counted anew.
  const [live, dead] = [now.live - before.live, now.dead - before.dead];
  const undone =
    before.kept === now.kept &&
    before.file === now.file &&
    upd === 0 &&
    (ins === 0) !== (del === 0) &&
    live === 0 &&
    dead === ins;
  writes.push({ ...at, count: ins + upd + del, how: `${parts.join(' and ')}${undone ? ', then rolled back' : ''}` });
  return writes;
}

/** By what wrote log records since `base`, and whose statements name the table where texts may be read. */
async function whoWrote(
  io: Reader,
  url: string,
  table: string,
  before: Seen['roles'],
  now: Seen['roles'],
): Promise<string[]> {
  if (!before || !now) return [];
  const moved = Object.entries(now)
    .filter(([role, records]) => records > (before[role] ?? 0))
    .map(([role]) => role);
  if (moved.length <= 1) return moved;
  const named = await optional<{ role: string }>(io, url, WRITERS, [table.replace(/^.*\./, '')]);
  const both = moved.filter((role) => named?.some((each) => each.role === role));
  return both.length > 0 ? both : moved;
}

/** undefined: the extension is not there, not loaded, or not for this role. */
async function optional<T = Record<string, unknown>>(
  io: Reader,
  url: string,
  what: Statement,
  values: readonly unknown[] = [],
): Promise<T[] | undefined> {
  try {
    return await io.postgres.rows<T>(url, what, values);
  } catch (error) {
    if (error instanceof OuterError && ['42P01', '42883', '42501', '55000', '42703'].includes(error.code ?? ''))
      return undefined;
    throw error;
  }
}

function shown(name: string): string {
  return name === LARGE_OBJECTS ? 'large objects' : name;
}

/** "heartbeat" and "metrics.heartbeat" are allowed under either name; a part under the name of the whole. */
function namesOf(name: string, root?: string | null): string[] {
  return [
    ...new Set([name, shown(name), ...(root ? [root] : [])].flatMap((each) => [each, each.replace(/^[^.]*\./, '')])),
  ];
}

function trim(seen: Seen, last: boolean): Seen {
  const ids = Object.keys(seen.tables);
  // Which transactions are open now matters to the audit, and to nobody who looks again before.
  const own = last ? { ...seen, open: seen.open.slice(0, MAX_OPEN) } : { ...seen, open: [], idle: [] };
  if (ids.length <= MAX_NAMED) return own;
  const kept = ids.slice(0, MAX_NAMED);
  const tables = Object.fromEntries(kept.map((id) => [id, seen.tables[id]!]));
  return { ...own, tables, rest: restOf(ids.slice(MAX_NAMED).map((id) => seen.tables[id]!)) };
}

function restOf(tables: readonly Counted[]): NonNullable<Seen['rest']> {
  let tuples = 0;
  let files = 0;
  for (const { ins, upd, del, file } of tables) {
    tuples += ins + upd + del;
    files += file;
  }
  return { tables: tables.length, tuples, files };
}

/** Host, port and database; no userinfo. */
function placeOf(address: string): string {
  if (!URL.canParse(address)) return 'at an address that is not known yet';
  const { hostname, port, pathname, searchParams } = new URL(address);
  return `${searchParams.get('host') ?? hostname}:${searchParams.get('port') ?? (port || 5432)}${pathname}`;
}
