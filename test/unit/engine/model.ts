// The window as it was designed, in as few words as can be, beside the real engine: commands at random, by two people
// on two laptops, which crash, sleep, overtake each other and have wrong clocks, while others edit what is there.
import fc from 'fast-check';
import { label, stillOurs, type WindowState } from '../../../src/engine/window.ts';
import { AHEAD_MS, EXTEND_MS, type Fault, type Ran, Team, type Verb, WINDOW_MS } from '../../support/team.ts';
import { seeded } from '../../support/virtual-time.ts';

export type Command =
  | { do: Verb; laptop: 0 | 1; fault?: Fault | undefined }
  | { do: 'pass'; ms: number }
  | { do: 'set clock'; laptop: 0 | 1; ms: number }
  /** somebody else: a new job, one removed, one switched on or off, a holder that comes or goes, a silence that ends */
  | { do: 'edit'; what: 'add' | 'remove' | 'flip' | 'holder' | 'silence'; pick: number };

const MINUTE = 60_000;
const laptop = fc.constantFrom<0 | 1>(0, 1);
const verb = fc.constantFrom<Verb>(
  'announce',
  'start',
  'start',
  'extend',
  'note',
  'end',
  'end',
  'abort',
  'leave',
  'look',
);
const at = fc.integer({ min: 1, max: 70 });
const fault: fc.Arbitrary<Fault | undefined> = fc.oneof(
  { weight: 5, arbitrary: fc.constant(undefined) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('crash' as const), at }) },
  {
    weight: 2,
    arbitrary: fc.oneof(
      fc.record({ kind: fc.constant('sleep' as const), at, ms: fc.constantFrom(4000), mono: fc.constant(true) }),
      fc.record({
        kind: fc.constant('sleep' as const),
        at,
        ms: fc.constantFrom(4000, 3_600_000),
        mono: fc.constant(false),
      }),
    ),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('taken over' as const), at, by: verb, mono: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('jump' as const), at, ms: fc.constantFrom(-60 * MINUTE, 60 * MINUTE) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('broken' as const), at: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 1, arbitrary: fc.constant<Fault>({ kind: 'down' }) },
);
export const commands: fc.Arbitrary<Command[]> = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: fc.record({ do: verb, laptop, fault }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('pass' as const),
        ms: fc.constantFrom(1000, 7000, 20 * MINUTE, 90 * MINUTE),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        ...{ do: fc.constant('set clock' as const), laptop },
        ms: fc.constantFrom(0, 0, 30_000, -45_000, 5 * MINUTE, -60 * MINUTE, 60 * MINUTE),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        ...{ do: fc.constant('edit' as const), pick: fc.nat(9) },
        what: fc.constantFrom(
          'add' as const,
          'remove' as const,
          'flip' as const,
          'holder' as const,
          'silence' as const,
        ),
      }),
    },
  ),
  { minLength: 1, maxLength: 25, size: 'max' },
);

/** Beyond this a laptop may not promise anything. */
const SKEW_MS = 60_000;

type Stage = 'announced' | 'open' | 'soaking' | 'closed' | 'aborted';
interface Cron {
  /** what it must be when nobody of ours holds it */
  theirs: boolean;
  /** `drifted`: ours, but somebody switched it on again: it is left */
  held: 'no' | 'yes' | 'drifted';
}

/** What is believed of the window. Nothing here knows of steps, intents or events. */
class Model {
  window:
    | {
        id: string;
        stage: Stage;
        whole: boolean;
        over: boolean;
        behind?: boolean;
        doubt?: boolean;
        failed: boolean;
        until: number;
        plan: number;
      }
    | undefined;
  crons = new Map<string, Cron>([
    ['reindex', { theirs: true, held: 'no' }],
    ['report', { theirs: true, held: 'no' }],
    ['old', { theirs: false, held: 'no' }],
  ]);
  holders = new Set(['w-other']);
  silenceGone = false;
  /** of some write nobody knows yet whether it arrived */
  unsure = false;
  /** ours, and removed by somebody else */
  gone = new Set<string>();

  get live() {
    return this.window && !this.window.over ? this.window : undefined;
  }
  get held(): Cron[] {
    return [...this.crons.values()].filter((cron) => cron.held !== 'no');
  }
  /** would be switched off by a converge to `open` */
  get newcomers(): Cron[] {
    return [...this.crons.values()].filter((cron) => cron.held === 'no' && cron.theirs);
  }

