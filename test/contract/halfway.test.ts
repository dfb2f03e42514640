// A write of two calls that dies between them: what stands half-way is ours. It is gone on from or undone, and nobody
// else is blamed for it.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { z } from 'zod';
import { defineResource, type Step, whileHeld } from '../../src/engine/contract.ts';
import type { FileSeen, Reader } from '../../src/engine/io.ts';
import { stillOurs } from '../../src/engine/window.ts';
import { machine, type Stage } from '../support/machine.ts';

const Params = z.strictObject({ setting: z.string(), loaded: z.string() });
type Params = z.infer<typeof Params>;
/** What stands in the file of settings, and what the server has loaded of it. */
const State = z.strictObject({ setting: z.string(), loaded: z.string() });
type State = z.infer<typeof State>;
interface Handle {
  setting: FileSeen | null;
  loaded: FileSeen | null;
}

async function look(io: Reader, { setting, loaded }: Params) {
  const handle: Handle = { setting: await io.files.read(setting), loaded: await io.files.read(loaded) };
  const text = (seen: FileSeen | null) => seen?.content.toString();
  return { state: { setting: text(handle.setting), loaded: text(handle.loaded) }, handle };
}

const twoCalls = defineResource<Params, State>({
  ...{ name: 'test/two-calls', role: 'work', summary: '', example: {}, compare: 'look', local: true },
  Params,
  State,
  address: () => 'settings',
  observe: async (io, params) => new Map([['it', await look(io, params)]]),
  desired: whileHeld(() => ({ setting: 'on', loaded: 'on' })),
  async write(io, params, [change]) {
    const { setting, loaded } = change!.handle as Handle;
    await io.files.replace(params.setting, setting, Buffer.from(change!.to!.setting));
    await io.files.replace(params.loaded, loaded, Buffer.from(change!.to!.loaded));
    return [change!.to];
  },
  halfway: (from, to, now) => now?.setting === to?.setting && now?.loaded === from?.loaded,
});

let folder: string;
let params: Params;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'maint-halfway-'));
  params = { setting: join(folder, 'setting'), loaded: join(folder, 'loaded') };
  for (const path of Object.values(params)) await writeFile(path, 'off');
});
afterEach(() => rm(folder, { recursive: true }));
const files = async () => await Promise.all(Object.values(params).map((path) => readFile(path, 'utf8')));
const step = (plugin = twoCalls): Step => ({ id: 'step', plugin, params, deadlineMs: 30_000 });

const CASES: readonly [string, string, readonly Stage[]][] = [
  ['resumed', 'write file replace/1/after', ['open', 'soaking', 'closed']],
  ['ended', 'write file replace/1/after', ['soaking', 'closed']],
  ['aborted', 'write file replace/1/after', ['aborted']],
  ['ended again, when the end died', 'write file replace/3/after', ['closed']],
];

test.each(CASES)('killed between its two calls, then %s', async (_how, killAt, stages) => {
  await using m = Object.assign(machine([step()], { killAt }), { [Symbol.asyncDispose]: () => m.close() });
  expect(await m.live(['open', 'soaking', 'closed'])).toBe(false);
  expect(new Set(await files()).size).toBe(2);
  await m.run(stages);
  expect(await files()).toEqual(['off', 'off']);
  const state = (await m.state())!;
  expect([state.reached, state.drifts, stillOurs(state), m.failures]).toEqual([true, [], [], []]);
});

test('where it is not said to be half-way, it is taken for a change of somebody else', async () => {
  const { halfway: _, ...atomic } = twoCalls;
  await using m = Object.assign(machine([step(atomic as never)], { killAt: 'write file replace/1/after' }), {
    [Symbol.asyncDispose]: () => m.close(),
  });
  await m.live(['open']);
  await m.run(['soaking', 'closed']);
  expect((await m.state())!.drifts).toHaveLength(1);
  expect(await files()).toEqual(['on', 'off']);
});
