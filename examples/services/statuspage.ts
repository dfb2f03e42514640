// A local status page that speaks the part of Statuspage's API which a maintenance needs, and nothing more: it refuses
// and remembers whatever the service's description does not allow. For tests and for the example world.
import {
  type Answer,
  escapeHtml,
  type Fields,
  htmlPage,
  isObject,
  rateLimiter,
  type StrictRequest,
  type StrictServer,
  serveStrictly,
  wrongFields,
} from './strict.ts';

const REALTIME = ['investigating', 'identified', 'monitoring', 'resolved'] as const;
const MAINTENANCE = ['scheduled', 'in_progress', 'verifying', 'completed'] as const;
export const INCIDENT_STATUSES: readonly string[] = [...REALTIME, ...MAINTENANCE];
export const COMPONENT_STATUSES = [
  'operational',
  'under_maintenance',
  'degraded_performance',
  'partial_outage',
  'major_outage',
  '',
] as const;
export const IMPACTS = ['none', 'maintenance', 'minor', 'major', 'critical'] as const;

export const INCIDENT_FIELDS: Fields = {
  name: { type: 'string', max: 255 },
  status: { type: 'string', enum: INCIDENT_STATUSES },
  impact_override: { type: 'string', enum: IMPACTS },
  scheduled_for: { type: 'time' },
  scheduled_until: { type: 'time' },
  scheduled_remind_prior: { type: 'boolean' },
  auto_transition_to_maintenance_state: { type: 'boolean' },
  auto_transition_to_operational_state: { type: 'boolean' },
  scheduled_auto_in_progress: { type: 'boolean' },
  scheduled_auto_completed: { type: 'boolean' },
  auto_transition_deliver_notifications_at_start: { type: 'boolean' },
  auto_transition_deliver_notifications_at_end: { type: 'boolean' },
  reminder_intervals: { type: 'string' },
  metadata: { type: 'object' },
  deliver_notifications: { type: 'boolean' },
  auto_tweet_at_beginning: { type: 'boolean' },
  auto_tweet_on_completion: { type: 'boolean' },
  auto_tweet_on_creation: { type: 'boolean' },
  auto_tweet_one_hour_before: { type: 'boolean' },
  backfill_date: { type: 'string' },
  backfilled: { type: 'boolean' },
  body: { type: 'string', max: 25_000 },
  components: { type: 'map', enum: COMPONENT_STATUSES },
  component_ids: { type: 'strings' },
  scheduled_auto_transition: { type: 'boolean' },
};
export const COMPONENT_FIELDS: Fields = {
  description: { type: 'string' },
  status: { type: 'string', enum: COMPONENT_STATUSES },
  name: { type: 'string' },
  only_show_if_degraded: { type: 'boolean' },
  group_id: { type: 'string' },
  showcase: { type: 'boolean' },
  start_date: { type: 'date' },
};
export const UPDATE_FIELDS: Fields = {
  wants_twitter_update: { type: 'boolean' },
  body: { type: 'string', max: 25_000 },
  display_at: { type: 'time' },
  deliver_notifications: { type: 'boolean' },
};

export interface Operation {
  /** names of the query, with the largest number allowed; null: any text */
  query?: Readonly<Record<string, number | null>>;
  /** the one key that the body wraps its fields into */
  wrapper?: string;
  fields?: Fields;
  required?: readonly string[];
  success: number;
}
const PAGED = { page: Number.MAX_SAFE_INTEGER, per_page: 100 };
const INCIDENT = '/pages/{page_id}/incidents/{incident_id}';
const UPDATE = `${INCIDENT}/incident_updates/{incident_update_id}`;
const COMPONENT = '/pages/{page_id}/components/{component_id}';
const incident = { wrapper: 'incident', fields: INCIDENT_FIELDS, required: [], success: 200 };
const component = { wrapper: 'component', fields: COMPONENT_FIELDS, required: [], success: 200 };
const update = { wrapper: 'incident_update', fields: UPDATE_FIELDS, required: [], success: 200 };

