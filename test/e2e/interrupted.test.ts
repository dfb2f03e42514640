// Whatever a verb waits for, a signal ends it within five seconds: 130, in the usual words, with nothing of a bug. The
// flag's Redis, a guard and a script accept the question and never answer.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { begin, maint } from '../support/cli.ts';
import { type Hanging, hanging } from '../support/hanging.ts';
import { describeWith, type Server, startRedis } from '../support/servers.ts';
import { until } from '../support/until.ts';

const GONE_MS = 5_000;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const START = ['start', '-r', 'runbook.yaml', '--window', '30m', '--yes'];
const RUNBOOK = ['-r', 'runbook.yaml'];

const CLOSED: readonly (readonly string[])[] = [
  START,
  ['start', ...RUNBOOK, '--window', '30m', '--dry-run'],
  ['announce', ...RUNBOOK, '--at', '2099-12-01T02:00Z', '--window', '30m', '--dry-run'],
  ['rehearse', ...RUNBOOK],
  ['rehearse', ...RUNBOOK, '--format', 'junit'],
  ['observe', ...RUNBOOK],
  ['doctor', ...RUNBOOK],
  ['doctor', ...RUNBOOK, '--json'],
  ['observe', ...RUNBOOK, '--output', 'world.json'],
  ['end', ...RUNBOOK],
  ['end', ...RUNBOOK, '--holder', 'w-1f3a', '--reason', 'gone'],
];
const OPEN: readonly (readonly string[])[] = [
  START,
  ['start', ...RUNBOOK, '--window', '30m', '--dry-run'],
  ['extend', '--by', '15m'],
  ['note', 'half of it is done'],
  ['verify'],
  ['verify', '--json'],
  ['status'],
  ['status', '--follow'],
  ['end'],
  ['end', '--dry-run'],
  ['abort'],
  ['abort', '--dry-run'],
  ['scope', 'check', ...RUNBOOK],
];

describeWith('redis', 'a signal while something does not answer', () => {
  let redis: Server;
  let way: Hanging;
  let guard: HttpServer;
  let cwd = '';
  let held = false;
  let waiting = 0;
  let client: Redis;

  beforeAll(async () => {
    redis = await startRedis();
    way = await hanging(redis.port);
    client = new Redis(redis.url);
    guard = createServer(async (_request, response) => {
      if (held) {
        waiting++;
        return;
      }
      const document = JSON.parse((await client.get('maint:read_only')) ?? '{"holders":{}}');
      const holders = Object.keys(document.holders).map((window) => ({ window }));
      response.setHeader('Content-Type', 'application/json');
      response.end(JSON.stringify({ read_only: holders.length > 0, holders, refused: 0, in_flight: 0 }));
    });
    await new Promise<void>((resolve) => guard.listen(0, '127.0.0.1', resolve));
  }, 60_000);
  afterAll(async () => {
    guard.closeAllConnections();
    guard.close();
    client.disconnect();
    way.stop();
    await redis.stop();
  });

  beforeEach(async () => {
    await client.flushall();
    cwd = mkdtempSync(join(tmpdir(), 'maint-interrupted-'));
    const at = `http://127.0.0.1:${(guard.address() as AddressInfo).port}`;
    writeFileSync(
      join(cwd, 'runbook.yaml'),
      [
        'version: 1',
        'environment: prod',
        'contact: "#ops"',
        'soak: 1s',
        'steps:',
        `  - { uses: flag/redis, with: { url: "redis://127.0.0.1:${way.port}" } }`,
        `  - { id: guards, uses: drain/inflight, with: { guards: ["${at}"], samples: 1 } }`,
        `  - { id: knows, uses: verify/flag, with: { guards: ["${at}"], samples: 1 } }`,
        '',
      ].join('\n'),
    );
  });
  afterEach(() => {
    way.hang(false);
    held = false;
    rmSync(cwd, { recursive: true, force: true });
  });

  function hang(): void {
    way.hang(true);
    held = true;
    waiting = 0;
  }

  async function interrupt(argv: readonly string[], signal: (typeof SIGNALS)[number]) {
    const running = begin(argv, { cwd });
    await until(() => way.unanswered() + waiting > 0 || running.child.exitCode !== null, 30_000);
    const began = performance.now();
    running.child.kill(signal);
    const ran = await running.ended;
    return { ...ran, ms: performance.now() - began };
  }

  function expectInterrupted(ran: Awaited<ReturnType<typeof interrupt>>, signal: string): void {
    expect([ran.code, ran.signal]).toEqual([130, null]);
    expect(ran.output).toContain('E_INTERRUPTED');
    expect(ran.output).toContain(`interrupted (${signal})`);
    expect(ran.output).not.toMatch(/E_BUG|^\s+at /m);
    expect(ran.ms).toBeLessThan(GONE_MS);
  }

  for (const [n, argv] of CLOSED.entries()) {
    const signal = SIGNALS[n % SIGNALS.length]!;
    test(`${signal}: maint ${argv.join(' ')}, nothing is open`, async () => {
      hang();
      const ran = await interrupt(argv, signal);
      expectInterrupted(ran, signal);
      expect(ran.output).toContain('nothing was changed');
    }, 60_000);
  }

  for (const [n, argv] of OPEN.entries()) {
    const signal = SIGNALS[(n + 1) % SIGNALS.length]!;
    test(`${signal}: maint ${argv.join(' ')}, a window is open`, async () => {
      const opened = await maint(START, { cwd });
      expect([opened.code, opened.output]).toEqual([0, expect.any(String)]);
      hang();
      expectInterrupted(await interrupt(argv, signal), signal);
    }, 90_000);
  }
});
