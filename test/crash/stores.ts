// Where the windows of the crash sweep are kept: a file of the case's own, or a schema of its own in a real server.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { missing, startPostgres } from '../support/servers.ts';

export type StoreName = 'sqlite' | 'postgres';
/** One case's state. */
export interface State {
  /** MAINT_STATE */
  address: string;
  /** everything that is recorded, one line each */
  dump(): Promise<string[]>;
  /** whether a window is not over */
  live(): Promise<boolean>;
  drop(): Promise<void>;
}
export interface Store {
  /** `folder`: of the case's world */
  state(folder: string): State;
  stop(): Promise<void>;
}

/** Why it cannot be had here; undefined: it can. */
export function missingStore(name: StoreName): string | undefined {
  return name === 'postgres' ? missing('postgres') : undefined;
}

export async function openStore(name: StoreName): Promise<Store> {
  return name === 'postgres' ? await postgres() : { state: sqlite, stop: async () => undefined };
}

function sqlite(folder: string): State {
  const path = join(folder, 'state', 'state.db');
  return {
    address: path,
    async dump() {
      if (!existsSync(path)) return [];
      const db = new DatabaseSync(path);
      try {
        const rows = db.prepare('select window_id, seq, token, body from events order by window_id, seq').all();
        return [
          ...rows.map((row) => JSON.stringify(row)),
          ...db
            .prepare('select * from windows')
            .all()
            .map((row) => JSON.stringify(row)),
        ];
      } finally {
        db.close();
      }
    },
    async live() {
      if (!existsSync(path)) return false;
      const db = new DatabaseSync(path);
      try {
        return db.prepare('select 1 from windows where live = 1').get() !== undefined;
      } finally {
        db.close();
      }
    },
    drop: async () => undefined,
  };
}

let schemas = 0;

async function postgres(): Promise<Store> {
  const server = await startPostgres();
  const { default: pg } = await import('pg');
  const pool = new pg.Pool({ connectionString: server.url, max: 2 });
  pool.on('error', () => undefined);
  return {
    state() {
      const schema = `crash${++schemas}`;
      const there = async () =>
        (await pool.query('select 1 from pg_tables where schemaname = $1 and tablename = $2', [schema, 'windows'])).rows
          .length > 0;
      return {
        address: `${server.url}?schema=${schema}`,
        async live() {
          if (!(await there())) return false;
          return (await pool.query(`select 1 from ${schema}.windows where live = 1`)).rows.length > 0;
        },
        async dump() {
          if (!(await there())) return [];
          const { rows } = await pool.query(
            `select row_to_json(e)::text as line from ${schema}.events e order by window_id, seq`,
          );
          const { rows: windows } = await pool.query(`select row_to_json(w)::text as line from ${schema}.windows w`);
          return [...rows, ...windows].map(({ line }) => line as string);
        },
        async drop() {
          await pool.query(`drop schema if exists ${schema} cascade`);
        },
      };
    },
    async stop() {
      await pool.end();
      await server.stop();
    },
  };
}
