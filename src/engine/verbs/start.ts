// start: plan and baseline without a lease, ask, take the lease, plan again, open, converge(open); what cannot be
// finished is undone by converge(aborted).
import { MaintError } from '../../errors/catalogue.ts';
import { EXIT } from '../../errors/exit-codes.ts';
import { advice, because, blank, maint, type NextRun } from '../../errors/next.ts';
import type { StepFailure } from '../acting.ts';
import { refuseInside } from '../apart.ts';
import { runCheck } from '../checks.ts';
import type { Window } from '../contract.ts';
import { converge } from '../converge.ts';
import { estimate } from '../estimate.ts';
import type { JournalEvent } from '../events.ts';
import { type Looking, type Plan, plan, samePlan } from '../plan.ts';
import { isAhead } from '../roles.ts';
import { type LeaseOptions, monotonicNow, type Run, waitUntil, withLease } from '../run.ts';
import { isNeeded, refuseUnusable, skipping, troublesOf, watchesReads } from '../usable.ts';
import { actionKey, fold, type WindowState } from '../window.ts';
import { asOption, count, lasting, utc } from '../words.ts';
import { mustCarry } from './carry.ts';
import { failureLines, leftCount, lookLines, thingsToLookAt } from './failures.ts';
import { failed, type Prepared, type VerbHost, type VerbResult } from './result.ts';
import {
  afterOpening,
  closedAgain,
  isKept,
  lookingOf,
  noWallText,
  openText,
  readOnlyText,
  writesNow,
} from './walls.ts';
import {
  endedMeanwhile,
  foreignHolders,
  liveWindow,
  newWindowId,
  openAlready,
  openedEvent,
  recentWindows,
  refuseOther,
} from './windows.ts';

export interface StartOptions extends LeaseOptions {
  windowMs: number;
  reason: string;
  ticket?: string | undefined;
  dryRun: boolean;
  /** the command line once more */
  again: NextRun;
  /** the same with another `--window` ("30m") */
  longer(window: string): NextRun;
}

const BASELINE_MS = 30_000;
/** More than a look at a slow state and an append take. */
const LATE_MS = 30_000;

export async function start(host: VerbHost, prepared: Prepared, options: StartOptions): Promise<VerbResult> {
  const { environment } = prepared;
  const live = await liveWindow(host, environment, prepared);
  if (live) {
    refuseOther(live, prepared);
    refuseEnding(live, prepared);
  }
  const announced = live?.phase === 'announced';
  const fresh = provisionalWindow(prepared, options, host);
  const provisional = !live
    ? fresh
    : announced
      ? { ...live.window, since: fresh.since, until: fresh.until, plannedUntil: fresh.until }
      : live.window;
  const looking = lookingOf(host, prepared);
  // Looked at side by side: who holds the flag is one question, and the clients that a plan needs take a while to load.
  const planning = plan(looking, provisional, live, ['open']);
  planning.catch(() => undefined);
  if (!live || announced) await refuseForeign(looking, provisional);

  const history = await recentWindows(host, environment);
  const [shown, baseline] = await Promise.all([
    planning,
    live && !announced ? [] : takeBaseline(host, prepared, provisional, options.dryRun),
  ]);
  const times = estimate(prepared.steps, history, changesByStep(shown));
  if (!live || announced) refuseTooShort(prepared, options, times);
  const refusing = { environment, again: options.again };
  refuseUnusable(shown, prepared.steps, { ...refusing, fresh: !live || announced });
  if (!live || announced) await refuseInside(looking);
  prepared.refuseSame(new Map(shown.steps.map((step) => [step.id, step.changes.map((change) => change.id)])));
  const warnings = [noWallText(prepared.steps), prepared.outlives?.(options.windowMs)].filter(
    (text) => text !== undefined,
  );
  const asking = {
    warnings,
    window: provisional,
    backMs: times.backMs,
    startMs: times.startMs,
    shared: host.journal.shared,
    address: host.journal.address,
  };
  if (options.dryRun) {
    const looks = [...withoutThem(shown, prepared), ...troubledReads(baseline)];
    return {
      verb: 'start',
      exit: EXIT.DONE,
      environment,
      headline: `${count(shown.changes, 'change')} planned for ${environment}, nothing written.${looks.length > 0 ? ` ${count(looks.length, 'thing')} to look at:` : ''}`,
      details: [...looks, ...warnings],
      look: looks.length,
      next: [because(options.again, 'do it')],
      plan: shown,
    };
  }
  await host.confirm({ plan: shown, changed: false, ...asking });

  return await withLease(host, environment, 'start', options, async (run) => {
    let current = await liveWindow(host, environment, prepared);
    if (current && current.id !== live?.id) throw openAlready(current, 'was opened by somebody else meanwhile');
    if (live && !current) throw endedMeanwhile(live.id, options.again);
    if (current) refuseEnding(current, prepared);
    if (current) await mustCarry(host, prepared, current);
    // Between the plan and the lease somebody may have thought for minutes; with --yes it was just made.
    let agreed = shown;
    while (host.asks) {
      if (!current || current.phase === 'announced') await refuseForeign(looking, provisional);
      let again = await plan(looking, provisional, current, ['open'], { rights: false });
      // The rights for this plan were asked already; another one may need others.
      if (!samePlan(agreed, again)) again = await plan(looking, provisional, current, ['open']);
      refuseUnusable(again, prepared.steps, { ...refusing, fresh: !current || current.phase === 'announced' });
      if (samePlan(agreed, again)) break;
      await host.confirm({ plan: again, changed: true, ...asking });
      agreed = again;
    }
    if (!current) current = await openWindow(host, run, prepared, options, provisional, baseline);
    else {
      await run.append(current, [{ type: 'run', state: 'began', verb: 'start', owner: run.lease.owner.name }]);
      if (current.phase === 'soaking' || current.phase === 'closed') await refreeze(run, current);
      if (current.phase === 'announced') {
        const until = new Date((await host.journal.now()) + options.windowMs).toISOString();
        await run.append(current, [{ type: 'began', until, by: run.lease.owner.name }, ...baseline]);
        await asLongAsSaid(run, current, options.windowMs);
      }
    }
    return await opened(host, run, prepared, current, options, live?.reached === true && !announced);
  });
}

