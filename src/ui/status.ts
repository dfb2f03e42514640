// status: from the journal, and where the secrets are at hand from a look at the world (what appeared, what drifted).

import type { App } from '../app/app.ts';
import { lookAtGuards } from '../app/guards.ts';
import { actingOn, allLive, handedLine, lastWindow, liveHere } from '../app/windows.ts';
import type { Recorded } from '../engine/events.ts';
import { type Plan, plan } from '../engine/plan.ts';
import { monotonicNow, waitUntil } from '../engine/run.ts';
import { type Glanced, glance, type Status, statusOf } from '../engine/verbs/look.ts';
import type { VerbHost } from '../engine/verbs/result.ts';
import type { WindowState } from '../engine/window.ts';
import { MaintError } from '../errors/catalogue.ts';
import { EXIT, type ExitCode } from '../errors/exit-codes.ts';
import { progressOf } from './follow.ts';
import { type GuardLine, guardsLine, writtenLine } from './guards.ts';
import { nextLine, nextText } from './result.ts';

export interface StatusView {
  exit: ExitCode;
  /** nobody needs to watch it any longer */
  over: boolean;
  lines: string[];
  json: Record<string, unknown>;
}
export interface StatusOptions {
  environment?: string | undefined;
  follow: boolean;
  all: boolean;
  /** `overdue`: a window within its time is no reason for a monitor to call somebody */
  failOn: 'open' | 'overdue';
}

const TICK_MS = 1_000;
/** Nothing new in the journal: the times in the text grow old all the same. */
const LOOK_MS = 5_000;
/** Whoever asks for the status does not wait for a database that is gone. */
const GLANCE_MS = 1_000;
/** The world is other people's servers, some of which count calls. */
const WORLD_MS = 30_000;
/** What a monitor must hear of first. */
const GRAVEST: readonly ExitCode[] = [EXIT.HUMAN, EXIT.BUSY, EXIT.OPEN];

export async function* statusView(app: App, options: StatusOptions): AsyncGenerator<StatusView> {
  const eye = new Eye(app, options);
  let shown = '';
  for (let looked = Number.NEGATIVE_INFINITY; ; ) {
    // First what is true now, then what happens.
    const news = shown === '' ? [] : await eye.news();
    tell(app, news);
    if (news.length > 0 || monotonicNow() - looked >= LOOK_MS) {
      looked = monotonicNow();
      const view = await eye.look();
      const { over } = view;
      if (over && shown !== '') {
        // The window is over before its run has said its last word.
        const giveUp = monotonicNow() + LOOK_MS;
        while ((await eye.isActedOn()) && monotonicNow() < giveUp)
          await waitUntil(monotonicNow() + TICK_MS / 10, app.options.interrupt.signal);
        tell(app, await eye.news());
      }
      const text = view.lines
        .join('\n')
        .replace(
          /\(\S+( \S+)? left\)|OVERDUE by \S+( \S+)? ·|last seen \S+|(refused|queued|still in flight) [\d,]+/g,
          '',
        );
      if (text !== shown) yield view;
      const first = shown === '';
      shown = text;
      if (!options.follow || over) return;
      if (first) continue;
    }
    await waitUntil(monotonicNow() + TICK_MS, app.options.interrupt.signal);
  }
}

function tell(app: App, news: readonly Recorded[]): void {
  for (const recorded of news) for (const progress of progressOf(recorded)) app.options.emit(progress);
}

/** One look, or one after another: what a look has found out need not be found out again. */
class Eye {
  private readonly app: App;
  private readonly options: StatusOptions;
  /** by window: the last event that was told */
  private readonly told = new Map<string, number>();
  private readonly environments = new Set<string>();
  private readonly worlds = new Map<string, { at: number; seq: number; planned: Plan; writes: readonly Glanced[] }>();
  private hosts: { reading?: VerbHost; writing?: VerbHost } = {};

  constructor(app: App, options: StatusOptions) {
    this.app = app;
    this.options = options;
  }

  /** What was recorded since the last call, of the windows that are or were live; of the first one nothing is told again. */
  async news(): Promise<Recorded[]> {
    const journal = await this.app.journal();
    const { environment } = this.options;
    const first = this.told.size === 0;
    const live = await journal.windows({ live: true, ...(environment === undefined ? {} : { environment }) });
    for (const row of live) {
      this.environments.add(row.environment);
      if (!this.told.has(row.id)) this.told.set(row.id, first ? await this.sinceRun(row.id) : 0);
    }
    const news: Recorded[] = [];
    for (const [id, seq] of this.told) {
      const events = await journal.read(id, seq);
      if (events.length > 0) this.told.set(id, events.at(-1)!.seq);
      news.push(...events);
    }
    return news;
  }

  /** Who comes while a run goes on sees it from its beginning. */
  private async sinceRun(id: string): Promise<number> {
    const events = await (await this.app.journal()).read(id);
    const run = events.findLast(({ event }) => event.type === 'run');
    const over = run?.event.type === 'run' && run.event.state === 'ended';
    return over || !run ? (events.at(-1)?.seq ?? 0) : run.seq - 1;
  }

  async isActedOn(): Promise<boolean> {
    for (const environment of this.environments) if (await actingOn(this.app, environment)) return true;
    return false;
  }