/** All that it answers; paths stand below /v1. The four lists come before the single incident: they look alike. */
export const OPERATIONS: Readonly<Record<string, Operation>> = {
  'GET /pages/{page_id}': { success: 200 },
  'POST /pages/{page_id}/incidents': { ...incident, required: ['name'], success: 201 },
  'GET /pages/{page_id}/incidents': { query: { q: null, limit: 100, page: Number.MAX_SAFE_INTEGER }, success: 200 },
  'GET /pages/{page_id}/incidents/active_maintenance': { query: PAGED, success: 200 },
  'GET /pages/{page_id}/incidents/upcoming': { query: PAGED, success: 200 },
  'GET /pages/{page_id}/incidents/scheduled': { query: PAGED, success: 200 },
  'GET /pages/{page_id}/incidents/unresolved': { query: PAGED, success: 200 },
  [`GET ${INCIDENT}`]: { success: 200 },
  [`PATCH ${INCIDENT}`]: incident,
  [`PUT ${INCIDENT}`]: incident,
  [`DELETE ${INCIDENT}`]: { success: 200 },
  [`PATCH ${UPDATE}`]: update,
  [`PUT ${UPDATE}`]: update,
  'GET /pages/{page_id}/components': { query: PAGED, success: 200 },
  [`GET ${COMPONENT}`]: { success: 200 },
  [`PATCH ${COMPONENT}`]: component,
  [`PUT ${COMPONENT}`]: component,
};

export interface Component {
  id: string;
  page_id: string;
  group_id: string | null;
  created_at: string;
  updated_at: string;
  group: boolean;
  name: string;
  description: string | null;
  position: number;
  status: string;
  showcase: boolean;
  only_show_if_degraded: boolean;
  automation_email: string;
  start_date: string | null;
}
export interface IncidentUpdate {
  id: string;
  incident_id: string;
  status: string;
  body: string;
  affected_components: { code: string; name: string; old_status: string; new_status: string }[];
  deliver_notifications: boolean;
  wants_twitter_update: boolean;
  created_at: string;
  updated_at: string;
  display_at: string;
}
export interface Incident {
  id: string;
  page_id: string;
  name: string;
  status: string;
  impact: string;
  impact_override: string | null;
  shortlink: string;
  metadata: Record<string, Record<string, unknown>>;
  scheduled_for: string | null;
  scheduled_until: string | null;
  scheduled_remind_prior: boolean;
  scheduled_auto_in_progress: boolean;
  scheduled_auto_completed: boolean;
  auto_transition_to_maintenance_state: boolean;
  auto_transition_to_operational_state: boolean;
  auto_transition_deliver_notifications_at_start: boolean;
  auto_transition_deliver_notifications_at_end: boolean;
  reminder_intervals: string | null;
  created_at: string;
  updated_at: string;
  monitoring_at: string | null;
  resolved_at: string | null;
  /** newest first */
  incident_updates: IncidentUpdate[];
  components: Component[];
}

export interface StatuspageOptions {
  token: string;
  /** the page's id */
  page: string;
  /** names, or more of a component than its name */
  components?: readonly (string | (Partial<Component> & { name: string }))[];
  port?: number;
  /** epoch milliseconds */
  now?: () => number;
  /** calls per minute and token; the real one has 60 */
  limit?: number;
  title?: string;
}
export interface Statuspage extends StrictServer {
  /** as the API would show them, newest first */
  incidents(): Incident[];
  components(): Component[];
  /** what subscribers were sent, oldest first */
  notifications(): { incident: string; status: string; body: string }[];
  /** as somebody else would, by hand */
  setComponent(id: string, status: string): void;
}

/** An error that the service itself would answer. */
class Refused extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}
type Body = Record<string, any>;
type Stored = Omit<Incident, 'components'> & { componentIds: Set<string> };

