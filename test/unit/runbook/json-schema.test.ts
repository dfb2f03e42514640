import { describe, expect, test } from '@jest/globals';
import { Ajv } from 'ajv';
import { parse } from 'yaml';
import { z } from 'zod';
import { defineCheck } from '../../../src/engine/contract.ts';
import { runbookSchema, surfacesSchema } from '../../../src/runbook/json-schema.ts';
import { EVERYTHING } from './every-surface.ts';
import { FULL, registry } from './registry.ts';

const schema = runbookSchema(registry);
const validate = new Ajv({ strict: false, validateFormats: false, allErrors: true }).compile(schema);
const HEAD = 'version: 1\nenvironment: p\ncontact: x\nsteps:\n';
const valid = (text: string) => validate(parse(text));

test('it is draft 7, and the full checklist fits', () => {
  expect(schema['$schema']).toBe('http://json-schema.org/draft-07/schema#');
  valid(FULL);
  expect(validate.errors).toBeNull();
});

test('marks are left out, descriptions stay', () => {
  const text = JSON.stringify(schema);
  expect(text).not.toMatch(/"(secret|duration|path|url)":true/);
  expect(text).toContain('an API token');
  expect(text).toContain('flag/redis for tests');
});

describe('steps', () => {
  test.each<[string, boolean]>([
    ['{ uses: flag/redis, with: { url: "${U}" } }', true],
    ['{ uses: flag/redis, with: {} }', false],
    ['{ uses: flag/redis }', false],
    ['{ uses: flag/reids, with: { url: x } }', false],
    ['{ uses: crons/crontab }', true],
    ['{ uses: crons/crontab, with: { most: "${M}", quiet: "${Q}" } }', true],
    ['{ uses: crons/crontab, with: { most: many } }', false],
    ['{ uses: crons/crontab, with: { most: 500 } }', false],
    ['{ uses: crons/crontab, with: { nope: 1 } }', false],
    ['{ uses: cache/http, with: { url: "${U}", method: "${M}" } }', true],
    ['{ uses: cache/http, with: { url: "${U}", method: GET } }', false],
    ['{ uses: soak/http, with: { probes: ["http://h", { url: "${U}", expect: "${E}" }] } }', true],
    ['{ uses: soak/http, with: { probes: [7] } }', false],
    ['{ uses: soak/http, with: { probes: ["http://h"] }, on_bad: refreeze }', true],
    ['{ uses: crons/crontab, on_bad: refreeze }', false],
    ['{ uses: cache/http, with: { url: "http://h" }, release: reopen }', false],
    ['{ uses: crons/crontab, deadline: 5 }', false],
    ['{ uses: crons/crontab, deadline: 90s, pace: 20/min, skip: later }', true],
    ['{ parallel: [{ uses: crons/crontab }] }', true],
    ['{ parallel: [] }', false],
    ['{ parallel: [{ parallel: [{ uses: crons/crontab }] }] }', false],
    ['flag/redis', false],
  ])('%s: %s', (line, is) => {
    expect(valid(`${HEAD}  - ${line}\n`)).toBe(is);
  });

  test('a plugin whose params refer to themselves', () => {
    type Tree = { name: string; inner?: Tree[] | undefined };
    const Tree: z.ZodType<Tree> = z.lazy(() => z.strictObject({ name: z.string(), inner: z.array(Tree).optional() }));
    const tree = defineCheck({
      name: 'verify/tree',
      on: ['now'],
      summary: 'a tree',
      Params: z.strictObject({ tree: Tree }),
      example: {},
      address: () => '',
      check: async () => ({ outcome: 'pass', summary: '', findings: [], evidence: null }),
    });
    const check = new Ajv({ strict: false, validateFormats: false }).compile(
      runbookSchema(new Map([[tree.name, tree]])),
    );
    const text = (inner: string) =>
      parse(`${HEAD}  - { uses: verify/tree, with: { tree: { name: a, inner: [${inner}] } } }\n`);
    expect(check(text('{ name: b }'))).toBe(true);
    expect(check(text('{ nam: b }'))).toBe(false);
  });
});

test('surfaces', () => {
  const check = new Ajv({ strict: false }).compile(surfacesSchema());
  const surface = { name: 'a', kind: 'http', match: { methods: ['POST'], path: '/a' }, disposition: 'refuse' };
  expect(check({ version: 1, surfaces: [surface] })).toBe(true);
  expect(check({ version: 1, surfaces: [{ ...surface, kind: 'cron' }] })).toBe(false);
});

test('surfaces: everything that can be said, and what does not go together', () => {
  const check = new Ajv({ strict: false }).compile(surfacesSchema());
  const everything = parse(EVERYTHING);
  check(everything);
  expect(check.errors).toBeNull();
  const one = (surface: object) => check({ version: 1, surfaces: [{ name: 'a', kind: 'http', ...surface }] });
  const match = { methods: ['POST'], path: '/a' };
  expect(one({ match })).toBe(true);
  for (const bad of [
    {},
    { match: { path: '/a' } },
    { match: { ...match, names: ['x'] } },
    { match: { ...match, operations: ['mutation'] } },
    { kind: 'tool', match },
    { kind: 'tool', match: { names: ['x'] }, canary: { method: 'POST', path: '/a' } },
    { match, disposition: 'pass', status: 423 },
    { match, order: { header: 'x' } },
    { match, disposition: 'buffer', credential: 'user' },
    { match, disposition: 'buffer', purpose: 'login' },
    { match, status: 204 },
  ])
    expect([bad, one(bad)]).toEqual([bad, false]);
});
