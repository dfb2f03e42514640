import * as Flags from '@oclif/core/flags';
import { observed } from '../app/rehearse.ts';
import { MaintCommand, runbookFlags, stateFlag, stepFlags } from '../ui/command.ts';

export class Observe extends MaintCommand {
  static override summary = 'Record the world as the runbook sees it, for rehearsals without credentials.';
  static override description =
    'Looks only. What is recorded holds no secrets: states have none, and every value of a variable is redacted.';
  static override examples = [
    '<%= config.bin %> observe --output prod.world.json',
    '<%= config.bin %> observe > prod.world.json',
  ];
  static override flags = {
    ...runbookFlags,
    output: Flags.string({ char: 'o', description: 'the file to write; default: stdout', helpValue: 'FILE' }),
    ...stepFlags,
    ...stateFlag,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Observe);
    const app = await this.app(flags);
    const { observedLines, observedJson, writeWorld } = await import('../ui/observed.ts');
    const { only = [], skip = [] } = flags;
    const prepared = await app.prepare({ runbook: flags.runbook, environment: flags.env, only, skip });
    const file = await observed(app, prepared);
    if (flags.output === undefined)
      return await this.print(this.wantsJson ? file : [JSON.stringify(file, null, 2)], 0, { whole: true });
    writeWorld(flags.output, file);
    await this.print(this.wantsJson ? observedJson(file, flags.output) : observedLines(file, flags.output), 0);
  }
}
