// The API of Statuspage, as far as a maintenance needs it: https://developer.statuspage.io (seen 2026-11). At most
// 60 calls a minute per token (its page on rate limiting); lists come in pages of at most 100, without a total.
import type { HttpResponse, Reader, Writer } from '../../engine/io.ts';
import { OuterError } from '../../errors/catalogue.ts';
import { hostOf } from './notice.ts';

export interface Place {
  url: string;
  page: string;
  token: string;
}
export interface Incident {
  id: string;
  status: string;
  shortlink?: string | null;
  scheduled_until?: string | null;
  metadata?: Record<string, any> | null;
  components?: { id: string; status: string }[] | null;
}
export interface Component {
  id: string;
  name: string;
  status: string;
  group?: boolean | null;
}

/** Everything by which the service would change the maintenance by its own clock. Its defaults are not documented. */
export const NO_CLOCK = {
  scheduled_auto_in_progress: false,
  scheduled_auto_completed: false,
  scheduled_auto_transition: false,
  scheduled_remind_prior: false,
  auto_transition_to_maintenance_state: false,
  auto_transition_to_operational_state: false,
  auto_transition_deliver_notifications_at_start: false,
  auto_transition_deliver_notifications_at_end: false,
};

/** The one that bears our mark. One that has begun stands in another list than one that is still to come. */
export async function incidentOf(
  io: Reader,
  place: Place,
  window: string,
  id: string | undefined,
): Promise<Incident | undefined> {
  const ours = (incident: Incident) => incident.metadata?.maint?.window === window;
  if (id) {
    const request = { ...at(place, `/incidents/${encodeURIComponent(id)}`), expect: [200, 404] };
    const answer = await io.http.get(request);
    const incident = answer.status === 200 ? ownAnswer(place, answer, 'none') : undefined;
    if (incident && ours(incident)) return incident;
  }
  const lists = ['active_maintenance', 'scheduled'].map((list) =>
    firstOf(all<Incident>(io, place, `/incidents/${list}`), ours),
  );
  return (await Promise.all(lists)).find((incident) => incident !== undefined);
}

async function firstOf<T>(list: AsyncIterable<T>, wanted: (one: T) => boolean): Promise<T | undefined> {
  for await (const one of list) if (wanted(one)) return one;
  return undefined;
}

export async function componentsOf(io: Reader, place: Place): Promise<Component[]> {
  return await Array.fromAsync(all<Component>(io, place, '/components'));
}

export async function saveIncident(io: Writer, place: Place, id: string | undefined, incident: object) {
  const path = id === undefined ? '/incidents' : `/incidents/${encodeURIComponent(id)}`;
  const answer = await io.http.send(id === undefined ? 'POST' : 'PATCH', { ...at(place, path), json: { incident } });
  return ownAnswer(place, answer, 'unknown');
}

export async function patchComponent(io: Writer, place: Place, id: string, status: string): Promise<void> {
  const request = { ...at(place, `/components/${encodeURIComponent(id)}`), json: { component: { status } } };
  ownAnswer(place, await io.http.send('PATCH', request), 'unknown');
}

export async function missingRights(io: Reader, place: Place): Promise<string[]> {
  const { status } = await io.http.get({ ...at(place, ''), expect: [200, 401, 403, 404] });
  if (status === 401) return [`${hostOf(place.url)} does not accept the token`];
  if (status === 403) return [`the token may not see page ${place.page}`];
  if (status === 404) return [`page ${place.page} does not exist, or the token cannot see it`];
  return [];
}

function at({ url, page, token }: Place, path: string) {
  return {
    url: `${url.replace(/\/+$/, '')}/v1/pages/${encodeURIComponent(page)}${path}`,
    headers: { Authorization: `OAuth ${token}` },
  };
}

/** A short page is the last. */
async function* all<T>(io: Reader, place: Place, path: string): AsyncGenerator<T> {
  for (let page = 1; ; page++) {
    const { json } = await io.http.get({ ...at(place, path), query: { page, per_page: 100 } });
    if (!Array.isArray(json))
      throw new OuterError(`${hostOf(place.url)} answered ${path} with something that is no list`, {
        effect: 'none',
        retryable: true,
      });
    yield* json as T[];
    if (json.length < 100) return;
  }
}

/** A proxy or a captive portal may have answered instead of the service, which may not even have heard of it. */
function ownAnswer({ url }: Place, { json }: HttpResponse, effect: 'none' | 'unknown'): Incident {
  if (typeof json?.id === 'string' && typeof json.status === 'string') return json;
  throw new OuterError(`${hostOf(url)} gave an answer that is no JSON of its own`, { effect, retryable: true });
}
