import * as Args from '@oclif/core/args';
import { MaintCommand, stateFlag } from '../ui/command.ts';

export class Steps extends MaintCommand {
  static override summary = 'What a runbook can be made of; with a name, its params and an example.';
  static override examples = ['<%= config.bin %> steps', '<%= config.bin %> steps flag/file'];
  static override args = { plugin: Args.string({ description: 'a plugin, or a family of them' }) };
  static override flags = { json: stateFlag.json };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Steps);
    const app = await this.app(flags);
    const { chosenPlugins, stepsLines } = await import('../ui/steps.ts');
    const plugins = chosenPlugins(await app.plugins(), args.plugin);
    await this.print(this.wantsJson ? { ok: true, exit: 0, plugins } : stepsLines(plugins, args.plugin), 0);
  }
}
