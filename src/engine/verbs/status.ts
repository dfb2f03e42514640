// status: what is true of a window now, in words, and what to type next. Nothing is written, no lease is taken.
import { EXIT, type ExitCode } from '../../errors/exit-codes.ts';
import { because, maint, type Next, type NextRun } from '../../errors/next.ts';
import { runCheck } from '../checks.ts';
import type { Step } from '../contract.ts';
import { estimate } from '../estimate.ts';
import type { Lease } from '../journal.ts';
import type { Plan } from '../plan.ts';
import { monotonicNow, waitUntil } from '../run.ts';
import { type Look, type Truth, truth } from '../truth.ts';
import { failedThings, type Label, label, stillOurs, type WindowState } from '../window.ts';
import { asOption, count, lasting, span, utc } from '../words.ts';
import { adoptOrCancel, type VerbHost } from './result.ts';
import { recentWindows } from './windows.ts';

export interface Status {
  environment: string;
  window: string;
  label: Label;
  exit: ExitCode;
  lines: string[];
  next: Next[];
  alive: boolean;
  overdueMs: number;
  leftMs: number;
  beginEndBy: string;
  toUndo: number;
  truth: Truth;
  state: WindowState;
}

/** What a look found besides the walls: newcomers and drift. */
export interface Seen {
  look?: Look | undefined;
  planned?: Plan | undefined;
}

const ALIVE_MS = 6_000;
/** The longest that people should wait for news. */
const TELL_EVERY_MS = 20 * 60_000;

/** Without `seen` nothing is known but what the journal says, and the words say so. */
export async function statusOf(
  host: Pick<VerbHost, 'journal'>,
  state: WindowState,
  lease: Lease | undefined,
  steps: readonly Step[],
  seen: Seen = {},
): Promise<Status> {
  const now = await host.journal.now();
  const { window } = state;
  const alive = lease !== undefined && now - lease.renewedAt < ALIVE_MS;
  const what = label(state, alive, now);
  const left = Date.parse(window.until) - now;
  const back = estimate(steps, await recentWindows(host, window.environment)).backMs + state.opened.soakMs;
  const beginEndBy = new Date(Date.parse(window.until) - back).toISOString();
  const is = truth(state, seen.look, now);
  const telling: Telling = { state, what, is, now, left, beginEndBy, lease: alive ? lease : undefined };
  const said = headline(telling);
  const toUndo = stillOurs(state).length;
  const open = what === 'open' || what === 'overdue';
  for (const failure of state.failures.values()) said.lines.push(`${failure.step}  ${failure.message}`);
  if (open) tellSteps(said, telling, steps, seen.planned, toUndo);
  if (!isOver(what)) said.lines.push(...lastNote(state, telling.now));
  return {
    environment: window.environment,
    window: state.id,
    label: what,
    exit: exitOf(what, alive, is),
    lines: said.lines,
    next: said.next,
    alive,
    overdueMs: Math.max(0, -left),
    leftMs: Math.max(0, left),
    beginEndBy,
    toUndo,
    truth: is,
    state,
  };
}

/** Who reads it decides whether another one is due. */
function lastNote({ window, noted }: WindowState, now: number): string[] {
  if (window.note === undefined || noted === undefined) return [];
  return [`last note ${time(noted.at, now)} by ${noted.by}: "${window.note}"`];
}

function isOver(what: Label): boolean {
  return what === 'closed' || what === 'aborted' || what === 'handed over';
}

interface Telling {
  state: WindowState;
  what: Label;
  is: Truth;
  now: number;
  left: number;
  beginEndBy: string;
  /** of a run that is alive */
  lease: Lease | undefined;
}
interface Said {
  lines: string[];
  next: Next[];
}

