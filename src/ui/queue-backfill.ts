// The backfill by hand: the step's params with what the flags say instead, and the same words at the end.

import type { App } from '../app/app.ts';
import { type ByHand, backfill, paramsByHand } from '../app/backfill.ts';
import type { ChosenQueue } from '../app/queue.ts';
import { Unfinished } from '../engine/contract.ts';
import type { QueueReplayed } from '../engine/io.ts';
import { EXIT, type ExitCode } from '../errors/exit-codes.ts';
import { advice, maint, type Next } from '../errors/next.ts';
import { type Line, nextLine } from './next.ts';
import { goOn } from './queue.ts';

const HOLDER = /^w-[a-z0-9]+/;

export async function backfillByHand(
  app: App,
  { queue, step }: ChosenQueue,
  flags: ByHand,
): Promise<{ place: string; done: QueueReplayed; lines: Line[]; exit: ExitCode }> {
  const { told } = await import('../steps/backfill/backfill.ts');
  const { queuePlace } = await import('../clients/queue-place.ts');
  const params = paramsByHand(queue, step?.params, flags, app.options.env['MAINT_QUEUE_CREDENTIAL'] || undefined);
  const place = queuePlace(queue);
  const done = await backfill(app, params, flags.release);
  try {
    const { summary, looks = [] } = told(done, params);
    const lines: Line[] = [
      `${place}: ${summary.join(' · ')}.`,
      ...looks.map((look) => `  ! ${look}`),
      nextLine(maint('queue status')),
    ];
    return { place, done, lines, exit: EXIT.DONE };
  } catch (error) {
    if (!(error instanceof Unfinished)) throw error;
    const lines: Line[] = [`E_LEFT_BEHIND  ${place}: ${error.message}.`, nextLine(...afterStopped(done))];
    return { place, done, lines, exit: EXIT.HUMAN };
  }
}

/** A hold is lifted by the end of its window; everything else lets the same command go on. */
function afterStopped({ stopped }: QueueReplayed): Next[] {
  const goesOn = maint('queue backfill', {}, 'goes on');
  const look = maint('queue status');
  if (stopped === undefined || stopped.why === 'dead_letters')
    return [maint('queue list', { 'in-state': 'dead' }), advice('drop or requeue them'), goesOn, look];
  if (stopped.why === 'unknown_outcome')
    return [maint('queue list', { unknown: true }), advice('look at the service, requeue or drop'), goesOn, look];
  if (stopped.why === 'running_elsewhere') return [advice('let it end, or stop it there'), goesOn, look];
  const holder = stopped.why === 'held' ? HOLDER.exec(stopped.detail)?.[0] : undefined;
  return holder === undefined ? [goesOn, look] : goOn(holder);
}
