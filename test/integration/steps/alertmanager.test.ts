import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createClients } from '../../../src/clients/index.ts';
import { Refusal, type Window } from '../../../src/engine/contract.ts';
import { alertmanager } from '../../../src/steps/silence/alertmanager.ts';
import { Crash, drive, WINDOW } from '../../support/drive.ts';
import { describeWith, type Server, startAlertmanager } from '../../support/servers.ts';

const clients = createClients();
afterAll(() => clients.close());

async function rights(url: string, matchers: string[]): Promise<string[]> {
  const bound = { signal: new AbortController().signal, deadline: Date.now() + 5_000 };
  return (await alertmanager.allowed?.(clients.reader(bound), { url, matchers }, [])) ?? ['not asked'];
}

test.each([
  ['0.26.1', ['Alertmanager 0.26.1 takes no label called "a b", x.y; 0.27 and later do']],
  ['0.27.0', []],
  ['0.28.0-rc.0', []],
  ['1.0.0', []],
  ['(devel)', []],
])('names in quotes and the version %s', async (version, missing) => {
  const fake = createServer((_request, response) => response.end(JSON.stringify({ versionInfo: { version } })));
  await new Promise<void>((resolve) => fake.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(fake.address() as AddressInfo).port}`;
  expect(await rights(url, ['"\\"a b\\""=c', '"x.y"=z', 'plain=1'])).toEqual(missing);
  // nobody is asked where nothing needs it
  expect(await rights('http://127.0.0.1:1', ['plain=1'])).toEqual([]);
  await new Promise((resolve) => fake.close(resolve));
});

let n = 0;
/** A window of its own per test: the server keeps what has ended. */
function windowFor(minutes = 30): Window {
  const at = (ms: number) => new Date(Date.now() + ms).toISOString();
  return { ...WINDOW, id: `w-${++n}aaa`, since: at(-5_000), until: at(minutes * 60_000) };
}

describeWith('alertmanager', 'silence/alertmanager with a real server', () => {
  let server: Server;
  beforeAll(async () => {
    server = await startAlertmanager();
  });
  afterAll(() => server?.stop());

  async function json(path: string, init?: RequestInit): Promise<any> {
    const answer = await fetch(`${server.url}/api/v2/${path}`, {
      ...init,
      headers: { 'content-type': 'application/json' },
    });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
    return (await answer.text().then((text) => text && JSON.parse(text))) as unknown;
  }
  async function silences(window: Window, state?: string): Promise<any[]> {
    const all: any[] = await json('silences');
    return all.filter((one) => one.comment.includes(window.id) && (state === undefined || one.status.state === state));
  }
  const make = (window: Window, matchers = ['alertname=WritesRefused']) =>
    drive(clients, alertmanager, { url: `${server.url}/`, matchers }, window);

  test('from the beginning to the end: narrow, until an hour after the end, and what fires again is named', async () => {
    const window = windowFor();
    await json('alerts', {
      method: 'POST',
      body: JSON.stringify([1, 2].map((pod) => ({ labels: { alertname: 'WritesRefused', pod: `p${pod}` } }))),
    });
    const driver = make(window);
    expect((await driver.plan('open')).notes[0]).toMatch(/^alertname=WritesRefused, until \d\d:\d\dZ$/);
    expect(await driver.converge('open')).toBe(1);
    expect(await driver.converge('open')).toBe(0);
    const [silence] = await silences(window, 'active');
    expect(silence).toMatchObject({
      matchers: [{ name: 'alertname', value: 'WritesRefused', isRegex: false, isEqual: true }],
      comment: expect.stringContaining('reindex documents, #ops-oncall [maint'),
      createdBy: 'maint (ana@lapis)',
    });
    expect(Date.parse(silence.endsAt)).toBe(Date.parse(window.until) + 3_600_000);
    const end = Date.now() + 5_000;
    while (((await json('alerts?active=false&silenced=true')) as any[]).length < 2 && Date.now() < end) await delay(20);
    expect(await driver.converge('soaking')).toBe(0);
    expect(await driver.converge('closed')).toBe(1);
    expect(driver.notes).toEqual(['ended', 'fires again: WritesRefused (2)']);
    expect(await silences(window, 'active')).toEqual([]);
    expect(driver.mine.size).toBe(0);
    expect(await driver.converge('closed')).toBe(0);
  });

  test('what another silence holds back as well is not said to fire again', async () => {
    await json('alerts', {
      method: 'POST',
      body: JSON.stringify(['a', 'b'].map((env) => ({ labels: { alertname: 'QueueStalls', env } }))),
    });
    const { startsAt, endsAt } = { startsAt: new Date(), endsAt: new Date(Date.now() + 60_000) };
    const matchers = [{ name: 'env', value: 'b', isRegex: false, isEqual: true }];
    const theirs = { matchers, startsAt, endsAt, createdBy: 'ana', comment: 'of somebody' };
    const { silenceID } = await json('silences', { method: 'POST', body: JSON.stringify(theirs) });
    const driver = make(windowFor(), ['alertname=QueueStalls']);
    await driver.converge('open');
    const held = async () =>
      ((await json('alerts?active=false&silenced=true')) as any[]).filter(
        ({ labels, status }) =>
          labels.alertname === 'QueueStalls' && status.silencedBy.length === (labels.env === 'b' ? 2 : 1),
      );
    for (const end = Date.now() + 5_000; (await held()).length < 2 && Date.now() < end; ) await delay(20);
    await driver.converge('closed');
    expect(driver.notes).toEqual(['ended', 'fires again: QueueStalls']);
    await json(`silence/${silenceID}`, { method: 'DELETE' });
  });

  test('extend keeps the id, changes only the end, and keeps what somebody wrote into it', async () => {
    const driver = make(windowFor());
    await driver.converge('open');
    const [first] = await silences(driver.window);
    driver.window = { ...driver.window, until: new Date(Date.parse(driver.window.until) + 900_000).toISOString() };
    expect(await driver.converge('open')).toBe(1);
    const [second] = await silences(driver.window, 'active');
    expect(second).toMatchObject({
      id: first.id,
      startsAt: first.startsAt,
      comment: first.comment,
      matchers: first.matchers,
    });
    expect(Date.parse(second.endsAt) - Date.parse(first.endsAt)).toBe(900_000);
    await driver.converge('aborted');
    expect(await silences(driver.window, 'active')).toEqual([]);
  });

  test('run out by itself, extend makes a new one and the end takes that away', async () => {
    const window = windowFor();
    const driver = make({ ...window, until: new Date(Date.now() + 1_500 - 3_600_000).toISOString() });
    await driver.converge('open');
    const [first] = await silences(window);
    const end = Date.now() + 10_000;
    while ((await silences(window, 'expired')).length === 0 && Date.now() < end) await delay(50);
    // overdue and not extended: nothing to do
    expect(await driver.converge('open')).toBe(0);
    driver.window = window;
    expect(await driver.converge('open')).toBe(1);
    expect(driver.drift).toEqual([]);
    const [second] = await silences(window, 'active');
    expect(second.id).not.toBe(first.id);
    expect([...driver.mine.values()][0]!.after).toMatchObject({ id: second.id });
    await driver.converge('closed');
    expect(driver.notes[0]).toBe('ended');
    expect(await silences(window, 'active')).toEqual([]);
  });

  test('run out by itself and never extended, the end is quiet', async () => {
    const window = windowFor();
    const driver = make({ ...window, until: new Date(Date.now() + 1_200 - 3_600_000).toISOString() });
    await driver.converge('open');
    const end = Date.now() + 10_000;
    while ((await silences(window, 'expired')).length === 0 && Date.now() < end) await delay(50);
    await driver.converge('closed');
    expect(driver.drift).toEqual([]);
    expect(driver.mine.size).toBe(0);
  });

  test('ended by somebody in mid-window: reported, not made again', async () => {
    const driver = make(windowFor());
    await driver.converge('open');
    const [silence] = await silences(driver.window);
    await json(`silence/${silence.id}`, { method: 'DELETE' });
    expect(await driver.converge('open')).toBe(0);
    expect(driver.drift).toMatchObject([{ gone: true, released: false }]);
    await driver.converge('closed');
    expect(driver.drift).toMatchObject([{ gone: true, released: true }]);
    expect(await silences(driver.window, 'active')).toEqual([]);
  });

  test.each([false, true])('killed around the create (after it: %s): never two, and nothing left', async (after) => {
    for (const next of ['open', 'closed', 'aborted'] as const) {
      const driver = make(windowFor());
      await expect(driver.converge('open', { at: 0, after })).rejects.toThrow(Crash);
      await driver.converge(next);
      expect((await silences(driver.window)).length).toBeLessThanOrEqual(1);
      await driver.converge('closed');
      expect(await silences(driver.window, 'active')).toEqual([]);
      expect(driver.mine.size).toBe(0);
    }
  });

  test('killed after the end went out: it is seen, and nothing is drift', async () => {
    const driver = make(windowFor());
    await driver.converge('open');
    await expect(driver.converge('closed', { at: 0, after: true })).rejects.toThrow(Crash);
    expect(await driver.converge('closed')).toBe(0);
    expect(driver.drift).toEqual([]);
    expect(driver.mine.size).toBe(0);
  });

  test('another window at the same server, and another step of this one, are left alone', async () => {
    const window = windowFor();
    const [a, b, c] = [make(window), make(windowFor()), make(window, ['alertname=QueueGrows'])];
    for (const driver of [a, b, c]) await driver.converge('open');
    await a.converge('closed');
    expect(await silences(b.window, 'active')).toHaveLength(1);
    expect(await silences(window, 'active')).toMatchObject([{ matchers: [{ value: 'QueueGrows' }] }]);
    for (const driver of [b, c]) await driver.converge('closed');
  });

  test('somebody changed it under a new id: still ours, and ended', async () => {
    const driver = make(windowFor());
    await driver.converge('open');
    const [{ status, updatedAt, ...silence }] = await silences(driver.window);
    const matchers = [...silence.matchers, { name: 'env', value: 'prod', isRegex: false, isEqual: true }];
    await json('silences', { method: 'POST', body: JSON.stringify({ ...silence, matchers }) });
    expect(await silences(driver.window, 'active')).not.toMatchObject([{ id: silence.id }]);
    expect(await driver.converge('open')).toBe(0);
    expect(driver.drift).toEqual([]);
    await driver.converge('closed');
    expect(await silences(driver.window, 'active')).toEqual([]);
  });

  test('too broad is refused before anything is written', async () => {
    const driver = make(windowFor(), ['alertname=~.+']);
    await expect(driver.converge('open')).rejects.toThrow(Refusal);
    expect(await silences(driver.window)).toEqual([]);
  });

  test('a label whose name needs quotes: written as such, or refused at plan where the server is too old for it', async () => {
    const driver = make(windowFor(), ['"service.name"=search']);
    const { versionInfo } = await json('status');
    const [major, minor] = versionInfo.version.split('.').map(Number);
    const refused = await rights(server.url, ['"service.name"=search', 'a=b']);
    if (major === 0 && minor < 27) {
      expect(refused).toEqual([
        `Alertmanager ${versionInfo.version} takes no label called service.name; 0.27 and later do`,
      ]);
      await expect(driver.converge('open')).rejects.toThrow('400');
    } else {
      expect(refused).toEqual([]);
      expect(await driver.converge('open')).toBe(1);
      const [silence] = await silences(driver.window, 'active');
      expect(silence.matchers).toEqual([{ name: 'service.name', value: 'search', isRegex: false, isEqual: true }]);
      await driver.converge('closed');
    }
  });

  test('the address holds no password', () => {
    expect(alertmanager.address({ url: 'http://ops:hunter2@alerts:9093/am/', matchers: ['a=b'] })).toBe(
      'alertmanager alerts:9093/am',
    );
  });
});
