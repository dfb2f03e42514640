// Applies what was accepted during the window, once it is over: in order, no faster than the service bears. While the
// walls are closed, and from before they close, a hold in the queue stops every replay, by whomever it was begun.
import { z } from 'zod';
import { clusterOf } from '../../clients/cluster.ts';
import { guardPlace } from '../../clients/guards.ts';
import { isPostgres, queuePlace } from '../../clients/queue-place.ts';
import { type ActionDone, defineAction, Refusal, Unfinished, type Window } from '../../engine/contract.ts';
import type { QueueReplay, QueueReplayed, QueueSeen } from '../../engine/io.ts';
import { duration, secret, url } from '../../engine/secret.ts';

export const BackfillParams = z.strictObject({
  queue: z.string().min(1).meta({
    path: true,
    url: true,
    description: 'the queue that the guards fill: the path of its file, or postgres://…',
  }),
  url: url('the base address of the service that applies the writes'),
  credential: secret(
    z.string().min(1).meta({ description: 'of the service, whole: "Bearer …"; the users’ own are never stored' }),
  ).optional(),
  header: z
    .string()
    .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/, 'the name of a header')
    .default('authorization')
    .meta({ description: 'the header that carries the credential' }),
  rate: z.number().positive().max(10_000).default(20).meta({ description: 'writes per second' }),
  ramp: duration().prefault('30s').meta({ description: 'from a tenth of the rate to all of it' }),
  concurrency: z
    .int()
    .min(1)
    .max(256)
    .default(8)
    .meta({ description: 'how many partitions at once; within one there is an order' }),
  max_attempts: z.int().min(1).max(100).default(6).meta({ description: 'of one write, before it is a dead letter' }),
  retry_budget: z
    .number()
    .min(0)
    .max(1)
    .default(0.2)
    .meta({ description: 'retries as a share of what was sent; more of them stop the backfill' }),
  dead_letters: z
    .enum(['park', 'skip'])
    .default('park')
    .meta({ description: 'park: a dead letter stops the writes that come after it in its order; skip: they go on' }),
  honours_keys: z.boolean().default(false).meta({
    description: 'one Idempotency-Key has one effect at the service; where not, an unknown outcome stops the backfill',
  }),
  health: url('a read of the service; where it is not answered well, the backfill stops').optional(),
  health_within: duration().prefault('2s').meta({ description: 'how long that read may take' }),
});
export type BackfillParams = z.infer<typeof BackfillParams>;

export const backfill = defineAction<BackfillParams>({
  name: 'backfill',
  deadlineMs: 900_000,
  role: 'work',
  on: ['open', 'closed'],
  ahead: true,
  summary: 'holds the queue while the window is open, and applies what was accepted once it is closed',
  leaves: 'what the applied writes have done',
  Params: BackfillParams,
  example: {
    queue: '/var/lib/search/queue.db',
    url: 'https://api.example.com',
    credential: 'Bearer ${BACKFILL_TOKEN}',
    rate: 50,
    honours_keys: true,
  },
  address: ({ queue, url }) => `${queuePlace(queue)} into ${guardPlace(url)}`,
  keeps: ({ queue }) => [queuePlace(queue)],
  leftOut: 'what was accepted still waits, and nothing applies it by itself: maint queue status says how to go on',
  server: async (io, { queue }) => (isPostgres(queue) ? await clusterOf(io.postgres, queue) : undefined),

  asks: 'the queue is looked at',
  async allowed(io, { queue }) {
    try {
      await io.queue.look(queue);
      return [];
    } catch (error) {
      return [`the queue cannot be used: ${error instanceof Error ? error.message : String(error)}`];
    }
  },

  async run(io, { params, edge, window, signal, progress }) {
    const { queue } = params;
    if (edge === 'open') {
      await io.queue.hold(queue, window.id, `${window.environment} is read-only: ${window.reason}`);
      const seen = await io.queue.look(queue);
      return [
        'held: nothing is applied before the end',
        ...(seen && seen.waiting > 0 ? [`${writes(seen.waiting)} waiting`] : []),
      ];
    }
    if (!(await io.queue.look(queue))) return ['nothing was ever accepted'];
    await io.queue.release(queue, window.id);
    const before = await io.queue.look(queue);
    refuseHeld(before, window);
    progress?.(`${writes(before?.waiting ?? 0)} waiting`);
    const replayed = await io.queue.replay(queue, {
      ...replayOf(params),
      signal,
      progress: ({ applied, dead, left, etaMs, pausedMs }) =>
        progress?.(
          [
            `${applied} applied`,
            ...(dead > 0 ? [`${dead} dead`] : []),
            `${left} left`,
            ...(pausedMs === null ? [] : [`the service asked to wait ${shortly(pausedMs)}`]),
            ...(etaMs === null || left === 0 ? [] : [`about ${shortly(etaMs)}`]),
          ].join(' · '),
          { done: applied + dead, total: applied + dead + Math.max(0, left) },
        ),
    });
    if (signal?.aborted) throw signal.reason;
    return told(replayed, params);
  },
});

