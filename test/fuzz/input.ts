// Everything that a person or a program may hand to maint, damaged at random: runbooks, surfaces, flag documents, recorded
// worlds, exported windows, command lines. The real main(), many times in one process: whatever comes in, the answer is
// one of the exit codes, in words, soon, and nothing is written.
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { parseDocument } from '../../packages/guard/src/document.ts';
import { parseDuration } from '../../src/engine/duration.ts';
import { EXIT_MEANS } from '../../src/errors/exit-codes.ts';
import { maint } from '../faults/maint.ts';
import { seeded } from '../support/virtual-time.ts';

export const KINDS = ['runbook', 'surfaces', 'flag', 'world', 'export', 'command line'] as const;
export type Kind = (typeof KINDS)[number];

/** Of this thread's own time: other programs on the machine do not count. */
const HANGS_MS = 4_000;

const CRONTAB = '# jobs\n*/5 * * * * /opt/reindex.sh --all\n0 3 * * * /opt/report.sh\n* * * * * /opt/heartbeat.sh\n';
const SURFACES = `version: 1
surfaces:
  - name: documents
    kind: http
    match: { methods: [POST, PUT], path: "/documents/:id?" }
    disposition: refuse
    status: 503
    canary: { method: POST, path: /documents, body: {} }
  - { name: search, kind: http, match: { methods: [POST], path: /search }, disposition: pass }
`;
const SMALL = `version: 1
environment: fuzz
contact: "#ops"
soak: 1s
steps:
  - { uses: flag/file, with: { path: flag.json } }
  - { uses: crons/crontab, with: { file: app.cron, keep: [heartbeat.sh] } }
`;
const FULL = `# yaml-language-server: $schema=./runbook.schema.json
version: 1
name: 60-second checklist
environment: fuzz
budget: 60s
soak: 5m
on_expiry: hold
contact: "#ops-oncall"
status_page: https://status.example.com
rollback_plan: https://wiki.example.com/rollback
surfaces: ./surfaces.yaml
steps:
  - { uses: flag/redis, with: { url: "\${REDIS_URL:-redis://127.0.0.1:1}", key: maint:read_only } }
  - parallel:
      - { uses: notice/statuspage, with: { page: abc123, token: "\${PAGE_TOKEN}", components: [api] } }
      - { uses: notice/slack, with: { channel: "#ops", token: "\${CHAT_TOKEN}" } }
  - { uses: silence/alertmanager, with: { url: "http://127.0.0.1:1", matchers: ['alertname=WritesRefused'] } }
  - { uses: crons/crontab, with: { file: app.cron, keep: [heartbeat.sh] }, deadline: 90s, release: after-backfill, pace: 20/min }
  - { uses: cache/http, with: { url: "http://127.0.0.1:1/banner" } }
  - { id: refused, uses: verify/endpoints, with: { url: "http://127.0.0.1:1" } }
  - { uses: no-writes/postgres, with: { url: "\${DATABASE_URL}", allow: [{ table: heartbeat, because: lag probe }] } }
  - { id: script, uses: command, with: { observe: [./state.sh], write: [./set.sh], frozen: ro, role: work, cwd: . } }
  - { id: reads, uses: soak/http, with: { probes: ["http://127.0.0.1:1/search?q=health"] } }
environments:
  staging: { contact: "#staging", steps: { statuspage: { skip: no public page } } }
`;
const FLAG =
  '{"version":1,"holders":{"w-7k2p":{"environment":"other","since":"2026-12-01T02:00:00.000Z","until":"2026-12-01T02:30:00.000Z","reason":"reindex","contact":"#ops","on_expiry":"hold"}}}';

