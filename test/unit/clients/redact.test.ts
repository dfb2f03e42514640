import { inspect } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createRedactor } from '../../../src/clients/redact.ts';

const secret = fc
  .oneof(
    fc.string({ minLength: 4, maxLength: 40, unit: 'grapheme-ascii' }),
    fc.string({ minLength: 4, maxLength: 20, unit: 'binary' }),
    fc.base64String({ minLength: 8, maxLength: 40 }),
    fc.stringMatching(/^[a-zA-Z0-9+/_=&%"'\\<>:@-]{6,30}$/),
  )
  .filter((text) => text.length >= 4 && text.isWellFormed() && !'[redacted]'.includes(text));

const FORMS: Record<string, (text: string) => string> = {
  plain: (text) => text,
  json: (text) => JSON.stringify(text).slice(1, -1),
  'json in json': (text) => JSON.stringify(JSON.stringify(text).slice(1, -1)).slice(1, -1),
  component: encodeURIComponent,
  'component, lower case': (text) => encodeURIComponent(text).replace(/%../g, (code) => code.toLowerCase()),
  form: (text) => new URLSearchParams({ '': text }).toString().slice(1),
  userinfo: (text) => {
    const url = new URL('http://u@h/');
    url.password = text;
    return url.password;
  },
  base64: (text) => Buffer.from(text).toString('base64'),
  base64url: (text) => Buffer.from(text).toString('base64url'),
};

describe('redaction', () => {
  test.each(Object.keys(FORMS))('no secret is left, %s', (form) => {
    fc.assert(
      fc.property(secret, fc.string(), fc.string(), (value, before, after) => {
        const encoded = FORMS[form]!(value);
        const out = createRedactor([value])(`${before} ${encoded} ${after}`);
        // what the mark itself holds by chance is no secret
        expect(out.replaceAll('[redacted]', '\u0000')).not.toContain(encoded);
      }),
      { numRuns: 300 },
    );
  });

  test('inside Basic credentials, at any place', () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 6, maxLength: 30, unit: 'grapheme-ascii' }),
        fc.string({ maxLength: 8, unit: 'grapheme-ascii' }),
        (value, user) => {
          const header = `Basic ${Buffer.from(`${user}:${value}`).toString('base64')}`;
          expect(createRedactor([value])(header)).toMatch(/^Basic \[redacted\]$/);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('what holds no secret stays as it is', () => {
    const redact = createRedactor(['hunter22', 'x']);
    const text = 'maxx 02:00Z · redis localhost:6379 maint:read_only · 7 suspended (xargs)';
    expect(redact(text)).toBe(text);
    expect(createRedactor([])(text)).toBe(text);
    expect(createRedactor([''])(text)).toBe(text);
  });

  test('short secrets only where they stand alone', () => {
    const redact = createRedactor(['on', '1']);
    expect(redact('connection 127.0.0.1 one')).toBe('connection 127.0.0.1 one');
    expect(redact('password=on user=ona')).toBe('password=[redacted] user=ona');
    expect(redact('{"pin": "1", "n": "11"}')).toBe('{"pin": "[redacted]", "n": "11"}');
    expect(redact({ pin: '1', n: '11' })).toEqual({ pin: '[redacted]', n: '11' });
    expect(redact('redis://u:on@h/1')).toBe('redis://u:[redacted]@h/1');
  });

  test('passwords in URLs, declared or not', () => {
    const redact = createRedactor([]);
    expect(redact('postgres://app:s%2Fcr@t@db:5432/x, and redis://:p@h')).toBe(
      'postgres://app:[redacted]@db:5432/x, and redis://:[redacted]@h',
    );
    expect(redact('https://token@h/x postgres://app@db/x mailto:ana@h')).toBe(
      'https://[redacted]@h/x postgres://app@db/x mailto:ana@h',
    );
    expect(redact('http://h/x?mail=a@b http://h:80/')).toBe('http://h/x?mail=a@b http://h:80/');
  });

  test('objects of every kind, without changing them', () => {
    const redact = createRedactor(['hunter22']);
    const given = { a: ['hunter22', { 'x-hunter22': 1 }], m: new Map([['k', 'hunter22']]), d: new Date(0), n: null };
    const copy = redact(given);
    expect(inspect(copy, { depth: 9 })).not.toContain('hunter22');
    expect(given.a[0]).toBe('hunter22');
    expect(copy.d).toEqual(new Date(0));
    const loop: Record<string, unknown> = { s: 'hunter22' };
    loop['self'] = loop;
    const seen = redact(loop);
    expect(seen['self']).toBe(seen);
    expect(seen['s']).toBe('[redacted]');
  });

  test('errors, with stack and cause', () => {
    class Special extends Error {}
    const error = new Special('no hunter22', { cause: new Error('hunter22') });
    const copy = createRedactor(['hunter22'])(error);
    expect(copy).toBeInstanceOf(Special);
    expect(copy.message).toBe('no [redacted]');
    expect(`${copy.stack} ${inspect(copy)}`).not.toContain('hunter22');
  });

  test('the longer of two secrets goes as a whole; a key line by line', () => {
    expect(createRedactor(['abcd', 'abcdefgh'])('x abcdefgh abcd')).toBe('x [redacted] [redacted]');
    const key = '-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n-----END KEY-----';
    expect(createRedactor([key])('line 2: MIIEvQIBADANBgkqhkiG9w0B')).toBe('line 2: [redacted]');
  });

  test('is quick on long texts', () => {
    const redact = createRedactor(Array.from({ length: 20 }, (_, n) => `secret-number-${n}`));
    const text = 'QUJD'.repeat(250_000);
    const begun = performance.now();
    expect(redact(text)).toBe(text);
    expect(performance.now() - begun).toBeLessThan(3000);
  });
});
