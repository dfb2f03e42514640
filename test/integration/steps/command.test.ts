// Real processes: good ones, and some that hang, crash and print nonsense.
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type Is, Unknown } from '../../../src/engine/contract.ts';
import { see as look } from '../../../src/engine/see.ts';
import { type CommandState, command } from '../../../src/steps/command/command.ts';
import { failure, type TestClients, testClients } from '../../support/clients.ts';
import { windowOf } from '../../support/one-check.ts';

let tools: TestClients;
let folder: string;
beforeEach(() => {
  tools = testClients();
  folder = mkdtempSync(join(tmpdir(), 'maint-command-'));
  writeFileSync(join(folder, 'state'), 'running\n');
  script('observe', 'cat state 2>/dev/null || true');
  script(
    'write',
    'if [ -n "$MAINT_TO" ]; then echo "$MAINT_TO" >state; else rm -f state; fi; echo "$MAINT_FROM>$MAINT_TO $MAINT_WINDOW $MAINT_UNTIL" >>log',
  );
});
afterEach(async () => {
  await tools[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

function script(name: string, body: string): void {
  writeFileSync(join(folder, name), `#!/bin/sh\n${body}\n`);
  chmodSync(join(folder, name), 0o755);
}

const window = windowOf();
const params = (more = {}) =>
  command.Params.parse({
    observe: ['./observe'],
    write: ['./write'],
    frozen: 'paused',
    role: 'work',
    cwd: folder,
    ...more,
  });
async function see(more = {}, options = {}): Promise<Is<CommandState> | Unknown> {
  const step = { id: 'x', plugin: command, params: params(more), deadlineMs: 1000 };
  const { states } = await look(step, tools.reader(options), { phase: 'open', window, owned: new Map() });
  expect([...states.keys()]).toEqual(['state']);
  return states.get('state')!;
}
const write = (from: string | null, to: string | null, options = {}) =>
  command.write(
    tools.writer(options),
    params(),
    [{ id: 'state', from: from === null ? null : { value: from }, to: to === null ? null : { value: to } }],
    window,
  );

describe('a script that does as it says', () => {
  test('is frozen and comes back, also to nothing at all', async () => {
    expect(await see()).toEqual({ value: 'running' });
    const at = { params: params(), window, id: 'state' };
    const frozen = command.desired({ ...at, phase: 'open', held: true, now: { value: 'running' }, before: undefined });
    expect(frozen).toEqual({ value: 'paused' });
    expect(await write('running', 'paused')).toEqual([{ value: 'paused' }]);
    expect(tools.calls).toEqual(['spawned', 'before exec write', 'after exec write']);
    expect(await see()).toEqual({ value: 'paused' });
    expect(
      command.desired({ ...at, phase: 'closed', held: false, now: { value: 'paused' }, before: { value: 'running' } }),
    ).toEqual({ value: 'running' });
    expect(await write('paused', null)).toEqual([null]);
    expect(await see()).toBeNull();
    expect(readFileSync(join(folder, 'log'), 'utf8')).toBe(
      `running>paused w-aaaa ${window.until}\npaused> w-aaaa ${window.until}\n`,
    );
  });

  test('its role is a param', () => {
    expect(command.roleOf!(params({ role: 'wall' }))).toBe('wall');
    expect(command.roleOf!(params())).toBe('work');
  });

  test('may need a moment until it can be seen', async () => {
    script('write', '(sleep 0.3; echo paused >state) >/dev/null 2>&1 &');
    expect(await write('running', 'paused')).toEqual([{ value: 'paused' }]);
  });

  test('notes say what changes, and whose word a dry run relies on', () => {
    const context = { params: params(), phase: 'open' as const, window, owned: new Map(), seen: new Map() };
    const changes = [{ id: 'state', from: { value: 'running' }, to: { value: 'paused' } }];
    expect(command.notes!({ ...context, changes, when: 'plan' })).toEqual([
      '"running" to "paused"',
      "that observe changes nothing is its author's word",
    ]);
    expect(command.notes!({ ...context, changes, when: 'done' })).toEqual(['"paused", read back']);
  });
});

describe('nonsense', () => {
  test.each([
    ['two words', 'echo running well', '"running well"'],
    ['several lines', 'echo one; echo two', '2 lines, beginning with "one\\ntwo"'],
    ['a flood', 'head -c 3000 /dev/zero | tr "\\0" x', '3,000 characters'],
    ['bytes', 'printf "a\\377\\376b"', 'something that is no text'],
    ['a bell', 'printf "red\\007"', 'something that is no text'],
    ['a backspace', 'printf "ref\\bd"', 'something that is no text'],
    ['only a colour', 'printf "\\033[31m\\033[0m\\n"', 'only control characters'],
    ['the word on the wrong stream', 'echo running >&2', 'nothing, and this to stderr: "running"'],
    ['a complaint', 'echo "cannot connect" >&2', 'nothing, and this to stderr: "cannot connect"'],
  ])('%s', async (_name, body, words) => {
    script('observe', body);
    const seen = await see();
    expect(seen).toBeInstanceOf(Unknown);
    expect(seen).toMatchObject({ refused: false });
    expect((seen as Unknown).why.replace(' to stdout', '')).toBe(`observe must print one word, and printed ${words}`);
  });

  test.each([
    ['colours', 'printf "\\033[32mrunning\\033[0m\\n"'],
    ['a colour that is reset by nobody', 'printf "\\033[1;38;5;208mrunning"'],
    ['a link', 'printf "\\033]8;;http://x\\007running\\033]8;;\\007"'],
    ['words on the other stream as well', 'echo "a warning" >&2; echo running'],
  ])('%s around the word say nothing about the state', async (_name, body) => {
    script('observe', body);
    expect(await see()).toEqual({ value: 'running' });
  });

  test('no state at all, or one that cannot be told after a write', async () => {
    script('observe', 'exit 3');
    expect(await failure(see() as Promise<unknown>)).toMatchObject({
      message: 'observe ended with exit code 3',
      effect: 'none',
      retryable: false,
    });
    script('observe', 'if [ -e log ]; then echo a b; else cat state; fi');
    expect(await failure(write('running', 'paused'))).toMatchObject({
      message: expect.stringContaining('must print one word'),
      effect: 'answered',
      retryable: true,
    });
  }, 10_000);
});

describe('failures', () => {
  test('that changed nothing say so', async () => {
    script('write', 'echo "queue is not there" >&2; exit 1');
    expect(await failure(write('running', 'paused'))).toMatchObject({
      message: 'write ended with exit code 1: queue is not there',
      effect: 'answered',
      retryable: false,
    });
    script('write', 'exit 75');
    expect(await failure(write('running', 'paused'))).toMatchObject({ retryable: true });
  });

  test('half of the way is told as it is', async () => {
    script('write', 'echo draining >state; kill -KILL $$');
    expect(await write('running', 'paused')).toEqual([{ value: 'draining' }]);
    script('write', 'echo paused >state; exit 1');
    expect(await write('draining', 'paused')).toEqual([{ value: 'paused' }]);
  });

  test('a write that does nothing and says nothing is tried again, not believed', async () => {
    script('write', 'true');
    expect(await failure(write('running', 'paused'))).toMatchObject({
      message: 'write ended without an error, and yet observe still says "running", not "paused"',
      effect: 'answered',
      retryable: true,
    });
  }, 10_000);

  test('a write that hangs is ended with all that it started, and its outcome is open', async () => {
    script('write', 'sleep 60 & echo $! >child; wait');
    const failed = await failure(write('running', 'paused', { ms: 500 }));
    expect(failed).toMatchObject({
      effect: 'unknown',
      retryable: true,
      message: expect.stringContaining('still ran after'),
    });
    const pid = Number(readFileSync(join(folder, 'child'), 'utf8'));
    expect(existsSync(`/proc/${pid}`) && !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')).toBe(false);
  });

  test('an observe that hangs, and a program that is not there', async () => {
    script('observe', 'sleep 60');
    expect(await failure(see({}, { ms: 300 }) as Promise<unknown>)).toMatchObject({ effect: 'none', retryable: true });
    expect(await failure(see({ observe: ['./gone'] }) as Promise<unknown>)).toMatchObject({
      message: `${join(folder, 'gone')} is not there`,
      effect: 'none',
    });
  });
});

describe('params', () => {
  const issues = (value: Record<string, unknown>) => {
    const base = { observe: ['a'], write: ['b'], frozen: 'paused', role: 'work' };
    return command.Params.safeParse({ ...base, ...value }).error?.issues.map((one) => [
      one.path.join('.'),
      one.message,
    ]);
  };
  test('a relative program needs a folder to count from', () => {
    expect(issues({})).toBeUndefined();
    expect(issues({ observe: ['/bin/a'], write: ['scripts/b'] })).toEqual([
      ['write.0', `is a relative path, so it needs cwd; "cwd: ." is the runbook's folder`],
    ]);
    expect(issues({ write: ['scripts/b'], cwd: '/x' })).toBeUndefined();
  });
  test('a word that observe can never print, an empty command, another role', () => {
    expect(issues({ frozen: 'not now' })).toEqual([['frozen', 'one word of at most 200 characters']]);
    expect(issues({ observe: [] })?.[0]?.[0]).toBe('observe');
    expect(issues({ observe: [''] })?.[0]?.[0]).toBe('observe.0');
    expect(issues({ role: 'lock' })?.[0]?.[0]).toBe('role');
  });
});
