// The queue that is meant, opened for one piece of work, and applied by hand.
import type { IntentQueue } from '../../packages/intents/src/index.ts';
import { monotonicNow } from '../engine/clock.ts';
import type { Step } from '../engine/contract.ts';
import { MaintError, OuterError } from '../errors/catalogue.ts';
import { advice, maint } from '../errors/next.ts';
import type { RunbookStep } from '../runbook/load.ts';
import type { App, RunbookChoice } from './app.ts';
import { lastWindow, liveHere } from './windows.ts';

export interface ChosenQueue {
  /** the path of its file, or its postgres:// address */
  queue: string;
  /** the backfill step that names it */
  step: Step | undefined;
}

/**
 * The queue that is meant: the one that is named, else MAINT_QUEUE, else that of the backfill step of the open or the
 * last window, else of the runbook.
 */
export async function chosenQueue(
  app: App,
  choice: Omit<RunbookChoice, 'only' | 'skip'>,
  named: string | undefined,
): Promise<ChosenQueue> {
  const { namedQueue, noQueue } = await import('../runbook/queue.ts');
  const given = named ?? (app.options.env['MAINT_QUEUE'] || undefined);
  if (given !== undefined) {
    const queue = namedQueue(given, app.options.cwd, named === undefined ? 'MAINT_QUEUE' : '--queue');
    const password = URL.parse(queue)?.password;
    if (password) await app.hide([password, decodeURIComponent(password)]);
    return { queue, step: undefined };
  }
  const isBackfill = (step: RunbookStep) => step.uses === 'backfill' && step.skipped === undefined;
  const lead = 'the queue cannot be looked at';
  const known =
    choice.runbook === undefined
      ? ((await liveHere(app, choice.environment)) ?? (await lastWindow(app, choice.environment)))
      : undefined;
  const [ofWindow] = known ? await app.some(await app.storedRunbook(known), isBackfill, lead) : [];
  if (ofWindow) return { queue: ofWindow.params.queue, step: ofWindow };
  const runbook = await app.runbook({ ...choice, only: [], skip: [] }).catch((error: unknown) => {
    if (error instanceof MaintError && error.code === 'E_NO_RUNBOOK') throw noQueue(undefined);
    throw error;
  });
  const [step] = await app.some(runbook, isBackfill, lead);
  if (!step) throw noQueue(app.shownPath(runbook.path));
  return { queue: step.params.queue, step };
}

/** Opens the queue for one piece of work. What it says of itself becomes an error of ours. */
export async function withQueue<T>(
  app: App,
  queue: string,
  work: (one: IntentQueue, by: string) => Promise<T>,
): Promise<T> {
  const [{ openQueueAt, isQueueError }, { queuePlace }, { queueError }] = await Promise.all([
    import('../clients/queue.ts'),
    import('../clients/queue-place.ts'),
    import('../runbook/queue.ts'),
  ]);
  const { clients } = await app.host(false);
  try {
    const reader = clients.reader({ signal: app.options.interrupt.signal, deadline: monotonicNow() + 10_000 });
    if ((await reader.queue.look(queue)) === null)
      throw new MaintError('E_QUEUE', `There is no queue at ${queuePlace(queue)}: nothing was ever accepted there.`, {
        next: [advice('another one: --queue PATH, or postgres://…'), maint('runbook show')],
      });
    const one = await openQueueAt(queue);
    try {
      return await work(one, (await app.machine()).owner('queue').name);
    } finally {
      await one.close();
    }
  } catch (error) {
    if (isQueueError(error) || error instanceof OuterError) throw queueError(error);
    throw error;
  }
}
