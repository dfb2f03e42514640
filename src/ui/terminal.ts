// The list that moves: listr2 draws what is under way, each step a task that ends when its event says so. What has ended
// is written once, above it, and never redrawn: it survives a resize, a lost session and the scrollback. listr2 gets no
// signals, no retry and no rollback: those are the engine's.
import { performance } from 'node:perf_hooks';
import { styleText } from 'node:util';
import { DefaultRenderer, Listr, ListrLogger, type ListrTaskWrapper, ProcessOutput, Spinner } from 'listr2';
import type { Progress } from '../engine/events.ts';
import { lasting } from '../engine/words.ts';
import { breakLine, clean, cut, pad, paint, width } from './layout.ts';
import {
  bound,
  type Doing,
  type Ended,
  idWidth,
  MARKS,
  type Out,
  type Renderer,
  took,
  UNDOING,
  waitingText,
} from './lines.ts';

/** Beyond this a duration at the right edge is too far from its step to be read. */
const COMFORTABLE = 100;
const REFRESH_MS = 200;
const SHOW_CURSOR = '\x1b[?25h';
const ERASE_LINE_UP = '\x1b[2K\x1b[1A';

interface Row {
  id: string;
  kind: 'step' | 'wait';
  /** of performance.now() */
  began: number;
  doing: Pick<Doing, 'text' | 'givesUp' | 'until'> | undefined;
  ended: Pick<Ended, 'text' | 'ms'> & { mark: string };
  over: boolean;
  done: Promise<void>;
  end(): void;
  task?: ListrTaskWrapper<unknown, typeof DefaultRenderer, typeof DefaultRenderer> | undefined;
}
type Item = Row | string;

