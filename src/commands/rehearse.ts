import * as Flags from '@oclif/core/flags';
import { rehearsed } from '../app/rehearse.ts';
import { EXIT } from '../errors/exit-codes.ts';
import { durationFlag, MaintCommand, runbookFlags, stateFlag, stepFlags } from '../ui/command.ts';

export class Rehearse extends MaintCommand {
  static override summary = 'Plan the start and the end, and prove that the way back leads home; nothing is written.';
  static override description =
    'Looks at the live world, or takes one that maint observe recorded: then no credentials are needed, and nothing is called.';
  static override examples = [
    '<%= config.bin %> rehearse',
    '<%= config.bin %> rehearse --world prod.world.json --format junit > rehearsal.xml',
  ];
  static override flags = {
    ...runbookFlags,
    world: Flags.string({ description: 'a world that maint observe recorded', helpValue: 'FILE' }),
    window: durationFlag({ description: 'whether a window of this length is long enough' })(),
    format: Flags.string({
      description: 'text, or what a CI system reads',
      options: ['text', 'json', 'junit', 'github'],
      default: 'text',
    }),
    ...stepFlags,
    ...stateFlag,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Rehearse);
    const format = flags.json ? 'json' : flags.format;
    const app = await this.app({ ...flags, json: format === 'json' });
    const show = await import('../ui/rehearsal.ts');
    const { only = [], skip = [], world, window: windowMs } = flags;
    const choice = { runbook: flags.runbook, environment: flags.env, only, skip };
    const { result, path, lines } = await rehearsed(app, choice, { world, windowMs }).catch(async (error: unknown) => {
      // A CI system reads stdout: it learns of a runbook that does not load there, and people on stderr.
      const unloaded = show.unloadedLines(format, error);
      if (unloaded.length > 0) await this.print(unloaded, EXIT.CONTENT);
      throw error;
    });
    if (format === 'json') return await this.print(show.rehearsalJson(result), result.exit);
    if (format === 'junit') return await this.print([show.rehearsalJunit(result)], result.exit, { whole: true });
    if (format === 'github')
      return await this.print(show.rehearsalGithub(result, path, lines), result.exit, { whole: true });
    await this.print(show.rehearsalLines(result), result.exit);
  }
}
