// Whatever a file holds: a clear error or a runbook, never anything else, and never more than a second.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { MaintError } from '../../../src/errors/catalogue.ts';
import { MAX_BYTES } from '../../../src/runbook/document.ts';
import { runbookSchema } from '../../../src/runbook/json-schema.ts';
import { loadRunbook, parseRunbook, type Runbook } from '../../../src/runbook/load.ts';
import { RunbookError } from '../../../src/runbook/problems.ts';
import { showRunbook } from '../../../src/runbook/show.ts';
import { parseSurfaces } from '../../../src/runbook/surfaces.ts';
import { missingError, resolve } from '../../../src/runbook/variables.ts';
import { FULL, registry } from './registry.ts';

/** Measured as this thread's own time, so that other tests on the machine do not count. */
const A_SECOND = 1000;
function now(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

function outcome(text: string): { error?: MaintError; runbook?: Runbook; ms: number } {
  const begin = now();
  try {
    const runbook = parseRunbook({ text, path: 'p.yaml', folder: '/w', surfacesText: 'version: 1\n' }, registry);
    return { runbook, ms: now() - begin };
  } catch (error) {
    if (!(error instanceof MaintError) || (error.exit !== 64 && error.exit !== 65)) throw error;
    return { error, ms: now() - begin };
  }
}

describe('files made to hurt', () => {
  const size = MAX_BYTES - 300;
  const fill = (unit: string) => unit.repeat(Math.floor(size / unit.length));
  const step = (params: string) => `version: 1\nsteps:\n  - { uses: ${params} }\n`;
  const nine = (name: string) => `[${Array(9).fill(`*${name}`).join(',')}]`;
  const lines = (count: number, line: (i: number) => string) =>
    Array.from({ length: count }, (_, i) => line(i)).join('\n');
  test.each<[string, string]>([
    [
      'an alias bomb',
      `a: &a0 [${Array(9).fill('x').join(',')}]\n${lines(12, (i) => `b${i}: &a${i + 1} ${nine(`a${i}`)}`)}`,
    ],
    ['an alias of itself', 'a: &a [*a]\nsteps: &s [*s]'],
    ['aliases without end', `a: &a x\nb: [${fill('*a,')}]`],
    ['aliases of nothing', `b: [${fill('*a,')}]`],
    ['keys', lines(12_000, (i) => `k${i}: 1`)],
    ['the same key', fill('a: 1\n')],
    ['steps', `steps:\n${fill('  - { uses: flag/fil }\n')}`],
    ['groups', `steps:\n${lines(1500, (i) => `  - parallel: [{ id: a${i}, uses: flag/file, with: { path: f } }]`)}`],
    ['open brackets', fill('[')],
    ['open maps', fill('{a: ')],
    ['closing brackets', fill(']')],
    ['commas', `[${fill(',')}`],
    ['dashes', fill('- ')],
    ['dashes in lines', fill('-\n ')],
    ['colons', fill('a: ')],
    ['indentation', lines(500, (i) => `${' '.repeat(i)}a:`)],
    ['a quote', `"${fill('a\\n')}`],
    ['anchors', fill('&a ')],
    ['tags', fill('! ')],
    ['tabs', fill('\t- a\n')],
    ['documents', fill('a\n---\n')],
    ['block scalars', fill('|\n ')],
    ['a long key', `${fill('k')}: 1`],
    ['a long name', step(fill('k'))],
    ['variables', step(`flag/redis, with: { url: "${fill('${A}')}" }`)],
    ['addresses', step(`flag/redis, with: { url: "${fill('a://b:c')}" }`)],
    ['colons in an address', step(`flag/redis, with: { url: "x://${fill(':')}" }`)],
    ['question marks in an address', step(`flag/redis, with: { url: "x://${fill('?password=')}" }`)],
    ['probes', step(`soak/http, with: { probes: [${fill('7,')}] }`)],
    ['digits', `budget: ${fill('9')}s`],
    ['blanks', fill(' ')],
    ['newlines', fill('\n')],
    ['directives', fill('%YAML 1.1\n')],
    ['__proto__', 'version: 1\n__proto__: { steps: [] }\nsteps:\n  - { __proto__: x, constructor: y, toString: z }\n'],
    ['half a character', '\ud800: \udfff'],
  ])('%s', (_name, text) => {
    const { error, ms } = outcome(text);
    expect(error).toBeInstanceOf(RunbookError);
    expect(ms).toBeLessThan(A_SECOND);
    expect(error!.details.join('\n').length).toBeLessThan(100_000);
  });

  test('10 MB are not read', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'hostile-'));
    const path = join(folder, 'big.yaml');
    writeFileSync(path, Buffer.alloc(10 * 1024 * 1024, '- a\n'));
    const begin = now();
    await expect(loadRunbook(path, registry)).rejects.toMatchObject({
      exit: 65,
      details: [`${path}:1:1  is too large  found 10240 KiB  allowed at most 128 KiB`],
    });
    expect(now() - begin).toBeLessThan(100);
    rmSync(folder, { recursive: true });
    expect(outcome('- a\n'.repeat(2_500_000)).ms).toBeLessThan(100);
  });
});

