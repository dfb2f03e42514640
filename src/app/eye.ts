// What `maint status` looks at: the journal, the walls, the guards and the checks that can tell at once. All are asked
// side by side, and none of them for longer than two seconds: what comes later cannot be asked.
import type { Recorded } from '../engine/events.ts';
import { isWall } from '../engine/order.ts';
import { type Looking, look, type Plan, plan, type World } from '../engine/plan.ts';
import { monotonicNow } from '../engine/run.ts';
import { truth, wallsIn } from '../engine/truth.ts';
import type { Prepared, VerbHost } from '../engine/verbs/result.ts';
import { type Glanced, glance, type Status, statusOf } from '../engine/verbs/status.ts';
import { lookingOf } from '../engine/verbs/walls.ts';
import { type HolderSeen, holdersSeen, type NotAsked, otherHolders } from '../engine/verbs/windows.ts';
import { ofStep, type WindowState } from '../engine/window.ts';
import { MaintError } from '../errors/catalogue.ts';
import type { GuardLine } from '../ui/guards.ts';
import type { App } from './app.ts';
import { lookAtGuards } from './guards.ts';
import { actingOn, allLive, handedLine, lastWindow, liveHere, meantEnvironment } from './windows.ts';

/** A window that is not over, as it was seen. */
export interface SeenWindow {
  status: Status;
  notes: string[];
  guards: readonly GuardLine[];
  writes: readonly Glanced[];
}
/** No window: what may refuse writes all the same. */
export interface SeenNone {
  environment: string | undefined;
  /** where this state never had a window of it: the known one whose name is close */
  meant: string | undefined;
  /** which state was asked, and where the last window went */
  elsewhere: string[];
  /** a runbook of the environment was found, and its flags were asked */
  asked: boolean;
  holders: HolderSeen[];
  notAsked: NotAsked[];
  /** a wall of the last window that was given up (`end --leave`), and is not seen open */
  left: { window: string; writes: 'refused' | 'unknown'; what: string } | undefined;
  /** the last window of this state, unless another state has it now */
  last: string | undefined;
}

/** Whoever asks for the status does not wait for a database that is gone. */
const GLANCE_MS = 1_000;
/** Of walls and guards. */
const WALLS_MS = 2_000;
/** The world is other people's servers, some of which count calls; walls are asked anew each time. */
const WORLD_MS = 30_000;

interface Seen {
  at: number;
  seq: number;
  planned: Plan;
  writes: readonly Glanced[];
}

/** One look, or one after another: what a look has found out need not be found out again. */
export class Eye {
  private readonly app: App;
  private readonly environment: string | undefined;
  /** by window: the last event that was told */
  private readonly told = new Map<string, number>();
  private readonly environments = new Set<string>();
  private readonly worlds = new Map<string, Seen>();
  private hosts: { reading?: VerbHost; writing?: VerbHost } = {};

  constructor(app: App, environment: string | undefined) {
    this.app = app;
    this.environment = environment;
  }