function headline(telling: Telling): Said {
  const { what, lease } = telling;
  if (what === 'open' || what === 'overdue') return tellOpen(telling);
  if (what === 'interrupted' || what === 'held') return tellStopped(telling);
  if (lease) return tellActing(telling, lease);
  if (what === 'soak unattended' || what === 'soak bad') return tellSoak(telling);
  if (what === 'needs a human') return tellLeft(telling);
  if (what === 'scheduled') return tellScheduled(telling);
  return { lines: [`${environmentOf(telling)} is ${what} · ${telling.state.id} · ${who(telling.state)}`], next: [] };
}

function environmentOf({ state }: Telling): string {
  return state.window.environment;
}

function who({ window }: WindowState): string {
  return `by ${window.by}${window.ticket ? ` ${window.ticket}` : ''}`;
}

/** As it was typed: the same command goes on, and its length does not move the end. */
function startAgain({ window }: WindowState, why: string): NextRun {
  return maint('start', { window: asOption(Date.parse(window.plannedUntil) - Date.parse(window.since)) }, why);
}

/** A time, with the date where that is not today. */
function time(at: string | null, now: number): string {
  return at === null ? 'an unknown time' : utc(at, { today: now });
}

function tellOpen(telling: Telling): Said {
  const { state, is, what, left, now } = telling;
  const { window } = state;
  const env = window.environment;
  const until = `until ${utc(window.until, { seconds: false, today: now })}`;
  const promise =
    what === 'overdue' ? `overdue by ${lasting(-left)}, planned ${until}` : `${until} (${lasting(left)} left)`;
  const rest = `${state.id} · ${who(state)} · ${promise} · "${window.reason}"`;
  const end = maint('end', { soak: asOption(state.opened.soakMs) });
  const extend = maint('extend', { by: '15m' });
  const close = startAgain(state, 'closes it again, and asks before it does');
  const over = because(end, 'when you are done');
  if (is.writes === 'refused') {
    const lines =
      what === 'overdue'
        ? [
            `${env} is READ-ONLY and OVERDUE by ${lasting(-left)} · ${state.id} · ${who(state)}, last seen ${time(state.lastAt, now)} · planned end ${utc(window.until, { seconds: false, today: now })}`,
            `writes stay refused (on_expiry: ${window.onExpiry})`,
          ]
        : [
            `${env} is READ-ONLY · ${state.id} · since ${time(is.since, now)} ${who(state)} · ${until} (${lasting(left)} left) · "${window.reason}"`,
          ];
    if (is.reason === 'others hold alone')
      return {
        lines: [...lines, `but not by us: ${is.what}; once they end, writes are possible`],
        next: [close, over],
      };
    if (is.reason === 'guards hold alone')
      return {
        lines: [
          ...lines,
          `the guards refuse, but a wall is gone: ${is.what}; a guard that restarts lets writes through`,
        ],
        next: [close, over],
      };
    const by = `by ${utc(telling.beginEndBy, { seconds: false, today: now })}`;
    return { lines, next: [what === 'overdue' ? end : because(end, by), extend] };
  }
  if (is.writes === 'unknown') {
    const looked = is.reason === 'not looked' ? 'nobody looked at the walls' : is.what;
    return {
      lines: [`${env}: cannot tell · last seen read-only ${time(is.lastHeld, now)} · ${looked} · ${rest}`],
      next: [
        maint('status', {}, 'looks again'),
        ...(is.reason === 'not looked' ? [] : [maint('doctor', {}, 'what cannot be reached, and why')]),
        over,
      ],
    };
  }
  if (is.reason === 'no wall') {
    const held = count(stillOurs(state).length, 'thing');
    return { lines: [`${env} holds ${held}, and writes are not refused: ${is.what} · ${rest}`], next: [over, extend] };
  }
  if (is.reason === 'expired') {
    const lines = [
      `${env} is NOT read-only any more · ${rest}`,
      `writes have been possible since ${time(is.since, now)}: ${is.what}; everything else is still stopped`,
    ];
    return { lines, next: [end, because(extend, 'refuses writes again')] };
  }
  if (is.reason === 'guard passes') {
    const lines = [`${env} is NOT read-only: ${is.what}, although the walls are closed · ${rest}`];
    return { lines, next: [maint('verify', {}, 'asks every guard'), over] };
  }
  const lead = is.reason === 'part' ? 'is not fully closed, writes may pass' : 'is NOT read-only';
  return {
    lines: [
      `${env} ${lead} · ${rest}`,
      `${is.what} · last seen closed ${time(is.lastHeld, now)}; writes have been possible since then at the earliest`,
    ],
    next: [close, over],
  };
}

