// No writes to a SQLite database: a digest of every table before and after. Who wrote is not recorded anywhere.
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { defineCheck } from '../../engine/contract.ts';
import { type Reader, statement } from '../../engine/io.ts';
import { path } from '../../engine/secret.ts';
import { OuterError } from '../../errors/catalogue.ts';
import { grouped } from './ledger.ts';
import { allowedTable, For, HoldForAudit, MOMENTS, noWrites, WATCH_DEADLINE_MS } from './no-writes.ts';
import { type Difference, type Evidence, MAX_NAMED, type Sight, type Write } from './sight.ts';

const Params = z.strictObject({
  path: path('the database file'),
  allow: z
    .array(z.strictObject({ table: allowedTable(), because: z.string().min(1) }))
    .default([])
    .meta({ description: 'tables that are written to even so, and why' }),
  for: For,
  hold_for_audit: HoldForAudit,
});
type Params = z.infer<typeof Params>;

/** `[digest, rows]`; a digest of null: too much to read within one call */
const Table = z.tuple([z.string().nullable(), z.number()]);
const Seen = z.object({
  version: z.string(),
  tables: z.record(z.string(), Table),
  /** table, index, trigger or view -> its definition's digest and the table it belongs to */
  schema: z.record(z.string(), z.tuple([z.string(), z.string()])),
  /** what is beyond the bound of one journal entry, in one */
  rest: z.object({ tables: z.number(), digest: z.string(), schema: z.string() }).optional(),
});
type Seen = z.infer<typeof Seen>;

// ANALYZE's statistics and AUTOINCREMENT's counters (both sqlite_…) are no data: the latter moves with its table.
const TABLES = statement(
  'sqlite.tables',
  `select name, type from pragma_table_list where schema = 'main' and type in ('table', 'shadow', 'virtual') and name not like 'sqlite\\_%' escape '\\' order by name`,
);
const SCHEMA = statement(
  'sqlite.schema',
  `select type, name, tbl_name as owner, coalesce(sql, '') as sql from sqlite_schema where name not like 'sqlite\\_%' escape '\\' order by type, name`,
);

export const noWritesSqlite = defineCheck<Params, Evidence>({
  name: 'no-writes/sqlite',
  proves: 'unwritten',
  deadlineMs: WATCH_DEADLINE_MS,
  summary: 'nothing is written to a SQLite database',
  Params,
  example: { path: './app.db', allow: [{ table: 'heartbeat', because: 'lag probe' }], for: '2s' },
  address: (params) => `sqlite ${params.path}`,
  on: MOMENTS,
  check: (io, context) =>
    noWrites(context, {
      unit: 'changes',
      lateMs: 0,
      Seen,
      sight: sightOf(io, context.params),
      allow: context.params.allow.map(({ table, because }) => ({ name: table, because })),
      forMs: context.params.for,
      hold: context.params.hold_for_audit,
    }),
  asks: 'its tables are read',
  async usable(io, params) {
    try {
      await io.sqlite.rows(params.path, TABLES);
      return [];
    } catch (error) {
      if (error instanceof OuterError && error.retryable) return [];
      return [error instanceof Error ? error.message : String(error)];
    }
  },
});

function sightOf(io: Reader, params: Params): Sight<Seen> {
  let known: Seen | undefined;
  return {
    async look() {
      // The version is taken first: a commit during the digests makes the next look go over them again.
      const version = await io.sqlite.version(params.path);
      if (known?.version === version) return known;
      const tables: Seen['tables'] = {};
      const listed = await io.sqlite.rows<{ name: string; type: string }>(params.path, TABLES);
      for (const { name, type } of listed) {
        // A virtual table's content is in its shadow tables, or outside of the database.
        if (type !== 'virtual') tables[name] = await digest(io, params.path, name);
      }
      const objects = await io.sqlite.rows<{ type: string; name: string; owner: string; sql: string }>(
        params.path,
        SCHEMA,
      );
      const schema: Seen['schema'] = {};
      for (const { type, name, owner, sql } of objects) schema[`${type} ${name}`] = [hash(sql), owner];
      known = { version, tables, schema };
      return known;
    },
    compare: async (from, to) => compare(from, to),
    trim,
  };
}

