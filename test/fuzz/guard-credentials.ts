// A family of `npm run sweep:guard`: requests with a credential somewhere, in every spelling, against a guard that keeps
// writes. The judge is what the queue was given: the secret must not be in it. Honest names must be kept.
// Alone: `node -C maint-source test/fuzz/guard-credentials.ts [COUNT] [SEED]`
import { createGuard, type FlagSink } from '../../packages/guard/src/index.ts';
import { memoryQueue } from '../support/memory-queue.ts';
import { seeded } from '../support/virtual-time.ts';

export interface CredentialSweep {
  sent: number;
  /** requests whose secret was stored */
  readonly stored: string[];
  honest: number;
  /** honest writes that were not kept */
  readonly lost: string[];
}

/** Written down from the documents of services, and not from the rule that is tried. */
const SECRETS: readonly (readonly string[])[] = [
  ...[['access', 'token'], ['id', 'token'], ['refresh', 'token'], ['auth', 'token'], ['csrf', 'token'], ['token']],
  ...[['api', 'key'], ['access', 'key'], ['subscription', 'key'], ['secret', 'key'], ['private', 'key'], ['key']],
  ...[['session', 'id'], ['session'], ['php', 'sessid'], ['jsessionid'], ['sid'], ['connect', 'sid']],
  ...[['x', 'amz', 'signature'], ['x', 'amz', 'credential'], ['x', 'amz', 'security', 'token'], ['signature'], ['sig']],
  ...[['x', 'goog', 'signature'], ['client', 'secret'], ['password'], ['user', 'password'], ['passwd'], ['pwd']],
  ...[['authorization'], ['bearer'], ['jwt'], ['client', 'assertion'], ['saml', 'response'], ['otp'], ['hdnea']],
];
const HONEST: readonly (readonly string[])[] = [
  ...[['page'], ['page', 'size'], ['sort', 'key'], ['author'], ['author', 'id'], ['tenant'], ['q'], ['max', 'tokens']],
  ...[['design'], ['assigned', 'to'], ['keyword'], ['trace', 'id'], ['idempotency', 'key'], ['routing', 'key']],
  ...[['expires'], ['lang'], ['utm', 'source'], ['compass'], ['monkey'], ['signal'], ['locale'], ['partition', 'key']],
];
const JOINS = ['_', '-', '.', '', 'camel', 'Pascal', 'UPPER_', 'bracket'] as const;

type Random = () => number;
const pick = <T>(list: readonly T[], random: Random): T => list[Math.floor(random() * list.length)] as T;
const upper = (word: string) => word.charAt(0).toUpperCase() + word.slice(1);

function spelt(words: readonly string[], random: Random): string {
  const how = pick(JOINS, random);
  if (how === 'camel') return words.map((word, i) => (i === 0 ? word : upper(word))).join('');
  if (how === 'Pascal') return words.map(upper).join('');
  if (how === 'UPPER_') return words.join('_').toUpperCase();
  if (how === 'bracket')
    return `${words[0]}${words
      .slice(1)
      .map((word) => `[${word}]`)
      .join('')}`;
  // a word that is joined to one before it can be another word
  return words.join(how === '' && words[0] === 'x' ? '-' : how);
}

function escaped(name: string, random: Random): string {
  if (random() < 0.6) return name;
  const hex = (char: string) => `%${char.charCodeAt(0).toString(16)}`;
  return [...name].map((char) => (random() < 0.3 ? hex(char) : char)).join('');
}

function target(name: string, value: string, random: Random): string {
  const pair = `${escaped(name, random)}=${value}`;
  const others = Array.from({ length: Math.floor(random() * 3) }, (_, n) => `a${n}=${n}`);
  const all = [...others, pair].sort(() => random() - 0.5);
  return `/events?${all.join(pick(['&', '&', ';'], random))}`;
}

export async function sweepCredentials(seed: number, count: number): Promise<CredentialSweep> {
  const random = seeded(seed);
  const queue = memoryQueue();
  let sink: FlagSink | undefined;
  const guard = createGuard({
    source: { start: (given) => void (sink = given), close() {} },
    surfaces: [
      { name: 'events', match: { methods: ['POST'], path: '/events' }, disposition: 'buffer', key: 'content' },
    ],
    queue,
    authorize: 'elsewhere',
    log: () => {},
  });
  sink!.document(JSON.stringify({ version: 1, holders: { w: { until: '2100-01-01T00:00:00Z' } } }));
  const handle = guard.fetch(() => new Response('applied'));
  const found: CredentialSweep = { sent: 0, stored: [], honest: 0, lost: [] };
  for (let n = 0; n < count; n++) {
    const honest = random() < 0.3;
    const secret = `s3cr3t${seed}x${n}x`;
    const headers: Record<string, string> = { 'content-type': 'text/plain' };
    const inHeader = !honest && random() < 0.3;
    const name = spelt(pick(honest ? HONEST : SECRETS, random), random);
    if (inHeader) headers[name.replace(/[^\w-]/g, '-')] = secret;
    const path = inHeader ? `/events?n=${n}` : target(name, secret, random);
    const before = queue.kept.length;
    await handle(new Request(`http://h${path}`, { method: 'POST', headers, body: 'x' }));
    found.sent += 1;
    const kept = queue.kept.slice(before).map(({ write }) => JSON.stringify({ ...write, body: null }));
    if (honest) {
      found.honest += 1;
      if (kept.length !== 1) found.lost.push(path);
    } else if (kept.some((text) => text.includes(secret))) found.stored.push(inHeader ? `${name}: …` : path);
  }
  await guard.close();
  return found;
}

if (import.meta.filename === process.argv[1]) {
  const { sent, stored, honest, lost } = await sweepCredentials(
    Number(process.argv[3] ?? 1),
    Number(process.argv[2] ?? 20_000),
  );
  console.log(
    `${sent} requests, ${honest} of them honest: ${stored.length} secrets stored, ${lost.length} honest writes lost`,
  );
  for (const each of [...stored, ...lost].slice(0, 20)) console.log(`  ${each}`);
  process.exit(stored.length + lost.length > 0 ? 1 : 0);
}
