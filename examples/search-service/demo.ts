// `npm run demo`: a maintenance window from the first write refused to everything as before, with the real command line
// in a world of its own. Every ✔ that this file prints was checked; the first claim that does not hold ends it with 1.
//
//   --keep   lets the world go on afterwards, so that you can open windows yourself
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, styleText } from 'node:util';
import { startWorld, type World } from './world.ts';

const MAINT = fileURLToPath(new URL('../../bin/run.js', import.meta.url));
/** What `maint` itself needs to stop cleanly is less. */
const KILL_AFTER_MS = 7000;
const SHELL_NEEDS = [
  'PATH',
  'HOME',
  'LANG',
  'LC_ALL',
  'TERM',
  'TZ',
  'CI',
  'NO_COLOR',
  'FORCE_COLOR',
  'COLUMNS',
  'TMPDIR',
];

class Stopped extends Error {}

let world: World | undefined;
let child: ChildProcess | undefined;
let stopped: NodeJS.Signals | undefined;
let tellStopped = () => {};
const whenStopped = new Promise<void>((resolve) => {
  tellStopped = resolve;
});
let claims = 0;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
// A reader that goes away (`npm run demo | head`) must not keep the world from being stopped.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => stop('SIGHUP'));
try {
  const keep = options().keep === true;
  const began = performance.now();
  world = await startWorld();
  await show(world, keep);
  const took = Math.round((performance.now() - began) / 1000);
  say(`\nAll ${claims} claims with a ✔ of this demo were checked, in ${took} s.`);
  if (keep) await keepGoing(world);
  else say(dim('npm run demo -- --keep leaves the service, the status page and the chat running.'));
} catch (error) {
  if (!(error instanceof Stopped)) {
    process.exitCode = 1;
    console.error(`\n${red('✘')} ${error instanceof Error ? error.message : error}`);
  }
} finally {
  await world?.stop();
  if (stopped) say(dim('\nStopped: what the demo started is gone, and so is its folder.'));
}
if (stopped && process.exitCode === undefined) process.exitCode = 128 + constants.signals[stopped];

