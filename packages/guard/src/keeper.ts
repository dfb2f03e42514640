// Keeps the last known state: fed by the source, by the local copy before it, and by nothing else.
import type { Tally } from './counts.ts';
import { parseDocument } from './document.ts';
import { type Copy, copyWriter, readCopy } from './local-copy.ts';
import type { FlagSink, FlagSource } from './sources/source.ts';
import { isHeld, type State, stateOf, unknownState } from './state.ts';

/** Static messages with fields; level `info` is a change of the state, `warn` a trouble, `error` a fault of the guard. */
export type GuardLog = (level: 'info' | 'warn' | 'error', message: string, fields: Record<string, unknown>) => void;

/** Where the first known state came from. `unknown`: the source did not answer in time and there is no local copy. */
export type Ready = 'source' | 'local_copy' | 'unknown';

export interface KeeperOptions {
  readonly source: FlagSource;
  readonly environment: string | undefined;
  readonly onUnknown: 'pass' | 'refuse';
  readonly localCopy: string | undefined;
  readonly readyTimeoutMs: number;
  readonly clock: () => number;
  readonly log: GuardLog;
  readonly tally: Tally;
}

export interface Keeper {
  /** Replaced as a whole at every change: a request reads it once. */
  readonly current: State;
  ageMs(): number | null;
  /** When somebody last held, as far as it is known; -Infinity: never seen. */
  lastHeldAt(now: number): number;
  /** Called after every change of the state. Returns how to stop that. */
  onChange(listener: () => void): () => void;
  ready(): Promise<Ready>;
  close(): Promise<void>;
}

export function createKeeper(options: KeeperOptions): Keeper {
  const { source, environment, localCopy, clock, log, tally } = options;
  let seenAt: number | null = null;
  let document: string | null | undefined;
  let broken: string | null = null;
  let gone = false;
  const copies = localCopy === undefined ? null : copyWriter(localCopy, (error) => trouble('localCopy', error));

  let firstKnown: (ready: Ready) => void = () => {};
  const ready = new Promise<Ready>((resolve) => {
    firstKnown = resolve;
  });
  const giveUp = setTimeout(() => firstKnown(keeper.current.known ? 'local_copy' : 'unknown'), options.readyTimeoutMs);

  let heldAt = Number.NEGATIVE_INFINITY;
  const listeners = new Set<() => void>();
  const keeper = {
    current: unknownState(options.onUnknown),
    lastHeldAt(now: number) {
      const { known, holdsUntil } = keeper.current;
      return known ? Math.max(heldAt, Math.min(holdsUntil, now)) : heldAt;
    },
    onChange(listener: () => void) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    ageMs: () => (seenAt === null ? null : Math.max(0, clock() - seenAt)),
    ready: () => ready,
    async close() {
      clearTimeout(giveUp);
      firstKnown(keeper.current.known ? 'local_copy' : 'unknown');
      try {
        await source.close();
      } catch (error) {
        trouble('source', error);
      }
      await copies?.settled();
    },
  };

  /** @returns false where the document is broken: the state stays */
  function take(text: string | null, now: number): boolean {
    const parsed = parseDocument(text);
    if ('problem' in parsed) {
      tally.error('document');
      if (broken !== text)
        log('warn', 'the flag document is broken, the last known state stays', { problem: parsed.problem });
      broken = text;
      return false;
    }
    broken = null;
    const before = keeper.current;
    const after = stateOf(parsed.flag, environment);
    const was = isHeld(before, now);
    const is = isHeld(after, now);
    if (is && !(was && before.known)) tally.periodBegins();
    if (before.known) heldAt = keeper.lastHeldAt(now);
    keeper.current = after;
    document = text;
    for (const listener of listeners) listener();
    if (was !== is || !before.known) {
      log('info', is ? 'read-only' : 'read-write', { holders: after.holders.map((h) => h.window) });
    }
    return true;
  }

  function trouble(kind: 'source' | 'localCopy', error: unknown): void {
    tally.error(kind);
    log('warn', kind === 'source' ? 'trouble with the flag source' : 'the local copy cannot be used', {
      error: textOf(error),
    });
  }

  const sink: FlagSink = {
    document(text) {
      const now = clock();
      if (text !== document && !take(text, now)) return;
      const changed = seenAt === null || gone;
      if (gone) log('info', 'the flag source is back', {});
      gone = false;
      broken = null;
      seenAt = now;
      clearTimeout(giveUp);
      firstKnown('source');
      if (changed || saved !== text) save({ document: text, seenAt: now });
    },
    failed(error) {
      tally.error('source');
      if (!gone) log('warn', 'the flag source is gone, the last known state stays', { error: textOf(error) });
      gone = true;
    },
    trouble: (error) => trouble('source', error),
  };

  let saved: string | null | undefined;
  function save(copy: Copy): void {
    saved = copy.document;
    copies?.save(copy);
  }

  if (localCopy !== undefined) {
    try {
      const copy = readCopy(localCopy);
      if (copy && take(copy.document, clock())) seenAt = copy.seenAt;
    } catch (error) {
      trouble('localCopy', error);
    }
  }
  try {
    source.start(sink);
  } catch (error) {
    sink.failed(error);
  }
  return keeper;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
