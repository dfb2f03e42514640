// The step contract. A plugin says what is and what should be; everything else (dry run, retries, undo, resume,
// journalling, progress) is derived from that by converge, so that no plugin can get it wrong by itself.
import type { z } from 'zod';
import { brand } from '../errors/brand.ts';
import type { Prober, Reader, Writer } from './io.ts';

export type Phase = 'announced' | 'open' | 'soaking' | 'closed' | 'aborted';
/** `lever`: what may be rolled back (a pointer, a feature's flag). Nothing holds it but its being pulled. */
export type Role = 'wall' | 'cache' | 'notice' | 'work' | 'mute' | 'lock' | 'lever';
/** Where a wall stands, from the outside in: a gateway, the services themselves, a datastore. */
export type Layer = 'edge' | 'service' | 'store';
/** When an action runs: the walls have closed, they have opened, the window is closed. */
export type Edge = 'open' | 'reopen' | 'closed';
/**
 * When a check runs: before the first write, walls up, on demand, just before the walls open, during the soak.
 * - `glance` is for `status` while writes are refused: one look that waits for nothing, and is not journalled.
 * - `reopen` holds the walls: it notes where things stand, and waits for nothing.
 * - `audit` follows once the walls are open, beside the soak: it tells what happened between `open` and `reopen`.
 */
export type Moment = 'before' | 'open' | 'now' | 'glance' | 'reopen' | 'audit' | 'soaking';

/** What every plugin may know of a window. Times are RFC 3339, UTC. No clock: time enters by events only. */
export interface Window {
  id: string;
  environment: string;
  /** the time of the `opened` event */
  since: string;
  until: string;
  /** `until` as it was first promised; extend moves only `until` */
  plannedUntil: string;
  reason: string;
  ticket?: string | undefined;
  contact: string;
  statusPage?: string | undefined;
  rollbackPlan?: string | undefined;
  /** the runbook's own words for once it takes longer than planned */
  overdueNotice?: string | undefined;
  onExpiry: 'hold' | 'open';
  overdue: boolean;
  /** the last `maint note` */
  note?: string | undefined;
  /** user@host */
  by: string;
  /** the state that acts on it, where it was carried to another one: stands in the flag */
  carrier?: string | undefined;
  /** when the last wall had opened again; absent while any wall is closed */
  reopened?: string | undefined;
  surfaces: readonly Surface[];
}

export type SurfaceKind = 'http' | 'graphql' | 'vector' | 'kv' | 'tool' | 'job';
export type Disposition = 'refuse' | 'buffer' | 'drop' | 'pass';
/** What makes somebody's session: `runbook check` knows what a window does to them. */
export type SurfacePurpose = 'login' | 'logout' | 'token_refresh' | 'password_reset';
/** Where a value of a request is: a parameter of the surface's path, or a header. */
export type RequestPart = { param: string } | { header: string };

/** One way to write, as `surfaces.yaml` names it. The keys are the file's own: a guard takes the same object. */
export interface Surface {
  name: string;
  kind: SurfaceKind;
  match: {
    methods?: readonly string[];
    path?: string;
    /** GraphQL: which operations write */
    operations?: readonly string[];
    /** calls that the service wraps; a final * is a prefix */
    names?: readonly string[];
  };
  /** `pass`: it reads, whatever its method looks like (a search by POST), or must work during a window */
  disposition: Disposition;
  /** 503 or 423; `drop` also 204 */
  status: number;
  /** buffer: writes with the same value are applied in their order */
  order?: RequestPart;
  /** buffer: whose key it is */
  tenant?: RequestPart;
  /** buffer: `header`: no Idempotency-Key is an error; `content`: one is derived */
  key?: 'header' | 'content';
  credential?: 'service';
  keep_headers?: readonly string[];
  /** buffer: names, in lower case, that look like a credential's and are not */
  not_credentials?: readonly string[];
  max_bytes?: number;
  owner?: string;
  purpose?: SurfacePurpose;
  canary?: { method: string; path: string; body?: unknown; headers?: Record<string, string> | undefined } | undefined;
}

