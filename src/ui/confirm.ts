// The question before the first write: the environment's name has to be typed, or --yes said.
import { createInterface } from 'node:readline';
import { MaintError } from '../errors/catalogue.ts';
import { advice } from '../errors/next.ts';

interface Prompt {
  input: NodeJS.ReadableStream;
  output: NodeJS.WritableStream;
}

/** Resolves when `word` was typed; everything else means that nothing begins. */
export async function typeToGoOn(
  word: string,
  signal: AbortSignal,
  { input, output }: Prompt = { input: process.stdin, output: process.stderr },
): Promise<void> {
  if (signal.aborted) throw signal.reason;
  const lines = createInterface({ input, output });
  const stop = new AbortController();
  const answer = new Promise<string>((resolve, reject) => {
    lines.once('line', resolve);
    // readline holds the terminal in raw mode: Ctrl-C comes here, and never as a signal.
    lines.once('SIGINT', () => reject(new MaintError('E_INTERRUPTED', 'interrupted at the prompt')));
    lines.once('close', () => reject(notConfirmed(word, 'There was no answer')));
    lines.once('error', () => reject(notConfirmed(word, 'The terminal is gone')));
    signal.addEventListener('abort', () => reject(signal.reason), { once: true, signal: stop.signal });
  });
  lines.setPrompt(`Type ${word} to go on: `);
  lines.prompt();
  try {
    const typed = (await answer.catch(onNewLine)).trim();
    if (typed !== word) throw notConfirmed(word, typed === '' ? 'Nothing was typed' : `"${typed}" is not ${word}`);
  } finally {
    stop.abort();
    lines.close();
  }
  /** Ctrl-C and Ctrl-D leave the cursor behind the question. */
  function onNewLine(error: unknown): never {
    output.write('\n');
    throw error;
  }
}

function notConfirmed(word: string, what: string): MaintError {
  return new MaintError('E_NOT_CONFIRMED', `${what}. Nothing changed.`, {
    next: [advice(`the same command again, and type ${word}`)],
  });
}
