import { moveFlags, QueueMove } from '../../ui/queue-move.ts';

export class QueueDrop extends QueueMove {
  static override summary = 'Accepted writes that will never be applied; they stay on record, with who and why.';
  static override usage = 'queue drop RECEIPT… --reason TEXT';
  static override strict = false;
  static override examples = [
    '<%= config.bin %> queue drop 3q2-7wRkR0uXcZ1yPpQm9A --reason "the document was deleted meanwhile"',
    '<%= config.bin %> queue drop --all --in-state dead --surface notes --reason OPS-412 --yes',
  ];
  static override flags = moveFlags;

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(QueueDrop);
    await this.move('drop', argv as string[], flags);
  }
}