  label(now: number): string {
    const window = this.window!;
    const { stage, whole, behind, failed, until } = window;
    if (!whole || (behind && stage !== 'soaking')) {
      if (!failed || whole) return 'interrupted';
      return stage === 'open' ? 'held' : stage === 'announced' ? 'interrupted' : 'needs a human';
    }
    if (stage === 'announced') return 'scheduled';
    if (stage === 'open') return until <= now ? 'overdue' : 'open';
    return stage === 'soaking' ? 'soak unattended' : stage;
  }

  freeze(): void {
    for (const cron of this.newcomers) cron.held = 'yes';
  }
  release(): void {
    for (const cron of this.crons.values()) {
      if (cron.held === 'drifted') cron.theirs = true;
      cron.held = 'no';
    }
    this.silenceGone = false;
    this.gone.clear();
  }
}

/** What a verb may do to the phase; the last one is where it goes when nothing is in its way. */
function way(verb: Verb, stage: Stage | undefined): Stage[] {
  if (stage === undefined) return verb === 'start' ? ['open'] : verb === 'announce' ? ['announced'] : [];
  const ended = stage === 'closed' || stage === 'aborted';
  if (verb === 'start') return ended ? [] : stage === 'open' ? ['open'] : [stage, 'open'];
  if (verb === 'announce') return stage === 'announced' ? ['announced'] : [];
  if (verb === 'extend' || verb === 'note') return ended ? [] : [stage];
  // what was only announced is cancelled
  if (verb === 'end' && stage === 'announced') return [stage, 'aborted'];
  if (verb === 'end') return ended ? [stage] : [stage, 'soaking', 'closed'];
  if (verb === 'abort') return stage === 'closed' ? ['closed'] : [stage, 'aborted'];
  return [stage];
}

/** Runs one sequence; returns what is wrong, or undefined. */
export async function play(
  sequence: readonly Command[],
  seed: number,
  count?: (what: string) => void,
): Promise<string | undefined> {
  const random = Math.random;
  Math.random = seeded(seed);
  using team = new Team();
  try {
    const model = new Model();
    for (const [n, command] of sequence.entries()) {
      const wrong = (await step(team, model, command, n, count)) ?? team.wrong[0] ?? (await always(team, model));
      if (wrong) return `command ${n} ${JSON.stringify(command)}: ${wrong}`;
    }
    return undefined;
  } finally {
    Math.random = random;
  }
}

async function step(
  team: Team,
  model: Model,
  command: Command,
  n: number,
  count?: (what: string) => void,
): Promise<string | undefined> {
  if (command.do === 'pass') {
    team.time.now += command.ms;
    return undefined;
  }
  if (command.do === 'set clock') {
    team.laptops[command.laptop]!.wall = command.ms;
    return undefined;
  }
  if (command.do === 'edit') {
    edit(team, model, command.what, command.pick, n);
    return undefined;
  }
  const begun = team.time.now;
  const wasFired = team.fired;
  const off = Math.abs(team.laptops[command.laptop]!.wall) > SKEW_MS;
  const ran = await team.run(command.laptop, command.do, command.fault);
  count?.(team.fired > wasFired ? `${command.do}, ${command.fault?.kind}` : command.do);
  if (!ran.cut && !ran.other)
    return await after(team, model, command.do, command.fault?.kind === 'down', off, ran, begun);
  const before = team.time.now;
  if (ran.cut) {
    const wrong = await adopt(team, model, [command.do, ...(ran.other ? [ran.other.verb] : [])], begun);
    if (wrong || !ran.other) return wrong;
    // what came after was whole, and the world is what that verb leaves
    return ran.other.ran.exit === undefined ? `${ran.other.verb} was cut` : undefined;
  }
  // It was overtaken when it had nothing left to write, or before the other could do anything.
  return await adopt(team, model, [command.do, ran.other!.verb], begun, before);
}

