// What the commands of a queue share.
import * as Flags from '@oclif/core/flags';
import type { IntentState, Selection } from '../../packages/intents/src/index.ts';
import { MaintError } from '../errors/catalogue.ts';
import { blank, maint } from '../errors/next.ts';
import { quoted } from '../runbook/problems.ts';
import { runbookFlags, stateFlag } from './command.ts';
import { parseSince } from './times.ts';

const STATES = ['queued', 'applying', 'applied', 'dead', 'dropped'] as const;

export const queueFlags = {
  queue: Flags.string({
    description: "the queue: the path of its file, or postgres://… (default: MAINT_QUEUE, else the backfill step's)",
    helpValue: 'PATH',
  }),
  ...runbookFlags,
  ...stateFlag,
};
export const selectionFlags = {
  'in-state': Flags.string({ description: 'in this state', options: [...STATES], multiple: true, delimiter: ',' }),
  surface: Flags.string({ description: 'of this surface' }),
  'of-window': Flags.string({ description: 'accepted during this window' }),
  unknown: Flags.boolean({ description: 'sent, and nobody knows what came of it' }),
  parked: Flags.boolean({ description: 'dead letters that stop what comes after them' }),
  before: Flags.string({ description: 'accepted before: 2026-11-01 (UTC), or a time', helpValue: '2026-11-01' }),
};

interface Chosen {
  'in-state'?: string[] | undefined;
  surface?: string | undefined;
  'of-window'?: string | undefined;
  unknown?: boolean | undefined;
  parked?: boolean | undefined;
  before?: string | undefined;
}

export function selectionOf(flags: Chosen): Selection {
  const { surface, unknown, parked, before } = flags;
  const states = flags['in-state'] as IntentState[] | undefined;
  const window = flags['of-window'];
  return {
    ...(states ? { states } : {}),
    ...(surface === undefined ? {} : { surface }),
    ...(window === undefined ? {} : { window }),
    ...(unknown ? { unknown: true } : {}),
    ...(parked ? { parked: true } : {}),
    ...(before === undefined ? {} : { before: new Date(parseSince(before, 'before', 'queue list')) }),
  };
}

const RECEIPT = /^[A-Za-z0-9_-]{22}$/;

/** Receipts as they stand on the command line (64 where one is none), each once. */
export function receiptsOf(words: readonly string[]): string[] {
  for (const word of words) {
    if (RECEIPT.test(word)) continue;
    throw new MaintError('E_USAGE', `${quoted(word)} is no receipt.`, {
      details: ['a receipt has 22 characters: letters, digits, - and _'],
      next: [maint('queue list')],
    });
  }
  return [...new Set(words)];
}

/** Named ones, or all of a selection; never both, and never everything by mistake. */
export function oneOfBoth(verb: string, receipts: readonly string[], all: boolean): void {
  const named = receipts.length > 0;
  if (named !== all) return;
  throw new MaintError(
    'E_USAGE',
    receipts.length > 0 ? 'Receipts and --all: which of them?' : `Nothing says what to ${verb}.`,
    {
      details: ['name receipts, or --all with what they have in common (--in-state, --surface, --of-window)'],
      next: [
        maint([`queue ${verb}`, blank('RECEIPT')], { reason: blank('…') }),
        maint(`queue ${verb}`, { all: true, 'in-state': 'dead', reason: blank('…') }),
        maint('queue list'),
      ],
    },
  );
}
