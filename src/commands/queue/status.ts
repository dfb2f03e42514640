import { chosenQueue, withQueue } from '../../app/queue.ts';
import { MaintCommand } from '../../ui/command.ts';
import { queueFlags } from '../../ui/queue-flags.ts';

export class QueueStatusCommand extends MaintCommand {
  static override summary = 'How much of what was accepted waits, is applied or is dead, and who holds the queue.';
  static override examples = [
    '<%= config.bin %> queue status',
    '<%= config.bin %> queue status --queue queue.db --json',
  ];
  static override flags = queueFlags;

  async run(): Promise<void> {
    const { flags } = await this.parse(QueueStatusCommand);
    const app = await this.app(flags);
    const { statusJson, statusLines } = await import('../../ui/queue.ts');
    const { queue } = await chosenQueue(app, { runbook: flags.runbook, environment: flags.env }, flags.queue);
    const status = await withQueue(app, queue, (one) => one.status());
    await this.print(this.wantsJson ? statusJson(status) : statusLines(status, Date.now()), 0);
  }
}
