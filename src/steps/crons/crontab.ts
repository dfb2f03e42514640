import { z } from 'zod';
import { type Change, defineResource, LEAVE, Refusal, Unknown } from '../../engine/contract.ts';
import type { FileSeen, Reader } from '../../engine/io.ts';
import { type Misspelt, path, spelled } from '../../engine/secret.ts';
import { userName } from '../../engine/who.ts';
import {
  commandOf,
  identify,
  jobsOfCron,
  type Line,
  lineOf,
  nameInId,
  nameOf,
  parseCrontab,
  parseStats,
  plainName,
  type Runnable,
  renderCrontab,
  scheduleOf,
  switchLine,
} from './crons.ts';

export const Params = z
  .strictObject({
    user: z
      .string()
      .regex(/^[A-Za-z0-9_][A-Za-z0-9_.@-]*\$?$/, 'the name of a user')
      .optional()
      .describe('whose crontab; absent: that of the user who runs maint'),
    file: path('a crontab of the system, such as /etc/cron.d/app')
      .refine((file) => !file.startsWith('/var/spool/cron/'), 'no file of the spool: name its owner with `user`')
      .optional(),
    keep: z
      .array(spelled(z.string().min(1), notABaseName))
      .default([])
      .describe('base names of commands that go on running'),
  })
  .refine(({ user, file }) => user === undefined || file === undefined, 'either `user` or `file`, not both');
export type Params = z.infer<typeof Params>;

export const State = z.strictObject({
  active: z.boolean(),
  /** of the line without our mark: tells that somebody edited it */
  digest: z.string(),
  /** the file ends without a newline; told with its last job */
  unended: z.literal(true).optional(),
  /** somebody copied the suspended line, mark and all: so many are there */
  copies: z.number().optional(),
  /** "0 3 * * *": for people, in a plan */
  schedule: z.string().optional(),
  /** another window suspended it */
  other: z.string().optional(),
});
export type State = z.infer<typeof State>;

