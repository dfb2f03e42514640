import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { envFlag, MaintCommand, stateFlag } from '../ui/command.ts';

export class Report extends MaintCommand {
  static override summary =
    'What happened in a window: what was promised and kept, times, people, things to look at, details.';
  static override examples = [
    '<%= config.bin %> report > last.md',
    '<%= config.bin %> report w-7k2p9x --full',
    '<%= config.bin %> report w-7k2p9x --format json',
  ];
  static override args = { window: Args.string({ description: 'the id of a window; default: the last one' }) };
  static override flags = {
    ...envFlag,
    format: Flags.string({ description: 'how it is told', options: ['markdown', 'json'], default: 'markdown' }),
    full: Flags.boolean({
      description: 'every change with its fields, every line of the timeline, the evidence of every check',
    }),
    ...stateFlag,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Report);
    const json = flags.json || flags.format === 'json';
    const app = await this.app({ ...flags, json });
    const [{ windowReport }, { markdown }] = await Promise.all([
      import('../app/report.ts'),
      import('../report/markdown.ts'),
    ]);
    const report = await windowReport(app, args.window, flags.env);
    await this.print(json ? { ...report } : [markdown(report, { full: flags.full }).trimEnd()], 0, { whole: true });
  }
}
