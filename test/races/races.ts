// Two people at once, each in a process of their own, on one state: who wins, what the other wrote (nothing), and
// whether the world and the journal are then what the winner's verb alone would have left.
import { type ChildProcess, fork } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Recorded } from '../../src/engine/events.ts';
import type { Journal, Owner } from '../../src/engine/journal.ts';
import { fold, label, stillOurs } from '../../src/engine/window.ts';
import { openJournal } from '../../src/store/index.ts';
import { openPostgres } from '../../src/store/postgres.ts';
import { postgresPlace } from '../../src/store/postgres-address.ts';
import { openSqlite } from '../../src/store/sqlite.ts';
import type { Order, RaceVerb, Report } from './racer.ts';

export const RACES = {
  'two starts': ['start', 'start'],
  'start against end': ['start', 'end'],
  'end against extend': ['end', 'extend'],
  'two takeovers': ['end', 'abort'],
} as const satisfies Record<string, readonly [RaceVerb, RaceVerb]>;
export type Race = keyof typeof RACES;

type Ended = Extract<Report, { said: 'ended' }>;

class Racer {
  readonly #child: ChildProcess;
  readonly #reports: Report[] = [];
  #woken: (() => void) | undefined;
  #gone = false;

  constructor(state: string) {
    this.#child = fork(fileURLToPath(new URL('racer.ts', import.meta.url)), [state], {
      // nothing of a test runner's own flags
      env: { ...process.env, NODE_OPTIONS: '' },
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    this.#child.on('message', (report: Report) => {
      this.#reports.push(report);
      this.#woken?.();
    });
    this.#child.on('exit', () => {
      this.#gone = true;
      this.#woken?.();
    });
  }

  tell(order: Order): void {
    this.#child.send(order);
  }

  async next(): Promise<Report> {
    while (this.#reports.length === 0) {
      if (this.#gone) throw new Error('a racer has ended');
      await new Promise<void>((resolve) => {
        this.#woken = resolve;
      });
    }
    return this.#reports.shift()!;
  }

  async stop(): Promise<void> {
    if (this.#gone) return;
    const exited = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.disconnect();
    await exited;
  }
}

export interface Result {
  race: Race;
  rounds: number;
  /** how often each side won, and how often both came to their end, one after the other */
  wins: { first: number; second: number; both: number };
  wrong: string[];
}

export class Track {
  readonly #state: string;
  readonly #folder = mkdtempSync(join(tmpdir(), 'maint-races-'));
  readonly #racers: Racer[] = [];
  #journal!: Journal;
  /** the same state a minute ago */
  #past!: Journal;
  #round = 0;

  private constructor(state: string | undefined) {
    this.#state = state ?? join(this.#folder, 'state.db');
  }

  /** On a SQLite file of its own, or on the state that is named. */
  static async open(state?: string): Promise<Track> {
    const track = new Track(state);
    track.#journal = await openJournal({ state: track.#state, env: {}, write: true, version: '0.1.0' });
    const options = { version: '0.1.0', clock: () => Date.now() - 60_000 };
    track.#past = state
      ? await openPostgres(postgresPlace(state, '--state', {}), options)
      : await openSqlite(track.#state, options);
    track.#racers.push(new Racer(track.#state), new Racer(track.#state), new Racer(track.#state));
    for (const racer of track.#racers) await racer.next();
    return track;
  }

  async close(): Promise<void> {
    for (const racer of this.#racers) await racer.stop();
    await this.#journal.end();
    await this.#past.end();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Every other round the winner's first write waits until the other has ended: then one wins, and one only. */
  async run(race: Race, rounds: number): Promise<Result> {
    const result: Result = { race, rounds, wins: { first: 0, second: 0, both: 0 }, wrong: [] };
    for (let n = 0; n < rounds; n++) {
      const wrong = await this.#one(race, n, result.wins);
      if (wrong) result.wrong.push(`${race}, round ${n}: ${wrong}`);
    }
    return result;
  }

  async #one(race: Race, n: number, wins: Result['wins']): Promise<string | undefined> {
    const environment = `r${process.pid}-${this.#round++}`;
    const world = join(this.#folder, environment);
    mkdirSync(world);
    for (const job of ['a', 'b', 'c']) writeFileSync(join(world, `job.${job}`), '{"active":true}');
    const before = essence(world);
    const verbs = RACES[race];
    const order = (verb: RaceVerb, gate: boolean, delay = 0, takeover = false): Order => ({
      ...{ do: 'race', verb, environment, world, gated: gate, takeover },
      at: performance.timeOrigin + performance.now() + 5 + delay,
    });
    // who was there before: a run that is open, one that died, or one that is in the middle of its write
    const former = race === 'two takeovers' ? (['living', 'dead', 'expired'] as const)[n % 3] : undefined;
    if (race !== 'two starts') {
      this.#racers[2]!.tell(order('start', false));
      const opened = (await this.#racers[2]!.next()) as Ended;
      if (opened.exit !== 0) return `could not be opened: ${opened.message}`;
      writeFileSync(join(world, 'job.late'), '{"active":true}');
    }
    const takeover = former === 'living';
    // a takeover has its own wait, in which the other comes
    const gated = n % 2 === 0 && !takeover;
    const opened = readLog(world).length;
    if (former === 'living') {
      this.#racers[2]!.tell(order('start', true));
      if ((await this.#racers[2]!.next()).said !== 'writing') return 'the former run did not write';
    } else if (former !== undefined) await this.#left(environment, former);

    // which of the two is a hair earlier changes from round to round
    const hair = [0, 0.5, -0.5, 2, -2, 5, -5][n % 7]!;
    const pair = [this.#racers[0]!, this.#racers[1]!];
    pair[0]!.tell(order(verbs[0], gated, Math.max(0, hair), takeover));
    pair[1]!.tell(order(verbs[1], gated, Math.max(0, -hair), takeover));
    const ended = await this.#finish(pair, takeover);
    if (typeof ended === 'string') return ended;

    const done = ended.map((one) => one.exit === 0);
    if (done[0] && done[1]) wins.both++;
    else if (done[0]) wins.first++;
    else if (done[1]) wins.second++;
    const said = ended.map(
      (one, at) => `${verbs[at]} ${one.exit} ${one.code ?? ''} (${one.writes} writes) ${one.message}`,
    );
    if ((gated || takeover) && done[0] === done[1]) return `not exactly one won: ${said.join(' | ')}`;
    if (!done[0] && !done[1]) return `nobody won: ${said.join(' | ')}`;
    for (const [at, one] of ended.entries()) {
      if (one.exit === undefined) return `a bug: ${said[at]}`;
      if (one.exit !== 0 && one.writes > 0) return `the loser wrote: ${said[at]}`;
      if (one.exit !== 0 && ![66, 69, 75].includes(one.exit)) return `ended oddly: ${said[at]}`;
    }
    return await this.#check(environment, world, before, opened, said.join(' | '));
  }

  /** Until both have ended. The one whose write waits goes on as soon as the other is out. */
  async #finish(pair: readonly Racer[], overtaking: boolean): Promise<Ended[] | string> {
    const ended: (Ended | undefined)[] = [undefined, undefined];
    const waiting = [false, false];
    let both = '';
    await Promise.all(
      pair.map(async (racer, at) => {
        for (;;) {
          const report = await racer.next();
          if (report.said === 'ended') {
            ended[at] = report;
            if (waiting[1 - at]) pair[1 - at]!.tell({ do: 'go on' });
            return;
          }
          if (report.said === 'overtook') {
            // what was in flight arrives while that is waited for
            this.#racers[2]!.tell({ do: 'go on' });
            continue;
          }
          waiting[at] = true;
          if (waiting[1 - at] && !ended[1 - at]) {
            both = 'both were about to write at the same time';
            for (const one of pair) one.tell({ do: 'go on' });
          }
          if (ended[1 - at]) racer.tell({ do: 'go on' });
        }
      }),
    );
    if (overtaking) {
      const late = (await this.#racers[2]!.next()) as Ended;
      if (late.code !== 'E_TAKEN_OVER' || late.writes > 1)
        return `who was taken over: ${late.exit} ${late.message}, ${late.writes} writes`;
    }
    return both || (ended as Ended[]);
  }

  /** A lease that a process left behind: one of this machine that is dead, or one of elsewhere, long expired. */
  async #left(environment: string, how: 'dead' | 'expired'): Promise<void> {
    const owner: Owner = {
      ...{ name: 'gone', host: 'gone', bootId: '', pidNamespace: '', pid: 1, startTime: '0', verb: 'start' },
    };
    if (how === 'dead') {
      const { thisProcess } = await import('../../src/clients/process.ts');
      Object.assign(owner, thisProcess(), { startTime: '1' });
    }
    await (how === 'dead' ? this.#journal : this.#past).take(environment, owner);
  }

  async #check(
    environment: string,
    world: string,
    before: string,
    opened: number,
    said: string,
  ): Promise<string | undefined> {
    const rows = await this.#journal.windows({ environment });
    const log = readLog(world);
    const events = new Map<string, Recorded[]>();
    for (const { id } of rows) events.set(id, await this.#journal.read(id));
    if (rows.filter((row) => row.live).length > 1) return `two windows are open: ${said}`;
    // one after the other, never in between: tokens only grow, in the world and in the journal
    const tokens = log.slice(opened).map((line) => line.token);
    if (tokens.some((token, at) => at > 0 && token < tokens[at - 1]!))
      return `writes of two runs are mixed (${tokens}): ${said}`;
    for (const recorded of events.values()) {
      if (recorded.some((one, at) => at > 0 && one.token < recorded[at - 1]!.token))
        return `the journal is mixed: ${said}`;
      if (recorded.some((one, at) => one.seq !== at + 1)) return `the journal has gaps: ${said}`;
    }
    const intents = [...events.values()]
      .flat()
      .flatMap(({ token, event }) =>
        event.type === 'intent' ? event.changes.map((change) => `${token} ${change.id}`) : [],
      );
    const unmeant = log.find((line) => !intents.includes(`${line.token} ${line.id}`));
    if (unmeant) return `${unmeant.kind} ${unmeant.id} was written without an intent: ${said}`;
    const [row] = rows;
    const state = row && fold(row.id, events.get(row.id)!);
    if (!state) return `there is no window: ${said}`;
    const is = label(state, false, await this.#journal.now());
    if ((await this.#journal.lease(environment)) !== undefined) return `somebody still has the lease: ${said}`;
    const holders = readdirSync(world).filter((name) => name.startsWith('flag.'));
    if (is === 'open')
      return holders.join() === `flag.${state.id}` ? undefined : `open, and held by ${holders}: ${said}`;
    if (is !== 'closed' && is !== 'aborted') return `the window is ${is}: ${said}`;
    if (row.live || holders.length > 0 || stillOurs(state).length > 0) return `over, and something is left: ${said}`;
    return essence(world).replace(/\njob\.late .*/, '') === before
      ? undefined
      : `not as it was: ${essence(world)}: ${said}`;
  }
}

/** What must come out as it went in. */
function essence(world: string): string {
  return readdirSync(world)
    .filter((name) => name.startsWith('job.') || name.startsWith('flag.'))
    .sort()
    .map((name) => `${name} ${readFileSync(join(world, name), 'utf8')}`)
    .join('\n');
}

function readLog(world: string): { token: number; kind: string; id: string }[] {
  try {
    return readFileSync(join(world, 'log'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
  } catch {
    return [];
  }
}
