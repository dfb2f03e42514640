// The backfill by hand: the step's params with what the flags say instead, and the same words at the end.
import type { App, ChosenQueue } from '../app.ts';
import { Unfinished } from '../engine/contract.ts';
import type { QueueReplayed } from '../engine/io.ts';
import { MaintError } from '../errors/catalogue.ts';
import { EXIT, type ExitCode } from '../errors/exit-codes.ts';
import { parseParams } from '../runbook/params.ts';
import { quoted } from '../runbook/problems.ts';
import { BackfillParams } from '../steps/backfill/backfill.ts';
import { goOn } from './queue.ts';
import { nextLine } from './result.ts';

const HOLDER = /^w-[a-z0-9]+/;

export interface ByHand {
  url?: string | undefined;
  rate?: number | undefined;
  ramp?: number | undefined;
  header?: string | undefined;
  'honours-keys'?: boolean | undefined;
  release?: string | undefined;
}

export async function backfillByHand(
  app: App,
  { queue, step }: ChosenQueue,
  flags: ByHand,
): Promise<{ place: string; done: QueueReplayed; lines: string[]; exit: ExitCode }> {
  const { told } = await import('../steps/backfill/backfill.ts');
  const { queuePlace } = await import('../clients/queue-place.ts');
  const params = paramsOf(queue, step?.params, flags, app.options.env['MAINT_QUEUE_CREDENTIAL'] || undefined);
  const place = queuePlace(queue);
  const done = await app.backfill(params, flags.release);
  try {
    const { summary, looks = [] } = told(done, params);
    const lines = [
      `${place}: ${summary.join(' · ')}.`,
      ...looks.map((look) => `  ! ${look}`),
      nextLine(['maint queue status']),
    ];
    return { place, done, lines, exit: EXIT.DONE };
  } catch (error) {
    if (!(error instanceof Unfinished)) throw error;
    const next = (error.next ?? '')
      .replace(/maint end goes on; or close.*$/, 'maint queue backfill goes on')
      .replace(/, then maint end$/, ', then maint queue backfill');
    const holder = done.stopped?.why === 'held' ? HOLDER.exec(done.stopped.detail)?.[0] : undefined;
    const on = holder === undefined ? [next, 'maint queue status'] : goOn(holder);
    const lines = [`E_LEFT_BEHIND  ${place}: ${error.message}.`, nextLine(on)];
    return { place, done, lines, exit: EXIT.HUMAN };
  }
}

function paramsOf(
  queue: string,
  known: BackfillParams | undefined,
  flags: ByHand,
  credential: string | undefined,
): BackfillParams {
  const url = flags.url ?? known?.url;
  if (url === undefined)
    throw new MaintError('E_USAGE', 'Nothing says where the writes go.', {
      details: ['a backfill step of a runbook does, or --url'],
      next: ['maint queue backfill --url https://api.example.com'],
    });
  if (!/^https?:$/.test(URL.parse(url)?.protocol ?? ''))
    throw new MaintError('E_USAGE', `--url ${quoted(url)} is no address.`, {
      details: ['allowed: http://… and https://…, the base address of the service'],
      next: ['--url https://api.example.com'],
    });
  if (known)
    return {
      ...known,
      queue,
      url,
      rate: flags.rate ?? known.rate,
      ramp: flags.ramp ?? known.ramp,
      header: flags.header ?? known.header,
      honours_keys: flags['honours-keys'] ?? known.honours_keys,
      ...(credential === undefined ? {} : { credential }),
    };
  const parsed = parseParams(BackfillParams, {
    queue,
    url,
    ...(flags.rate === undefined ? {} : { rate: flags.rate }),
    ...(flags.header === undefined ? {} : { header: flags.header }),
    honours_keys: flags['honours-keys'] ?? false,
    ...(credential === undefined ? {} : { credential }),
  });
  if (!parsed.success)
    throw new MaintError(
      'E_USAGE',
      `--${String(parsed.issues[0]!.path[0]).replace('_', '-')}: ${parsed.issues[0]!.message}.`,
      { next: ['maint steps backfill'] },
    );
  const params = parsed.data as BackfillParams;
  return flags.ramp === undefined ? params : { ...params, ramp: flags.ramp };
}
