// Names of writes, and what is shown of them.
import { expect, test } from '@jest/globals';
import { fingerprint, isReceipt, keyHash, maskedTarget, newReceipt } from '../../../packages/intents/src/identity.ts';
import { write } from '../../contract/intents.ts';

test('receipts are 128 random bits that fit into a URL', () => {
  const many = new Set(Array.from({ length: 1_000 }, newReceipt));
  expect(many.size).toBe(1_000);
  for (const receipt of many) expect(isReceipt(receipt)).toBe(true);
  for (const other of ['', 'a'.repeat(21), 'a'.repeat(23), `${'a'.repeat(21)}/`, `${'a'.repeat(22)}\n`])
    expect(isReceipt(other)).toBe(false);
});

test('no two lists of names run together', () => {
  const hashes = [
    write({ tenant: 'a', surface: 'b', key: 'c' }),
    write({ tenant: 'ab', surface: '', key: 'c' }),
    write({ tenant: 'a', surface: 'bc', key: '' }),
    write({ tenant: 'a","b', surface: '', key: 'c' }),
  ].map((each) => keyHash(each).toString('hex'));
  expect(new Set(hashes).size).toBe(hashes.length);
  const moved = { target: '/a', method: 'PO', body: Buffer.from('ST') };
  expect(fingerprint(write({ order: null }))).not.toEqual(fingerprint(write({ order: 'null' })));
  expect(fingerprint(write({ ...moved, target: '/aP' }))).not.toEqual(fingerprint(write(moved)));
});

test('the condition of a write is a part of what it asks', () => {
  const on = (headers: Record<string, string>) => fingerprint(write({ headers })).toString('hex');
  const of = { 'content-type': 'application/json' };
  const all = [
    on(of),
    on({ ...of, 'if-match': '"1"' }),
    on({ ...of, 'if-match': '"2"' }),
    on({ ...of, 'if-none-match': '"1"' }),
  ];
  expect(new Set(all).size).toBe(all.length);
  expect(on({ ...of, traceparent: '00-1' })).toBe(on(of));
});

test('of a query, names are shown and values are not', () => {
  expect(maskedTarget('/a/b')).toBe('/a/b');
  expect(maskedTarget('/a?token=s3cret&x=1')).toBe('/a?token=…&x=…');
  expect(maskedTarget('/a?s3cret')).toBe('/a?…');
  expect(maskedTarget('/a?x=1?s3cret=2=3')).toBe('/a?x=…');
});