/** A verb came to its end. */
async function after(
  team: Team,
  model: Model,
  verb: Verb,
  down: boolean,
  off: boolean,
  ran: Ran,
  begun: number,
): Promise<string | undefined> {
  const { live } = model;
  const expect = (exit: number, why: string) =>
    ran.exit === exit
      ? undefined
      : `ended with ${ran.exit} ${ran.code ?? ''}, not ${exit} (${why}): ${(ran.error as Error | undefined)?.message ?? ''}`;
  const promises = verb === 'start' || verb === 'announce' || verb === 'extend' || verb === 'note';
  if (live === undefined && verb !== 'start' && verb !== 'announce') return expect(0, 'nothing to do');
  // half-way through its end there is no end to move
  const halfOpen = verb === 'extend' && live?.stage === 'soaking' && !live.whole;
  const allowed = halfOpen ? [] : way(verb, live?.stage);
  if (verb === 'look') {
    return expect(0, 'looking');
  }
  if (allowed.length === 0) {
    if (verb !== 'start' && verb !== 'announce' && off) return expect(66, 'its clock is off');
    return expect(verb === 'start' || verb === 'announce' ? 69 : 66, 'not in this phase');
  }
  if (off && promises) return expect(66, 'its clock is off');
  const state = await team.state();
  const now = team.time.now;
  const within = (until: number, ms: number) => until >= begun + ms && until <= now + ms;

  if (verb === 'leave') {
    // of a write that was cut off nobody knows; it counts as ours
    const doubt = live!.doubt === true && ran.exit === 0;
    if (model.held.length + model.gone.size === 0 && !doubt) return expect(64, 'nothing of it is ours');
    for (const [name, cron] of model.crons) {
      if (cron.held === 'no') continue;
      cron.theirs = team.world.crons[name]!.active;
      cron.held = 'no';
    }
    live!.failed = false;
    model.gone.clear();
    const wrong = expect(0, 'left behind');
    if ((live!.stage === 'closed' || live!.stage === 'aborted') && stillOurs(state!).length === 0)
      done(model, live!.stage);
    return wrong ?? settled(team, model, state!);
  }

  const toHold = model.newcomers.length > 0;
  if (verb === 'start') {
    const stage = live?.stage;
    const wasOpen = live?.whole === true && stage !== 'announced';
    if (!live || stage === 'announced') {
      const until = Date.parse(state!.window.until);
      if (!within(until, WINDOW_MS)) return `until ${state!.window.until} is not in ${WINDOW_MS} ms`;
      if (live && state!.id !== live.id) return 'the announced window was not adopted';
      model.window = { id: state!.id, stage: 'open', whole: false, over: false, failed: false, until, plan: WINDOW_MS };
    } else if (stage === 'soaking') {
      const until = Date.parse(state!.window.until);
      if (until !== live.until && !within(until, live.plan)) return `refreeze: until ${state!.window.until}`;
      Object.assign(live, { stage: 'open', whole: false, until });
    }
    const window = model.window!;
    if (down && toHold) {
      if (wasOpen) {
        Object.assign(window, { failed: true, behind: false });
        return expect(68, 'the crons refuse, and it was open') ?? settled(team, model, state!);
      }
      window.stage = 'aborted';
      return await undone(team, model, expect, 'the crons refuse');
    }
    model.freeze();
    Object.assign(window, { whole: true, failed: false, behind: false });
    return expect(0, 'start') ?? settled(team, model, state!);
  }
  if (verb === 'announce') {
    const until = Date.parse(state!.window.until);
    if (!within(until, AHEAD_MS + WINDOW_MS)) return `announced until ${state!.window.until}`;
    if (live && state!.id !== live.id) return 'moved into another window';
    model.window = {
      id: state!.id,
      stage: 'announced',
      whole: true,
      over: false,
      failed: false,
      until,
      plan: WINDOW_MS,
    };
    return expect(0, 'announce') ?? settled(team, model, state!);
  }
  if (verb === 'note') return expect(0, 'note') ?? settled(team, model, state!);
  if (verb === 'extend') {
    const until = Date.parse(state!.window.until);
    if (until !== live!.until + EXTEND_MS && !within(until, EXTEND_MS)) return `extended to ${state!.window.until}`;
    live!.until = until;
    live!.behind = false;
    if (live!.stage === 'open' && down && toHold) {
      live!.failed = true;
      return expect(68, 'the crons refuse') ?? settled(team, model, state!);
    }
    if (live!.stage === 'open') model.freeze();
    Object.assign(live!, { whole: true, failed: false });
    return expect(0, 'extend') ?? settled(team, model, state!);
  }
  // end and abort
  live!.stage = allowed.at(-1)!;
  live!.behind = false;
  if (down) return await undone(team, model, expect, 'the crons refuse', 0);
  done(model, live!.stage);
  return expect(0, verb) ?? settled(team, model, state!);
}

function done(model: Model, stage: Stage): void {
  Object.assign(model.window!, { stage, whole: true, over: true, failed: false });
  model.release();
}

/** The way back with crons that cannot be written: what is held stays, everything else is as it was. */
async function undone(
  team: Team,
  model: Model,
  expect: (exit: number, why: string) => string | undefined,
  why: string,
  clean = 67,
): Promise<string | undefined> {
  const state = (await team.state())!;
  model.window!.behind = false;
  for (const cron of model.crons.values()) {
    if (cron.held === 'drifted') Object.assign(cron, { held: 'no', theirs: true });
  }
  if (model.held.length > 0) {
    Object.assign(model.window!, { whole: false, failed: true });
    return expect(68, why) ?? settled(team, model, state);
  }
  done(model, model.window!.stage);
  return expect(clean, why) ?? settled(team, model, state);
}

