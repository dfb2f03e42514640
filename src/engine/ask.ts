// Asks one step whether it could do its work: would the server let us (allowed), and is everything there that it needs
// (usable)? Only reads, and never longer than a look.
import type { AnyPlugin, Change, Step } from './contract.ts';
import type { Clients, Reader } from './io.ts';

/** How long one look may take: a plan must not hang on something that is down. */
export const LOOK_MS = 10_000;

export interface Asker {
  clients: Pick<Clients, 'reader'>;
  signal: AbortSignal;
  now(): number;
}
export interface Answer {
  /** rights that are missing, in words */
  missing: string[];
  /** what cannot be reached or used, in words */
  unusable: string[];
  /** why nobody could be asked for the rights */
  unasked?: string | undefined;
}

export async function ask(asker: Asker, step: Step, changes: readonly Change<unknown>[]): Promise<Answer> {
  const { plugin, params } = step;
  const [rights, unusable] = await Promise.all([
    answerOf(asker, step, (reader) => allowedOf(plugin, reader, params, changes)),
    answerOf(asker, step, async (reader) => (await plugin.usable?.(reader, params)) ?? []),
  ]);
  // An interrupted question does not mean that a right is missing.
  if (asker.signal.aborted) throw asker.signal.reason;
  return {
    missing: typeof rights === 'string' ? [] : rights,
    unusable: typeof unusable === 'string' ? [unusable] : unusable,
    unasked: typeof rights === 'string' ? rights : undefined,
  };
}

async function allowedOf(plugin: AnyPlugin, reader: Reader, params: unknown, changes: readonly Change<unknown>[]) {
  return (await plugin.allowed?.(reader, params, changes)) ?? [];
}

/** The answer, or why there is none. */
async function answerOf(
  asker: Asker,
  { deadlineMs }: Step,
  question: (reader: Reader) => Promise<string[]>,
): Promise<string[] | string> {
  const deadline = asker.now() + Math.min(LOOK_MS, deadlineMs);
  const reader = asker.clients.reader({ signal: asker.signal, deadline });
  try {
    return await question(reader);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
