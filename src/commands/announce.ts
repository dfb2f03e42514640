import * as Flags from '@oclif/core/flags';
import { MaintCommand, windowFlags } from '../ui/command.ts';

export class Announce extends MaintCommand {
  static override summary =
    'Tell people beforehand; nothing else is touched. Again moves it, start adopts it, abort cancels it.';
  static override examples = [
    '<%= config.bin %> announce --at 2026-12-01T02:00Z --window 30m --reason "reindex documents"',
  ];
  static override flags = {
    at: Flags.string({ description: 'the planned start in UTC: 2026-12-01T02:00Z, or 02:00Z', required: true }),
    ...windowFlags(),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Announce);
    const app = await this.app(flags);
    const [{ announce }, { parseTime }] = await Promise.all([
      import('../engine/verbs/announce.ts'),
      import('../ui/times.ts'),
    ]);
    const startsAt = parseTime(flags.at, Date.now(), 'at', 'announce --window 30m');
    const prepared = await app.prepare({
      runbook: flags.runbook,
      environment: flags.env,
      only: flags.only ?? [],
      skip: flags.skip ?? [],
    });
    const dryRun = flags['dry-run'];
    await this.finish(
      await announce(await app.host(!dryRun), prepared, {
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
