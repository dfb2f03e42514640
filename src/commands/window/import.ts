import * as Args from '@oclif/core/args';
import { importWindow } from '../../app/carry.ts';
import { leaseFlags, MaintCommand, stateFlag } from '../../ui/command.ts';

export class WindowImport extends MaintCommand {
  static override summary = 'Take in a window that another state has handed over; this one acts on it from now on.';
  static override examples = ['<%= config.bin %> window import w-7k2p9x.json'];
  static override args = { file: Args.string({ description: 'what maint window export made', required: true }) };
  static override flags = { ...leaseFlags, ...stateFlag };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(WindowImport);
    const app = await this.app(flags);
    await this.finish(await importWindow(app, args.file, this.leaseOf(app, flags)));
  }
}
