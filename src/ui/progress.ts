// Progress to stderr, so that stdout stays pipeable. Decides nothing. The list that moves is in terminal.ts.
import { performance } from 'node:perf_hooks';
import type { Progress } from '../engine/events.ts';
import { clean, pad } from './layout.ts';
import {
  bound,
  type Ended,
  ID_MIN,
  idWidth,
  MARKS,
  type Out,
  type Renderer,
  took,
  UNDOING,
  waitingText,
} from './lines.ts';
import type { Mode } from './mode.ts';

export type { Out, Renderer } from './lines.ts';

/** A log wants to know that something goes on, not each number. */
const SAME_WORDS_MS = 30_000;

export function createRenderer(mode: Mode, out: Out, clock: () => number = () => performance.now()): Renderer {
  if (mode === 'json') return { emit: () => undefined, stop: async () => undefined };
  return mode === 'terminal' ? lazily(out) : plain(out, clock);
}

function plain(out: Out, clock: () => number): Renderer {
  let ids = ID_MIN;
  const said = new Map<string, { words: string; at: number }>();
  /** Numbers alone are news only now and then. */
  function isNews(key: string, text: string): boolean {
    const words = text.replace(/[\d.,:]+/g, '0');
    const before = said.get(key);
    if (before?.words === words && clock() - before.at < SAME_WORDS_MS) return false;
    said.set(key, { words, at: clock() });
    return true;
  }
  return {
    emit(progress) {
      switch (progress.type) {
        case 'phase':
          ids = idWidth(
            ids,
            progress.steps.map((step) => step.id),
          );
          if (progress.undo) out.write(`${UNDOING}\n`);
          for (const step of progress.steps)
            if (step.skipped) out.write(`  ${MARKS.skipped} ${pad(step.id, ids)}  skipped: ${clean(step.skipped)}\n`);
          return;
        case 'step-began':
          // A count that is over within the interval is never shown: the step's own line tells.
          said.set(progress.step, { words: '', at: clock() });
          return;
        case 'step-doing': {
          const text = clean(progress.text);
          if (progress.done !== undefined) {
            const before = said.get(progress.step);
            if (before && clock() - before.at < SAME_WORDS_MS) return;
            said.set(progress.step, { words: text, at: clock() });
          } else if (!isNews(progress.step, text)) return;
          out.write(`    ${pad(progress.step, ids)}  ${text}${bound(progress)}\n`);
          return;
        }
        case 'step-ended':
          said.delete(progress.step);
          if (progress.inResult) return;
          out.write(`${endedLine(progress, ids)}\n`);
          return;
        case 'waiting':
          if (isNews('', progress.text)) out.write(`  … ${waitingText(progress)}\n`);
          return;
        case 'said':
          out.write(`${clean(progress.text)}\n`);
          return;
      }
    },
    stop: async () => undefined,
  };
}

function endedLine(ended: Ended, ids: number): string {
  const text = clean(ended.text);
  return `  ${MARKS[ended.result]} ${pad(ended.step, ids)}${text === '' ? '' : `  ${text}`}${ended.ms > 0 ? `  ${took(ended.ms)}` : ''}`;
}

/** listr2 is loaded when there is something to show. */
function lazily(out: Out): Renderer {
  const early: Progress[] = [];
  let loading: Promise<void> | undefined;
  let loaded: Renderer | undefined;
  async function load(): Promise<void> {
    const { terminalRenderer } = await import('./terminal.ts');
    loaded = terminalRenderer(out);
    for (const progress of early.splice(0)) loaded.emit(progress);
  }
  return {
    emit(progress) {
      if (loaded) return loaded.emit(progress);
      early.push(progress);
      loading ??= load();
    },
    async stop() {
      await loading;
      await loaded?.stop();
    },
  };
}
