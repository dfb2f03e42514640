import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type Chat, startChat } from '../../../examples/services/chat.ts';
import { type Statuspage, startStatuspage } from '../../../examples/services/statuspage.ts';
import type { StrictServer } from '../../../examples/services/strict.ts';
import { createClients } from '../../../src/clients/index.ts';
import { type Phase, Refusal, type Resource, type Step, Unknown, type Window } from '../../../src/engine/contract.ts';
import { decide } from '../../../src/engine/decide.ts';
import type { Reader, Writer } from '../../../src/engine/io.ts';
import { ownedView, pinned, see } from '../../../src/engine/see.ts';
import type { Owned } from '../../../src/engine/window.ts';
import { OuterError } from '../../../src/errors/catalogue.ts';
import { slack } from '../../../src/steps/notice/slack.ts';
import { statuspage } from '../../../src/steps/notice/statuspage.ts';

const clients = createClients();
afterAll(() => clients.close());

const since = '2026-11-24T02:00:04.120Z';
const base: Window = {
  id: 'w-7k2p',
  environment: 'prod',
  since,
  until: '2026-11-24T02:30:00Z',
  plannedUntil: '2026-11-24T02:30:00Z',
  reason: 'reindex <documents> & more',
  ticket: 'OPS-412',
  contact: '#ops-oncall',
  statusPage: 'https://status.example.com',
  rollbackPlan: 'https://wiki.example.com/rollback',
  onExpiry: 'hold',
  overdue: false,
  by: 'ana@lapis',
  surfaces: [],
};
const reopened = '2026-11-24T02:21:09.000Z';

/** The smallest engine: observes, decides as the real one does, writes; the journal is a map. */
function driver(resource: Resource, params: Record<string, unknown>, turnMs = 8_000) {
  const step: Step = { id: 'notice', plugin: resource, params: resource.Params.parse(params), deadlineMs: 10_000 };
  let mine = new Map<string, Owned>();
  let drift: { id: string }[] = [];
  const look = (window: Window) => see(step, ports(turnMs), { phase: 'open', window, owned: ownedView(mine) });
  const observe = async (window: Window) => (await look(window)).states;
  return {
    get io(): Reader {
      return ports(turnMs);
    },
    step,
    observe,
    drift: () => drift,
    loseJournal: () => {
      mine = new Map();
    },
    async converge(phase: Phase, window: Window, attempts = 4): Promise<number> {
      let writes = 0;
      for (let attempt = 0; attempt < attempts; attempt++) {
        const seen = await observe(window);
        const decision = decide(step, phase, window, mine, seen);
        drift = decision.drift;
        for (const { id, is } of decision.settled) mine.set(id, { before: mine.get(id)!.before, after: is });
        for (const id of decision.release) mine.delete(id);
        if (decision.changes.length === 0) return writes;
        for (let at = 0; at < decision.changes.length; at += resource.batch ?? 1) {
          const part = decision.changes.slice(at, at + (resource.batch ?? 1));
          const sight = await look(window);
          for (const { id, from, to } of part) {
            const own = mine.get(id);
            mine.set(id, { before: own ? own.before : from, after: to, unknown: { from, at: since, token: 1 } });
          }
          try {
            const states = await resource.write(ports(turnMs), step.params, pinned(sight, part), window);
            writes++;
            for (const [n, { id }] of part.entries()) mine.set(id, { before: mine.get(id)!.before, after: states[n]! });
          } catch (error) {
            if (!(error instanceof OuterError) || !error.retryable || error.retryAfterMs !== undefined) throw error;
            break;
          }
        }
      }
      throw new Error('never settles');
    },
  };
}

/** One set per turn, as the engine takes them: a writer is a reader, too. */
function ports(turnMs: number): Writer {
  return clients.writer({
    signal: new AbortController().signal,
    deadline: Date.now() + turnMs,
    hooks: { before: () => {}, after: () => {}, spawned: async () => {} },
  });
}

const writes = (server: StrictServer) =>
  server
    .requests()
    .filter(({ method, path }) => (path.startsWith('/api/') ? path.startsWith('/api/chat.') : method !== 'GET'));

