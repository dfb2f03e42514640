// Every command line in the documents is one that the program would take: its name, its flags, the number of its words.
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { COMMANDS } from '../../src/commands/index.ts';

const ROOT = new URL('../../', import.meta.url);
const within = (folder: string) =>
  readdirSync(new URL(folder, ROOT), { recursive: true, encoding: 'utf8' }).map((name) => `${folder}/${name}`);
const documents = [
  'README.md',
  'SECURITY.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...['docs', 'packages', 'examples'].flatMap(within),
].filter((path) => path.endsWith('.md') && !path.includes('node_modules'));

/** Lines of blocks, what stands in brackets in them, and spans of code (a line may break within one). */
function commandLines(text: string): string[] {
  const blocks = [...text.matchAll(/^```.*\n([\s\S]*?)^```/gm)].flatMap((match) => match[1]!.split('\n'));
  const spans = [...text.replace(/^```[\s\S]*?^```/gm, '').matchAll(/`([^`]+)`/g)].map((match) => match[1]!);
  const bracketed = blocks.flatMap((line) => [...line.matchAll(/\((maint [^()]+)\)/g)].map((match) => match[1]!));
  return [...blocks, ...bracketed, ...spans]
    .map((line) => line.replace(/\s+/g, ' ').replace(/^\$ /, ''))
    .filter((line) => /^maint [a-z]/.test(line));
}

/** undefined: the program would take it. */
function wrong(line: string): string | undefined {
  const words = [...line.replace(/ [#>].*/, '').matchAll(/"[^"]*"|\S+/g)].map(([word]) => word).slice(1);
  const id = [words.slice(0, 2).join(':'), words[0]!].find((each) => Object.hasOwn(COMMANDS, each));
  if (id === undefined) return `${line}: no such command`;
  const {
    flags,
    args = {},
    strict,
  } = COMMANDS[id as keyof typeof COMMANDS] as {
    flags: Record<string, { type: string }>;
    args?: object;
    strict?: boolean;
  };
  let rest = 0;
  for (let at = id.split(':').length; at < words.length; at++) {
    const flag = /^--([a-z-]+)/.exec(words[at]!)?.[1];
    if (flag === undefined) rest++;
    else if (!flags[flag]) return `${line}: no --${flag}`;
    else if (flags[flag].type === 'option') at++;
  }
  return strict !== false && rest > Object.keys(args).length ? `${line}: too many words` : undefined;
}

test('the documents name commands', () => {
  expect(documents.flatMap((path) => commandLines(readFileSync(new URL(path, ROOT), 'utf8'))).length).toBeGreaterThan(
    60,
  );
});

for (const path of documents) {
  test(`${path} names commands that are there, with flags that they have`, () => {
    const lines = commandLines(readFileSync(new URL(path, ROOT), 'utf8'));
    expect(lines.map(wrong).filter((each) => each !== undefined)).toEqual([]);
  });
}
