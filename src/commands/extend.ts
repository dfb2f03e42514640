import * as Flags from '@oclif/core/flags';
import { liveWindow, meantEnvironment } from '../app/windows.ts';
import { MaintError } from '../errors/catalogue.ts';
import { maint } from '../errors/next.ts';
import { durationFlag, envFlag, leaseFlags, MaintCommand, stateFlag } from '../ui/command.ts';

export class Extend extends MaintCommand {
  static override summary = 'Move the end of the window; everything that promises it follows.';
  static override examples = ['<%= config.bin %> extend --by 15m', '<%= config.bin %> extend --until 03:30Z'];
  static override flags = {
    ...envFlag,
    ...leaseFlags,
    by: durationFlag({
      description: 'this much later than planned',
      hint: 'who acts stands in MAINT_BY here: MAINT_BY=ana maint extend --by 15m',
    })(),
    until: Flags.string({ description: 'a time in UTC: 03:30Z, or 2026-12-01T03:30Z', exclusive: ['by'] }),
    ...stateFlag,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Extend);
    if (flags.by === undefined && flags.until === undefined)
      throw new MaintError('E_USAGE', 'extend needs --by or --until.', {
        next: [maint('extend', { by: '15m' }), maint('extend', { until: '03:30Z' })],
      });
    const app = await this.app(flags);
    const [{ extend, noWindow }, { parseUntil }] = await Promise.all([
      import('../engine/verbs/extend.ts'),
      import('../ui/times.ts'),
    ]);
    const live = await liveWindow(app, flags.env);
    if (!live) throw noWindow(flags.env ?? 'this state', 'extend', await meantEnvironment(app, flags.env));
    const until = flags.until === undefined ? undefined : parseUntil(flags.until, Date.now());
    const { prepared, state } = await app.prepareWindow(live, { lead: `this laptop cannot extend ${live.id}` });
    await this.finish(
      await extend(await app.host(true), prepared, state, { byMs: flags.by, until, ...this.leaseOf(app, flags) }),
    );
  }
}