/** null: the thing is not there. */
export type Is<S> = S | null;

/** It could not be seen, and why. Never treated as "not there". */
export class Unknown {
  readonly why: string;
  /** the observation was refused (rights, credentials): start refuses; otherwise start asks again when it gets there */
  readonly refused: boolean;
  constructor(why: string, refused = false) {
    this.why = why;
    this.refused = refused;
  }
}
brand(Unknown, 'Unknown');

/**
 * What observe() saw of one thing. The engine parses `state` with State: what is no State (a captive portal answered) is
 * "cannot tell".
 */
export interface Seen {
  /** null: the thing is not there */
  state: unknown;
  /** Handed on to write() in the same process, never stored: an ETag, a file as it was read, the document around the thing. */
  handle?: unknown;
}

/** What everything that only looks may know beside the params. */
export interface At<S> {
  phase: Phase;
  window: Window;
  /** what is ours now, by id: `before` our first write, `after` our last one */
  owned: ReadonlyMap<string, { before: Is<S>; after: Is<S> }>;
}

/** desired(): leave it as it is. */
export const LEAVE: unique symbol = Symbol.for('maint.LEAVE') as never;

/** Thrown by desired() or observe(): start refuses (66) before anything is written. `next` is a command or an instruction. */
export class Refusal extends Error {
  readonly next: string | undefined;
  constructor(message: string, next?: string) {
    super(message);
    this.name = 'Refusal';
    this.next = next;
  }
}
brand(Refusal, 'Refusal');

/** Thrown by write(): nothing was written, the world is not `from` any more. The engine observes and decides again. */
export class Stale extends Error {
  constructor(message = 'changed by somebody else meanwhile') {
    super(message);
    this.name = 'Stale';
  }
}
brand(Stale, 'Stale');

export interface Situation<P, S> {
  phase: Phase;
  /** whether this step's role (and the runbook's `release:`) holds the thing in this phase */
  held: boolean;
  window: Window;
  params: P;
  id: string;
  now: Is<S>;
  /** the state before our first write since we last released the thing; undefined: we do not own it */
  before: Is<S> | undefined;
}

export interface Change<S> {
  id: string;
  from: Is<S>;
  to: Is<S>;
  /** in write() only: what observe() gave with `from` */
  handle?: unknown;
}

/** The default notes of a resource: "7 suspended · 1 kept (heartbeat)", "7 resumed". */
export interface Words<P, S> {
  /** in a plan, e.g. "to suspend" */
  toHold: string;
  /** e.g. "suspended" */
  held: string;
  /** in the plan of an end, e.g. "to resume" */
  toRelease: string;
  /** e.g. "resumed" */
  released: string;
  /** there is only ever one thing: its number goes without saying */
  single?: true;
  /** what goes on by the runbook's own word */
  kept?(id: string, params: P): boolean;
  /** how people call it; default: its id */
  name?(id: string): string;
  /** what comes after these */
  more?(context: NoteContext<P, S>): string[];
}

/** One reason for which the system is read-only, as the flag shows it. `id` is a window's id, and the resource's. */
export interface Holder {
  id: string;
  environment: string;
  since: string;
  until: string;
  reason: string;
  /** as a State of the resource, for removing an orphan */
  state: Record<string, unknown>;
}

export interface NoteContext<P, S> {
  params: P;
  phase: Phase;
  window: Window;
  seen: ReadonlyMap<string, Is<S> | Unknown>;
  /** what will be written (`when: 'plan'`) or has been written in this phase (`when: 'done'`) */
  changes: readonly Change<S>[];
  /** what we own: `before` our first write, `after` our last one */
  owned: ReadonlyMap<string, { before: Is<S>; after: Is<S> }>;
  when: 'plan' | 'done';
}

