// A command on a terminal of its own (script(1) of util-linux makes one), of any width, with somebody who types.
import { spawn } from 'node:child_process';
import { BIN, type Ran } from './cli.ts';

export interface AtTerminal {
  cwd: string;
  env?: Record<string, string>;
  /** 0: a terminal that does not say how wide it is */
  columns?: number;
  /** typed as soon as the question is there; without it Ctrl-D is, so that a question nobody expects does not wait for ever */
  answer?: string;
}

/** What the screen got, stdout and stderr as one, and the exit code. */
export function onTerminal(words: readonly string[], options: AtTerminal): Promise<Pick<Ran, 'code' | 'output'>> {
  const { cwd, columns = 80, answer } = options;
  const child = spawn(
    'script',
    [
      '-qfec',
      `stty cols ${columns} rows ${columns === 0 ? 0 : 24} && exec ${quoted([process.execPath, BIN, ...words])}`,
      '/dev/null',
    ],
    {
      cwd,
      env: {
        PATH: process.env['PATH'] ?? '',
        HOME: cwd,
        TERM: 'xterm-256color',
        MAINT_STATE: `${cwd}/state/state.db`,
        ...options.env,
      },
      stdio: ['pipe', 'pipe', 'pipe'],
    },
  );
  let output = '';
  let typed = false;
  const seen = (chunk: unknown) => {
    output += chunk;
    if (typed || !output.includes(' to go on: ')) return;
    typed = true;
    child.stdin.write(answer === undefined ? '\x04' : `${answer}\r`);
  };
  child.stdout.on('data', seen);
  child.stderr.on('data', seen);
  return new Promise((resolve) => {
    child.on('close', (code) => resolve({ code, output: output.replaceAll('\r\n', '\n') }));
  });
}

function quoted(words: readonly string[]): string {
  return words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
}
