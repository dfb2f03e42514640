// Slack's Web API, as far as one message and its thread need it: https://docs.slack.dev/reference/methods (seen 2026-11).
// Lists go by cursor, at most 200 entries a page are recommended; an app that is not of the Marketplace gets one call of
// conversations.history and .replies a minute (https://docs.slack.dev/apis/web-api/rate-limits).
import { Refusal, type Window } from '../../engine/contract.ts';
import type { Reader, Writer } from '../../engine/io.ts';
import { isOneOf, listed } from './notice.ts';

export const EVENT = 'maint_window';
/** The service will not change this message any more: what there is to say goes into the thread. */
const FINAL = ['cant_update_message', 'edit_window_closed', 'message_not_found', 'is_inactive', 'update_failed'];
export const REFUSED = [
  'invalid_auth',
  'not_authed',
  'account_inactive',
  'token_revoked',
  'token_expired',
  'no_permission',
  'missing_scope',
  'not_in_channel',
  'access_denied',
];
/** The clocks of the store and of the service may differ. */
const SKEW_MS = 3_600_000;

export interface Place {
  url: string;
  token: string;
}
export interface Message {
  ts: string;
  thread_ts?: string;
  edited?: { ts?: string };
  metadata?: { event_type?: string; event_payload?: Payload };
}
interface Payload {
  window?: string;
  id?: string;
  phase?: string;
  words?: string;
  note?: string;
}

export function payloadOf({ metadata }: Message): Payload | undefined {
  return metadata?.event_type === EVENT ? metadata.event_payload : undefined;
}

/** Every message of this window, the one that was written or edited last at the end. `known`: one of them. */
export async function messagesOf(io: Reader, place: Place, window: Window, channel: string, known?: string) {
  const found = (known && (await replies(io, place, channel, known))) || (await scan(io, place, window, channel));
  return found.filter((message) => payloadOf(message)?.window === window.id).sort((a, b) => order(a) - order(b));
}

/** Microseconds fit into a double for the next two centuries; the text itself is what is sent back. */
function order({ ts, edited }: Message): number {
  return Math.max(Number(ts), Number(edited?.ts ?? 0));
}

/** Returns its `ts`. */
export async function post(io: Writer, place: Place, message: Record<string, unknown>): Promise<string> {
  const quiet = { unfurl_links: false, unfurl_media: false };
  const answer = await io.slack.send(api(place), 'chat.postMessage', { ...message, ...quiet });
  return String(answer.ts);
}

/** false: the service will not change this message any more. */
export async function update(io: Writer, place: Place, message: Record<string, unknown>): Promise<boolean> {
  try {
    await io.slack.send(api(place), 'chat.update', message);
    return true;
  } catch (error) {
    if (isOneOf(error, FINAL)) return false;
    throw error;
  }
}

export async function missingRights(io: Reader, place: Place, name: string): Promise<string[]> {
  try {
    const [{ channel: seen }] = await Promise.all([
      channelOf(io, place, name).then((channel) => io.slack.read(api(place), 'conversations.info', { channel })),
      io.slack.read(api(place), 'auth.test', {}),
    ]);
    if (seen.is_archived) return [`${name} is archived`];
    if (seen.is_member === false) return [`the token's bot is not a member of ${name}: /invite it there`];
    return [];
  } catch (error) {
    if (isOneOf(error, [...REFUSED, 'channel_not_found'])) return [error.message];
    throw error;
  }
}

/** The whole thread that a message belongs to; undefined: the message is not there any more. */
async function replies(io: Reader, place: Place, channel: string, ts: string): Promise<Message[] | undefined> {
  const args = { channel, ts, include_all_metadata: true };
  try {
    const found = await Array.fromAsync(pages<Message>(io, place, 'conversations.replies', args, 'messages'));
    return found.some((message) => message.ts === ts) ? found : undefined;
  } catch (error) {
    if (isOneOf(error, ['thread_not_found', 'message_not_found'])) return undefined;
    throw error;
  }
}

/** Everything of ours that was written since the window began, with its threads. */
async function scan(io: Reader, place: Place, window: Window, channel: string): Promise<Message[]> {
  const oldest = `${Math.floor((Date.parse(window.since) - SKEW_MS) / 1000)}.000000`;
  const args = { channel, oldest, include_all_metadata: true };
  const found: Message[] = [];
  for await (const message of pages<Message>(io, place, 'conversations.history', args, 'messages'))
    if (payloadOf(message)?.window === window.id)
      found.push(...((await replies(io, place, channel, message.ts)) ?? [message]));
  return found;
}

/** The id of a channel that is named by its name (#ops) or its id. */
export async function channelOf(io: Reader, place: Place, name: string): Promise<string> {
  const wanted = name.replace(/^#/, '');
  if (/^[CGD][A-Z0-9]{7,}$/.test(wanted)) return wanted;
  return await io.once(`slack ${place.url} ${place.token} #${wanted}`, () => channelNamed(io, place, wanted));
}

async function channelNamed(io: Reader, place: Place, wanted: string): Promise<string> {
  const names: string[] = [];
  for (const types of ['public_channel,private_channel', 'public_channel']) {
    const args = { types, exclude_archived: true };
    try {
      for await (const channel of pages<{ id: string; name: string }>(
        io,
        place,
        'conversations.list',
        args,
        'channels',
      )) {
        if (channel.name === wanted) return channel.id;
        names.push(`#${channel.name}`);
      }
      break;
    } catch (error) {
      if (!isOneOf(error, ['missing_scope'])) throw error;
      // groups:read is only needed for private channels
      if (types !== 'public_channel') continue;
      throw new Refusal(
        `the token may not list channels, so #${wanted} cannot be found by its name`,
        'name the channel by its id, or give the token channels:read',
      );
    }
  }
  throw new Refusal(
    `the token sees no channel #${wanted}; it sees: ${listed(names)}`,
    'name one of these under `channel:`, or invite the bot to it',
  );
}

async function* pages<T>(
  io: Reader,
  place: Place,
  method: string,
  args: Record<string, unknown>,
  key: string,
): AsyncGenerator<T> {
  for (let cursor = ''; ; ) {
    const answer = await io.slack.read(api(place), method, { ...args, limit: 200, ...(cursor && { cursor }) });
    yield* (answer[key] ?? []) as T[];
    cursor = answer.response_metadata?.next_cursor ?? '';
    if (!cursor) return;
  }
}

function api({ url, token }: Place): { url: string; token: string } {
  return { url, token };
}