export function terminalRenderer(out: Out): Renderer {
  let ids = idWidth(0, []);
  let budget: { ms: number; since: number } | undefined;
  /** in the order of the screen: lines to write, and steps */
  const items: Item[] = [];
  let drawing: Promise<void> | undefined;
  let interrupt: () => void = () => undefined;

  const screen = () => Math.max(20, (out.columns ?? 80) - 2);
  const comfortable = () => Math.min(screen(), COMFORTABLE);
  const running = () => items.filter((item): item is Row => typeof item !== 'string' && !item.over);

  function draw(): void {
    interrupt();
    // Steps that begin together begin in one turn: they are one list.
    drawing ??= Promise.resolve()
      .then(drawAll)
      .finally(() => {
        drawing = undefined;
        if (items.length > 0) draw();
      });
  }

  async function drawAll(): Promise<void> {
    for (;;) {
      const [first] = items;
      if (first === undefined) return;
      if (typeof first === 'string' || first.over) {
        items.shift();
        for (const line of typeof first === 'string' ? breakLine(first, screen()) : finished(first))
          out.write(`${paint(line)}\n`);
        continue;
      }
      const next = items.findIndex((item) => typeof item === 'string');
      await drawRows(items.slice(0, next < 0 ? items.length : next) as Row[]);
    }
  }

  /** Until all have ended, or something else has to be shown. */
  async function drawRows(rows: readonly Row[]): Promise<void> {
    const cutShort = new Promise<void>((resolve) => {
      interrupt = resolve;
    });
    const frame = { text: '', columns: out.columns };
    const stream = {
      isTTY: true,
      get columns() {
        return out.columns ?? 80;
      },
      get rows() {
        return out.rows ?? 24;
      },
      write: (text: string) => out.write(text),
    };
    const sink = { ...stream, write: () => true };
    /** stderr, whatever stdout is. */
    class Moving extends DefaultRenderer {
      static override nonTTY = true;
      override create(options?: Parameters<DefaultRenderer['create']>[0]): string {
        frame.columns = out.columns;
        frame.text = super.create(options);
        return frame.text;
      }
    }
    const list = new Listr<unknown, typeof Moving, typeof Moving>(
      rows.map((row) => ({
        title: title(row),
        task: async (_context, task) => {
          row.task = task as unknown as NonNullable<Row['task']>;
          await Promise.race([row.done, cutShort]);
          task.title = title(row);
          row.task = undefined;
        },
      })),
      {
        renderer: Moving,
        rendererOptions: {
          clearOutput: true,
          formatOutput: 'truncate',
          indentation: 0,
          spinner: new Braille(),
          icon: { COMPLETED: '' },
          color: { PENDING: (text) => styleText('cyan', text ?? '', { validateStream: false }) },
          logger: new ListrLogger({ useIcons: true, processOutput: new ProcessOutput(stream as never, sink as never) }),
        },
        concurrent: true,
        exitOnError: false,
        registerSignalListeners: false,
      },
    );
    const refresh = setInterval(() => {
      for (const row of rows) if (row.task && row.task.title !== title(row)) row.task.title = title(row);
    }, REFRESH_MS);
    // A second Ctrl-C leaves at once: the cursor must be there even so.
    const leaving = () => out.write(`\n${SHOW_CURSOR}`);
    process.once('exit', leaving);
    const deaf = out.onResize?.(() => {
      const columns = out.columns ?? 80;
      if (columns < (frame.columns ?? 80)) out.write(ERASE_LINE_UP.repeat(wrapped(frame.text, columns)));
      frame.columns = columns;
    });
    try {
      await list.run();
    } finally {
      clearInterval(refresh);
      process.off('exit', leaving);
      deaf?.();
      interrupt = () => undefined;
    }
  }

  /** What goes on, in one line: what it waits for, when it gives up, how much of the budget is gone. */
  function title(row: Row): string {
    if (row.over) return paint(finished(row)[0] ?? '');
    const right = row === running().at(-1) ? elapsed(row) : '';
    // The spinner and its spaces take four cells.
    const rooms = [comfortable() - 4, screen() - 4] as const;
    const before = row.kind === 'wait' ? '' : pad(cut(row.id, ids), ids);
    if (!row.doing) return join(before, '', '', right, rooms);
    return join(before, clean(row.doing.text), bound(row.doing), right, rooms);
  }

  function elapsed(row: Row): string {
    const now = performance.now();
    if (budget) return `${Math.floor((now - budget.since) / 1000)}s of ${inSeconds(budget.ms)}`;
    const s = Math.floor((now - row.began) / 1000);
    return s < 1 ? '' : s < 120 ? `${s}s` : lasting(s * 1000);
  }

  /** With the duration at the right; long texts go on below their column. */
  function finished(row: Row): string[] {
    const { mark, text, ms } = row.ended;
    if (mark === '') return [];
    const long = width(row.id) > ids;
    const line = `  ${mark} ${row.kind === 'wait' ? '' : `${pad(row.id, ids)}  `}${clean(text)}`.trimEnd();
    const lines = breakLine(line, screen());
    if (ms <= 0) return lines;
    const last = lines.at(-1) ?? '';
    const time = took(ms);
    const edge = lines.length > 1 || long ? screen() : comfortable();
    if (width(last) + 2 + width(time) <= edge)
      return [...lines.slice(0, -1), pad(last, comfortable() - width(time)) + time];
    if (width(last) + 2 + width(time) <= screen()) return [...lines.slice(0, -1), `${last}  ${time}`];
    return [
      ...breakLine(line, screen() - width(time) - 2).map((part, at, all) =>
        at < all.length - 1 ? part : pad(part, comfortable() - width(time)) + time,
      ),
    ];
  }

  function begin(id: string, kind: Row['kind'], mark: string): Row {
    let end: () => void = () => undefined;
    const done = new Promise<void>((resolve) => {
      end = resolve;
    });
    const row: Row = {
      id,
      kind,
      began: performance.now(),
      doing: undefined,
      ended: { mark, text: '', ms: 0 },
      over: false,
      done,
      end,
    };
    items.push(row);
    draw();
    return row;
  }

  function over(row: Row): void {
    row.over = true;
    row.end();
  }

  /** What has to be said is said above what still runs. */
  function say(text: string): void {
    const at = items.findIndex((item) => typeof item !== 'string' && !item.over);
    items.splice(at < 0 ? items.length : at, 0, text);
    draw();
  }

  function find(id: string, kind: Row['kind'] = 'step'): Row | undefined {
    return running().find((row) => row.id === id && row.kind === kind);
  }

  /** A wait that belongs to no step is over as soon as anything happens. */
  function endWaits(): void {
    for (const row of running()) if (row.kind === 'wait') over(row);
  }

  return {
    emit(progress: Progress) {
      if (progress.type !== 'waiting') endWaits();
      switch (progress.type) {
        case 'phase':
          ids = idWidth(
            ids,
            progress.steps.map((step) => step.id),
          );
          budget = progress.budgetMs === undefined ? undefined : { ms: progress.budgetMs, since: performance.now() };
          if (progress.undo) say(UNDOING);
          for (const step of progress.steps)
            if (step.skipped) say(`  ${MARKS.skipped} ${pad(step.id, ids)}  skipped: ${clean(step.skipped)}`);
          return;
        case 'step-began':
          begin(progress.step, 'step', '');
          return;
        case 'step-doing': {
          const row = find(progress.step) ?? begin(progress.step, 'step', '');
          row.doing = progress;
          return;
        }
        case 'step-ended': {
          const row = find(progress.step) ?? begin(progress.step, 'step', '');
          row.ended = { mark: progress.inResult ? '' : MARKS[progress.result], text: progress.text, ms: progress.ms };
          over(row);
          return;
        }
        case 'waiting': {
          const row = running().find((one) => one.kind === 'wait') ?? begin('', 'wait', '');
          row.doing = { text: waitingText(progress) };
          return;
        }
        case 'said':
          say(clean(progress.text));
          return;
      }
    },
    async stop() {
      // Cut off in the middle: said as such, for the last thing that went on is what people look for.
      for (const row of running()) {
        if (row.kind === 'step')
          row.ended = { mark: '·', text: row.doing ? `${row.doing.text} (not finished)` : 'not finished', ms: 0 };
        over(row);
      }
      while (drawing) await drawing;
    },
  };
}

class Braille extends Spinner {
  protected override readonly spinner = [...'⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏'].map((frame) => `  ${frame}`);
}

function inSeconds(ms: number): string {
  return ms < 120_000 ? `${Math.round(ms / 1000)}s` : lasting(ms);
}

/** In the comfortable room where all of it fits. `text` gives way to what stands at the right; that goes on a very narrow screen. */
function join(before: string, text: string, bound: string, right: string, rooms: readonly [number, number]): string {
  const start = before === '' ? '' : `${before}  `;
  const aside = right === '' ? 0 : width(right) + 2;
  const room = width(start) + width(text) + width(bound) + aside <= rooms[0] ? rooms[0] : rooms[1];
  const edge = width(start) + Math.min(width(text), 16) + width(bound) + aside <= room ? right : '';
  const space = room - width(start) - (edge === '' ? 0 : aside);
  const middle = width(text) + width(bound) <= space ? text : cut(text, Math.max(8, space - width(bound)));
  const left = `${start}${middle}${bound}`.trimEnd();
  return edge === '' ? cut(left, room) : pad(left, room - width(edge)) + edge;
}

/** Rows that a narrower terminal has added to what was drawn. */
function wrapped(frame: string, columns: number): number {
  return frame.split('\n').reduce((sum, line) => sum + Math.max(0, Math.ceil(width(clean(line)) / columns) - 1), 0);
}
