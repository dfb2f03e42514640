// A maintenance on Statuspage. Its states follow what happened, never the service's clock; it is found again by its
// metadata, and one call carries its words and all its components, because 60 calls a minute are all there are.
import { z } from 'zod';
import {
  defineResource,
  type Is,
  LEAVE,
  type Phase,
  Refusal,
  Stale,
  Unknown,
  type Window,
} from '../../engine/contract.ts';
import type { HttpResponse, Reader } from '../../engine/io.ts';
import { secret, url } from '../../engine/secret.ts';
import { OuterError } from '../../errors/catalogue.ts';
import { details, hostOf, instant, isOneOf, listed, sentence, span } from './notice.ts';

export const StatuspageParams = z.strictObject({
  url: url('the address of the API, without its version').default('https://api.statuspage.io'),
  page: z.string().min(1).meta({ description: 'the id of the page' }),
  token: secret(z.string().min(1).meta({ description: 'an API key' })),
  components: z.array(z.string().min(1)).default([]).meta({ description: 'the affected components, by name or id' }),
  name: z
    .string()
    .min(1)
    .max(255)
    .default('Read-only maintenance')
    .meta({ description: 'the title of the maintenance' }),
  notify: z.boolean().default(true).meta({ description: 'whether subscribers are told' }),
});
export type StatuspageParams = z.infer<typeof StatuspageParams>;

/** A component has its status only; the rest belongs to the maintenance. */
export const StatuspageState = z.strictObject({
  status: z.string(),
  until: z.string().optional(),
  words: z.string().optional(),
  id: z.string().optional(),
  url: z.string().optional(),
});
export type StatuspageState = z.infer<typeof StatuspageState>;

const MAINTENANCE = 'maintenance';
const STATUS = {
  announced: 'scheduled',
  open: 'in_progress',
  soaking: 'verifying',
  closed: 'completed',
  aborted: 'completed',
} as const satisfies Record<Phase, string>;

/** Everything by which the service would change the maintenance by its own clock. Its defaults are not documented. */
const NO_CLOCK = {
  scheduled_auto_in_progress: false,
  scheduled_auto_completed: false,
  scheduled_auto_transition: false,
  scheduled_remind_prior: false,
  auto_transition_to_maintenance_state: false,
  auto_transition_to_operational_state: false,
  auto_transition_deliver_notifications_at_start: false,
  auto_transition_deliver_notifications_at_end: false,
};

interface Incident {
  id: string;
  status: string;
  shortlink?: string | null;
  scheduled_until?: string | null;
  metadata?: Record<string, any> | null;
  components?: { id: string; status: string }[] | null;
}
interface Component {
  id: string;
  name: string;
  status: string;
  group?: boolean | null;
}

