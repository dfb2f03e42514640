// Opens the state at the address that was named. The database itself is loaded when it is needed: start-up time counts.
import type { Journal } from '../engine/journal.ts';
import { locate, refuseNetwork, type Where } from './locate.ts';
import { LookingJournal } from './looking.ts';
import { isPostgres, postgresPlace } from './postgres-address.ts';

interface OpenOptions extends Where {
  /** false: only looks; makes no file, leaves none behind, and every method that writes throws */
  write: boolean;
  /** this release */
  version: string;
}

/** Whether the next command could write there, asked without making anything. Throws as openJournal does. */
export async function askState({ version, ...where }: Omit<OpenOptions, 'write'>): Promise<{ freeBytes?: number }> {
  const named = where.state ?? where.env['MAINT_STATE'];
  if (named !== undefined && isPostgres(named)) {
    const place = postgresPlace(named, where.state === undefined ? 'MAINT_STATE' : '--state', where.env);
    const { askPostgres } = await import('./postgres.ts');
    await askPostgres(place);
    return {};
  }
  const path = locate(where);
  refuseNetwork(path);
  const { askSqlite } = await import('./sqlite.ts');
  return await askSqlite(path, { version });
}

/** MaintError E_STATE where the place cannot be used; NewerStore where a newer release wrote it. */
export async function openJournal({ write, version, ...where }: OpenOptions): Promise<Journal> {
  const named = where.state ?? where.env['MAINT_STATE'];
  if (named !== undefined && isPostgres(named)) {
    const place = postgresPlace(named, where.state === undefined ? 'MAINT_STATE' : '--state', where.env);
    const { openPostgres, LookingPostgres } = await import('./postgres.ts');
    return write ? openPostgres(place, { version }) : new LookingPostgres(place, { version });
  }
  const path = locate(where);
  refuseNetwork(path);
  if (!write) return new LookingJournal(path, { version });
  const { openSqlite } = await import('./sqlite.ts');
  return openSqlite(path, { version });
}