function refuseEnding(state: WindowState, prepared: Prepared): void {
  // A window that is closing can be made read-only again as long as its backfill is not done: that stops first.
  const halted = state.phase === 'closed' && !state.reached && backfillIsOwed(prepared, state);
  if (state.phase !== 'open' && state.phase !== 'announced' && state.phase !== 'soaking' && !halted)
    throw openAlready(state, 'is on its way out');
}

function backfillIsOwed(prepared: Prepared, state: WindowState): boolean {
  return prepared.steps.some((step) => {
    if (step.skipped || !isAhead(step)) return false;
    const action = state.actions.get(actionKey(step.id, 'closed'));
    return action?.state !== 'done' || action.seq <= state.phaseSeq;
  });
}

/** Soak found trouble, or somebody needs more time: the walls close again, with a new `until`. */
export async function refreeze(run: Run, state: WindowState): Promise<void> {
  const promised = Date.parse(state.window.plannedUntil) - Date.parse(state.window.since);
  const until = new Date(Math.max(Date.parse(state.window.until), (await run.storeNow()) + promised)).toISOString();
  await run.append(state, [
    { type: 'extended', until, by: run.lease.owner.name },
    { type: 'phase', phase: 'open', verb: 'refreeze' },
  ]);
}

async function openWindow(
  host: VerbHost,
  run: Run,
  prepared: Prepared,
  options: StartOptions,
  provisional: Window,
  baseline: JournalEvent[],
): Promise<WindowState> {
  const until = new Date((await host.journal.now()) + options.windowMs).toISOString();
  const events: JournalEvent[] = [
    openedEvent(host, prepared, { until, reason: options.reason, ticket: options.ticket, by: provisional.by }),
    { type: 'run', state: 'began', verb: 'start', owner: run.lease.owner.name },
    ...baseline,
  ];
  const recorded = await run.openWindow(provisional.id, events);
  const state = fold(provisional.id, recorded, prepared.surfaces)!;
  await asLongAsSaid(run, state, options.windowMs);
  return state;
}

/** A lid that was closed between a look at the clock and the append would open a window that is over already. */
async function asLongAsSaid(run: Run, state: WindowState, windowMs: number): Promise<void> {
  while (Date.parse(state.window.until) - Date.parse(state.window.since) < Math.max(0, windowMs - LATE_MS)) {
    const until = new Date((await run.storeNow()) + windowMs).toISOString();
    await run.append(state, [{ type: 'began', until, by: run.lease.owner.name }]);
  }
}

