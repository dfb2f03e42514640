import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { BrokenDocument, readHolders, withHolder } from '../../../../src/steps/flag/document.ts';

const OURS = { environment: 'prod', until: '2026-11-24T02:30:00Z', reason: 'say "}" and \\' };
const OTHER = '{"version":1,"holders":{"w-1":{"until":"x"}}}';

test('no document, one holder, no document again', () => {
  const text = withHolder(null, 'w-9', OURS)!;
  expect(JSON.parse(text)).toEqual({ version: 1, holders: { 'w-9': OURS } });
  expect(withHolder(text, 'w-9', null)).toBeNull();
  expect(withHolder(null, 'w-9', null)).toBeNull();
});

test('a document that was there without holders stays, as it was', () => {
  for (const text of [
    '{"version":1,"holders":{}}\n',
    '{ "holders": { } }',
    '{\n  "holders": {},\n  "version": 1\n}\n',
  ]) {
    const ours = withHolder(text, 'w-9', OURS)!;
    expect([...readHolders(ours).keys()]).toEqual(['w-9']);
    const both = withHolder(ours, 'w-8', OURS)!;
    expect(withHolder(withHolder(ours, 'w-9', { ...OURS, until: 'later' })!, 'w-9', null)).toBe(text);
    // in whichever order they go
    expect(withHolder(withHolder(both, 'w-9', null)!, 'w-8', null)).toBe(text);
    expect(withHolder(withHolder(both, 'w-8', null)!, 'w-9', null)).toBe(text);
  }
});

test('what somebody added to a document of ours outlives our holder', () => {
  const text = withHolder(null, 'w-9', OURS)!.replace('{"version":1', '{"version":1,"note":"ask ana"');
  expect(withHolder(text, 'w-9', null)).toBe('{"version":1,"note":"ask ana","holders":{}}');
});

test('fields that others wrote into our holder survive an extension', () => {
  const text = '{"holders":{"w-9":{"until":"1", "seen_by": [1.50, "a"]}}}';
  expect(withHolder(text, 'w-9', { until: '2' })).toBe('{"holders":{"w-9":{"until":"2","seen_by": [1.50, "a"]}}}');
  expect(withHolder('{"holders":{"w-9":true}}', 'w-9', { until: '2' })).toBe('{"holders":{"w-9":{"until":"2"}}}');
});

test('the last holder takes the document along, whoever wrote it', () => {
  expect(withHolder(OTHER, 'w-1', null)).toBeNull();
  expect(withHolder(OTHER, 'w-9', null)).toBe(OTHER);
});

test.each([
  ['', 'it is empty'],
  [' \n', 'it is empty'],
  ['{"holders":{', 'it is no JSON'],
  ['true', 'it is a plain boolean (true)'],
  ['0', 'it is a plain number (0)'],
  ['[]', 'it is no JSON object'],
  ['null', 'it is no JSON object'],
  ['{"version":1}', 'it has no object "holders"'],
  ['{"holders":[]}', 'it has no object "holders"'],
  ['{"version":2,"holders":{}}', 'its version is 2'],
  ['{"holders":{},"holders":{}}', 'it has "holders" twice'],
  ['{"holders":{"w-1":1,"w-\\u0031":2}}', 'it has "w-1" twice in "holders"'],
])('%j is broken, and never written over', (text, words) => {
  expect(() => readHolders(text)).toThrow(BrokenDocument);
  expect(() => readHolders(text)).toThrow(words);
  expect(() => withHolder(text, 'w-9', OURS)).toThrow(words);
});

/** JSON with spaces anywhere, numbers and escapes as nobody's serializer writes them. */
function json(depth: number): fc.Arbitrary<string> {
  const space = fc.constantFrom('', '', ' ', '\n  ', '\t', '\r\n');
  const scalar = fc.oneof(
    fc.string().map((text) => JSON.stringify(text)),
    fc.constantFrom('1.50', '-0', '1E+2', '12345678901234567890', 'true', 'null', '"\\u0041\\/"', '"}\\"{"'),
  );
  const inner = depth === 0 ? scalar : fc.oneof(scalar, json(depth - 1));
  const list = fc.array(fc.tuple(space, inner, space), { maxLength: 3 });
  return fc.oneof(
    fc.tuple(space, list).map(([s, all]) => `[${all.length ? all.map((one) => one.join('')).join(',') : s}]`),
    object(fc.string({ maxLength: 4 }), inner),
  );
}
function object(key: fc.Arbitrary<string>, value: fc.Arbitrary<string>, more: string[] = []): fc.Arbitrary<string> {
  const space = fc.constantFrom('', ' ', '\n  ');
  return fc
    .tuple(space, fc.uniqueArray(fc.tuple(key, space, space, value, space), { maxLength: 4, selector: ([k]) => k }))
    .map(([s, all]) => {
      const own = all.filter(([k]) => !['holders', 'version', 'keep_document', 'w-9'].includes(k));
      const members = [...own.map(([k, a, b, v, c]) => `${a}${JSON.stringify(k)}${b}:${b}${v}${c}`), ...more];
      return `{${members.length ? members.join(',') : s}}`;
    });
}

test('any document gets back every byte, and other holders keep theirs meanwhile', () => {
  const ids = fc.string({ maxLength: 5 });
  const documents = object(ids, json(2))
    .chain((holders) => object(ids, json(1), ['"version": 1', `"holders" : ${holders}`]))
    .chain((text) => fc.constantFrom(text, ` ${text}\n`));
  fc.assert(
    fc.property(documents, (text) => {
      const before = readHolders(text);
      const ours = withHolder(text, 'w-9', OURS)!;
      const now = readHolders(ours);
      expect(now.get('w-9')).toEqual(OURS);
      now.delete('w-9');
      expect([...now]).toEqual([...before]);
      const extended = withHolder(ours, 'w-9', { ...OURS, until: 'later' })!;
      expect(withHolder(extended, 'w-9', null)).toBe(text);
      const joined = withHolder(ours, 'w-8x', OURS)!;
      expect(withHolder(withHolder(joined, 'w-9', null)!, 'w-8x', null)).toBe(text);
    }),
    { numRuns: 300 },
  );
});
