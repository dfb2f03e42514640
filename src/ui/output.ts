// stdout and stderr as they are today: a terminal of some width, a pipe whose reader has seen enough, a session that is gone.
import type { Out } from './lines.ts';

/** Both streams may vanish at any time (`| head`, a lost ssh session); what is being done goes on without them. */
export function outliveReaders(streams: readonly NodeJS.WriteStream[] = [process.stdout, process.stderr]): void {
  for (const stream of streams) {
    // oclif's own listener throws at anything but EPIPE; a terminal that is gone says EIO.
    stream.removeAllListeners('error');
    stream.on('error', ignoreGone);
  }
}

function ignoreGone(error: NodeJS.ErrnoException): void {
  if (!isGone(error)) throw error;
}

function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'EPIPE' || code === 'EIO' || code === 'ERR_STREAM_DESTROYED' || code === 'ECONNRESET';
}

/** A stream as renderers want it. Writing to one that is gone does nothing. */
export function outOf(stream: NodeJS.WriteStream): Out {
  return {
    write(text) {
      if (stream.destroyed || stream.writableEnded) return;
      try {
        stream.write(text);
      } catch (error) {
        if (!isGone(error)) throw error;
      }
    },
    get columns() {
      return stream.isTTY ? stream.columns : undefined;
    },
    get rows() {
      return stream.isTTY ? stream.rows : undefined;
    },
    onResize(listener) {
      stream.on('resize', listener);
      return () => stream.off('resize', listener);
    },
  };
}
