// What a plugin saw, whoever answered; and classes that come from another copy of the program.
import { expect, test } from '@jest/globals';
import { z } from 'zod';
import { defineResource, LEAVE, Refusal, Stale, type Step, Unfinished, Unknown } from '../../../src/engine/contract.ts';
import { pinned, type Sight, see } from '../../../src/engine/see.ts';
import { brand } from '../../../src/errors/brand.ts';
import { OuterError } from '../../../src/errors/catalogue.ts';
import { WINDOW } from '../../support/drive.ts';

const State = z.strictObject({ on: z.boolean() });

async function seen(observe: () => Promise<unknown>): Promise<Sight> {
  const plugin = defineResource<object, { on: boolean }>({
    ...{ name: 'test/thing', role: 'work', summary: '', example: {}, compare: 'server' },
    Params: z.strictObject({}),
    State,
    address: () => 'thing example.com',
    observe: observe as never,
    desired: () => LEAVE,
    write: async () => [],
  });
  const step: Step = { id: 'step', plugin, params: {}, deadlineMs: 1000 };
  return await see(step, {} as never, { phase: 'open', window: WINDOW, owned: new Map() });
}

test.each<[string, () => Promise<unknown>]>([
  ['reads what is not there', async () => (undefined as never as { items: unknown[] }).items],
  ['parses by itself', async () => State.parse('<html>')],
  ['parses JSON', async () => JSON.parse('<html>')],
])('a page of a captive portal is no bug of a plugin that %s', async (_how, observe) => {
  const error = await seen(observe).catch((reason) => reason);
  expect(error).toBeInstanceOf(OuterError);
  expect(error).toMatchObject({ effect: 'none', retryable: true });
  expect(error.message).toMatch(/^thing example\.com gave an answer that test\/thing cannot read \(/);
});

test('what is no State is "cannot tell", null is "not there", and handles are handed on', async () => {
  const entries: [string, unknown][] = [
    ['good', { state: { on: true }, handle: 'etag' }],
    ['gone', { state: null }],
    ['html', { state: { on: 'yes' } }],
    ['down', new Unknown('down', true)],
  ];
  const { states, handles } = await seen(async () => new Map(entries));
  expect(states.get('good')).toEqual({ on: true });
  expect(states.get('gone')).toBeNull();
  expect(states.get('html')).toMatchObject({ refused: false, why: expect.stringContaining('cannot read (on: ') });
  expect(states.get('down')).toMatchObject({ refused: true, why: 'down' });
  expect(handles.get('good')).toBe('etag');
});

test('a refusal and an error of the outer world pass as they are', async () => {
  const refusal = new Refusal('no', 'do it');
  expect(await seen(() => Promise.reject(refusal)).catch((reason) => reason)).toBe(refusal);
  const down = new OuterError('down', { effect: 'none', retryable: true });
  expect(await seen(() => Promise.reject(down)).catch((reason) => reason)).toBe(down);
});

test('a change is pinned to what is there, with what the server sets', () => {
  const states = new Map<string, any>([['x', { on: true, v: 2 }]]);
  const sight: Sight = { states, handles: new Map([['x', 'h']]), owned: new Map() };
  const to = { on: false };
  expect(pinned(sight, [{ id: 'x', from: { on: true, v: 2 }, to }])).toEqual([
    { id: 'x', from: { on: true, v: 2 }, to, handle: 'h' },
  ]);
  expect(() => pinned(sight, [{ id: 'x', from: { on: true, v: 1 }, to }])).toThrow(Stale);
  expect(() => pinned(sight, [{ id: 'y', from: { on: true }, to }])).toThrow(Stale);
  states.set('x', new Unknown('down'));
  expect(() => pinned(sight, [{ id: 'x', from: { on: true, v: 2 }, to }])).toThrow('down');
});

test('the classes of another copy are ours, a subclass is only itself, and nothing else is', () => {
  for (const [type, name] of [
    [Unknown, 'Unknown'],
    [Refusal, 'Refusal'],
    [Stale, 'Stale'],
    [Unfinished, 'Unfinished'],
    [OuterError, 'OuterError'],
  ] as const) {
    class Copy extends Error {}
    brand(Copy, name);
    expect(new Copy()).toBeInstanceOf(type);
    expect(new Error()).not.toBeInstanceOf(type);
  }
  class Refused extends Unknown {}
  expect(new Refused('x')).toBeInstanceOf(Unknown);
  expect(new Unknown('x')).not.toBeInstanceOf(Refused);
  expect([null, 'x', {}].some((it: any) => it instanceof Unknown)).toBe(false);
  expect(LEAVE).toBe(Symbol.for('maint.LEAVE'));
});
