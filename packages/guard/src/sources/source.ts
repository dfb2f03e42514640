/** Where the flag document is read. `fileSource` and `redisSource` are two; a service may bring its own. */
export interface FlagSource {
  /** What is read, without credentials: for the log and the metrics. */
  readonly address?: string;
  /** The part of it that may be public, for `/.well-known/maintenance`: "redis key maint:read_only". */
  readonly shown?: string;
  /**
   * Begins to watch and reports to the sink, the first time at once. Must not throw, and must not keep the process alive
   * by its timers.
   */
  start(sink: FlagSink): void;
  /** Stops watching and frees what `start` opened. */
  close(): void | Promise<void>;
}

export interface FlagSink {
  /**
   * The document as it is there now; null: there is none, and that is how a window ends there, so read-write. Call it at
   * every look, changed or not.
   *
   * @param places what tells the place where it was found from another one that has the same name
   */
  document(text: string | null, places?: readonly string[]): void;
  /**
   * The source answers, and has no document. A guard that knows of no holder goes on read-write. For a guard that knows one
   * this is a loss (`GuardOptions.onMissing`), unless the document is missing at a place where it was found before: then
   * the window has ended.
   */
  missing(place?: string): void;
  /** The source could not be asked: the state stays and ages. */
  failed(error: unknown): void;
  /** Something is wrong, but the state is still confirmed by other means (no subscription, polling works). */
  trouble(error: unknown): void;
}
