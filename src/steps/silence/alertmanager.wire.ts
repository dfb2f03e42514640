// Alertmanager's API v2, as far as a silence needs it.
// https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml (seen 2026-11): no paging; a POST with an id
// changes the silence in place only with the same matchers and start, an expired one cannot be changed any more.
import type { HttpResponse, Reader, Writer } from '../../engine/io.ts';
import { OuterError } from '../../errors/catalogue.ts';
import { countNames, type Matcher } from './silence.ts';

/** UTF-8 in the names of labels: https://github.com/prometheus/alertmanager/releases/tag/v0.27.0 (2024-02-28), its minor. */
export const UTF8_LABELS = 27;

export interface Silence {
  id: string;
  status: { state: 'active' | 'pending' | 'expired' };
  matchers: Matcher[];
  startsAt: string;
  endsAt: string;
  updatedAt: string;
  createdBy: string;
  comment: string;
}

/** Those whose comment holds `mark`, the latest end first. */
export async function silencesMarked(io: Reader, url: string, mark: string): Promise<Silence[]> {
  const { json } = await io.http.get({ url: api(url, '/silences') });
  // taken for an empty list, our silence would count as gone, and stay
  if (!Array.isArray(json)) throw notItsAnswer(url, 'none');
  return (json as Silence[])
    .filter((silence) => silence.comment.includes(mark))
    .sort((a, b) => Date.parse(b.endsAt) - Date.parse(a.endsAt));
}

/**
 * The names of the alerts that fire and are held back by this silence, and by nothing else: what another one holds back
 * as well does not fire again when ours ends.
 */
export async function suppressedBy(io: Reader, url: string, id: string): Promise<string[]> {
  const query = { active: false, silenced: true, inhibited: false };
  const { json } = await io.http.get({ url: api(url, '/alerts'), query });
  const alerts: { labels: Record<string, string>; status: { silencedBy: string[] } }[] = Array.isArray(json)
    ? json
    : [];
  const ours = alerts.filter(
    ({ status }) => status.silencedBy.length > 0 && status.silencedBy.every((other) => other === id),
  );
  return countNames(ours.map(({ labels }) => labels['alertname'] ?? 'an alert without a name'));
}

type Posted = Omit<Silence, 'id' | 'status' | 'updatedAt'> & Partial<Silence>;

/** With an id it is changed. Returns the id: another one where it could not be changed in place. */
export async function postSilence(io: Writer, url: string, silence: Posted): Promise<string> {
  const { status: _status, updatedAt: _updatedAt, ...json } = silence;
  const answer = await io.http.send('POST', { url: api(url, '/silences'), json });
  if (typeof answer.json?.silenceID !== 'string') throw notItsAnswer(url, 'unknown');
  return answer.json.silenceID;
}

export async function expireSilence(io: Writer, url: string, id: string): Promise<void> {
  const answer: HttpResponse = await io.http.send('DELETE', { url: api(url, `/silence/${id}`), expect: [200, 404] });
  if (/^\s*</.test(answer.text)) throw notItsAnswer(url, 'unknown');
}

/** "0.27.0"; empty where it does not say. */
export async function versionOf(io: Reader, url: string): Promise<string> {
  const { json } = await io.http.get({ url: api(url, '/status') });
  return String(json?.versionInfo?.version ?? '');
}

/** A proxy or a captive portal answered, with a status of success. */
function notItsAnswer(url: string, effect: 'none' | 'unknown'): OuterError {
  const message = `${new URL(url).host} gave an answer that is no JSON of Alertmanager`;
  return new OuterError(message, { effect, retryable: true });
}

function api(address: string, path: string): string {
  const at = new URL(address);
  at.pathname = `${pathOf(address)}/api/v2${path}`;
  at.search = '';
  at.hash = '';
  return at.href;
}

/** What stands before /api/v2. */
export function pathOf(address: string): string {
  return new URL(address).pathname.replace(/\/+$/, '');
}