async function show(w: World, keep: boolean): Promise<void> {
  const { service, statuspage, chat } = w;
  const documents = `${service.url}/documents`;
  const note = { title: 'A note', body: 'Written by the demo.' };
  const component = () => statuspage.components().find(({ name }) => name === 'Search')?.status;

  heading('A small search service, its status page and its chat, on this machine');
  say(`  search       ${service.url}`);
  say(`  status page  ${statuspage.url}`);
  say(`  chat         ${chat.url}`);
  say(`  files        ${w.folder}`);
  say(
    dim(
      keep ? '  They go on until you press Ctrl-C.' : '  They are there until the demo ends. Ctrl-C stops everything.',
    ),
  );

  heading('Before the window');
  const before = {
    crontab: readFileSync(w.crontab),
    component: component(),
    text: await readText(`${documents}/cron`),
  };
  await claim('a write is taken', async () => {
    const { status } = await send('POST', documents, { id: 'before', ...note });
    assert.equal(status, 201);
    return `POST /documents → ${status}`;
  });
  await claim('a read is served', () => reads(w));
  assert.equal(existsSync(w.flag), false, 'there is a flag already');

  await maint(w, 0, 'start', '--window', '10m', '--reason', 'rebuild the index', '--ticket', 'DEMO-1', '--yes');

  heading('While the window is open');
  const [id = '', holder] = Object.entries(flagOf(w).holders)[0] ?? [];
  const planned = Date.parse(holder?.until ?? '');
  await claim('a write is refused', async () => {
    const { status, headers, body } = await send('POST', documents, { id: 'during', ...note });
    const retryAfter = Number(headers.get('retry-after'));
    assert.equal(status, 503);
    assert.equal(body.code, 'read_only');
    assert.equal(body.window, id);
    const left = (planned - Date.now()) / 1000;
    assert.ok(retryAfter >= left - 1 && retryAfter <= left + 62, `Retry-After is ${retryAfter}, ${left} s are left`);
    return `POST /documents → ${status} ${body.code}, Retry-After: ${retryAfter}`;
  });
  await claim('and nothing of it is there', async () => {
    const { status } = await fetch(`${documents}/during`);
    assert.equal(status, 404);
    return `GET /documents/during → ${status}`;
  });
  const words = { text: 'Reads like new.' };
  const key = '"demo-note-1"';
  let receipt = '';
  await claim('a note is accepted for later', async () => {
    const { status, headers, body } = await send('POST', `${documents}/cron/notes`, words, key);
    assert.equal(status, 202);
    assert.equal(body.status, 'queued');
    receipt = new URL(headers.get('location') ?? '', service.url).href;
    return `POST /documents/cron/notes → ${status}, receipt ${body.receipt.slice(0, 6)}…`;
  });
  await claim('and only once, however often it is sent', async () => {
    const again = await send('POST', `${documents}/cron/notes`, words, key);
    const other = await send('POST', `${documents}/cron/notes`, { text: 'Another one.' }, key);
    const none = await send('POST', `${documents}/cron/notes`, words);
    assert.deepEqual([again.status, other.status, none.status], [202, 422, 400]);
    assert.equal(new URL(again.headers.get('location') ?? '', service.url).href, receipt);
    assert.deepEqual((await send('GET', `${documents}/cron/notes`)).body.notes, []);
    return `the same receipt; other words → ${other.status}; without a key → ${none.status}; nothing is applied yet`;
  });
  await claim('a read is served, and says so', async () => {
    const said = (await fetch(`${documents}/cron`)).headers.get('read-only');
    assert.match(said ?? '', new RegExp(`^\\?1;until=@${Math.floor(planned / 1000)};window="${id}"$`));
    return `${await reads(w)}, Read-Only: ${said}`;
  });
  await claim('an assistant answers, its tool is refused', async () => {
    const { status, body } = await send('GET', `${service.url}/ask?q=cron`);
    assert.equal(status, 200);
    assert.ok(body.answer);
    assert.equal(body.remembered, false);
    return 'GET /ask?q=cron → 200, remembered: false';
  });
  await claim('the ingestion job is skipped', async () => {
    const runs = service.guard?.counts().refused.job ?? 0;
    assert.ok(runs > 0, 'the job was not skipped');
    return `${runs} runs`;
  });
  await claim('its cron job too, and the heartbeat goes on', async () => {
    const lines = readFileSync(w.crontab, 'utf8').split('\n');
    const marked = lines.filter((line) => line.includes(`#maint:${id}:`));
    assert.equal(marked.length, 3);
    assert.ok(marked.some((line) => line.includes('ingest.ts')));
    assert.ok(lines.some((line) => /^\* \* .*heartbeat\.sh$/.test(line)));
    return `${marked.length} lines of the crontab are suspended`;
  });
  await claim('banner, status page and chat say the same', async () => {
    const { body } = await send('GET', `${service.url}/.well-known/maintenance`);
    const [incident] = statuspage.incidents();
    assert.equal(body.read_only, true);
    assert.equal(body.holders[0].until, holder?.until);
    assert.equal(incident?.status, 'in_progress');
    assert.equal(Date.parse(incident?.scheduled_until ?? ''), planned);
    assert.equal(component(), 'under_maintenance');
    assert.ok(chat.messages('ops').length > 0);
    return `until ${holder?.until}`;
  });

  await maint(w, 0, 'extend', '--by', '10m');
  await claim('the end has moved, everywhere', async () => {
    const until = flagOf(w).holders[id]?.until ?? '';
    assert.equal(Date.parse(until), planned + 600_000);
    assert.equal(Date.parse(statuspage.incidents()[0]?.scheduled_until ?? ''), planned + 600_000);
    return until;
  });
  await maint(w, 69, 'status');
  await maint(w, 0, 'end', '--soak', '3s');

  heading('After the window');
  await claim('a write is taken', async () => {
    const { status } = await send('POST', documents, { id: 'after', ...note });
    assert.equal(status, 201);
    return `POST /documents → ${status}`;
  });
  await claim('the note was applied, and once', async () => {
    const told = (await send('GET', receipt)).body;
    assert.equal(told.state, 'applied');
    assert.equal((await send('POST', `${documents}/cron/notes`, words, key)).status, 201);
    const { notes } = (await send('GET', `${documents}/cron/notes`)).body;
    assert.deepEqual(
      notes.map(({ text }: { text: string }) => text),
      [words.text],
    );
    return `its receipt says ${told.state}; sent once more by its client, it is there once`;
  });
  await maint(w, 0, 'queue', 'status', '--queue', 'queue.db');
  await claim('the flag is gone', async () => {
    assert.equal(existsSync(w.flag), false);
    const { body } = await send('GET', `${service.url}/.well-known/maintenance`);
    assert.equal(body.read_only, false);
    return 'no file, and the guard says read_only: false';
  });
  await claim('the crontab is as before', async () => {
    const after = readFileSync(w.crontab);
    assert.ok(after.equals(before.crontab), 'it differs');
    return `byte for byte, all ${after.length}`;
  });
  await claim('the documents are as before', async () => {
    assert.equal(await readText(`${documents}/before`).then((text) => JSON.parse(text).body), note.body);
    assert.equal(JSON.parse(await readText(`${documents}/cron`)).body, JSON.parse(before.text).body);
    assert.equal((await fetch(`${documents}/during`)).status, 404);
    return 'what was refused is not there, what was taken is';
  });
  await claim('the status page followed', async () => {
    const [incident] = statuspage.incidents();
    const states = incident?.incident_updates.map(({ status }) => status).reverse() ?? [];
    const told = states.filter((state, at) => state !== states[at - 1]);
    assert.deepEqual(told.slice(-3), ['in_progress', 'verifying', 'completed']);
    assert.equal(component(), before.component);
    return `${told.join(', ')}; Search is ${component()} again`;
  });
  await claim('so did the chat', async () => {
    const [message, ...replies] = chat.messages('ops');
    assert.ok(message && replies.every(({ thread_ts }) => thread_ts === message.ts));
    return `one message, kept up to date, and ${replies.length} replies`;
  });
  await claim('nothing was sent that their descriptions forbid', async () => {
    assert.deepEqual([...statuspage.violations(), ...chat.violations()], []);
    return `${statuspage.requests().length + chat.requests().length} requests`;
  });

  await evidence(w, id);
}