/** Label, ownership and world of a window whose last verb came to its end. */
function settled(team: Team, model: Model, state: WindowState): string | undefined {
  const window = model.window!;
  model.unsure = isUnsure(state);
  const said = label(state, false, team.time.now);
  if (said !== model.label(team.time.now)) return `is ${said}, not ${model.label(team.time.now)}`;
  if (Date.parse(state.window.until) !== window.until) return `until ${state.window.until}`;
  return window.whole && !window.behind ? whole(team, model, state) : undefined;
}

function isUnsure(state: WindowState): boolean {
  return stillOurs(state).some(({ owned }) => owned.unknown !== undefined);
}

function whole(team: Team, model: Model, state: WindowState): string | undefined {
  const { world } = team;
  const { id, stage, until } = model.window!;
  const at = new Date(until).toISOString();
  for (const [name, cron] of model.crons) {
    const active = world.crons[name]?.active;
    const wanted = cron.held === 'yes' ? false : cron.held === 'drifted' ? true : cron.theirs;
    if (active !== wanted) return `cron ${name} is ${active}, not ${wanted} (${cron.held})`;
  }
  const holder = world.holders[id];
  if (stage === 'open' ? holder?.until !== at : holder) return `our holder is ${JSON.stringify(holder)} in ${stage}`;
  const [incident] = world.incidents.filter((one) => one.window === id);
  const status = {
    announced: 'scheduled',
    open: 'in_progress',
    soaking: 'verifying',
    closed: 'completed',
    aborted: 'completed',
  }[stage];
  if ((stage === 'announced' || stage === 'open') && !incident) return `nobody was told in ${stage}`;
  if (incident && incident.status !== status) return `the page says ${incident.status} in ${stage}`;
  if (incident && (stage === 'announced' || stage === 'open') && incident.until !== at)
    return `the page promises ${incident.until}, not ${at}`;
  const silence = world.silences.find((one) => one.window === id && !one.expired);
  const silent = (stage === 'open' || stage === 'soaking') && !model.silenceGone;
  if (stage !== 'soaking' && silent !== (silence !== undefined))
    return `silenced: ${silence !== undefined} in ${stage}`;
  if (stage === 'open' && silence && silence.endsAt !== at) return `silent until ${silence.endsAt}`;
  const ours = new Map(stillOurs(state).flatMap((one) => (one.step === 'crons' ? [[one.id, one.owned] as const] : [])));
  const held = [...[...model.crons].filter(([, cron]) => cron.held !== 'no').map(([name]) => name), ...model.gone];
  const missing = held.find((name) => !ours.has(name));
  if (missing !== undefined) return `cron ${missing} is held, and not known as ours`;
  // of a write that was cut off nobody knows yet, where the phase does not touch it
  const tooMany = [...ours].find(([name, one]) => !held.includes(name) && one.unknown === undefined);
  if (tooMany) return `cron ${tooMany[0]} counts as ours, and is not held`;
  if ((stage === 'closed' || stage === 'aborted') && stillOurs(state).length > 0) return 'something is still ours';
  return undefined;
}