  async look(): Promise<StatusView> {
    const { environment, all } = this.options;
    if (!all) {
      const live = await liveHere(this.app, environment);
      return live ? await this.one(live) : none(environment, await this.elsewhere(environment));
    }
    const windows = await allLive(this.app, environment);
    const views: StatusView[] = [];
    for (const live of windows) views.push(await this.one(live));
    const exit = GRAVEST.find((code) => views.some((view) => view.exit === code)) ?? EXIT.DONE;
    return {
      exit,
      over: views.every((view) => view.over),
      lines:
        views.length > 0
          ? views.flatMap(({ lines }) => lines)
          : none(environment, await this.elsewhere(environment)).lines,
      json: { ok: exit === EXIT.DONE, exit, windows: views.map(({ json }) => json) },
    };
  }

  /** Which state was asked: another one may know of a window. And that has it for sure to which the last one went. */
  private async elsewhere(environment: string | undefined): Promise<string[]> {
    const { address } = await this.app.journal();
    const last = await lastWindow(this.app, environment);
    return [`state: ${address}`, ...(last?.handed ? [handedLine(last, last.handed)] : [])];
  }

  private async host(write: boolean): Promise<VerbHost> {
    return (this.hosts[write ? 'writing' : 'reading'] ??= await this.app.host(write));
  }

  private async one(live: WindowState): Promise<StatusView> {
    const lease = await actingOn(this.app, live.window.environment);
    const notes: string[] = [];
    let guards: GuardLine[] = [];
    let writes: readonly Glanced[] = [];
    let status: Status;
    try {
      const { prepared, state: found } = await this.app.prepareWindow(live, { lead: 'not looked at the world' });
      let state = found;
      if (!found.window.overdue && Date.parse(found.window.until) <= Date.now()) {
        const { markOverdue } = await import('../engine/verbs/extend.ts');
        state = await markOverdue(await this.host(true), prepared, found);
      }
      const host = await this.host(false);
      const quiet = state.reached && state.phase === 'open';
      let world = this.worlds.get(state.id);
      if (quiet && (!world || world.seq !== state.lastSeq || monotonicNow() - world.at >= WORLD_MS)) {
        const { steps } = prepared;
        const looking = { steps, clients: host.clients, signal: host.interrupt.signal, now: monotonicNow };
        const [planned, writes] = await Promise.all([
          plan(looking, state.window, state, ['open'], { rights: false }),
          state.walls === 'closed' ? glance(host, steps, state, GLANCE_MS) : [],
        ]);
        world = { at: monotonicNow(), seq: state.lastSeq, planned, writes };
        this.worlds.set(state.id, world);
      }
      writes = (quiet && world?.writes) || [];
      [status, guards] = await Promise.all([
        statusOf(host, state, lease, prepared.steps, quiet ? world?.planned : undefined),
        state.walls === 'closed' ? lookAtGuards(host, prepared.steps) : [],
      ]);
    } catch (error) {
      if (!(error instanceof MaintError) || error.code === 'E_INTERRUPTED') throw error;
      notes.push(
        `${error.message.replace(/ Nothing changed\.$/, '')} So this is what the journal says, and nobody looked at the world.`,
      );
      status = await statusOf({ journal: await this.app.journal() }, live, lease, []);
    }
    return viewOf(status, notes, { guards, writes }, this.options.failOn);
  }
}

function viewOf(
  status: Status,
  notes: readonly string[],
  { guards, writes }: { guards: readonly GuardLine[]; writes: readonly Glanced[] },
  failOn: 'open' | 'overdue',
): StatusView {
  const { state, ...rest } = status;
  const seen = [guardsLine(guards), writtenLine(writes)].filter((line) => line !== undefined).join(' · ');
  const inTime = failOn === 'overdue' && status.exit === EXIT.OPEN && status.overdueMs === 0;
  const exit = inTime ? EXIT.DONE : status.exit;
  return {
    exit,
    over: status.exit === EXIT.DONE,
    lines: [
      ...status.lines.slice(0, 1),
      ...[...status.lines.slice(1), ...(seen === '' ? [] : [seen]), ...notes].map((line) => `  ${line}`),
      nextLine(status.next.map(nextText)),
    ],
    json: {
      ok: exit === EXIT.DONE,
      ...rest,
      exit,
      notes,
      ...(guards.length > 0 ? { guards } : {}),
      ...(writes.length > 0 ? { writes } : {}),
      phase: state.phase,
      reached: state.reached,
      since: state.window.since,
      until: state.window.until,
      by: state.window.by,
      reason: state.window.reason,
      failures: [...state.failures.values()],
    },
  };
}

function none(environment: string | undefined, elsewhere: readonly string[]): StatusView {
  return {
    exit: EXIT.DONE,
    over: true,
    lines: [
      environment ? `${environment} has no open window.` : 'No window is open.',
      ...elsewhere.map((line) => `  ${line}`),
      'Next: maint start --window 30m',
    ],
    json: {
      ok: true,
      exit: EXIT.DONE,
      environment: environment ?? null,
      window: null,
      label: 'none',
      lines: elsewhere,
      next: [{ command: 'maint start --window 30m' }],
    },
  };
}
