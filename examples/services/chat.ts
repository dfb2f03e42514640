// A local chat that speaks the part of Slack's Web API which a notice needs, and nothing more: it answers as the
// service does (200 with `ok` and `error`), and remembers whatever the service's description does not allow.
import {
  type Answer,
  htmlPage,
  isObject,
  rateLimiter,
  type StrictRequest,
  type StrictServer,
  serveStrictly,
} from './strict.ts';

export type ArgumentType = 'string' | 'boolean' | 'number' | 'array' | 'structure';
export interface Method {
  /** by name; `structure` is JSON in a form, and may be an object in a JSON body */
  args: Readonly<Record<string, ArgumentType>>;
  required: readonly string[];
  /** the words that only this method's description has; COMMON_ERRORS come on top */
  errors: readonly string[];
  /** whether a JSON body is taken beside a form */
  json: boolean;
  /** whether a GET is taken beside a POST */
  get: boolean;
  /** one of these is needed */
  scopes: readonly string[];
  tier: keyof typeof TIERS;
}

/** Calls a minute and method. `t5` is special: posting has about one a second. */
export const TIERS = { t2: 20, t3: 50, t4: 100, t5: 60 } as const;
export const COMMON_ERRORS = [
  'invalid_auth',
  'not_authed',
  'missing_scope',
  'unknown_method',
  'invalid_arguments',
  'ratelimited',
] as const;

const READ = ['channels:read', 'groups:read', 'im:read', 'mpim:read'];
const HISTORY = ['channels:history', 'groups:history', 'im:history', 'mpim:history'];
const range = { latest: 'string', oldest: 'string', inclusive: 'boolean' } as const;
const paged = { cursor: 'string', limit: 'number' } as const;
const posted = {
  as_user: 'boolean',
  attachments: 'structure',
  blocks: 'structure',
  channel: 'string',
  link_names: 'boolean',
  markdown_text: 'string',
  metadata: 'structure',
  parse: 'string',
  reply_broadcast: 'boolean',
  text: 'string',
  token: 'string',
} as const;

export const METHODS: Readonly<Record<string, Method>> = {
  'auth.test': {
    args: { token: 'string' },
    required: ['token'],
    errors: [],
    json: true,
    get: true,
    scopes: [],
    tier: 't5',
  },
  'chat.postMessage': {
    args: {
      ...posted,
      current_draft_last_updated_ts: 'string',
      icon_emoji: 'string',
      icon_url: 'string',
      mrkdwn: 'boolean',
      thread_ts: 'string',
      unfurl_links: 'boolean',
      unfurl_media: 'boolean',
      username: 'string',
    },
    required: ['token', 'channel'],
    errors: [
      'channel_not_found',
      'not_in_channel',
      'is_archived',
      'no_text',
      'invalid_metadata_format',
      'restricted_action_read_only_channel',
      'cannot_reply_to_message',
    ],
    json: true,
    get: false,
    scopes: ['chat:write'],
    tier: 't5',
  },
  'chat.update': {
    args: { ...posted, unfurled_attachments: 'structure', ts: 'string', file_ids: 'array' },
    required: ['token', 'ts', 'channel'],
    errors: ['channel_not_found', 'message_not_found', 'cant_update_message', 'no_text', 'invalid_metadata_format'],
    json: true,
    get: false,
    scopes: ['chat:write'],
    tier: 't3',
  },
  'conversations.list': {
    args: { ...paged, exclude_archived: 'boolean', team_id: 'string', token: 'string', types: 'string' },
    required: ['token'],
    errors: ['invalid_cursor', 'invalid_limit', 'invalid_types'],
    json: false,
    get: true,
    scopes: READ,
    tier: 't2',
  },
  'conversations.info': {
    args: { channel: 'string', include_locale: 'boolean', include_num_members: 'boolean', token: 'string' },
    required: ['token', 'channel'],
    errors: ['channel_not_found'],
    json: false,
    get: true,
    scopes: READ,
    tier: 't3',
  },
  'conversations.history': {
    args: { ...paged, ...range, channel: 'string', include_all_metadata: 'boolean', token: 'string' },
    required: ['token', 'channel'],
    errors: ['channel_not_found', 'not_in_channel', 'invalid_cursor', 'invalid_ts_latest', 'invalid_ts_oldest'],
    json: true,
    get: true,
    scopes: HISTORY,
    tier: 't3',
  },
  'conversations.replies': {
    args: { ...paged, ...range, channel: 'string', include_all_metadata: 'boolean', token: 'string', ts: 'string' },
    required: ['token', 'channel', 'ts'],
    errors: ['channel_not_found', 'thread_not_found', 'invalid_cursor', 'invalid_ts_latest', 'invalid_ts_oldest'],
    json: false,
    get: true,
    scopes: HISTORY,
    tier: 't3',
  },
};