describe('notice/statuspage', () => {
  let page: Statuspage;
  let params: Record<string, unknown>;
  beforeEach(async () => {
    page = await startStatuspage({
      token: 'sp-key',
      page: 'abc123',
      limit: 1_000,
      components: [
        'API',
        { name: 'Search', id: 'srch', status: 'degraded_performance' },
        'Web',
        { name: 'Regions', group: true },
      ],
    });
    params = { url: page.url, page: 'abc123', token: 'sp-key', components: ['API', 'srch'] };
  });
  afterEach(async () => {
    const violations = page.violations();
    await page.stop();
    expect(violations).toEqual([]);
  });
  const statuses = () => page.components().map(({ name, status }) => `${name} ${status}`);

  test('a whole window: each phase is one call and one update; components come back to their own status', async () => {
    const { converge } = driver(statuspage, params);
    expect(await converge('announced', base)).toBe(1);
    expect(page.incidents()).toMatchObject([
      { status: 'scheduled', scheduled_until: '2026-11-24T02:30:00.000Z', metadata: { maint: { window: 'w-7k2p' } } },
    ]);
    expect(page.incidents()[0]?.components.map(({ name }) => name)).toEqual(['API', 'Search']);

    expect(await converge('open', base)).toBe(1);
    expect(await converge('open', base)).toBe(0);
    expect(statuses().slice(0, 2)).toEqual(['API under_maintenance', 'Search under_maintenance']);
    const [incident] = page.incidents();
    expect(incident).toMatchObject({ status: 'in_progress' });
    const [update] = incident!.incident_updates;
    expect(update?.body).toContain('Read-only since 2026-11-24 02:00:04 UTC, until 2026-11-24 02:30 UTC.');
    expect(update?.body).toContain('Contact: #ops-oncall');
    expect(update?.body).toContain('Rollback plan: https://wiki.example.com/rollback');

    const extended = { ...base, until: '2026-11-24T02:45:00Z' };
    expect(await converge('open', extended)).toBe(1);
    expect(page.incidents()[0]).toMatchObject({ scheduled_until: '2026-11-24T02:45:00.000Z' });
    expect(page.incidents()[0]?.incident_updates[0]?.body).toContain(
      'until 2026-11-24 02:45 UTC (first planned until 2026-11-24 02:30 UTC)',
    );
    const words = 'The search team decides at 03:00 UTC.';
    expect(await converge('open', { ...extended, overdue: true, overdueNotice: words })).toBe(1);
    expect(page.incidents()[0]?.incident_updates[0]?.body).toMatch(/^Taking longer than planned/);
    expect(page.incidents()[0]?.incident_updates[0]?.body).toContain(words);

    const over = { ...extended, reopened };
    expect(await converge('soaking', over)).toBe(1);
    expect(page.incidents()[0]).toMatchObject({ status: 'verifying' });
    expect(statuses()).toEqual([
      'API operational',
      'Search degraded_performance',
      'Web operational',
      'Regions operational',
    ]);
    expect(await converge('open', extended)).toBe(1); // the soak found trouble
    expect(statuses()[1]).toBe('Search under_maintenance');
    expect(await converge('soaking', over)).toBe(1);
    expect(await converge('closed', over)).toBe(1);
    expect(await converge('closed', over)).toBe(0);
    expect(page.incidents()).toHaveLength(1);
    expect(page.incidents()[0]).toMatchObject({ status: 'completed' });
    expect(statuses()).toEqual([
      'API operational',
      'Search degraded_performance',
      'Web operational',
      'Regions operational',
    ]);
    const bodies = page.incidents()[0]!.incident_updates.map(({ body }) => body);
    expect(bodies[0]).toContain(
      'Completed: read-only 02:00:04–02:21:09 UTC, planned until 2026-11-24 02:45 UTC. Writes work again.',
    );
    expect(bodies).toHaveLength(8);
    for (const [at, body] of bodies.entries()) expect(body).not.toBe(bodies[at + 1]);
    expect(page.notifications()).toHaveLength(8);
    for (const { body } of writes(page)) {
      const { incident } = body as { incident: Record<string, unknown> };
      expect(incident).toMatchObject({
        deliver_notifications: true,
        scheduled_auto_in_progress: false,
        scheduled_auto_completed: false,
        auto_transition_to_operational_state: false,
      });
    }
  });

  test('cancelled: says what was', async () => {
    const failed = driver(statuspage, params);
    await failed.converge('open', base);
    await failed.converge('aborted', { ...base, reopened: '2026-11-24T02:01:41Z' });
    expect(page.incidents()[0]?.incident_updates[0]?.body).toMatch(
      /^Cancelled: read-only 02:00:04–02:01:41 UTC, writes work again\./,
    );
    const next = { ...base, id: 'w-2' };
    const never = driver(statuspage, params);
    await never.converge('announced', next);
    await never.converge('aborted', next);
    expect(await never.converge('aborted', next)).toBe(0);
    expect(page.incidents()[0]?.incident_updates[0]?.body).toMatch(/^Cancelled: no maintenance took place\./);
    const half = { ...base, id: 'w-3' };
    const broken = driver(statuspage, params);
    await broken.converge('open', half);
    await broken.converge('aborted', half);
    expect(await broken.converge('aborted', half)).toBe(0);
    expect(page.incidents()[0]?.incident_updates[0]?.body).toMatch(/^Cancelled: the maintenance was broken off\./);
    expect(statuses()[1]).toBe('Search degraded_performance');
  });

  test('found again after a lost journal, in either list', async () => {
    const { converge, loseJournal } = driver(statuspage, { ...params, components: [] });
    await converge('announced', base);
    loseJournal();
    expect(await converge('announced', base)).toBe(0);
    expect(await converge('open', base)).toBe(1);
    loseJournal();
    expect(await converge('open', base)).toBe(0);
    expect(page.incidents()).toHaveLength(1);
  });

  test.each(['reset-after-effect', 'truncate', 'hang', 'reset'] as const)(
    '%s: one maintenance, each update once',
    async (fault) => {
      const { converge } = driver(statuspage, params, 1_500);
      for (const [phase, window] of [
        ['open', base],
        ['soaking', { ...base, reopened }],
      ] as const) {
        let left = 1;
        page.fail(({ method }) => (method !== 'GET' && left-- > 0 ? fault : undefined));
        await converge(phase, window);
      }
      expect(page.incidents()).toHaveLength(1);
      expect(page.incidents()[0]?.incident_updates).toHaveLength(2);
      expect(statuses()[1]).toBe('Search degraded_performance');
    },
  );

  test('the rate limit surfaces with the time to wait', async () => {
    await page.stop();
    page = await startStatuspage({ token: 'sp-key', page: 'abc123', limit: 2, port: page.port });
    const error = await driver(statuspage, { ...params, components: [] })
      .converge('open', base)
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OuterError);
    expect(error).toMatchObject({ status: 420, retryable: true, retryAfterMs: expect.any(Number) });
    expect((error as OuterError).retryAfterMs).toBeGreaterThan(50_000);
  });

  test('somebody else: an outage set by hand is drift, other metadata stays', async () => {
    const { converge, drift } = driver(statuspage, params);
    await converge('open', base);
    const [{ id } = { id: '' }] = page.incidents();
    await fetch(`${page.url}/v1/pages/abc123/incidents/${id}`, {
      method: 'PATCH',
      headers: { authorization: 'OAuth sp-key', 'content-type': 'application/json' },
      body: JSON.stringify({ incident: { metadata: { ...page.incidents()[0]?.metadata, jira: { id: 'X-1' } } } }),
    });
    page.setComponent('srch', 'major_outage');
    await converge('closed', { ...base, reopened });
    expect(drift()).toMatchObject([{ id: 'component:srch' }]);
    expect(statuses().slice(0, 2)).toEqual(['API operational', 'Search major_outage']);
    expect(page.incidents()[0]?.metadata).toMatchObject({ jira: { id: 'X-1' }, maint: { window: 'w-7k2p' } });
  });

  test('wrong names, tokens and pages are told before anything is written', async () => {
    const unknown = driver(statuspage, { ...params, components: ['Apii'] }).observe(base);
    await expect(unknown).rejects.toThrow(Refusal);
    await expect(unknown).rejects.toThrow(/no component "Apii"; it has: API \(c\d+\), Search \(srch\), Web \(c\d+\)$/);
    await expect(driver(statuspage, { ...params, components: ['Regions'] }).observe(base)).rejects.toThrow(
      /only a group of that name/,
    );
    const wrong = driver(statuspage, { ...params, token: 'other' });
    expect([...(await wrong.observe(base)).values()]).toEqual([expect.objectContaining({ refused: true })]);
    expect(await statuspage.allowed!(wrong.io, wrong.step.params, [])).toEqual([
      expect.stringContaining('does not accept the token'),
    ]);
    const lost = driver(statuspage, { ...params, page: 'nope' });
    expect(await statuspage.allowed!(lost.io, lost.step.params, [])).toEqual([
      expect.stringContaining('page nope does not exist'),
    ]);
    const fine = driver(statuspage, params);
    expect(await statuspage.allowed!(fine.io, fine.step.params, [])).toEqual([]);
    expect(writes(page)).toEqual([]);
  });

  test('more incidents than one page', async () => {
    for (let n = 0; n < 130; n++) {
      await driver(statuspage, { ...params, components: [] }).converge('open', { ...base, id: `w-other-${n}` });
    }
    const { converge, loseJournal } = driver(statuspage, { ...params, components: [] });
    page.fail(undefined);
    loseJournal();
    expect(await converge('open', { ...base, id: 'w-other-3' })).toBe(0);
    expect(page.incidents().length).toBe(100 + 30);
  });

  test('its notes', () => {
    const to = { status: 'in_progress', until: base.until, words: 'x', id: '', url: '' };
    const context = {
      params: statuspage.Params.parse(params),
      phase: 'open' as const,
      window: base,
      owned: new Map(),
      seen: new Map(),
      changes: [{ id: 'maintenance', from: null, to }],
    };
    expect(statuspage.notes!({ ...context, when: 'plan' })).toEqual(['maintenance, in progress, 02:00:04–02:30 UTC']);
    const seen = new Map([['maintenance', { ...to, url: 'https://stspg.io/k3f9' }]]);
    expect(statuspage.notes!({ ...context, seen, when: 'done' })).toEqual(['in progress', 'https://stspg.io/k3f9']);
  });
});

