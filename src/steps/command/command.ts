// Scripts of the runbook's author as a resource: one tells the state in one word, the other changes it.

import { basename } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { z } from 'zod';
import { defineResource, type Is, Unknown, whileHeld } from '../../engine/contract.ts';
import { beginning, cutText } from '../../engine/cut.ts';
import type { Reader } from '../../engine/io.ts';
import { path } from '../../engine/secret.ts';
import { OuterError } from '../../errors/catalogue.ts';

const ID = 'state';
const MAX_CHARACTERS = 200;
/** How long observe may go on telling something else after write has ended; well within the deadline of a write. */
const SETTLE_MS = 2_000;
const SETTLE_POLL_MS = 100;

const argv = (description: string) =>
  z
    .array(z.string().regex(/^[^\0]*$/, 'text without NUL'))
    .min(1)
    .meta({ description });

export const CommandParams = z
  .strictObject({
    observe: argv('prints the state as one word to stdout, or nothing at all where there is none; must change nothing'),
    write: argv(
      'brings it from MAINT_FROM to MAINT_TO (both may be empty: none); also told: MAINT_WINDOW, MAINT_UNTIL',
    ),
    frozen: word().meta({ description: 'the word that observe prints while it is held' }),
    role: z
      .enum(['wall', 'work'])
      .meta({ description: 'wall: closed until the end begins; work: stopped until after the backfill' }),
    layer: z
      .enum(['edge', 'service', 'store'])
      .default('service')
      .meta({ description: 'of a wall: where it stands; walls close from the edge to the store' }),
    follows: z.literal('until').optional().meta({
      description:
        'it is written again when the end moves; observe then prints a second word, the MAINT_UNTIL of the last write',
    }),
    cwd: path('where both run; relative programs count from here').optional(),
  })
  .superRefine(({ observe, write, cwd }, context) => {
    for (const [key, [program]] of Object.entries({ observe, write })) {
      const problem = problemOf(program ?? '', cwd);
      if (problem) context.addIssue({ code: 'custom', path: [key, 0], message: problem });
    }
  });
export type CommandParams = z.infer<typeof CommandParams>;

export const CommandState = z.strictObject({
  value: z.string(),
  /** with `follows: until`: the end that the scripts know of (RFC 3339) */
  until: z.string().optional(),
});
export type CommandState = z.infer<typeof CommandState>;

export const command = defineResource<CommandParams, CommandState>({
  name: 'command',
  role: 'work',
  roleOf: ({ role }) => role,
  layer: ({ layer }) => layer,
  summary: 'scripts of your own: one that tells the state, one that changes it',
  Params: CommandParams,
  State: CommandState,
  example: {
    observe: ['./scripts/consumer', 'state'],
    write: ['./scripts/consumer', 'set'],
    frozen: 'paused',
    role: 'work',
    cwd: '.',
  },
  address: ({ write, cwd }) => `command ${write.join(' ')}${cwd === undefined ? '' : ` in ${cwd}`}`,

  asks: 'observe is run; write by access(2)',
  async usable(io, params) {
    const why = await io.exec.unstartable(params.write, within(params));
    return why === undefined ? [] : [why];
  },

  compare: 'look',
  alone: true,

  async observe(io, params) {
    const now = await look(io, params);
    return new Map([[ID, now instanceof Unknown ? now : { state: now }]]);
  },

  desired: whileHeld(({ params, window }) => ({
    value: params.frozen,
    ...(params.follows === 'until' && { until: new Date(window.until).toISOString() }),
  })),

  // Any word that a script may stop at: who knows only that it was begun cannot know which.
  halfway: () => true,

  async write(io, params, changes, window) {
    const { from, to } = changes[0]!;
    const name = basename(params.write[0]!);
    let failure: OuterError | undefined;
    try {
      await io.exec.run(params.write, {
        ...within(params),
        env: {
          MAINT_FROM: from?.value ?? '',
          MAINT_TO: to?.value ?? '',
          MAINT_WINDOW: window.id,
          MAINT_UNTIL: window.until,
        },
      });
    } catch (error) {
      // It has ended with a failure. How far it came, only a look can tell.
      if (!(error instanceof OuterError) || error.effect !== 'answered') throw error;
      failure = error;
    }
    const now = await settled(io, params, failure ? 0 : SETTLE_MS, to);
    // The write may have worked: the engine has to look again, and must not take it for one that never was.
    if (now instanceof Unknown)
      throw new OuterError(failure?.message ?? now.why, { effect: 'answered', retryable: true });
    // Half of the way is ours too, and is gone on from, or undone.
    if (same(now, to) || !same(now, from)) return [now];
    if (failure) throw failure;
    throw new OuterError(
      `${name} ended without an error, and yet ${basename(params.observe[0]!)} still says ${said(now)}, not ${said(to)}`,
      {
        effect: 'answered',
        retryable: true,
      },
    );
  },

  notes({ params, seen, changes, when }) {
    const change = changes.at(-1);
    const is = seen.get(ID);
    const words: string[] = [];
    if (change && when === 'plan') words.push(`${said(change.from)} to ${said(change.to)}`);
    else if (change) words.push(`${said(change.to)}, read back`);
    else if (is instanceof Unknown) words.push(is.why);
    else words.push(`${said(is ?? null)} already`);
    if (when === 'plan') words.push(`that ${basename(params.observe[0]!)} changes nothing is its author's word`);
    return words;
  },
});

