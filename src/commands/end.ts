import * as Flags from '@oclif/core/flags';
import { endWindow } from '../app/end.ts';
import {
  durationFlag,
  envFlag,
  failOnFlag,
  leaseFlags,
  MaintCommand,
  planFlags,
  runbookFlags,
  stateFlag,
} from '../ui/command.ts';

export class End extends MaintCommand {
  static override summary = 'End the window: open the walls, soak, then restore everything else.';
  static override examples = [
    '<%= config.bin %> end --soak 5m',
    '<%= config.bin %> end --skip statuspage',
    '<%= config.bin %> end --leave crons/etl-1f3a --reason "the host is gone"',
  ];
  static override flags = {
    ...runbookFlags,
    ...envFlag,
    soak: durationFlag({ description: "watch reads this long before the window is closed (default: the runbook's)" })(),
    skip: Flags.string({
      description: 'leave these steps as they are for now; the window stays open for them',
      multiple: true,
      delimiter: ',',
    }),
    leave: Flags.string({
      description: 'STEP or STEP/ID that will never come back: no longer ours',
      dependsOn: ['reason'],
    }),
    holder: Flags.string({
      description: 'remove the holder of a window that nobody knows any more',
      dependsOn: ['reason'],
      exclusive: ['leave'],
    }),
    reason: Flags.string({ description: 'why, with --leave and --holder' }),
    ...planFlags,
    ...failOnFlag,
    ...leaseFlags,
    ...stateFlag,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(End);
    const app = await this.app(flags);
    await this.finish(await endWindow(app, flags, this.leaseOf(app, flags)), flags['fail-on']);
  }
}
