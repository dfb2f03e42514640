// What is said of a window, against what a probe from outside sees: a POST through a guarded service. For every wall
// backend, trouble with the wall and verb. A sentence that is not so is a lie; "cannot tell" is none.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { createGuard, fileSource, redisSource } from '../../packages/guard/src/index.ts';
import { maint, type Ran } from '../support/cli.ts';
import { freePort } from '../support/ports.ts';
import { programOf } from '../support/servers.ts';
import { until } from '../support/until.ts';

export const TROUBLES = ['removed', 'edited', 'another holder', 'unreadable', 'down', 'restarted empty'] as const;
export type Trouble = (typeof TROUBLES)[number];
export const VERBS = ['status', 'start', 'extend', 'note', 'verify', 'end', 'abort', 'report', 'history'] as const;
export type Verb = (typeof VERBS)[number];
export const BACKENDS = ['flag/file', 'flag/file and verify/flag', 'flag/redis', 'command'] as const;
export type Backend = (typeof BACKENDS)[number];

const ARGV: Readonly<Record<Verb, string[]>> = {
  status: ['status'],
  start: ['start', '--window', '30m', '--yes'],
  extend: ['extend', '--by', '5m', '--yes'],
  note: ['note', 'half way', '--yes'],
  verify: ['verify'],
  end: ['end', '--soak', '1s'],
  abort: ['abort'],
  report: ['report'],
  history: ['history'],
};

