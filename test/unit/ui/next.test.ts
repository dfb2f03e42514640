// What is to be typed next can be pasted: quoted, and with the place that this command line named.
import { execFileSync } from 'node:child_process';
import { describe, expect, test } from '@jest/globals';
import { COMMANDS } from '../../../src/commands/index.ts';
import { advice, blank, maint, type Next, there, typed } from '../../../src/errors/next.ts';
import { dress } from '../../../src/ui/layout.ts';
import {
  type Carry,
  documentOf,
  givenOf,
  nextJson,
  nextLine,
  nextText,
  rendered,
  shellWord,
} from '../../../src/ui/next.ts';

const commands = Object.entries(COMMANDS).map(([id, command]) => [id.replaceAll(':', ' '), command.flags] as const);
const flagsOf = (name: string) => {
  const found = commands.find(([id]) => id === name);
  return found && Object.keys(found[1] ?? {});
};
const carry: Carry = { given: { state: './a b.db', env: 'prod', runbook: 'night.yaml', queue: 'q.db' }, flagsOf };

test.each(['plain', 'two words', '', "it's", 'a"b', '$HOME', '`id`', 'back\\slash', 'hey!', '#ops', 'a;b', '*', '…'])(
  'a real shell reads %j back',
  (word) => {
    expect(execFileSync('sh', ['-c', `printf %s ${shellWord(word)}`], { encoding: 'utf8' })).toBe(word);
  },
);

describe('the next command', () => {
  test.each<[Next, string]>([
    [maint('end', { soak: '5m' }), 'maint end --state "./a b.db" --env prod --soak 5m'],
    [maint('start', { runbook: 'x.yaml' }), 'maint start --state "./a b.db" --env prod --runbook x.yaml'],
    [maint('status'), 'maint status --state "./a b.db" --env prod'],
    [maint('start', { window: '30m' }), 'maint start --state "./a b.db" --env prod --runbook night.yaml --window 30m'],
    [maint('queue list'), 'maint queue list --state "./a b.db" --env prod --runbook night.yaml --queue q.db'],
    [
      maint(['report', 'w-1'], {}, 'the window as a document'),
      'maint report --state "./a b.db" --env prod w-1 (the window as a document)',
    ],
    [
      maint('extend', { by: '15m' }, 'need longer?'),
      'need longer? maint extend --state "./a b.db" --env prod --by 15m',
    ],
    [maint('end', { state: 'x', env: 'y' }), 'maint end --state x --env y'],
    [
      maint('end', { holder: 'w-1', reason: blank('…') }),
      'maint end --state "./a b.db" --env prod --runbook night.yaml --holder w-1 --reason …',
    ],
    [there(maint('end', {}, 'where it was started')), 'maint end (where it was started)'],
    [
      there(maint(['window import', 'w.json'], {}, 'on the other laptop,')),
      'on the other laptop, maint window import w.json',
    ],
    [typed('start', ['--state', 'x', '--reason', 'a b']), 'maint start --state x --reason "a b"'],
    [maint('', { help: true }), 'maint --help'],
    [advice('the same with --yes'), 'the same with --yes'],
  ])('%j', (next, expected) => {
    expect(nextText(next, carry)).toBe(expected);
  });

  const REASONS = [
    'stop · maint end',
    'use --state here, -e there',
    'on the other laptop',
    "it's · maint end",
    'a "quoted" · maint end',
    "'",
    'two  spaces · here',
  ];
  test.each(REASONS)('a reason stays whole: %s', (reason) => {
    const next = typed('start', ['--window', '30m', '--reason', reason]);
    const { command, argv } = nextJson(next, carry);
    const words = execFileSync('sh', ['-c', `printf '%s\\n' ${command}`], { encoding: 'utf8' });
    expect(words).toBe(`maint\nstart\n--window\n30m\n--reason\n${reason}\n`);
    expect(argv).toEqual(['maint', 'start', '--window', '30m', '--reason', reason]);
    // on a narrow terminal no line ends within it
    const lines = dress(rendered([nextLine(next, maint('status'))]), { columns: 40, colours: false });
    expect(lines).toEqual([`Next: ${command} ·`, '      maint status']);
  });

  test('nothing named, nothing added', () => {
    expect(nextText(maint('end', { soak: '5m' }), { given: {}, flagsOf })).toBe('maint end --soak 5m');
    expect(givenOf({ state: 'x', json: true, window: 5, env: undefined })).toEqual({ state: 'x' });
  });

  test('what people wrote cannot paint the terminal', () => {
    expect(nextText(maint(['report', 'a\u001b[31m\nb']))).toBe('maint report "a b"');
  });

  test('in JSON, at any depth, as text and as argv; advice has no argv', () => {
    const next = [maint('end', { soak: '5m' }, 'x'), advice('wait')];
    expect(documentOf({ windows: [{ next }], next: null }, { given: { state: 'a b' }, flagsOf })).toEqual({
      windows: [
        {
          next: [
            {
              command: 'maint end --state "a b" --soak 5m',
              argv: ['maint', 'end', '--state', 'a b', '--soak', '5m'],
              why: 'x',
            },
            { command: 'wait' },
          ],
        },
      ],
      next: null,
    });
  });
});
