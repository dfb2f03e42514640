import * as Flags from '@oclif/core/flags';
import { EXIT } from '../errors/exit-codes.ts';
import { envFlag, MaintCommand, stateFlag } from '../ui/command.ts';

export class Status extends MaintCommand {
  static override summary = 'What is open, until when, and what to type next.';
  static override description =
    'For a monitor: exit 0 nothing is open, 69 a window is open or overdue, 75 somebody is acting, 68 a human is needed; with --all the gravest of all windows. --fail-on overdue: a window within its time is 0.';
  static override examples = [
    '<%= config.bin %> status',
    '<%= config.bin %> status --all --fail-on overdue',
    '<%= config.bin %> status --all --json',
    '<%= config.bin %> status --follow',
  ];
  static override flags = {
    ...envFlag,
    all: Flags.boolean({ char: 'a', description: 'every environment that has a window; exit with the gravest' }),
    follow: Flags.boolean({
      char: 'f',
      description: 'again and again, with the steps of whoever is acting, until it is over',
    }),
    'fail-on': Flags.string({
      description: 'exit 69 as long as a window is open, only once it is overdue, or 68 also where nobody can tell',
      options: ['open', 'overdue', 'unknown'],
      default: 'open',
    }),
    ...stateFlag,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Status);
    const app = await this.app(flags);
    const { statusView } = await import('../ui/status.ts');
    for await (const view of statusView(app, {
      environment: flags.env,
      follow: flags.follow,
      all: flags.all,
      failOn: flags['fail-on'] as 'open' | 'overdue' | 'unknown',
    }))
      await this.print(this.wantsJson ? view.json : view.lines, view.exit);
    process.exitCode ??= EXIT.DONE;
  }
}
