import { createServer, type Server as HttpServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createClients } from '../../../src/clients/index.ts';
import { pollOf } from '../../../src/engine/acting.ts';
import type { Phase } from '../../../src/engine/contract.ts';
import { OuterError } from '../../../src/errors/catalogue.ts';
import { cacheHttp, Params } from '../../../src/steps/cache/http.ts';
import { redisNamespace } from '../../../src/steps/cache/redis-namespace.ts';
import { Crash, drive, WINDOW } from '../../support/drive.ts';
import { describeWith, type Server, startRedis, startVarnish } from '../../support/servers.ts';

const clients = createClients();
afterAll(() => clients.close());

function run(params: Record<string, unknown>, deadlineMs = 3_000) {
  const signal = new AbortController().signal;
  const deadline = Date.now() + deadlineMs;
  const poll = pollOf({ now: Date.now, signal, wait: (until) => delay(Math.max(0, until - Date.now())) });
  const hooks = { before() {}, after() {}, spawned: async () => {} };
  const io = clients.writer({ signal, deadline: deadline + 5_000, hooks });
  return cacheHttp.run(io, {
    params: Params.parse(params),
    edge: 'open',
    window: WINDOW,
    deadline,
    poll: (every, attempt) => poll(every, attempt, deadline),
  });
}

describeWith('varnish', 'cache/http with a real Varnish', () => {
  let origin: HttpServer;
  let varnish: Server;
  let text = 'before';
  beforeAll(async () => {
    origin = createServer((_request, answer) => answer.end(text));
    await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve));
    varnish = await startVarnish({ backendPort: (origin.address() as { port: number }).port });
  });
  afterAll(async () => {
    await varnish?.stop();
    origin?.closeAllConnections();
    origin?.close();
  });
  const get = async (path: string) => {
    const answer = await fetch(`${varnish.url}${path}`);
    return [answer.headers.get('x-cache'), await answer.text()];
  };

  test('HIT becomes MISS, and the new banner is seen', async () => {
    text = 'before';
    await get('/banner');
    expect(await get('/banner')).toEqual(['HIT', 'before']);
    text = 'read-only';
    expect(await get('/banner')).toEqual(['HIT', 'before']);
    expect(await run({ url: `${varnish.url}/banner` })).toEqual(['purged']);
    expect(await get('/banner')).toEqual(['MISS', 'read-only']);
  });

  test('with check, the miss is seen by maint itself; several addresses are purged at once', async () => {
    for (const path of ['/a', '/b']) {
      await get(path);
      expect((await get(path))[0]).toBe('HIT');
    }
    const url = [`${varnish.url}/a`, `${varnish.url}/b`];
    expect(await run({ url, check: { url: url[0], header: 'X-Cache' } })).toEqual(['2 purged', '/a: MISS']);
    expect((await get('/a'))[0]).toBe('HIT');
    expect((await get('/b'))[0]).toBe('MISS');
  });

  test('readers who fill the cache faster than we look do not make it fail', async () => {
    await get('/busy');
    let going = true;
    const readers = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (going) await get('/busy');
      }),
    );
    const words = await run({ url: `${varnish.url}/busy`, check: { url: `${varnish.url}/busy` } }, 6_000);
    going = false;
    await readers;
    expect((words as string[])[1]).toMatch(/^\/busy: (MISS|HIT, but younger than the purge)$/);
  });

  test('a purge of the wrong address is found out', async () => {
    await get('/stale');
    await expect(run({ url: `${varnish.url}/other`, check: { url: `${varnish.url}/stale` } }, 1_000)).rejects.toThrow(
      '/stale is still no miss after the purge: X-Cache: HIT',
    );
    await expect(
      run({ url: `${varnish.url}/x`, check: { url: `${varnish.url}/x`, header: 'CF-Cache-Status' } }, 600),
    ).rejects.toThrow('no header CF-Cache-Status');
  });

  test('a status that was not expected fails, and says so', async () => {
    await expect(run({ url: `${varnish.url}/x`, method: 'PURGE', expect: [204] })).rejects.toThrow(OuterError);
  });

  test('the address holds neither password nor query', () => {
    const params = Params.parse({ url: 'https://u:hunter2@cdn.example.com/purge?token=hunter2' });
    expect(cacheHttp.address(params)).toBe('cdn.example.com/purge');
  });
});