/** How the params say it; userinfo of the address becomes Basic auth, as everywhere. */
export function replayOf(params: BackfillParams): QueueReplay {
  const address = new URL(params.url);
  const { username, password } = address;
  address.username = '';
  address.password = '';
  const basic =
    username === '' && password === ''
      ? undefined
      : `Basic ${Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')}`;
  if (basic !== undefined && params.credential !== undefined && params.header.toLowerCase() === 'authorization')
    throw new Refusal(
      'the address of the service holds a user, and there is a credential, too: one of them goes into the authorization header',
      'take one of them out of the runbook',
    );
  const value = params.credential ?? basic;
  return {
    url: address.href,
    credential:
      value === undefined
        ? undefined
        : { header: params.credential === undefined ? 'authorization' : params.header, value },
    rate: params.rate,
    rampMs: params.ramp,
    maxAttempts: params.max_attempts,
    budget: params.retry_budget,
    concurrency: params.concurrency,
    deadMode: params.dead_letters,
    honoursKeys: params.honours_keys,
    health: params.health === undefined ? undefined : { url: params.health, ms: params.health_within },
  };
}

function refuseHeld(seen: QueueSeen | null, window: Window): void {
  const others = seen?.holds.filter((hold) => hold.window !== window.id) ?? [];
  if (others.length === 0 || seen!.waiting === 0) return;
  throw new Unfinished(
    `${writes(seen!.waiting)} left: the queue is held by ${others.map((hold) => `${hold.window} (${hold.reason})`).join(', ')}`,
    {
      next: 'maint end, when that window is over',
      data: { applied: 0, alreadyApplied: 0, dead: 0, left: seen!.waiting, stopped: { why: 'held' } },
    },
  );
}

/** What people should read of a replay: done, or how many are left and what to type. */
export function told(done: QueueReplayed, { rate }: Pick<BackfillParams, 'rate'>): ActionDone {
  const { applied, alreadyApplied, dead, left, parked, unknown, elapsedMs, stopped } = done;
  const already = alreadyApplied > 0 ? ` (${alreadyApplied} the service had already)` : '';
  const summary = [
    ...(applied > 0
      ? [`${writes(applied)} applied${already} in ${shortly(elapsedMs)}, at most ${rate} a second`]
      : ['nothing to apply']),
    ...(dead > 0 ? [`${dead} dead`] : []),
  ];
  const data = done;
  if (left === 0 && !stopped) {
    const looks =
      dead > 0 ? [`${dead} dead ${dead === 1 ? 'letter' : 'letters'}: maint queue list --in-state dead`] : [];
    return { summary, looks, data };
  }
  const why = stopped ? (REASONS[stopped.why] ?? stopped.why) : `${parked} behind a dead letter`;
  const about = stopped && stopped.detail !== '' && !PLAIN.has(stopped.why) ? `: ${stopped.detail}` : '';
  const count = left < 0 ? 'the queue does not say how many are' : `${writes(left)}`;
  throw new Unfinished(
    [
      `${count} left, ${why}${about}`,
      ...(unknown > 0 ? [`${unknown} of unknown outcome`] : []),
      ...(applied > 0 ? [`${applied} applied`] : []),
      ...(dead > 0 ? [`${dead} dead`] : []),
    ].join(' · '),
    {
      next: nextOf(stopped?.why),
      data,
    },
  );
}

const REASONS: Readonly<Record<string, string>> = {
  deadline: 'the step’s time is up',
  interrupted: 'interrupted',
  held: 'the queue is held',
  running_elsewhere: 'another backfill of this queue runs',
  read_only_again: 'the service is read-only again',
  unhealthy: 'reads of the service are not answered well',
  retry_budget: 'too many had to be sent again',
  unknown_outcome: 'nobody knows what came of one, and the service does not honour keys',
  credential_refused: 'the service refuses the credential',
  dead_letters: 'one dead letter came after the other',
  queue_failed: 'the queue failed',
};
/** Where the words above say all. */
const PLAIN = new Set(['deadline', 'interrupted', 'unhealthy']);

function nextOf(why: string | undefined): string {
  if (why === undefined || why === 'dead_letters')
    return 'maint queue list --in-state dead, drop or requeue them, then maint end';
  if (why === 'unknown_outcome')
    return 'maint queue list --unknown, look at the service, requeue or drop, then maint end';
  if (why === 'running_elsewhere') return 'let it end, or stop it there, then maint end';
  return 'maint end goes on; or close without it: maint end --skip backfill, then maint queue backfill';
}

function writes(n: number): string {
  return `${String(n).replace(/\B(?=(?:\d{3})+$)/g, ',')} ${n === 1 ? 'write' : 'writes'}`;
}

function shortly(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 1) return `${Math.round(ms)}ms`;
  return s < 60 ? `${s}s` : `${Math.floor(s / 60)}m ${String(s % 60).padStart(2, '0')}s`;
}