/** The words for a window between two states: what was seen of the walls, or that nobody knows. */
function between({ is, now }: Telling, still = ''): string {
  if (is.writes === 'refused') return `is ${still}READ-ONLY`;
  if (is.writes === 'open') return 'is read-write';
  const why = is.reason === 'not looked' ? 'nobody looked at the walls' : is.what;
  return `cannot be told read-only or not (${why}; last seen read-only ${is.lastHeld === null ? 'never' : time(is.lastHeld, now)})`;
}

function tellStopped(telling: Telling): Said {
  const { state, what, now } = telling;
  const { window, phase } = state;
  const done = state.reached && (phase === 'closed' || phase === 'aborted');
  const goesOn = againOf(state, done ? 'looks once more, and closes the record' : 'goes on where it stopped');
  const interrupted = `maint ${goesOn.run.command} was interrupted`;
  const why = what === 'held' ? 'a step failed, and the runbook says to hold' : interrupted;
  const lines = [
    `${window.environment} ${between(telling)}: ${why} · ${state.id} · ${who(state)}, last seen ${time(state.lastAt, now)} · nobody is acting`,
  ];
  if (done) lines.push('all of it is done; only the last entry of the journal is missing');
  const next: Next[] = [goesOn];
  if (phase === 'open' || phase === 'announced') next.push(maint('abort', {}, 'undoes it'));
  return { lines, next };
}

/** An announcement that was cut off is made again, and so is a start; what was on its way out goes on. */
function againOf(state: WindowState, why: string): NextRun {
  const { since, until } = state.window;
  if (state.phase === 'open') return startAgain(state, why);
  if (state.phase !== 'announced') return maint(state.phase === 'aborted' ? 'abort' : 'end', {}, why);
  return maint('announce', { at: since, window: asOption(Date.parse(until) - Date.parse(since)) }, why);
}

function tellActing(telling: Telling, { owner }: Lease): Said {
  const { state, what } = telling;
  const acting = `${owner.name} is acting (maint ${owner.verb}, pid ${owner.pid} on ${owner.host})`;
  return {
    lines: [`${environmentOf(telling)} is ${what} · ${state.id} · ${acting}`],
    next: [maint('status', { follow: true }, 'watch it')],
  };
}

function tellSoak(telling: Telling): Said {
  const { state, what, is, now } = telling;
  const opened = time(state.wallsOpenAt ?? state.phaseAt, now);
  const lead =
    is.writes === 'open'
      ? `takes writes again since ${opened}`
      : is.writes === 'refused'
        ? `is STILL READ-ONLY (${is.what})`
        : `was opened at ${opened}, and nobody can tell whether it still is (${is.what})`;
  const trouble = what === 'soak bad' ? ', but the soak found trouble' : '; the soak is unattended';
  const lines = [`${environmentOf(telling)} ${lead}${trouble} · ${state.id} · ${who(state)}`];
  if (what === 'soak bad')
    for (const [step, moments] of state.checked)
      if (moments.get('soaking')?.outcome === 'fail') lines.push(`${step}  ${moments.get('soaking')!.summary}`);
  const why = what === 'soak bad' ? 'soaks afresh' : 'goes on with the rest of the soak';
  return {
    lines,
    next: [maint('end', {}, why), startAgain(state, 'read-only again')],
  };
}

function tellLeft(telling: Telling): Said {
  const { state } = telling;
  const things = count(failedThings(state), 'thing is', 'things are');
  return {
    lines: [
      `${environmentOf(telling)} ${between(telling, 'STILL ')}, and ${things} not restored · ${state.id} · ${who(state)}`,
    ],
    next: [maint(state.phase === 'aborted' ? 'abort' : 'end', {}, 'tries just these again')],
  };
}

