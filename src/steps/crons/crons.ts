// What every crontab has in common, whoever keeps it: its lines, which of them are jobs, who suspended them, and which
// running process belongs to which line. Text here is latin1, one character per byte, so that any file comes back byte
// for byte. Pure.
import { createHash } from 'node:crypto';

export interface Line {
  /** without its \n */
  raw: string;
  /** `job` runs (or would, were it not suspended by `mark`); `off` is commented out by somebody else; `other` is left alone */
  kind: 'job' | 'off' | 'other';
  /** what stands there without a mark */
  body: string;
  mark?: { window: string; id: string } | undefined;
  /** the other window that suspended it */
  other?: string;
}

/**
 * `#maint:<window>:<id># ` before the line. The id stands in the mark, so that a line which somebody edits while it is
 * suspended is still known as ours.
 */
const MARK = /^([ \t]*)#maint:([\w-]+):([\w.+-]+-[0-9a-f]{10}#\d+)#(?: |$)/;
/** Cron itself decides so (load_env of Vixie cron); a name that looks like a time is taken for a job, which is the safe error. */
const ASSIGNMENT = /^[ \t]*(?:"[^"]*"|'[^']*'|[^\s=\d*@~"'-][^\s=]*)[ \t]*=/;
const MONTH = '(?:[\\d*,/~-]|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)+';
const DAY = '(?:[\\d*,/~-]|mon|tue|wed|thu|fri|sat|sun)+';
/** Stricter than for a line that runs: prose in a comment must not be counted as a job. */
const JOB_IN_COMMENT = new RegExp(
  `^(?:[ \\t]*#)+[ \\t]*(?:@(?:reboot|yearly|annually|monthly|weekly|daily|midnight|hourly)|(?:[\\d*~][\\d*,/~-]*[ \\t]+){3}${MONTH}[ \\t]+${DAY})[ \\t]+(?!user-name[ \\t]+command)\\S`,
  'i',
);

