import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import {
  type Cron,
  describeWith,
  type Postgres,
  type Server,
  startAlertmanager,
  startCron,
  startPostgres,
  startRedis,
  startVarnish,
} from '../../support/servers.ts';

function hasEnded(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch {
    return true;
  }
}

describeWith('redis', 'redis', () => {
  test('starts, is killed, comes back on its port, ends', async () => {
    const server = await startRedis();
    const first = server.pid;
    await server.kill();
    expect(hasEnded(first)).toBe(true);
    const { port } = server;
    await server.restart();
    expect(server.port).toBe(port);
    expect(server.pid).not.toBe(first);
    expect(server.log()).toMatch(/Ready to accept connections/);
    await server.stop();
    expect(hasEnded(server.pid)).toBe(true);
  });
});

describeWith('postgres', 'postgres', () => {
  let server: Postgres;
  beforeAll(async () => {
    server = await startPostgres({ settings: { max_connections: '20' } });
  });
  afterAll(() => server?.stop());

  test('answers, also after a crash', async () => {
    await server.sql('create table t (a int); insert into t values (1), (2)');
    await server.kill();
    await server.restart();
    expect(await server.sql('select a from t order by a')).toEqual([['1'], ['2']]);
    expect(await server.sql('show max_connections')).toEqual([['20']]);
  });
});

describeWith('varnish', 'varnish', () => {
  let varnish: Server;
  const backend = createServer((_request, response) => response.end('hello'));
  beforeAll(async () => {
    await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve));
    varnish = await startVarnish({ backendPort: (backend.address() as AddressInfo).port });
  });
  afterAll(async () => {
    await varnish?.stop();
    backend.closeAllConnections();
    backend.close();
  });

  test('caches, and takes a PURGE', async () => {
    const seen = async () => (await fetch(`${varnish.url}/page`)).headers.get('x-cache');
    expect([await seen(), await seen()]).toEqual(['MISS', 'HIT']);
    expect((await fetch(`${varnish.url}/page`, { method: 'PURGE' })).status).toBe(200);
    expect([await seen(), await seen()]).toEqual(['MISS', 'HIT']);
  });
});

describeWith('alertmanager', 'alertmanager', () => {
  test('answers', async () => {
    const server = await startAlertmanager();
    expect(await (await fetch(`${server.url}/api/v2/silences`)).json()).toEqual([]);
    await server.stop();
  });
});

describeWith('cron', 'cron', () => {
  let cron: Cron;
  const table = '# a comment\n@reboot sleep 300\n*/5 * * * * /usr/bin/true  # five\n';
  beforeAll(async () => {
    cron = await startCron({ crontab: table, cronD: { x: '0 0 * * * root true\n' } });
  });
  afterAll(() => cron?.stop());

  test('has private crontabs and runs @reboot jobs', async () => {
    expect(await cron.crontab(['-l'])).toEqual({ code: 0, stdout: table, stderr: '' });
    const until = Date.now() + 5000;
    while (cron.jobs().length < 3 && Date.now() < until) await new Promise((done) => setTimeout(done, 10));
    expect(cron.jobs().length).toBeGreaterThanOrEqual(3);
    expect(await cron.crontab(['-'], '# empty\n')).toMatchObject({ code: 0 });
    expect((await cron.crontab(['-l'])).stdout).toBe('# empty\n');
  });

  test('ends with its jobs', async () => {
    const jobs = cron.jobs();
    await cron.stop();
    const until = Date.now() + 5000;
    while (!jobs.every(hasEnded) && Date.now() < until) await new Promise((done) => setTimeout(done, 10));
    expect(jobs.filter((pid) => !hasEnded(pid))).toEqual([]);
  });
});
