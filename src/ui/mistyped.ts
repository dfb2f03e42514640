// What was meant by a command or a flag that does not exist.
import { MaintError } from '../errors/catalogue.ts';
import { maint } from '../errors/next.ts';
import { nearestNames, nearestText } from '../runbook/nearest.ts';

/** A flag that the command does not have, with the nearest ones that it has; anything else as it was. */
export function mistypedFlag(error: unknown, id: string, known: readonly string[]): unknown {
  const flags = (error as { flags?: unknown }).flags;
  if (!Array.isArray(flags) || !(error instanceof Error) || !error.message.startsWith('Nonexistent flag')) return error;
  const command = id.replaceAll(':', ' ');
  const all = [...known, 'help'].sort();
  const unknown = flags.map((flag) => {
    const nearest = nearestText(bareName(String(flag)), all)?.replace(/[\w-]+(?=,| or |$)/g, '--$&');
    return `${flag}${nearest ? ` (did you mean ${nearest}?)` : ''}`;
  });
  return new MaintError('E_USAGE', `maint ${command} has no ${unknown.join(', no ')}.`, {
    details: [`it has ${all.map((name) => `--${name}`).join(', ')}`],
    next: [maint(command, { help: true })],
  });
}

function bareName(flag: string): string {
  return flag.replace(/^-+/, '').split('=')[0]!;
}

/** `ids`: "runbook:check". */
export function mistypedCommand(argv: readonly string[], ids: readonly string[]): MaintError {
  const names = ids.map((id) => id.replaceAll(':', ' ')).sort();
  const end = argv.findIndex((word) => word.startsWith('-'));
  const typed = end < 0 ? argv : argv.slice(0, end);
  const [first, second] = typed;
  if (first === undefined) return flagAlone(argv[0] ?? '', names);
  const inTopic = names.filter((name) => name.startsWith(`${first} `));
  const wanted = inTopic.length > 0 && second !== undefined ? `${first} ${second}` : first;
  const nearest =
    inTopic.length > 0
      ? nearestNames(
          second ?? '',
          inTopic.map((name) => name.split(' ')[1]!),
        ).map((name) => `${first} ${name}`)
      : // the first word may be slipped in ("strat"), left out ("backfill"), or a topic ("queu")
        nearestNames(first, [...new Set(names.flatMap((name) => [name, name.split(' ')[0]!]))]);
  return new MaintError('E_USAGE', `maint has no command ${JSON.stringify(wanted)}.`, {
    details: [`it has ${(inTopic.length > 0 ? inTopic : names).join(', ')}`],
    next: [
      ...nearest.map((name) => maint(name)),
      inTopic.length > 0 ? maint(first, { help: true }) : maint('', { help: true }),
    ],
  });
}

/** `maint --yes start` */
function flagAlone(flag: string, names: readonly string[]): MaintError {
  return new MaintError('E_USAGE', `The command stands first, and ${JSON.stringify(flag)} is not a command.`, {
    details: [`there are ${names.join(', ')}`],
    next: [maint('', { help: true }), maint('', { version: true })],
  });
}