export function parseCrontab(text: string, window: string): Line[] {
  return text.split('\n').map((raw): Line => {
    const mark = MARK.exec(raw);
    if (mark) {
      const body = `${mark[1]}${raw.slice(mark[0].length)}`;
      // another window's: for us it is off, whoever ends that window brings it back
      if (mark[2] !== window) return { raw, kind: 'off', body, other: mark[2]! };
      return { raw, kind: 'job', body, mark: { window, id: mark[3]! } };
    }
    if (/^[ \t\r]*$/.test(raw)) return { raw, kind: 'other', body: raw };
    if (/^[ \t]*#/.test(raw)) return { raw, kind: JOB_IN_COMMENT.test(raw) ? 'off' : 'other', body: raw };
    return { raw, kind: ASSIGNMENT.test(raw) ? 'other' : 'job', body: raw };
  });
}

export function renderCrontab(lines: readonly Line[]): string {
  return lines.map((line) => line.raw).join('\n');
}

/** Frozen with the window's mark, or as its body says. */
export function switchLine(line: Line, active: boolean, mark: { window: string; id: string }): Line {
  if (active) return { raw: line.body, kind: 'job', body: line.body };
  return { raw: `#maint:${mark.window}:${mark.id}# ${line.body}`, kind: 'job', body: line.body, mark };
}

export interface Job {
  kind: 'job' | 'off';
  active: boolean;
  /** of the line without its mark */
  digest: string;
  /** the other window that suspended it */
  other?: string | undefined;
  /** indexes; several where somebody copied a suspended line, mark and all */
  at: number[];
}

/**
 * Which line is which, in the order of the file. A line with our mark has the id of the mark; a line that we brought
 * back edited keeps the id it had (`known`, by its digest); any other is `<base name>-<hash>#n`, the n-th of its kind.
 * No id tells more of a line than the base name of its command: lines hold passwords.
 */
export function identify(
  lines: readonly Line[],
  options: { userField: boolean; known: ReadonlyMap<string, { digest: string } | null> },
): Map<string, Job> {
  const ids: (string | undefined)[] = lines.map((line) => line.mark?.id);
  const digests = lines.map((line) => (line.kind === 'other' ? '' : digestOf(line.body)));
  const taken = new Set(ids.filter((id) => id !== undefined));
  // Somebody's search and replace may have gone over the name in the mark as well: the rest of the id tells which it was.
  const tails = new Map([...options.known.keys()].filter((id) => !taken.has(id)).map((id) => [tailOf(id), id]));
  for (const [at, id] of ids.entries()) {
    const was = id === undefined || options.known.has(id) ? undefined : tails.get(tailOf(id));
    if (was === undefined) continue;
    ids[at] = was;
    taken.add(was);
  }

  const free = new Map<string, number[]>();
  for (const [at, line] of lines.entries()) {
    if (line.kind !== 'job' || line.mark) continue;
    const same = free.get(digests[at]!);
    if (same) same.push(at);
    else free.set(digests[at]!, [at]);
  }
  for (const [id, state] of options.known) {
    if (state === null || taken.has(id)) continue;
    const at = free.get(state.digest)?.shift();
    if (at === undefined) continue;
    ids[at] = id;
    taken.add(id);
  }

  const counts = new Map<string, number>();
  const jobs = new Map<string, Job>();
  for (const [at, line] of lines.entries()) {
    if (line.kind === 'other') continue;
    let id = ids[at];
    if (id === undefined) {
      const commented = line.kind === 'off' ? line.body.replace(/^(?:[ \t]*#)+[ \t]*/, '') : line.body;
      const stem = `${nameOf(commented, options.userField)}-${digests[at]!.slice(0, 10)}#${line.kind === 'off' ? 'off' : ''}`;
      let n = counts.get(stem) ?? 0;
      do id = `${stem}${++n}`;
      while (taken.has(id));
      counts.set(stem, n);
    }
    const job = jobs.get(id);
    if (job) job.at.push(at);
    else
      jobs.set(id, {
        kind: line.kind,
        active: line.kind === 'job' && !line.mark,
        digest: digests[at]!,
        other: line.other,
        at: [at],
      });
  }
  return jobs;
}

/** The base name in an id: what `keep` names, and what people read. */
export function nameInId(id: string): string {
  return id.replace(/-[0-9a-f]{10}#(?:off)?\d+$/, '');
}

function tailOf(id: string): string {
  return id.slice(id.lastIndexOf('-'));
}

/** Names as they stand in ids. */
export function plainName(name: string): string {
  return name.replace(/[^\w.+-]/g, '_').slice(0, 60);
}

/** The base name of the command; wrappers are not looked through. */
export function nameOf(body: string, userField: boolean): string {
  let command = commandOf(body, userField);
  for (;;) {
    const assigned =
      /^[A-Za-z_]\w*=((?:[^\s"'\\`$();&|<>]|\\.|"(?:[^"\\]|\\.)*"|'[^']*'|\$\w+|\$\{[^}]*\})*)(\s+|$)/.exec(command);
    if (!assigned) break;
    command = command.slice(assigned[0].length);
  }
  // an assignment that only a shell understands may hold a secret: nothing of it is shown
  if (/^[A-Za-z_]\w*=/.test(command)) return 'job';
  const word = /^(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|((?:[^\s"'\\`;&|<>()]|\\.)+))/.exec(command);
  const program = (word?.[1] ?? word?.[2] ?? word?.[3] ?? '').replace(/\\(.)/g, '$1');
  const base = program.slice(program.lastIndexOf('/') + 1);
  return plainName(Buffer.from(base, 'latin1').toString('utf8')) || 'job';
}

/** By the number of fields before the command. */
const FIELDS = Array.from({ length: 7 }, (_, count) => new RegExp(`^[ \\t]*(?:\\S+[ \\t]+){${count}}`));

const FIELD = '(?:[\\d*~][\\d*,/~-]*)';
const SCHEDULE = new RegExp(`^[ \\t]*-?(@[a-z]+|(?:${FIELD}[ \\t]+){3}${MONTH}[ \\t]+${DAY})(?=[ \\t])`, 'i');

/** When cron starts it: "@daily", "0 3 * * mon". Only what can be nothing else: the rest of a line may hold secrets. */
export function scheduleOf(body: string): string | undefined {
  return SCHEDULE.exec(body)?.[1]?.replace(/[ \t]+/g, ' ');
}

/** What cron gives to the shell: up to the first `%` that is not escaped. */
export function commandOf(body: string, userField: boolean): string {
  const fields = (/^[ \t]*-?@/.test(body) ? 1 : 5) + (userField ? 1 : 0);
  const before = FIELDS[fields]!.exec(body);
  const rest = before ? body.slice(before[0].length) : '';
  const end = /(?<!\\)%/.exec(rest);
  return (end ? rest.slice(0, end.index) : rest).replaceAll('\\%', '%');
}

export function digestOf(body: string): string {
  return createHash('sha256').update(body, 'latin1').digest('hex').slice(0, 16);
}

// ── What runs ─────────────────────────────────────────────────────────────────────────────────────────────────────

export interface ProcessSeen {
  pid: number;
  parent: number;
  command: string;
}

/** /proc/<pid>/stat of many processes, one after the other (proc(5)); ended ones that nobody waited for yet are left out. */
export function parseStats(text: string): ProcessSeen[] {
  const seen: ProcessSeen[] = [];
  // the name in parentheses may itself hold spaces and parentheses
  for (const [, pid, command, state, parent] of text.matchAll(/^(\d+) \((.*)\) (\S) (\d+) /gm)) {
    if (state !== 'Z' && state !== 'X') seen.push({ pid: Number(pid), parent: Number(parent), command: command! });
  }
  return seen;
}

/** undefined: no cron daemon. Otherwise the process that each job began with: the daemon's child is cron still, its child is the job. */
export function jobsOfCron(processes: readonly ProcessSeen[]): number[] | undefined {
  const crons = new Set(processes.filter((one) => /^cron[d]?$/i.test(one.command)).map((one) => one.pid));
  if (crons.size === 0) return undefined;
  return processes.filter((one) => crons.has(one.parent) && !crons.has(one.pid)).map((one) => one.pid);
}

export interface Runnable {
  name: string;
  /** as cron gives it to the shell */
  command: string;
  frozen: boolean;
}

/**
 * The line that a process runs. The shell is there with `-c` and the whole command, or has become the command's last
 * part (dash and bash do that), or the script that this part names.
 */
export function lineOf(argv: readonly string[], lines: readonly Runnable[]): Runnable | undefined {
  if (argv[1] === '-c' && /^(?:da|ba|z|k|a)?sh$/.test(baseName(argv[0] ?? ''))) {
    return lines.find((line) => line.command.trim() === (argv[2] ?? '').trim());
  }
  let best: Runnable | undefined;
  let most = 0;
  for (const line of lines) {
    const words = new Set(line.command.split(/[\s;&|()<>'"`]+/).map(baseName));
    for (const start of [0, 1, 2]) {
      const rest = argv.slice(start);
      const program = rest[0];
      if (program === undefined || program === '' || !words.has(baseName(program))) continue;
      const known = rest.filter((word) => line.command.includes(word)).length;
      // what a shell expands cannot be compared with what it became
      if (known < rest.length && !/[$`*?~\\]/.test(line.command)) continue;
      if (known <= most && best) continue;
      best = line;
      most = known;
    }
  }
  return best;
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
