// The command line in this process: its own main(), with its own environment, folder and streams for each call.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { main } from '../../src/main.ts';

const ROOT = new URL('../../bin/dev.js', import.meta.url).href;
const PJSON = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
const REAL = { ...process.env };

export interface Ran {
  code: number;
  output: string;
}

export async function maint(
  argv: readonly string[],
  at: { cwd: string; env: Record<string, string>; state?: string },
): Promise<Ran> {
  let output = '';
  const was = {
    argv: process.argv,
    cwd: process.cwd(),
    env: process.env,
    out: process.stdout.write,
    err: process.stderr.write,
  };
  const take = (chunk: unknown) => {
    output += String(chunk);
    return true;
  };
  process.argv = [process.execPath, 'maint', ...argv];
  process.chdir(at.cwd);
  process.env = {
    PATH: REAL['PATH'],
    HOME: at.cwd,
    MAINT_STATE: join(at.state ?? at.cwd, 'state', 'state.db'),
    ...at.env,
  };
  process.stdout.write = take as never;
  process.stderr.write = take as never;
  process.exitCode = undefined;
  try {
    await main(ROOT, PJSON);
    return { code: Number(process.exitCode ?? 0), output };
  } finally {
    process.exitCode = undefined;
    process.argv = was.argv;
    process.env = was.env;
    process.stdout.write = was.out;
    process.stderr.write = was.err;
    process.chdir(was.cwd);
  }
}
