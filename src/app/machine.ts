// This machine and this process, as the run lease names them.
import { hostname } from 'node:os';
import type { Owner } from '../engine/journal.ts';
import type { Machine } from '../engine/run.ts';
import { userName } from '../engine/who.ts';
import { personOf } from './who.ts';

/** `named`: --by. */
export async function thisMachine(
  named?: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<Machine> {
  const { isAlive, startTimeOf, thisProcess } = await import('../clients/process.ts');
  const name = `${hostname()}/${thisProcess().bootId}/${thisProcess().pidNamespace}`;
  return {
    name,
    owner: (verb): Owner => ({
      name: personOf(named, env, { user: user(), host: hostname() }),
      ...thisProcess(),
      verb,
    }),
    dead: (owner) => isAlive(owner) === false,
    running: ({ pid, startTime, host }) => (host === name ? startTimeOf(pid) === startTime : undefined),
  };
}

function user(): string {
  return userName() ?? process.env['USER'] ?? 'unknown';
}
