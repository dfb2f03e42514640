// stdout and stderr: a terminal, a pipe whose reader has left, a log on a full disk. What cannot be shown is dropped and
// the work goes on: a log must never decide whether production can be written to again.
import { writeSync } from 'node:fs';
import type { Out } from './lines.ts';

type Stream = NodeJS.WriteStream & { readonly fd?: number };

/** The first error of each stream that lost something. A reader that left by itself (`| head`) is not one. */
const lost = new WeakMap<Stream, string>();

const WORDS: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'the file may not grow any more',
  ESTALE: 'the network file system lost the file',
};

/** No error of these streams reaches the program. What stdout loses is told at once, by one line on stderr. */
export function outliveReaders(streams: readonly Stream[] = [process.stdout, process.stderr]): void {
  for (const stream of streams) {
    // oclif's own listener throws at anything but EPIPE
    stream.removeAllListeners('error');
    stream.on('error', (error) => failed(stream, error));
  }
}

/** One line about what this stream did not take; undefined where it took everything. */
export function lostLine(stream: Stream): string | undefined {
  const why = lost.get(stream);
  if (why === undefined) return undefined;
  const name = stream === process.stdout ? 'stdout' : 'stderr';
  return `${name} cannot be written (${why}). What it did not take is dropped; the work goes on.`;
}

function failed(stream: Stream, error: unknown): void {
  if (isGone(stream, error) || lost.has(stream)) return;
  const { code, message } = error as NodeJS.ErrnoException;
  lost.set(stream, code === undefined ? message : (WORDS[code] ?? code));
  if (stream === process.stdout) put(process.stderr, `${lostLine(stream)}\n`);
}

/** Nobody reads any more: a pipe that was closed, a terminal or a session that went away. */
function isGone(stream: Stream, error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return (
    code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED' || code === 'ECONNRESET' || (code === 'EIO' && stream.isTTY)
  );
}

/** What a terminal has that does not say how large it is: a serial line, some CI systems and `docker exec -t` say 0. */
const COLUMNS = 80;
const ROWS = 24;
/** On a narrower one each word would get a line of its own; the terminal's own breaks are easier to read. */
const COLUMNS_MIN = 20;

function columnsOf(said: number | undefined): number {
  return said ? Math.max(COLUMNS_MIN, said) : COLUMNS;
}

/** A stream as renderers want it. Writing to one that is gone or full does nothing. */
export function outOf(stream: Stream): Out {
  return {
    write: (text) => void put(stream, text),
    get columns() {
      return stream.isTTY ? columnsOf(stream.columns) : undefined;
    },
    get rows() {
      return stream.isTTY ? stream.rows || ROWS : undefined;
    },
    onResize(listener) {
      stream.on('resize', listener);
      return () => stream.off('resize', listener);
    },
  };
}

/** false: the stream asks to wait for its 'drain'. */
export function put(stream: Stream, text: string): boolean {
  if (stream.destroyed || stream.writableEnded) return true;
  try {
    if (!isFile(stream)) return stream.write(text);
    // A file that has room for a part takes that part; the stream of Node.js would call it written. Each write is tried
    // anew: a log that was cleaned up meanwhile gets the rest.
    for (let bytes = Buffer.from(text); bytes.length > 0; ) {
      const taken = writeSync(stream.fd!, bytes);
      if (taken === 0) throw new Error('it takes nothing');
      bytes = bytes.subarray(taken);
    }
  } catch (error) {
    failed(stream, error);
  }
  return true;
}

/** Files have no handle of the event loop: the stream writes to them at once, and nothing of it is pending. */
function isFile(stream: Stream): boolean {
  return (stream as { _type?: string })._type === 'fs' && typeof stream.fd === 'number';
}
