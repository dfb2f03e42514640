import { z } from 'zod';
import { defineResource, Refusal, Stale, Unknown, type Window, whileHeld } from '../../engine/contract.ts';
import type { Reader } from '../../engine/io.ts';
import { spelled, url } from '../../engine/secret.ts';
import { OuterError } from '../../errors/catalogue.ts';
import {
  countNames,
  endsAt,
  list,
  MATCHER,
  markOf,
  misspelt,
  needsQuotes,
  parseMatcher,
  silenceId,
  tooBroad,
  writeMatcher,
} from './silence.ts';

export const Params = z.strictObject({
  url: url('the address of Alertmanager, without /api/v2'),
  matchers: z
    .array(
      spelled(z.string().regex(MATCHER, 'a matcher: name=value, name!=value, name=~regex or name!~regex'), misspelt),
    )
    .min(1)
    .describe(
      'which alerts; all of them must fit (and). One matcher each; the name of a label with dots stands in double quotes (Alertmanager 0.27 and later)',
    ),
});
export type Params = z.infer<typeof Params>;

export const State = z.strictObject({
  /** RFC 3339 */
  ends: z.string(),
  /** of the server; another one after every change that it cannot make in place */
  id: z.string(),
  /** alerts that fire and are held back by it, by name */
  suppressed: z.array(z.string()),
});
export type State = z.infer<typeof State>;

interface Silence {
  id: string;
  status: { state: 'active' | 'pending' | 'expired' };
  startsAt: string;
  endsAt: string;
  updatedAt: string;
  comment: string;
  [more: string]: unknown;
}

export const alertmanager = defineResource<Params, State>({
  name: 'silence/alertmanager',
  role: 'mute',
  summary: 'silences the alerts that the window itself sets off, until an hour after its end',
  Params,
  State,
  computed: ['id', 'suppressed'],
  example: { url: '${ALERTS_URL}', matchers: ['alertname=WritesRefused'] },
  address: (params) => `alertmanager ${new URL(params.url).host}${base(params.url, 'path')}`,

  async allowed(io, { url, matchers }) {
    const quoted = matchers.map(parseMatcher).filter(({ name }) => needsQuotes(name));
    if (quoted.length === 0) return [];
    const { json } = await io.http.get({ url: `${base(url)}/status` });
    const version = String(json?.versionInfo?.version ?? '');
    const [, major, minor] = /^(\d+)\.(\d+)\./.exec(version) ?? [];
    // https://github.com/prometheus/alertmanager/releases/tag/v0.27.0 (2024-02-28): UTF-8 in the names of labels
    if (major === undefined || Number(major) > 0 || Number(minor) >= 27) return [];
    return [`Alertmanager ${version} takes no label called ${list(quoted.map(({ name }) => name))}; 0.27 and later do`];
  },

  async observe(io, params, window, known) {
    const id = idOf(params);
    const ours = await find(io, params, window);
    const alive = ours.find((silence) => silence.status.state !== 'expired');
    if (alive)
      return new Map([
        [id, { ends: iso(alive.endsAt), id: alive.id, suppressed: await suppressedBy(io, params, alive.id) }],
      ]);
    const was = known.get(id);
    if (!was) return new Map([[id, null]]);
    // It ran out by itself: still ours, so that a new end makes a new one. Ended before its time, it is gone: ending it
    // sets its end to that moment.
    const [latest] = ours;
    const ranOut = latest
      ? Date.parse(latest.endsAt) - Date.parse(latest.updatedAt) > 1000
      : Date.parse(was.ends) < Date.now();
    return new Map([
      [id, ranOut ? { ends: latest ? iso(latest.endsAt) : was.ends, id: latest?.id ?? was.id, suppressed: [] } : null],
    ]);
  },

  desired: whileHeld(({ window, params, now }) => {
    const why = tooBroad(params.matchers.map(parseMatcher));
    if (why !== undefined)
      throw new Refusal(
        `the silence is too broad: ${why}`,
        'name what this window sets off, such as alertname=WritesRefused',
      );
    return { ends: endsAt(window), id: now?.id ?? '', suppressed: now?.suppressed ?? [] };
  }),

  async write(io, params, [change], window) {
    const { from, to } = change!;
    const api = base(params.url);
    const ours = (await find(io, params, window)).filter((silence) => silence.status.state !== 'expired');
    if (to === null) {
      // every one: a create that was answered too late may have left a second
      for (const { id } of ours) {
        const { text } = await io.http.send('DELETE', { url: `${api}/silence/${id}`, expect: [200, 404] });
        if (/^\s*</.test(text)) throw notItsAnswer(params, 'unknown');
      }
      return [null];
    }
    const old = ours.find((silence) => silence.id === from?.id);
    if (ours.length > 0 && (!old || iso(old.endsAt) !== from?.ends))
      throw new Stale('the silence was changed by somebody else meanwhile');
    // In place only with the same matchers and the same start; an expired one cannot be changed any more.
    const {
      status: _status,
      updatedAt: _updatedAt,
      ...kept
    } = old ?? {
      matchers: params.matchers.map(parseMatcher),
      startsAt: window.since,
      createdBy: `maint (${window.by})`,
      comment: `${window.reason}${window.ticket ? ` ${window.ticket}` : ''}, ${window.contact} ${markOf(window, change!.id)}`,
    };
    const answer = await io.http.send('POST', { url: `${api}/silences`, json: { ...kept, endsAt: to.ends } });
    if (typeof answer.json?.silenceID !== 'string') throw notItsAnswer(params, 'unknown');
    return [{ ...to, id: answer.json.silenceID }];
  },

  notes({ params, phase, seen, changes, owned, when }) {
    const id = idOf(params);
    const what = list(params.matchers.map((text) => writeMatcher(parseMatcher(text))));
    const now = seen.get(id);
    if (phase === 'open') {
      const ends = changes.at(-1)?.to?.ends ?? (now && !(now instanceof Unknown) ? now.ends : undefined);
      return [`${what}${ends ? `, until ${ends.slice(11, 16)}Z` : ''}`];
    }
    const removed = changes.find((change) => change.to === null);
    if (!removed) return owned.has(id) && when === 'done' ? ['gone already'] : [];
    const fires = removed.from?.suppressed ?? [];
    return [
      when === 'plan' ? `${what}: to be ended` : 'ended',
      fires.length > 0 ? `fires again: ${list(fires)}` : 'no alert was being suppressed',
    ];
  },
});

