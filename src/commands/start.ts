import * as Flags from '@oclif/core/flags';
import { durationFlag, leaseFlags, MaintCommand, runbookFlags, stateFlag, stepFlags } from '../ui/command.ts';

export class Start extends MaintCommand {
  static override summary = 'Put an environment into read-only mode.';
  static override description =
    'Shows the plan, asks, and works through the runbook. What fails is undone. The same command again goes on where it stopped, or stops what appeared since; it never moves the end.';
  static override examples = [
    '<%= config.bin %> start --window 30m',
    '<%= config.bin %> start --window 1h --reason "reindex documents" --ticket OPS-412',
    '<%= config.bin %> start --window 30m --dry-run',
  ];
  static override flags = {
    ...runbookFlags,
    window: durationFlag({ description: 'how long the window may be' })({ required: true }),
    reason: Flags.string({ description: 'why, for the notices and the report', default: 'maintenance' }),
    ticket: Flags.string({ description: 'the ticket that goes with it' }),
    'dry-run': Flags.boolean({ description: 'plan only; nothing is written' }),
    ...stepFlags,
    ...leaseFlags,
    ...stateFlag,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Start);
    const app = await this.app(flags);
    const { start } = await import('../engine/verbs/start.ts');
    this.prepared = await app.prepare({
      runbook: flags.runbook,
      environment: flags.env,
      only: flags.only ?? [],
      skip: flags.skip ?? [],
    });
    const dryRun = flags['dry-run'];
    await this.finish(
      await start(await app.host(!dryRun), this.prepared, {
        windowMs: flags.window,
        reason: flags.reason,
        ticket: flags.ticket,
        dryRun,
        ...this.leaseOf(app, flags),
        again: ['maint', 'start', ...this.argv].join(' '),
      }),
    );
  }
}