/** What turns up in such files, and what breaks them. */
const WORDS = [
  ...['steps:', 'uses:', 'with:', 'parallel:', 'flag/redis', 'command', 'environments:', 'surfaces: s', 'version: 2'],
  ...[
    '{',
    '}',
    '[',
    ']',
    '- ',
    ': ',
    '\n',
    '\n  ',
    '\t',
    '"',
    "'",
    '#',
    '&a ',
    '*a',
    '<<: ',
    '!x ',
    '|\n',
    '---\n',
    '?',
  ],
  ...[
    '${',
    '${A}',
    '${A:-b}',
    '${file:/nowhere}',
    '${A:?no}',
    '$${',
    '\\',
    '\\u0000',
    '\0',
    '\uFEFF',
    '\u2028',
    '😀',
    '\ud800',
  ],
  ...[
    'null',
    '~',
    '5',
    '0',
    '-5m',
    '1e9h',
    '1e309',
    '-0',
    'true',
    '1.5',
    '__proto__',
    'constructor',
    'toString',
    '2026-13-45',
  ],
  ...[
    'holders',
    'until',
    'w-0',
    'closed',
    'opened',
    '"seq":1,',
    '"token":99999999999999999999',
    '../../etc',
    '%s%n',
    '\x1b[31m',
  ],
];
const FLAGS = [
  ...['--window', '--env', '-e', '--runbook', '-r', '--reason', '--ticket', '--dry-run', '--only', '--skip', '--json'],
  ...[
    '--state',
    '--by',
    '--until',
    '--soak',
    '--leave',
    '--holder',
    '--at',
    '--wait',
    '--takeover',
    '--world',
    '--format',
  ],
  ...[
    '--follow',
    '--all',
    '--since',
    '--secrets',
    '--help',
    '--version',
    '--',
    '-',
    '--no-such',
    '-x',
    '--window=',
    '--by=',
  ],
  ...['--output', '--copy', '--limit'],
];
const VALUES = [
  ...[
    '30m',
    '0',
    '-5m',
    '5',
    '1e9h',
    '1s',
    '31d',
    '1h30m',
    '',
    ' ',
    'fuzz',
    'prod',
    'r.yaml',
    'nowhere.yaml',
    'folder',
    'binary',
  ],
  ...[
    'empty.yaml',
    'world.json',
    'export.json',
    'flag',
    'flag,crontab',
    'flag/x',
    'w-123456',
    '03:30Z',
    '25:00Z',
    '2026-12-01T02:00Z',
  ],
  ...[
    '2027-02-29T02:00Z',
    'text',
    'junit',
    'github',
    'json',
    'postgres://127.0.0.1:1/x',
    'mysql://x',
    'sqlite:',
    '/dev/null',
  ],
  ...[
    '/proc/self/mem',
    '..',
    '~',
    'a\0b',
    '😀',
    '$(id)',
    '`id`',
    "'; drop table windows; --",
    '__proto__',
    'x'.repeat(5000),
  ],
];
const COMMANDS = [
  ...[
    'start',
    'end',
    'extend',
    'abort',
    'announce',
    'note',
    'status',
    'verify',
    'rehearse',
    'observe',
    'report',
    'history',
  ],
  ...[
    'runbook',
    'runbook check',
    'runbook show',
    'runbook schema',
    'window',
    'window export',
    'window import',
    'steps',
  ],
  ...['completion', 'help', 'strat', 'statsu', '', '--help', '--version', 'runbook chek', '__proto__', 'constructor'],
];

/** In order as they stand; one word is changed. */
const LINES = [
  'start -r r.yaml --window 30m --yes',
  'start -r r.yaml --window 30m --dry-run --only flag',
  'announce -r r.yaml --at 2030-12-01T02:00Z --window 30m',
  'extend --by 15m',
  'extend --until 2030-12-01T02:00Z',
  'note hello',
  'end --soak 1s',
  'end --leave crontab --reason gone',
  'end -r r.yaml --holder w-7k2p --reason gone',
  'abort',
  'status --json',
  'verify',
  'report',
  'history --since 2026-11-01',
  'rehearse -r r.yaml --world world.json --format text',
  'observe -r r.yaml',
  'runbook check full.yaml --env staging',
  'runbook show r.yaml',
  'window export w-7k2p9x --output out.json',
  'window import export.json',
  'steps flag/file',
  'completion bash',
];

type Random = () => number;
const pick = <T>(random: Random, from: readonly T[]): T => from[Math.floor(random() * from.length)]!;

/**
 * A soak or a wait of half an hour is right, and takes half an hour: what is a duration there becomes a short one. What
 * follows an open window follows it until it is over, and here nobody ends it.
 */
function soon(argv: readonly string[], open: boolean): string[] {
  const ends = open ? argv.filter((word) => word !== '--follow') : argv;
  return ends.map((word, at) => {
    const [, flag, value] = /^(--(?:soak|wait)=)(.*)$/s.exec(word) ?? ['', '', word];
    const waits = flag !== '' || ends[at - 1] === '--soak' || ends[at - 1] === '--wait';
    return waits && (parseDuration(value!) ?? 0) > 1_000 ? `${flag}1s` : word;
  });
}