async function opened(
  host: VerbHost,
  run: Run,
  prepared: Prepared,
  state: WindowState,
  options: StartOptions,
  wasOpen: boolean,
): Promise<VerbResult> {
  const { environment } = prepared;
  const began = run.now();
  const seq = state.lastSeq;
  const acting = run.acting(state, prepared.steps);
  const result = await converge(acting, 'open', { verb: 'start' });
  const base = { verb: 'start', environment, window: state.id, state };
  if (!result.stopped) {
    const looks = [...failureLines(result.failures), ...lookLines(state)];
    const wayBack = estimate(prepared.steps, await recentWindows(host, environment)).backMs + state.opened.soakMs;
    const beginBy = Date.parse(state.window.until) - wayBack;
    const is = afterOpening(state, prepared.steps, result.failures, await run.storeNow());
    const exit = isKept(is) ? EXIT.DONE : EXIT.HUMAN;
    await run.append(state, [{ type: 'run', state: 'ended', verb: 'start', owner: run.lease.owner.name, exit }]);
    const again = closedAgain(state, seq).length > 0;
    const took = `${Math.round((run.now() - began) / 1000)}s of ${Math.round(state.opened.budgetMs / 1000)}s`;
    const until = `, until ${utc(state.window.until, { seconds: false })}`;
    const how = again ? ' (closed again)' : wasOpen ? ' (it was already; until did not move)' : ` (${took})`;
    const text = openText(state, is, {
      refused: `is read-only since ${utc(is.since ?? state.window.since)}`,
      rest: until,
    });
    const look = thingsToLookAt(state).length;
    const more = look > 0 ? `. ${count(look, 'thing')} to look at` : '';
    return {
      ...base,
      exit,
      ...(exit === EXIT.HUMAN && { code: 'E_NOT_READ_ONLY' as const }),
      headline: `${text}${how}. Begin the end by ${utc(beginBy, { seconds: false })}${more}:`,
      details: looks,
      look: thingsToLookAt(state).length,
      next: [
        ...(isKept(is) ? [] : [because(options.again, 'tries the wall again; the end does not move')]),
        maint('end', { soak: asOption(state.opened.soakMs) }, 'bring it back'),
        maint('extend', { by: '15m' }, 'more time'),
        maint('status'),
      ],
    };
  }
  const { stopped } = result;
  if (stopped.policy === 'hold' || wasOpen) {
    await run.append(state, [
      { type: 'run', state: 'ended', verb: 'start', owner: run.lease.owner.name, exit: EXIT.HUMAN },
    ]);
    return failed(
      'start',
      stopped.code === 'E_ELSEWHERE' ? 'E_ELSEWHERE' : 'E_HELD',
      environment,
      `${environment} stays as it is: ${stopped.step} failed (${stopped.message}).`,
      {
        ...base,
        exit: EXIT.HUMAN,
        details: nextOf([stopped]),
        next: [because(options.again, 'go on'), maint('abort', {}, 'undo everything')],
      },
    );
  }
  return await undo(host, run, prepared, state, stopped, options);
}

async function undo(
  host: VerbHost,
  run: Run,
  prepared: Prepared,
  state: WindowState,
  stopped: StepFailure,
  options: StartOptions,
): Promise<VerbResult> {
  const { environment } = prepared;
  const result = await converge(run.acting(state, prepared.steps), 'aborted', { verb: 'undo', undo: true });
  const base = { verb: 'start', environment, window: state.id, state };
  const exit = result.failures.length === 0 ? EXIT.UNDONE : EXIT.HUMAN;
  await run.append(
    state,
    [{ type: 'run', state: 'ended', verb: 'start', owner: run.lease.owner.name, exit }],
    result.failures.length === 0 ? 'close' : 'append',
  );
  if (result.failures.length > 0) {
    return failed(
      'start',
      'E_LEFT_BEHIND',
      environment,
      `${stopped.step} failed (${stopped.message}); ${environment} ${await writesNow(host, prepared, state)} ${count(leftCount(result.failures), 'thing is', 'things are')} not restored:`,
      {
        ...base,
        look: thingsToLookAt(state).length,
        details: failureLines(result.failures),
        next: [
          maint('abort', {}, 'tries just these again'),
          maint('end', { leave: result.failures[0]!.step, reason: blank('…') }, 'never coming back?'),
        ],
      },
    );
  }
  const was = readOnlyText(state, await run.storeNow());
  const readOnly = was
    ? `${environment} is read-write again since ${utc(state.wallsOpenAt ?? state.phaseAt)} (it ${was})`
    : `${environment} is read-write`;
  const code = stopped.code === 'E_STILL_RUNNING' ? 'E_STILL_RUNNING' : 'E_FAILED';
  return failed(
    'start',
    code,
    environment,
    `${stopped.step} failed (${stopped.message}). ${readOnly}; nothing is left behind.`,
    {
      ...base,
      exit: EXIT.UNDONE,
      details: [],
      next: [because(options.again, stopped.next ?? `when ${stopped.step} is well again`)],
    },
  );
}