export async function startStatuspage(options: StatuspageOptions): Promise<Statuspage> {
  const { token, page, title = 'Example status', now = Date.now, limit = 60 } = options;
  const limited = rateLimiter(limit, 60_000, now);
  const time = () => new Date(now()).toISOString();
  const born = time();
  let ids = 0;
  const newId = (prefix: string) => `${prefix}${String(++ids).padStart(11, '0')}`;
  const incidents = new Map<string, Stored>();
  const components = new Map<string, Component>();
  const notifications: { incident: string; status: string; body: string }[] = [];
  for (const given of options.components ?? []) {
    const more = typeof given === 'string' ? { name: given } : given;
    const id = more.id ?? newId('c');
    components.set(id, {
      page_id: page,
      group_id: null,
      created_at: born,
      updated_at: born,
      group: false,
      description: null,
      position: components.size + 1,
      status: 'operational',
      showcase: true,
      only_show_if_degraded: false,
      automation_email: '',
      start_date: null,
      ...more,
      id,
    });
  }

  function shown({ componentIds, ...rest }: Stored): Incident {
    return structuredClone({ ...rest, components: [...componentIds].flatMap((id) => components.get(id) ?? []) });
  }
  const newestFirst = () => [...incidents.values()].reverse().map(shown);

  function answer(request: StrictRequest, violate: (what: string) => void): Answer {
    const scheme = /^OAuth (\S+)$/.exec(request.headers.authorization ?? '');
    if (!scheme) {
      violate('the Authorization header must be "OAuth <key>"');
      return refusal(401, 'no API key in the Authorization header');
    }
    const wait = limited(scheme[1] ?? '');
    if (wait > 0) return { ...refusal(420, 'rate limit exceeded'), headers: { 'retry-after': String(wait) } };
    if (scheme[1] !== token) return refusal(401, 'the API key is not known');

    const found = match(request.method, request.path);
    if (!found) {
      violate('no such operation');
      return refusal(404, 'no such operation');
    }
    const { name, operation, path } = found;
    const wrong = [...wrongQuery(operation, request.query), ...wrongBody(operation, request)];
    if (wrong.length > 0) {
      for (const what of wrong) violate(what);
      return refusal(operation.fields && isObject(request.body) ? 422 : 400, wrong.join('; '));
    }
    try {
      if (path.page_id !== page) throw new Refused(404, `no page ${path.page_id}`);
      const body: Body = operation.wrapper ? (request.body as Body)[operation.wrapper] : {};
      return { status: operation.success, body: act(name, path, body, request.query, violate) };
    } catch (error) {
      if (error instanceof Refused) return refusal(error.status, error.message);
      throw error;
    }
  }

  function act(
    name: string,
    path: Record<string, string>,
    body: Body,
    query: Record<string, string>,
    violate: (what: string) => void,
  ): unknown {
    const there = path.incident_id === undefined ? undefined : incidents.get(path.incident_id);
    if (path.incident_id !== undefined && !there) throw new Refused(404, `no incident ${path.incident_id}`);
    const part = path.component_id === undefined ? undefined : components.get(path.component_id);
    if (path.component_id !== undefined && !part) throw new Refused(404, `no component ${path.component_id}`);

    switch (name) {
      case 'GET /pages/{page_id}':
        return { id: page, name: title, subdomain: page, time_zone: 'UTC', created_at: born, updated_at: born };
      case 'GET /pages/{page_id}/components':
        return slice([...components.values()], query, 'per_page');
      case 'POST /pages/{page_id}/incidents':
        return write(undefined, body, violate);
      case 'GET /pages/{page_id}/incidents':
        return slice(
          newestFirst().filter((one) => mentions(one, query.q)),
          query,
          'limit',
        );
      case 'GET /pages/{page_id}/incidents/scheduled':
        return slice(
          newestFirst().filter(({ status }) => status === 'scheduled'),
          query,
          'per_page',
        );
      case 'GET /pages/{page_id}/incidents/active_maintenance':
        return slice(
          newestFirst().filter(({ status }) => status === 'in_progress' || status === 'verifying'),
          query,
          'per_page',
        );
      case 'GET /pages/{page_id}/incidents/upcoming':
        return slice(
          newestFirst().filter((one) => one.status === 'scheduled' && Date.parse(one.scheduled_for ?? '') > now()),
          query,
          'per_page',
        );
      case 'GET /pages/{page_id}/incidents/unresolved':
        return slice(
          newestFirst().filter(({ status }) => ['investigating', 'identified', 'monitoring'].includes(status)),
          query,
          'per_page',
        );
      case `GET ${INCIDENT}`:
        return shown(there!);
      case `PATCH ${INCIDENT}`:
      case `PUT ${INCIDENT}`:
        return write(there, body, violate);
      case `DELETE ${INCIDENT}`: {
        incidents.delete(there!.id);
        return shown(there!);
      }
      case `PATCH ${UPDATE}`:
      case `PUT ${UPDATE}`: {
        const one = there!.incident_updates.find(({ id }) => id === path.incident_update_id);
        if (!one) throw new Refused(404, `no update ${path.incident_update_id}`);
        return Object.assign(one, body, { updated_at: time() });
      }
      case `GET ${COMPONENT}`:
        return part;
      default:
        return Object.assign(part!, body, { updated_at: time() });
    }
  }

  /** Everything is looked at before anything is changed. */
  function write(there: Stored | undefined, body: Body, violate: (what: string) => void): Incident {
    const planned = there ? there.scheduled_for !== null : body.scheduled_for !== undefined;
    const allowed: readonly string[] = planned ? MAINTENANCE : REALTIME;
    const wrong: string[] = [];
    if (body.status !== undefined && !allowed.includes(body.status)) {
      wrong.push(
        `a ${planned ? 'maintenance' : 'realtime incident'} cannot be ${body.status}, only ${allowed.join(', ')}`,
      );
    }
    for (const [key, value] of Object.entries(body.metadata ?? {})) {
      if (!isObject(value)) wrong.push(`metadata.${key} must be an object`);
    }
    if (body.backfilled && (body.components || body.component_ids))
      wrong.push('a backfilled incident has no components');
    const from = body.scheduled_for ?? there?.scheduled_for;
    const until = body.scheduled_until ?? there?.scheduled_until;
    if (from && until && Date.parse(until) <= Date.parse(from))
      wrong.push('scheduled_until must be after scheduled_for');
    if (wrong.length > 0) {
      for (const what of wrong) violate(what);
      throw new Refused(422, wrong.join('; '));
    }
    const named: string[] = [...Object.keys(body.components ?? {}), ...(body.component_ids ?? [])];
    const unknown = named.filter((id) => !components.has(id));
    if (unknown.length > 0) throw new Refused(422, `no component ${unknown.join(', ')}`);

    const { body: text, components: statuses, component_ids: _, deliver_notifications = true, ...fields } = body;
    const at = time();
    const one: Stored = there ?? {
      id: newId('i'),
      page_id: page,
      name: '',
      status: planned ? 'scheduled' : 'investigating',
      impact: planned ? 'maintenance' : 'none',
      impact_override: null,
      shortlink: '',
      metadata: {},
      scheduled_for: null,
      scheduled_until: null,
      scheduled_remind_prior: false,
      scheduled_auto_in_progress: false,
      scheduled_auto_completed: false,
      auto_transition_to_maintenance_state: false,
      auto_transition_to_operational_state: false,
      auto_transition_deliver_notifications_at_start: false,
      auto_transition_deliver_notifications_at_end: false,
      reminder_intervals: null,
      created_at: at,
      updated_at: at,
      monitoring_at: null,
      resolved_at: null,
      incident_updates: [],
      componentIds: new Set(),
    };
    for (const [key, value] of Object.entries(fields)) {
      if (key in one)
        (one as Body)[key] =
          key.startsWith('scheduled_') && typeof value === 'string' ? new Date(value).toISOString() : value;
    }
    one.updated_at = at;
    if (one.status === 'completed' || one.status === 'resolved') one.resolved_at ??= at;
    one.shortlink ||= `${base()}/#${one.id}`;
    const affected = Object.entries((statuses ?? {}) as Record<string, string>).map(([id, status]) => {
      const part = components.get(id)!;
      const change = { code: id, name: part.name, old_status: part.status, new_status: status };
      Object.assign(part, { status, updated_at: at });
      return change;
    });
    for (const id of named) one.componentIds.add(id);
    // Only a status or words make an update; the same again makes another one, and subscribers hear it twice.
    if (!there || body.status !== undefined || text !== undefined) {
      const added: IncidentUpdate = {
        id: newId('u'),
        incident_id: one.id,
        status: one.status,
        body: text ?? '',
        affected_components: affected,
        deliver_notifications,
        wants_twitter_update: false,
        created_at: at,
        updated_at: at,
        display_at: at,
      };
      one.incident_updates.unshift(added);
      if (deliver_notifications) notifications.push({ incident: one.id, status: one.status, body: added.body });
    }
    incidents.set(one.id, one);
    return shown(one);
  }

  const server = await serveStrictly({
    port: options.port,
    now,
    page: () => publicPage(title, newestFirst(), [...components.values()]),
    answer,
  });
  function base() {
    return server.url;
  }
  return {
    ...server,
    incidents: newestFirst,
    components: () => structuredClone([...components.values()]),
    notifications: () => structuredClone(notifications),
    setComponent(id, status) {
      Object.assign(components.get(id)!, { status, updated_at: time() });
    },
  };
}

