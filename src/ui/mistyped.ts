// What was meant by a command or a flag that does not exist.
import { MaintError } from '../errors/catalogue.ts';
import { nearestName } from '../runbook/problems.ts';

/** A flag that the command does not have, with the nearest one that it has; anything else as it was. */
export function mistypedFlag(error: unknown, id: string, known: readonly string[]): unknown {
  const flags = (error as { flags?: unknown }).flags;
  if (!Array.isArray(flags) || !(error instanceof Error) || !error.message.startsWith('Nonexistent flag')) return error;
  const command = `maint ${id.replaceAll(':', ' ')}`;
  const words = flags.map(String);
  const nearest = words.map((word) => nearestName(word.replace(/^-+/, '').split('=')[0]!, known));
  return new MaintError(
    'E_USAGE',
    `${command} has no ${words.map((word, i) => `${word}${nearest[i] ? ` (did you mean --${nearest[i]}?)` : ''}`).join(', no ')}.`,
    {
      details: [
        `it has ${[...known]
          .sort()
          .map((name) => `--${name}`)
          .join(', ')}`,
      ],
      next: [`${command} --help`],
    },
  );
}

/** `ids`: "runbook:check". */
export function mistypedCommand(argv: readonly string[], ids: readonly string[]): MaintError {
  const typed: string[] = [];
  for (const word of argv) {
    if (word.startsWith('-')) break;
    typed.push(word);
  }
  const topic = ids.some((id) => id.startsWith(`${typed[0]}:`)) ? typed[0] : undefined;
  const wanted = topic === undefined ? (typed[0] ?? '') : typed.slice(0, 2).join(' ');
  const names = ids.map((id) => id.replaceAll(':', ' '));
  const pool =
    topic === undefined
      ? [...new Set(names.map((name) => name.split(' ')[0]!))]
      : names.filter((name) => name.startsWith(`${topic} `));
  const nearest = nearestName(wanted, pool);
  return new MaintError('E_USAGE', `maint has no command ${JSON.stringify(wanted)}.`, {
    details: [`it has ${names.sort().join(', ')}`],
    next: nearest ? [`maint ${nearest}`, 'maint --help'] : ['maint --help'],
  });
}