function nextOf(failures: readonly StepFailure[]): string[] {
  return failures.flatMap((failure) => (failure.next ? [failure.next] : []));
}

function provisionalWindow(prepared: Prepared, options: StartOptions, host: VerbHost): Window {
  const now = monotonicNow();
  const until = new Date(now + options.windowMs).toISOString();
  return {
    id: newWindowId(),
    environment: prepared.environment,
    since: new Date(now).toISOString(),
    until,
    plannedUntil: until,
    reason: options.reason,
    ticket: options.ticket,
    contact: prepared.contact,
    statusPage: prepared.statusPage,
    rollbackPlan: prepared.rollbackPlan,
    overdueNotice: prepared.overdueNotice,
    onExpiry: prepared.onExpiry,
    overdue: false,
    by: host.machine.owner('start').name,
    surfaces: prepared.surfaces,
  };
}

async function refuseForeign(looking: Looking, window: Window): Promise<void> {
  const [other] = await foreignHolders(looking, window.environment, window.id);
  if (!other) return;
  throw new MaintError(
    'E_WINDOW_OPEN',
    `${window.environment} is already read-only: ${other.step} holds ${other.id} until ${utc(other.until, { seconds: false })}, "${other.reason}", and this state does not know that window. Nothing changed.`,
    {
      next: [
        advice('end it where it was started'),
        maint('end', { holder: other.id, reason: blank('…') }, 'nobody will ever end it?'),
      ],
    },
  );
}

async function takeBaseline(host: VerbHost, prepared: Prepared, window: Window, dry: boolean): Promise<JournalEvent[]> {
  const steps = prepared.steps.filter(
    (step) => !step.skipped && step.plugin.kind === 'check' && step.plugin.on.includes('before'),
  );
  const looking = {
    clients: host.clients,
    signal: host.interrupt.signal,
    now: monotonicNow,
    wait: (until: number) => waitUntil(until, host.interrupt.signal),
    emit: host.emit,
  };
  return await Promise.all(
    steps.map(async (step): Promise<JournalEvent> => {
      const began = monotonicNow();
      const deadline = began + Math.min(step.deadlineMs, BASELINE_MS);
      host.emit({ type: 'step-began', step: step.id, label: step.plugin.name });
      const result = await runCheck(looking, step, 'before', { window, checked: new Map() }, deadline, dry);
      const bad = result.outcome === 'fail' || result.outcome === 'unknown';
      // Reads that fail already are a thing to look at: incidents are when reads fail, and a window may be the answer.
      if (bad && isNeeded(step) && !watchesReads(step))
        throw new MaintError(
          'E_REFUSED',
          `${step.id} refuses: ${[result.summary, ...result.findings].join(' · ')}. Nothing changed.`,
          { next: [advice('fix it and try again'), skipping(step)] },
        );
      host.emit({
        type: 'step-ended',
        step: step.id,
        label: step.plugin.name,
        result: result.outcome === 'pass' ? 'ok' : 'look',
        text: result.summary,
        ms: monotonicNow() - began,
      });
      return { type: 'checked', step: step.id, moment: 'before', ...result };
    }),
  );
}

function refuseTooShort(prepared: Prepared, options: StartOptions, times: { startMs: number; backMs: number }): void {
  const needs = times.startMs + times.backMs + prepared.soakMs;
  if (options.windowMs >= needs) return;
  const minutes = Math.ceil(needs / 60_000);
  throw new MaintError(
    'E_TOO_SHORT',
    `--window ${asOption(options.windowMs)} is too short: the checklist takes about ${lasting(times.startMs)}, the way back about ${lasting(times.backMs)}, and the soak ${lasting(prepared.soakMs)}. Nothing changed.`,
    {
      next: [options.longer(`${minutes}m`), advice('or a shorter soak: in the runbook')],
    },
  );
}

/** What a start goes on without. */
function withoutThem(planned: Plan, { steps }: Prepared): string[] {
  return troublesOf(planned, steps)
    .filter(({ fatal, reads }) => !fatal && !reads)
    .map(({ step, message }) => `${step}  ${message}; the start goes on without it`);
}

function troubledReads(baseline: readonly JournalEvent[]): string[] {
  return baseline.flatMap((event) =>
    event.type === 'checked' && event.outcome !== 'pass'
      ? [`${event.step}  ${[event.summary, ...event.findings].join(' · ')}`]
      : [],
  );
}

function changesByStep(planned: Plan): Map<string, number> {
  return new Map(planned.steps.map((step) => [step.id, step.changes.length]));
}
