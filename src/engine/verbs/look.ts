// status and verify: looking only. Nothing is written, no lease is taken.
import { EXIT, type ExitCode } from '../../errors/exit-codes.ts';
import { runCheck } from '../checks.ts';
import type { Step } from '../contract.ts';
import { estimate } from '../estimate.ts';
import type { Lease } from '../journal.ts';
import { type Looking, type Plan, plan } from '../plan.ts';
import { monotonicNow, waitUntil } from '../run.ts';
import { failedThings, type Label, label, stillOurs, type WindowState } from '../window.ts';
import { asOption, count, lasting, span, utc } from '../words.ts';
import { adoptOrCancel, type NextCommand, type Prepared, type VerbHost, type VerbResult } from './result.ts';
import { recentWindows } from './windows.ts';

export interface Status {
  environment: string;
  window: string;
  label: Label;
  exit: ExitCode;
  lines: string[];
  next: NextCommand[];
  alive: boolean;
  overdueMs: number;
  leftMs: number;
  beginEndBy: string;
  toUndo: number;
  state: WindowState;
}

const ALIVE_MS = 6_000;
/** The longest that people should wait for news. */
const TELL_EVERY_MS = 20 * 60_000;

/** What the journal alone tells; `planned` adds what a look at the world found (newcomers, drift). */
export async function statusOf(
  host: Pick<VerbHost, 'journal'>,
  state: WindowState,
  lease: Lease | undefined,
  steps: readonly Step[],
  planned?: Plan,
): Promise<Status> {
  const now = await host.journal.now();
  const { window } = state;
  const alive = lease !== undefined && now - lease.renewedAt < ALIVE_MS;
  const what = label(state, alive, now);
  const left = Date.parse(window.until) - now;
  const back = estimate(steps, await recentWindows(host, window.environment)).backMs + state.opened.soakMs;
  const beginEndBy = new Date(Date.parse(window.until) - back).toISOString();
  const readOnly = state.walls === 'closed';
  const env = window.environment;
  const who = `by ${window.by}${window.ticket ? ` ${window.ticket}` : ''}`;
  const lines: string[] = [];
  const soak = asOption(state.opened.soakMs);
  // as it was typed: the same command goes on, and its length does not move the end
  const startAgain = `maint start --window ${asOption(Date.parse(window.plannedUntil) - Date.parse(window.since))}`;
  const next: NextCommand[] = [];
  if (what === 'overdue') {
    lines.push(
      `${env} is READ-ONLY and OVERDUE by ${lasting(-left)} · ${state.id} · ${who}, last seen ${utc(state.lastAt, { today: now })} · planned end ${utc(window.until, { seconds: false })}`,
    );
    lines.push(
      window.onExpiry === 'hold'
        ? 'writes stay refused (on_expiry: hold)'
        : 'the guards have opened by themselves (on_expiry: open); everything else is still stopped',
    );
    next.push({ command: `maint end --soak ${soak}` }, { command: 'maint extend --by 15m' });
  } else if (what === 'open') {
    lines.push(
      `${env} is READ-ONLY · ${state.id} · since ${utc(state.wallsClosedAt ?? window.since)} ${who} · until ${utc(window.until, { seconds: false })} (${lasting(left)} left) · "${window.reason}"`,
    );
    next.push(
      { command: `maint end --soak ${soak}`, why: `by ${utc(beginEndBy, { seconds: false })}` },
      { command: 'maint extend --by 15m' },
    );
  } else if (what === 'interrupted' || what === 'held') {
    const verb =
      state.phase === 'open' ? startAgain.slice('maint '.length) : state.phase === 'aborted' ? 'abort' : 'end';
    lines.push(
      `${env} is ${readOnly ? 'READ-ONLY' : 'between two states'}: ${what === 'held' ? 'a step failed, and the runbook says to hold' : `maint ${state.phase === 'open' ? 'start' : verb} was interrupted`} · ${state.id} · ${who}, last seen ${utc(state.lastAt, { today: now })} · nobody is acting`,
    );
    next.push({ command: `maint ${verb}`, why: 'goes on where it stopped' });
    if (state.phase === 'open') next.push({ command: 'maint abort', why: 'undoes it' });
  } else if (alive) {
    lines.push(
      `${env} is ${what} · ${state.id} · ${lease.owner.name} is acting (maint ${lease.owner.verb}, pid ${lease.owner.pid} on ${lease.owner.host})`,
    );
    next.push({ command: 'maint status --follow', why: 'watch it' });
  } else if (what === 'soak unattended') {
    lines.push(
      `${env} takes writes again since ${utc(state.wallsOpenAt ?? state.phaseAt)}; the soak is unattended · ${state.id} · ${who}`,
    );
    next.push(
      { command: 'maint end', why: 'goes on with the rest of the soak' },
      { command: startAgain, why: 'read-only again' },
    );
  } else if (what === 'soak bad') {
    lines.push(
      `${env} takes writes again since ${utc(state.wallsOpenAt ?? state.phaseAt)}, but the soak found trouble · ${state.id} · ${who}`,
    );
    for (const [step, moments] of state.checked)
      if (moments.get('soaking')?.outcome === 'fail') lines.push(`${step}  ${moments.get('soaking')!.summary}`);
    next.push({ command: 'maint end', why: 'soaks afresh' }, { command: startAgain, why: 'read-only again' });
  } else if (what === 'needs a human') {
    lines.push(
      `${env} is ${readOnly ? 'STILL READ-ONLY' : 'read-write'}, but ${count(failedThings(state), 'thing is', 'things are')} not as before · ${state.id} · ${who}`,
    );
    next.push({ command: state.phase === 'aborted' ? 'maint abort' : 'maint end', why: 'tries just these again' });
  } else if (what === 'scheduled') {
    lines.push(
      `${env} is announced to be read-only ${span(window.since, window.until)} on ${window.since.slice(0, 10)} · ${state.id} · ${who} · "${window.reason}"`,
    );
    next.push(...adoptOrCancel(Date.parse(window.until) - Date.parse(window.since)));
  } else lines.push(`${env} is ${what} · ${state.id} · ${who}`);
  for (const failure of state.failures.values()) lines.push(`${failure.step}  ${failure.message}`);
  const toUndo = stillOurs(state).length;
  if (what === 'open' || what === 'overdue') {
    // what failed at the start is no newcomer: its failure is told above
    const newcomers =
      planned?.steps
        .filter(({ id }) => !state.failures.has(id))
        .flatMap((step) => step.changes.map((change) => `${step.id} ${change.id}`)) ?? [];
    const drift =
      planned?.steps.flatMap((step) => step.drift.map((one) => `${step.id} ${one.id}`)) ??
      state.drifts.map((one) => `${one.step} ${one.id}`);
    const holding = steps.filter((step) => !step.skipped && !state.failures.has(step.id)).length;
    lines.push(
      [
        // without the runbook's secrets nobody knows the steps here
        ...(steps.length > 0 ? [`${holding} of ${steps.filter((step) => !step.skipped).length} steps hold`] : []),
        `${count(toUndo, 'change')} to undo`,
        ...(newcomers.length > 0 ? [`appeared since: ${newcomers.slice(0, 3).join(', ')}`] : []),
        ...(drift.length > 0 ? [`changed by somebody else: ${drift.slice(0, 3).join(', ')}`] : []),
      ].join(' · '),
    );
    const silent = now - Date.parse(state.toldAt);
    if (silent > TELL_EVERY_MS) {
      lines.push(`the last update is ${lasting(silent)} old: people wait for the next one`);
      next.push({ command: 'maint note "…, next update 02:40Z"', why: 'page and chat follow' });
    }
    if (newcomers.length > 0) next.push({ command: startAgain, why: 'stops what appeared since; the end stays' });
    else if (state.failures.size > 0)
      next.push({ command: startAgain, why: `tries ${[...state.failures.keys()].join(', ')} again; the end stays` });
  }
  return {
    environment: env,
    window: state.id,
    label: what,
    exit: exitOf(what, alive),
    lines,
    next,
    alive,
    overdueMs: Math.max(0, -left),
    leftMs: Math.max(0, left),
    beginEndBy,
    toUndo,
    state,
  };
}