  /** What was recorded since the last call, of the windows that are or were live; of the first one nothing is told again. */
  async news(): Promise<Recorded[]> {
    const journal = await this.app.journal();
    const first = this.told.size === 0;
    const filter = this.environment === undefined ? {} : { environment: this.environment };
    for (const row of await journal.windows({ live: true, ...filter })) {
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

  /** The window that is not over; without --env the only one. */
  async one(): Promise<SeenWindow | SeenNone> {
    const live = await liveHere(this.app, this.environment);
    return live ? await this.window(live) : await this.none();
  }

  async all(): Promise<SeenWindow[] | SeenNone> {
    const windows = await allLive(this.app, this.environment);
    if (windows.length === 0) return await this.none();
    return await Promise.all(windows.map((live) => this.window(live)));
  }

  private async host(write: boolean): Promise<VerbHost> {
    return (this.hosts[write ? 'writing' : 'reading'] ??= await this.app.host(write));
  }

  private async window(live: WindowState): Promise<SeenWindow> {
    const lease = await actingOn(this.app, live.window.environment);
    try {
      const { prepared, state: found } = await this.app.prepareWindow(live, { lead: 'not looked at the world' });
      let state = found;
      if (!found.window.overdue && Date.parse(found.window.until) <= Date.now()) {
        const { markOverdue } = await import('../engine/verbs/extend.ts');
        state = await markOverdue(await this.host(true), prepared, found);
      }
      const host = await this.host(false);
      const [world, guards] = await Promise.all([
        this.world(host, prepared, state),
        lookAtGuards(host, prepared.steps, WALLS_MS),
      ]);
      const walls = wallsIn(prepared.steps, state.window, world);
      const seen = await this.around(host, prepared, state, world);
      const status = await statusOf(host, state, lease, prepared.steps, {
        look: {
          others: await otherHolders(lookingOf(host, prepared), walls, state.id),
          walls,
          guards: guards.map(({ guard, readOnly, problem }) => ({ guard, refuses: readOnly, why: problem ?? '' })),
        },
        planned: seen?.planned,
      });
      return { status, notes: [], guards: state.walls === 'closed' ? guards : [], writes: seen?.writes ?? [] };
    } catch (error) {
      if (!(error instanceof MaintError) || error.code === 'E_INTERRUPTED') throw error;
      const why = error.message.replace(/ Nothing changed\.$/, '');
      const status = await statusOf({ journal: await this.app.journal() }, live, lease, []);
      return {
        status,
        notes: [`${why} So this is what the journal says, and nobody looked at the world.`],
        guards: [],
        writes: [],
      };
    }
  }

  /** Everything while an open window is quiet; else the walls, and always anew. */
  private async world(host: VerbHost, { steps }: Prepared, state: WindowState): Promise<World> {
    const looking: Looking = { steps, clients: host.clients, signal: host.interrupt.signal, now: monotonicNow };
    const whole = isQuiet(state) && !this.isFresh(state);
    const ours = (id: string) => ofStep(state, id).size > 0;
    const wanted = (step: (typeof steps)[number]) => (isWall(step) ? state.phase === 'open' || ours(step.id) : whole);
    return await look(looking, state.window, state.owned, wanted, WALLS_MS);
  }

  private isFresh(state: WindowState): boolean {
    const seen = this.worlds.get(state.id);
    return seen !== undefined && seen.seq === state.lastSeq && monotonicNow() - seen.at < WORLD_MS;
  }

  /** Newcomers, drift and what the checks can tell at once, of an open window on which nobody acts. */
  private async around(
    host: VerbHost,
    { steps }: Prepared,
    state: WindowState,
    world: World,
  ): Promise<Seen | undefined> {
    if (!isQuiet(state)) return undefined;
    if (this.isFresh(state)) return this.worlds.get(state.id);
    const looking: Looking = { steps, clients: host.clients, signal: host.interrupt.signal, now: monotonicNow };
    const [planned, writes] = await Promise.all([
      plan(looking, state.window, state, ['open'], { rights: false, world }),
      state.walls === 'closed' ? glance(host, steps, state, GLANCE_MS) : [],
    ]);
    const seen = { at: monotonicNow(), seq: state.lastSeq, planned, writes };
    this.worlds.set(state.id, seen);
    return seen;
  }

  /** Nothing is open here. Where a runbook is found its flags are asked: another state may hold the environment. */
  private async none(): Promise<SeenNone> {
    const { address } = await this.app.journal();
    const last = await lastWindow(this.app, this.environment);
    const seen: SeenNone = {
      environment: this.environment,
      meant: last === undefined ? await meantEnvironment(this.app, this.environment) : undefined,
      elsewhere: [`state: ${address}`, ...(last?.handed ? [handedLine(last, last.handed)] : [])],
      ...{ asked: false, holders: [], notAsked: [], left: undefined, last: last?.handed ? undefined : last?.id },
    };
    if (last?.left.some(({ wall }) => wall === true)) seen.left = await this.leftWall(last);
    return { ...seen, ...(await this.holders(last)) };
  }

  /** Of a window that is over: whether the walls that were given up still refuse writes. */
  private async leftWall(last: WindowState): Promise<SeenNone['left']> {
    const id = last.id;
    try {
      const { prepared } = await this.app.prepareWindow(last, { lead: 'the wall cannot be asked' });
      const { steps } = prepared;
      const { clients, interrupt } = await this.host(false);
      const looking: Looking = { steps, clients, signal: interrupt.signal, now: monotonicNow };
      const left = new Set(last.left.filter(({ wall }) => wall === true).map(({ step }) => step));
      const world = await look(looking, last.window, new Map(), (step) => left.has(step.id), WALLS_MS);
      const is = truth(last, { walls: wallsIn(steps, last.window, world), guards: [] }, Date.now());
      return is.writes === 'open' ? undefined : { window: id, writes: is.writes, what: is.what };
    } catch (error) {
      if (!(error instanceof MaintError) || error.code === 'E_INTERRUPTED') throw error;
      return { window: id, writes: 'unknown', what: error.message };
    }
  }

  private async holders(last: WindowState | undefined): Promise<Partial<SeenNone>> {
    try {
      const { environment, steps } = await this.flags(last);
      const { clients, interrupt } = await this.host(false);
      const looking: Looking = { steps, clients, signal: interrupt.signal, now: monotonicNow };
      const seen = await holdersSeen(looking, WALLS_MS);
      return {
        environment,
        asked: true,
        holders: seen.holders.filter((holder) => holder.environment === environment),
        notAsked: seen.notAsked,
      };
    } catch (error) {
      if (!(error instanceof MaintError) || error.code === 'E_INTERRUPTED') throw error;
      // Without a runbook there is nothing to ask; one that cannot be read or resolved is said.
      if (error.code === 'E_NO_RUNBOOK' || error.code === 'E_NO_FILE') return {};
      return { asked: true, notAsked: [{ step: 'runbook', why: error.message.replace(/ Nothing changed\.$/, '') }] };
    }
  }

  /** The steps that name holders, of the runbook that is found here, else of the last window of this state. */
  private async flags(last: WindowState | undefined): Promise<{ environment: string; steps: Prepared['steps'] }> {
    const choice = { runbook: undefined, environment: this.environment, only: [], skip: [] };
    const runbook = await this.app.runbook(choice).catch(async (error: unknown) => {
      if (!(error instanceof MaintError) || error.code !== 'E_NO_RUNBOOK' || !last) throw error;
      return await this.app.storedRunbook(last);
    });
    const lead = 'the flag cannot be asked';
    const steps = await this.app.some(
      runbook,
      ({ plugin }) => plugin.kind === 'resource' && plugin.holders !== undefined,
      lead,
    );
    return { environment: runbook.environment, steps };
  }
}

function isQuiet(state: WindowState): boolean {
  return state.reached && state.phase === 'open';
}
