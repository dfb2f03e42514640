// A maintenance on Statuspage. Its states follow what happened, never the service's clock; it is found again by its
// metadata, and one call carries its words and all its components, because 60 calls a minute are all there are.
import { z } from 'zod';
import { defineResource, LEAVE, type Phase, Refusal, Unknown } from '../../engine/contract.ts';
import { secret, url } from '../../engine/secret.ts';
import { details, hostOf, instant, isOneOf, listed, sentence, span } from './notice.ts';
import {
  type Component,
  componentsOf,
  type Incident,
  incidentOf,
  missingRights,
  NO_CLOCK,
  patchComponent,
  saveIncident,
} from './statuspage.wire.ts';

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

interface Handle {
  incident: Incident | undefined;
  /** the ids of the components that the runbook names */
  wanted: string[];
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

  compare: 'look',

  async observe(io, params, { window, owned }) {
    try {
      const ours = [...owned.keys()].filter((id) => id !== MAINTENANCE).map(componentId);
      const [incident, all] = await Promise.all([
        incidentOf(io, params, window.id, owned.get(MAINTENANCE)?.after?.id),
        ours.length + params.components.length > 0 ? componentsOf(io, params) : [],
      ]);
      const wanted = resolve(all, params.components, ours.length > 0);
      const handle: Handle = { incident, wanted };
      const seen = new Map([[MAINTENANCE, { state: incident ? stateOf(incident) : null, handle }]]);
      for (const id of new Set([...wanted, ...ours])) {
        const found = all.find((component) => component.id === id);
        seen.set(`component:${id}`, { state: found ? { status: found.status } : null, handle });
      }
      return seen;
    } catch (error) {
      if (!isOneOf(error, [401, 403])) throw error;
      const unknown = new Unknown(error.message, true);
      return new Map([MAINTENANCE, ...owned.keys()].map((id) => [id, unknown]));
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
    const { incident: there, wanted } = changes[0]!.handle as Handle;
    if (!there && !main) {
      // The maintenance is gone, the components are not.
      for (const [id, status] of Object.entries(statuses)) await patchComponent(io, params, id, status);
      return changes.map(({ to }) => to);
    }
    const incident: Record<string, unknown> = { deliver_notifications: params.notify };
    if (parts.length > 0) incident.components = statuses;
    if (!there) Object.assign(incident, { name: params.name, component_ids: wanted });
    if (main?.to)
      Object.assign(incident, NO_CLOCK, {
        status: main.to.status,
        body: main.to.words,
        // both: an announced window that is moved or opened begins at another time
        scheduled_for: instant(window.since),
        scheduled_until: main.to.until,
        metadata: { ...there?.metadata, maint: { window: window.id, words: main.to.words } },
      });
    const written = await saveIncident(io, params, there?.id, incident);
    return changes.map(({ id, to }) =>
      id === MAINTENANCE && to ? { ...to, id: written.id, url: written.shortlink ?? '' } : to,
    );
  },

  // A component bears no mark: what it showed before is not known.
  markedBefore: (id, { status }) => (id === MAINTENANCE && status !== 'completed' ? null : undefined),

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
  allowed: missingRights,
});

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