interface Plugin<P> {
  /** `family/backend`; a family with one backend only may be just `family` */
  name: string;
  /** Walls, and checks that have their place among them: walls close from the edge to the store. */
  layer?: Layer | ((params: P) => Layer);
  summary: string;
  /** how long it may take where the runbook does not say, in milliseconds; default 30 s */
  deadlineMs?: number;
  /** zod strictObject; secrets are marked with secret() */
  Params: z.ZodType<P>;
  /** `with:` of the example that `maint steps` prints */
  example: Record<string, unknown>;
  /** The outer thing it talks to, free of secrets ("redis localhost:6379 maint:read_only"): shown in plans, and two steps with the same plugin, address and resource id are refused. */
  address(params: P): string;
  /** What would be closed by this wall ("postgres db.internal:5432/app"), to keep journal and flag outside the walls. */
  closes?(params: P): readonly string[];
  /** What must take writes while the walls are closed ("postgres queue.internal:5432/app"): it stands outside them, too. */
  keeps?(params: P): readonly string[];
  /**
   * The server behind the address, whatever name it is reached by ("postgres cluster 7212…"): what one step closes or
   * watches must not be where another one keeps something. undefined: there is none that could be the same.
   */
  server?(io: Reader, params: P): Promise<string | undefined>;
  /**
   * What is missing so that the step can do its work, in words; [] = nothing. Beside `allowed`, which asks for rights:
   * here a guard answers, a script can be started. Called at plan and by `maint doctor`; only reads.
   */
  usable?(io: Reader, params: P): Promise<string[]>;
  /** How observe, allowed and usable ask, for `maint doctor`: "GET, ACL dry run". Default: "looked at". */
  asks?: string;
}

export interface Resource<P = any, S = any> extends Plugin<P> {
  kind: 'resource';
  role: Role;
  /** role as a param: only `command` */
  roleOf?(params: P): Role;
  /** What it does is not known to us, nor what that needs: nothing else goes on beside it. */
  alone?: true;
  /** Its words carry the window's note and end, so that it follows both. Default: notices only. */
  tells?: true;
  /** zod strictObject: what gets journalled and compared; never a secret in it */
  State: z.ZodType<S>;
  /** set by the server (ids, versions): journalled, used for compare-and-set, never compared, never drift */
  computed?: readonly (keyof S & string)[];
  /** what stays behind by design; absent: the end must equal the beginning */
  leaves?: string;
  /** how many changes one write may carry; default 1 */
  batch?: number;
  /** how many writes of this step may be under way at once; default 8 */
  concurrency?: number;
  /** A write ends with the process that made it (files of this machine): an outcome left unknown by a dead process on this machine is decided at once. */
  local?: boolean;
  /** Its id is our mark: what stands there is ours whatever somebody edited in it, and the end takes it away all the same. */
  marked?: boolean;
  /** Its end is something that readers must find, so it is written also where ours has vanished meanwhile. */
  saysEnded?: boolean;
  /**
   * How a lost update is prevented. `server`: the service compares, and write() throws Stale where it refuses. `look`:
   * it cannot, so a look comes right before each write, with nothing but the journal's append in between, and the engine
   * goes on only where every `from` is still there.
   */
  compare: 'server' | 'look';
  /** What is there, by id: the smallest things that two people could own. What could not be seen is an Unknown. */
  observe(io: Reader, params: P, at: At<S>): Promise<Map<string, Seen | Unknown>>;
  /** pure, no clock */
  desired(situation: Situation<P, S>): Is<S> | typeof LEAVE;
  /**
   * Walls: does this state refuse writes? An edit that keeps the wall closed is drift; one that opens it is closed again
   * by the next start, extend or note. Default: only the desired state is closed.
   */
  closed?(state: Is<S>, params: P): boolean;
  /** Returns the states that are there now, in the order of `changes` (server ids!). Throws Stale when the world moved. */
  write(io: Writer, params: P, changes: readonly Change<S>[], window: Window): Promise<Is<S>[]>;
  /**
   * Asked of a write whose outcome nobody knows: is `now` where it stopped half-way? Then it is ours, and is gone on
   * from or undone. Default: a write is done or not.
   */
  halfway?(from: Is<S>, to: Is<S>, now: Is<S>): boolean;
  /** Pure. What is written first has the lowest number; when it is let go the highest goes first. Default: any order. */
  order?(change: Change<S>): number;
  /** everybody who holds the same wall, us included: another window of the environment refuses start, and end names who is left */
  holders?(io: Reader, params: P): Promise<Holder[]>;
  /**
   * Pure. For `end --holder`, when the journal is lost: observe() was asked with the lost window and saw `now`. What was
   * there before our write, where `now` bears this window's mark and is what we write; undefined: nobody can tell.
   */
  markedBefore?(id: string, now: S): Is<S> | undefined;
  /** What is not in effect yet, in words; [] = settled. Asked after the writes of every phase, on the way back too. */
  inFlight?(io: Reader, params: P, at: At<S>): Promise<string[]>;
  /** the words of the default notes */
  words?: Words<P, S>;
  /** pure, in place of the default notes: what a person wants to know ("1 kept (heartbeat.sh)", an incident's address) */
  notes?(context: NoteContext<P, S>): string[];
  /** pure: how a plan lists one thing that would change ("etl.sh 0 3 * * *"). Absent: its number is enough */
  listed?(id: string, state: S): string;
  /** pure, once a step is done: what somebody should look at afterwards (a line that was edited meanwhile); counted as such */
  look?(context: NoteContext<P, S>): string[];
  /** would the server let us? Each missing right in words; [] = all there */
  allowed?(io: Reader, params: P, changes: readonly Change<S>[]): Promise<string[]>;
}