export const crontab = defineResource<Params, State>({
  name: 'crons/crontab',
  role: 'work',
  summary: 'suspends the jobs of one crontab of this machine and waits for those that run',
  Params,
  State,
  computed: ['digest', 'unended', 'copies', 'schedule', 'other'],
  example: { user: 'www-data', keep: ['heartbeat.sh'] },
  batch: Number.POSITIVE_INFINITY,
  local: true,
  address: ({ user, file }) => file ?? `crontab ${user ?? me()}`,

  compare: 'look',

  async observe(io, params, { window, owned }) {
    const table = await read(io, params);
    if (table === null && params.file !== undefined && owned.size === 0)
      throw new Refusal(`there is no file ${params.file}`, 'correct `file` of crons/crontab, or skip the step');
    const lines = parseCrontab(table?.text ?? '', window.id);
    const known = new Map([...owned].map(([id, { after }]) => [id, after]));
    const jobs = identify(lines, { userField: hasUserField(params), known });
    const last = [...jobs.keys()].findLast((id) => !id.includes('#off'));
    const unended = last !== undefined && lines.at(-1)!.raw !== '';
    if (unended && params.file === undefined && jobs.get(last)!.active)
      throw new Refusal(
        `the crontab of ${whose(params)} ends without a newline, and crontab would not take it back`,
        'crontab -e, and add one',
      );
    const handle: Handle = { table, lines, jobs };
    return new Map(
      [...jobs].map(([id, { active, digest, other, at }]) => {
        const copies = at.length > 1 ? { copies: at.length } : {};
        const schedule = scheduleOf(lines[at[0]!]!.body);
        const told = schedule === undefined ? {} : { schedule };
        const state = {
          active,
          digest,
          ...copies,
          ...told,
          ...(other !== undefined && { other }),
          ...(unended && id === last && { unended: true }),
        };
        return [id, { state, handle }];
      }),
    );
  },

  desired({ held, params, id, now, before }) {
    if (held)
      return isKept(id, params) || (now === null && before === undefined)
        ? LEAVE
        : { digest: '', ...now, active: false };
    if (before === undefined) return LEAVE;
    // the edit that somebody made meanwhile is kept, so the digest is that of now
    return before && now ? { ...now, active: before.active } : before;
  },

  async write(io, params, changes, window) {
    const { table, lines, jobs } = changes[0]!.handle as Handle;
    for (const { id, to } of changes)
      for (const at of jobs.get(id)!.at) lines[at] = switchLine(lines[at]!, to!.active, { window: window.id, id });
    const text = Buffer.from(renderCrontab(lines), 'latin1');
    if (params.file !== undefined) await io.files.replace(params.file, table!.seen, text);
    // Standard input is whole, in a file without a name, before crontab begins: it cannot come to be empty, and no
    // file that holds the lines' passwords is left behind by a crash.
    else await io.exec.run([...crontabOf(params), '-'], { ...TOOL, stdin: text.toString('utf8') });
    return changes.map(({ from, to }) => ({ ...from!, active: to!.active }));
  },

  // a job that somebody else commented out bears no mark of the window
  markedBefore: (id, now) => (now.active || id.includes('#off') ? undefined : { ...now, active: true }),

  async inFlight(io, params, { owned }) {
    if (owned.size === 0) return [];
    const running = await jobsRunning(io);
    const lines = running?.length ? runnables((await read(io, params))?.text ?? '', hasUserField(params)) : [];
    const words: string[] = [];
    for (const { pid, argv } of running ?? []) {
      const line = lineOf(argv, lines);
      if (line?.frozen) words.push(`${line.name} (pid ${pid})`);
    }
    // Cron reads what has changed at the full minute and starts what is due: around it neither "will not run" nor
    // "does not run yet" is certain. A file outside /etc is none that it reads.
    const second = Math.floor(Date.now() / 1000) % 60;
    const isRead = params.file === undefined || params.file.startsWith('/etc/');
    if (running && isRead && (second >= 58 || second < 2)) words.push("cron's look at its crontabs at the full minute");
    return words;
  },

  words: {
    toHold: 'to suspend',
    held: 'suspended',
    toRelease: 'to resume',
    released: 'resumed',
    kept: (id, params) => isKept(id, params) && !id.includes('#off'),
    name: nameInId,
    more({ params, phase, seen }) {
      const ids = [...seen.keys()];
      const notes: string[] = [];
      const others = new Map<string, number>();
      for (const state of seen.values())
        if (state && !(state instanceof Unknown) && state.other !== undefined)
          others.set(state.other, (others.get(state.other) ?? 0) + 1);
      for (const [other, n] of others) notes.push(`${n} suspended by ${other}, another window`);
      const off = ids.filter((id) => id.includes('#off')).length - [...others.values()].reduce((a, b) => a + b, 0);
      if (phase === 'open' && off > 0) notes.push(`${off} already off`);
      for (const missed of phase === 'open' ? params.keep : [])
        if (!ids.some((id) => !id.includes('#off') && nameInId(id) === plainName(missed)))
          notes.push(`keep names ${missed}, but no job is called so`);
      if (phase === 'open' && process.platform !== 'linux')
        notes.push('jobs that run already are not waited for on this system');
      if ([...seen.values()].some((state) => !(state instanceof Unknown) && state?.unended))
        notes.push('the file ends without a newline and is left so: some crons ignore such a file');
      return notes;
    },
  },

  listed: (id, { schedule }) => (schedule === undefined ? nameInId(id) : `${nameInId(id)} ${schedule}`),

  look({ changes, owned, seen }) {
    const edited = changes.filter(({ id, from, to }) => {
      const left = owned.get(id)?.after;
      return to?.active === true && left && from && left.digest !== from.digest;
    });
    return [
      ...edited.map(
        ({ id }) => `${nameInId(id)}: edited by somebody during the window; our mark removed, the edit kept`,
      ),
      ...twice(changes, seen),
    ];
  },

  asks: 'the crontab read, access(2)',
  async allowed(io, { file }) {
    if (file === undefined) return [];
    const why = await io.files.replaceable(file);
    return why === undefined ? [] : [why];
  },
});

/**
 * Messages are looked at, so they must not be translated. Debian's crontab -l leaves out up to three comments at the
 * top, whether it has put them there or not; told N, it shows everything, and only its own header is taken off here.
 */
const TOOL = { env: { LC_ALL: 'C', CRONTAB_NOHEADER: 'N' }, inherit: 'needed' } as const;
const HEADER = /^# DO NOT EDIT THIS FILE.*\n# \(.* installed on .*\)\n# \(Cron version.*\)\n/;

interface Table {
  /** latin1 */
  text: string;
  seen: FileSeen | null;
}
interface Handle {
  table: Table | null;
  lines: Line[];
  jobs: ReturnType<typeof identify>;
}

