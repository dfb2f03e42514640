import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { startTimeOf } from '../../../src/clients/process.ts';
import { failure, type TestClients, testClients } from '../../support/clients.ts';

async function until(condition: () => boolean, ms = 5000): Promise<void> {
  const end = Date.now() + ms;
  while (!condition()) {
    if (Date.now() > end) throw new Error('it did not come about');
    await new Promise((done) => setTimeout(done, 10));
  }
}

describe('the command client', () => {
  let folder: string;
  let io: TestClients;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'maint-test-exec-'));
    io = testClients(['hunter22']);
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test('argv, input, environment, folder, exit codes', async () => {
    const { exec } = io.writer();
    const script = 'cat; printf "%s|%s|%s" "$A" "$1" "$(pwd)"; echo err >&2; exit 3';
    const options = { stdin: 'in|', env: { A: 'a b' }, cwd: folder, expect: [0, 3] };
    for (const call of [exec.run, exec.read]) {
      expect(await call(['sh', '-c', script, 'sh', '$x `y` "z'], options)).toEqual({
        exitCode: 3,
        stdout: `in|a b|$x \`y\` "z|${folder}`,
        stderr: 'err\n',
      });
    }
    expect(io.calls).toEqual(['spawned', 'before exec sh', 'after exec sh']);
    expect((await exec.read(['cat'])).stdout).toBe('');
    const long = 'ü'.repeat(3_000_000);
    expect((await exec.run(['cat'], { stdin: long })).stdout === long).toBe(true);
  });

  test('it begins only after its pid is durable; the pid and start time are its own', async () => {
    const mark = join(folder, 'begun');
    let seen: { pid: number; startTime: string } | undefined;
    const { exec } = io.writer({
      hooks: {
        async spawned(process) {
          seen = process;
          await new Promise((done) => setTimeout(done, 100));
          expect(existsSync(mark)).toBe(false);
        },
      },
    });
    const { stdout } = await exec.run(['sh', '-c', `touch ${mark}; echo $$; cut -d' ' -f22 /proc/$$/stat 2>/dev/null`]);
    expect(existsSync(mark)).toBe(true);
    expect(stdout.split('\n')[0]).toBe(String(seen?.pid));
    if (process.platform === 'linux') expect(stdout.split('\n')[1]).toBe(seen?.startTime);
  });

  test('where the journal fails it never begins', async () => {
    const mark = join(folder, 'begun');
    let pid = 0;
    const { exec } = io.writer({
      hooks: {
        async spawned(process) {
          pid = process.pid;
          throw new Error('disk full');
        },
      },
    });
    await expect(exec.run(['touch', mark])).rejects.toThrow('disk full');
    await until(() => startTimeOf(pid) === undefined);
    expect(existsSync(mark)).toBe(false);
  });

  const child = (script: string) => {
    const clients = new URL('../../../src/clients/index.ts', import.meta.url).pathname;
    const text = `import { createClients } from ${JSON.stringify(clients)};
      const writer = (hooks) => createClients().writer({ signal: new AbortController().signal, deadline: Date.now() + 60000,
        hooks: { before() {}, after() {}, async spawned() {}, ...hooks } });
      ${script}`;
    return spawn(process.execPath, ['--input-type=module', '-e', text], { stdio: ['ignore', 'pipe', 'inherit'] });
  };

  test('maint dies before: the command never begins', async () => {
    const mark = join(folder, 'begun');
    const maint = child(`await writer({ async spawned({ pid }) {
      process.stdout.write(String(pid));
      await new Promise((done) => process.stdout.write('', done));
      process.kill(process.pid, 'SIGKILL');
    } }).exec.run(['touch', ${JSON.stringify(mark)}])`);
    let out = '';
    maint.stdout.on('data', (chunk) => {
      out += chunk;
    });
    await new Promise((done) => maint.once('close', done));
    expect(Number(out)).toBeGreaterThan(0);
    await until(() => startTimeOf(Number(out)) === undefined);
    expect(existsSync(mark)).toBe(false);
  });

  test('maint dies while: the command goes on to its end, with all its input', async () => {
    const mark = join(folder, 'done');
    const script = `echo one; touch ${mark}.begun; while [ ! -e ${mark}.go ]; do sleep 0.01; done; echo two && cat >${mark}`;
    const input = 'x'.repeat(300_000);
    const maint = child(`
      const timer = setInterval(async () => {
        const { existsSync } = await import('node:fs');
        if (existsSync(${JSON.stringify(`${mark}.begun`)})) process.kill(process.pid, 'SIGKILL');
      }, 5);
      await writer().exec.run(['sh', '-c', ${JSON.stringify(script)}], { stdin: 'x'.repeat(300000) })`);
    await new Promise((done) => maint.once('exit', done));
    expect(existsSync(mark)).toBe(false);
    await (await import('node:fs/promises')).writeFile(`${mark}.go`, '');
    await until(() => existsSync(mark) && readFileSync(mark, 'utf8') === input);
  });

  test('not there, not executable, no folder', async () => {
    const { exec } = io.writer();
    expect(await failure(exec.run(['no-such-program', 'hunter22']))).toEqual({
      message: 'no-such-program is not installed, or not on PATH',
      effect: 'none',
      retryable: false,
      code: 'ENOENT',
    });
    expect(await failure(exec.read([join(folder, 'x.sh')]))).toMatchObject({ code: 'ENOENT' });
    expect(await failure(exec.read(['/etc/passwd']))).toMatchObject({ code: 'EACCES' });
    expect(await failure(exec.run(['true'], { cwd: join(folder, 'no') }))).toMatchObject({ code: 'ENOENT' });
    expect(await failure(exec.read(['true'], { env: { PATH: folder } }))).toMatchObject({ code: 'ENOENT' });
    await expect(exec.read([])).rejects.toThrow(/list/);
    expect(io.calls).toEqual([]);
  });

  test.each([
    ['a secret', 'hunter22', '[reda'],
    ['a character', '👩‍👩‍👧‍👦', ''],
  ])('%s at the place where the last words are cut is there whole or not at all', async (_name, what, shown) => {
    const line = `${'a '.repeat(97)}${what}${' b'.repeat(60)}`;
    const error = await failure(io.writer().exec.run(['sh', '-c', 'echo "$1" >&2; exit 4', 'sh', line]));
    expect(error['message']).toBe(`sh ended with exit code 4: ${'a '.repeat(97)}${shown}…`);
  });

  test('a failing one: its last words, redacted', async () => {
    expect(await failure(io.writer().exec.run(['sh', '-c', 'echo a; echo no hunter22 >&2; exit 4']))).toEqual({
      message: 'sh ended with exit code 4: no [redacted]',
      effect: 'answered',
      retryable: false,
      status: 4,
      code: 'EXIT_4',
    });
    expect(await failure(io.reader().exec.read(['sh', '-c', 'exit 75']))).toMatchObject({
      effect: 'none',
      retryable: true,
    });
    expect(await failure(io.writer().exec.run(['sh', '-c', 'kill -9 $$']))).toMatchObject({
      message: 'sh was ended by SIGKILL',
      effect: 'answered',
    });
  });

  test.each(['run', 'read'] as const)('a hanging %s is ended with all that it has started', async (kind) => {
    const pids = join(folder, 'pids');
    const script = `sleep 300 & echo $! >>${pids}; (trap "" TERM; echo ready >>${pids}; sleep 300) & echo $! >>${pids}; wait`;
    const seen = await failure(io.writer().exec[kind](['sh', '-c', script], { timeoutMs: 300 }));
    expect(seen).toMatchObject({ retryable: true, code: 'ETIMEDOUT', effect: kind === 'run' ? 'unknown' : 'none' });
    const all = readFileSync(pids, 'utf8')
      .split('\n')
      .map(Number)
      .filter((pid) => pid > 0);
    expect(all).toHaveLength(2);
    await until(() => all.every((pid) => startTimeOf(pid) === undefined));
  });

  test('interrupted', async () => {
    const controller = new AbortController();
    const { exec } = io.writer({ signal: controller.signal });
    const running = failure(exec.run(['sleep', '300']));
    await until(() => io.calls.includes('before exec sleep'));
    controller.abort();
    expect(await running).toMatchObject({ effect: 'unknown', retryable: false, code: 'ABORTED' });
  });

  test('a grandchild that keeps the output open holds nobody up', async () => {
    const { stdout } = await io.writer().exec.run(['sh', '-c', 'sleep 300 & echo $!']);
    // it has not ended, so nobody has waited for it
    expect(process.kill(Number(stdout))).toBe(true);
  });
});
