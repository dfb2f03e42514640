// One message on Slack that is kept up to date, and one reply in its thread for each phase and each note. Both are found again by
// their metadata, because posting has no idempotency key.
import { z } from 'zod';
import { defineResource, type Is, LEAVE, Refusal, Stale, Unknown, type Window } from '../../engine/contract.ts';
import type { Reader, Writer } from '../../engine/io.ts';
import { secret, url } from '../../engine/secret.ts';
import { details, hostOf, isOneOf, listed, sentence } from './notice.ts';

export const SlackParams = z.strictObject({
  url: url('the address of the service, without /api').default('https://slack.com'),
  channel: z.string().min(1).meta({ description: 'by name (#ops) or id' }),
  token: secret(
    z.string().min(1).meta({
      description: 'a bot token: chat:write, channels:read, channels:history (groups:… for a private channel)',
    }),
  ),
});
export type SlackParams = z.infer<typeof SlackParams>;

const Phase = z.enum(['announced', 'open', 'soaking', 'closed', 'aborted']);
export const SlackState = z.strictObject({
  /** what it told last */
  phase: Phase,
  /** the message only: as we sent it. The service gives back other text (addresses in <…>), so that is never compared. */
  words: z.string().optional(),
  /** the thread only: the note that it told last */
  note: z.string().optional(),
  ts: z.string(),
  channel: z.string(),
});
export type SlackState = z.infer<typeof SlackState>;