export const statuspage = defineResource<StatuspageParams, StatuspageState>({
  name: 'notice/statuspage',
  role: 'notice',
  summary: 'a maintenance on a Statuspage page, kept up to date, and the status of the affected components',
  leaves: 'a completed maintenance on the status page',
  Params: StatuspageParams,
  State: StatuspageState,
  computed: ['id', 'url'],
  example: { page: 'abc123', token: '${STATUSPAGE_TOKEN}', components: ['API'] },
  batch: Number.POSITIVE_INFINITY,
  address: ({ url, page }) => `statuspage ${hostOf(url)}/${page}`,

  async observe(io, params, window, known) {
    const seen = new Map<string, Is<StatuspageState> | Unknown>();
    try {
      const incident = await find(io, params, window, known.get(MAINTENANCE)?.id);
      seen.set(MAINTENANCE, incident ? stateOf(incident) : null);
      const owned = [...known.keys()].filter((id) => id !== MAINTENANCE).map(componentId);
      if (owned.length > 0 || params.components.length > 0) {
        const all = await components(io, params);
        const wanted = resolve(all, params.components, owned.length > 0);
        for (const id of new Set([...wanted, ...owned])) {
          const found = all.find((component) => component.id === id);
          seen.set(`component:${id}`, found ? { status: found.status } : null);
        }
      }
      return seen;
    } catch (error) {
      if (!isOneOf(error, [401, 403])) throw error;
      const unknown = new Unknown(error.message, true);
      return new Map([MAINTENANCE, ...known.keys()].map((id) => [id, unknown]));
    }
  },

  desired({ phase, window, id, now, before }) {
    if (id !== MAINTENANCE) {
      // Back to its own status as soon as writes work again: the page says what is.
      if (phase === 'open') return now ? { status: 'under_maintenance' } : LEAVE;
      return before === undefined ? LEAVE : before;
    }
    const over = phase === 'closed' || phase === 'aborted';
    if (over && !now) return LEAVE;
    if (phase === 'aborted' && !window.reopened && now?.status === 'completed') return LEAVE;
    const earlier = now?.status === 'scheduled' || !now ? 'announced' : 'open';
    return {
      status: STATUS[phase],
      until: instant(window.until),
      words: [sentence(phase, window, earlier), '', ...details(phase, window, { statusPage: false })].join('\n'),
      id: now?.id ?? '',
      url: now?.url ?? '',
    };
  },

  async write(io, params, changes, window) {
    const main = changes.find(({ id }) => id === MAINTENANCE);
    const parts = changes.filter(({ id }) => id !== MAINTENANCE);
    const statuses = Object.fromEntries(parts.map(({ id, to }) => [componentId(id), to?.status ?? '']));
    const there = main?.from === null ? undefined : await find(io, params, window, main?.from?.id);
    // The service knows no compare-and-set: look once more before anything is said.
    if (main?.from && (!there || there.status !== main.from.status || there.metadata?.maint?.words !== main.from.words))
      throw new Stale();
    for (const { id, from } of parts) {
      const now = there?.components?.find((component) => component.id === componentId(id));
      if (now && now.status !== from?.status) throw new Stale();
    }

    const incident: Record<string, unknown> = { deliver_notifications: params.notify };
    if (parts.length > 0) incident.components = statuses;
    if (main?.to) {
      const metadata = { ...there?.metadata, maint: { window: window.id, words: main.to.words } };
      Object.assign(incident, NO_CLOCK, {
        status: main.to.status,
        body: main.to.words,
        // both: an announced window that is moved or opened begins at another time
        scheduled_for: instant(window.since),
        scheduled_until: main.to.until,
        metadata,
      });
    }
    let answer: HttpResponse;
    if (there)
      answer = await io.http.send('PATCH', { ...request(params, `/incidents/${there.id}`), json: { incident } });
    else if (main) {
      const component_ids = resolve(
        params.components.length > 0 ? await components(io, params) : [],
        params.components,
        true,
      );
      Object.assign(incident, { name: params.name, component_ids });
      answer = await io.http.send('POST', { ...request(params, '/incidents'), json: { incident } });
    } else {
      // The maintenance is gone, the components are not.
      for (const [id, status] of Object.entries(statuses)) {
        const part = await io.http.send('PATCH', {
          ...request(params, `/components/${encodeURIComponent(id)}`),
          json: { component: { status } },
        });
        ownAnswer(params, part, 'unknown');
      }
      return changes.map(({ to }) => to);
    }
    const written = ownAnswer(params, answer, 'unknown');
    return changes.map(({ id, to }) =>
      id === MAINTENANCE && to ? { ...to, id: written.id, url: written.shortlink ?? '' } : to,
    );
  },

  notes({ seen, changes, phase, window, when }) {
    const next = changes.find(({ id }) => id === MAINTENANCE)?.to;
    const now = seen.get(MAINTENANCE);
    const state = when === 'plan' ? next : (next ?? (now instanceof Unknown ? undefined : now));
    const notes: string[] = [];
    if (state) {
      const status = state.status.replaceAll('_', ' ');
      if (when === 'plan') notes.push(`maintenance, ${status}, ${span(window.since, window.until)}`);
      else if (phase === 'aborted') notes.push(`${status}: "${state.words?.split('\n')[0]}"`);
      else notes.push(status);
      const address = now && !(now instanceof Unknown) ? now.url : state.url;
      if (when === 'done' && address) notes.push(address);
    }
    const parts = changes.filter(({ id }) => id !== MAINTENANCE);
    const held = parts.filter(({ to }) => to?.status === 'under_maintenance').length;
    if (held > 0) notes.push(`${held} ${held === 1 ? 'component' : 'components'} under maintenance`);
    if (parts.length > held)
      notes.push(`${parts.length - held} ${parts.length - held === 1 ? 'component' : 'components'} restored`);
    return notes;
  },

  asks: 'GET of the page',
  async allowed(io, params) {
    const { status } = await io.http.get({ ...request(params, ''), expect: [200, 401, 403, 404] });
    if (status === 401) return [`${hostOf(params.url)} does not accept the token`];
    if (status === 403) return [`the token may not see page ${params.page}`];
    if (status === 404) return [`page ${params.page} does not exist, or the token cannot see it`];
    return [];
  },
});

