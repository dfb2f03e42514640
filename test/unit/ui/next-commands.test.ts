// Every command that the sources name as the next one, through the parser of that command: a flag that is not there, or
// an argument that is missing, would be found by whoever pastes it at night.
import { globSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { blank, maint, type NextRun } from '../../../src/errors/next.ts';
import { nextJson } from '../../../src/ui/next.ts';
import { refusedBy, sampleOf } from '../../support/next-commands.ts';

const SRC = fileURLToPath(new URL('../../../src/', import.meta.url));

/** Names of commands that are variables where they are used, with everything that they stand for. */
const VARIABLES: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  'engine/verbs/end.ts': { verb: ['end', 'abort'] },
  'engine/verbs/result.ts': { verb: ['status', 'end', 'abort'] },
  'engine/verbs/windows.ts': { goOn: ['end', 'abort'] },
  'ui/queue-flags.ts': { verb: ['drop', 'requeue'] },
  'ui/times.ts': { command: ['extend', 'history'], flag: ['until', 'since'] },
  'ui/mistyped.ts': { command: ['end'], first: ['queue'], name: ['status'] },
  'ui/result.ts': { command: ['end'] },
};

/** The text of every call, from `maint(` to its bracket. */
function callsIn(source: string): string[] {
  return [...source.matchAll(/(?<![\w.`'-])maint\(/g)].map(({ index }) => {
    let depth = 0;
    for (let at = index + 'maint'.length; ; at++) {
      if (source[at] === '(') depth++;
      if (source[at] === ')' && --depth === 0) return source.slice(index, at + 1);
    }
  });
}

/** Stands for every value that is known only when the program runs. */
const ANY: unknown = new Proxy(() => ANY, {
  get(_target, key) {
    if (key === Symbol.toPrimitive) return () => 'x';
    if (key === Symbol.iterator) return () => ['x'][Symbol.iterator]();
    return ANY;
  },
  apply: () => ANY,
});

/** What the call gives; a name that is not known here stands for any value. */
function evaluated(call: string, known: Readonly<Record<string, unknown>>): NextRun {
  const scope = new Proxy(
    {},
    {
      has: () => true,
      get: (_target, name) => (typeof name === 'symbol' ? undefined : name in known ? known[name] : ANY),
    },
  );
  return new Function('scope', `with (scope) return ${call}`)(scope) as NextRun;
}

function argvOf({ run }: NextRun): string[] {
  const flags = Object.entries(run.flags).map(([name, value]) => [name, value === ANY ? sampleOf(name) : value]);
  const args = run.args.map((arg) => (arg === ANY ? 'x' : arg));
  const blanks = Object.fromEntries(
    flags.map(([name, value]) => [name, typeof value === 'object' ? sampleOf(String(name)) : value]),
  );
  return nextJson({ run: { ...run, args, flags: blanks } as NextRun['run'] }).argv!;
}

const calls = globSync('**/*.ts', { cwd: SRC })
  .filter((file) => file !== 'errors/next.ts')
  .flatMap((file) => {
    const source = stripTypeScriptTypes(readFileSync(`${SRC}${file}`, 'utf8'), { mode: 'strip' });
    return callsIn(source).map((call) => ({ file, call }));
  });

test('there are many of them', () => {
  expect(calls.length).toBeGreaterThan(90);
});

describe('a next command is one that its command takes', () => {
  test.each(calls)('$file $call', async ({ file, call }) => {
    const variables = VARIABLES[file] ?? {};
    const most = Math.max(1, ...Object.values(variables).map(({ length }) => length));
    for (let n = 0; n < most; n++) {
      const named = Object.fromEntries(
        Object.entries(variables).map(([name, values]) => [name, values[n] ?? values[0]]),
      );
      const next = evaluated(call, { maint, blank, ...named });
      expect(typeof next.run.command).toBe('string');
      expect(await refusedBy(argvOf(next))).toBeUndefined();
    }
  });
});

test('no command hides in words', () => {
  const hidden = globSync('**/*.ts', { cwd: SRC }).flatMap((file) =>
    [...readFileSync(`${SRC}${file}`, 'utf8').matchAll(/advice\(\s*['`][^'`]*\bmaint [a-z]+ -[^'`]*['`]/g)].map(
      ([text]) => `${file}: ${text}`,
    ),
  );
  expect(hidden).toEqual([]);
});
