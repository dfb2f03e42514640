import * as Args from '@oclif/core/args';
import { envFlag, MaintCommand, stateFlag, stepFlags } from '../../ui/command.ts';

export class RunbookShow extends MaintCommand {
  static override summary = 'The order of the start and of the end, with roles, failure policies and deadlines.';
  static override args = { file: Args.string({ description: 'the runbook; default: as for maint start' }) };
  static override flags = { ...envFlag, ...stepFlags, ...stateFlag };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(RunbookShow);
    const app = await this.app(flags);
    const { shownLines } = await import('../../ui/runbook.ts');
    const { only = [], skip = [] } = flags;
    const shown = await app.shown({ runbook: args.file, environment: flags.env, only, skip });
    await this.print(this.wantsJson ? { ok: true, exit: 0, ...shown } : shownLines(shown), 0);
  }
}
