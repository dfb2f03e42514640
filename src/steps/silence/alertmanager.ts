import { z } from 'zod';
import { defineResource, Refusal, Unknown, whileHeld } from '../../engine/contract.ts';
import { spelled, url } from '../../engine/secret.ts';
import {
  expireSilence,
  pathOf,
  postSilence,
  type Silence,
  silencesMarked,
  suppressedBy,
  UTF8_LABELS,
  versionOf,
} from './alertmanager.wire.ts';
import {
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

export const alertmanager = defineResource<Params, State>({
  name: 'silence/alertmanager',
  role: 'mute',
  summary: 'silences the alerts that the window itself sets off, until an hour after its end',
  Params,
  State,
  computed: ['id', 'suppressed'],
  example: { url: '${ALERTS_URL}', matchers: ['alertname=WritesRefused'] },
  compare: 'look',
  address: (params) => `alertmanager ${new URL(params.url).host}${pathOf(params.url)}`,

  async observe(io, params, { window, owned }) {
    const id = idOf(params);
    const ours = await silencesMarked(io, params.url, markOf(window, id));
    const [alive] = ours.filter(isAlive);
    if (alive) {
      const suppressed = await suppressedBy(io, params.url, alive.id);
      return new Map([[id, { state: { ends: iso(alive.endsAt), id: alive.id, suppressed }, handle: ours }]]);
    }
    const was = owned.get(id)?.after;
    const [latest] = ours;
    // It ran out by itself: still ours, so that a new end makes a new one. Ended before its time, it is gone: ending it
    // sets its end to that moment.
    const ranOut = latest
      ? Date.parse(latest.endsAt) - Date.parse(latest.updatedAt) > 1000
      : was != null && Date.parse(was.ends) < Date.now();
    const expired = { ends: latest ? iso(latest.endsAt) : was?.ends, id: latest?.id ?? was?.id, suppressed: [] };
    return new Map([[id, { state: was && ranOut ? expired : null, handle: ours }]]);
  },

  async allowed(io, { url, matchers }) {
    const quoted = matchers.map(parseMatcher).filter(({ name }) => needsQuotes(name));
    if (quoted.length === 0) return [];
    const version = await versionOf(io, url);
    const [, major, minor] = /^(\d+)\.(\d+)\./.exec(version) ?? [];
    if (major === undefined || Number(major) > 0 || Number(minor) >= UTF8_LABELS) return [];
    return [`Alertmanager ${version} takes no label called ${list(quoted.map(({ name }) => name))}; 0.27 and later do`];
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
    const { id, from, to, handle } = change!;
    const ours = (handle as Silence[]).filter(isAlive);
    if (to === null) {
      // every one: a create that was answered too late may have left a second
      for (const one of ours) await expireSilence(io, params.url, one.id);
      return [null];
    }
    const fresh = {
      matchers: params.matchers.map(parseMatcher),
      startsAt: window.since,
      createdBy: `maint (${window.by})`,
      comment: `${window.reason}${window.ticket ? ` ${window.ticket}` : ''}, ${window.contact} ${markOf(window, id)}`,
    };
    const old = ours.find((one) => one.id === from?.id);
    return [{ ...to, id: await postSilence(io, params.url, { ...(old ?? fresh), endsAt: to.ends }) }];
  },

  // observe() finds a silence by the window's mark only
  markedBefore: () => null,

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

function isAlive({ status }: Silence): boolean {
  return status.state !== 'expired';
}

/** Servers give fractions of a second as they like. */
function iso(time: string): string {
  return new Date(time).toISOString();
}
