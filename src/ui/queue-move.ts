// drop and requeue: the same flags, the same questions.

import * as Flags from '@oclif/core/flags';
import { chosenQueue, withQueue } from '../app/queue.ts';
import { MaintError } from '../errors/catalogue.ts';
import { advice } from '../errors/next.ts';
import { byFlag, MaintCommand } from './command.ts';
import { oneOfBoth, queueFlags, receiptsOf, selectionFlags, selectionOf } from './queue-flags.ts';

export const moveFlags = {
  all: Flags.boolean({ description: 'all of a selection, in place of named ones; needs --yes' }),
  ...selectionFlags,
  reason: Flags.string({ description: 'why; it stays on record', required: true }),
  yes: Flags.boolean({ char: 'y', description: 'do not ask' }),
  ...byFlag,
  ...queueFlags,
};

type MoveFlags = Parameters<typeof selectionOf>[0] & {
  all?: boolean;
  reason: string;
  yes?: boolean;
  queue?: string | undefined;
  runbook?: string | undefined;
  env?: string | undefined;
  state?: string | undefined;
  json?: boolean;
};

export abstract class QueueMove extends MaintCommand {
  protected async move(verb: 'drop' | 'requeue', words: readonly string[], flags: MoveFlags): Promise<void> {
    const app = await this.app(flags);
    const { movedExit, movedJson, movedLines } = await import('./queue.ts');
    const receipts = receiptsOf(words);
    oneOfBoth(verb, receipts, flags.all === true);
    const selection = selectionOf(flags);
    const { queue } = await chosenQueue(app, { runbook: flags.runbook, environment: flags.env }, flags.queue);
    const result = await withQueue(app, queue, async (one, by) => {
      if (flags.all && !flags.yes) {
        const { intents, next } = await one.list({ ...selection, limit: 1000 });
        throw new MaintError(
          'E_YES',
          `--all would ${verb} ${next === null ? intents.length : 'more than 1,000'} writes. Nothing changed.`,
          {
            details: intents
              .slice(0, 5)
              .map(
                ({ receipt, state, surface, method, target }) =>
                  `${receipt}  ${state}  ${surface}  ${method} ${target}`,
              ),
            next: [advice('the same with --yes'), advice('maint queue list with the same flags')],
          },
        );
      }
      const which = flags.all ? { all: selection } : { receipts };
      return verb === 'drop' ? await one.drop(which, by, flags.reason) : await one.requeue(which, by, flags.reason);
    });
    await this.print(this.wantsJson ? movedJson(verb, result) : movedLines(verb, result), movedExit(result));
  }
}
