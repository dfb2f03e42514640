// The window's state machine held against a small model of it; `npm run sweep:model` plays ten thousand sequences.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { commands, play } from './model.ts';

test('two hundred sequences of commands, crashes, sleeps, takeovers, clocks and edits: the engine does as the model says', async () => {
  const seed = Number(process.env['MODEL_SEED'] ?? Date.now() % 2 ** 31);
  const result = await fc.check(
    fc.asyncProperty(commands, fc.nat(2 ** 31 - 1), async (sequence, random) => {
      const wrong = await play(sequence, random);
      if (wrong) throw new Error(wrong);
    }),
    { numRuns: 200, seed },
  );
  const replay = `node test/unit/engine/model.sweep.ts --seed ${seed} --path ${result.counterexamplePath}`;
  expect(
    result.failed ? `${fc.stringify(result.counterexample)}\n${result.errorInstance}\nreplay: ${replay}` : '',
  ).toBe('');
}, 120_000);
