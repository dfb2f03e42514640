import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { recordedWindow } from '../app/windows.ts';
import { envFlag, MaintCommand, stateFlag } from '../ui/command.ts';

export class Report extends MaintCommand {
  static override summary = 'What happened in a window: times, every change, the evidence of every check.';
  static override examples = ['<%= config.bin %> report > last.md', '<%= config.bin %> report w-7k2p9x --format json'];
  static override args = { window: Args.string({ description: 'the id of a window; default: the last one' }) };
  static override flags = {
    ...envFlag,
    format: Flags.string({ description: 'how it is told', options: ['markdown', 'json'], default: 'markdown' }),
    ...stateFlag,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Report);
    const json = flags.json || flags.format === 'json';
    const app = await this.app({ ...flags, json });
    const [{ reportOf }, { markdown }] = await Promise.all([
      import('../report/report.ts'),
      import('../report/markdown.ts'),
    ]);
    const { id, events } = await recordedWindow(app, args.window, flags.env);
    const report = reportOf(id, events, Date.now())!;
    await this.print(json ? { ...report } : [markdown(report).trimEnd()], 0, { whole: true });
  }
}