/** A script may have asked something for it that takes a moment. */
async function settled(io: Reader, params: CommandParams, ms: number, to: Is<CommandState>) {
  const until = performance.now() + ms;
  for (;;) {
    const now = await look(io, params);
    if (now instanceof Unknown || same(now, to) || performance.now() >= until) return now;
    await delay(SETTLE_POLL_MS);
  }
}

async function look(io: Reader, params: CommandParams): Promise<Is<CommandState> | Unknown> {
  const { stdout, stderr } = await io.exec.read(params.observe, within(params));
  // a colour says nothing about the state
  const text = stripVTControlCharacters(stdout).trim();
  const name = basename(params.observe[0]!);
  if (text === '') {
    // Nothing means that the thing is not there: that is not said by accident.
    const words = stripVTControlCharacters(stderr).trim();
    if (words === '' && stdout.trim() === '') return null;
    const why =
      words === '' ? 'only control characters' : `nothing, and this to stderr: ${JSON.stringify(cutText(words, 80))}`;
    return new Unknown(`${name} must print one word to stdout, and printed ${why}`);
  }
  const [, value = '', time = ''] = (params.follows === 'until' && TWO_WORDS.exec(text)) || ['', text];
  const wrong = wrongWord(value);
  if (wrong) return new Unknown(`${name} must print one word, and printed ${wrong}`);
  // of an end that is not held any more nobody asked
  return time === '' || value !== params.frozen ? { value } : { value, until: new Date(time).toISOString() };
}

/** A word and a time (RFC 3339). */
const TWO_WORDS = /^(\S+)[ \t]+(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))$/;

function wrongWord(value: string): string | undefined {
  // What is no text comes out of the decoder as U+FFFD.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u0008\u000b-\u001f\u007f\ufffd]/.test(value)) return 'something that is no text';
  if (value.length > MAX_CHARACTERS) return `${value.length.toLocaleString('en-US')} characters`;
  if (/[\r\n]/.test(value))
    return `${value.split(/\r\n|\r|\n/).length} lines, beginning with ${JSON.stringify(beginning(value, 40))}`;
  if (/\s/.test(value)) return JSON.stringify(value);
  return undefined;
}

/** What observe can print: a state that it never prints would never be reached. */
function word() {
  return z
    .string()
    .min(1)
    .refine((value) => wrongWord(value) === undefined, `one word of at most ${MAX_CHARACTERS} characters`);
}

/** A relative path means something else in each folder that maint is called from. */
function problemOf(program: string, cwd: string | undefined): string | undefined {
  if (program === '') return 'is empty; the first entry is the program';
  if (!program.includes('/') || program.startsWith('/') || cwd !== undefined) return undefined;
  return `is a relative path, so it needs cwd; "cwd: ." is the runbook's folder`;
}

function within({ cwd }: CommandParams): { cwd?: string } {
  return cwd === undefined ? {} : { cwd };
}

function same(a: Is<CommandState>, b: Is<CommandState>): boolean {
  return a?.value === b?.value && a?.until === b?.until;
}

function said(state: Is<CommandState>): string {
  return state === null ? 'nothing' : JSON.stringify(state.value) + (state.until ? ` until ${state.until}` : '');
}
