import { expect, test } from '@jest/globals';
import type { Progress } from '../../../src/engine/events.ts';
import { createRenderer } from '../../../src/ui/progress.ts';

const AT = Date.parse('2026-11-24T02:01:35Z');
function ended(step: string, text: string, ms: number, result: 'ok' | 'look' | 'failed' | 'skipped' = 'ok'): Progress {
  return { type: 'step-ended', step, label: 'x', result, text, ms };
}
function began(step: string): Progress {
  return { type: 'step-began', step, label: 'x' };
}
function phase(undo: boolean, ...ids: string[]): Progress {
  return { type: 'phase', phase: undo ? 'aborted' : 'open', undo, steps: ids.map((id) => ({ id, uses: 'x/y' })) };
}
function plain() {
  let text = '';
  let now = 0;
  const renderer = createRenderer('plain', { write: (chunk) => (text += chunk) }, () => now);
  return { renderer, text: () => text, pass: (ms: number) => (now += ms) };
}

test('what the result says is not said twice', () => {
  const { renderer, text } = plain();
  renderer.emit(began('no-writes'));
  renderer.emit({ type: 'step-doing', step: 'no-writes', text: 'watching' });
  renderer.emit({ ...(ended('no-writes', '0 rows', 11_000) as object), inResult: true } as Progress);
  expect(text()).toBe('    no-writes   watching\n');
});

test('a start that is undone', () => {
  const { renderer, text } = plain();
  const events: Progress[] = [
    {
      type: 'phase',
      phase: 'open',
      undo: false,
      steps: [
        { id: 'flag', uses: 'a/b' },
        { id: 'slack', uses: 'c/d', skipped: '--skip' },
      ],
    },
    began('flag'),
    ended('flag', 'written, read back', 87),
    began('statuspage'),
    ended('statuspage', 'in progress · https://stspg.io/k3f9', 1_100),
    began('crons'),
    { type: 'step-doing', step: 'crons', text: '7 suspended · waiting for reindex.sh (pid 4211)', givesUp: AT },
    ended('crons', '7 suspended, but reindex.sh (pid 4211) still runs after 90s', 90_000, 'failed'),
    phase(true, 'flag', 'statuspage', 'crons'),
    began('flag'),
    ended('flag', 'our holder removed, read back', 40),
    ended('crons', '', 0, 'skipped'),
  ];
  for (const event of events) renderer.emit(event);
  expect(text()).toBe(`  - slack       skipped: --skip
  ✔ flag        written, read back  0.1s
  ✔ statuspage  in progress · https://stspg.io/k3f9  1.1s
    crons       7 suspended · waiting for reindex.sh (pid 4211), gives up 02:01:35Z
  ✘ crons       7 suspended, but reindex.sh (pid 4211) still runs after 90s  1m 30s
Undoing, walls first
  ✔ flag        our holder removed, read back  0.1s
  - crons     
`);
});

test('10,000 changes and a long soak do not flood a log', () => {
  const { renderer, text, pass } = plain();
  renderer.emit(began('crons'));
  for (let done = 64; done <= 10_000; done += 64) {
    pass(10);
    renderer.emit({ type: 'step-doing', step: 'crons', text: `${done} of 10000`, done, total: 10_000 });
  }
  expect(text()).toBe('');
  renderer.emit(began('soak'));
  for (let s = 0; s < 300; s++) {
    pass(1000);
    renderer.emit({ type: 'step-doing', step: 'soak', text: `${s * 28} reads · p95 ${40 + (s % 3)} ms`, until: AT });
  }
  const lines = text().trimEnd().split('\n');
  expect(lines.length).toBeLessThanOrEqual(11);
  expect(lines[0]).toBe('    soak        0 reads · p95 40 ms, until 02:01:35Z');
});

test('paced changes show now and then that they go on', () => {
  const { renderer, text, pass } = plain();
  renderer.emit(began('crons'));
  for (let done = 1; done <= 60; done++) {
    pass(1000);
    renderer.emit({ type: 'step-doing', step: 'crons', text: `${done} of 60`, done, total: 60 });
  }
  expect(text()).toBe('    crons       30 of 60\n    crons       60 of 60\n');
});

test('steps side by side do not repeat each other, a wait is said once', () => {
  const { renderer, text } = plain();
  for (let turn = 0; turn < 5; turn++) {
    renderer.emit({ type: 'step-doing', step: 'a', text: 'waiting for x' });
    renderer.emit({ type: 'step-doing', step: 'b', text: 'waiting for y' });
    renderer.emit({ type: 'waiting', text: `last seen ${turn}s ago`, until: AT });
  }
  expect(text()).toBe(
    '    a           waiting for x\n    b           waiting for y\n  … last seen 0s ago, until 02:01:35Z at the latest\n',
  );
});

test('JSON says nothing meanwhile', async () => {
  let text = '';
  const renderer = createRenderer('json', { write: (chunk) => (text += chunk) });
  renderer.emit(ended('flag', 'x', 1));
  await renderer.stop();
  expect(text).toBe('');
});
