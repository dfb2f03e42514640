import * as Flags from '@oclif/core/flags';
import { chosenQueue } from '../../app/queue.ts';
import { durationFlag, MaintCommand } from '../../ui/command.ts';
import { queueFlags } from '../../ui/queue-flags.ts';

export class QueueBackfill extends MaintCommand {
  static override summary = 'Apply what waits in the queue, by hand: in order, no faster than the service bears.';
  static override description =
    'As the backfill step of the open or last window, or of the runbook, says it; flags take the place of its params. The credential is never a flag: MAINT_QUEUE_CREDENTIAL. While a window holds the queue nothing is applied. Ctrl-C lets what is under way end; the same command goes on.';
  static override examples = [
    '<%= config.bin %> queue backfill',
    '<%= config.bin %> queue backfill --queue queue.db --url https://api.example.com --rate 10 --honours-keys',
    '<%= config.bin %> queue backfill --release w-7k2p9x',
  ];
  static override flags = {
    url: Flags.string({ description: 'the base address of the service that applies the writes', helpValue: 'URL' }),
    rate: Flags.integer({ description: 'writes per second', min: 1, max: 10_000 }),
    ramp: durationFlag({ description: 'from a tenth of the rate to all of it' })(),
    header: Flags.string({ description: 'the header that carries MAINT_QUEUE_CREDENTIAL (default: authorization)' }),
    'honours-keys': Flags.boolean({
      description: 'one Idempotency-Key has one effect at the service; where not, an unknown outcome stops it',
      allowNo: true,
    }),
    release: Flags.string({
      description: 'first take away the hold of this window, which nobody will ever end',
      helpValue: 'WINDOW',
    }),
    ...queueFlags,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(QueueBackfill);
    const app = await this.app(flags);
    const [{ backfillByHand }, { replayedJson }] = await Promise.all([
      import('../../ui/queue-backfill.ts'),
      import('../../ui/queue.ts'),
    ]);
    const chosen = await chosenQueue(app, { runbook: flags.runbook, environment: flags.env }, flags.queue);
    const { place, done, lines, exit } = await backfillByHand(app, chosen, flags);
    await this.print(this.wantsJson ? replayedJson(place, done, exit) : lines, exit);
  }
}
