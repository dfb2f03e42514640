// end and abort: the way back. It goes past failures and reports each; the same verb again tries only what is left.
import { MaintError } from '../../errors/catalogue.ts';
import { EXIT } from '../../errors/exit-codes.ts';
import { blank, maint, type Next, there } from '../../errors/next.ts';
import type { StepFailure } from '../acting.ts';
import { actionEdges } from '../actions.ts';
import { beginAudit, writesFound } from '../audit.ts';
import { runChecks } from '../checks.ts';
import type { Resource, Step } from '../contract.ts';
import { converge } from '../converge.ts';
import type { JournalEvent } from '../events.ts';
import { isWall } from '../order.ts';
import { type Looking, plan } from '../plan.ts';
import { type LeaseOptions, monotonicNow, type Run, withLease } from '../run.ts';
import { truth } from '../truth.ts';
import { actionKey, soakVerdict, stillOurs, type WindowState } from '../window.ts';
import { count, lasting, utc } from '../words.ts';
import { mustCarry } from './carry.ts';
import { failureLines, leftCount, lookLines, thingsToLookAt } from './failures.ts';
import { didYouMean, failed, type Prepared, type VerbHost, type VerbResult } from './result.ts';
import { refreeze } from './start.ts';
import { afterOpening, lookAtWalls, lookingOf, openText, readOnlyText, writesNow } from './walls.ts';
import { foreignHolders, liveWindow } from './windows.ts';

export interface EndOptions extends LeaseOptions {
  /** default: as the window was opened with */
  soakMs?: number | undefined;
  /** steps that stay as they are for now */
  skip: string[];
  dryRun: boolean;
}

/** Nothing is open here: fine, unless the runbook's flag still holds the environment for a window nobody here knows. */
export async function nothingToEnd(
  host: VerbHost,
  verb: 'end' | 'abort',
  environment: string,
  prepared: Prepared | undefined,
  meant?: string,
): Promise<VerbResult> {
  if (prepared) {
    const looking: Looking = {
      steps: prepared.steps,
      clients: host.clients,
      signal: host.interrupt.signal,
      now: monotonicNow,
    };
    const [orphan] = await foreignHolders(looking, environment, '');
    if (orphan) {
      return failed(
        verb,
        'E_ORPHAN',
        environment,
        `${environment} has no window in this state, but ${orphan.step} still holds ${orphan.id} until ${utc(orphan.until, { seconds: false })}, "${orphan.reason}": writes are refused.`,
        {
          next: [
            there(maint('end', {}, 'where it was started')),
            maint(
              'end',
              { holder: orphan.id, reason: blank('…') },
              'nobody will ever end it? this removes just that holder',
            ),
          ],
        },
      );
    }
  }
  return {
    verb,
    exit: EXIT.DONE,
    environment,
    headline: `Nothing to ${verb}: ${environment} has no open window.`,
    details: [],
    look: 0,
    next: [...didYouMean(verb, meant), maint('start', { window: '30m' }, 'opens one')],
  };
}

export async function end(
  host: VerbHost,
  prepared: Prepared,
  live: WindowState,
  options: EndOptions,
): Promise<VerbResult> {
  const { environment } = prepared;
  if (options.dryRun)
    return await planned(
      host,
      prepared,
      live,
      'end',
      live.phase === 'aborted' || live.phase === 'announced'
        ? ['aborted']
        : live.phase === 'closed'
          ? ['closed']
          : ['soaking', 'closed'],
    );
  return await withLease(host, environment, 'end', { ...options, skew: 'say' }, async (run) => {
    const state = await current(host, prepared, live.id);
    if (!state) return await nothingToEnd(host, 'end', environment, prepared);
    await run.append(state, [{ type: 'run', state: 'began', verb: 'end', owner: run.lease.owner.name }]);
    const soakMs = options.soakMs ?? state.opened.soakMs;
    const way = state.phase === 'open' || state.phase === 'soaking' ? ` · soak ${lasting(soakMs)}, then the rest` : '';
    host.emit({
      type: 'said',
      text: `${environment} · ${state.id} · ${count(stillOurs(state).length, 'change')} to undo${way}`,
    });
    // What was only announced has nothing to soak: it is cancelled, in words.
    if (state.phase === 'aborted' || state.phase === 'announced')
      return await finish(host, run, prepared, state, 'end', 'aborted', options);
    if (state.phase === 'open' || (state.phase === 'soaking' && !state.reached)) {
      const acting = run.acting(state, prepared.steps);
      const result = await converge(acting, 'soaking', { verb: 'end', skip: new Set(options.skip) });
      if (result.stopped) return await leftBehind(host, run, prepared, state, 'end', result.failures);
    }
    if (state.phase === 'soaking') {
      const verdict = await soak(host, run, prepared, state, options);
      if (verdict) return verdict;
    }
    return await finish(host, run, prepared, state, 'end', 'closed', options);
  });
}

