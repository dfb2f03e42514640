import * as Flags from '@oclif/core/flags';
import { chosenQueue, withQueue } from '../../app/queue.ts';
import { MaintError } from '../../errors/catalogue.ts';
import { maint } from '../../errors/next.ts';
import { MaintCommand } from '../../ui/command.ts';
import { queueFlags, selectionFlags, selectionOf } from '../../ui/queue-flags.ts';

export class QueueExport extends MaintCommand {
  static override summary = 'Accepted writes as JSON, one on a line, in the order of acceptance.';
  static override description =
    'With --bodies also the bodies and whole targets: the users’ own data, so only into a file that nobody else reads.';
  static override examples = [
    '<%= config.bin %> queue export --in-state dead > dead.ndjson',
    '<%= config.bin %> queue export --bodies --output accepted.ndjson',
  ];
  static override flags = {
    ...selectionFlags,
    bodies: Flags.boolean({ description: 'with bodies and whole targets; needs --output' }),
    output: Flags.string({ char: 'o', description: 'the file to make; default: stdout', helpValue: 'FILE' }),
    ...queueFlags,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(QueueExport);
    const app = await this.app(flags);
    const { bodies, output } = flags;
    if (bodies && output === undefined)
      throw new MaintError('E_USAGE', 'Bodies are the users’ own data and are not printed.', {
        next: [maint('queue export', { bodies: true, output: 'accepted.ndjson' })],
      });
    const { exportTo } = await import('../../ui/queue-export.ts');
    const { queue } = await chosenQueue(app, { runbook: flags.runbook, environment: flags.env }, flags.queue);
    const intents = await withQueue(app, queue, (one) =>
      exportTo(app, one.export(selectionOf(flags), { bodies }), output),
    );
    if (output === undefined) await this.wholeOrNot();
    else if (this.wantsJson) await this.print({ ok: true, exit: 0, verb: 'queue export', output, intents }, 0);
    else
      await this.print([`${output}: ${intents} ${intents === 1 ? 'write' : 'writes'}.`, 'Next: maint queue status'], 0);
  }
}
