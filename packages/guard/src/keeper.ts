// Keeps the last known state: fed by the source, by the local copy before it, and by nothing else.
import type { Tally } from './counts.ts';
import { parseDocument } from './document.ts';
import { type Copy, copyWriter, readCopy } from './local-copy.ts';
import type { FlagSink, FlagSource } from './sources/source.ts';
import { isHeld, type State, stateOf, unknownState, vanishedState } from './state.ts';

/** Static messages with fields; level `info` is a change of the state, `warn` a trouble, `error` a fault of the guard. */
export type GuardLog = (level: 'info' | 'warn' | 'error', message: string, fields: Record<string, unknown>) => void;

/** Where the first known state came from. `unknown`: the source did not answer in time and there is no local copy. */
export type Ready = 'source' | 'local_copy' | 'unknown';

export interface KeeperOptions {
  readonly source: FlagSource;
  readonly environment: string | undefined;
  readonly onUnknown: 'pass' | 'refuse';
  readonly onMissing: 'hold' | 'open';
  readonly localCopy: string | undefined;
  readonly readyTimeoutMs: number;
  readonly clock: () => number;
  readonly monotonic: () => number;
  readonly log: GuardLog;
  readonly tally: Tally;
}

/** The end of a window leaves an empty document for so long: a copy that is older may have missed the end. */
const ENDED_STAYS_MS = 24 * 60 * 60 * 1000;

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
  const { source, environment, localCopy, clock, monotonic, log, tally } = options;
  let seen: Moment | null = null;
  let document: string | null | undefined;
  let places: readonly string[] | null = null;
  let broken: string | null = null;
  let gone = false;
  /** Nothing but the local copy has spoken yet. */
  let fromCopy = false;
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
    ageMs: () => (seen === null ? null : Math.max(0, clock() - seen.wall, Math.floor(monotonic() - seen.monotonic))),
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
    if ('problem' in parsed) return refuseDocument(text, parsed.problem);
    const before = keeper.current;
    const after = stateOf(parsed.flag, environment);
    const was = isHeld(before, now);
    const is = isHeld(after, now);
    if (parsed.flag.later && !is) return refuseDocument(text, 'of a version that is not known here, for others only');
    broken = null;
    if (is && !(was && before.known)) tally.periodBegins();
    document = text;
    replaceState(after, now);
    if (was !== is || !before.known) {
      log('info', is ? 'read-only' : 'read-write', { holders: after.holders.map((h) => h.window) });
    }
    return true;
  }

  function refuseDocument(text: string | null, problem: string): false {
    tally.error('document');
    if (broken !== text) log('warn', 'the flag document is broken, the last known state stays', { problem });
    broken = text;
    return false;
  }

  function replaceState(after: State, now: number): void {
    if (keeper.current.known) heldAt = keeper.lastHeldAt(now);
    keeper.current = after;
    for (const listener of listeners) listener();
  }

  /**
   * There is no document. Where it vanished while it held, it was not confirmed, so it ages.
   *
   * @returns whether it goes on holding
   */
  function holdsOn(now: number): boolean {
    if (options.onMissing === 'open' || !keeper.current.known || !isHeld(keeper.current, now)) return false;
    const lapses = fromCopy && (keeper.ageMs() ?? 0) > ENDED_STAYS_MS;
    const after = document === undefined ? keeper.current : vanishedState(keeper.current, lapses);
    if (!isHeld(after, now)) return false;
    tally.error('missing');
    if (document === undefined) return true;
    const holders = after.holders.map((h) => h.window);
    log('warn', 'the flag has vanished while somebody held it: writes stay refused', { holders });
    // The same document, found again, is to be taken again.
    document = undefined;
    replaceState(after, now);
    return true;
  }

  function momentOf(now: number, wall = now): Moment {
    return { wall, monotonic: monotonic() - Math.max(0, now - wall) };
  }

  function trouble(kind: 'source' | 'localCopy', error: unknown): void {
    tally.error(kind);
    log('warn', kind === 'source' ? 'trouble with the flag source' : 'the local copy cannot be used', {
      error: textOf(error),
    });
  }

  const sink: FlagSink = {
    document(text, found) {
      const now = clock();
      if (text !== document && !take(text, now)) return;
      const changed = seen === null || gone;
      places = found ?? null;
      fromCopy = false;
      if (gone) log('info', 'the flag source is back', {});
      gone = false;
      broken = null;
      seen = momentOf(now);
      clearTimeout(giveUp);
      firstKnown('source');
      if (changed || saved?.document !== text || String(saved.places) !== String(places))
        save({ document: text, seenAt: now, places });
    },
    missing(place) {
      const now = clock();
      const compared = place !== undefined && places !== null;
      if (compared && !places?.includes(place)) {
        sink.failed(new Error('the flag is not there, and its folder is another one than before'));
      } else if (compared || !holdsOn(now)) sink.document(null, place === undefined ? undefined : [place]);
    },
    failed(error) {
      tally.error('source');
      if (!gone) log('warn', 'the flag source is gone, the last known state stays', { error: textOf(error) });
      gone = true;
    },
    trouble: (error) => trouble('source', error),
  };

  let saved: Copy | undefined;
  function save(copy: Copy): void {
    saved = copy;
    copies?.save(copy);
  }

  if (localCopy !== undefined) {
    try {
      const copy = readCopy(localCopy);
      if (copy && take(copy.document, clock())) {
        seen = momentOf(clock(), copy.seenAt);
        places = copy.places;
        fromCopy = true;
      }
    } catch (error) {
      trouble('localCopy', error);
    }
  }
  if (source.address !== undefined) log('info', 'the flag is read', { source: source.address });
  try {
    source.start(sink);
  } catch (error) {
    sink.failed(error);
  }
  return keeper;
}

/** A moment by both clocks: that of the wall may be set back, the other one stands still while the machine sleeps. */
interface Moment {
  readonly wall: number;
  readonly monotonic: number;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