export interface ActionContext<P> {
  params: P;
  edge: Edge;
  window: Window;
  /** epoch milliseconds */
  deadline: number;
  poll: Poll;
  /** aborted as soon as the run is to end: what is under way may finish, nothing new begins */
  signal?: AbortSignal;
  /** the one line behind the spinner */
  progress?(text: string, of?: { done: number; total: number }): void;
}

/** What an action did: in words, what somebody should look at, and for the report (JSON, no secrets). */
export interface ActionDone {
  summary: string[];
  looks?: string[];
  data?: unknown;
}

/** Thrown by an action that did a part and cannot do the rest now. Journalled as failed, with what it did; it runs again. */
export class Unfinished extends Error {
  readonly next: string | undefined;
  readonly data: unknown;
  constructor(message: string, more: { next?: string; data?: unknown } = {}) {
    super(message);
    this.name = 'Unfinished';
    this.next = more.next;
    this.data = more.data;
  }
}
brand(Unfinished, 'Unfinished');

export interface Action<P = any> extends Plugin<P> {
  kind: 'action';
  role: Role;
  on: readonly Edge[];
  leaves?: string;
  /** what it means that an end was told to leave it out (`--skip`), and what to type */
  leftOut?: string;
  /** It runs before the walls close, and at the end before everything else of its role: a backfill. */
  ahead?: boolean;
  /** idempotent: after an unknown outcome it runs again. Returns what it did, in words. */
  run(io: Writer, context: ActionContext<P>): Promise<string[] | ActionDone>;
  allowed?(io: Reader, params: P): Promise<string[]>;
}

/**
 * Calls `attempt` every `everyMs` until it returns something, the deadline passes or the run is interrupted (throws).
 * undefined: the deadline passed. A check or an action never sleeps by itself.
 */
export type Poll = <T>(
  everyMs: number,
  attempt: () => Promise<T | undefined>,
  deadline?: number,
) => Promise<T | undefined>;

