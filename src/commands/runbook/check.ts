import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { envFlag, MaintCommand, stateFlag } from '../../ui/command.ts';

export class RunbookCheck extends MaintCommand {
  static override summary = 'Everything that the text of a runbook and its surfaces shows; needs no secrets.';
  static override examples = [
    '<%= config.bin %> runbook check',
    '<%= config.bin %> runbook check runbooks/prod.yaml --secrets',
  ];
  static override args = { file: Args.string({ description: 'the runbook; default: as for maint start' }) };
  static override flags = {
    ...envFlag,
    secrets: Flags.boolean({ description: 'also whether its variables are set here and of use' }),
    ...stateFlag,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(RunbookCheck);
    const app = await this.app(flags);
    const { checkedLines, checkedJson } = await import('../../ui/runbook.ts');
    const runbook = await app.runbook({ runbook: args.file, environment: flags.env, only: [], skip: [] });
    const path = app.shownPath(runbook.path);
    const variables = flags.secrets ? await app.variablesSet(runbook) : undefined;
    const checked = { runbook, path, variables };
    await this.print(this.wantsJson ? checkedJson(checked) : checkedLines(checked), 0);
  }
}
