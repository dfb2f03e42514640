import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { z } from 'zod';
import { defineResource, LEAVE, type Step, Unknown } from '../../../src/engine/contract.ts';
import type { MaintError } from '../../../src/errors/catalogue.ts';
import { loadWorld, recordWorld } from '../../../src/runbook/world.ts';

const plugin = defineResource({
  name: 'test/thing',
  role: 'work',
  summary: 'a thing',
  Params: z.strictObject({}),
  State: z.strictObject({ on: z.boolean() }),
  example: {},
  address: () => 'here',
  compare: 'server',
  observe: async () => new Map(),
  desired: () => LEAVE,
  write: async () => [],
});
const step = (id: string): Step => ({ id, plugin, params: {}, deadlineMs: 1000 });

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'maint-world-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function load(content: unknown, steps: Step[]) {
  const path = join(folder, 'world.json');
  writeFileSync(
    path,
    typeof content === 'string' || content instanceof Uint8Array ? content : JSON.stringify(content, null, 2),
  );
  return loadWorld(path, steps);
}
function refused(content: unknown, steps: Step[] = [step('a')]): MaintError {
  try {
    load(content, steps);
  } catch (error) {
    return error as MaintError;
  }
  throw new Error('was accepted');
}

const facts = { environment: 'prod', recordedAt: '2026-11-24T02:00:00.000Z', runbook: 'prod', window: null };

test('what is recorded is read back: things, nothing, and what could not be seen', () => {
  const world = new Map<string, any>([
    [
      'a',
      new Map<string, any>([
        ['x', { on: true }],
        ['y', null],
        ['z', new Unknown('no right')],
      ]),
    ],
    ['b', new Unknown('is down')],
  ]);
  const steps = [step('a'), step('b')];
  const back = load(recordWorld(world, steps, facts), [...steps, step('c')]);
  expect(back.world.get('a')).toEqual(world.get('a'));
  expect(back.world.get('b')).toEqual(new Unknown('is down'));
  expect(back.world.get('c')).toEqual(new Unknown('not in the recorded world'));
  expect(back.notes).toEqual([]);
});

test('a world of another runbook and of an open window is said to be one', () => {
  const file = recordWorld(new Map([['old', new Map()]]), [step('old')], { ...facts, window: 'w-1' });
  expect(load(file, [step('a')]).notes.join()).toMatch(/no step of this runbook: old.*w-1 was open/);
});

const ok = {
  version: 1,
  ...facts,
  steps: { a: { uses: 'test/thing', address: 'here', resources: { x: { on: true } } } },
};

test.each([
  ['empty', '', /is empty/],
  ['no JSON', '{"version":1,', /world\.json:1:\d+ .*is no JSON/],
  ['binary', new Uint8Array([0xff, 0xfe, 0]), /no UTF-8/],
  ['a list', [], /expected object/],
  ['another version', { ...ok, version: 2 }, /:2:3 +version +.*expected 1 +found 2/],
  ['a key more', { ...ok, more: 1 }, /more +is no key/],
  ['no time', { ...ok, recordedAt: 'yesterday' }, /recordedAt .*found "yesterday"/],
  [
    'a state of another shape',
    { ...ok, steps: { a: { ...ok.steps.a, resources: { x: { on: 1 } } } } },
    /:13:11 +steps\.a\.resources\.x\.on .*found 1/,
  ],
  [
    'a state with a key more',
    { ...ok, steps: { a: { ...ok.steps.a, resources: { x: { on: true, b: 1 } } } } },
    /x\.b +is no key/,
  ],
  ['neither resources nor unknown', { ...ok, steps: { a: { uses: 'x', address: '' } } }, /either resources or unknown/],
])('%s: 65, with the place', (_name, content, words) => {
  const error = refused(content);
  expect(error).toMatchObject({ code: 'E_RUNBOOK', exit: 65 });
  expect(error.details.join('\n')).toMatch(words);
});

test('a folder and a file that is not there: 64', () => {
  expect(() => loadWorld(folder, [])).toThrow(expect.objectContaining({ code: 'E_NO_FILE', exit: 64 }));
  expect(() => loadWorld(join(folder, 'nope'), [])).toThrow(expect.objectContaining({ code: 'E_NO_FILE' }));
});
