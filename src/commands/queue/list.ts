import * as Flags from '@oclif/core/flags';
import { chosenQueue, withQueue } from '../../app/queue.ts';
import { MaintCommand } from '../../ui/command.ts';
import { queueFlags, selectionFlags, selectionOf } from '../../ui/queue-flags.ts';

export class QueueList extends MaintCommand {
  static override summary = 'Accepted writes in the order of acceptance, without headers and bodies.';
  static override examples = [
    '<%= config.bin %> queue list --in-state dead',
    '<%= config.bin %> queue list --surface notes --limit 1000 --json',
  ];
  static override flags = {
    ...selectionFlags,
    limit: Flags.integer({ description: 'how many on a page', min: 1, max: 1000, default: 100 }),
    after: Flags.string({ description: 'the page after this one, as the page before says' }),
    ...queueFlags,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(QueueList);
    const app = await this.app(flags);
    const { listJson, listLines } = await import('../../ui/queue.ts');
    const query = { ...selectionOf(flags), limit: flags.limit, ...(flags.after ? { after: flags.after } : {}) };
    const { queue } = await chosenQueue(app, { runbook: flags.runbook, environment: flags.env }, flags.queue);
    const page = await withQueue(app, queue, (one) => one.list(query));
    await this.print(this.wantsJson ? listJson(page) : listLines(page, Date.now()), 0);
  }
}
