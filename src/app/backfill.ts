// What waits in the queue applied by hand: the step's params, with what the flags say instead.
import { monotonicNow } from '../engine/clock.ts';
import type { QueueReplayed } from '../engine/io.ts';
import { MaintError, OuterError } from '../errors/catalogue.ts';
import { advice, maint } from '../errors/next.ts';
import { parseParams } from '../runbook/params.ts';
import { quoted } from '../runbook/problems.ts';
import { BackfillParams } from '../steps/backfill/backfill.ts';
import type { App } from './app.ts';

/** A backfill by hand ends by itself, or by Ctrl-C. */
const BY_HAND_MS = 7 * 86_400_000;

export interface ByHand {
  url?: string | undefined;
  rate?: number | undefined;
  ramp?: number | undefined;
  header?: string | undefined;
  'honours-keys'?: boolean | undefined;
  release?: string | undefined;
}

/** Applies what waits, by hand: no window, no lease. The queue's own claims keep two of them apart. */
export async function backfill(app: App, params: BackfillParams, release: string | undefined): Promise<QueueReplayed> {
  const [{ replayOf }, { isQueueError }, { queueError }] = await Promise.all([
    import('../steps/backfill/backfill.ts'),
    import('../clients/queue.ts'),
    import('../runbook/queue.ts'),
  ]);
  const { queue, credential } = params;
  const parts = [credential, credential?.split(' ').at(-1), URL.parse(params.url)?.password];
  await app.hide(parts.filter((part) => part !== undefined && part !== '') as string[]);
  const { interrupt, emit } = app.options;
  const { clients } = await app.host(true);
  const hooks = { before() {}, after() {}, spawned: async () => {} };
  const io = clients.writer({ signal: interrupt.hard, deadline: monotonicNow() + BY_HAND_MS, hooks });
  const began = monotonicNow();
  const label = { step: 'backfill', label: 'backfill' };
  try {
    if ((await io.queue.look(queue)) === null)
      throw new MaintError('E_QUEUE', 'There is no such queue: nothing was ever accepted there.', {
        next: [advice('another one: --queue')],
      });
    if (release !== undefined && !(await io.queue.release(queue, release)))
      throw new MaintError('E_QUEUE', `${release} does not hold this queue. Nothing changed.`, {
        next: [maint('queue status')],
      });
    emit({ type: 'step-began', ...label });
    const done = await io.queue.replay(queue, {
      ...replayOf(params),
      signal: interrupt.signal,
      progress: ({ applied, dead, left, etaMs }) =>
        emit({
          type: 'step-doing',
          step: 'backfill',
          text: `${applied} applied · ${left} left${etaMs === null || left === 0 ? '' : ` · about ${Math.round(etaMs / 1000)}s`}`,
          done: applied + dead,
          total: applied + dead + Math.max(0, left),
        }),
    });
    emit({ type: 'step-ended', ...label, result: 'ok', text: '', ms: monotonicNow() - began, inResult: true });
    if (interrupt.signal.aborted) throw interrupt.signal.reason;
    return done;
  } catch (error) {
    if (isQueueError(error) || error instanceof OuterError) throw queueError(error);
    throw error;
  }
}

export function paramsByHand(
  queue: string,
  known: BackfillParams | undefined,
  flags: ByHand,
  credential: string | undefined,
): BackfillParams {
  const url = flags.url ?? known?.url;
  if (url === undefined)
    throw new MaintError('E_USAGE', 'Nothing says where the writes go.', {
      details: ['a backfill step of a runbook does, or --url'],
      next: [maint('queue backfill', { url: 'https://api.example.com' })],
    });
  if (!/^https?:$/.test(URL.parse(url)?.protocol ?? ''))
    throw new MaintError('E_USAGE', `--url ${quoted(url)} is no address.`, {
      details: ['allowed: http://… and https://…, the base address of the service'],
      next: [advice('--url https://api.example.com')],
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
      { next: [maint(['steps', 'backfill'])] },
    );
  const params = parsed.data as BackfillParams;
  return flags.ramp === undefined ? params : { ...params, ramp: flags.ramp };
}
