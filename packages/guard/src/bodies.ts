// How many bytes of bodies may be in memory at once. Only what has arrived counts: who announces much and sends nothing
// takes nothing from others.

/** What one request holds. */
export interface Room {
  /** false: it may not hold so many more. */
  grow(bytes: number): boolean;
  close(): void;
}

export interface Bodies {
  /** @param always counts, and is never refused: the body has to be read to know whether it writes at all */
  open(always: boolean): Room;
}

export function createBodies(maxBytes: number): Bodies {
  let held = 0;

  function open(always: boolean): Room {
    let own = 0;
    return {
      grow(bytes) {
        if (!always && held + bytes > maxBytes) return false;
        own += bytes;
        held += bytes;
        return true;
      },
      close() {
        held -= own;
        own = 0;
      },
    };
  }

  return { open };
}