/** One to four cuts, insertions, repetitions and exchanges. */
function damage(random: Random, text: string): string {
  for (let n = 1 + Math.floor(random() ** 2 * 4); n > 0; n--) {
    const at = Math.floor(random() * (text.length + 1));
    const to = Math.min(text.length, at + Math.floor(random() ** 3 * 60));
    const how = random();
    if (how < 0.45) text = text.slice(0, at) + pick(random, WORDS) + text.slice(random() < 0.5 ? at : to);
    else if (how < 0.6) text = text.slice(0, at) + text.slice(to);
    else if (how < 0.7) text = text.slice(0, to) + text.slice(at);
    else if (how < 0.75) text = text.slice(0, at);
    else if (how < 0.8)
      text = text.slice(0, to) + text.slice(at, to).repeat(1 + Math.floor(random() * 300)) + text.slice(to);
    else if (how < 0.9)
      text = text.slice(0, at) + String.fromCharCode(Math.floor(random() ** 3 * 0x10000)) + text.slice(at + 1);
    else {
      const lines = text.split('\n');
      const [a, b] = [Math.floor(random() * lines.length), Math.floor(random() * lines.length)];
      [lines[a], lines[b]] = [lines[b]!, lines[a]!];
      text = lines.join('\n');
    }
  }
  return text;
}

/** A value somewhere in the JSON becomes another one, or goes. */
function damageJson(random: Random, text: string): string {
  if (random() < 0.4) return damage(random, text);
  const root = { it: JSON.parse(text) as unknown };
  for (let n = 1 + Math.floor(random() * 3); n > 0; n--) {
    let at: Record<string, unknown> = root;
    let key = 'it';
    while (random() < 0.8 && typeof at[key] === 'object' && at[key] !== null) {
      const keys = Object.keys(at[key] as object);
      if (keys.length === 0) break;
      at = at[key] as Record<string, unknown>;
      key = pick(random, keys);
    }
    const how = random();
    if (how < 0.2) delete at[key];
    else if (how < 0.3) at[pick(random, ['x', 'version', 'type', 'holders', '__proto__x', 'unknown'])] = at[key];
    else
      at[key] = pick<unknown>(random, [
        null,
        0,
        -1,
        1e308,
        '',
        'x',
        true,
        [],
        {},
        [[]],
        { a: 1 },
        '2026-12-01T02:00:00.000Z',
        pick(random, WORDS),
      ]);
  }
  return JSON.stringify(root.it) ?? '';
}

/** Sometimes not even text. */
function bytes(random: Random, text: string): Buffer {
  const buffer = Buffer.from(text);
  if (random() < 0.06)
    for (let n = 0; n < 20 && buffer.length > 0; n++)
      buffer[Math.floor(random() * buffer.length)] = Math.floor(random() * 256);
  if (random() < 0.02) return Buffer.alloc(0);
  if (random() < 0.02) return Buffer.from(buffer.toString('utf8'), 'utf16le');
  return buffer;
}

interface Input {
  kind: Kind;
  argv: string[];
  /** what goes into which file */
  files: Record<string, Buffer>;
  /** while a window is open */
  open?: boolean;
  /** exit codes that are right for it */
  codes: readonly number[];
}

export class Fuzz {
  readonly #pristine = mkdtempSync(join(tmpdir(), 'maint-fuzz-'));
  /** the same with a window that is open */
  readonly #opened = mkdtempSync(join(tmpdir(), 'maint-fuzz-'));
  readonly #folder = mkdtempSync(join(tmpdir(), 'maint-fuzz-'));
  #before = '';
  readonly seeds: Record<string, string> = {};

