import * as Flags from '@oclif/core/flags';
import { MaintCommand, stateFlag } from '../../ui/command.ts';

export class RunbookSchema extends MaintCommand {
  static override summary = 'The JSON Schema of runbooks, for editors; with --surfaces that of surfaces.yaml.';
  static override examples = ['<%= config.bin %> runbook schema > runbooks/runbook.schema.json'];
  static override flags = {
    surfaces: Flags.boolean({ description: 'the schema of surfaces.yaml' }),
    json: stateFlag.json,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(RunbookSchema);
    const app = await this.app(flags);
    const schema = await app.schema(flags.surfaces ? 'surfaces' : 'runbook');
    await this.print(this.wantsJson ? schema : [JSON.stringify(schema, null, 2)], 0, { whole: true });
  }
}
