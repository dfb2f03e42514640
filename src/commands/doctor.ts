import { examined } from '../app/doctor.ts';
import { MaintCommand, runbookFlags, stateFlag, stepFlags } from '../ui/command.ts';

export class Doctor extends MaintCommand {
  static override summary = 'Whether a window could work here: every address, credential, right, script and the state.';
  static override description =
    'Asks each of them and writes nothing. Exit 66 where a start would be refused, or where reads fail already.';
  static override examples = ['<%= config.bin %> doctor', '<%= config.bin %> doctor -r runbooks/prod.yaml --json'];
  static override flags = { ...runbookFlags, ...stepFlags, ...stateFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(Doctor);
    const app = await this.app(flags);
    const { doctorJson, doctorLines } = await import('../ui/doctor.ts');
    const { only = [], skip = [] } = flags;
    const result = await examined(app, { runbook: flags.runbook, environment: flags.env, only, skip });
    await this.print(this.wantsJson ? doctorJson(result) : doctorLines(result), result.exit);
  }
}
