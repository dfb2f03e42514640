// From the command line to a command: oclif parses, everything that goes wrong ends in the catalogue's words.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Config } from '@oclif/core/config';
import { run } from '@oclif/core/run';
import { settings } from '@oclif/core/settings';
import { EXIT, EXIT_MEANS } from './errors/exit-codes.ts';
import { lostLine, outliveReaders, put } from './ui/output.ts';

interface PackageJson {
  name: string;
  version: string;
  oclif: Record<string, unknown>;
}

/** `from` is the URL of the file in bin/. Sets process.exitCode, never throws. */
export async function main(from: string, pjson: PackageJson): Promise<void> {
  const root = dirname(dirname(fileURLToPath(from)));
  settings.enableAutoTranspile = false;
  // a report that Node is asked for (--report-on-signal …) shall not hold every secret of the environment
  if (process.report) process.report.excludeEnv = true;
  outliveReaders();
  const typed = process.argv.slice(2);
  const argv = withHelp(typed);
  let ids: string[] = [];
  try {
    if (await ranDirectly(argv, root, pjson)) return;
    const config = await Config.load({
      root,
      pjson: {
        ...pjson,
        oclif: {
          ...pjson.oclif,
          topics: {
            queue: { description: 'writes that were accepted for later: look at them, move them, apply them' },
            runbook: { description: 'look at a runbook: check it, show it, its schema' },
            scope: { description: 'every way to write, and what the guards have seen of it' },
            window: { description: 'carry a window to the state of another laptop' },
          },
          commands: {
            strategy: 'explicit',
            target: import.meta.url.endsWith('.ts') ? './src/commands/index.ts' : './dist/commands.js',
            identifier: 'COMMANDS',
          },
        },
      } as never,
      ignoreManifest: true,
    } as never);
    ids = config.commandIDs;
    await run(argv, config);
    if (argv.every((word) => word === '--help')) put(process.stdout, exitCodes());
  } catch (error) {
    await ended(error, argv, ids);
  }
  // Only help and completion come here: their text is what was asked for. A stream tells its error in a later turn.
  await new Promise((resolve) => setImmediate(resolve));
  if (lostLine(process.stdout) !== undefined) process.exitCode ||= EXIT.UNSHOWN;
}

/** `-h`, `--help` and `help` mean the same everywhere: `maint -h queue`, `maint queue -h`, `maint help queue`. */
function withHelp(typed: readonly string[]): string[] {
  const end = typed.indexOf('--');
  const words = end < 0 ? typed : typed.slice(0, end);
  const isHelp = (word: string, at: number) => word === '-h' || word === '--help' || (at === 0 && word === 'help');
  if (!words.some(isHelp)) return [...typed];
  return [...words.filter((word, at) => !isHelp(word, at)), '--help', ...typed.slice(words.length)];
}

/**
 * A command that is named in full needs no list of all commands with their flags, which oclif would make, sort by a
 * locale and look for plugins' and themes' files for: a third of `maint status`.
 */
async function ranDirectly(argv: readonly string[], root: string, pjson: PackageJson): Promise<boolean> {
  const { COMMANDS } = await import('./commands/index.ts');
  // Again: oclif's command has added a listener of its own.
  outliveReaders();
  const [first = '', second] = argv;
  const words = Object.hasOwn(COMMANDS, first) ? 1 : 2;
  const id = words === 1 ? first : `${first}:${second}`;
  // help tells of all commands, and completion makes a list of them
  if (!Object.hasOwn(COMMANDS, id) || id === 'completion' || argv.includes('--help')) return false;
  const config = new Config({ root });
  const { name, version } = pjson;
  Object.assign(config, {
    root,
    name,
    version,
    pjson,
    bin: name,
    topicSeparator: ' ',
    rootPlugin: { name, hooks: {} },
    // what to type next is checked against the flags of that command
    findCommand: (wanted: string) => COMMANDS[wanted as keyof typeof COMMANDS],
  });
  const command = COMMANDS[id as keyof typeof COMMANDS] as unknown as CommandClass;
  command.id = id;
  await new command(argv.slice(words), config).go();
  return true;
}

interface CommandClass {
  id: string;
  new (argv: string[], config: Config): { go(): Promise<unknown> };
}

/** At the foot of `maint --help`, from the one table. */
function exitCodes(): string {
  const lines = Object.entries(EXIT_MEANS).map(([code, means]) => `  ${code.padStart(3)}  ${means}`);
  return `EXIT CODES\n${lines.join('\n')}\n`;
}

/** What oclif itself ends with: help and version are no errors, an unknown command is a wrong command line. */
async function ended(error: unknown, argv: readonly string[], ids: readonly string[]): Promise<void> {
  const exit = (error as { oclif?: { exit?: number } }).oclif?.exit;
  if (exit === 0) return;
  const [{ asMaintError, errorJson, errorLines }, { dress }, { documentOf, rendered }] = await Promise.all([
    import('./ui/result.ts'),
    import('./ui/layout.ts'),
    import('./ui/next.ts'),
  ]);
  const known = asMaintError(await meant(error, argv, ids));
  if (argv.includes('--json')) put(process.stdout, `${JSON.stringify(documentOf(errorJson(known)), null, 2)}\n`);
  else put(process.stderr, `${dress(rendered(errorLines(known)), { colours: false }).join('\n')}\n`);
  process.exitCode = known.exit ?? EXIT.BUG;
}

async function meant(error: unknown, argv: readonly string[], ids: readonly string[]): Promise<unknown> {
  if (!(error instanceof Error) || !/^command .* not found/i.test(error.message)) return error;
  const { mistypedCommand } = await import('./ui/mistyped.ts');
  return mistypedCommand(argv, ids);
}
