// What is to be typed next can be pasted: quoted, and with the place that this command line named.
import { execFileSync } from 'node:child_process';
import { describe, expect, test } from '@jest/globals';
import { COMMANDS } from '../../../src/commands/index.ts';
import { breakLine } from '../../../src/ui/layout.ts';
import { carried, carriedJson, carriedLine, givenOf, shellWord } from '../../../src/ui/pasteable.ts';

const commands = Object.entries(COMMANDS).map(([id, command]) => [id.replaceAll(':', ' '), command.flags] as const);
const flagsOf = (name: string) => {
  const found = commands.find(([id]) => id === name);
  return found && Object.keys(found[1] ?? {});
};
const given = { state: './a b.db', env: 'prod', runbook: 'night.yaml', queue: 'q.db' };

test.each(['plain', 'two words', '', "it's", 'a"b', '$HOME', '`id`', 'back\\slash', 'hey!', '#ops', 'a;b', '*', '…'])(
  'a real shell reads %j back',
  (word) => {
    expect(execFileSync('sh', ['-c', `printf %s ${shellWord(word)}`], { encoding: 'utf8' })).toBe(word);
  },
);

describe('the next command', () => {
  test.each([
    ['maint end --soak 5m', 'maint end --state "./a b.db" --env prod --soak 5m'],
    ['maint start -e prod -r x.yaml', 'maint start --state "./a b.db" -e prod -r x.yaml'],
    ['maint start --env=prod -rx.yaml', 'maint start --state "./a b.db" --env=prod -rx.yaml'],
    ['maint status', 'maint status --state "./a b.db" --env prod'],
    ['maint start --window 30m', 'maint start --state "./a b.db" --env prod --runbook night.yaml --window 30m'],
    ['maint queue list', 'maint queue list --state "./a b.db" --env prod --runbook night.yaml --queue q.db'],
    [
      'maint report w-1 (the window as a document)',
      'maint report --state "./a b.db" --env prod w-1 (the window as a document)',
    ],
    ['need longer? maint extend --by 15m', 'need longer? maint extend --state "./a b.db" --env prod --by 15m'],
    ['maint end --state x --env y', 'maint end --state x --env y'],
    [
      'maint end --holder w-1 --reason …',
      'maint end --state "./a b.db" --env prod --runbook night.yaml --holder w-1 --reason …',
    ],
    ['maint end (where it was started)', 'maint end (where it was started)'],
    ['on the other laptop, maint window import w.json', 'on the other laptop, maint window import w.json'],
    ['maint --help', 'maint --help'],
    ['the same with --yes', 'the same with --yes'],
    [
      'maint end · maint status',
      'maint end --state "./a b.db" --env prod · maint status --state "./a b.db" --env prod',
    ],
  ])('%s', (text, expected) => {
    expect(carried(text, given, flagsOf)).toBe(expected);
  });

  const REASONS = [
    'stop · maint end',
    'stop: maint end · maint abort --yes',
    'use --state here, -e there',
    'where it was started',
    'on the other laptop',
    "it's · maint end",
    'a "quoted" · maint end',
    "'",
    'two  spaces · here',
  ];
  test.each(REASONS)('a reason stays whole: %s', (reason) => {
    const typed = `maint start --window 30m --reason ${shellWord(reason)}`;
    const text = `${typed} (do it) · maint status`;
    const becomes = carried(text, { state: 's.db' }, flagsOf);
    expect(becomes).toBe(
      `maint start --state s.db --window 30m --reason ${shellWord(reason)} (do it) · maint status --state s.db`,
    );
    const command = becomes.slice(0, becomes.indexOf(' (do it)'));
    const words = execFileSync('sh', ['-c', `printf '%s\\n' ${command}`], { encoding: 'utf8' });
    expect(words).toBe(`maint\nstart\n--state\ns.db\n--window\n30m\n--reason\n${reason}\n`);
    // on a narrow terminal no line ends within it
    const lines = breakLine(`Next: ${text}`, 40);
    expect(lines.some((line) => line.includes(typed))).toBe(true);
  });

  test('nothing named, nothing added', () => {
    expect(carried('maint end --soak 5m', {}, flagsOf)).toBe('maint end --soak 5m');
    expect(givenOf({ state: 'x', json: true, window: 5, env: undefined })).toEqual({ state: 'x' });
  });

  test('a line that only speaks of a command stays as it is', () => {
    const quoted = 'prod is READ-ONLY · w-1 · "then: maint end please"';
    expect(carriedLine(quoted, given, flagsOf)).toBe(quoted);
    expect(carriedLine('  backfill  1 dead letter: maint queue list --in-state dead', { queue: 'q' }, flagsOf)).toBe(
      '  backfill  1 dead letter: maint queue list --queue q --in-state dead',
    );
  });

  test('in JSON, at any depth', () => {
    expect(carriedJson({ windows: [{ next: [{ command: 'maint end', why: 'x' }] }] }, { state: 's' }, flagsOf)).toEqual(
      {
        windows: [{ next: [{ command: 'maint end --state s', why: 'x' }] }],
      },
    );
  });
});