/** A verb was cut off somewhere: it must have gone a part of its way, and no other. */
async function adopt(
  team: Team,
  model: Model,
  verbs: Verb[],
  begun: number,
  _after?: number,
): Promise<string | undefined> {
  const state = await team.state();
  const [row] = await team.rows();
  const was = model.live;
  let stages = new Set<Stage | undefined>([was?.stage]);
  for (const verb of verbs) {
    const next = new Set(stages);
    for (const stage of stages) {
      // a window that is over makes room for a new one
      const ended = stage === 'closed' || stage === 'aborted';
      for (const one of way(verb, stage)) next.add(one);
      if (ended) for (const one of way(verb, undefined)) next.add(one);
    }
    stages = next;
  }
  if (!state || (state.id === model.window?.id && model.window.over)) return undefined;
  if (!stages.has(state.phase)) return `${verbs.join(', then ')} went from ${was?.stage} to ${state.phase}`;
  const until = Date.parse(state.window.until);
  const fresh = state.id !== was?.id;
  const promised = [
    EXTEND_MS,
    2 * EXTEND_MS,
    WINDOW_MS,
    WINDOW_MS + EXTEND_MS,
    AHEAD_MS + WINDOW_MS,
    AHEAD_MS + WINDOW_MS + EXTEND_MS,
  ];
  const near = (from: number, to: number) => promised.some((ms) => until >= from + ms && until <= to + ms);
  if (until !== was?.until && !(was && near(was.until, was.until)) && !near(begun, team.time.now))
    return `until became ${state.window.until}`;
  model.window = {
    ...{
      id: state.id,
      stage: state.phase,
      whole: state.reached,
      over: !row!.live,
      failed: state.failures.size > 0,
      until,
    },
    behind: state.behind,
    plan: Date.parse(state.window.plannedUntil) - Date.parse(state.window.since),
  };
  // the one before came to its end: only one can be open
  if (fresh) model.release();
  const ended = state.phase === 'closed' || state.phase === 'aborted';
  const mayHold = ['open', 'soaking', 'closed', 'aborted'].includes(state.phase);
  const owned = state.owned.get('crons');
  for (const [name, cron] of model.crons) {
    const active = team.world.crons[name]?.active;
    if (verbs.includes('leave') && (cron.held !== 'no' || active !== cron.theirs) && !owned?.has(name)) {
      Object.assign(cron, { held: 'no', theirs: active });
      continue;
    }
    const visible = cron.held === 'yes' ? false : cron.held === 'drifted' ? true : cron.theirs;
    if (cron.held === 'drifted' && ended && !owned?.has(name)) Object.assign(cron, { held: 'no', theirs: true });
    else if (active === visible) continue;
    else if (!active && mayHold && verbs.some((verb) => verb === 'start' || verb === 'extend')) cron.held = 'yes';
    else if (active && cron.theirs && ended) cron.held = 'no';
    else return `cron ${name} is ${active} (${cron.held}) after ${verbs.join(', then ')} was cut off in ${state.phase}`;
  }
  for (const name of model.gone) if (!owned?.has(name)) model.gone.delete(name);
  model.unsure = isUnsure(state);
  model.window.doubt = [...(owned?.keys() ?? [])].some((name) => model.crons.get(name)?.held === 'no');
  if (model.window.over || (ended && state.reached)) {
    if (!state.reached) return 'over, but not whole';
    model.release();
  }
  return model.window.whole && !model.window.behind ? whole(team, model, state) : undefined;
}

function edit(team: Team, model: Model, what: string, pick: number, n: number): void {
  const { world } = team;
  // Of a write without outcome nobody can tell whose it was: others keep off what may be under way.
  const quiet = !model.live || (model.live.whole && !model.live.behind && !model.unsure);
  const names = [...model.crons.keys()];
  const name = names[pick % Math.max(1, names.length)];
  if (what === 'add') {
    world.crons[`job-${n}`] = { active: true };
    model.crons.set(`job-${n}`, { theirs: true, held: 'no' });
  } else if (what === 'remove' && name !== undefined && quiet) {
    delete world.crons[name];
    if (model.crons.get(name)!.held !== 'no') model.gone.add(name);
    model.crons.delete(name);
  } else if (what === 'flip' && name !== undefined && quiet) {
    const cron = model.crons.get(name)!;
    world.crons[name]!.active = !world.crons[name]!.active;
    if (cron.held === 'no') cron.theirs = !cron.theirs;
    else cron.held = cron.held === 'yes' ? 'drifted' : 'yes';
  } else if (what === 'holder') {
    const id = `w-theirs-${pick % 2}`;
    if (model.holders.delete(id)) delete world.holders[id];
    else {
      model.holders.add(id);
      world.holders[id] = { until: '2030-01-01T00:00:00.000Z', environment: 'other' };
    }
  } else if (what === 'silence' && quiet) {
    const silence = world.silences.find((one) => one.window === model.live?.id && !one.expired);
    if (silence) Object.assign(silence, { expired: true });
    if (silence) model.silenceGone = true;
  }
}

/** What holds at any time, also in the middle of a crash. */
async function always(team: Team, model: Model): Promise<string | undefined> {
  const rows = await team.rows();
  if (rows.filter((row) => row.live).length > 1) return 'two windows are open';
  const { world } = team;
  for (const { id } of rows) {
    if (world.incidents.filter((one) => one.window === id).length > 1) return 'two incidents of one window';
    if (world.silences.filter((one) => one.window === id && !one.expired).length > 1)
      return 'two silences of one window';
  }
  const others = Object.keys(world.holders).filter((id) => !rows.some((row) => row.id === id));
  if (others.sort().join() !== [...model.holders].sort().join())
    return `others hold ${others}, not ${[...model.holders]}`;
  if (rows[0] && !rows[0].live && Object.keys(world.holders).length > others.length)
    return 'a holder of a window that is over';
  const state = await team.state();
  return state && model.window?.id !== state.id ? `window ${state.id} came out of nowhere` : undefined;
}