function exitOf(what: Label, alive: boolean): ExitCode {
  if (alive && what !== 'scheduled') return EXIT.BUSY;
  if (what === 'open' || what === 'overdue' || what === 'soaking' || what === 'soak unattended') return EXIT.OPEN;
  if (what === 'interrupted' || what === 'held' || what === 'needs a human' || what === 'soak bad') return EXIT.HUMAN;
  return EXIT.DONE;
}

export interface Verified {
  step: string;
  uses: string;
  outcome: 'pass' | 'fail' | 'inconclusive' | 'unknown' | 'drift' | 'in sync' | 'change';
  summary: string;
  findings: string[];
}

export interface Glanced {
  step: string;
  outcome: 'pass' | 'fail' | 'inconclusive' | 'unknown';
  summary: string;
}

/** What the checks can tell at once, side by side; none of them waits longer than `withinMs`. */
export async function glance(
  host: VerbHost,
  steps: readonly Step[],
  state: WindowState,
  withinMs: number,
): Promise<Glanced[]> {
  const { clients, emit, interrupt } = host;
  const { signal } = interrupt;
  const acting = { clients, signal, now: monotonicNow, emit, wait: (until: number) => waitUntil(until, signal) };
  const checks = steps.filter(
    (step) => !step.skipped && step.plugin.kind === 'check' && step.plugin.on.includes('glance'),
  );
  return await Promise.all(
    checks.map(async (step): Promise<Glanced> => {
      const dry = true;
      const result = await runCheck(acting, step, 'glance', state, monotonicNow() + withinMs, dry);
      return { step: step.id, outcome: result.outcome, summary: result.summary };
    }),
  );
}