/** Words that turn up in runbooks, and what breaks them. */
const WORDS = [
  'steps:',
  'uses:',
  'with:',
  'parallel:',
  'flag/redis',
  'command',
  '{',
  '}',
  '[',
  ']',
  '- ',
  ': ',
  '\n',
  '\n  ',
  '\t',
  '"',
  "'",
  '#',
  '&a ',
  '*a',
  '<<: ',
  '!x ',
  '|\n',
  '---\n',
  '...\n',
  '?',
  '${',
  '}',
  '${A}',
  '${A:-b}',
  '$${',
  'null',
  '~',
  '5',
  '-5m',
  '1e9h',
  'true',
  '1.5',
  '\0',
  '\uFEFF',
  '\u2028',
  '😀',
  '__proto__',
  'constructor',
  'environments:',
  'surfaces: s',
  '%YAML 1.1\n',
];

const mutation = fc.record({
  at: fc.nat(FULL.length),
  cut: fc.nat(30),
  word: fc.oneof(fc.constantFrom(...WORDS), fc.string({ maxLength: 6 })),
});

test('two thousand mutated runbooks: a runbook, 64 or 65', () => {
  let good = 0;
  let slowest = 0;
  fc.assert(
    fc.property(fc.array(mutation, { minLength: 1, maxLength: 4 }), (mutations) => {
      let text = FULL;
      for (const { at, cut, word } of mutations)
        text = text.slice(0, at) + word + text.slice(at + (cut > 15 ? cut - 15 : 0));
      const { runbook, error, ms } = outcome(text);
      slowest = Math.max(slowest, ms);
      if (error) {
        // no expect(): it costs more than what is tested
        const unsaid = !error.message || (error.exit === 65 && error.details.length === 0);
        // what the input says itself is rightly quoted
        const slips = error.details.join().match(/undefined|\[object|NaN/g) ?? [];
        if (unsaid || slips.some((slip) => !text.includes(slip))) throw error;
        return;
      }
      good++;
      showRunbook(runbook!);
      const resolution = resolve(runbook!, { REDIS_URL: 'x', A: '1' }, () => '');
      if (!resolution.ok) missingError(resolution);
    }),
    { numRuns: 2000 },
  );
  expect(slowest).toBeLessThan(A_SECOND);
  // about one in fifteen stays a runbook
  expect(good).toBeGreaterThan(60);
});

test('any value in any place of a step', () => {
  const value = fc.jsonValue({ maxDepth: 3 });
  const plugin = fc.constantFrom(...registry.keys());
  const key = fc.constantFrom(
    'url',
    'path',
    'token',
    'page',
    'keep',
    'most',
    'probes',
    'headers',
    'check',
    'for',
    'allow',
    'observe',
    'role',
    'x',
  );
  fc.assert(
    fc.property(
      plugin,
      fc.dictionary(key, value),
      fc.dictionary(
        fc.constantFrom('id', 'deadline', 'release', 'on_failure', 'on_bad', 'pace', 'skip', 'with'),
        value,
      ),
      (uses, params, frame) => {
        const steps = [{ uses, with: params, ...frame }];
        const { runbook } = outcome(JSON.stringify({ version: 1, environment: 'p', contact: 'x', steps }));
        if (runbook) resolve(runbook, {}, () => '');
      },
    ),
    { numRuns: 1000 },
  );
});

test('surfaces too', () => {
  const text =
    'version: 1\nsurfaces:\n  - { name: a, kind: http, match: { methods: [POST], path: /a/:b }, disposition: refuse, canary: { method: POST, path: /a/1 } }\n';
  fc.assert(
    fc.property(
      fc.nat(text.length),
      fc.nat(9),
      fc.oneof(fc.constantFrom(...WORDS), fc.string({ maxLength: 6 })),
      (at, cut, word) => {
        try {
          parseSurfaces(text.slice(0, at) + word + text.slice(at + cut), 's.yaml');
        } catch (error) {
          if (!(error instanceof RunbookError)) throw error;
        }
      },
    ),
    { numRuns: 1000 },
  );
});

test('the schema of the registry is made in well under a second', () => {
  const begin = now();
  runbookSchema(registry);
  expect(now() - begin).toBeLessThan(A_SECOND);
});
