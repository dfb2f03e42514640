import * as Flags from '@oclif/core/flags';
import { durationFlag, leaseFlags, MaintCommand, runbookFlags, stateFlag, stepFlags } from '../ui/command.ts';

export class Announce extends MaintCommand {
  static override summary =
    'Tell people beforehand; nothing else is touched. Again moves it, start adopts it, abort cancels it.';
  static override examples = [
    '<%= config.bin %> announce --at 2026-12-01T02:00Z --window 30m --reason "reindex documents"',
  ];
  static override flags = {
    ...runbookFlags,
    at: Flags.string({ description: 'the planned start in UTC: 2026-12-01T02:00Z, or 02:00Z', required: true }),
    window: durationFlag({ description: 'how long the window may be' })({ required: true }),
    reason: Flags.string({ description: 'why, for the notices and the report', default: 'maintenance' }),
    ticket: Flags.string({ description: 'the ticket that goes with it' }),
    'dry-run': Flags.boolean({ description: 'plan only; nothing is written' }),
    ...stepFlags,
    ...leaseFlags,
    ...stateFlag,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Announce);
    const app = await this.app(flags);
    const [{ announce }, { parseTime }] = await Promise.all([
      import('../engine/verbs/announce.ts'),
      import('../ui/times.ts'),
    ]);
    const startsAt = parseTime(flags.at, Date.now(), 'at', 'announce --window 30m');
    this.prepared = await app.prepare({
      runbook: flags.runbook,
      environment: flags.env,
      only: flags.only ?? [],
      skip: flags.skip ?? [],
    });
    const dryRun = flags['dry-run'];
    await this.finish(
      await announce(await app.host(!dryRun), this.prepared, {
        startsAt,
        windowMs: flags.window,
        reason: flags.reason,
        ticket: flags.ticket,
        dryRun,
        ...this.leaseOf(app, flags),
      }),
    );
  }
}
