import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { MaintError } from '../../../src/errors/catalogue.ts';
import { type FindOptions, findRunbook } from '../../../src/runbook/find.ts';

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
    'runbooks/prod.yaml',
    'runbooks/staging.yaml',
    'runbooks/surfaces.yaml  no steps in it',
  ]);
  expect(error.next[0]).toBe('--runbook runbooks/prod.yaml');
});

test('none', () => {
  expect(refused().message).toContain('there is no folder runbooks/ here');
  put('surfaces.yaml');
  const error = refused({ environment: 'prod' });
  expect(error.message).toContain('runbooks/ holds no YAML file with steps');
  expect(error.next).toContain('or write runbooks/prod.yaml');
  expect(refused({ runbook: '' }).exit).toBe(64);
});