export async function abort(
  host: VerbHost,
  prepared: Prepared,
  live: WindowState,
  options: EndOptions,
): Promise<VerbResult> {
  if (options.dryRun) return await planned(host, prepared, live, 'abort', ['aborted']);
  return await withLease(host, prepared.environment, 'abort', { ...options, skew: 'say' }, async (run) => {
    const state = await current(host, prepared, live.id);
    if (!state) return await nothingToEnd(host, 'abort', prepared.environment, prepared);
    await run.append(state, [{ type: 'run', state: 'began', verb: 'abort', owner: run.lease.owner.name }]);
    return await finish(host, run, prepared, state, 'abort', state.phase === 'closed' ? 'closed' : 'aborted', options);
  });
}

async function current(host: VerbHost, prepared: Prepared, id: string): Promise<WindowState | undefined> {
  const state = await liveWindow(host, prepared.environment, prepared);
  if (state?.id !== id) return undefined;
  await mustCarry(host, prepared, state);
  return state;
}

/** undefined: go on to close. The rest of a soak that was interrupted is what is left of it; a bad one is done afresh. */
async function soak(
  host: VerbHost,
  run: Run,
  prepared: Prepared,
  state: WindowState,
  options: EndOptions,
): Promise<VerbResult | undefined> {
  const skip = new Set(options.skip);
  const soakMs = options.soakMs ?? state.opened.soakMs;
  const checks = prepared.steps.filter(
    (step) => !step.skipped && !skip.has(step.id) && step.plugin.kind === 'check' && step.plugin.on.includes('soaking'),
  );
  if (state.soakUntil === undefined || soakVerdict(state, skip) === 'bad')
    await run.append(state, [{ type: 'soak', until: new Date((await host.journal.now()) + soakMs).toISOString() }]);
  const left = Math.max(0, Date.parse(state.soakUntil!) - (await host.journal.now()));
  const until = run.now() + left;
  if (left > 0 && Math.abs(left - soakMs) > 2000)
    host.emit({ type: 'said', text: `the soak goes on: ${lasting(left)} left` });
  const watching = checks.some((step) => step.plugin.kind === 'check' && step.plugin.watches);
  const acting = run.acting(state, prepared.steps);
  if (!watching && left > 0) {
    host.emit({ type: 'step-began', step: 'soak', label: 'soak' });
    host.emit({ type: 'step-doing', step: 'soak', text: 'nothing watches reads', until });
  }
  const asked = (step: Step) => !skip.has(step.id);
  const auditing = beginAudit(acting, until, asked);
  const failures = await runChecks(acting, 'soaking', until, asked);
  if (failures.length > 0) await auditing.stop();
  else {
    await run.wait(until);
    await auditing.done;
    if (!watching && left > 0)
      host.emit({
        type: 'step-ended',
        step: 'soak',
        label: 'soak',
        result: 'ok',
        text: `${lasting(left)} waited; nothing watched reads (add soak/http)`,
        ms: soakMs,
      });
    return undefined;
  }
  const wishes = failures.map((failure) => prepared.steps.find((step) => step.id === failure.step)?.onBad ?? 'hold');
  if (wishes.every((wish) => wish === 'continue')) return undefined;
  const details = failures.map((failure) => `${failure.step}  ${failure.message}`);
  if (wishes.includes('refreeze')) {
    await refreeze(run, state);
    const result = await converge(run.acting(state, prepared.steps), 'open', { verb: 'refreeze' });
    await run.append(state, [
      { type: 'run', state: 'ended', verb: 'end', owner: run.lease.owner.name, exit: EXIT.HUMAN },
    ]);
    return failed(
      'end',
      'E_SOAK_BAD',
      prepared.environment,
      `the soak found trouble, and ${openText(state, afterOpening(state, prepared.steps, result.failures, await run.storeNow()), { refused: 'is read-only again', rest: `, until ${utc(state.window.until, { seconds: false })}` })}.`,
      {
        window: state.id,
        state,
        details,
        next: [maint('end', {}, 'when it is fixed: opens and soaks afresh'), maint('status')],
      },
    );
  }
  await run.append(state, [
    { type: 'run', state: 'ended', verb: 'end', owner: run.lease.owner.name, exit: EXIT.HUMAN },
  ]);
  const now = truth(state, await lookAtWalls(host, prepared, state), await run.storeNow());
  const writes =
    now.writes === 'open'
      ? 'takes writes again'
      : now.writes === 'refused'
        ? `is STILL READ-ONLY (${now.what})`
        : `may or may not take writes again (${now.what})`;
  return failed(
    'end',
    'E_SOAK_BAD',
    prepared.environment,
    `${prepared.environment} ${writes}, but the soak found trouble; the window is not closed, and what was stopped stays stopped.`,
    {
      window: state.id,
      state,
      details,
      next: [
        maint('end', {}, 'soaks afresh'),
        maint('end', { skip: failures[0]!.step }, 'close in spite of it'),
        maint('start', { window: '30m' }, 'read-only again'),
      ],
    },
  );
}

