import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import type { Progress } from '../../../src/engine/events.ts';
import { lostLine, outliveReaders, outOf } from '../../../src/ui/output.ts';
import { createRenderer, type Out } from '../../../src/ui/progress.ts';

/** What a terminal shows of what was written: lines, the cursor's row, and whether it is hidden. */
class Screen implements Out {
  columns: number;
  rows = 40;
  lines = [''];
  row = 0;
  column = 0;
  hidden = false;
  bytes = 0;
  constructor(columns: number) {
    this.columns = columns;
  }
  write(text: string): void {
    this.bytes += text.length;
    for (const [part] of text.matchAll(/\n|\r|\p{Cc}\[\??[\d;]*[A-Za-z]|\P{Cc}+/gu)) this.apply(part);
  }
  private apply(part: string): void {
    const n = Number(/\d+/.exec(part)?.[0] ?? 1);
    if (part === '\n') this.go(this.row + 1, 0);
    else if (part === '\r' || part.endsWith('G')) this.column = 0;
    else if (!part.startsWith('\x1b')) {
      const line = this.lines[this.row]!.padEnd(this.column);
      this.lines[this.row] = line.slice(0, this.column) + part + line.slice(this.column + part.length);
      this.column += part.length;
    } else if (part.endsWith('A')) this.go(Math.max(0, this.row - n), this.column);
    else if (part.endsWith('B')) this.go(this.row + n, this.column);
    else if (part === '\x1b[2K') this.lines[this.row] = '';
    else if (part.endsWith('K')) this.lines[this.row] = this.lines[this.row]!.slice(0, this.column);
    else if (part === '\x1b[?25l') this.hidden = true;
    else if (part === '\x1b[?25h') this.hidden = false;
    else if (!/m$|2026[hl]$/.test(part)) throw new Error(`not known to this screen: ${JSON.stringify(part)}`);
  }
  private go(row: number, column: number): void {
    while (this.lines.length <= row) this.lines.push('');
    this.row = row;
    this.column = column;
  }
  text(): string {
    return this.lines
      .map((line) => line.trimEnd())
      .join('\n')
      .trimEnd();
  }
}

async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; !condition(); turn++) {
    if (turn > 400) throw new Error('never');
    await sleep(10);
  }
}
function began(step: string): Progress {
  return { type: 'step-began', step, label: 'x' };
}
function ended(step: string, text: string, ms: number, result: 'ok' | 'look' | 'failed' = 'ok'): Progress {
  return { type: 'step-ended', step, label: 'x', result, text, ms };
}
const OPEN: Progress = {
  type: 'phase',
  phase: 'open',
  undo: false,
  budgetMs: 60_000,
  steps: ['flag', 'statuspage', 'crons'].map((id) => ({ id, uses: 'x/y' })),
};
const GIVES_UP = Date.parse('2026-11-24T02:01:35Z');

test('a start that fails and is undone, at 80 columns', async () => {
  const screen = new Screen(80);
  const renderer = createRenderer('terminal', screen);
  renderer.emit(OPEN);
  renderer.emit(began('flag'));
  renderer.emit(ended('flag', 'written, read back', 87));
  renderer.emit(began('statuspage'));
  await until(() => screen.text().includes('⠋') || screen.text().includes('⠙'));
  renderer.emit(ended('statuspage', 'in progress · https://stspg.io/k3f9', 1100));
  renderer.emit(began('crons'));
  renderer.emit({
    type: 'step-doing',
    step: 'crons',
    text: '7 suspended · waiting for reindex.sh (pid 4211)',
    givesUp: GIVES_UP,
  });
  await until(() => screen.text().includes('gives up'));
  expect(screen.text().split('\n').at(-1)).toMatch(
    /^ {2}[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] crons {7}7 suspended · waiting for \S*…, gives up 02:01:35Z {2}\ds of 60s$/,
  );
  expect(screen.hidden).toBe(true);
  renderer.emit(ended('crons', '7 suspended, but reindex.sh (pid 4211) still runs after 90s', 90_000, 'failed'));
  renderer.emit({ type: 'phase', phase: 'aborted', undo: true, steps: [{ id: 'flag', uses: 'x/y' }] });
  renderer.emit(began('flag'));
  renderer.emit(ended('flag', 'our holder removed, read back', 40));
  await renderer.stop();
  expect(screen.text()).toBe(`  ✔ flag        written, read back                                        0.1s
  ✔ statuspage  in progress · https://stspg.io/k3f9                       1.1s
  ✘ crons       7 suspended, but reindex.sh (pid 4211) still runs
                after 90s                                               1m 30s
Undoing, walls first
  ✔ flag        our holder removed, read back                             0.1s`);
  expect(screen.hidden).toBe(false);
});

describe('a group', () => {
  test('ends in the order of the file, and what is said meanwhile stands above what still runs', async () => {
    const screen = new Screen(100);
    const renderer = createRenderer('terminal', screen);
    for (const id of ['a', 'b', 'c']) renderer.emit(began(id));
    await until(() => /a\n.*b\n.*c/.test(screen.text()));
    renderer.emit(ended('b', 'second', 0));
    await until(() => screen.text().includes('✔ b'));
    renderer.emit({ type: 'said', text: 'stopping: the write in flight gets 3 s' });
    renderer.emit(ended('c', 'third', 0));
    renderer.emit(ended('a', 'first', 0));
    await renderer.stop();
    expect(screen.text()).toBe(`stopping: the write in flight gets 3 s
  ✔ a           first
  ✔ b           second
  ✔ c           third`);
  });

  test('of more steps than the screen has rows', async () => {
    const screen = new Screen(100);
    screen.rows = 10;
    const renderer = createRenderer('terminal', screen);
    const ids = Array.from({ length: 30 }, (_, n) => `step-${n}`);
    for (const id of ids) renderer.emit(began(id));
    await until(() => screen.text().includes('step-29'));
    for (const id of ids) renderer.emit(ended(id, 'done', 0));
    await renderer.stop();
    expect(screen.text().split('\n').slice(-30)).toEqual(ids.map((id) => `  ✔ ${id.padEnd(10)}  done`));
  });
});

