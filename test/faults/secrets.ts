// A whole window with faults, by processes of its own, and then everything that somebody could get to see: none of the
// canaries may be in it, in any form. `npm run sweep:faults -- --secrets`
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { BIN } from '../support/cli.ts';
import { recordedIn } from './faults.ts';
import { leaksOf } from './leaks.ts';
import { forget } from './proxies.ts';
import { CRONTAB, makeWorld, SECRETS, type Servers, STATE_PASSWORD } from './world.ts';

const QUICK = new URL('quick.ts', import.meta.url).href;
/** In the environment, and named by no runbook. */
const UNRELATED = 'canary-unrelated-8';
const CANARIES = {
  ...SECRETS,
  PAGE_TOKEN_SENT: SECRETS.PAGE_TOKEN.replaceAll(' ', ''),
  CRON_LINE: 'canary-in-a-line-7',
  STATE_PASSWORD,
  UNRELATED,
};
/** Where they are kept, or were brought to by somebody else than maint. */
const KEPT = ['chat-token', 'table', 'app.cron', 'of-script'];

/** `leaks` are so whatever else went wrong; `quick`: by how much the processes' clock runs faster. */
export async function lookForSecrets(
  servers: Servers,
  quick: number,
): Promise<{ leaks: string[]; wrong: string[]; looked: string }> {
  const world = await makeWorld(servers);
  const wrong: string[] = [];
  const places: Record<string, string | Buffer> = {};
  let argvs = '';
  /** for a report of Node's own */
  let asked = false;
  try {
    const script = (name: string, text: string) => {
      writeFileSync(join(world.folder, name), `#!/bin/sh\n${text}\n`);
      chmodSync(join(world.folder, name), 0o755);
    };
    mkdirSync(join(world.folder, 'bin'));
    const dump = (name: string) =>
      `tr '\\0' '\\n' < /proc/$$/environ >> ${world.folder}/${name}; tr '\\0' ' ' < /proc/$$/cmdline >> ${world.folder}/arguments`;
    script(
      'bin/crontab',
      `${dump('environ')}\ncase "$*" in *-l*) cat ${world.folder}/table;; *) cat > ${world.folder}/table.new; mv ${world.folder}/table.new ${world.folder}/table;; esac`,
    );
    script('state.sh', 'cat mode');
    script('switch.sh', `${dump('of-script')}\necho $MAINT_TO > mode`);
    writeFileSync(join(world.folder, 'table'), CRONTAB);
    writeFileSync(join(world.folder, 'mode'), 'rw\n');
    writeFileSync(
      world.runbook,
      readFileSync(world.runbook, 'utf8').replace(
        /.*crons\/crontab.*\n/,
        '  - { uses: crons/crontab, with: { keep: [heartbeat.sh] } }\n  - { id: switch, uses: command, with: { observe: [./state.sh], write: [./switch.sh], frozen: ro, role: work, cwd: . } }\n',
      ),
    );
    const services = [...world.proxies.keys()].filter((name) => name !== 'flag');
    const told = async (echo: string[], codes: number[], ...argv: string[]) => {
      world.faulty.echo = new Set(echo);
      const { code, output } = await run(argv);
      world.faulty.echo.clear();
      const name = `the output of ${argv.join(' ')}${echo.length > 0 ? ` while ${echo.join(', ')} said everything back` : ''}`;
      places[name] = (places[name] ?? '') + output;
      if (!codes.includes(code)) wrong.push(`${name}: ended ${code}, not ${codes.join(' or ')}:\n${output}`);
      if (/\n\s+at .*:\d+:\d+/.test(output)) wrong.push(`${name}: a stack trace`);
    };
    const start = ['start', '--runbook', world.runbook, '--window', '30m', '--yes'];
    const recorded = join(world.folder, 'world.json');
    const soft = services.filter((name) => name !== 'api');
    await told([], [0], ...start, '--dry-run', '--json');
    await told(soft, [0, 66], ...start, '--dry-run');
    await told([], [0], 'observe', '--runbook', world.runbook, '--output', recorded);
    await told(soft, [0], 'observe', '--runbook', world.runbook);
    await told([], [0], 'rehearse', '--runbook', world.runbook, '--world', recorded, '--format', 'json');
    await told([], [0], 'rehearse', '--runbook', world.runbook);
    await told([], [0], 'runbook', 'check', world.runbook);
    await told(soft, [0], ...start);
    await told([], [0], ...start, '--json');
    await told(['page', 'chat'], [69], 'status', '--json');
    await told([], [0, 69], 'verify', '--json');
    await told(soft, [0], 'extend', '--by', '5m');
    await told(['page', 'chat'], [0], 'note', 'reindex 60 %, next update 02:40Z');
    await told([], [69], 'status', '--all', '--json');
    const { window } = JSON.parse((await run(['status', '--json'])).output);
    await told([], [0], 'window', 'export', window, '--copy', '--output', 'window.json');
    await told([], [66], 'window', 'import', 'window.json');
    await told(services, [68], 'end', '--soak', '1s', '--json');
    await told(['alerts'], [68], 'end');
    await told([], [0], 'end', '--json');
    await told([], [0], 'report');
    await told([], [0], 'report', '--json');
    await told([], [0], 'history', '--json');

    for (const path of filesOf(world.folder)) {
      const name = relative(world.folder, path);
      if (!KEPT.includes(name)) places[`the file ${name}`] = readFileSync(path);
    }
    places['the process list'] = argvs;
    places['the journal'] = await recordedIn(world);
    const leaks = leaksOf(CANARIES, places);
    // what finds nothing must be able to find something
    const seen = join(world.folder, 'of-script');
    const ofScript = existsSync(seen) ? readFileSync(seen) : '';
    if (leaksOf({ UNRELATED }, { 'of-script': ofScript }).length === 0)
      wrong.push('the environment of the script was not seen');
    if (!Object.values(places).some((text) => text.includes('[redacted]'))) wrong.push('nothing was ever redacted');
    if (!existsSync(join(world.folder, 'environ'))) wrong.push('crontab was not called');
    const names = filesOf(world.folder).map((path) => relative(world.folder, path));
    const cores = names.filter((name) => /^core\b/.test(name));
    if (cores.length > 0) wrong.push(`core files: ${cores.join(', ')}`);
    const reports = names.filter((name) => /^report\..*\.json$/.test(name));
    if (reports.length === 0) wrong.push('Node made no diagnostic report: what is in one was not looked at');
    const state = join(world.folder, 'state');
    if (world.state && existsSync(state)) wrong.push('a folder for a state that is on a server');
    const modes: [string, number][] = world.state
      ? []
      : [[state, 0o700], ...filesOf(state).map((file): [string, number] => [file, 0o600])];
    for (const [path, wanted] of modes) {
      const mode = statSync(path).mode & 0o777;
      if (mode !== wanted)
        wrong.push(`${relative(world.folder, path)} has the mode ${mode.toString(8)}, not ${wanted.toString(8)}`);
    }
    if (!argvs.includes('crontab')) wrong.push('no process was seen: nothing was looked at');
    const looked = `${Object.keys(places).length} places, ${Object.keys(CANARIES).length} secrets`;
    return { leaks, wrong, looked: `${looked}, ${leaks.length} found, ${wrong.length} wrong` };
  } finally {
    await world.stop();
  }

  async function run(argv: string[]): Promise<{ code: number; output: string }> {
    forget(world.faulty);
    const umask = process.umask(0);
    // core files are allowed as far as they can be here, and Node reports what it is doing when it is asked by a signal
    const allowed = ['-c', 'ulimit -S -c "$(ulimit -H -c)"; exec "$@"', 'sh', process.execPath];
    const node = ['--disable-warning=ExperimentalWarning', '--report-on-signal', '--import', QUICK];
    const child = spawn('sh', [...allowed, ...node, BIN, ...argv], {
      cwd: world.folder,
      env: {
        MAINT_STATE: join(world.folder, 'state', 'state.db'),
        ...world.env,
        UNRELATED,
        TEST_QUICK: String(quick),
        HOME: world.folder,
        PATH: `${join(world.folder, 'bin')}:${process.env['PATH']}`,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    process.umask(umask);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
    const looking = setInterval(() => {
      argvs += argvsOf(child.pid!);
      // in the middle of a window's opening: whoever begins or ends just then would die of the signal
      const middle = world.faulty.passed.some((call) => call.startsWith('cache PURGE'));
      if (!asked && middle && argv[0] === 'start') asked = child.kill('SIGUSR2');
    }, 20);
    const code = await new Promise<number>((resolve) => child.once('close', (ended) => resolve(ended ?? -1)));
    clearInterval(looking);
    argvs += existsSync(join(world.folder, 'arguments')) ? readFileSync(join(world.folder, 'arguments'), 'utf8') : '';
    return { code, output };
  }
}

/** Of a process and all that it began. */
function argvsOf(pid: number): string {
  try {
    const own = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(/\s+/).filter(Boolean);
    return `${own}\n${children.map((child) => argvsOf(Number(child))).join('')}`;
  } catch {
    return '';
  }
}

function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
