import { type BigIntStats, type FSWatcher, lstatSync, type Stats, statSync, watch } from 'node:fs';
import { lstat, readlink, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { readSmall, readSmallSync } from './small-file.ts';
import type { FlagSink, FlagSource } from './source.ts';

export interface FileSourceOptions {
  /** How often the file is read although nothing was heard of it, in milliseconds. Default 1000. */
  readonly pollMs?: number;
  /** After this many milliseconds without an answer of the file system the source counts as gone. Default 2000. */
  readonly timeoutMs?: number;
}

/**
 * Reads the flag from a file, such as the one that `flag/file` writes. The folder is watched, since an atomic rename
 * puts another file into place, and the file is read at an interval too, since watching is silent on some file systems.
 *
 * A window ends where the file is gone from the very folder that held it (by device and inode, behind links). A folder
 * that is missing or is another one, a link that leads nowhere, and what is not a file of at most 1 MiB mean that the
 * source is gone: a lost mount must not open the writes.
 */
export function fileSource(path: string, options: FileSourceOptions = {}): FlagSource {
  const file = resolve(path);
  const folder = dirname(file);
  let watcher: FSWatcher | null = null;
  let watched: string | undefined;
  const { pollMs = 1000, timeoutMs = 2000 } = options;
  let timer: NodeJS.Timeout | null = null;
  let closed = false;

  function start(sink: FlagSink): void {
    let reading = false;
    let again = false;

    function look(): void {
      if (closed) return;
      if (reading) {
        again = true;
        return;
      }
      reading = true;
      const late = setTimeout(() => !closed && sink.failed(new Error('the file system does not answer')), timeoutMs);
      late.unref();
      void read().then((result) => {
        clearTimeout(late);
        reading = false;
        if (closed) return;
        if ('error' in result) sink.failed(result.error);
        else if (result.text === null) sink.missing(result.places.at(-1));
        else sink.document(result.text, result.places);
        if (!again) return;
        again = false;
        look();
      });
    }

    async function read(): Promise<{ text: string | null; places: string[] } | { error: unknown }> {
      try {
        const before = await placesOf(file);
        const text = await readSmall(file).catch((error) => {
          if (isMissing(error)) return null;
          throw error;
        });
        const places = await placesOf(file);
        // What was read in one folder says nothing about the other one.
        if (String(before) !== String(places)) throw new Error('the folder changed while the flag was read');
        return { text, places };
      } catch (error) {
        if (isMissing(error)) watchFolder(undefined);
        return { error };
      }
    }

    /** A watcher stays with a folder that was removed, whatever is put into its place. */
    function watchFolder(found: Stats | undefined): void {
      // The number alone is often given to the next folder.
      const identity = found && `${found.dev}:${found.ino}:${found.birthtimeMs}`;
      if (closed || (watcher && identity === watched)) return;
      watcher?.close();
      watcher = null;
      watched = identity;
      if (!found) return;
      try {
        // Any name: a mounted ConfigMap changes by a rename of its `..data` link, never of the file itself.
        const opened = watch(folder, { persistent: false }, look);
        watcher = opened;
        opened.on('error', (error) => {
          opened.close();
          if (watcher === opened) watcher = null;
          sink.trouble(error);
        });
      } catch {
        // The folder cannot be watched: the interval goes on, and tries again.
      }
    }

    // Read at once and in place, so that a service which never waits for `ready()` is guarded from its first request.
    try {
      watchFolder(statSync(folder));
      sink.document(readSmallSync(file));
    } catch (error) {
      // No flag in its folder is the usual case, known before the first request; anything else, the look that follows says.
      const place = isMissing(error) ? emptyPlace(file) : undefined;
      if (place !== undefined) sink.missing(place);
    }
    look();
    timer = setInterval(() => {
      const folderIs = stat(folder).catch(() => undefined);
      void folderIs.then((found) => {
        watchFolder(found);
        look();
      });
    }, pollMs);
    timer.unref();
  }

  return {
    address: `file ${file}`,
    start,
    close() {
      closed = true;
      if (timer) clearInterval(timer);
      watcher?.close();
    },
  };
}

/**
 * What tells the folders of this name from others: the one that it stands in, and last the one where the links end. The
 * file itself need not be there.
 */
async function placesOf(file: string): Promise<string[]> {
  const places = [await placeOf(dirname(file))];
  let at = file;
  for (let links = 0; links < 40; links++) {
    const found = await lstat(at).catch((error) => {
      if (isMissing(error)) return undefined;
      throw error;
    });
    if (!found?.isSymbolicLink()) return [...places, await placeOf(dirname(at))];
    const target = resolve(await realpath(dirname(at)), await readlink(at));
    at = join(await realpath(dirname(target)), basename(target));
  }
  throw new Error('too many symbolic links');
}

/** The folder of a file that is not there, where no link has to be followed to say so. */
function emptyPlace(file: string): string | undefined {
  try {
    const found = statSync(dirname(file), { bigint: true });
    const there = lstatSync(file, { throwIfNoEntry: false });
    return found.isDirectory() && there === undefined ? placeIn(found) : undefined;
  } catch {
    return undefined;
  }
}

async function placeOf(folder: string): Promise<string> {
  const found = await stat(folder, { bigint: true });
  if (!found.isDirectory()) throw new Error(`${folder} is not a folder`);
  return placeIn(found);
}

function placeIn({ dev, ino, birthtimeNs }: BigIntStats): string {
  // The number alone is often given to the next folder.
  return `${dev}:${ino}:${birthtimeNs}`;
}

function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