function idOf({ matchers }: Params): string {
  return silenceId(matchers.map(parseMatcher));
}

/** The latest end first. */
async function find(io: Reader, params: Params, window: Window): Promise<Silence[]> {
  const { json } = await io.http.get({ url: `${base(params.url)}/silences` });
  const mark = markOf(window, idOf(params));
  // taken for an empty list, our silence would count as gone, and stay
  if (!Array.isArray(json)) throw notItsAnswer(params, 'none');
  return (json as Silence[])
    .filter((silence) => silence.comment.includes(mark))
    .sort((a, b) => Date.parse(b.endsAt) - Date.parse(a.endsAt));
}

/** By nothing else: what another silence holds back as well does not fire again when ours ends. */
async function suppressedBy(io: Reader, params: Params, id: string): Promise<string[]> {
  const { json } = await io.http.get({
    url: `${base(params.url)}/alerts`,
    query: { active: false, silenced: true, inhibited: false },
  });
  const alerts: { labels: Record<string, string>; status: { silencedBy: string[] } }[] = Array.isArray(json)
    ? json
    : [];
  return countNames(
    alerts
      .filter(({ status }) => status.silencedBy.length > 0 && status.silencedBy.every((other) => other === id))
      .map((alert) => alert.labels['alertname'] ?? 'an alert without a name'),
  );
}

/** A proxy or captive portal answered instead of the service, with a status of success. */
function notItsAnswer(params: Params, effect: 'none' | 'unknown'): OuterError {
  return new OuterError(`${new URL(params.url).host} gave an answer that is no JSON of Alertmanager`, {
    effect,
    retryable: true,
  });
}

function base(address: string, part: 'all' | 'path' = 'all'): string {
  const path = new URL(address).pathname.replace(/\/+$/, '');
  if (part === 'path') return path;
  const at = new URL(address);
  at.pathname = `${path}/api/v2`;
  at.search = '';
  at.hash = '';
  return at.href;
}

/** Servers give fractions of a second as they like. */
function iso(time: string): string {
  return new Date(time).toISOString();
}