export async function finish(
  host: VerbHost,
  run: Run,
  prepared: Prepared,
  state: WindowState,
  verb: 'end' | 'abort',
  phase: 'closed' | 'aborted',
  options: EndOptions,
): Promise<VerbResult> {
  const { environment } = prepared;
  const skip = new Set(options.skip);
  const result = await converge(run.acting(state, prepared.steps), phase, { verb, skip });
  if (result.failures.length > 0) return await leftBehind(host, run, prepared, state, verb, result.failures);
  await run.append(state, leftOut(prepared, state, skip));
  const wrote = verb === 'end' && writesFound(state).length > 0;
  const givenUp = await stillLeft(host, prepared, state);
  const code = givenUp ? 'E_LEFT_BEHIND' : wrote ? 'E_WRITTEN' : undefined;
  const exit = code ? EXIT.HUMAN : EXIT.DONE;
  await run.append(state, [{ type: 'run', state: 'ended', verb, owner: run.lease.owner.name, exit }], 'close');
  const others = await othersHolding(host, prepared, state);
  const look = thingsToLookAt(state).length;
  const planned = Date.parse(state.window.plannedUntil) - Date.parse(state.window.since);
  const readOnly = readOnlyText(state, await run.storeNow());
  const was = readOnly ? `${readOnly} (planned ${lasting(planned)}${extendedTo(state)})` : 'was never read-only';
  return {
    verb,
    exit,
    code,
    environment,
    window: state.id,
    headline: `${environment} ${was}.${givenUp ? ` It may STILL be READ-ONLY (${givenUp}).` : ''}${look > 0 ? ` ${count(look, 'thing')} to look at:` : ' Everything is restored.'}`,
    details: [...thingsToLookAt(state), ...others],
    look,
    next: [maint(['report', state.id], {}, 'the window as a document')],
    state,
  };
}

/** The walls that were given up and are not seen open, in words; undefined: none. */
async function stillLeft(host: VerbHost, prepared: Prepared, state: WindowState): Promise<string | undefined> {
  const left = new Set(state.left.filter(({ wall }) => wall === true).map(({ step }) => step));
  if (left.size === 0) return undefined;
  const is = truth(state, await lookAtWalls(host, prepared, state, ({ id }) => left.has(id)), await host.journal.now());
  return is.writes === 'open' ? undefined : is.what;
}

