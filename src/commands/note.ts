import * as Args from '@oclif/core/args';
import { liveWindow, meantEnvironment } from '../app/windows.ts';
import { MaintError } from '../errors/catalogue.ts';
import { maint } from '../errors/next.ts';
import { envFlag, leaseFlags, MaintCommand, stateFlag } from '../ui/command.ts';

const MAX_CHARACTERS = 500;

export class Note extends MaintCommand {
  static override summary = 'Tell people how it goes: status page, chat and banner follow.';
  static override examples = ['<%= config.bin %> note "reindex 60 %, next update 02:40Z"'];
  static override args = {
    text: Args.string({ description: 'one or two sentences, with the time of the next update', required: true }),
  };
  static override flags = { ...envFlag, ...leaseFlags, ...stateFlag };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Note);
    const text = args.text.trim();
    if (text === '' || text.length > MAX_CHARACTERS)
      throw new MaintError('E_USAGE', `A note has 1 to ${MAX_CHARACTERS} characters, this one has ${text.length}.`, {
        next: [maint(['note', 'reindex 60 %, next update 02:40Z'])],
      });
    const app = await this.app(flags);
    const { note, noWindow } = await import('../engine/verbs/extend.ts');
    const live = await liveWindow(app, flags.env);
    if (!live) throw noWindow(flags.env ?? 'this state', 'note', await meantEnvironment(app, flags.env));
    const { prepared, state } = await app.prepareWindow(live, {
      lead: `this laptop cannot tell people about ${live.id}`,
    });
    await this.finish(await note(await app.host(true), prepared, state, text, this.leaseOf(app, flags)));
  }
}
