// For who only looks (status, dry run, rehearse): makes no file, leaves none, and loads no database where there is none.
// Each call opens the file anew, so that a window which begins later is seen, and no lock outlives a question.
import { existsSync } from 'node:fs';
import type { Recorded } from '../engine/events.ts';
import type { Journal, Lease, WindowRow } from '../engine/journal.ts';
import type { SqliteOptions } from './sqlite.ts';

export class LookingJournal implements Journal {
  readonly address: string;
  readonly shared = false;
  readonly #path: string;
  readonly #options: SqliteOptions;

  constructor(path: string, options: SqliteOptions) {
    this.address = `sqlite ${path}`;
    this.#path = path;
    this.#options = options;
  }

  async now(): Promise<number> {
    return (this.#options.clock ?? Date.now)();
  }
  windows(filter?: { environment?: string; live?: boolean; id?: string }): Promise<WindowRow[]> {
    return this.#look((journal) => journal.windows(filter), []);
  }
  read(windowId: string, after?: number): Promise<Recorded[]> {
    return this.#look((journal) => journal.read(windowId, after), []);
  }
  lease(environment: string): Promise<Lease | undefined> {
    return this.#look<Lease | undefined>((journal) => journal.lease(environment), undefined);
  }
  async end(): Promise<void> {}

  open = refuse;
  append = refuse;
  close = refuse;
  adopt = refuse;
  take = refuse;
  renew = refuse;
  release = refuse;

  async #look<T>(ask: (journal: Journal) => Promise<T>, otherwise: T): Promise<T> {
    if (!existsSync(this.#path)) return otherwise;
    const { lookSqlite } = await import('./sqlite.ts');
    const journal = await lookSqlite(this.#path, this.#options);
    if (!journal) return otherwise;
    try {
      return await ask(journal);
    } finally {
      await journal.end();
    }
  }
}

async function refuse(): Promise<never> {
  throw new Error('this journal was opened for looking only');
}