async function othersHolding(host: VerbHost, prepared: Prepared, state: WindowState): Promise<string[]> {
  const lines: string[] = [];
  for (const step of prepared.steps) {
    if (step.skipped || step.plugin.kind !== 'resource' || !step.plugin.holders) continue;
    const reader = host.clients.reader({ signal: host.interrupt.signal, deadline: monotonicNow() + 10_000 });
    const holders = await (step.plugin as Resource).holders!(reader, step.params).catch(() => []);
    for (const holder of holders)
      if (holder.id !== state.id)
        lines.push(
          `${step.id}  still read-only: ${holder.id} (${holder.environment}) holds it until ${utc(holder.until, { seconds: false })}, "${holder.reason}"`,
        );
  }
  return lines;
}

/** What was not done because the command line said so: the window is over without it, and somebody must know. */
function leftOut(prepared: Prepared, state: WindowState, skip: ReadonlySet<string>): JournalEvent[] {
  return prepared.steps.flatMap((step): JournalEvent[] => {
    if (!skip.has(step.id) || step.plugin.kind !== 'action') return [];
    // one that the runbook or the start had skipped never did anything in this window
    if (!step.plugin.on.some((edge) => state.actions.has(actionKey(step.id, edge)))) return [];
    if (actionEdges(state, step, state.phase).length === 0) return [];
    const text = `left out of the end: ${step.plugin.leftOut ?? 'it was not done'}`;
    return [{ type: 'settled', step: step.id, phase: state.phase, ms: 0, changes: 0, notes: [text], looks: [text] }];
  });
}

async function leftBehind(
  host: VerbHost,
  run: Run,
  prepared: Prepared,
  state: WindowState,
  verb: 'end' | 'abort',
  failures: StepFailure[],
): Promise<VerbResult> {
  const { environment } = prepared;
  await run.append(state, [{ type: 'run', state: 'ended', verb, owner: run.lease.owner.name, exit: EXIT.HUMAN }]);
  const others = state.walls === 'open' ? await othersHolding(host, prepared, state) : [];
  const is = await writesNow(host, prepared, state);
  const looks = lookLines(state);
  const waits = waiting(prepared, state, failures);
  return failed(
    verb,
    'E_LEFT_BEHIND',
    environment,
    `${environment} ${is} ${count(leftCount(failures), 'thing is', 'things are')} not restored:`,
    {
      window: state.id,
      state,
      details: [...failureLines(failures), ...waits, ...others, ...looks],
      look: thingsToLookAt(state).length,
      next: [maint(verb, {}, 'tries just these again'), wayOut(prepared, failures[0]!)],
    },
  );
}

/** While a wall is left, the steps after the walls wait. */
function waiting({ steps }: Prepared, state: WindowState, failures: readonly StepFailure[]): string[] {
  const wall = failures.find(({ step }) => steps.some((one) => one.id === step && isWall(one)));
  if (!wall) return [];
  const rest = steps.filter(
    (step) =>
      !isWall(step) && (state.owned.get(step.id)?.size ?? 0) > 0 && !failures.some((one) => one.step === step.id),
  );
  if (rest.length === 0) return [];
  return [`${rest.map(({ id }) => id).join(', ')}  ${rest.length === 1 ? 'waits' : 'wait'} until writes work again`];
}

/** Something of ours can be given up; what was only not done can be left out. */
function wayOut(prepared: Prepared, { step, ids }: StepFailure): Next {
  if (prepared.steps.find((one) => one.id === step)?.plugin.kind === 'action')
    return maint('end', { skip: step }, 'closes without it');
  const what = ids[0] ? `${step}/${ids[0]}` : step;
  return maint('end', { leave: what, reason: blank('…') }, 'never coming back?');
}

