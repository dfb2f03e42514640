import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { compileOperations, documentWrites, readDocument } from '../../../packages/guard/src/graphql.ts';

const mutations = compileOperations(['mutation']);
const named = compileOperations(['query:recount', 'mutation:addNote']);
if (!mutations || !named) throw new Error('operations');

describe('reads', () => {
  test.each([
    '{a}',
    'query{a}',
    'query Q{a}',
    '\ufeff query Q ( $a : [Int!]! = [1, 2] , $b: In = { x: "mutation {" } ) @d(a: {b: 1}) { a }',
    '# mutation { a }\n{ a }',
    '{ a(text: "mutation { b }", block: """mutation { " "" \\""" } { """) }',
    '{ mutation }',
    'query mutation { query }',
    '{ a { ... on B { c } ...F } } fragment F on B @x { d }',
    'subscription S { a }',
    '{ a(x: -1.5e+3, y: $v, z: [A, null]) }',
    '{ a },,, query B { b }',
  ])('%s', (text) => {
    expect(documentWrites(mutations, text)).toBe(false);
  });
});

describe('writes, or not understood', () => {
  test.each([
    'mutation{a}',
    'mutation M($a: Int) { a }',
    '{ a } mutation { b }',
    '{ a }mutation{ b }',
    '{ a(x: "\\"") } mutation { b }',
    '{ a(x: """\\"""""") } mutation { b }',
    '"""description""" mutation { b }',
    '# comment\rmutation { b }',
    '\ufeffmutation{b}',
    'Mutation { a }',
    'extend type A { b: C }',
    'type A { b: C }',
    'fragment F on A { b }',
    '{ a',
    '{ a }}',
    '{ a ) }',
    '{ "open }',
    '{ a(x: """open") }',
    '{ a \u0000 }',
    '{ a } \u00a0 mutation',
    '{ a } ;',
    'query Q',
    '',
    ' # nothing',
    '[{ a }]',
    '{"query":"mutation { b }"}',
    '{ a: 1 }',
    '{ a [b] }',
    '{ $a }',
    '(a) { b }',
    '...F',
  ])('%s', (text) => {
    expect(documentWrites(mutations, text)).toBe(true);
  });
});

test('named operations and fields: wherever the name stands, whatever its case', () => {
  for (const text of ['query Recount { a }', '{ recount }', '{ x: RECOUNT }', '{ ...F } fragment F on Q { recount }']) {
    expect([text, documentWrites(named, text)]).toEqual([text, true]);
  }
  expect(documentWrites(named, '{ recounts }')).toBe(false);
  expect(documentWrites(named, 'mutation { addNote(text: "x") }')).toBe(true);
  // Only what is named writes.
  expect(documentWrites(named, 'mutation { touch }')).toBe(false);
  expect(documentWrites(named, 'mutation { touch(text: "addNote") }')).toBe(false);
  expect(compileOperations(['mutations'])).toBeNull();
  expect(compileOperations(['query:'])).toBeNull();
});

test('a mutation is found wherever it stands among reads, strings and comments', () => {
  const read = fc.constantFrom('{ a }', 'query Q { a(x: "}") }', 'fragment F on A { b }', 'subscription { s }');
  const noise = fc.constantFrom('', ' ', '\n', ',', '# mutation { x }\n', '\r\n', '\t');
  const definitions = fc.array(fc.tuple(noise, read), { maxLength: 5 });
  fc.assert(
    fc.property(definitions, fc.nat(5), noise, (parts, at, before) => {
      const texts = parts.map(([space, text]) => space + text);
      const reads = texts.join('');
      const isRead = readDocument(reads);
      if (isRead) expect(documentWrites(mutations, reads)).toBe(false);
      texts.splice(at % (texts.length + 1), 0, `${before}mutation M { a }`);
      expect(documentWrites(mutations, texts.join(''))).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});

test('no text makes it fail or take long', () => {
  const piece = fc.constantFrom(
    '{',
    '}',
    '(',
    ')',
    '"',
    '"""',
    '\\',
    '#',
    '\n',
    'query',
    'a',
    '@',
    '...',
    ':',
    '1',
    '[',
    ']',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
      readDocument(pieces.join(' '));
      readDocument(pieces.join(''));
    }),
    { numRuns: 3_000 },
  );
  const from = performance.now();
  readDocument(`{ a(x: ${'"""\\'.repeat(100_000)}`);
  readDocument('{'.repeat(500_000));
  expect(performance.now() - from).toBeLessThan(2_000);
});