export interface Metadata {
  event_type: string;
  event_payload: Record<string, unknown>;
}
export interface Message {
  type: 'message';
  subtype?: 'tombstone';
  ts: string;
  /** as the service gives it back: addresses stand in <…> */
  text: string;
  user: string;
  bot_id?: string;
  thread_ts?: string;
  edited?: { user: string; ts: string };
  metadata?: Metadata;
}
export interface Channel {
  id: string;
  name: string;
  /** whether the token's bot is in it; default true */
  member: boolean;
  private: boolean;
  archived: boolean;
  /** nobody may post */
  readOnly: boolean;
}

export interface ChatOptions {
  token: string;
  /** names without #, or more of a channel than its name */
  channels?: readonly (string | (Partial<Channel> & { name: string }))[];
  /** what the token may do; default: all that the methods here ask for */
  scopes?: readonly string[];
  port?: number;
  /** epoch milliseconds */
  now?: () => number;
  /** calls a minute of each method, in place of TIERS */
  limit?: number;
}
export interface Chat extends StrictServer {
  /** oldest first, replies among them */
  messages(channel: string): Message[];
  channels(): Channel[];
  /** somebody else writes; returns the ts */
  say(channel: string, text: string, threadTs?: string): string;
  /** somebody removes a message; its thread stays */
  remove(channel: string, ts: string): void;
}

/** The service's own word for what is wrong. */
class Failed extends Error {
  readonly more: Record<string, unknown>;
  constructor(word: string, more: Record<string, unknown> = {}) {
    super(word);
    this.more = more;
  }
}
type Args = Record<string, string | undefined>;

const BOT = { user: 'U0000BOT1', bot_id: 'B00000001' };