function tellScheduled({ state }: Telling): Said {
  const { window } = state;
  return {
    lines: [
      `${window.environment} is announced to be read-only ${span(window.since, window.until)} on ${window.since.slice(0, 10)} · ${state.id} · ${who(state)} · "${window.reason}"`,
    ],
    next: adoptOrCancel(Date.parse(window.until) - Date.parse(window.since)),
  };
}

function tellSteps(
  { lines, next }: Said,
  { state, now }: Telling,
  steps: readonly Step[],
  planned: Plan | undefined,
  toUndo: number,
): void {
  const breached = new Set(planned?.steps.flatMap((step) => step.breached.map((id) => `${step.id} ${id}`)));
  // what failed at the start is no newcomer: its failure is told above
  const newcomers =
    planned?.steps
      .filter(({ id }) => !state.failures.has(id))
      .flatMap((step) => step.changes.map((change) => `${step.id} ${change.id}`))
      .filter((one) => !breached.has(one)) ?? [];
  const drift =
    planned?.steps.flatMap((step) => step.drift.map((one) => `${step.id} ${one.id}`)) ??
    state.drifts.map((one) => `${one.step} ${one.id}`);
  // what appeared runs beside what is held, and beside what comes back
  const looks = newcomers.length + drift.length;
  const unseen = planned?.steps.filter(({ unknown }) => unknown.length > 0).map(({ id }) => id) ?? [];
  lines.push(
    [
      ...(planned ? [holding(steps, state, planned)] : []),
      `${count(toUndo, 'change')} to undo`,
      ...(looks > 0 ? [`${count(looks, 'thing')} to look at`] : []),
      ...(newcomers.length > 0 ? [`appeared since: ${newcomers.slice(0, 3).join(', ')}`] : []),
      ...(drift.length > 0 ? [`changed by somebody else: ${drift.slice(0, 3).join(', ')}`] : []),
      ...(unseen.length > 0 ? [`cannot be asked: ${unseen.join(', ')}`] : []),
    ].join(' · '),
  );
  const silent = now - Date.parse(state.toldAt);
  if (silent > TELL_EVERY_MS) {
    lines.push(`the last update is ${lasting(silent)} old: people wait for the next one`);
    next.push(maint(['note', '…, next update 02:40Z'], {}, 'page and chat follow'));
  }
  if (next.some((one) => 'run' in one && one.run.command === 'start')) return;
  if (newcomers.length > 0) next.push(startAgain(state, 'stops what appeared since; the end stays'));
  else if (state.failures.size > 0)
    next.push(startAgain(state, `tries ${[...state.failures.keys()].join(', ')} again; the end stays`));
}

/** "3 of 4 steps hold": of what a look can tell, those that are as the window wants them. */
function holding(steps: readonly Step[], state: WindowState, planned: Plan): string {
  const of = steps.filter((step) => !step.skipped);
  const holds = of.filter(({ id }) => {
    const seen = planned.steps.find((step) => step.id === id);
    if (state.failures.has(id)) return false;
    return !seen || (seen.breached.length === 0 && seen.unknown.length === 0);
  });
  return `${holds.length} of ${of.length} steps hold`;
}

function exitOf(what: Label, alive: boolean, is: Truth): ExitCode {
  if (alive && what !== 'scheduled') return EXIT.BUSY;
  if (what === 'interrupted' || what === 'held' || what === 'needs a human' || what === 'soak bad') return EXIT.HUMAN;
  if (what === 'open' || what === 'overdue') {
    const asPromised = is.writes !== 'open' && !is.reason.endsWith('hold alone');
    return asPromised || is.reason === 'no wall' ? EXIT.OPEN : EXIT.HUMAN;
  }
  if (what === 'soaking' || what === 'soak unattended') return is.reason === 'still held' ? EXIT.HUMAN : EXIT.OPEN;
  return EXIT.DONE;
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
