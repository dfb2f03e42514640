// The READMEs of the libraries name every option that there is.
import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';

const read = (path: string) => readFileSync(new URL(`../../packages/${path}`, import.meta.url), 'utf8');
/** They are there for tests: no service sets them. */
const FOR_TESTS = ['clock', 'monotonic', 'random', 'now', 'time', 'fetch'];

/** Only what the interface itself declares: two spaces deep. */
function optionsOf(source: string, name: string): string[] {
  const body = new RegExp(`^export interface ${name}\\b[^{]*\\{\n([\\s\\S]*?)^\\}`, 'm').exec(source)?.[1] ?? '';
  return [...body.matchAll(/^ {2}readonly (\w+)\??:/gm)].map((match) => match[1]!);
}

for (const [library, file, name] of [
  ['guard', 'options.ts', 'GuardOptions'],
  ['guard', 'options.ts', 'CallOptions'],
  ['guard', 'sources/file.ts', 'FileSourceOptions'],
  ['guard', 'sources/redis.ts', 'RedisSourceOptions'],
  ['guard', 'sources/http.ts', 'HttpSourceOptions'],
  ['client', 'exchange.ts', 'ClientOptions'],
  ['client', 'fetch.ts', 'FetchOptions'],
  ['client', 'budget.ts', 'BudgetOptions'],
  ['client', 'receipt.ts', 'ReceiptOptions'],
  ['intents', 'backfill.ts', 'BackfillOptions'],
] as const) {
  test(`packages/${library}/README.md names the options of ${name}`, () => {
    const options = optionsOf(read(`${library}/src/${file}`), name);
    expect(options).not.toEqual([]);
    const text = read(`${library}/README.md`);
    const named = (option: string) => new RegExp(`\\b${option}\\b`).test(text);
    expect(options.filter((option) => !FOR_TESTS.includes(option) && !named(option))).toEqual([]);
  });
}
