// node:sqlite behind kysely's SQLite dialect.
import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import { CompiledQuery, type DatabaseConnection, type SqliteDatabase, SqliteDialect, SqliteDriver } from 'kysely';

/** `translate` makes every error of the database into one that names the file. */
export function nodeSqliteDialect(db: DatabaseSync, translate: (error: unknown) => Error): SqliteDialect {
  const database = adapt(db, translate);
  return new (class extends SqliteDialect {
    override createDriver() {
      return new ImmediateDriver(db, database);
    }
  })({ database });
}

class ImmediateDriver extends SqliteDriver {
  readonly #db: DatabaseSync;
  #done = () => {};
  constructor(db: DatabaseSync, database: SqliteDatabase) {
    super({ database });
    this.#db = db;
  }
  // A deferred transaction that read first cannot become a writer while another one is; it fails at once, without the busy timeout.
  override async beginTransaction(connection: DatabaseConnection): Promise<void> {
    this.#done = await turn(this.#db.location() ?? '');
    try {
      await connection.executeQuery(CompiledQuery.raw('begin immediate'));
    } catch (error) {
      this.#done();
      throw error;
    }
  }
  override async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await super.commitTransaction(connection);
    this.#done();
  }
  // SQLite rolls back by itself on a full disk; a second rollback would hide that error behind its own.
  override async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    try {
      if (this.#db.isTransaction) await super.rollbackTransaction(connection);
    } finally {
      this.#done();
    }
  }
}

const turns = new Map<string, Promise<void>>();

/**
 * One transaction per file and process at a time. A second connection of this process would wait for the first one's
 * lock without giving it the thread to finish.
 */
async function turn(path: string): Promise<() => void> {
  const before = turns.get(path);
  const { promise, resolve } = Promise.withResolvers<void>();
  turns.set(path, promise);
  await before;
  return resolve;
}

function adapt(db: DatabaseSync, translate: (error: unknown) => Error): SqliteDatabase {
  function guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw translate(error);
    }
  }
  return {
    close: () => guarded(() => db.close()),
    prepare(sql) {
      const statement = guarded(() => db.prepare(sql));
      return {
        reader: statement.columns().length > 0,
        all: (values) => guarded(() => statement.all(...(values as SQLInputValue[]))),
        run: (values) => guarded(() => statement.run(...(values as SQLInputValue[]))),
        iterate: (values) => guarded(() => statement.iterate(...(values as SQLInputValue[]))),
      };
    },
  };
}