/** The report's first page: what was promised, and what became of it. */
async function evidence(w: World, id: string): Promise<void> {
  const report = await maint(w, 0, 'report', id);
  const [page = '', details = ''] = report.split('\n---\n');
  say(`${page.trimEnd()}\n`);
  say(dim(`  (left out here: notices, changes, checks and the timeline)\n`));
  await claim('the report says so, with evidence', async () => {
    assert.match(page, /: closed, read-only for \d.*Everything is restored/);
    const verdicts = [...page.matchAll(/^- (.*): \*\*(.*)\*\* · /gm)].map(
      ([, promise, verdict]) => `${promise}: ${verdict}`,
    );
    assert.deepEqual(verdicts, [
      'Writes are refused: kept',
      'Nothing is written: kept',
      'Reads are fine: kept, soak only',
      'People are told: kept',
      'Retrieval is as before: not measured',
    ]);
    const checks = details.split('## Checks\n')[1]?.split('\n## ')[0] ?? '';
    const outcomes = [...checks.matchAll(/^\| \d.* \| (\w+): .* \|$/gm)].map(([, outcome]) => outcome);
    assert.ok(outcomes.length >= 6, `${outcomes.length} checks`);
    assert.deepEqual(new Set(outcomes), new Set(['pass']));
    return `${verdicts.length} promises, ${outcomes.length} checks, all passed`;
  });
}

