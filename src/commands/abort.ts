import { liveWindow, meantEnvironment } from '../app/windows.ts';
import { envFlag, failOnFlag, leaseFlags, MaintCommand, planFlags, stateFlag } from '../ui/command.ts';

export class Abort extends MaintCommand {
  static override summary = 'Undo the window at once: walls first, no soak.';
  static override examples = ['<%= config.bin %> abort', '<%= config.bin %> abort --dry-run'];
  static override flags = {
    ...envFlag,
    ...planFlags,
    ...failOnFlag,
    ...leaseFlags,
    ...stateFlag,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Abort);
    const app = await this.app(flags);
    const { abort, nothingToEnd } = await import('../engine/verbs/end.ts');
    const live = await liveWindow(app, flags.env);
    if (!live)
      return await this.finish(
        await nothingToEnd(
          await app.host(false),
          'abort',
          flags.env ?? 'this state',
          undefined,
          await meantEnvironment(app, flags.env),
        ),
      );
    const { prepared, state } = await app.prepareWindow(live, { lead: `this laptop cannot abort ${live.id}` });
    await this.finish(
      await abort(await app.host(!flags['dry-run']), prepared, state, {
        skip: [],
        dryRun: flags['dry-run'],
        ...this.leaseOf(app, flags),
      }),
      flags['fail-on'],
    );
  }
}