const EVENT = 'maint_window';
/** The service will not change this message any more: what there is to say goes into the thread. */
const FINAL = ['cant_update_message', 'edit_window_closed', 'message_not_found', 'is_inactive', 'update_failed'];
const REFUSED = [
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

interface Message {
  ts: string;
  thread_ts?: string;
  edited?: { ts?: string };
  metadata?: {
    event_type?: string;
    event_payload?: { window?: string; id?: string; phase?: string; words?: string; note?: string };
  };
}

export const slack = defineResource<SlackParams, SlackState>({
  name: 'notice/slack',
  role: 'notice',
  summary: 'one message on Slack kept up to date, and one reply per phase and note',
  leaves: 'one message and its thread on Slack',
  Params: SlackParams,
  State: SlackState,
  computed: ['ts', 'channel'],
  example: { channel: '#ops', token: '${SLACK_TOKEN}' },
  // the reply needs the message
  batch: 2,
  address: ({ url, channel }) => `slack ${hostOf(url)} ${channel}`,

  async observe(io, params, window, known) {
    try {
      const channel = [...known.values()].find((state) => state?.channel)?.channel ?? (await channelOf(io, params));
      const { message, thread } = await look(
        io,
        params,
        window,
        channel,
        known.get('message')?.ts || known.get('thread')?.ts,
      );
      return new Map<string, Is<SlackState> | Unknown>([
        ['message', message],
        ['thread', thread],
      ]);
    } catch (error) {
      if (!isOneOf(error, REFUSED)) throw error;
      const unknown = new Unknown(error.message, true);
      return new Map([
        ['message', unknown],
        ['thread', unknown],
      ]);
    }
  },

  desired({ phase, window, id, now }) {
    const over = phase === 'closed' || phase === 'aborted';
    if (id === 'thread') {
      // What is over has its last word; a note that nobody heard is none any more.
      const note = over ? now?.note : (window.note ?? now?.note);
      if ((phase === 'announced' || now?.phase === phase) && now?.note === note) return LEAVE;
      return { phase, ...(note !== undefined && { note }), ts: '', channel: now?.channel ?? '' };
    }
    if (over && !now) return LEAVE;
    if (phase === 'aborted' && !window.reopened && now?.phase === 'aborted') return LEAVE;
    const lines = [
      sentence(phase, window, now?.phase),
      ...details(phase, window, { statusPage: true }),
      `Window ${window.id}, by ${window.by}`,
    ];
    return {
      phase,
      words: `*${escaped(window.environment)}*: ${escaped(lines.join('\n'))}`,
      ts: now?.ts ?? '',
      channel: now?.channel ?? '',
    };
  },

  async write(io, params, changes, window) {
    const message = changes.find(({ id }) => id === 'message');
    const thread = changes.find(({ id }) => id === 'thread');
    const channel = changes.find(({ from }) => from?.channel)?.from?.channel || (await channelOf(io, params));
    const marked = (id: string, { phase, words, note }: SlackState) => ({
      event_type: EVENT,
      event_payload: {
        window: window.id,
        id,
        phase,
        ...(words !== undefined && { words }),
        ...(note !== undefined && { note }),
      },
    });
    const written = new Map<string, SlackState>();

    let root: string | undefined;
    let words = message?.to?.words;
    if (message?.to && !message.from) {
      root = await post(io, params, { channel, text: words, metadata: marked('message', message.to) });
      written.set('message', { ...message.to, channel, ts: root });
    } else {
      // Posting and changing know no compare-and-set: look once more before anything is said.
      const there = await look(io, params, window, channel, message?.from?.ts || thread?.from?.ts);
      if (message && !alike(there.message, message.from)) throw new Stale();
      if (thread && !alike(there.thread, thread.from)) throw new Stale();
      root = there.root;
      words ??= there.message?.words;
      if (message?.to) {
        const ts = message.from?.ts ?? '';
        const text = message.to.words;
        const metadata = marked('message', message.to);
        try {
          await io.slack.send(api(params), 'chat.update', { channel, ts, text, metadata, parse: 'none' });
        } catch (error) {
          if (!isOneOf(error, FINAL)) throw error;
          await post(io, params, { channel, text, metadata, thread_ts: root });
        }
        written.set('message', { ...message.to, channel, ts });
      }
    }
    if (thread?.to) {
      const { phase, note } = thread.to;
      const told = phase === 'announced' || thread.from?.phase === phase;
      const news = note !== undefined && note !== thread.from?.note ? [escaped(note)] : [];
      const text = (
        told ? news : [headline(words) ?? escaped(sentence(phase, window, thread.from?.phase)), ...news]
      ).join('\n');
      const ts = await post(io, params, { channel, text, metadata: marked('thread', thread.to), thread_ts: root });
      written.set('thread', { ...thread.to, channel, ts });
    }
    return changes.map(({ id, to }) => written.get(id) ?? to);
  },

  notes({ params, changes, when }) {
    const notes: string[] = [];
    const message = changes.find(({ id }) => id === 'message');
    if (message)
      notes.push(
        `message in ${params.channel} ${when === 'plan' ? (message.from ? 'to update' : 'to post') : message.from ? 'updated' : 'posted'}`,
      );
    if (changes.some(({ id }) => id === 'thread')) notes.push(when === 'plan' ? 'one reply' : 'reply posted');
    return notes.length > 0 ? notes : [`message in ${params.channel} is up to date`];
  },

  asks: 'auth.test, conversations.info',
  async allowed(io, params) {
    try {
      await io.slack.read(api(params), 'auth.test', {});
      const { channel } = await io.slack.read(api(params), 'conversations.info', {
        channel: await channelOf(io, params),
      });
      if (channel.is_archived) return [`${params.channel} is archived`];
      if (channel.is_member === false)
        return [`the token's bot is not a member of ${params.channel}: /invite it there`];
      return [];
    } catch (error) {
      if (isOneOf(error, [...REFUSED, 'channel_not_found'])) return [error.message];
      throw error;
    }
  },
});

function api({ url, token }: SlackParams): { url: string; token: string } {
  return { url, token };
}

/** What the message says first, so that its thread says the same. */
function headline(words: string | undefined): string | undefined {
  return words?.split('\n')[0]?.replace(/^\*.*?\*: /, '');
}

function alike(now: Is<SlackState>, from: Is<SlackState>): boolean {
  return now?.phase === from?.phase && now?.words === from?.words && now?.note === from?.note;
}

/** The three characters that Slack reads as markup. */
function escaped(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

async function post(
  io: Writer,
  params: SlackParams,
  {
    thread_ts,
    ...message
  }: { channel: string; text: string | undefined; metadata: unknown; thread_ts?: string | undefined },
): Promise<string> {
  const quiet = { unfurl_links: false, unfurl_media: false };
  const answer = await io.slack.send(api(params), 'chat.postMessage', {
    ...message,
    ...quiet,
    ...(thread_ts && { thread_ts }),
  });
  return String(answer.ts);
}

/** What is ours in the channel. `root` is what the thread hangs on: of a removed message the thread stays. */
async function look(io: Reader, params: SlackParams, window: Window, channel: string, knownTs?: string) {
  const found = (knownTs && (await replies(io, params, channel, knownTs))) || (await scan(io, params, window, channel));
  const ours = found.filter(
    ({ metadata }) => metadata?.event_type === EVENT && metadata.event_payload?.window === window.id,
  );
  const newest = (id: string): SlackState | null => {
    const all = ours.filter(({ metadata }) => metadata?.event_payload?.id === id);
    const last = all.sort((a, b) => order(a) - order(b)).at(-1);
    const payload = last?.metadata?.event_payload;
    const phase = Phase.safeParse(payload?.phase);
    if (!last || !phase.success) return null;
    return {
      phase: phase.data,
      ...(payload?.words !== undefined && { words: payload.words }),
      ...(payload?.note !== undefined && { note: payload.note }),
      ts: id === 'message' ? (last.thread_ts ?? last.ts) : last.ts,
      channel,
    };
  };
  const root = ours.find(
    ({ ts, thread_ts, metadata }) => metadata?.event_payload?.id === 'message' && (!thread_ts || thread_ts === ts),
  );
  return {
    message: newest('message'),
    thread: newest('thread'),
    root: root?.ts ?? ours.find(({ thread_ts }) => thread_ts)?.thread_ts,
  };
}

/** Microseconds fit into a double for the next two centuries; the text itself is what is sent back. */
function order({ ts, edited }: Message): number {
  return Math.max(Number(ts), Number(edited?.ts ?? 0));
}

/** The whole thread that a message belongs to; undefined: the message is not there any more. */
async function replies(io: Reader, params: SlackParams, channel: string, ts: string): Promise<Message[] | undefined> {
  try {
    const found: Message[] = [];
    for await (const message of pages<Message>(
      io,
      params,
      'conversations.replies',
      { channel, ts, include_all_metadata: true },
      'messages',
    ))
      found.push(message);
    return found.some((message) => message.ts === ts) ? found : undefined;
  } catch (error) {
    if (isOneOf(error, ['thread_not_found', 'message_not_found'])) return undefined;
    throw error;
  }
}

/** Everything that was written since the window began, and the thread of ours. */
async function scan(io: Reader, params: SlackParams, window: Window, channel: string): Promise<Message[]> {
  const oldest = `${Math.floor((Date.parse(window.since) - SKEW_MS) / 1000)}.000000`;
  const found: Message[] = [];
  for await (const message of pages<Message>(
    io,
    params,
    'conversations.history',
    { channel, oldest, include_all_metadata: true },
    'messages',
  )) {
    const { event_type, event_payload } = message.metadata ?? {};
    if (event_type !== EVENT || event_payload?.window !== window.id) continue;
    found.push(...((await replies(io, params, channel, message.ts)) ?? [message]));
  }
  return found;
}

async function channelOf(io: Reader, params: SlackParams): Promise<string> {
  const wanted = params.channel.replace(/^#/, '');
  if (/^[CGD][A-Z0-9]{7,}$/.test(wanted)) return wanted;
  const names: string[] = [];
  try {
    for (const types of ['public_channel,private_channel', 'public_channel']) {
      try {
        for await (const channel of pages<{ id: string; name: string; is_member?: boolean }>(
          io,
          params,
          'conversations.list',
          { types, exclude_archived: true },
          'channels',
        )) {
          if (channel.name === wanted) return channel.id;
          names.push(`#${channel.name}`);
        }
        break;
      } catch (error) {
        // groups:read is only needed for private channels
        if (types === 'public_channel' || !isOneOf(error, ['missing_scope'])) throw error;
      }
    }
  } catch (error) {
    if (isOneOf(error, ['missing_scope']))
      throw new Refusal(
        `the token may not list channels, so #${wanted} cannot be found by its name`,
        'name the channel by its id, or give the token channels:read',
      );
    throw error;
  }
  throw new Refusal(
    `the token sees no channel #${wanted}; it sees: ${listed(names)}`,
    'name one of these under `channel:`, or invite the bot to it',
  );
}

async function* pages<T>(
  io: Reader,
  params: SlackParams,
  method: string,
  args: Record<string, unknown>,
  key: string,
): AsyncGenerator<T> {
  for (let cursor = ''; ; ) {
    const answer = await io.slack.read(api(params), method, { ...args, limit: 200, ...(cursor && { cursor }) });
    yield* (answer[key] ?? []) as T[];
    cursor = answer.response_metadata?.next_cursor ?? '';
    if (!cursor) return;
  }
}