function request({ url, page, token }: StatuspageParams, path: string) {
  return {
    url: `${url.replace(/\/+$/, '')}/v1/pages/${encodeURIComponent(page)}${path}`,
    headers: { Authorization: `OAuth ${token}` },
  };
}

function componentId(id: string): string {
  return id.slice('component:'.length);
}

function stateOf({ id, status, shortlink, scheduled_until, metadata }: Incident): StatuspageState {
  return {
    status,
    until: scheduled_until ? instant(scheduled_until) : '',
    words: String(metadata?.maint?.words ?? ''),
    id,
    url: shortlink ?? '',
  };
}

/** A proxy or captive portal answered instead of the service, whatever the status says: the service may not have heard of it. */
function ownAnswer({ url }: StatuspageParams, { json }: HttpResponse, effect: 'none' | 'unknown'): Incident {
  if (typeof json?.id === 'string' && typeof json.status === 'string') return json;
  throw new OuterError(`${hostOf(url)} gave an answer that is no JSON of its own`, { effect, retryable: true });
}

/** One that has begun stands in another list than one that is still to come. */
async function find(io: Reader, params: StatuspageParams, window: Window, id?: string): Promise<Incident | undefined> {
  const ours = (incident: Incident) => incident.metadata?.maint?.window === window.id;
  if (id) {
    const answer = await io.http.get({
      ...request(params, `/incidents/${encodeURIComponent(id)}`),
      expect: [200, 404],
    });
    if (answer.status === 200) {
      const incident = ownAnswer(params, answer, 'none');
      if (ours(incident)) return incident;
    }
  }
  for (const list of ['active_maintenance', 'scheduled']) {
    for await (const incident of all<Incident>(io, params, `/incidents/${list}`)) if (ours(incident)) return incident;
  }
  return undefined;
}

async function components(io: Reader, params: StatuspageParams): Promise<Component[]> {
  const found: Component[] = [];
  for await (const component of all<Component>(io, params, '/components')) found.push(component);
  return found;
}

/** There is no total and no link to the next page: a short one is the last. */
async function* all<T>(io: Reader, params: StatuspageParams, path: string): AsyncGenerator<T> {
  for (let page = 1; ; page++) {
    const { json } = await io.http.get({ ...request(params, path), query: { page, per_page: 100 } });
    if (!Array.isArray(json))
      throw new OuterError(`${hostOf(params.url)} answered ${path} with something that is no list`, {
        effect: 'none',
        retryable: true,
      });
    yield* json as T[];
    if (json.length < 100) return;
  }
}

/** Ids of what a person named. `lenient`: what is ours already must come back even if it has another name by now. */
function resolve(all: readonly Component[], wanted: readonly string[], lenient: boolean): string[] {
  const settable = all.filter(({ group }) => !group);
  const ids: string[] = [];
  for (const name of wanted) {
    const byId = settable.find(({ id }) => id === name);
    const named = byId ? [byId] : settable.filter((component) => component.name === name);
    if (named.length === 1) ids.push(named[0]!.id);
    else if (lenient) continue;
    else if (named.length > 1)
      throw new Refusal(
        `the page has ${named.length} components named "${name}": ${named.map(({ id }) => id).join(', ')}`,
        'name it by its id under `components:`',
      );
    else {
      const group = all.some((component) => component.group && (component.name === name || component.id === name));
      const names = listed(settable.map((component) => `${component.name} (${component.id})`));
      throw new Refusal(
        `the page has no component "${name}"${group ? ', only a group of that name' : ''}; it has: ${names}`,
        'name one of these under `components:`',
      );
    }
  }
  return [...new Set(ids)];
}