async function planned(
  host: VerbHost,
  prepared: Prepared,
  live: WindowState,
  verb: string,
  phases: ('soaking' | 'closed' | 'aborted')[],
): Promise<VerbResult> {
  const looking: Looking = {
    steps: prepared.steps,
    clients: host.clients,
    signal: host.interrupt.signal,
    now: monotonicNow,
  };
  const result = await plan(looking, live.window, live, phases);
  return {
    verb,
    exit: EXIT.DONE,
    environment: prepared.environment,
    window: live.id,
    headline: `${count(result.changes, 'change')} to undo, nothing written.`,
    details: [],
    look: 0,
    next: [maint(verb, {}, 'do it')],
    plan: result,
    state: live,
  };
}

/** end --leave STEP[/ID]: the way out when something will never come back. */
export async function leave(
  host: VerbHost,
  prepared: Prepared,
  live: WindowState,
  what: string,
  reason: string,
  options: LeaseOptions,
): Promise<VerbResult> {
  const { environment } = prepared;
  const slash = what.indexOf('/');
  const stepId = slash < 0 ? what : what.slice(0, slash);
  return await withLease(host, environment, 'end --leave', { ...options, skew: 'say' }, async (run) => {
    const state = await current(host, prepared, live.id);
    if (!state) return await nothingToEnd(host, 'end', environment, prepared);
    const mine = [...(state.owned.get(stepId)?.keys() ?? [])];
    const ids = slash < 0 ? mine : mine.filter((id) => id === what.slice(slash + 1));
    if (ids.length === 0) {
      const all = stillOurs(state).map((one) => `${one.step}/${one.id}`);
      throw new MaintError('E_USAGE', `--leave ${what} names nothing that is ours in ${state.id}.`, {
        details: all.length > 0 ? ['what is:', ...all.slice(0, 20)] : ['nothing is'],
        next: [all[0] ? maint('end', { leave: all[0], reason: blank('…') }) : maint('end')],
      });
    }
    const wall = await leftWall(host, prepared, state, stepId);
    await run.append(state, [{ type: 'left', step: stepId, ids, reason, by: run.lease.owner.name, ...wall }]);
    const rest = stillOurs(state).length;
    const ending = state.phase === 'closed' || state.phase === 'aborted';
    if (ending && rest === 0)
      return await finish(host, run, prepared, state, 'end', state.phase as 'closed' | 'aborted', {
        skip: [],
        dryRun: false,
      });
    return {
      verb: 'end',
      exit: EXIT.DONE,
      environment,
      window: state.id,
      headline: `${count(ids.length, 'thing')} of ${stepId} left behind for good: ${reason}. ${count(rest, 'thing')} still to undo.`,
      details: ids,
      look: thingsToLookAt(state).length,
      next: [maint('end', {}, 'the rest')],
      state,
    };
  });
}

/**
 * A wall is given up only where nobody can ask it, and somebody says so: one that is seen closed can be opened, and left
 * behind it would refuse writes for a window that is over. status asks it until it is seen open.
 */
async function leftWall(host: VerbHost, prepared: Prepared, state: WindowState, id: string): Promise<{ wall?: true }> {
  const { walls } = await lookAtWalls(host, prepared, state, (step) => step.id === id);
  const [seen] = walls;
  if (!seen || seen.is === 'open') return {};
  if (seen.is === 'held')
    throw new MaintError(
      'E_LEFT_BEHIND',
      `${id} still refuses writes (${seen.why}), so it can be opened. Nothing changed.`,
      {
        next: [maint('end')],
      },
    );
  if (host.asks)
    await host.confirm({
      plan: await plan(
        lookingOf(host, { steps: prepared.steps.filter((step) => step.id === id) }),
        state.window,
        state,
        ['aborted'],
      ),
      window: state.window,
      ...{ backMs: 0, startMs: 0, changed: false },
      warnings: [
        `${id} cannot be asked (${seen.why}): left behind, it may go on refusing writes, and nobody will open it`,
      ],
      shared: host.journal.shared,
      address: host.journal.address,
    });
  return { wall: true };
}

function extendedTo({ window }: WindowState): string {
  if (window.until === window.plannedUntil) return '';
  const how = Date.parse(window.until) > Date.parse(window.plannedUntil) ? 'extended' : 'shortened';
  return `, ${how} to ${lasting(Date.parse(window.until) - Date.parse(window.since))}`;
}