export async function startChat(options: ChatOptions): Promise<Chat> {
  const { token, now = Date.now } = options;
  const scopes = options.scopes ?? ['chat:write', ...READ, ...HISTORY];
  const limiters = new Map(
    Object.entries(METHODS).map(([name, { tier }]) => [name, rateLimiter(options.limit ?? TIERS[tier], 60_000, now)]),
  );
  const channels = new Map<string, Channel>();
  const messages = new Map<string, Message[]>();
  for (const given of options.channels ?? []) {
    const more = typeof given === 'string' ? { name: given } : given;
    const id = more.id ?? `C${String(channels.size + 1).padStart(8, '0')}`;
    channels.set(id, { member: true, private: false, archived: false, readOnly: false, ...more, id });
    messages.set(id, []);
  }
  let lastTs = 0;
  function newTs(): string {
    // microseconds, so that two messages of one millisecond differ and keep their order
    lastTs = Math.max(lastTs + 1, now() * 1000);
    return `${Math.floor(lastTs / 1_000_000)}.${String(lastTs % 1_000_000).padStart(6, '0')}`;
  }
  const named = (wanted: string) =>
    channels.get(wanted) ?? [...channels.values()].find(({ name }) => name === wanted.replace(/^#/, ''));
  const told = (channel: Channel) => messages.get(channel.id) ?? [];

  function answer(request: StrictRequest, violate: (what: string) => void): Answer {
    const name = /^\/api\/([\w.]+)$/.exec(request.path)?.[1];
    const method = METHODS[name ?? ''];
    if (!name || !method) {
      violate('no such method');
      return failed('unknown_method', { req_method: name });
    }
    const wait = limiters.get(name)?.(name) ?? 0;
    if (wait > 0) {
      return { status: 429, headers: { 'retry-after': String(wait) }, body: { ok: false, error: 'ratelimited' } };
    }
    const { args, wrong } = argumentsOf(method, request);
    const bearer = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1];
    const given = bearer ?? args.token;
    if (given === undefined) {
      violate('no token: neither a Bearer header nor an argument');
      return failed('not_authed');
    }
    const missing = method.required.filter((argument) => argument !== 'token' && args[argument] === undefined);
    wrong.push(...missing.map((argument) => `${argument} is missing`));
    for (const what of wrong) violate(what);
    if (given !== token) return failed('invalid_auth');
    if (method.scopes.length > 0 && !method.scopes.some((scope) => scopes.includes(scope))) {
      return failed('missing_scope', { needed: method.scopes.join(','), provided: scopes.join(',') });
    }
    if (wrong.length > 0)
      return failed('invalid_arguments', { response_metadata: { messages: wrong.map((what) => `[ERROR] ${what}`) } });
    try {
      return { status: 200, body: { ok: true, ...act(name, args, violate) } };
    } catch (error) {
      if (error instanceof Failed) return failed(error.message, error.more);
      throw error;
    }
  }

  function act(name: string, args: Args, violate: (what: string) => void): Record<string, unknown> {
    switch (name) {
      case 'auth.test':
        return {
          url: `${server.url}/`,
          team: 'Example',
          user: 'maint',
          team_id: 'T00000001',
          user_id: BOT.user,
          bot_id: BOT.bot_id,
        };
      case 'conversations.list':
        return list(args);
      case 'conversations.info':
        return { channel: conversation(channel(args.channel)) };
      case 'conversations.history':
        return history(args);
      case 'conversations.replies':
        return replies(args);
      case 'chat.postMessage':
        return post(args, violate);
      default:
        return revise(args, violate);
    }
  }

  /** A private channel that the bot is not in does not exist for it. */
  function channel(id: string | undefined): Channel {
    const found = channels.get(id ?? '');
    if (!found || (found.private && !found.member)) throw new Failed('channel_not_found');
    return found;
  }
  function writable(wanted: string | undefined): Channel {
    const found = channel(named(wanted ?? '')?.id);
    if (found.archived) throw new Failed('is_archived');
    if (!found.member) throw new Failed('not_in_channel');
    if (found.readOnly) throw new Failed('restricted_action_read_only_channel');
    return found;
  }

  function list(args: Args) {
    const types = (args.types ?? 'public_channel').split(',');
    if (types.some((type) => !['public_channel', 'private_channel', 'mpim', 'im'].includes(type)))
      throw new Failed('invalid_types');
    const visible = [...channels.values()].filter(
      (one) =>
        types.includes(one.private ? 'private_channel' : 'public_channel') &&
        !(one.private && !one.member) &&
        !(isTrue(args.exclude_archived) && one.archived),
    );
    if (types.includes('private_channel') && !scopes.includes('groups:read')) {
      throw new Failed('missing_scope', { needed: 'groups:read', provided: scopes.join(',') });
    }
    const { items, next_cursor } = slice(visible, args, 999, 100);
    return { channels: items.map(conversation), response_metadata: { next_cursor } };
  }

  function history(args: Args) {
    const found = channel(args.channel);
    if (!found.member) throw new Failed('not_in_channel');
    const roots = told(found).filter(
      ({ ts, thread_ts }) => (thread_ts === undefined || thread_ts === ts) && within(ts, args),
    );
    const { items, next_cursor } = slice(roots.reverse(), args, 999, 100);
    return {
      messages: items.map((message) => shown(message, args)),
      has_more: next_cursor !== '',
      pin_count: 0,
      channel_actions_ts: null,
      channel_actions_count: 0,
      response_metadata: { next_cursor },
    };
  }

  function replies(args: Args) {
    const all = told(channel(args.channel));
    const one = all.find(({ ts }) => ts === args.ts);
    if (!one) throw new Failed('thread_not_found');
    const root = one.thread_ts ?? one.ts;
    const thread = all.filter(({ ts, thread_ts }) => ts === root || (thread_ts === root && within(ts, args)));
    const { items, next_cursor } = slice(thread, args, 1000, 1000);
    return {
      messages: items.map((message) => shown(message, args)),
      has_more: next_cursor !== '',
      response_metadata: { next_cursor },
    };
  }

  function post(args: Args, violate: (what: string) => void) {
    const found = writable(args.channel);
    const text = words(args);
    const metadata = metadataOf(args.metadata, violate);
    const root = args.thread_ts === undefined ? undefined : told(found).find(({ ts }) => ts === args.thread_ts);
    if (args.thread_ts !== undefined && !root) throw new Failed('cannot_reply_to_message');
    if (root?.thread_ts && root.thread_ts !== root.ts) violate('thread_ts names a reply, not its parent');
    const ts = newTs();
    const message: Message = { type: 'message', ts, text, ...BOT };
    if (metadata) message.metadata = metadata;
    if (root) {
      message.thread_ts = root.ts;
      root.thread_ts = root.ts;
    }
    told(found).push(message);
    return { channel: found.id, ts, message: structuredClone(message) };
  }

  function revise(args: Args, violate: (what: string) => void) {
    const found = writable(channel(args.channel).id);
    const message = told(found).find(({ ts }) => ts === args.ts);
    if (!message) throw new Failed('message_not_found');
    if (message.bot_id !== BOT.bot_id) throw new Failed('cant_update_message');
    const text = words(args);
    const metadata = metadataOf(args.metadata, violate);
    Object.assign(message, { text, edited: { user: BOT.user, ts: newTs() } });
    // left out it stays, an empty one removes it
    if (metadata) message.metadata = metadata;
    else if (args.metadata !== undefined) delete message.metadata;
    return { channel: found.id, ts: message.ts, text, message: structuredClone(message) };
  }

  const server = await serveStrictly({
    port: options.port,
    now,
    page: () => chatPage([...channels.values()].map((one) => ({ ...one, messages: told(one) }))),
    answer,
  });
  return {
    ...server,
    messages: (wanted) => structuredClone(told(named(wanted)!)),
    channels: () => structuredClone([...channels.values()]),
    say(wanted, text, threadTs) {
      const message: Message = { type: 'message', ts: newTs(), text, user: 'U0000HUM1' };
      if (threadTs !== undefined) message.thread_ts = threadTs;
      told(named(wanted)!).push(message);
      return message.ts;
    },
    remove(wanted, ts) {
      const all = told(named(wanted)!);
      const at = all.findIndex((message) => message.ts === ts);
      const stays = all.some((message) => message.thread_ts === ts && message.ts !== ts);
      const tombstone: Message = {
        type: 'message',
        subtype: 'tombstone',
        ts,
        thread_ts: ts,
        text: 'removed',
        user: 'USLACKBOT',
      };
      all.splice(at, 1, ...(stays ? [tombstone] : []));
    },
  };
}

function failed(error: string, more: Record<string, unknown> = {}): Answer {
  return { status: 200, body: { ok: false, error, ...more } };
}

const isTrue = (value: string | undefined) => value === 'true' || value === '1';

/** Each argument as the text that a form would carry, and what is wrong with them. */
function argumentsOf(
  method: Method,
  { method: verb, query, headers, body }: StrictRequest,
): { args: Args; wrong: string[] } {
  const wrong: string[] = [];
  const json = headers['content-type']?.startsWith('application/json') ?? false;
  if (verb === 'GET' && !method.get) wrong.push('GET is not allowed');
  if (verb !== 'GET' && verb !== 'POST') wrong.push(`${verb} is not allowed`);
  if (json && !method.json) wrong.push('a JSON body is not taken, only a form');
  if (verb === 'POST' && body !== undefined && !isObject(body))
    wrong.push('the body is neither a form nor a JSON object');
  const args: Args = {};
  for (const [name, value] of [...Object.entries(query), ...Object.entries(isObject(body) ? body : {})]) {
    const type = method.args[name];
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    args[name] = text;
    if (!type) wrong.push(`${name} is no argument`);
    else if (type === 'boolean' && !/^(true|false|0|1)$/.test(text)) wrong.push(`${name} is no boolean: ${text}`);
    else if (type === 'number' && !/^\d+$/.test(text)) wrong.push(`${name} is no number: ${text}`);
    else if (json && type === 'string' && typeof value !== 'string') wrong.push(`${name} is no string: ${text}`);
    else if (type === 'structure' && !isJson(text)) wrong.push(`${name} is no JSON: ${text}`);
  }
  return { args, wrong };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** What is given back differs from what was sent: addresses come back in <…>, and 40,000 characters are the end. */
function words({ text, markdown_text: markdown, blocks }: Args): string {
  const given = text ?? markdown ?? '';
  if (given === '' && !blocks) throw new Failed('no_text');
  return given.slice(0, 40_000).replace(/(?<![<|])https?:\/\/[^\s<>|]+/g, '<$&>');
}

function metadataOf(text: string | undefined, violate: (what: string) => void): Metadata | undefined {
  if (text === undefined) return undefined;
  const given: unknown = JSON.parse(text);
  if (isObject(given) && Object.keys(given).length === 0) return undefined;
  if (
    !isObject(given) ||
    typeof given.event_type !== 'string' ||
    !/^\w+$/.test(given.event_type) ||
    !isObject(given.event_payload)
  ) {
    violate('metadata needs event_type (letters, digits, _) and an object event_payload');
    throw new Failed('invalid_metadata_format');
  }
  return { event_type: given.event_type, event_payload: given.event_payload };
}

/** Without `include_all_metadata` only the type is told. */
function shown(message: Message, args: Args): Record<string, unknown> {
  const { metadata, ...rest } = structuredClone(message);
  if (!metadata) return rest;
  return { ...rest, metadata: isTrue(args.include_all_metadata) ? metadata : { event_type: metadata.event_type } };
}

function conversation({ id, name, member, private: hidden, archived, readOnly }: Channel) {
  return {
    id,
    name,
    is_channel: !hidden,
    is_group: hidden,
    is_im: false,
    is_mpim: false,
    is_private: hidden,
    is_archived: archived,
    is_member: member,
    is_read_only: readOnly,
  };
}

function within(ts: string, { oldest, latest, inclusive }: Args): boolean {
  if (oldest !== undefined && !/^\d+(\.\d+)?$/.test(oldest)) throw new Failed('invalid_ts_oldest');
  if (latest !== undefined && !/^\d+(\.\d+)?$/.test(latest)) throw new Failed('invalid_ts_latest');
  if (isTrue(inclusive) && (ts === oldest || ts === latest)) return true;
  return Number(ts) > Number(oldest ?? 0) && Number(ts) < Number(latest ?? Number.POSITIVE_INFINITY);
}

function slice<T>(
  all: readonly T[],
  { limit, cursor }: Args,
  max: number,
  normal: number,
): { items: T[]; next_cursor: string } {
  const size = Number(limit ?? normal);
  if (size < 1 || size > max) throw new Failed('invalid_limit');
  const start = cursor ? Number(/^next:(\d+)$/.exec(Buffer.from(cursor, 'base64').toString())?.[1] ?? Number.NaN) : 0;
  if (Number.isNaN(start)) throw new Failed('invalid_cursor');
  const end = start + size;
  return {
    items: all.slice(start, end),
    next_cursor: end < all.length ? Buffer.from(`next:${end}`).toString('base64') : '',
  };
}

/** The text has &, < and > escaped by who sent it; what stands in <…> is an address. */
function rendered(text: string): string {
  return text
    .replace(/"/g, '&quot;')
    .replace(/<(https?:\/\/[^>|]+)(?:\|([^>]*))?>/g, (_, address, label) => `[[${address}]]${label ?? address}[[/]]`)
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/\[\[(https?:[^\]]+)\]\]/g, '<a href="$1">')
    .replaceAll('[[/]]', '</a>')
    .replace(/\*([^*\n]+)\*/g, '<strong>$1</strong>');
}

function chatPage(channels: readonly (Channel & { messages: Message[] })[]): string {
  const clock = (ts: string) => `${new Date(Number(ts) * 1000).toISOString().slice(11, 19)} UTC`;
  const one = (message: Message) =>
    `<span class="quiet">${message.bot_id ? 'maint' : 'somebody'} · ${clock(message.ts)}${message.edited ? `, edited ${clock(message.edited.ts)}` : ''}</span><div class="text">${rendered(message.text)}</div>`;
  const parts = channels.map(({ name, messages }) => {
    const roots = messages.filter(({ ts, thread_ts }) => thread_ts === undefined || thread_ts === ts);
    const items = roots.map((root) => {
      const thread = messages.filter(({ ts, thread_ts }) => thread_ts === root.ts && ts !== root.ts);
      return `<div class="item">${one(root)}${thread.map((reply) => `<div class="reply">${one(reply)}</div>`).join('')}</div>`;
    });
    return `<h2>#${rendered(name)}</h2>${items.join('') || '<p class="quiet">nothing yet</p>'}`;
  });
  return htmlPage('Example chat', `<h1>Chat</h1>${parts.join('')}`);
}