async function digest(io: Reader, path: string, table: string): Promise<[string | null, number]> {
  try {
    const seen = await io.sqlite.digest(path, table);
    return [seen.digest.slice(0, 32), seen.rows];
  } catch (error) {
    if (error instanceof OuterError && error.code === 'ETIMEDOUT') return [null, 0];
    throw error;
  }
}

function compare(from: Seen, to: Seen): Difference {
  if (from.version === to.version) return { still: true, writes: [], pending: [], doubts: [], notes: [] };
  const writes: Write[] = [];
  const doubts: string[] = [];
  const inRest = from.rest ? Object.keys(to.tables).filter((name) => from.tables[name] === undefined) : [];
  for (const [name, [before, rows]] of Object.entries(from.tables)) {
    const now = to.tables[name];
    // dropped: the schema tells
    if (!now || now[0] === before) {
      if (now && before === null) doubts.push(`${name} is too large to be compared`);
      continue;
    }
    if (before === null || now[0] === null) {
      doubts.push(`${name} is too large to be compared`);
      continue;
    }
    const more = now[1] - rows;
    const how =
      more === 0
        ? 'content changed'
        : `${Math.abs(more)} ${Math.abs(more) === 1 ? 'row' : 'rows'} ${more > 0 ? 'more' : 'fewer'}`;
    writes.push({ what: name, names: namesOf(name, to), count: Math.max(1, Math.abs(more)), how });
  }
  if (from.rest) {
    const rest = restOf(inRest, to);
    if (rest.digest !== from.rest.digest) {
      writes.push({
        what: `one of ${grouped(from.rest.tables)} more tables`,
        names: [],
        count: 1,
        how: 'content changed, or a table created',
      });
    }
    if (rest.schema !== from.rest.schema)
      writes.push({ what: 'the schema', names: [], count: 1, how: 'a definition changed' });
  } else {
    for (const key of new Set([...Object.keys(from.schema), ...Object.keys(to.schema)])) {
      const [before, now] = [from.schema[key], to.schema[key]];
      if (before?.[0] === now?.[0]) continue;
      const owner = (now ?? before)![1];
      const what = key.startsWith('table ') ? owner : key;
      writes.push({
        what,
        names: namesOf(owner, to),
        count: 1,
        how: before === undefined ? 'created' : now === undefined ? 'dropped' : 'its definition changed',
      });
    }
  }
  return { still: false, writes, pending: [], doubts, notes: [] };
}

/** The tables of a full-text index are allowed by the index's own name. */
function namesOf(table: string, seen: Seen): string[] {
  const owners = Object.keys(seen.schema).map((key) => key.replace(/^\w+ /, ''));
  return [table, ...owners.filter((name) => seen.tables[name] === undefined && table.startsWith(`${name}_`))];
}

function trim(seen: Seen): Seen {
  const names = Object.keys(seen.tables).sort();
  if (names.length <= MAX_NAMED && Object.keys(seen.schema).length <= MAX_NAMED) return seen;
  const kept = names.slice(0, MAX_NAMED);
  return {
    version: seen.version,
    tables: Object.fromEntries(kept.map((name) => [name, seen.tables[name]!])),
    schema: {},
    rest: restOf(names.slice(MAX_NAMED), seen),
  };
}

function restOf(names: readonly string[], { tables, schema }: Seen): NonNullable<Seen['rest']> {
  const sorted = [...names].sort();
  return {
    tables: sorted.length,
    digest: hash(JSON.stringify(sorted.map((name) => [name, tables[name]]))),
    schema: hash(JSON.stringify(Object.entries(schema).sort(([a], [b]) => (a < b ? -1 : 1)))),
  };
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
