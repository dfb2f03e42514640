import { liveWindow, meantEnvironment } from '../app/windows.ts';
import { envFlag, MaintCommand, stateFlag } from '../ui/command.ts';

export class Verify extends MaintCommand {
  static override summary = 'All checks and all drift of the open window, now; nothing is written.';
  static override examples = ['<%= config.bin %> verify', '<%= config.bin %> verify --json'];
  static override flags = { ...envFlag, ...stateFlag };

  async run(): Promise<void> {
    const { flags } = await this.parse(Verify);
    const app = await this.app(flags);
    const [{ verify }, { noWindow }, { verifiedLines }] = await Promise.all([
      import('../engine/verbs/verify.ts'),
      import('../engine/verbs/extend.ts'),
      import('../ui/verified.ts'),
    ]);
    const live = await liveWindow(app, flags.env);
    if (!live) throw noWindow(flags.env ?? 'this state', 'verify', await meantEnvironment(app, flags.env));
    const { prepared, state } = await app.prepareWindow(live, { lead: `this laptop cannot verify ${live.id}` });
    const result = await verify(await app.host(false), prepared, state);
    if (this.wantsJson) return await this.finish(result);
    await this.print(verifiedLines(result), result.exit);
  }
}