export interface CheckContext<P, E> {
  params: P;
  moment: Moment;
  window: Window;
  /** what this step returned at earlier moments of this window, latest last per moment */
  evidence: Partial<Record<Moment, E>>;
  /** epoch milliseconds; at `soaking` the end of the soak */
  deadline: number;
  /** epoch milliseconds, now; checks may measure, desired() may not */
  now(): number;
  poll: Poll;
  /** the one line behind the spinner */
  progress(text: string): void;
}

export interface CheckResult<E> {
  outcome: 'pass' | 'fail' | 'inconclusive' | 'unknown';
  /** one line: "0 rows in 11s, except heartbeat: 11 (allowed)" */
  summary: string;
  /** one line each: what was found, what a person should look at */
  findings: string[];
  /** What somebody should look at although the outcome is a pass: a write that was found. One line each. */
  looks?: string[] | undefined;
  /** JSON, no secrets; given back at the next moment */
  evidence: E;
}

export interface Check<P = any, E = any> extends Plugin<P> {
  kind: 'check';
  on: readonly Moment[];
  /** it watches reads during the soak; without any such check a soak says that nothing did */
  watches?: boolean;
  /** what a pass of it shows of the window: writes are refused, or nothing is written. The report's first page is made from it */
  proves?: 'refused' | 'unwritten';
  /** exactly what the prober may send, decided from the params and the surfaces alone */
  declares?(params: P, window: Window): readonly { method: string; url: string }[];
  /** what a person should know before it runs, from the params and the surfaces alone: a canary that might write */
  doubts?(params: P, window: Window): string[];
  /** `prober` is absent in a dry run, and where nothing was declared */
  check(io: Reader, context: CheckContext<P, E>, prober?: Prober): Promise<CheckResult<E>>;
  allowed?(io: Reader, params: P): Promise<string[]>;
}

/**
 * `roles`: after the walls, resources that are not one server's go side by side, in both directions; actions, checks and
 * what wants to be alone wait for those before them, and those after them wait for it. `strict`: one after the other, as
 * the list has them, but for what stands under `parallel:`.
 */
export type Order = 'roles' | 'strict';

export type AnyPlugin = Resource | Action | Check;

export function defineResource<P, S>(resource: Omit<Resource<P, S>, 'kind'>): Resource<P, S> {
  return { kind: 'resource', ...resource };
}
export function defineAction<P>(action: Omit<Action<P>, 'kind'>): Action<P> {
  return { kind: 'action', ...action };
}
export function defineCheck<P, E>(check: Omit<Check<P, E>, 'kind'>): Check<P, E> {
  return { kind: 'check', ...check };
}

/** What it holds need not be as before: a completed maintenance stays. A wall opens, whatever it leaves beside itself. */
export function mayStay({ role, leaves }: Pick<Resource, 'role' | 'leaves'>): boolean {
  return leaves !== undefined && role !== 'wall';
}

/** Frozen while the step's role is held, exactly as it was otherwise: all that most backends need. */
export function whileHeld<P, S>(frozen: (situation: Situation<P, S>) => Is<S> | typeof LEAVE) {
  return (situation: Situation<P, S>): Is<S> | typeof LEAVE => {
    if (situation.held) return frozen(situation);
    return situation.before === undefined ? LEAVE : situation.before;
  };
}

/** One step of a runbook, resolved: what converge works on. */
export interface Step {
  id: string;
  plugin: AnyPlugin;
  params: any;
  /** milliseconds; bounds each direction by itself */
  deadlineMs: number;
  release?: 'reopen' | 'after-soak' | 'after-backfill' | undefined;
  onFailure?: 'undo' | 'hold' | 'continue' | undefined;
  /** checks at `soaking` */
  onBad?: 'hold' | 'refreeze' | 'continue' | undefined;
  /** changes per minute when the end releases them */
  pacePerMinute?: number | undefined;
  /** steps of one `parallel:` share a number */
  group?: number | undefined;
  /** the reason it is skipped in this window */
  skipped?: string | undefined;
}