test('a step that begins while another runs joins it', async () => {
  const screen = new Screen(100);
  const renderer = createRenderer('terminal', screen);
  renderer.emit(began('soak'));
  await until(() => screen.text().includes('soak'));
  renderer.emit(began('flag'));
  await until(() => screen.text().includes('flag') && screen.text().includes('soak'));
  renderer.emit(ended('flag', 'ok', 0));
  renderer.emit(ended('soak', 'ok', 0));
  await renderer.stop();
  expect(screen.text()).toBe('  ✔ soak        ok\n  ✔ flag        ok');
});

test('interrupted: what went on is said as not finished, the cursor is back, and it can go on', async () => {
  const screen = new Screen(100);
  const renderer = createRenderer('terminal', screen);
  renderer.emit(began('crons'));
  renderer.emit({ type: 'step-doing', step: 'crons', text: 'waiting for reindex.sh', givesUp: GIVES_UP });
  await until(() => screen.text().includes('waiting'));
  await renderer.stop();
  expect(screen.text()).toBe('  · crons       waiting for reindex.sh (not finished)');
  expect(screen.hidden).toBe(false);
  renderer.emit(ended('crons', 'later', 0));
  await renderer.stop();
  expect(screen.text().split('\n').at(-1)).toBe('  ✔ crons       later');
});

test('a wait for a lease is shown while it lasts, and leaves nothing', async () => {
  const screen = new Screen(100);
  const renderer = createRenderer('terminal', screen);
  renderer.emit({ type: 'waiting', text: 'ana@lapis was last seen 9s ago', until: GIVES_UP });
  await until(() => screen.text().includes('last seen 9s ago, until 02:01:35Z at the latest'));
  renderer.emit({ type: 'waiting', text: 'ana@lapis was last seen 10s ago', until: GIVES_UP });
  renderer.emit(ended('flag', 'ok', 0));
  await renderer.stop();
  expect(screen.text()).toBe('  ✔ flag        ok');
});

test('10,000 changes are redrawn by the clock, not by their number', async () => {
  const screen = new Screen(100);
  const renderer = createRenderer('terminal', screen);
  renderer.emit(began('crons'));
  await until(() => screen.text().includes('crons'));
  const before = screen.bytes;
  for (let done = 1; done <= 10_000; done++)
    renderer.emit({ type: 'step-doing', step: 'crons', text: `${done} of 10000`, done, total: 10_000 });
  expect(screen.bytes - before).toBeLessThan(2_000);
  await until(() => screen.text().includes('10000 of 10000'));
  renderer.emit(ended('crons', '10,000 suspended', 900));
  await renderer.stop();
  expect(screen.text().split('\n')).toHaveLength(1);
});

test('a text that would paint the terminal does not', async () => {
  const screen = new Screen(100);
  const renderer = createRenderer('terminal', screen);
  renderer.emit(ended('flag', 'a\x1b[2J\x1b[1;1Hb\nc', 0));
  await renderer.stop();
  expect(screen.text()).toBe('  ✔ flag        ab c');
});

test('a narrower terminal is cleaned up before the next frame', async () => {
  const screen = new Screen(100);
  const resized = new EventEmitter();
  const out: Out = Object.assign(screen, {
    onResize: (listener: () => void) => {
      resized.on('resize', listener);
      return () => resized.off('resize', listener);
    },
  });
  const renderer = createRenderer('terminal', out);
  renderer.emit(began('crons'));
  renderer.emit({ type: 'step-doing', step: 'crons', text: 'x'.repeat(70) });
  await until(() => screen.text().includes('xxx'));
  const written: string[] = [];
  const write = screen.write.bind(screen);
  screen.write = (text) => {
    written.push(text);
    write(text);
  };
  screen.columns = 50;
  resized.emit('resize');
  expect(written[0]).toBe('\x1b[2K\x1b[1A');
  renderer.emit(ended('crons', 'ok', 0));
  await renderer.stop();
  expect(resized.listenerCount('resize')).toBe(0);
});

test('a terminal that is gone stops nothing', async () => {
  const gone = Object.assign(new EventEmitter(), {
    isTTY: true,
    columns: 80,
    rows: 24,
    destroyed: false,
    writableEnded: false,
    write() {
      const error = Object.assign(new Error('write EIO'), { code: 'EIO' });
      queueMicrotask(() => gone.emit('error', error));
      throw error;
    },
  });
  const stream = gone as unknown as NodeJS.WriteStream;
  outliveReaders([stream]);
  const renderer = createRenderer('terminal', outOf(stream));
  renderer.emit(OPEN);
  renderer.emit(began('flag'));
  await sleep(150);
  renderer.emit(ended('flag', 'ok', 1));
  await renderer.stop();
  expect(lostLine(stream)).toBeUndefined();
});

test('no handler is left behind', async () => {
  const before = process.listenerCount('exit') + process.listenerCount('SIGINT');
  const screen = new Screen(80);
  const renderer = createRenderer('terminal', screen);
  for (let n = 0; n < 20; n++) {
    renderer.emit(began(`s${n}`));
    await sleep(1);
    renderer.emit(ended(`s${n}`, 'ok', 1));
  }
  await renderer.stop();
  expect(process.listenerCount('exit') + process.listenerCount('SIGINT')).toBe(before);
  expect(stripVTControlCharacters(screen.text()).split('\n')).toHaveLength(20);
});