/** All checks and all drift, now. */
export async function verify(
  host: VerbHost,
  prepared: Prepared,
  state: WindowState,
): Promise<VerbResult & { verified: Verified[] }> {
  const looking: Looking = {
    steps: prepared.steps,
    clients: host.clients,
    signal: host.interrupt.signal,
    now: monotonicNow,
  };
  const acting = {
    clients: host.clients,
    signal: host.interrupt.signal,
    now: monotonicNow,
    wait: (until: number) => waitUntil(until, host.interrupt.signal),
    emit: host.emit,
  };
  const checks = prepared.steps.filter(
    (step) => !step.skipped && step.plugin.kind === 'check' && step.plugin.on.includes('now'),
  );
  const [planned, ...checked] = await Promise.all([
    plan(looking, state.window, state, [state.phase], { rights: false }),
    ...checks.map(async (step): Promise<Verified> => {
      host.emit({ type: 'step-began', step: step.id, label: step.plugin.name });
      const began = monotonicNow();
      const result = await runCheck(acting, step, 'now', state, began + step.deadlineMs);
      host.emit({
        type: 'step-ended',
        step: step.id,
        label: step.plugin.name,
        result: result.outcome === 'pass' ? 'ok' : result.outcome === 'fail' ? 'failed' : 'look',
        text: [result.summary, ...result.findings].join(' · '),
        ms: monotonicNow() - began,
      });
      return {
        step: step.id,
        uses: step.plugin.name,
        outcome: result.outcome,
        summary: result.summary,
        findings: result.findings,
      };
    }),
  ]);
  const resources = planned.steps
    .filter((step) => step.kind === 'resource' && step.verdict !== 'skipped')
    .map((step): Verified => {
      const outcome =
        step.drift.length > 0
          ? 'drift'
          : step.unknown.length > 0
            ? 'unknown'
            : step.changes.length > 0
              ? 'change'
              : 'in sync';
      return {
        step: step.id,
        uses: step.uses,
        outcome,
        summary:
          outcome === 'change'
            ? `${count(step.changes.length, 'thing')} appeared since: ${step.changes
                .map((one) => one.id)
                .slice(0, 3)
                .join(', ')}`
            : step.notes.join(' · '),
        findings: step.drift.map((one) => `${one.id} ${one.gone ? 'is gone' : 'was changed by somebody else'}`),
      };
    });
  const verified = [...resources, ...checked];
  const bad = verified.filter((one) => one.outcome === 'fail');
  const look = verified.filter((one) => one.outcome !== 'pass' && one.outcome !== 'in sync');
  return {
    verb: 'verify',
    exit: bad.length > 0 ? EXIT.HUMAN : EXIT.DONE,
    code: bad.length > 0 ? 'E_FAILED' : undefined,
    environment: prepared.environment,
    window: state.id,
    headline:
      look.length === 0
        ? `${prepared.environment} holds: ${count(verified.length, 'step')} checked, nothing to look at.`
        : `${prepared.environment}: ${count(look.length, 'thing')} to look at:`,
    details: look.map((one) => `${one.step}  ${[one.summary, ...one.findings].join(' · ')}`),
    look: look.length,
    next: [{ command: 'maint status' }],
    state,
    verified,
  };
}
