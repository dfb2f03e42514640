import { moveFlags, QueueMove } from '../../ui/queue-move.ts';

export class QueueRequeue extends QueueMove {
  static override summary =
    'Dead letters, dropped writes and those of unknown outcome: back to their places in the order.';
  static override usage = 'queue requeue RECEIPT… --reason TEXT';
  static override strict = false;
  static override examples = [
    '<%= config.bin %> queue requeue 3q2-7wRkR0uXcZ1yPpQm9A --reason "the document was deleted meanwhile"',
    '<%= config.bin %> queue requeue --all --in-state dead --surface notes --reason OPS-412 --yes',
  ];
  static override flags = moveFlags;

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(QueueRequeue);
    await this.move('requeue', argv as string[], flags);
  }
}