describeWith('redis', 'cache/redis-namespace with a real Redis', () => {
  let server: Server;
  const key = 'cache:ns';
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(async () => {
    // before the server: what finds its socket closed already holds the process for two seconds
    await clients.close();
    await server?.stop();
  });
  const signal = new AbortController().signal;
  const hooks = { before() {}, after() {}, spawned: async () => {} };
  const redis = (...command: [string, ...string[]]) =>
    clients.writer({ signal, deadline: Date.now() + 5_000, hooks }).redis.write(server.url, ...command);
  beforeEach(() => redis('FLUSHALL'));
  const make = () => drive(clients, redisNamespace, { url: server.url, key });
  async function values(driver: ReturnType<typeof make>, phases: Phase[]): Promise<string[]> {
    const seen: string[] = [];
    for (const phase of phases) {
      await driver.converge(phase);
      expect(await driver.converge(phase)).toBe(0);
      seen.push(await redis('GET', key));
    }
    return seen;
  }

  test('numbers count on, and never come back, also over a refreeze', async () => {
    await redis('SET', key, '41', 'EX', '9000');
    const driver = make();
    expect(await values(driver, ['open', 'soaking', 'open', 'soaking', 'closed'])).toEqual([
      '42',
      '43',
      '44',
      '45',
      '45',
    ]);
    expect(await redis('TTL', key)).toBeGreaterThan(8_000);
  });

  test('any other text gets the window and a turn, and does not grow with each window', async () => {
    await redis('SET', key, 'v7');
    expect(await values(make(), ['open', 'soaking', 'closed'])).toEqual(['v7.w-7k2p.1', 'v7.w-7k2p.2', 'v7.w-7k2p.2']);
    const next = drive(clients, redisNamespace, { url: server.url, key }, { ...WINDOW, id: 'w-next' });
    expect(await values(next, ['open', 'aborted'])).toEqual(['v7.w-next.1', 'v7.w-next.2']);
  });

  test('a key that was not there', async () => {
    expect(await values(make(), ['open', 'soaking'])).toEqual(['w-7k2p.1', 'w-7k2p.2']);
  });

  test.each([false, true])('killed around each write (after it: %s), still forward', async (after) => {
    for (const first of ['open', 'soaking'] as const) {
      await redis('SET', key, '7');
      const driver = make();
      if (first === 'soaking') await driver.converge('open');
      await expect(driver.converge(first, { at: 0, after })).rejects.toThrow(Crash);
      await driver.converge(first);
      await driver.converge('closed');
      expect(await redis('GET', key)).toBe('9');
    }
  });

  test('somebody else is faster: nothing is overwritten', async () => {
    await redis('SET', key, '7');
    const driver = make();
    const { changes, notes } = await driver.plan('open');
    expect(notes).toEqual(['namespace 7 → 8']);
    await redis('SET', key, '100');
    await expect(redisNamespace.write(driver.writer(), driver.step.params, changes, WINDOW)).rejects.toThrow(
      'changed by somebody else',
    );
    expect(await redis('GET', key)).toBe('100');
  });

  test('a missing right is found before anything is written', async () => {
    await redis('ACL', 'SETUSER', 'narrow', 'on', '>pw', '~cache:*', '+get', '+acl|whoami', '+acl|dryrun');
    await redis(
      'ACL',
      'SETUSER',
      'enough',
      'on',
      '>pw',
      '~cache:*',
      '+get',
      '+set',
      '+eval',
      '+acl|whoami',
      '+acl|dryrun',
    );
    const ask = (user: string) => {
      const driver = drive(clients, redisNamespace, {
        url: server.url.replace('redis://', `redis://${user}:pw@`),
        key,
      });
      return redisNamespace.allowed!(driver.reader(), driver.step.params, []);
    };
    expect((await ask('narrow')).map((text) => text.replace(/: .*/s, ''))).toEqual([
      'Redis user narrow may not SET cache:ns',
      'Redis user narrow may not EVAL cache:ns',
    ]);
    expect(await ask('enough')).toEqual([]);
  });
});

describe('cache/redis-namespace', () => {
  test.each([
    ['redis://u:hunter2@db:6380/2', 'redis db:6380/2 ns'],
    ['redis://db', 'redis db:6379 ns'],
    ['unix:///run/redis.sock', 'redis /run/redis.sock ns'],
  ])('the address of %s is %s', (url, address) => {
    expect(redisNamespace.address({ url, key: 'ns' })).toBe(address);
  });
});
