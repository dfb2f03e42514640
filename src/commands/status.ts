import * as Flags from '@oclif/core/flags';
import { EXIT } from '../errors/exit-codes.ts';
import { envFlag, MaintCommand, stateFlag } from '../ui/command.ts';

export class Status extends MaintCommand {
  static override summary = 'What is open, until when, and what to type next.';
  static override flags = {
    ...envFlag,
    follow: Flags.boolean({ char: 'f', description: 'again and again, until it is over' }),
    ...stateFlag,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Status);
    const app = await this.app(flags);
    const { statusView } = await import('../ui/status.ts');
    for await (const view of statusView(app, { environment: flags.env, follow: flags.follow }))
      await this.print(this.wantsJson ? view.json : view.lines, view.exit);
    process.exitCode ??= EXIT.DONE;
  }
}
