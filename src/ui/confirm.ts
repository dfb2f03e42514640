// The question before the first write: the environment's name has to be typed, or --yes said.
import { createInterface } from 'node:readline/promises';
import { MaintError } from '../errors/catalogue.ts';

export async function typeToGoOn(word: string, signal: AbortSignal): Promise<void> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await lines.question(`Type ${word} to go on: `, { signal });
    if (answer.trim() !== word)
      throw new MaintError('E_NOT_CONFIRMED', `"${answer.trim()}" is not ${word}. Nothing changed.`, {
        next: [`the same command again, and type ${word}`],
      });
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw error;
  } finally {
    lines.close();
  }
}
