import * as Args from '@oclif/core/args';
import { chosenQueue, withQueue } from '../../app/queue.ts';
import { MaintError } from '../../errors/catalogue.ts';
import { maint } from '../../errors/next.ts';
import { MaintCommand } from '../../ui/command.ts';
import { queueFlags, receiptsOf } from '../../ui/queue-flags.ts';

export class QueueShow extends MaintCommand {
  static override summary = 'One accepted write: where it came from, what became of it, who moved it and why.';
  static override description =
    'Without its body, and without the values of its query: they are the users’ own. See queue export.';
  static override examples = ['<%= config.bin %> queue show 3q2-7wRkR0uXcZ1yPpQm9A'];
  static override args = { receipt: Args.string({ description: 'the receipt that the client got', required: true }) };
  static override flags = queueFlags;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(QueueShow);
    const app = await this.app(flags);
    const { detailJson, showLines } = await import('../../ui/queue.ts');
    const [receipt] = receiptsOf([args.receipt]);
    const { queue } = await chosenQueue(app, { runbook: flags.runbook, environment: flags.env }, flags.queue);
    const one = await withQueue(app, queue, (opened) => opened.show(receipt!));
    if (!one)
      throw new MaintError('E_QUEUE', `No write of the queue has the receipt ${receipt}.`, {
        details: ['settled writes are forgotten after their retention, seven days unless the guards say otherwise'],
        next: [maint('queue list')],
      });
    await this.print(this.wantsJson ? { ok: true, exit: 0, ...detailJson(one) } : showLines(one, Date.now()), 0);
  }
}