/** A wall and what hangs on it. */
interface World {
  cwd: string;
  /** the steps of the runbook */
  steps: string;
  trouble: Partial<Record<Trouble, () => Promise<void> | void>>;
  /** whether a write from outside is refused now */
  refused(): Promise<boolean>;
  /** the service knows what was done a moment ago */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

async function listening(handler: RequestListener): Promise<{ server: Server; url: string }> {
  const server = createServer(handler).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function posts(url: string): Promise<boolean> {
  const { status } = await fetch(`${url}/documents`, { method: 'POST', body: '{}' });
  return status === 503 || status === 423;
}

/** A guard polls: what it says holds once two rounds of its polling have passed without a change. */
async function steady(url: string): Promise<void> {
  let same = 0;
  let last: boolean | undefined;
  await until(async () => {
    const now = await posts(url);
    same = now === last ? same + 1 : 0;
    last = now;
    await new Promise((done) => setTimeout(done, POLL_MS));
    return same >= 4;
  }, 10_000);
}

const POLL_MS = 25;
const THEIRS =
  '{"version":1,"holders":{"w-theirs":{"environment":"prod","since":"2026-11-01T00:00:00Z","until":"2099-01-01T00:00:00Z","reason":"theirs","contact":"x","on_expiry":"hold"}}}';

function edited(text: string): string {
  return text.replace(/"until":"[^"]*"/, '"until":"2099-01-01T00:00:00.000Z"');
}

async function fileWorld(withCheck: boolean): Promise<World> {
  const cwd = mkdtempSync(join(tmpdir(), 'maint-truth-'));
  mkdirSync(join(cwd, 'run'));
  const flag = join(cwd, 'run', 'flag.json');
  const guard = createGuard({ source: fileSource(flag, { pollMs: POLL_MS }) });
  await guard.ready();
  const { server, url } = await listening(guard.http((_request, response) => response.end('ok')));
  const check = withCheck
    ? `\n  - { id: guards, uses: verify/flag, with: { guards: ["${url}"], samples: 1 }, deadline: 3s }`
    : '';
  return {
    cwd,
    steps: `  - { uses: flag/file, with: { path: run/flag.json }, deadline: 2s }${check}`,
    trouble: {
      removed: () => rmSync(flag),
      edited: () => writeFileSync(flag, edited(readFileSync(flag, 'utf8'))),
      'another holder': () => writeFileSync(flag, THEIRS),
      unreadable: () => writeFileSync(flag, '{'),
      down: () => renameSync(join(cwd, 'run'), join(cwd, 'unmounted')),
    },
    refused: () => posts(url),
    settled: () => steady(url),
    async stop() {
      server.close();
      await guard.close();
      rmSync(cwd, { recursive: true, force: true });
    },
  };
}

async function redisAt(port: number): Promise<ChildProcess> {
  const child = spawn(programOf('redis')!, ['--port', String(port), '--bind', '127.0.0.1', '--save', ''], {
    stdio: 'ignore',
  });
  await until(async () => {
    const client = new Redis(port, '127.0.0.1', { lazyConnect: true, retryStrategy: () => null });
    client.on('error', () => undefined);
    const up = await client.connect().then(
      () => true,
      () => false,
    );
    client.disconnect();
    return up;
  }, 10_000);
  return child;
}

/** @param onMissing `open`: as a process that was started since, and has never seen the window */
async function redisWorld(onMissing: 'hold' | 'open'): Promise<World> {
  const cwd = mkdtempSync(join(tmpdir(), 'maint-truth-'));
  const port = await freePort();
  let child = await redisAt(port);
  const client = new Redis(port, '127.0.0.1', { retryStrategy: () => 50, maxRetriesPerRequest: 0 });
  client.on('error', () => undefined);
  const guard = createGuard({ source: redisSource(client as never, { pollMs: POLL_MS }), onMissing });
  await guard.ready();
  const { server, url } = await listening(guard.http((_request, response) => response.end('ok')));
  const key = 'maint:read_only';
  const down = async () => {
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
  return {
    cwd,
    steps: `  - { uses: flag/redis, with: { url: "redis://127.0.0.1:${port}" }, deadline: 2s }`,
    trouble: {
      removed: async () => void (await client.del(key)),
      edited: async () => void (await client.set(key, edited((await client.get(key))!))),
      'another holder': async () => void (await client.set(key, THEIRS)),
      unreadable: async () => void (await client.set(key, 'rubbish')),
      down,
      'restarted empty': async () => {
        await down();
        child = await redisAt(port);
        await until(async () => client.status === 'ready', 10_000);
      },
    },
    refused: () => posts(url),
    settled: () => steady(url),
    async stop() {
      server.close();
      await guard.close();
      client.disconnect();
      if (child.exitCode === null && child.signalCode === null) await down();
      rmSync(cwd, { recursive: true, force: true });
    },
  };
}

/** A script of somebody's own, and a service that reads the word that it sets. */
async function commandWorld(): Promise<World> {
  const cwd = mkdtempSync(join(tmpdir(), 'maint-truth-'));
  const word = join(cwd, 'word');
  writeFileSync(word, 'rw\n');
  writeFileSync(join(cwd, 'look.sh'), '#!/bin/sh\ncat word\n', { mode: 0o755 });
  writeFileSync(join(cwd, 'set.sh'), '#!/bin/sh\necho "$MAINT_TO" > word\n', { mode: 0o755 });
  const refuses = () => existsSync(word) && readFileSync(word, 'utf8').trim() === 'ro';
  const { server, url } = await listening((_request, response) => {
    response.statusCode = refuses() ? 503 : 200;
    response.end('ok');
  });
  return {
    cwd,
    steps:
      '  - { id: app, uses: command, with: { observe: [./look.sh], write: [./set.sh], frozen: ro, role: wall, cwd: . }, deadline: 2s }',
    trouble: {
      removed: () => writeFileSync(word, 'rw\n'),
      edited: () => writeFileSync(word, 'draining\n'),
      unreadable: () => writeFileSync(join(cwd, 'look.sh'), '#!/bin/sh\nexit 1\n', { mode: 0o755 }),
      down: () => rmSync(join(cwd, 'look.sh')),
    },
    refused: () => posts(url),
    settled: async () => undefined,
    async stop() {
      server.close();
      rmSync(cwd, { recursive: true, force: true });
    },
  };
}

function worldOf(backend: Backend, verb: Verb): Promise<World> {
  if (backend === 'command') return commandWorld();
  return backend === 'flag/redis'
    ? redisWorld(verb === 'end' || verb === 'abort' ? 'hold' : 'open')
    : fileWorld(backend.endsWith('verify/flag'));
}

export interface Case {
  backend: Backend;
  trouble: Trouble;
  verb: Verb;
}

/** Every combination that there is: a file does not restart. */
export function allCases(): Case[] {
  const cases: Case[] = [];
  for (const backend of BACKENDS)
    for (const trouble of TROUBLES)
      for (const verb of VERBS) {
        if (trouble === 'restarted empty' && backend !== 'flag/redis') continue;
        if (trouble === 'another holder' && backend === 'command') continue;
        cases.push({ backend, trouble, verb });
      }
  return cases;
}

const REFUSED = /\b(is|stays) (STILL )?(READ-ONLY|read-only)\b(?! for| in part)|writes are (still )?refused\b/;
const OPEN =
  /NOT read-only|NOT refused|read-write since|is read-write|takes writes|have been possible|writes may pass|has no open window\.$|Everything is restored/m;
const DOUBT = /cannot tell|cannot be told|may (STILL|still) be|was not asked|by the journal|nobody can tell/;

/** What is not so, in words; [] = nothing. Lines of a plan and of a report's past are no claim. */
export function lies(verb: Verb, ran: Ran, refused: boolean): string[] {
  const wrong: string[] = [];
  const claims = verb === 'report' ? '' : ran.output;
  const doubt = DOUBT.test(claims);
  const saysRefused = claims.split('\n').find((line) => REFUSED.test(line) && !OPEN.test(line));
  const saysOpen = claims.split('\n').find((line) => OPEN.test(line));
  if (saysRefused && !refused && !doubt) wrong.push(`a write passes, and it says: ${saysRefused.trim()}`);
  if (saysOpen && refused && !doubt) wrong.push(`a write is refused, and it says: ${saysOpen.trim()}`);
  if (verb === 'history' && /read-only \d/.test(claims) && / open /.test(claims) && !doubt)
    wrong.push('an open window counts as read-only until now, and nobody looked');
  if (verb === 'status' && !doubt && ran.code === 69 && !refused) wrong.push('exit 69 while a write passes');
  if (verb === 'status' && !doubt && ran.code === 0 && refused) wrong.push('exit 0 while a write is refused');
  if (ran.code === 1 || /E_BUG/.test(ran.output)) wrong.push(`a bug: ${ran.output.split('\n')[0]}`);
  return wrong;
}

/** One case from the start of a window: what was said wrongly, by the verb and by the status after it. */
export async function tryCase({ backend, trouble, verb }: Case): Promise<string[]> {
  const world = await worldOf(backend, verb);
  try {
    writeFileSync(
      join(world.cwd, 'runbook.yaml'),
      `version: 1\nenvironment: prod\ncontact: "#ops"\nsoak: 1s\nsteps:\n${world.steps}\n`,
    );
    const at = { cwd: world.cwd, env: { MAINT_RUNBOOK: 'runbook.yaml' } };
    const started = await maint(ARGV.start, at);
    await world.settled();
    if (started.code !== 0 || !(await world.refused())) return [`the start failed: ${started.output}`];
    await world.trouble[trouble]!();
    await world.settled();
    const name = `${backend}, ${trouble}, ${verb}`;
    const wrong: string[] = [];
    const ran = await maint(ARGV[verb], at);
    await world.settled();
    wrong.push(...lies(verb, ran, await world.refused()).map((lie) => `${name}: ${lie}`));
    if (verb !== 'status') {
      const after = await maint(ARGV.status, at);
      wrong.push(...lies('status', after, await world.refused()).map((lie) => `${name}, then status: ${lie}`));
    }
    return wrong;
  } finally {
    await world.stop();
  }
}