function refusal(status: number, message: string): Answer {
  return { status, body: { message } };
}

function match(method: string, path: string) {
  for (const [name, operation] of Object.entries(OPERATIONS)) {
    const [verb, template = ''] = name.split(' ');
    if (verb !== method) continue;
    const pattern = template.replace(/\{(\w+)\}/g, '(?<$1>[^/]+)');
    const found = new RegExp(`^/v1${pattern}$`).exec(path);
    if (found) return { name, operation, path: { ...found.groups } as Record<string, string> };
  }
  return undefined;
}

function wrongQuery({ query = {} }: Operation, given: Record<string, string>): string[] {
  return Object.entries(given).flatMap(([name, value]) => {
    const max = query[name];
    if (max === undefined) return [`the query has no ${name}`];
    if (max === null || (/^[1-9]\d*$/.test(value) && Number(value) <= max)) return [];
    return [`${name} is no number from 1 to ${max}: ${value}`];
  });
}

function wrongBody({ wrapper, fields, required }: Operation, { body, headers }: StrictRequest): string[] {
  if (!wrapper || !fields) return body === undefined ? [] : ['this operation takes no body'];
  if (!headers['content-type']?.startsWith('application/json')) return ['the body must be application/json'];
  if (!isObject(body)) return ['the body is no JSON object'];
  const others = Object.keys(body).filter((name) => name !== wrapper);
  if (body[wrapper] === undefined) return [`the body must be wrapped into "${wrapper}"`];
  return [
    ...others.map((name) => `${name} is unknown`),
    ...wrongFields(fields, required ?? [], body[wrapper], wrapper),
  ];
}