  /** A folder with everything in it, a window that was, one that was exported, and the world as it is. */
  async prepare(): Promise<void> {
    const put = (name: string, text: string) => writeFileSync(join(this.#folder, name), text);
    put('app.cron', CRONTAB);
    put('r.yaml', SMALL);
    put('surfaces.yaml', SURFACES);
    put('empty.yaml', '');
    writeFileSync(join(this.#folder, 'binary'), Buffer.from([0, 1, 2, 255, 254, 0]));
    put('full.yaml', FULL);
    mkdirSync(join(this.#folder, 'folder'));
    // undamaged it is in order: else nothing would be tried beyond its first mistake
    await this.#must(['runbook', 'check', 'full.yaml']);
    await this.#must(['observe', '-r', 'r.yaml', '--json'], (output) => put('world.json', output));
    await this.#must(['start', '-r', 'r.yaml', '--window', '30m', '--yes']);
    const [id] = this.#ids();
    await this.#must(['window', 'export', id!, '--output', 'export.json']);
    // the export's window is let go here, so that the folder is as nobody had ever begun
    rmSync(join(this.#folder, 'state'), { recursive: true });
    rmSync(join(this.#folder, 'flag.json'), { force: true });
    put('app.cron', CRONTAB);
    await this.#must(['status'], () => undefined);
    for (const name of ['world.json', 'export.json']) this.seeds[name] = readFileSync(join(this.#folder, name), 'utf8');
    rmSync(this.#pristine, { recursive: true });
    cpSync(this.#folder, this.#pristine, { recursive: true });
    this.#before = snapshot(this.#folder);
    await this.#must(['start', '-r', 'r.yaml', '--window', '30m', '--yes']);
    rmSync(this.#opened, { recursive: true });
    cpSync(this.#folder, this.#opened, { recursive: true });
    this.#restore(this.#pristine);
  }

  close(): void {
    for (const folder of [this.#folder, this.#pristine, this.#opened]) rmSync(folder, { recursive: true, force: true });
  }

  #ids(): string[] {
    const state = new DatabaseSync(join(this.#folder, 'state', 'state.db'), { readOnly: true });
    const rows = state.prepare('select id from windows').all() as { id: string }[];
    state.close();
    return rows.map((row) => row.id);
  }

  async #must(argv: string[], use: (output: string) => void = () => undefined): Promise<void> {
    const { code, output } = await maint(argv, { cwd: this.#folder, env: {} });
    if (code !== 0) throw new Error(`${argv.join(' ')} ended with ${code}: ${output}`);
    use(output);
  }

  /** The n-th input of a seed. */
  input(seed: number, n: number): Input {
    const random = seeded(seed * 1_000_003 + n);
    for (let k = 0; k < 3; k++) random();
    const kind = KINDS[n % KINDS.length]!;
    const base = { kind, files: {} as Record<string, Buffer> };
    switch (kind) {
      case 'runbook': {
        base.files['r.yaml'] = bytes(random, damage(random, pick(random, [FULL, FULL, SMALL])));
        const argv = pick(random, [
          ['runbook', 'check', 'r.yaml'],
          ['runbook', 'check', 'r.yaml', '--json'],
          ['runbook', 'show', 'r.yaml'],
          ['rehearse', '-r', 'r.yaml', '--world', 'world.json'],
        ]);
        return { ...base, argv, codes: [0, 64, 65, ...(argv[0] === 'rehearse' ? [66, 68] : [])] };
      }
      case 'surfaces': {
        base.files['surfaces.yaml'] = bytes(random, damage(random, SURFACES));
        return { ...base, argv: ['runbook', pick(random, ['check', 'show']), 'full.yaml'], codes: [0, 65] };
      }
      case 'flag': {
        base.files['flag.json'] = bytes(random, damageJson(random, FLAG));
        const argv = pick(random, [
          ['start', '-r', 'r.yaml', '--window', '30m', '--dry-run'],
          ['observe', '-r', 'r.yaml'],
          ['end', '-r', 'r.yaml'],
        ]);
        return { ...base, argv, codes: [0, 65, 66, 68, 69] };
      }
      case 'world': {
        base.files['world.json'] = bytes(random, damageJson(random, this.seeds['world.json']!));
        const format = pick(random, ['text', 'json', 'junit', 'github']);
        return {
          ...base,
          argv: ['rehearse', '-r', 'r.yaml', '--world', 'world.json', '--format', format],
          codes: [0, 65, 66, 68],
        };
      }
      case 'export': {
        base.files['export.json'] = bytes(random, damageJson(random, this.seeds['export.json']!));
        return { ...base, argv: ['window', 'import', 'export.json'], codes: [0, 64, 65, 66, 69] };
      }
      case 'command line': {
        if (random() < 0.5) {
          const line = pick(random, LINES).split(' ');
          const at = Math.floor(random() * line.length);
          const word =
            random() < 0.3 ? pick(random, FLAGS) : random() < 0.7 ? pick(random, VALUES) : damage(random, line[at]!);
          line.splice(at, random() < 0.7 ? 1 : 0, word.slice(0, 6000));
          const open = random() < 0.6;
          return { ...base, argv: soon(line, open), open, codes: [0, 64, 65, 66, 68, 69] };
        }
        const argv = pick(random, COMMANDS).split(' ');
        for (let k = Math.floor(random() * 7); k > 0; k--) {
          const word = random() < 0.6 ? pick(random, FLAGS) : pick(random, VALUES);
          if (word.endsWith('=')) argv.push(word + pick(random, VALUES));
          else argv.push(word);
          if (word.startsWith('-') && !word.endsWith('=') && random() < 0.8) argv.push(pick(random, VALUES));
        }
        if (random() < 0.3) argv.push(damage(random, pick(random, VALUES)).slice(0, 6000));
        const open = random() < 0.35;
        return { ...base, argv: soon(argv, open), open, codes: [0, 64, 65, 66, 68, 69] };
      }
    }
  }

  /** undefined: as it should be. */
  async try(seed: number, n: number): Promise<{ kind: Kind; code: number; wrong: string | undefined }> {
    const input = this.input(seed, n);
    if (input.open) this.#restore(this.#opened);
    for (const [name, content] of Object.entries(input.files)) writeFileSync(join(this.#folder, name), content);
    const untouched = Object.keys(input.files).length === 0 && !input.open;
    // a verb that was refused under the lease has taken and given back a lease
    const see = () => snapshot(this.#folder, input.open ? 'state' : undefined);
    const given = untouched ? this.#before : see();
    const wrong: string[] = [];
    if (input.kind === 'flag') this.#guard(input.files['flag.json']!, wrong);
    const began = cpu();
    const { code, output } = await maint(input.argv, { cwd: this.#folder, env: { A: '1' } });
    const took = cpu() - began;
    if (took > HANGS_MS) wrong.push(`took ${Math.round(took)} ms`);
    if (!Object.hasOwn(EXIT_MEANS, code)) wrong.push(`exit code ${code}`);
    else if (!input.codes.includes(code)) wrong.push(`ended with ${code}`);
    if (/^\s+at .*:\d+:\d+\)?$/m.test(output)) wrong.push('a stack trace');
    const raw = /\b(TypeError|RangeError|SyntaxError|ReferenceError|ZodError|AssertionError|E_BUG|\[object \w+\])/.exec(
      output,
    );
    if (raw) wrong.push(`says ${raw[0]}`);
    if (code !== 0 && output.trim() === '') wrong.push('says nothing');
    const after = see();
    // what was in order may be done: a window that is taken in or ended, a file that was asked for
    const refused = code !== 0 && code !== 68;
    const looks = input.kind !== 'export' && input.kind !== 'command line';
    if (after !== given && (refused || looks)) wrong.push('something was written');
    if (input.open || after !== this.#before) this.#restore(this.#pristine);
    const said =
      wrong.length === 0
        ? undefined
        : `${wrong.join('; ')}\n${JSON.stringify(input.argv).slice(0, 400)}\n${output.slice(0, 1500)}`;
    return { kind: input.kind, code, wrong: said };
  }

  /** The guard's reader of the same bytes: a flag, or what is the matter. */
  #guard(content: Buffer, wrong: string[]): void {
    try {
      const parsed = parseDocument(content.toString('utf8'));
      if ('problem' in parsed ? parsed.problem === '' : !Array.isArray(parsed.flag.holders))
        wrong.push('the guard read nothing');
    } catch (error) {
      wrong.push(`the guard threw ${String(error)}`);
    }
  }

  #restore(from: string): void {
    for (const name of readdirSync(this.#folder)) rmSync(join(this.#folder, name), { recursive: true, force: true });
    cpSync(from, this.#folder, { recursive: true });
  }
}

function cpu(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** Names and contents of everything in the folder. */
function snapshot(folder: string, aside?: string): string {
  if (!existsSync(folder)) return 'gone';
  return readdirSync(folder, { recursive: true })
    .map(String)
    .filter((name) => aside === undefined || !name.startsWith(aside))
    .sort()
    .map((name) => {
      const path = join(folder, name);
      return statSync(path).isDirectory() ? `${name}/` : `${name} ${readFileSync(path, 'base64')}`;
    })
    .join('\n');
}
