// The command line as people run it: one build, copied aside, in a process of its own.
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from '@jest/globals';

/** What runs is one build, whatever is built meanwhile; and the bundle needs nothing beside itself. */
const BUILT = mkdtempSync(join(tmpdir(), 'maint-built-'));
for (const name of ['bin', 'dist', 'package.json'])
  cpSync(fileURLToPath(new URL(`../../${name}`, import.meta.url)), join(BUILT, name), { recursive: true });
const remove = () => rmSync(BUILT, { recursive: true, force: true });
// jest's process is a copy of the real one: nobody tells it that it ends
if (afterAll) afterAll(remove);
else process.once('exit', remove);
export const BIN = join(BUILT, 'bin', 'run.js');

export interface Ran {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** both, in the order in which they came */
  output: string;
}
export interface Running {
  child: ChildProcess;
  /** what was said so far */
  said(): string;
  ended: Promise<Ran>;
}

/** Begins `maint …` in a folder, with an environment of its own: nothing of this process leaks in but PATH. */
export function begin(argv: readonly string[], options: { cwd: string; env?: Record<string, string> }): Running {
  const child = spawn(process.execPath, [BIN, ...argv], {
    cwd: options.cwd,
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: options.cwd,
      MAINT_STATE: join(options.cwd, 'state', 'state.db'),
      ...options.env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  let output = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
    output += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
    output += chunk;
  });
  const ended = new Promise<Ran>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr, output }));
  });
  return { child, said: () => output, ended };
}

export async function maint(
  argv: readonly string[],
  options: { cwd: string; env?: Record<string, string> },
): Promise<Ran> {
  const ran = await begin(argv, options).ended;
  if (argv.includes('--json')) await expectTypeable(ran.stdout);
  return ran;
}

/** Throws where a document names a next command that its own command would not take. */
async function expectTypeable(stdout: string): Promise<void> {
  for (const [, text] of stdout.matchAll(/^ *"argv": (\[[^\]]*\])/gm)) {
    const { refusedBy } = await import('./next-commands.ts');
    const refused = await refusedBy(JSON.parse(text!) as string[]);
    if (refused !== undefined) throw new Error(`a next command that nobody could type: ${refused}`);
  }
}