function slice<T>(all: readonly T[], query: Record<string, string>, size: string): T[] {
  const per = Number(query[size] ?? 100);
  const start = (Number(query.page ?? 1) - 1) * per;
  return all.slice(start, start + per);
}

function mentions({ name, status, incident_updates }: Incident, q: string | undefined): boolean {
  if (q === undefined) return true;
  return [name, status, ...incident_updates.map(({ body }) => body)].some((text) =>
    text.toLowerCase().includes(q.toLowerCase()),
  );
}

function publicPage(title: string, incidents: readonly Incident[], components: readonly Component[]): string {
  const words = (status: string) => escapeHtml(status.replaceAll('_', ' '));
  const when = (at: string | null) => (at ? `${at.slice(0, 10)} ${at.slice(11, 19)} UTC` : '');
  const active = incidents.filter(({ status }) => status === 'in_progress' || status === 'verifying');
  const banner =
    active.length > 0
      ? '<p class="banner busy">Maintenance in progress</p>'
      : '<p class="banner">No maintenance in progress</p>';
  const rows = components.map(({ name, status }) => `<tr><td>${escapeHtml(name)}</td><td>${words(status)}</td></tr>`);
  const items = incidents.map(
    (one) => `<div class="item" id="${one.id}"><h2>${escapeHtml(one.name)} · ${words(one.status)}</h2>
<p class="quiet">${one.scheduled_for ? `planned ${when(one.scheduled_for)} to ${when(one.scheduled_until)}` : ''}</p>
${one.incident_updates.map((update) => `<div class="update"><strong>${words(update.status)}</strong> <span class="quiet">${when(update.display_at)}</span>\n${escapeHtml(update.body)}</div>`).join('\n')}</div>`,
  );
  return htmlPage(
    title,
    `<h1>${escapeHtml(title)}</h1>${banner}<table>${rows.join('')}</table><h2>Maintenance</h2>${items.join('\n') || '<p class="quiet">none</p>'}`,
  );
}
