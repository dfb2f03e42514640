import * as Flags from '@oclif/core/flags';
import { history } from '../app/windows.ts';
import { envFlag, MaintCommand, stateFlag } from '../ui/command.ts';

export class History extends MaintCommand {
  static override summary = 'The windows of this state, newest first.';
  static override examples = [
    '<%= config.bin %> history --env prod --since 2026-11-01',
    '<%= config.bin %> history --matching OPS-1234',
    '<%= config.bin %> history --trouble --limit 5 --json',
  ];
  static override flags = {
    ...envFlag,
    since: Flags.string({ description: 'opened then or later: 2026-11-01 (UTC), or a time', helpValue: '2026-11-01' }),
    matching: Flags.string({
      description: 'only those with this text in who, why, ticket or id; capitals do not matter',
      helpValue: 'OPS-1234',
    }),
    trouble: Flags.boolean({
      description:
        'only those with something to look at, or where something failed, was late or was opened by somebody',
    }),
    limit: Flags.integer({ description: 'the newest so many', min: 1, max: 10_000, default: 20 }),
    ...stateFlag,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(History);
    const app = await this.app(flags);
    const [{ historyJson, historyLines }, { parseSince }] = await Promise.all([
      import('../ui/history.ts'),
      import('../ui/times.ts'),
    ]);
    const since = flags.since === undefined ? undefined : parseSince(flags.since);
    const past = await history(app, {
      environment: flags.env,
      since,
      limit: flags.limit,
      matching: flags.matching,
      trouble: flags.trouble,
    });
    await this.print(this.wantsJson ? historyJson(past) : historyLines(past), 0);
  }
}
