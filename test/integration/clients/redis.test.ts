import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { failure, type TestClients, testClients } from '../../support/clients.ts';
import { describeWith, type Server, startRedis } from '../../support/servers.ts';

describeWith('redis', 'the Redis client', () => {
  let server: Server & { socket: string };
  let io: TestClients;
  let url: string;
  let place: string;
  beforeAll(async () => {
    server = await startRedis({ args: ['--requirepass', 'hunter22pass'] });
    io = testClients(['hunter22pass', 'narrowpass']);
    url = `redis://:hunter22pass@127.0.0.1:${server.port}`;
    place = `redis 127.0.0.1:${server.port}`;
    await io.writer().redis.write(url, 'ACL', 'SETUSER', 'narrow', 'on', '>narrowpass', '~maint:*', '+get', '+eval');
    io.calls.length = 0;
  });
  afterAll(async () => {
    await io?.clients.close();
    await server?.stop();
  });

  test('reads, writes, and tells the hooks of writes only', async () => {
    const { redis } = io.writer();
    expect(await redis.write(url, 'SET', 'a', '1')).toBe('OK');
    expect(await redis.read(url, 'GET', 'a')).toBe('1');
    expect(await redis.read(url, 'MGET', 'a', 'b')).toEqual(['1', null]);
    expect(await redis.read(url, 'CONFIG', 'GET', 'appendonly')).toEqual(['appendonly', 'no']);
    expect(await redis.script(url, 'return redis.call("GET", KEYS[1]) == ARGV[1]', ['a'], ['1'])).toBe(1);
    expect(io.calls).toEqual(['before redis SET', 'after redis SET', 'before redis EVAL', 'after redis EVAL']);
    expect(await failure(redis.read(`unix://${server.socket}`, 'GET', 'a'))).toMatchObject({ code: 'NOAUTH' });
    expect(
      await redis.read(`unix://x:hunter22pass@localhost${server.socket}`, 'GET', 'a').catch(({ code }) => code),
    ).toBe('WRONGPASS');
  });

  test('who is still asking when all is closed opens nothing that would keep the process alive', async () => {
    const late = testClients(['hunter22pass']);
    const asked = failure(late.reader().redis.read(url, 'GET', 'a'));
    const listening = failure(late.reader().redis.subscribe(url, '*', () => undefined));
    await late.clients.close();
    expect([(await asked).effect, (await listening).effect]).toEqual(['none', 'none']);
    const clients = String(await io.writer().redis.write(url, 'CLIENT', 'LIST'));
    expect(clients.split('\n').filter((line) => line.includes(' addr=127.0.0.1:'))).toHaveLength(1);
  });

  test.each([
    ['SET', 'a', '2'],
    ['config', 'set', 'save', ''],
    ['ACL', 'LOG', 'RESET'],
    ['CLIENT', 'KILL', 'x'],
    ['GETDEL', 'a'],
    ['SORT', 'a', 'STORE', 'b'],
    ['EVAL', 'return 1', '0'],
    ['FLUSHALL'],
    ['CONFIG'],
    ['__proto__'],
  ] as [string, ...string[]][])('a reader refuses %s %s before anything is sent', async (...command) => {
    // nobody listens there: a connection would fail in other words
    const seen = await failure(io.reader().redis.read('redis://127.0.0.1:1', ...command));
    expect(seen).toMatchObject({ effect: 'none', retryable: false, code: 'NOT_A_READ' });
  });

  test('a wrong password, a missing right, an unknown command', async () => {
    expect(await failure(io.writer().redis.write(server.url, 'SET', 'a', '2'))).toMatchObject({
      effect: 'answered',
      retryable: false,
      code: 'NOAUTH',
    });
    const wrong = await failure(
      io.writer().redis.write(`redis://:wrongpass@127.0.0.1:${server.port}`, 'SET', 'a', '2'),
    );
    expect(wrong).toMatchObject({ retryable: false, code: 'WRONGPASS', effect: 'none' });
    expect(JSON.stringify(wrong)).not.toContain('wrongpass');
    const narrow = `redis://narrow:narrowpass@127.0.0.1:${server.port}`;
    expect(await io.reader().redis.read(narrow, 'GET', 'maint:x')).toBeNull();
    expect(await failure(io.writer().redis.write(narrow, 'SET', 'maint:x', '1'))).toMatchObject({
      message: expect.stringContaining(`${place} answered NOPERM`),
      effect: 'answered',
      retryable: false,
      code: 'NOPERM',
    });
    const unknown = await failure(io.writer().redis.write(url, 'NONSENSE', 'a-private-value'));
    expect(unknown).toMatchObject({ code: 'ERR', effect: 'answered' });
    expect(unknown['message']).not.toContain('a-private-value');
  });

  test('hears what is published', async () => {
    const heard: string[][] = [];
    const end = await io.reader().redis.subscribe(url, 'mai*', (...each) => heard.push(each));
    expect(await io.writer().redis.write(url, 'PUBLISH', 'maint:read_only', 'changed')).toBe(1);
    const until = Date.now() + 2000;
    while (heard.length === 0 && Date.now() < until) await new Promise((done) => setTimeout(done, 5));
    expect(heard).toEqual([['maint:read_only', 'changed']]);
    await end();
    while ((await io.reader().redis.read(url, 'PUBSUB', 'NUMPAT')) !== 0 && Date.now() < until);
    await io.writer().redis.write(url, 'PUBLISH', 'maint:read_only', 'again');
    expect(heard).toHaveLength(1);
  });

  test('a server that hangs: the outcome of a write is unknown, and the connection is given up', async () => {
    process.kill(server.pid, 'SIGSTOP');
    try {
      expect(await failure(io.writer({ ms: 200 }).redis.write(url, 'SET', 'a', '3'))).toMatchObject({
        message: expect.stringMatching(/did not answer within/),
        effect: 'unknown',
        retryable: true,
      });
      expect(await failure(io.writer({ ms: 200 }).redis.write(url, 'SET', 'a', '4'))).toMatchObject({ effect: 'none' });
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    expect(['1', '3']).toContain(await io.reader().redis.read(url, 'GET', 'a'));
  });

  test('interrupted', async () => {
    const controller = new AbortController();
    const { redis } = io.writer({ signal: controller.signal });
    await redis.read(url, 'PING');
    process.kill(server.pid, 'SIGSTOP');
    try {
      const seen = failure(redis.write(url, 'SET', 'a', '5'));
      setTimeout(() => controller.abort(), 50);
      expect(await seen).toMatchObject({ effect: 'unknown', code: 'ABORTED' });
      expect(await failure(redis.write(url, 'SET', 'a', '6'))).toMatchObject({ code: 'ABORTED' });
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
  });

  test('a server that goes away, and comes back', async () => {
    await io.reader().redis.read(url, 'PING');
    await server.kill();
    // the open connection may notice only when it is used
    await failure(io.reader().redis.read(url, 'PING'));
    expect(await failure(io.writer().redis.write(url, 'SET', 'a', '7'))).toMatchObject({
      message: `${place} refused the connection`,
      effect: 'none',
      retryable: true,
      code: 'ECONNREFUSED',
    });
    await server.restart();
    expect(await io.reader().redis.read(url, 'PING')).toBe('PONG');
  });

  test('after a first write no failure says that nothing was changed', async () => {
    const { redis } = io.writer();
    await redis.write(url, 'SET', 'a', '8');
    expect(await failure(redis.write('redis://127.0.0.1:1', 'SET', 'a', '8'))).toMatchObject({ effect: 'answered' });
  });
});
