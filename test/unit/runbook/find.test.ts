import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { MaintError } from '../../../src/errors/catalogue.ts';
import { advice, type Next } from '../../../src/errors/next.ts';
import { type FindOptions, findRunbook } from '../../../src/runbook/find.ts';
import { nextText } from '../../../src/ui/next.ts';

const texts = (next: readonly Next[]) => next.map((one) => nextText(one));

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'find-'));
});
afterEach(() => rmSync(cwd, { recursive: true }));

const find = (options: Partial<FindOptions> = {}) => findRunbook({ env: {}, cwd, ...options });
function put(...names: string[]) {
  mkdirSync(join(cwd, 'runbooks'), { recursive: true });
  for (const name of names)
    writeFileSync(
      join(cwd, 'runbooks', name),
      name.startsWith('surfaces') ? 'surfaces: []\n' : 'version: 1\nsteps: []\n',
    );
}
function refused(options: Partial<FindOptions> = {}): MaintError {
  try {
    find(options);
  } catch (error) {
    if (error instanceof MaintError) return error;
    throw error;
  }
  throw new Error('one was found');
}

test('--runbook, then MAINT_RUNBOOK, then the environment, then the only one', () => {
  put('prod.yaml', 'surfaces.yaml');
  const env = { MAINT_RUNBOOK: 'x.yaml' };
  expect(find({ runbook: 'a.yaml', env, environment: 'prod' })).toBe('a.yaml');
  expect(find({ env, environment: 'prod' })).toBe('x.yaml');
  expect(find({ environment: 'prod' })).toBe('runbooks/prod.yaml');
  expect(find()).toBe('runbooks/prod.yaml');
  expect(find({ environment: 'staging' })).toBe('runbooks/prod.yaml');
  put('staging.yml');
  expect(find({ environment: 'staging' })).toBe('runbooks/staging.yml');
});

test('several: listed', () => {
  put('prod.yaml', 'staging.yaml', 'surfaces.yaml');
  const error = refused({ environment: '../prod' });
  expect([error.code, error.exit]).toEqual(['E_NO_RUNBOOK', 64]);
  expect(error.message).toBe('2 runbooks are in runbooks/, and none was named for "../prod".');
  expect(error.details).toEqual([
    'runbooks/prod.yaml  cannot be read',
    'runbooks/staging.yaml  cannot be read',
    'runbooks/surfaces.yaml  no steps in it',
  ]);
  expect(texts(error.next)[0]).toBe('--runbook runbooks/prod.yaml');
});

test('none', () => {
  expect(refused().message).toContain('there is no folder runbooks/ here');
  put('surfaces.yaml');
  const error = refused({ environment: 'prod' });
  expect(error.message).toContain('runbooks/ holds no YAML file with steps');
  expect(texts(error.next)).toContain('or write runbooks/prod.yaml');
  expect(refused({ runbook: '' }).exit).toBe(64);
});

describe('by the environment that stands in it', () => {
  const text = (name: string, content: string) => {
    put();
    writeFileSync(join(cwd, 'runbooks', name), content);
  };
  const of = (environment: string, more = '') => `version: 1\nenvironment: ${environment}\nsteps: []\n${more}`;

  test('whatever the file is called', () => {
    text('reindex.yaml', of('prod'));
    text('nightly.yml', of('staging'));
    expect(find({ environment: 'prod' })).toBe('runbooks/reindex.yaml');
    expect(find({ environment: 'staging' })).toBe('runbooks/nightly.yml');
  });

  test('in quotes, with a comment, as JSON', () => {
    text('a.yaml', of('"prod" # the real one'));
    text('b.yaml', '{"version": 1, "environment": "staging", "steps": []}');
    text('c.yaml', of("'test'"));
    expect(find({ environment: 'prod' })).toBe('runbooks/a.yaml');
    expect(find({ environment: 'staging' })).toBe('runbooks/b.yaml');
    expect(find({ environment: 'test' })).toBe('runbooks/c.yaml');
  });

  test('or in its environments', () => {
    text('main.yaml', of('prod', 'environments:\n  prod-eu: { contact: "#eu" }\n  staging: {}\n'));
    text('other.yaml', of('test'));
    expect(find({ environment: 'prod-eu' })).toBe('runbooks/main.yaml');
    expect(find({ environment: 'staging' })).toBe('runbooks/main.yaml');
  });

  test('before a file that only has its name', () => {
    text('prod.yaml', of('staging'));
    text('real.yaml', of('prod'));
    expect(find({ environment: 'prod' })).toBe('runbooks/real.yaml');
  });

  test('of several the one that is named after it', () => {
    text('prod.yaml', of('prod'));
    text('short.yaml', of('prod'));
    expect(find({ environment: 'prod' })).toBe('runbooks/prod.yaml');
  });

  test('several, none named after it: listed', () => {
    text('long.yaml', of('prod'));
    text('short.yaml', of('prod'));
    text('broken.yaml', 'steps: [\n');
    const error = refused({ environment: 'prod' });
    expect(error).toMatchObject({
      code: 'E_NO_RUNBOOK',
      message: '2 runbooks in runbooks/ are for "prod".',
      details: [
        'runbooks/broken.yaml  cannot be read',
        'runbooks/long.yaml  for prod',
        'runbooks/short.yaml  for prod',
      ],
      next: [advice('--runbook runbooks/long.yaml'), advice('--runbook runbooks/short.yaml')],
    });
  });

  test('what cannot be read is found by its name, and told by who reads it', () => {
    text('prod.yaml', 'steps: [\n');
    text('staging.yaml', of('staging'));
    expect(find({ environment: 'prod' })).toBe('runbooks/prod.yaml');
  });

  test('a slip names what is near', () => {
    text('a.yaml', of('prod'));
    text('b.yaml', of('staging'));
    expect(texts(refused({ environment: 'prdo' }).next)).toEqual([
      '--env prod',
      '--runbook runbooks/a.yaml',
      '--runbook runbooks/b.yaml',
      'or set MAINT_RUNBOOK',
    ]);
    expect(texts(refused().next).slice(0, 2)).toEqual(['--env prod', '--env staging']);
  });
});
