// Both clients against a real Redis that is killed and started again.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { createGuard, type Guard, type RedisClient, redisSource } from '../../../packages/guard/src/index.ts';
import { describeWith, startRedis } from '../../support/servers.ts';
import { until } from '../../support/until.ts';

const ON = JSON.stringify({ version: 1, holders: { 'w-1': {} } });
const OFF = JSON.stringify({ version: 1, holders: {} });
const KEY = 'maint:read_only';

let server: Awaited<ReturnType<typeof startRedis>>;
let admin: Redis;

interface Service {
  client: RedisClient;
  close(): void;
}

async function withIoredis(): Promise<Service> {
  const client = new Redis({ path: server.socket, retryStrategy: () => 20 });
  client.on('error', () => {});
  return { client, close: () => client.disconnect() };
}

async function withNodeRedis(): Promise<Service> {
  const client = createClient({ socket: { path: server.socket, tls: false, reconnectStrategy: 20 } });
  client.on('error', () => {});
  await client.connect();
  return { client, close: () => client.destroy() };
}

for (const [name, open] of [
  ['ioredis', withIoredis],
  ['redis', withNodeRedis],
] as const) {
  describeWith('redis', `with the client ${name}`, () => {
    let service: Service;
    let guard: Guard;

    beforeEach(async () => {
      server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
      admin = new Redis({ path: server.socket, retryStrategy: () => 20 });
      admin.on('error', () => {});
      service = await open();
    });
    afterEach(async () => {
      await guard.close();
      service.close();
      admin.disconnect();
      await server.stop();
    });

    function guarded(pollMs: number): Guard {
      guard = createGuard({ source: redisSource(service.client, { pollMs, timeoutMs: 200 }), log: () => {} });
      return guard;
    }

    const subscribers = async () => Number(((await admin.pubsub('NUMSUB', KEY)) as unknown[])[1]);

    test('a message alone makes the change known, and every one of 50', async () => {
      guarded(3_600_000);
      expect(await guard.ready()).toBe('source');
      expect(guard.readOnly()).toBe(false);
      await until(async () => (await subscribers()) === 1);
      const taken: number[] = [];
      for (let turn = 0; turn < 25; turn += 1) {
        const from = performance.now();
        await admin.multi().set(KEY, ON).publish(KEY, 'on').exec();
        await until(() => guard.readOnly());
        taken.push(performance.now() - from);
        await admin.multi().set(KEY, OFF).publish(KEY, 'off').exec();
        await until(() => !guard.readOnly());
      }
      taken.sort((a, b) => a - b);
      console.log(`publish to known: median ${taken[12]?.toFixed(1)} ms, most ${taken[24]?.toFixed(1)} ms, of 25`);
    });

    test('the interval alone makes the change known', async () => {
      guarded(20);
      await admin.set(KEY, ON);
      await until(() => guard.readOnly());
      await admin.set(KEY, 'false');
      await until(() => !guard.readOnly());
    });

    test('killed and started again: the state stays and ages, then both ways work again', async () => {
      await admin.set(KEY, ON);
      guarded(50);
      await until(() => guard.readOnly());
      await server.kill();
      await until(() => guard.counts().errors.source > 0 && (guard.counts().flagAgeMs ?? 0) > 100);
      expect(guard.readOnly()).toBe(true);
      await server.restart();
      // The key survived on disk; the change is found whichever way comes first.
      await until(async () => (await subscribers()) === 1);
      expect(guard.readOnly()).toBe(true);
      await admin.set(KEY, OFF);
      await until(() => !guard.readOnly());
      expect(guard.counts().stale).toBe(false);
    });

    test('after a restart messages arrive again without the interval', async () => {
      guarded(3_600_000);
      await until(async () => (await subscribers()) === 1);
      await server.kill();
      await server.restart();
      await until(async () => (await subscribers()) === 1);
      await admin.multi().set(KEY, ON).publish(KEY, 'on').exec();
      await until(() => guard.readOnly());
    });

    test('a Redis that comes back empty keeps the writes refused, and an end is taken at once', async () => {
      await admin.set(KEY, ON);
      guarded(20);
      await until(() => guard.readOnly());
      await admin.flushall();
      await until(() => guard.counts().errors.missing > 1);
      expect(guard.readOnly()).toBe(true);
      await admin.set(KEY, OFF);
      await until(() => !guard.readOnly());
      await admin.del(KEY);
      await until(() => guard.counts().flagAgeMs !== null);
      expect(guard.readOnly()).toBe(false);
    });

    test('a document of more than 1 MiB is no answer, and does not come over as a whole', async () => {
      await admin.set(KEY, ON);
      guarded(20);
      await until(() => guard.readOnly());
      await admin.set(KEY, `{"version":1,"holders":{},"x":"${'é'.repeat(8 * 1024 * 1024)}"}`);
      const sent = async () => Number(/total_net_output_bytes:(\d+)/.exec(await admin.info('stats'))?.[1]);
      const before = await sent();
      const errors = guard.counts().errors.source;
      await until(() => guard.counts().errors.source > errors);
      expect((await sent()) - before).toBeLessThan(8 * 1024 * 1024);
      expect(guard.readOnly()).toBe(true);
      await admin.set(KEY, OFF);
      await until(() => !guard.readOnly());
    });

    test('a user who may only GET reads all the same', async () => {
      await admin.set(KEY, ON);
      await admin.acl('SETUSER', 'default', '-getrange');
      guarded(20);
      await until(() => guard.readOnly());
    });

    test('down at the start: unknown, then known when it comes up', async () => {
      await server.kill();
      guard = createGuard({
        source: redisSource(service.client, { pollMs: 20, timeoutMs: 50 }),
        readyTimeoutMs: 100,
        onUnknown: 'refuse',
        log: () => {},
      });
      expect(await guard.ready()).toBe('unknown');
      expect(guard.readOnly()).toBe(true);
      await server.restart();
      await until(() => !guard.readOnly());
      await until(async () => (await subscribers()) === 1);
    });

    test('closing leaves the service its client and takes the subscriber away', async () => {
      guarded(20);
      await until(async () => (await subscribers()) === 1);
      await guard.close();
      await until(async () => (await subscribers()) === 0);
      expect(await service.client.get(KEY)).toBeNull();
    });
  });
}

