/** A longer one fires at once. */
const LONGEST = 2 ** 31 - 1;

/** Waits; rejects with the signal's reason when that comes first. */
export async function sleep(ms: number, signal?: AbortSignal | null): Promise<void> {
  signal?.throwIfAborted();
  const end = performance.now() + ms;
  for (let left = ms; left > 0; left = end - performance.now()) {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(done, Math.min(Math.ceil(left), LONGEST));
      function done(): void {
        signal?.removeEventListener('abort', stop);
        resolve();
      }
      function stop(): void {
        clearTimeout(timer);
        reject(signal?.reason);
      }
      signal?.addEventListener('abort', stop, { once: true });
    });
  }
}
