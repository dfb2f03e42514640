/** Where the flag document is read. `fileSource` and `redisSource` are two; a service may bring its own. */
export interface FlagSource {
  /**
   * Begins to watch and reports to the sink, the first time at once. Must not throw, and must not keep the process alive
   * by its timers.
   */
  start(sink: FlagSink): void;
  /** Stops watching and frees what `start` opened. */
  close(): void | Promise<void>;
}

export interface FlagSink {
  /** The document as it is there now; null: there is none, which means read-write. Call it at every look, changed or not. */
  document(text: string | null): void;
  /** The source could not be asked: the state stays and ages. */
  failed(error: unknown): void;
  /** Something is wrong, but the state is still confirmed by other means (no subscription, polling works). */
  trouble(error: unknown): void;
}
