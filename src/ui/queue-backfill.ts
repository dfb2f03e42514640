// The backfill by hand: the step's params with what the flags say instead, and the same words at the end.

import type { App } from '../app/app.ts';
import { type ByHand, backfill, paramsByHand } from '../app/backfill.ts';
import type { ChosenQueue } from '../app/queue.ts';
import { Unfinished } from '../engine/contract.ts';
import type { QueueReplayed } from '../engine/io.ts';
import { EXIT, type ExitCode } from '../errors/exit-codes.ts';
import { goOn } from './queue.ts';
import { nextLine } from './result.ts';

const HOLDER = /^w-[a-z0-9]+/;

export async function backfillByHand(
  app: App,
  { queue, step }: ChosenQueue,
  flags: ByHand,
): Promise<{ place: string; done: QueueReplayed; lines: string[]; exit: ExitCode }> {
  const { told } = await import('../steps/backfill/backfill.ts');
  const { queuePlace } = await import('../clients/queue-place.ts');
  const params = paramsByHand(queue, step?.params, flags, app.options.env['MAINT_QUEUE_CREDENTIAL'] || undefined);
  const place = queuePlace(queue);
  const done = await backfill(app, params, flags.release);
  try {
    const { summary, looks = [] } = told(done, params);
    const lines = [
      `${place}: ${summary.join(' · ')}.`,
      ...looks.map((look) => `  ! ${look}`),
      nextLine(['maint queue status']),
    ];
    return { place, done, lines, exit: EXIT.DONE };
  } catch (error) {
    if (!(error instanceof Unfinished)) throw error;
    const next = (error.next ?? '')
      .replace(/maint end goes on; or close.*$/, 'maint queue backfill goes on')
      .replace(/, then maint end$/, ', then maint queue backfill');
    const holder = done.stopped?.why === 'held' ? HOLDER.exec(done.stopped.detail)?.[0] : undefined;
    const on = holder === undefined ? [next, 'maint queue status'] : goOn(holder);
    const lines = [`E_LEFT_BEHIND  ${place}: ${error.message}.`, nextLine(on)];
    return { place, done, lines, exit: EXIT.HUMAN };
  }
}
