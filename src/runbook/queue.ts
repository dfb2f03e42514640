// How a queue is named on the command line, and what is said where there is none.
import { resolve } from 'node:path';
import { MaintError } from '../errors/catalogue.ts';
import { advice, blank, maint } from '../errors/next.ts';
import { quoted } from './problems.ts';

/** A path counts from the folder in which one is; an address must be one of Postgres. */
export function namedQueue(text: string, cwd: string, by: string): string {
  if (by === '--queue' && URL.parse(text)?.password)
    throw new MaintError(
      'E_USAGE',
      '--queue holds a password, which everybody on this machine could read in the list of processes.',
      { details: ['allowed: the password in MAINT_QUEUE, or in PGPASSWORD'], next: [advice('set MAINT_QUEUE')] },
    );
  if (/^postgres(ql)?:\/\/[^/\s]+\/\S/i.test(text) && URL.canParse(text)) return text;
  if (text.trim() === '' || text.includes('\0') || /^[a-z][a-z0-9+.-]*:\/\//i.test(text))
    throw new MaintError('E_USAGE', `${by} ${quoted(text.replace(/\/\/[^/@\s]*@/, '//…@'))} names no queue.`, {
      details: ['allowed: the path of a SQLite file, or postgres://USER@HOST:PORT/DATABASE'],
      next: [advice('--queue /var/lib/app/queue.db')],
    });
  return resolve(cwd, text);
}

export function noQueue(runbook: string | undefined): MaintError {
  return new MaintError(
    'E_USAGE',
    runbook === undefined
      ? 'No queue was named, and there is no runbook here that names one.'
      : `No queue was named, and ${runbook} has no backfill step.`,
    {
      details: ['a queue is the path of a SQLite file, or postgres://USER@HOST:PORT/DATABASE'],
      next: [
        maint('queue status', { queue: blank('PATH') }),
        advice('or set MAINT_QUEUE'),
        maint(['steps', 'backfill']),
      ],
    },
  );
}

/** What the queue says of itself. */
export function queueError(
  error: Error & { code?: string | undefined; details?: readonly string[]; next?: readonly string[] },
): MaintError {
  const usage = error.code === 'QUEUE_OPTIONS';
  return new MaintError(usage ? 'E_USAGE' : 'E_QUEUE', `${error.message.replace(/\.$/, '')}.`, {
    details: error.details ?? [],
    next: [...(error.next ?? []).map(advice), usage ? maint('queue status') : advice('another queue: --queue')],
  });
}
