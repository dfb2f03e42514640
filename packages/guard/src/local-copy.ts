// The last document on the service's own disk, so that a restart while the source is down does not open the writes.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isRecord } from './document.ts';

export interface Copy {
  /** The document; null: the source said that there is none. */
  readonly document: string | null;
  /** When the source said it, in milliseconds since the epoch. */
  readonly seenAt: number;
  /** Where the source found it (`FlagSink.document`); null: the source does not say. */
  readonly places: readonly string[] | null;
}

/** @returns null where there is none; throws where there is something else */
export function readCopy(path: string): Copy | null {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  const value: unknown = JSON.parse(text);
  const seenAt = isRecord(value) ? Date.parse(String(value.seen_at)) : Number.NaN;
  const document = isRecord(value) ? value.document : undefined;
  if (!Number.isFinite(seenAt) || (typeof document !== 'string' && document !== null)) {
    throw new Error('the local copy is not one that the guard wrote');
  }
  const places = isRecord(value) && Array.isArray(value.places) ? value.places.map(String) : null;
  return { document, seenAt, places };
}

/** Writes copies one after the other; of those that wait only the newest is written. */
export function copyWriter(path: string, failed: (error: unknown) => void) {
  let next: Copy | null = null;
  let writing: Promise<void> | null = null;

  async function drain(): Promise<void> {
    while (next) {
      const copy = next;
      next = null;
      try {
        const { seenAt, document, places } = copy;
        const where = places === null ? {} : { places };
        await replace(path, `${JSON.stringify({ seen_at: new Date(seenAt).toISOString(), document, ...where })}\n`);
      } catch (error) {
        failed(error);
      }
    }
    writing = null;
  }

  return {
    save(copy: Copy): void {
      next = copy;
      writing ??= drain();
    },
    /** Resolves when nothing waits any more. */
    async settled(): Promise<void> {
      await writing;
    },
  };
}

async function replace(path: string, text: string): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`);
  try {
    const file = await open(temporary, 'w', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
