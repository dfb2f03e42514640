import { existsSync, type FSWatcher, readFileSync, type Stats, statSync, watch } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { FlagSink, FlagSource } from './source.ts';

export interface FileSourceOptions {
  /** How often the file is read although nothing was heard of it, in milliseconds. Default 1000. */
  readonly pollMs?: number;
}

/**
 * Reads the flag from a file, such as the one that `flag/file` writes. The folder is watched, since an atomic rename
 * puts another file into place, and the file is read at an interval too, since watching is silent on some file systems.
 *
 * A file that is missing in a folder that exists means read-write; a folder that is missing means that the source is
 * gone (a lost mount must not open the writes).
 */
export function fileSource(path: string, options: FileSourceOptions = {}): FlagSource {
  const file = resolve(path);
  const folder = dirname(file);
  let watcher: FSWatcher | null = null;
  let watched: string | undefined;
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
      void read().then((result) => {
        reading = false;
        if (closed) return;
        if ('text' in result) sink.document(result.text);
        else sink.failed(result.error);
        if (!again) return;
        again = false;
        look();
      });
    }

    async function read(): Promise<{ text: string | null } | { error: unknown }> {
      try {
        return { text: await readFile(file, 'utf8') };
      } catch (error) {
        if (!isMissing(error)) return { error };
      }
      try {
        await stat(folder);
        return { text: null };
      } catch (error) {
        watchFolder(undefined);
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
      sink.document(readFileSync(file, 'utf8'));
    } catch (error) {
      if (isMissing(error) && existsSync(folder)) sink.document(null);
      else sink.failed(error);
    }
    timer = setInterval(() => {
      const folderIs = stat(folder).catch(() => undefined);
      void folderIs.then((found) => {
        watchFolder(found);
        look();
      });
    }, options.pollMs ?? 1000);
    timer.unref();
  }

  return {
    start,
    close() {
      closed = true;
      if (timer) clearInterval(timer);
      watcher?.close();
    },
  };
}

function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