describeWith('redis', 'an ioredis client with a keyPrefix', () => {
  test('the key is read as the server has it, and the log says which', async () => {
    server = await startRedis({});
    admin = new Redis({ path: server.socket });
    const client = new Redis({ path: server.socket, keyPrefix: 'app:', retryStrategy: () => 20 });
    const logged: unknown[] = [];
    const source = redisSource(client, { pollMs: 3_600_000, timeoutMs: 2_000 });
    const guard = createGuard({ source, log: (_level, message, fields) => void logged.push([message, fields]) });
    try {
      await until(async () => Number(((await admin.pubsub('NUMSUB', KEY)) as unknown[])[1]) === 1);
      await admin.multi().set(KEY, ON).publish(KEY, 'on').exec();
      await until(() => guard.readOnly());
      expect(logged[0]).toEqual(['the flag is read', { source: `redis ${server.socket} ${KEY}` }]);
      expect(guard.metrics()).toContain(`maint_guard_source_info{source="redis ${server.socket} ${KEY}"} 1`);
      expect(guard.maintenance().source).toBe(`redis key ${KEY}`);
      expect(client.status).toBe('ready');
    } finally {
      await guard.close();
      await until(async () => !/name=|sub=1/.test(String(await admin.client('LIST', 'TYPE', 'PUBSUB'))));
      client.disconnect();
      admin.disconnect();
      await server.stop();
    }
  });
});

test('what is no Redis client is an error at the start', () => {
  expect(() => redisSource({} as RedisClient)).toThrow('redisSource: a client of ioredis or redis');
});
