import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { exportWindow } from '../../app/carry.ts';
import { leaseFlags, MaintCommand, stateFlag } from '../../ui/command.ts';

export class WindowExport extends MaintCommand {
  static override summary =
    'Hand a window over to a file, for the state of another laptop; this one stops acting on it.';
  static override examples = [
    '<%= config.bin %> window export w-7k2p9x --output w-7k2p9x.json',
    '<%= config.bin %> window export w-7k2p9x --copy --output for-the-ticket.json',
  ];
  static override args = { window: Args.string({ description: 'the id of the window', required: true }) };
  static override flags = {
    output: Flags.string({
      char: 'o',
      description: 'the file to make (default: ID.json, here)',
      helpValue: 'FILE',
    }),
    copy: Flags.boolean({ description: 'only for reading: this state goes on acting on the window' }),
    ...leaseFlags,
    ...stateFlag,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(WindowExport);
    const app = await this.app(flags);
    const { exportedJson, exportedLines } = await import('../../ui/window.ts');
    const { file, path, flag } = await exportWindow(app, args.window, {
      output: flags.output ?? `${args.window}.json`,
      copy: flags.copy === true,
      ...this.leaseOf(app, flags),
    });
    await this.print(this.wantsJson ? exportedJson(file, path, flag) : exportedLines(file, path, flag), 0);
  }
}
