// Progress to stderr, so that stdout stays pipeable. Decides nothing.
import type { Progress } from '../engine/events.ts';
import { lasting, utc } from '../engine/words.ts';
import type { Mode } from './mode.ts';

export interface Renderer {
  emit(progress: Progress): void;
  /** everything shown, the cursor back */
  stop(): Promise<void>;
}

export interface Out {
  write(text: string): void;
}

const MARKS = { ok: '✔', look: '!', failed: '✘', skipped: '-' } as const;

export function createRenderer(mode: Mode, out: Out): Renderer {
  if (mode === 'json') return { emit: () => undefined, stop: async () => undefined };
  return plain(out);
}

function plain(out: Out): Renderer {
  let width = 10;
  let doing = '';
  return {
    emit(progress) {
      switch (progress.type) {
        case 'phase':
          width = Math.max(10, ...progress.steps.map((step) => step.id.length));
          if (progress.undo) out.write('Undoing, walls first\n');
          for (const step of progress.steps)
            if (step.skipped) out.write(`  - ${step.id.padEnd(width)}  skipped: ${step.skipped}\n`);
          return;
        case 'step-doing': {
          // Only what is new in words: a pipe is no place for a spinner.
          const text = `${progress.step} ${progress.text}`;
          if (text === doing || progress.done !== undefined) return;
          doing = text;
          out.write(
            `    ${progress.step.padEnd(width)}  ${progress.text}${progress.givesUp === undefined ? '' : `, gives up ${utc(progress.givesUp)}`}\n`,
          );
          return;
        }
        case 'step-ended':
          out.write(
            `  ${MARKS[progress.result]} ${progress.step.padEnd(width)}  ${progress.text}${progress.ms > 0 ? `  ${lasting(progress.ms)}` : ''}\n`,
          );
          return;
        case 'waiting':
          out.write(`  … ${progress.text}, until ${utc(progress.until)} at the latest\n`);
          return;
        case 'said':
          out.write(`${progress.text}\n`);
          return;
        case 'step-began':
          return;
      }
    },
    stop: async () => undefined,
  };
}
