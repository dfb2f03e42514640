// One message on Slack that is kept up to date, and one reply in its thread for each phase and each note. Both are found again by
// their metadata, because posting has no idempotency key.
import { z } from 'zod';
import { defineResource, LEAVE, Unknown } from '../../engine/contract.ts';
import { secret, url } from '../../engine/secret.ts';
import { details, hostOf, isOneOf, sentence } from './notice.ts';
import {
  channelOf,
  EVENT,
  type Message,
  messagesOf,
  missingRights,
  payloadOf,
  post,
  REFUSED,
  update,
} from './slack.wire.ts';

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

interface Handle {
  channel: string;
  /** the message that the thread hangs on */
  root: string | undefined;
  words: string | undefined;
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
  address: ({ url, channel }) => `slack ${hostOf(url)} ${channel}`,

  compare: 'look',
  order: ({ id }) => (id === 'message' ? 0 : 1),

  async observe(io, params, { window, owned }) {
    try {
      const [first, second] = ['message', 'thread'].map((id) => owned.get(id)?.after);
      const channel = first?.channel || second?.channel || (await channelOf(io, params, params.channel));
      const ours = await messagesOf(io, params, window, channel, first?.ts || second?.ts);
      const message = newest(ours, 'message', channel);
      // what the thread hangs on: of a removed message the thread stays
      const root = ours.find((one) => payloadOf(one)?.id === 'message' && (!one.thread_ts || one.thread_ts === one.ts));
      const handle: Handle = {
        channel,
        root: root?.ts ?? ours.find(({ thread_ts }) => thread_ts)?.thread_ts,
        words: message?.words,
      };
      return new Map([
        ['message', { state: message, handle }],
        ['thread', { state: newest(ours, 'thread', channel), handle }],
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

  async write(io, params, [change], window) {
    const { id, from, handle } = change!;
    const to = change!.to!;
    const { channel, root, words } = handle as Handle;
    const { phase, note } = to;
    const metadata = { event_type: EVENT, event_payload: { window: window.id, id, phase, words: to.words, note } };
    if (id === 'thread') {
      const told = phase === 'announced' || from?.phase === phase;
      const first = headline(words) ?? escaped(sentence(phase, window, from?.phase));
      const news = note !== undefined && note !== from?.note ? [escaped(note)] : [];
      const text = [...(told ? [] : [first]), ...news].join('\n');
      return [{ ...to, channel, ts: await post(io, params, { channel, text, metadata, thread_ts: root }) }];
    }
    const text = to.words;
    if (!from) return [{ ...to, channel, ts: await post(io, params, { channel, text, metadata }) }];
    const { ts } = from;
    if (!(await update(io, params, { channel, ts, text, metadata, parse: 'none' })))
      await post(io, params, { channel, text, metadata, thread_ts: root });
    return [{ ...to, channel, ts }];
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
  allowed: (io, params) => missingRights(io, params, params.channel),
});

/** What the message says first, so that its thread says the same. */
function headline(words: string | undefined): string | undefined {
  return words?.split('\n')[0]?.replace(/^\*.*?\*: /, '');
}

/** The three characters that Slack reads as markup. */
function escaped(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

function newest(ours: readonly Message[], id: string, channel: string): SlackState | null {
  const last = ours.filter((message) => payloadOf(message)?.id === id).at(-1);
  const payload = last && payloadOf(last);
  const phase = Phase.safeParse(payload?.phase);
  if (!last || !phase.success) return null;
  return {
    phase: phase.data,
    ...(payload?.words !== undefined && { words: payload.words }),
    ...(payload?.note !== undefined && { note: payload.note }),
    ts: id === 'message' ? (last.thread_ts ?? last.ts) : last.ts,
    channel,
  };
}
