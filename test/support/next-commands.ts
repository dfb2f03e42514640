// A command that was named as the next one, through the parser of the command class that it names.
import { Parser } from '@oclif/core';
import { COMMANDS } from '../../src/commands/index.ts';

type CommandClass = (typeof COMMANDS)[keyof typeof COMMANDS];

/** What a person fills in, and what a test knows no value of; with the values that a flag's own parser takes. */
const SAMPLES: Readonly<Record<string, string>> = {
  window: '30m',
  soak: '30m',
  by: '30m',
  at: '2036-12-01T02:00Z',
  until: '2036-12-01T02:00Z',
};

export function sampleOf(flag: string): string {
  return SAMPLES[flag] ?? 'x';
}

/** What is wrong with it; undefined: the command takes it as it stands. */
export async function refusedBy(argv: readonly string[]): Promise<string | undefined> {
  const [program, ...words] = argv;
  if (program !== 'maint') return `${program} is not maint`;
  if (words.at(-1) === '--help' || words.at(-1) === '--version') return undefined;
  const [first = '', second] = words;
  const two = `${first}:${second}`;
  const id = Object.hasOwn(COMMANDS, two) ? two : first;
  if (!Object.hasOwn(COMMANDS, id)) return `${words.join(' ')}: no such command`;
  const command: CommandClass = COMMANDS[id as keyof typeof COMMANDS];
  try {
    await Parser.parse(words.slice(id === two ? 2 : 1), {
      flags: command.flags as never,
      args: command.args as never,
      strict: command.strict,
    });
  } catch (error) {
    return `${words.join(' ')}: ${(error as Error).message}`;
  }
  return undefined;
}
