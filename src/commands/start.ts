import { typed } from '../errors/next.ts';
import { failOnFlag, MaintCommand, windowFlags } from '../ui/command.ts';

/** The same command line with another length of the window. */
function withWindow(argv: readonly string[], window: string): string[] {
  return argv.map((word, at) => {
    if (word.startsWith('--window=')) return `--window=${window}`;
    return argv[at - 1] === '--window' ? window : word;
  });
}

export class Start extends MaintCommand {
  static override summary = 'Put an environment into read-only mode.';
  static override description =
    'Shows the plan, asks, and works through the runbook. What fails is undone. The same command again goes on where it stopped, or stops what appeared since; it never moves the end.';
  static override examples = [
    '<%= config.bin %> start --window 30m',
    '<%= config.bin %> start --window 1h --reason "reindex documents" --ticket OPS-412',
    '<%= config.bin %> start --window 30m --dry-run',
  ];
  static override flags = { ...windowFlags(), ...failOnFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(Start);
    const app = await this.app(flags);
    const { start } = await import('../engine/verbs/start.ts');
    const prepared = await app.prepare({
      runbook: flags.runbook,
      environment: flags.env,
      only: flags.only ?? [],
      skip: flags.skip ?? [],
    });
    const dryRun = flags['dry-run'];
    await this.finish(
      await start(await app.host(!dryRun), prepared, {
        windowMs: flags.window,
        reason: flags.reason,
        ticket: flags.ticket,
        dryRun,
        ...this.leaseOf(app, flags),
        again: typed(
          'start',
          this.argv.filter((word) => word !== '--dry-run' && word !== '--full'),
        ),
        longer: (window) => typed('start', withWindow(this.argv, window)),
      }),
      flags['fail-on'],
    );
  }
}