describe('notice/slack', () => {
  let chat: Chat;
  let params: Record<string, unknown>;
  const noon = Date.parse(since);
  beforeEach(async () => {
    chat = await startChat({
      token: 'xoxb-1',
      channels: ['general', 'ops', { name: 'far', member: false }],
      limit: 1_000,
      now: () => noon,
    });
    params = { url: chat.url, channel: '#ops', token: 'xoxb-1' };
  });
  afterEach(async () => {
    const violations = chat.violations();
    await chat.stop();
    expect(violations).toEqual([]);
  });
  const roots = () => chat.messages('ops').filter(({ ts, thread_ts }) => !thread_ts || thread_ts === ts);
  const thread = () => chat.messages('ops').filter(({ ts, thread_ts }) => thread_ts && thread_ts !== ts);

  test('a whole window: one message kept up to date, one reply per phase', async () => {
    const { converge } = driver(slack, params);
    await converge('announced', base);
    expect(thread()).toEqual([]);
    await converge('open', base);
    expect(await converge('open', base)).toBe(0);
    expect(roots()[0]?.text).toContain('*prod*: Read-only since 2026-11-24 02:00:04 UTC');
    expect(roots()[0]?.text).toContain('reindex &lt;documents&gt; &amp; more (OPS-412)');
    expect(roots()[0]?.text).toContain('Status page: <https://status.example.com>');
    await converge('open', { ...base, until: '2026-11-24T02:45:00Z' });
    expect(roots()[0]?.text).toContain('until 2026-11-24 02:45 UTC (first planned');
    expect(thread()).toHaveLength(1);
    const over = { ...base, reopened };
    await converge('soaking', over);
    await converge('open', base);
    await converge('soaking', over);
    await converge('closed', over);
    expect(await converge('closed', over)).toBe(0);
    expect(roots()).toHaveLength(1);
    expect(roots()[0]?.text).toContain('Completed: read-only 02:00:04–02:21:09 UTC');
    expect(thread().map(({ text }) => text.split(/[ :]/)[0])).toEqual([
      'Read-only',
      'Verifying',
      'Read-only',
      'Verifying',
      'Completed',
    ]);
  });

  test('a note: the message says it, and its thread gets one reply, found again by its metadata', async () => {
    const { converge, loseJournal } = driver(slack, params);
    const told = { ...base, note: 'moved to <tonight>' };
    await converge('announced', base);
    await converge('announced', told);
    expect(thread().map(({ text }) => text)).toEqual(['moved to &lt;tonight&gt;']);
    await converge('open', told);
    expect(thread().at(-1)?.text).toMatch(/^Read-only since/);
    const later = { ...base, note: 'reindex 60 %, next update 02:40Z' };
    let n = 0;
    chat.fail(({ path }) => (path.startsWith('/api/chat.') && n++ % 2 === 0 ? 'reset-after-effect' : undefined));
    await converge('open', later, 6);
    chat.fail(undefined);
    loseJournal();
    expect(await converge('open', later)).toBe(0);
    expect(roots()[0]?.text).toContain('Note: reindex 60 %, next update 02:40Z');
    const over = { ...later, note: 'nobody heard this one', reopened };
    await converge('soaking', { ...later, reopened });
    await converge('closed', over);
    expect(await converge('closed', over)).toBe(0);
    expect(thread().map(({ text }) => text.slice(0, 9))).toEqual([
      'moved to ',
      'Read-only',
      'reindex 6',
      'Verifying',
      'Completed',
    ]);
    expect(thread().at(-1)?.text).not.toContain('nobody');
  });

  test('cancelled', async () => {
    const never = driver(slack, params);
    await never.converge('announced', base);
    await never.converge('aborted', base);
    expect(await never.converge('aborted', base)).toBe(0);
    expect(thread().map(({ text }) => text)).toEqual(['Cancelled: no maintenance took place.']);
    const failed = driver(slack, params);
    await failed.converge('open', { ...base, id: 'w-2' });
    await failed.converge('aborted', { ...base, id: 'w-2', reopened: '2026-11-24T02:01:41Z' });
    expect(thread().at(-1)?.text).toBe('Cancelled: read-only 02:00:04–02:01:41 UTC, writes work again.');
  });

  test.each(['reset-after-effect', 'truncate', 'hang', 'reset'] as const)(
    '%s at every write: nothing is said twice',
    async (fault) => {
      const { converge } = driver(slack, params, 1_500);
      for (const [phase, window] of [
        ['open', base],
        ['soaking', { ...base, reopened }],
        ['closed', { ...base, reopened }],
      ] as const) {
        let n = 0;
        chat.fail(({ path }) => (path.startsWith('/api/chat.') && n++ % 2 === 0 ? fault : undefined));
        await converge(phase, window, 6);
      }
      expect(roots()).toHaveLength(1);
      expect(thread()).toHaveLength(3);
    },
  );

  test('found again after a lost journal, among others', async () => {
    const { converge, loseJournal } = driver(slack, params);
    await converge('open', base);
    for (let n = 0; n < 250; n++) chat.say('ops', `talk ${n}`);
    loseJournal();
    expect(await converge('open', base)).toBe(0);
    await converge('soaking', { ...base, reopened });
    expect(roots().filter(({ bot_id }) => bot_id)).toHaveLength(1);
  });

  test('a message that cannot be changed any more: said in its thread, once', async () => {
    const { converge } = driver(slack, params);
    await converge('open', base);
    chat.fail(({ path }) =>
      path === '/api/chat.update' ? { status: 200, body: { ok: false, error: 'edit_window_closed' } } : undefined,
    );
    const extended = { ...base, until: '2026-11-24T02:45:00Z' };
    expect(await converge('open', extended)).toBe(1);
    expect(await converge('open', extended)).toBe(0);
    expect(thread().at(-1)?.text).toContain('until 2026-11-24 02:45 UTC');
    await converge('closed', { ...extended, reopened });
    expect(thread().at(-1)?.text).toMatch(/^Completed/);
    expect(roots()).toHaveLength(1);
  });

  test('the message was removed: reported, and its thread still says the end', async () => {
    const { converge, drift } = driver(slack, params);
    await converge('open', base);
    chat.remove('ops', roots()[0]!.ts);
    await converge('closed', { ...base, reopened });
    expect(drift()).toMatchObject([{ id: 'message', gone: true }]);
    expect(thread().at(-1)?.text).toMatch(/^Completed/);
    expect(await converge('closed', { ...base, reopened })).toBe(0);
  });

  test('rate limits and missing rights', async () => {
    chat.fail(({ path }) =>
      path.endsWith('postMessage')
        ? { status: 429, headers: { 'retry-after': '7' }, body: { ok: false, error: 'ratelimited' } }
        : undefined,
    );
    await expect(driver(slack, params).converge('open', base)).rejects.toMatchObject({
      retryAfterMs: 7_000,
      retryable: true,
    });
    chat.fail(undefined);
    const ask = async (more: Record<string, unknown>) => {
      const { io, step } = driver(slack, { ...params, ...more });
      return slack.allowed!(io, step.params, []);
    };
    expect(await ask({})).toEqual([]);
    expect(await ask({ channel: 'C00000002' })).toEqual([]);
    expect(await ask({ channel: '#far' })).toEqual([expect.stringContaining('not a member of #far')]);
    expect(await ask({ token: 'xoxb-2' })).toEqual([expect.stringContaining('invalid_auth')]);
    await expect(driver(slack, { ...params, channel: '#opss' }).observe(base)).rejects.toThrow(
      'the token sees no channel #opss; it sees: #general, #ops, #far',
    );
    expect([...(await driver(slack, { ...params, token: 'xoxb-2' }).observe(base)).values()]).toEqual([
      expect.any(Unknown),
      expect.any(Unknown),
    ]);
    expect(chat.messages('ops')).toEqual([]);
  });
});