/** Runs the command line as a person would and holds it to its exit code. A report is returned, all else is shown. */
async function maint(w: World, expected: number, ...args: string[]): Promise<string> {
  heading(`$ maint ${args.map((arg) => (/[^\w.:/-]/.test(arg) ? `'${arg}'` : arg)).join(' ')}`);
  if (stopped) throw new Stopped();
  // Only what it needs: a MAINT_… or a NODE_OPTIONS from outside would make another demo of this one.
  const base = Object.fromEntries(SHELL_NEEDS.map((name) => [name, process.env[name]]));
  child = spawn(process.execPath, [MAINT, ...args], {
    cwd: w.folder,
    env: { ...base, ...w.env },
    // Two pipes lose the order in which things were said; off a terminal all of it goes one way.
    stdio: [
      'ignore',
      args[0] === 'report' ? 'pipe' : 'inherit',
      process.stdout.isTTY && process.stderr.isTTY ? 'inherit' : 1,
    ],
  });
  let printed = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child?.once('error', reject).once('close', resolve);
  });
  child = undefined;
  if (stopped) throw new Stopped();
  assert.equal(code, expected, `maint ${args[0]} ended with exit code ${code}, expected ${expected}`);
  claims++;
  say(`${green('✔')} exit code ${code}${expected === 69 ? ' (a window is open)' : ''}`);
  return printed;
}

/** `check` throws, or returns what it saw. */
async function claim(words: string, check: () => Promise<string>): Promise<void> {
  if (stopped) throw new Stopped();
  const seen = await check().catch((error: unknown) => {
    if (stopped) throw new Stopped();
    throw new Error(`${words}: does not hold. ${error instanceof Error ? error.message : error}`);
  });
  claims++;
  say(`${green('✔')} ${words.padEnd(47)} ${dim(seen)}`);
}

async function reads({ service }: World): Promise<string> {
  const { status, body } = await send('GET', `${service.url}/search?q=window`);
  assert.equal(status, 200);
  assert.ok(body.results.length > 0, 'nothing was found');
  return `GET /search?q=window → ${status}, ${body.results.length} found`;
}

async function send(method: string, url: string, body?: unknown, key?: string) {
  const response = await fetch(url, {
    method,
    signal: AbortSignal.timeout(5000),
    headers: {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(key === undefined ? {} : { 'idempotency-key': key }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as any };
}

async function readText(url: string): Promise<string> {
  const response = await fetch(url, { signal: AbortSignal.timeout(5000) });
  assert.equal(response.status, 200, `${url} answered ${response.status}`);
  return await response.text();
}

function flagOf(w: World): { holders: Record<string, { until: string }> } {
  return JSON.parse(readFileSync(w.flag, 'utf8'));
}

async function keepGoing(w: World): Promise<void> {
  const file = join(w.folder, 'env.sh');
  const quote = (value: string) => `'${value.replaceAll("'", `'\\''`)}'`;
  const exported = Object.entries(w.env).map(([name, value]) => `export ${name}=${quote(value)}\n`);
  const command = `maint() { ${quote(process.execPath)} ${quote(MAINT)} "$@"; }\n`;
  writeFileSync(file, `${exported.join('')}${command}cd ${quote(w.folder)}\n`, { mode: 0o600 });
  heading('The world goes on until you press Ctrl-C. In another terminal:');
  say(`  . ${file}\n  maint start --window 10m`);
  // A server keeps the process alive; the promise alone would not.
  await whenStopped;
  // It is how this ends, not a failure.
  if (stopped === 'SIGINT') process.exitCode = 0;
}

function stop(signal: NodeJS.Signals): void {
  if (stopped) return;
  stopped = signal;
  tellStopped();
  const running = child;
  if (!running) return;
  // Ctrl-C goes to the whole terminal, the command line has it already; a second one would cut its own ending short.
  if (signal !== 'SIGINT' || !process.stdin.isTTY) running.kill(signal);
  setTimeout(() => running.kill('SIGKILL'), KILL_AFTER_MS).unref();
}

function options() {
  try {
    return parseArgs({ options: { keep: { type: 'boolean' } } }).values;
  } catch (error) {
    throw new Error(`${(error as Error).message} The only option is --keep: npm run demo -- --keep`);
  }
}

function heading(text: string): void {
  say(`\n${styleText('bold', text)}`);
}
function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
function green(text: string): string {
  return styleText('green', text);
}
function red(text: string): string {
  return styleText('red', text);
}
function dim(text: string): string {
  return styleText('dim', text);
}