/** null: there is no crontab, which is not the same as an empty one. */
async function read(io: Reader, params: Params): Promise<Table | null> {
  if (params.file !== undefined) {
    const seen = await io.files.read(params.file);
    return seen && { text: seen.content.toString('latin1'), seen };
  }
  const { exitCode, stdout, stderr } = await io.exec.read([...crontabOf(params), '-l'], { ...TOOL, expect: [0, 1] });
  if (exitCode === 0) {
    if (stdout.includes('\uFFFD')) {
      throw new Refusal(
        `the crontab of ${whose(params)} holds bytes that are no UTF-8, and would not come back as it is`,
        'crontab -e, and save it as UTF-8',
      );
    }
    if (stdout.includes('\\r') && !stdout.includes('\r')) {
      // Debian's crontab -l prints a carriage return as these two characters.
      throw new Refusal(
        `the crontab of ${whose(params)} holds a carriage return or a literal \\r: crontab -l shows both alike, so it would not come back as it is`,
        'crontab -e, and take it out (a carriage return before the end of a line is part of the command)',
      );
    }
    return { text: Buffer.from(stdout.replace(HEADER, '')).toString('latin1'), seen: null };
  }
  if (/no crontab for/i.test(stderr)) return null;
  throw new Refusal(
    `the crontab of ${whose(params)} cannot be read: ${stderr.trim().split('\n')[0] || 'crontab -l ended with exit code 1'}`,
    'run maint as that user or as root',
  );
}

function crontabOf({ user }: Params): string[] {
  return user === undefined || user === me() ? ['crontab'] : ['crontab', '-u', user];
}

function whose({ user }: Params): string {
  return user ?? me();
}

function me(): string {
  return userName() ?? `uid ${process.getuid?.() ?? ''}`;
}

function hasUserField({ file }: Params): boolean {
  return file !== undefined && /(?:^|\/)(?:etc\/crontab|cron\.d\/[^/]+)$/.test(file);
}

/** A path, a whole command or a list of names keeps nothing: jobs are known by one base name. */
function notABaseName(text: string): Misspelt | undefined {
  if (!/[\s/,*?]/.test(text)) return undefined;
  const names = text.split(/\s*,\s*/).map((one) => one.trim().split(/\s/, 1)[0]!.split('/').at(-1)!);
  const good = names.every((name) => name !== '' && !/[*?]/.test(name));
  return {
    message: 'is not the base name of a command',
    allowed: 'one name, without its folder and arguments, such as heartbeat.sh',
    meant: good ? names.join(' and ') : undefined,
  };
}

/**
 * A line that comes back beside another one of the same command, which is active and was never ours: all that were there
 * at the start are ours, or kept under their name.
 */
function twice(changes: readonly Change<State>[], seen: ReadonlyMap<string, State | null | Unknown>): string[] {
  const ours = new Set(changes.map(({ id }) => id));
  const lines: string[] = [];
  const told = new Set<string>();
  for (const { id, from, to } of changes) {
    const name = nameInId(id);
    if (to?.active !== true || told.has(name)) continue;
    if (from?.copies !== undefined) {
      told.add(name);
      lines.push(`${name}: somebody copied the suspended line; ${from.copies} of it run now, remove what is too much`);
      continue;
    }
    const others = [...seen].filter(
      ([other, state]) =>
        !ours.has(other) && nameInId(other) === name && state !== null && !(state instanceof Unknown) && state.active,
    );
    if (others.length === 0) continue;
    told.add(name);
    const same = others.some(([, state]) => (state as State).digest === from?.digest);
    lines.push(
      `${name}: somebody added ${same ? 'the same line' : 'a line of that name'} during the window; both run now, remove the one that is too much`,
    );
  }
  return lines;
}

function isKept(id: string, { keep }: Params): boolean {
  const name = nameInId(id);
  return keep.some((one) => plainName(one) === name);
}

/** What cron has started on this machine and still runs. undefined: no cron, or no procfs (not Linux) to ask. */
async function jobsRunning(io: Reader): Promise<{ pid: number; argv: string[] }[] | undefined> {
  const stats = ((await io.files.list('/proc')) ?? []).filter((name) => /^\d+$/.test(name));
  if (stats.length === 0) return undefined;
  // 1: one of them has ended meanwhile
  const cat = async (files: readonly string[]) =>
    (await io.exec.read(['cat', ...files], { ...TOOL, expect: [0, 1] })).stdout;
  const pids = jobsOfCron(parseStats(await cat(stats.map((pid) => `/proc/${pid}/stat`))));
  return (
    pids &&
    (await Promise.all(
      pids.map(async (pid) => ({ pid, argv: (await cat([`/proc/${pid}/cmdline`])).replace(/\0$/, '').split('\0') })),
    ))
  );
}

/** Every line that cron could have started a job from, suspended by any window or not. */
function runnables(text: string, userField: boolean): Runnable[] {
  return text.split('\n').flatMap((raw): Runnable[] => {
    const window = /^[ \t]*#maint:([\w-]+):/.exec(raw)?.[1] ?? '';
    const line = parseCrontab(raw, window)[0]!;
    if (line.kind !== 'job') return [];
    const command = Buffer.from(commandOf(line.body, userField), 'latin1').toString('utf8');
    const name = line.mark ? nameInId(line.mark.id) : nameOf(line.body, userField);
    return [{ name, command, frozen: line.mark !== undefined }];
  });
}
