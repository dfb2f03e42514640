// observe and rehearse: the world is looked at, or was recorded before; a window goes there and back in memory.
import { EXIT } from '../../errors/exit-codes.ts';
import { maint } from '../../errors/next.ts';
import type { Window } from '../contract.ts';
import { estimate } from '../estimate.ts';
import { type Looking, look, type Plan, plan, unasked, type World } from '../plan.ts';
import { type Rehearsal, rehearse } from '../rehearse.ts';
import { monotonicNow } from '../run.ts';
import { refuseUnseen, troublesOf } from '../usable.ts';
import { count } from '../words.ts';
import type { Prepared, VerbHost, VerbResult } from './result.ts';
import { foreignHolders, liveWindow, recentWindows } from './windows.ts';

/** The same name in every recorded world: a holder that a rehearsal would place is recorded as not there. */
const REHEARSED = 'w-rehearsal';

/** The window that is gone through; `since` is when the world was seen. */
export function rehearsedWindow(prepared: Prepared, since: string, windowMs: number, by: string): Window {
  const until = new Date(Date.parse(since) + windowMs).toISOString();
  return {
    id: REHEARSED,
    environment: prepared.environment,
    since,
    until,
    plannedUntil: until,
    reason: 'rehearsal',
    contact: prepared.contact,
    statusPage: prepared.statusPage,
    rollbackPlan: prepared.rollbackPlan,
    overdueNotice: prepared.overdueNotice,
    onExpiry: prepared.onExpiry,
    overdue: false,
    by,
    surfaces: prepared.surfaces,
  };
}

function looking(host: VerbHost, prepared: Prepared): Looking {
  return { steps: prepared.steps, clients: host.clients, signal: host.interrupt.signal, now: monotonicNow };
}

/** Looks at everything once; nothing is written. */
export async function observeWorld(
  host: VerbHost,
  prepared: Prepared,
): Promise<{ world: World; recordedAt: string; window: string | null }> {
  const recordedAt = new Date(await host.journal.now()).toISOString();
  const window = rehearsedWindow(prepared, recordedAt, HALF_AN_HOUR, host.machine.owner('observe').name);
  const world = await look(looking(host, prepared), window, new Map());
  return { world, recordedAt, window: (await liveWindow(host, prepared.environment))?.id ?? null };
}

/** To be recorded: a world in which something needed could not be seen is refused. */
export async function observeWhole(host: VerbHost, prepared: Prepared): ReturnType<typeof observeWorld> {
  const observed = await observeWorld(host, prepared);
  refuseUnseen(observed.world, prepared.steps, prepared.environment);
  return observed;
}

const HALF_AN_HOUR = 30 * 60_000;

export interface RehearseOptions {
  /** undefined: look at the live one */
  recorded?: { world: World; recordedAt: string; notes: string[] } | undefined;
  windowMs?: number | undefined;
  variables: { named: number; missing: string[] };
}

export interface Rehearsed extends VerbResult {
  rehearsal: Rehearsal;
  planned: Plan;
  asBefore: { of: number; are: number };
  leaves: string[];
  variables: { named: number; missing: string[] };
  rights: 'ok' | 'missing' | 'not asked';
  time: { startMs: number; budgetMs: number; backMs: number; soakMs: number; shortestWindowMs: number };
  world: { recordedAt: string; ageMs: number; live: boolean };
  notes: string[];
}

export async function rehearseWindow(host: VerbHost, prepared: Prepared, options: RehearseOptions): Promise<Rehearsed> {
  const live = options.recorded === undefined;
  const seen = options.recorded ?? { ...(await observeWorld(host, prepared)), notes: [] as string[] };
  const { world, recordedAt } = seen;
  const notes = [...seen.notes];
  const window = rehearsedWindow(
    prepared,
    recordedAt,
    options.windowMs ?? HALF_AN_HOUR,
    host.machine.owner('rehearse').name,
  );
  const rehearsal = rehearse(prepared.steps, window, world);
  const planned = await plan(looking(host, prepared), window, undefined, ['open'], {
    rights: live,
    reads: true,
    world,
  });
  const problems = rehearsal.problems;
  prepared.refuseSame(new Map(planned.steps.map((step) => [step.id, step.changes.map((change) => change.id)])));
  for (const { step, kind, message, fatal } of troublesOf(planned, prepared.steps)) {
    if (!fatal) notes.push(`${step}  ${message}: a start would go on without it`);
    else if (!problems.some((one) => one.step === step && one.message === message))
      problems.push({ step, message, kind });
  }
  for (const { id, plugin, params, skipped } of prepared.steps)
    if (plugin.kind === 'check' && !skipped)
      for (const doubt of plugin.doubts?.(params, window) ?? []) notes.push(`${id}  ${doubt}`);
  if (live) {
    const open = await liveWindow(host, prepared.environment);
    if (open) notes.push(`${open.id} is open: the world is seen as that window holds it`);
    else
      for (const other of await foreignHolders(looking(host, prepared), prepared.environment, window.id))
        problems.push({
          step: other.step,
          message: `${other.id} holds it until ${other.until}: start would refuse`,
        });
  }
  const changes = new Map(planned.steps.map((step) => [step.id, step.changes.length]));
  const { startMs, backMs } = estimate(prepared.steps, await recentWindows(host, prepared.environment), changes);
  const shortest = Math.ceil((startMs + backMs + prepared.soakMs) / 60_000) * 60_000;
  if (options.windowMs !== undefined && options.windowMs < startMs + backMs + prepared.soakMs)
    problems.push({ step: '', message: 'the window is too short for the way back and the soak' });
  const back = rehearsal.steps.filter((step) => !step.skipped && step.kind === 'resource' && step.leaves === undefined);
  const missing = planned.steps.some((step) => step.missing.length > 0 || step.unknown.some((one) => one.refused));
  return {
    verb: 'rehearse',
    exit: problems.length > 0 ? EXIT.REFUSED : EXIT.DONE,
    code: problems.length > 0 ? 'E_REFUSED' : undefined,
    environment: prepared.environment,
    headline: `${count(problems.length, 'problem')}, nothing written.`,
    details: problems.map((one) => (one.step ? `${one.step}  ${one.message}` : one.message)),
    look: problems.length,
    next:
      problems.length > 0
        ? [maint('runbook show')]
        : [maint('start', { window: '30m', 'dry-run': true }, 'the plan of the live world')],
    rehearsal,
    planned,
    asBefore: {
      of: back.reduce((sum, step) => sum + step.start.change + step.start.inSync, 0),
      are: back.reduce((sum, step) => sum + step.asBefore, 0),
    },
    leaves: [
      ...new Set(
        rehearsal.steps.flatMap((step) =>
          step.leaves !== undefined && !step.skipped && (step.kind === 'action' || step.start.change > 0)
            ? [step.leaves]
            : [],
        ),
      ),
    ],
    variables: options.variables,
    rights: missing && live ? 'missing' : !live || unasked(planned).length > 0 ? 'not asked' : 'ok',
    time: { startMs, budgetMs: prepared.budgetMs, backMs, soakMs: prepared.soakMs, shortestWindowMs: shortest },
    world: { recordedAt, ageMs: Math.max(0, (await host.journal.now()) - Date.parse(recordedAt)), live },
    notes,
  };
}
