// The journal as a command has it: it only looks until something is to be kept, and no secret reaches it in words.
import type { JournalEvent } from '../engine/events.ts';
import type { Journal } from '../engine/journal.ts';

/** States hold no secret by the contract; what is said in words is redacted here. */
export function redactingJournal(
  looking: Journal,
  openForWriting: () => Promise<Journal>,
  redact: <T>(value: T) => T,
): Journal {
  let target = looking;
  const opened = async (): Promise<Journal> => {
    if (target === looking) {
      target = await openForWriting();
      await looking.end();
    }
    return target;
  };
  return new Proxy(looking, {
    get: (_looking, key: keyof Journal) => {
      if (key === 'open' || key === 'append' || key === 'close')
        return async (lease: never, id: string, events: JournalEvent[]) =>
          (await opened())[key](
            lease,
            id,
            events.map((event) => redactEvent(event, redact)),
          );
      if (key === 'take' || key === 'renew' || key === 'release' || key === 'adopt')
        return async (...args: unknown[]) => ((await opened())[key] as (...args: unknown[]) => unknown)(...args);
      const value = target[key];
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value;
    },
  });
}

function redactEvent(event: JournalEvent, redact: <T>(value: T) => T): JournalEvent {
  switch (event.type) {
    case 'failed':
    case 'checked':
    case 'settled':
    case 'missed':
    case 'action':
    case 'note':
      return redact(event);
    default:
      return event;
  }
}
